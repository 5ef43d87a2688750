"""What a policy that locates flies to, and what it sees of it: a place in the world that may move."""

from __future__ import annotations

import math
from typing import Final

from liquid_pilot.errors import LiquidPilotError, MessageError
from liquid_pilot.fusion import FusionLimits, SensorMemory
from liquid_pilot.messages import Floats2, Position, PositionSetpoint, Setpoint
from liquid_pilot.observation import INITIAL_AGE_S, Held, Located, located
from liquid_pilot.ops import FLOAT_OPS
from liquid_pilot.setpoints import Holder

YAW_GAIN_PER_S: Final = 1.5  # commanded yaw rate over yaw error
STILL: Final = (0.0, 0.0, 0.0)
FARTHEST_M: Final = FusionLimits().position_m
NOWHERE: Final = Located(STILL, STILL, 0.0, INITIAL_AGE_S)  # before the first place, attitude or target


class TargetHolder(Holder[PositionSetpoint]):
    """Newest accepted place to be at. Without one, the place that it was told to stay at."""

    def reset(self) -> None:
        """As before the first set-point."""
        super().reset()
        self._place: PositionSetpoint | None = None

    def accept(
        self, setpoint: Setpoint | PositionSetpoint, now_s: float | None
    ) -> tuple[LiquidPilotError | None, str | None]:
        """(why it was rejected, how it was cut), each None where not. now_s: newest IMU stamp, None before."""
        if not isinstance(setpoint, PositionSetpoint):
            return MessageError("Setpoint dropped: this policy flies to places; feed PositionSetpoint"), None
        (x, y, z), velocity, yaw, t = setpoint.position_m, setpoint.velocity_m_s, setpoint.yaw_rad, setpoint.t_s
        if math.isnan(x) or math.isnan(y):
            return MessageError(
                f"PositionSetpoint dropped: {setpoint} holds a course; this policy flies to places: give x and y"
            ), None
        error = self._fault(setpoint, (x, y, z, *velocity, 0.0 if math.isnan(yaw) else yaw), now_s)
        if error is not None:
            return error, None
        if not all(-FARTHEST_M <= axis <= FARTHEST_M for axis in (x, y, z)):
            return MessageError(f"PositionSetpoint dropped: {setpoint} is farther than {FARTHEST_M:g} m"), None
        speed = math.hypot(*velocity)
        share = self._speed / speed if speed > self._speed else 1.0
        vx, vy, vz = velocity
        place = (x, y, max(self._low, min(self._high, z)))
        cut = PositionSetpoint(t, place, (vx * share, vy * share, vz * share), yaw)
        self._hold(cut, PositionSetpoint(t, place, STILL, yaw))
        if share == 1.0 and place[2] == z:
            return None, None
        return None, f"{setpoint} is outside the policy's limits; flying {cut}"

    def stay(self, position: Position) -> None:
        """Until there is a set-point: be where this was measured."""
        self._place = PositionSetpoint(position.t_s, position.position_m, STILL, math.nan)

    def in_force(self, now_s: float) -> PositionSetpoint | None:
        """What to fly; past the timeout: stay at the place that it was at, velocity zero."""
        return super().in_force(now_s) or self._place

    def take(self, memory: SensorMemory, now_s: float) -> tuple[Held[float], Located[float]]:
        """What the network sees at the IMU that was just accepted; freshness is spent by it."""
        target, heading = self.in_force(now_s), memory.heading()
        place, fresh, age_s = memory.take_position()
        if target is None:
            return memory.take(None), NOWHERE
        x, y, velocity, yaw_rate = 0.0, 0.0, target.velocity_m_s, 0.0
        if heading is not None:
            c, s = heading
            x, y = c * velocity[0] + s * velocity[1], c * velocity[1] - s * velocity[0]
            yaw_rate = self._yaw_rate(target.yaw_rad, heading)
        held = memory.take(Setpoint(target.t_s, (x, y), target.position_m[2], yaw_rate))
        if place is None or heading is None:
            return held, NOWHERE
        at, moving = place.position_m, place.velocity_m_s
        return held, located(FLOAT_OPS, at, moving, age_s, fresh, target.position_m, velocity, heading)

    def _yaw_rate(self, yaw_rad: float, heading: Floats2) -> float:
        """Towards the target's yaw, the shorter way round; none where any heading will do."""
        if math.isnan(yaw_rad):
            return 0.0
        error = math.remainder(yaw_rad - math.atan2(heading[1], heading[0]), math.tau)
        return max(-self._yaw, min(self._yaw, YAW_GAIN_PER_S * error))
