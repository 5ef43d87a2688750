"""Who is listened to on a link: one autopilot, the first that is heard or the one that was asked for.

Everybody else is ignored and counted. A second autopilot is a problem that the operator is told by name; the first
stays the one, so that a flight goes on.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from liquid_pilot.links import autopilots
from liquid_pilot.links.mavlink_frames import Frame

GONE_S: Final = 3.0  # after which the same autopilot may come back from another port
PROBLEM_S: Final = 5.0  # a problem is told for so long after it was last seen


@dataclass(slots=True)
class Vehicle:
    """An autopilot, and what its heartbeat told last. peer: where its bytes come from."""

    system: int
    component: int
    peer: str
    kind: int
    heard_s: float
    armed: bool = False
    mode: autopilots.Mode = autopilots.NO_MODE

    @property
    def name(self) -> str:
        """For people."""
        return f"system {self.system} component {self.component} at {self.peer}"


class VehicleWatch:
    """wanted: the only system to listen to; None = the first autopilot that is heard."""

    def __init__(self, wanted: int | None) -> None:
        self.vehicle: Vehicle | None = None
        self.counters: Counter[str] = Counter()
        self._wanted = wanted
        self._problem, self._problem_s = "", -math.inf

    def accepts(self, frame: Frame, peer: str, now_s: float) -> bool:
        """Whether a frame is from our autopilot, which then was heard."""
        vehicle = self.vehicle
        if vehicle is None:
            self.counters["before_heartbeat"] += 1
            return False
        if frame.system != vehicle.system:
            self.counters["unknown_system"] += 1
            return False
        if frame.component != vehicle.component or peer != vehicle.peer:
            self.counters["other_sender"] += 1
            return False
        vehicle.heard_s = now_s
        return True

    def heartbeat(self, frame: Frame, m: Any, peer: str, now_s: float) -> None:
        """A HEARTBEAT came: of our autopilot, of another one, or of somebody who is none."""
        if m.autopilot == autopilots.NO_AUTOPILOT:
            self.counters["other_heartbeat"] += 1
            return
        if self._wanted is not None and frame.system != self._wanted:
            self.counters["unknown_system"] += 1
            return
        vehicle, who = self.vehicle, (frame.system, frame.component, peer)
        moved = vehicle is not None and vehicle.system == frame.system and now_s - vehicle.heard_s > GONE_S
        if vehicle is None or moved:
            vehicle = self.vehicle = Vehicle(*who, m.autopilot, now_s)
        elif who != (vehicle.system, vehicle.component, vehicle.peer):
            other = Vehicle(*who, m.autopilot, now_s)
            self.counters["two_autopilots"] += 1
            self.warn(
                f"two autopilots on one link: {vehicle.name}, and {other.name}; unplug one, or choose with --system-id",
                now_s,
            )
            return
        vehicle.heard_s = now_s
        vehicle.armed = bool(m.base_mode & autopilots.ARMED_FLAG)
        vehicle.mode = autopilots.mode_of(m.autopilot, m.custom_mode)

    def warn(self, text: str, now_s: float) -> None:
        """Something that the operator must read."""
        self._problem, self._problem_s = text, now_s

    def problem(self, now_s: float) -> str:
        """The newest one, "" once it is long ago."""
        return self._problem if now_s - self._problem_s < PROBLEM_S else ""
