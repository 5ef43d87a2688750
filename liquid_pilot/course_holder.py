"""What a policy that sees flies: a course over ground, as a network is told it."""

from __future__ import annotations

import math

from liquid_pilot.course import told_course
from liquid_pilot.errors import LiquidPilotError, MessageError
from liquid_pilot.fusion import SensorMemory
from liquid_pilot.messages import Floats2, PositionSetpoint, Setpoint
from liquid_pilot.observation import Held
from liquid_pilot.ops import FLOAT_OPS
from liquid_pilot.setpoints import Holder


class CourseHolder(Holder[PositionSetpoint]):
    """Newest accepted course: a `PositionSetpoint` without x and y. Past the timeout its speed is zero."""

    def accept(
        self, setpoint: Setpoint | PositionSetpoint, now_s: float | None
    ) -> tuple[LiquidPilotError | None, str | None]:
        """(why it was rejected, how it was cut), each None where not. now_s: newest IMU stamp, None before."""
        if not isinstance(setpoint, PositionSetpoint):
            return MessageError(
                "Setpoint dropped: this policy flies courses over ground; feed PositionSetpoint with x and y NaN"
            ), None
        (x, y, z), (vx, vy, vz), yaw, t = setpoint.position_m, setpoint.velocity_m_s, setpoint.yaw_rad, setpoint.t_s
        if not (math.isnan(x) and math.isnan(y)):
            return MessageError(
                f"PositionSetpoint dropped: {setpoint} is a place; this policy flies courses: give x and y as NaN"
            ), None
        error = self._fault(setpoint, (z, vx, vy, vz, 0.0 if math.isnan(yaw) else yaw), now_s)
        if error is not None:
            return error, None
        speed = math.hypot(vx, vy)
        share = self._speed / speed if speed > self._speed else 1.0
        place = (x, y, max(self._low, min(self._high, z)))
        if math.isnan(yaw) and speed > 0.0:
            yaw = math.atan2(vy, vx)  # kept while the course is held
        cut = PositionSetpoint(t, place, (vx * share, vy * share, 0.0), yaw)
        self._hold(cut, PositionSetpoint(t, place, (0.0, 0.0, 0.0), yaw))
        if share == 1.0 and place[2] == z and vz == 0.0:
            return None, None
        return None, f"{setpoint} is outside the policy's limits; flying {cut}"

    def speed_m_s(self, now_s: float) -> float:
        """Of the course that is in force, 0 without one."""
        course = self.in_force(now_s)
        return 0.0 if course is None else math.hypot(course.velocity_m_s[0], course.velocity_m_s[1])

    def take(self, memory: SensorMemory, now_s: float, *, held: bool) -> Held[float]:
        """What the network sees at the IMU that was just accepted; freshness is spent by it. held: at speed zero."""
        course, heading = self.in_force(now_s), memory.heading()
        if course is None:
            return memory.take(None)
        velocity, yaw_rate = (0.0, 0.0), 0.0
        if heading is not None:
            wanted: Floats2 = (0.0, 0.0) if held else course.velocity_m_s[:2]
            yaw = course.yaw_rad
            facing = heading if math.isnan(yaw) else (math.cos(yaw), math.sin(yaw))
            velocity, yaw_rate = told_course(FLOAT_OPS, heading, wanted, facing)
        yaw_rate = max(-self._yaw, min(self._yaw, yaw_rate))
        return memory.take(Setpoint(course.t_s, velocity, course.position_m[2], yaw_rate))
