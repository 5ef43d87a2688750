"""A course over ground as a network is told it: a velocity in the heading frame, and a yaw rate that faces it."""

from __future__ import annotations

from typing import Any, Final

from liquid_pilot.ops import Ops, S, Vec2

YAW_GAIN_PER_S: Final = 1.5  # commanded yaw rate over the sine of the yaw error
YAW_LIMIT_RAD_S: Final = 1.0


def told_course(ops: Ops, heading: Vec2[S], velocity_m_s: Vec2[S], facing: Vec2[S]) -> tuple[Vec2[S], S]:
    """Velocity in the heading frame, and yaw rate in rad/s towards `facing`, at most `YAW_LIMIT_RAD_S`.

    heading, facing: cosine and sine of a yaw; velocity_m_s: of the world. Looking backwards, it turns at the limit.
    """
    (c, s), (vx, vy), (fx, fy) = heading, velocity_m_s, facing
    ahead: Any = c * fx + s * fy
    left: Any = c * fy - s * fx
    error: Any = ops.select(ahead, 0.0, left, ops.select(left, 0.0, 1.0, -1.0))
    yaw_rate: S = ops.clip(YAW_GAIN_PER_S * error, -YAW_LIMIT_RAD_S, YAW_LIMIT_RAD_S)
    return (c * vx + s * vy, c * vy - s * vx), yaw_rate
