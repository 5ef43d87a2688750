"""Body-rate PID and motor map, over `ops` scalars: what the autopilot does with a `Command`.

It knows the nominal airframe only; in simulation the randomised one flies, so that the mismatch is
felt. Gains are in angular acceleration (1/s, 1/s^2, 1), so that they carry over between airframes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic

from liquid_pilot.ops import Ops, S, Vec3, Vec4


@dataclass(frozen=True, slots=True)
class RateLoopGains:
    """kp_per_s, ki_per_s2, kd: per axis; derivative_tau_s: filter of the derivative term."""

    kp_per_s: tuple[float, float, float]
    ki_per_s2: tuple[float, float, float]
    kd: tuple[float, float, float]
    derivative_tau_s: float
    integral_limit_rad_s2: tuple[float, float, float]


@dataclass(frozen=True)
class Mixer:
    """Nominal airframe as the rate loop knows it. Rotor i at (x, y) in body FLU, metres.

    yaw_m: yaw torque per thrust, signed by the rotor's spin. idle: lowest motor speed, as a fraction.
    """

    mass_kg: float
    inertia_kg_m2: tuple[float, float, float]
    rotor_xy_m: tuple[tuple[float, float], ...]
    yaw_m: tuple[float, float, float, float]
    rotor_thrust_max_n: float
    idle: float

    @cached_property
    def allocation(self) -> tuple[tuple[float, float, float], ...]:
        """Of each rotor: share of full thrust per N m of roll, less that per N m of pitch, and the sign of its yaw."""
        sum_x2, sum_y2 = (sum(xy[axis] * xy[axis] for xy in self.rotor_xy_m) for axis in range(2))
        return tuple(
            (y / sum_y2 / self.rotor_thrust_max_n, x / sum_x2 / self.rotor_thrust_max_n, math.copysign(1.0, yaw_m))
            for (x, y), yaw_m in zip(self.rotor_xy_m, self.yaw_m, strict=True)
        )


@dataclass(frozen=True, slots=True)
class RateLoopState(Generic[S]):
    """integral_rad_s2: integral term; filtered_rates_rad_s: low-passed rates of the derivative term."""

    integral_rad_s2: Vec3[S]
    filtered_rates_rad_s: Vec3[S]


def rate_loop(
    ops: Ops,
    gains: RateLoopGains,
    mixer: Mixer,
    state: RateLoopState[S],
    command: tuple[S, Vec3[S]],
    rates_rad_s: Vec3[S],
    dt_s: S,
) -> tuple[Vec4[S], RateLoopState[S]]:
    """One PID step. command: (thrust_m_s2, rates_rad_s). Returns motor speed commands (0..1) and state."""
    thrust_m_s2, (wx, wy, wz) = command
    (x, y, z), (jx, jy, jz) = rates_rad_s, mixer.inertia_kg_m2
    (ix, iy, iz), (fx, fy, fz) = state.integral_rad_s2, state.filtered_rates_rad_s
    blend: Any = 1.0 - ops.exp(dt_s * (-1.0 / gains.derivative_tau_s))
    roll, ix, fx = _axis(ops, gains, 0, (ix, fx), wx, x, dt_s, blend)
    pitch, iy, fy = _axis(ops, gains, 1, (iy, fy), wy, y, dt_s, blend)
    yaw, iz, fz = _axis(ops, gains, 2, (iz, fz), wz, z, dt_s, blend)
    motors = mix(ops, mixer, thrust_m_s2 * mixer.mass_kg, (roll * jx, pitch * jy, yaw * jz))
    return motors, RateLoopState((ix, iy, iz), (fx, fy, fz))


def _axis(
    ops: Ops, gains: RateLoopGains, axis: int, state: tuple[Any, Any], wanted: Any, rate: Any, dt_s: Any, blend: Any
) -> tuple[Any, Any, Any]:
    """Wanted angular acceleration of one axis, its new integral and its new filtered rate."""
    integral, filtered = state
    error, lag, limit = wanted - rate, rate - filtered, gains.integral_limit_rad_s2[axis]
    integral = ops.clip(integral + error * (dt_s * gains.ki_per_s2[axis]), -limit, limit)
    angular = error * gains.kp_per_s[axis] + integral - lag * (gains.kd[axis] / gains.derivative_tau_s)
    return angular, integral, filtered + blend * lag


def mix(ops: Ops, mixer: Mixer, thrust_n: S, torque_nm: Vec3[S]) -> Vec4[S]:
    """Motor speeds (fraction of full, idle..1) for a collective thrust and a body torque.

    Least-squares allocation for rotors placed symmetrically about both body axes. Yaw is cut to 15 %
    of a rotor's thrust, so that it never takes the authority of roll and pitch.
    """
    roll, pitch, yaw = torque_nm
    full_n, lowest = mixer.rotor_thrust_max_n, mixer.idle * mixer.idle
    collective = thrust_n * (0.25 / full_n)
    yaw_limit = 0.15 * full_n
    yaw = ops.clip(yaw * (0.25 / abs(mixer.yaw_m[0])), -yaw_limit, yaw_limit) * (1.0 / full_n)
    a, b, c, d = [
        ops.sqrt(ops.clip(collective + roll * per_roll - pitch * per_pitch + yaw * spin, lowest, 1.0))
        for per_roll, per_pitch, spin in mixer.allocation
    ]
    return a, b, c, d
