"""When an autopilot arms, obeys a companion computer, and saves itself: PX4's rules, in a state machine of our own.

Sources: PX4 user guide, Offboard Mode (2 Hz proof of life for a second before the switch; COM_OF_LOSS_T 1.0 s),
Arming (COM_DISARM_PRFLT 10 s, COM_DISARM_LAND), MAVLink Messaging (the accepted type_masks of SET_ATTITUDE_TARGET).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

PROOF_GAP_S: Final = 0.5  # 2 Hz
PROOF_S: Final = 1.0
OFFBOARD_LOSS_S: Final = 1.0
PREFLIGHT_DISARM_S: Final = 10.0
LANDED_DISARM_S: Final = 1.0
LOWEST_BATTERY: Final = 0.15
RATES_AND_THRUST: Final = 128
ATTITUDE_AND_THRUST: Final = 7


class Mode(Enum):
    """Those that matter here. PX4's (main, sub) mode."""

    HOLD = (4, 3)
    OFFBOARD = (6, 0)
    LAND = (4, 6)


@dataclass(slots=True)
class Rules:
    """State of the vehicle as PX4 has it. All times in seconds since its boot; `landed` is told by the vehicle."""

    armed: bool = False
    mode: Mode = Mode.HOLD
    landed: bool = True
    battery: float = 1.0
    setpoints: int = 0
    masks_refused: int = 0
    failsafes: int = 0
    denials: list[str] = field(default_factory=list)
    changes: list[tuple[float, str]] = field(default_factory=list)
    _stream_since_s: float | None = None
    _setpoint_s: float | None = None
    _armed_s: float = 0.0
    _took_off: bool = False
    _landed_s: float | None = None

    def setpoint(self, type_mask: int, t_s: float) -> bool:
        """A SET_ATTITUDE_TARGET came; True if its mask is one that is flown here (rates and thrust)."""
        if type_mask != RATES_AND_THRUST:
            self.masks_refused += 1
            return False
        if self._setpoint_s is None or t_s - self._setpoint_s > PROOF_GAP_S:
            self._stream_since_s = t_s
        self._setpoint_s = t_s
        self.setpoints += 1
        return True

    def proven(self, t_s: float) -> bool:
        """Whether set-points have come at 2 Hz or faster for a second."""
        if self._setpoint_s is None or self._stream_since_s is None:
            return False
        return t_s - self._setpoint_s <= PROOF_GAP_S and t_s - self._stream_since_s >= PROOF_S

    def switch(self, mode: Mode, t_s: float) -> bool:
        """Another mode is asked for; False = denied."""
        if mode is Mode.OFFBOARD and not self.proven(t_s):
            return self._deny("offboard mode: no set-points at 2 Hz for 1 s", t_s)
        self._enter(mode, t_s)
        return True

    def arm(self, t_s: float, still: bool, throttle: float) -> bool:
        """Arming is asked for. still: the vehicle does not move."""
        if self.armed:
            return True
        if self.battery < LOWEST_BATTERY:
            return self._deny(f"arming: battery at {self.battery:.0%}", t_s)
        if not still:
            return self._deny("arming: the vehicle moves", t_s)
        if throttle > 0.1:
            return self._deny("arming: the throttle is not low", t_s)
        if self.mode is Mode.OFFBOARD and not self.proven(t_s):
            return self._deny("arming: no offboard signal", t_s)
        self.armed, self._armed_s, self._took_off, self._landed_s = True, t_s, False, None
        self.changes.append((t_s, "armed"))
        return True

    def disarm(self, t_s: float, force: bool) -> bool:
        """Disarming is asked for: on the ground, or by force."""
        if self.armed and not self.landed and not force:
            return self._deny("disarming: not landed", t_s)
        self._disarm(t_s, "disarmed by force" if force else "disarmed")
        return True

    def update(self, t_s: float, landed: bool) -> None:
        """What happens by itself: offboard loss, disarming."""
        self.landed = landed
        if not self.armed:
            return
        self._took_off = self._took_off or not landed
        lost = self._setpoint_s is None or t_s - self._setpoint_s > OFFBOARD_LOSS_S
        if self.mode is Mode.OFFBOARD and lost:
            self.failsafes += 1
            self._enter(Mode.LAND, t_s)
        if not landed:
            self._landed_s = None
        elif self._landed_s is None:
            self._landed_s = t_s
        if not self._took_off and t_s - self._armed_s > PREFLIGHT_DISARM_S:
            self._disarm(t_s, "disarmed: no take-off")
        elif self.mode is Mode.LAND and self._landed_s is not None and t_s - self._landed_s > LANDED_DISARM_S:
            self._disarm(t_s, "disarmed: landed")

    def _disarm(self, t_s: float, why: str) -> None:
        if self.armed:
            self.armed = False
            self.changes.append((t_s, why))

    def _enter(self, mode: Mode, t_s: float) -> None:
        if mode is not self.mode:
            self.mode = mode
            self.changes.append((t_s, mode.name))

    def _deny(self, why: str, t_s: float) -> bool:
        if not self.denials or self.denials[-1] != why:
            self.denials.append(why)
        return False
