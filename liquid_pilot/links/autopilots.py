"""What autopilots call their modes, and how they are asked for one: PX4 and ArduPilot (Copter).

Numbers: https://docs.px4.io/main/en/flight_modes/ and https://ardupilot.org/copter/docs/parameters.html (FLTMODE1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from liquid_pilot.links.link import Request

ARDUPILOT: Final = 3  # MAV_AUTOPILOT
NO_AUTOPILOT: Final = 8  # cameras, ground stations, other computers
PX4: Final = 12
SET_MODE: Final = 176  # MAV_CMD_DO_SET_MODE
ARM_DISARM: Final = 400  # MAV_CMD_COMPONENT_ARM_DISARM
SET_INTERVAL: Final = 511  # MAV_CMD_SET_MESSAGE_INTERVAL
FORCE: Final = 21196.0  # of ARM_DISARM: in the air too
CUSTOM_MODE: Final = 1.0  # MAV_MODE_FLAG_CUSTOM_MODE_ENABLED
ARMED_FLAG: Final = 128
RESULTS: Final = ("accepted", "not now", "denied", "not supported", "failed", "in progress", "cancelled")
_PX4_MODES: Final = {1: "MANUAL", 2: "ALTCTL", 3: "POSCTL", 4: "AUTO", 5: "ACRO", 6: "OFFBOARD", 7: "STABILIZED"}
_PX4_AUTO: Final = {2: "TAKEOFF", 3: "LOITER", 4: "MISSION", 5: "RTL", 6: "LAND"}
_COPTER_MODES: Final = {
    0: "STABILIZE",
    2: "ALT_HOLD",
    4: "GUIDED",
    5: "LOITER",
    6: "RTL",
    9: "LAND",
    20: "GUIDED_NOGPS",
}


@dataclass(frozen=True, slots=True)
class Mode:
    """name: as pilots know it. offboard: whether it obeys body rates and thrust of a companion computer."""

    name: str
    offboard: bool


NO_MODE: Final = Mode("", False)


def autopilot_name(kind: int) -> str:
    """Of a HEARTBEAT's autopilot field."""
    return {PX4: "PX4", ARDUPILOT: "ArduPilot"}.get(kind, f"autopilot of type {kind}")


def mode_of(kind: int, custom_mode: int) -> Mode:
    """The mode that a heartbeat tells."""
    if kind == PX4:
        main, sub = custom_mode >> 16 & 0xFF, custom_mode >> 24 & 0xFF
        name = _PX4_MODES.get(main, f"mode {main}")
        return Mode(f"{name}.{_PX4_AUTO.get(sub, sub)}" if main == 4 else name, main == 6)
    if kind == ARDUPILOT:
        return Mode(_COPTER_MODES.get(custom_mode, f"mode {custom_mode}"), custom_mode in (4, 20))
    return Mode(f"mode {custom_mode}", False)


def command_for(what: Request, kind: int) -> tuple[int, tuple[float, float, float]] | None:
    """(MAV_CMD, first three parameters) of a request; None where this autopilot has no such thing."""
    if what is Request.ARM:
        return ARM_DISARM, (1.0, 0.0, 0.0)
    if what is Request.DISARM:
        return ARM_DISARM, (0.0, 0.0, 0.0)
    if what is Request.KILL:
        return ARM_DISARM, (0.0, FORCE, 0.0)
    modes = {
        (Request.OFFBOARD, PX4): (CUSTOM_MODE, 6.0, 0.0),
        (Request.OFFBOARD, ARDUPILOT): (CUSTOM_MODE, 20.0, 0.0),
        (Request.LAND, PX4): (CUSTOM_MODE, 4.0, 6.0),
        (Request.LAND, ARDUPILOT): (CUSTOM_MODE, 9.0, 0.0),
    }
    parameters = modes.get((what, kind))
    return None if parameters is None else (SET_MODE, parameters)
