"""How a flight of the autopilot went, by the truth of its simulator, in fixed memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Final

from envs.autopilot.autopilot import Autopilot
from envs.autopilot.rules import Mode
from envs.scoring import ROUGH_LIMIT_M_S

SAMPLE_S: Final = 0.1
MOST_SAMPLES: Final = 36_000
SETTLE_S: Final = 4.0  # after offboard control has reached the air


@dataclass(slots=True)
class FlightRecord:
    """Looked at after every IMU event. samples: under offboard control, in the air."""

    highest_m: float = 0.0
    steepest_rad: float = 0.0
    airborne_s: float | None = None
    landed_s: float | None = None
    samples: list[tuple[float, float, float]] = field(default_factory=list)  # (time, height, horizontal speed)
    _next_s: float = 0.0

    def look(self, autopilot: Autopilot) -> None:
        """One more event."""
        vehicle, t_s = autopilot.vehicle, autopilot.t_s
        if not vehicle.aloft:
            if self.airborne_s is not None and self.landed_s is None:
                self.landed_s = t_s
            return
        height = vehicle.height_m
        if self.airborne_s is None:
            self.airborne_s = t_s
        self.highest_m = max(self.highest_m, height)
        if height > 0.3:
            self.steepest_rad = max(self.steepest_rad, math.acos(max(-1.0, min(1.0, vehicle.upright))))
        if t_s >= self._next_s and autopilot.rules.mode is Mode.OFFBOARD and len(self.samples) < MOST_SAMPLES:
            self._next_s = t_s + SAMPLE_S
            self.samples.append((t_s, height, math.hypot(*vehicle.launch.body.velocity_m_s[:2])))

    def summary(self, autopilot: Autopilot) -> dict[str, Any]:
        """Flat keys. flown_s: in the air. speed and height: medians from 4 s after leaving the floor, above 0.5 m."""
        begin = (self.airborne_s or 0.0) + SETTLE_S
        flown = [(height, speed) for t, height, speed in self.samples if t > begin and height > 0.5]
        heights, speeds = (sorted(column) for column in zip(*flown, strict=True)) if flown else ([], [])
        vehicle, rules, end = autopilot.vehicle, autopilot.rules, self.landed_s or autopilot.t_s
        return {
            "flown_s": 0.0 if self.airborne_s is None else end - self.airborne_s,
            "highest_m": self.highest_m,
            "height_median_m": heights[len(heights) // 2] if heights else None,
            "speed_median_m_s": speeds[len(speeds) // 2] if speeds else None,
            "steepest_deg": math.degrees(self.steepest_rad),
            "touchdown_m_s": vehicle.touchdown_m_s,
            "aloft": vehicle.aloft,
            "landed_softly": self.landed_s is not None and vehicle.touchdown_m_s < ROUGH_LIMIT_M_S,
            "armed": rules.armed,
            "mode": rules.mode.name,
            "failsafes": rules.failsafes,
            "setpoints": rules.setpoints,
            "masks_refused": rules.masks_refused,
            "denials": rules.denials,
            "changes": [[round(t, 2), what] for t, what in rules.changes],
            "heard": dict(autopilot.heard),
        }
