"""Velocity control over the rate loop, for actions that are velocities: what an autopilot's velocity mode does.

It knows the true motion and the nominal airframe. Velocity errors give a wanted acceleration; the body is turned
towards it on the shortest way on the sphere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from envs.physics import Body
from liquid_pilot.command import CommandLimits
from liquid_pilot.geometry import Matrix3, to_body
from liquid_pilot.messages import Floats3
from liquid_pilot.observation import GRAVITY_M_S2
from liquid_pilot.ops import FLOAT_OPS, clip


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
    gains: VelocityGains,
    limits: CommandLimits,
    body: Body[float],
    matrix: Matrix3[float],
    wanted: tuple[Floats3, float],
    integral_m_s2: Floats3,
    dt_s: float,
) -> tuple[tuple[float, Floats3], Floats3]:
    """((thrust_m_s2, rates_rad_s), integral_m_s2 after dt). wanted: velocity in the world and yaw rate."""
    error = [goal - found for goal, found in zip(wanted[0], body.velocity_m_s, strict=True)]
    summed, ask = [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]
    for i in range(3):
        step = _within(error[i], gains.integrated_error_m_s) * gains.integral_per_s2[i] * dt_s
        summed[i] = _within(integral_m_s2[i] + step, gains.integral_limit_m_s2[i])
        ask[i] = gains.velocity_per_s[i] * error[i] + summed[i]
    up = GRAVITY_M_S2 + ask[2]
    lift = max(up, LEAST_LIFT_M_S2)
    share = min(1.0, lift * math.tan(math.radians(gains.tilt_limit_deg)) / max(math.hypot(ask[0], ask[1]), 1e-9))
    ax, ay = ask[0] * share, ask[1] * share
    low, high = limits.thrust_m_s2
    thrust = clip(FLOAT_OPS, to_body(matrix, (ax, ay, up))[2], low, high)
    x, y, z = to_body(matrix, (ax, ay, lift))
    across = math.hypot(x, y)
    gain = gains.attitude_per_s * math.atan2(across, z) / max(across, 1e-9)
    wx, wy, wz = limits.rates_rad_s
    rates = (_within(-y * gain, wx), _within(x * gain, wy), _within(wanted[1], wz))
    return (thrust, rates), (summed[0], summed[1], summed[2])


def _within(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)
