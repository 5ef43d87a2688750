"""Velocity control over the rate loop, for actions that are velocities: what an autopilot's velocity mode does.

It knows the true motion and the nominal airframe. Velocity errors give a wanted acceleration; the body is turned
towards it on the shortest way on the sphere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from envs.physics import Body
from liquid_pilot.command import CommandLimits
from liquid_pilot.geometry import Matrix3, to_body
from liquid_pilot.messages import Floats3
from liquid_pilot.observation import GRAVITY_M_S2
from liquid_pilot.ops import Ops, S, Vec3


@dataclass(frozen=True, slots=True)
class VelocityGains:
    """Gains and limits of the integral terms, each for x, y and z of the world."""

    velocity_per_s: Floats3 = (2.0, 2.0, 5.0)
    integral_per_s2: Floats3 = (0.5, 0.5, 4.0)
    integral_limit_m_s2: Floats3 = (2.0, 2.0, 6.0)
    integrated_error_m_s: float = 0.5  # larger errors are integrated as this
    tilt_limit_deg: float = 30.0
    attitude_per_s: float = 7.0


VELOCITY_GAINS: Final = VelocityGains()
LEAST_LIFT_M_S2: Final = 0.3 * GRAVITY_M_S2  # a lean is chosen as if it carried this at least


def velocity_command(
    ops: Ops,
    gains: VelocityGains,
    limits: CommandLimits,
    body: Body[S],
    matrix: Matrix3[S],
    wanted: tuple[Vec3[S], S],
    integral_m_s2: Vec3[S],
    dt_s: Any,
) -> tuple[tuple[S, Vec3[S]], Vec3[S]]:
    """((thrust_m_s2, rates_rad_s), integral_m_s2 after dt). wanted: velocity in the world and yaw rate."""
    summed, ask = list[Any](), list[Any]()
    for i in range(3):
        error: Any = wanted[0][i] - body.velocity_m_s[i]
        step = _within(ops, error, gains.integrated_error_m_s) * gains.integral_per_s2[i] * dt_s
        summed.append(_within(ops, integral_m_s2[i] + step, gains.integral_limit_m_s2[i]))
        ask.append(gains.velocity_per_s[i] * error + summed[i])
    up = GRAVITY_M_S2 + ask[2]
    lift = ops.maximum(up, LEAST_LIFT_M_S2)
    most = lift * math.tan(math.radians(gains.tilt_limit_deg))
    share = ops.minimum(most / ops.maximum(ops.sqrt(ask[0] * ask[0] + ask[1] * ask[1]), 1e-9), 1.0)
    ax, ay = ask[0] * share, ask[1] * share
    low, high = limits.thrust_m_s2
    thrust = ops.clip(to_body(matrix, (ax, ay, up))[2], low, high)
    x, y, z = to_body(matrix, (ax, ay, lift))
    # twice the tangent of half the angle to go, which is the angle where it is small
    gain = 2.0 * gains.attitude_per_s / ops.maximum(ops.sqrt(x * x + y * y + z * z) + z, 1e-3)
    wx, wy, wz = limits.rates_rad_s
    rates = (_within(ops, -y * gain, wx), _within(ops, x * gain, wy), _within(ops, wanted[1], wz))
    return (thrust, rates), (summed[0], summed[1], summed[2])


def _within(ops: Ops, value: Any, limit: float) -> Any:
    return ops.clip(value, -limit, limit)
