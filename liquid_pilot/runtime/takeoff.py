"""From the floor to where the sensors see, because flow and range are blind near the floor.

First the thrust rises slowly until the range says that the drone has left the floor, which tells what carries it. Then
the supervisor's leveller, its descent turned round, climbs: attitude from the gyro, climb from range and
accelerometer. It is given up when the floor does not come into sight in time, or when the drone tilts.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final

from liquid_pilot.command import CommandLimits
from liquid_pilot.fallback import Fallback, FallbackLimits, clamped
from liquid_pilot.messages import Command, Imu, Range
from liquid_pilot.observation import GRAVITY_M_S2

CLEAR_M: Final = 0.45  # from here on the policy may fly
HIGHEST_M: Final = 1.2  # where it is given up if the policy may not
LONGEST_S: Final = 6.0
STEEPEST_RAD: Final = math.radians(35.0)
CLIMB_M_S: Final = 0.4
RAMP_FROM: Final = 0.5  # shares of g
RAMP_PER_S: Final = 0.4
RAMP_TO: Final = 1.7
LIFTED_M: Final = 0.05  # above the most that the range said on the floor
LIFTED_SAMPLES: Final = 2  # in a row, so that noise is no take-off
NEAREST_M: Final = 0.05  # where it said nothing there


class Phase(Enum):
    """Where a take-off is."""

    WAITING = "waiting"  # on the floor, motors idle: it learns which way is up
    RAMP = "thrust rises"
    CLIMBING = "climbing"
    CLEAR = "clear"
    ABORTED = "aborted"


class Takeoff:
    """Feed it every IMU and range message from the start; `begin` once armed. limits: of the policy's commands."""

    def __init__(self, limits: CommandLimits) -> None:
        self.limits = limits
        self.phase = Phase.WAITING
        self.reason = ""  # why it was given up
        self.ready = False  # whether the policy could take over: all its sensors are heard
        self._leveller = Fallback(FallbackLimits(descent_m_s=-CLIMB_M_S))
        self._leveller.reset()
        self._t_s: float | None = None
        self._began_s = 0.0
        self._range_m: float | None = None
        self._floor_m = NEAREST_M
        self._lifted = 0

    @property
    def over(self) -> bool:
        """Whether it has done its work, or was given up."""
        return self.phase is Phase.CLEAR or self.phase is Phase.ABORTED

    def begin(self) -> None:
        """Armed: up."""
        self.phase, self._began_s = Phase.RAMP, self._t_s or 0.0

    def range(self, message: Range) -> None:
        """A range message."""
        if math.isfinite(message.distance_m):
            self._range_m = message.distance_m

    def imu(self, message: Imu) -> Command | None:
        """An IMU message; the command while it climbs."""
        dt_s = 0.0 if self._t_s is None else min(max(message.t_s - self._t_s, 0.0), 0.2)
        self._t_s = message.t_s
        accel = None if math.isnan(message.accel_m_s2[0]) else message.accel_m_s2
        height, self._range_m = self._range_m, None
        self._leveller.update(dt_s, message.gyro_rad_s, accel, height, None)
        if self.phase is Phase.WAITING:
            self._floor_m = self._floor_m if height is None else max(self._floor_m, min(height, CLEAR_M))
        if self.phase not in (Phase.RAMP, Phase.CLIMBING):
            return None
        since_s = message.t_s - self._began_s
        if height is not None and height > CLEAR_M and self.ready:
            self.phase = Phase.CLEAR
            return None
        if height is not None and height > HIGHEST_M:
            self._abort(f"at {HIGHEST_M:g} m the flow is not heard; is the floor dark, or without texture?")
            return None
        if self._leveller.tilt_rad > STEEPEST_RAD:
            self._abort(f"it tilts by {math.degrees(self._leveller.tilt_rad):.0f} degrees")
            return None
        if since_s > LONGEST_S:
            self._abort(f"the range did not reach {CLEAR_M:g} m within {LONGEST_S:g} s")
            return None
        if self.phase is Phase.RAMP:
            share = min(RAMP_TO, RAMP_FROM + RAMP_PER_S * since_s)
            self._leveller.climb_m_s = 0.0  # what the accelerometer's bias adds up to on the floor
            if height is not None:
                self._lifted = self._lifted + 1 if height > self._floor_m + LIFTED_M else 0
            if self._lifted < LIFTED_SAMPLES:
                level = self._leveller.level(message.t_s, dt_s, self.limits)
                return clamped(message.t_s, share * GRAVITY_M_S2, level.rates_rad_s, self.limits)
            self._leveller.climb_m_s = CLIMB_M_S
            self._leveller.thrust_scale = 1.0 / share
            self._leveller.start()
            self.phase = Phase.CLIMBING
        return self._leveller.level(message.t_s, dt_s, self.limits)

    def _abort(self, why: str) -> None:
        self.phase, self.reason = Phase.ABORTED, why
