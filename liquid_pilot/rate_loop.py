"""Body-rate PID and motor map, over `ops` scalars: what the autopilot does with a `Command`.

It knows the nominal airframe only; in simulation the randomised one flies, so that the mismatch is
felt. Gains are in angular acceleration (1/s, 1/s^2, 1), so that they carry over between airframes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic

from liquid_pilot.ops import Ops, S, Vec3, Vec4, clip


@dataclass(frozen=True, slots=True)
class RateLoopGains:
    """kp_per_s, ki_per_s2, kd: per axis; derivative_tau_s: filter of the derivative term."""

    kp_per_s: tuple[float, float, float]
    ki_per_s2: tuple[float, float, float]
    kd: tuple[float, float, float]
    derivative_tau_s: float
    integral_limit_rad_s2: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
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
    thrust_m_s2, wanted = command
    blend: Any = 1.0 - ops.exp(dt_s * (-1.0 / gains.derivative_tau_s))
    torques: list[Any] = []
    integral: list[Any] = []
    filtered: list[Any] = []
    for axis in range(3):
        error = wanted[axis] - rates_rad_s[axis]
        limit = gains.integral_limit_rad_s2[axis]
        integral.append(clip(ops, state.integral_rad_s2[axis] + error * (dt_s * gains.ki_per_s2[axis]), -limit, limit))
        lag = rates_rad_s[axis] - state.filtered_rates_rad_s[axis]
        filtered.append(state.filtered_rates_rad_s[axis] + blend * lag)
        angular = error * gains.kp_per_s[axis] + integral[axis] - lag * (gains.kd[axis] / gains.derivative_tau_s)
        torques.append(angular * mixer.inertia_kg_m2[axis])
    motors = mix(ops, mixer, thrust_m_s2 * mixer.mass_kg, (torques[0], torques[1], torques[2]))
    return motors, RateLoopState((integral[0], integral[1], integral[2]), (filtered[0], filtered[1], filtered[2]))


def mix(ops: Ops, mixer: Mixer, thrust_n: S, torque_nm: Vec3[S]) -> Vec4[S]:
    """Motor speeds (fraction of full, idle..1) for a collective thrust and a body torque.

    Least-squares allocation for rotors placed symmetrically about both body axes. Yaw is cut to 15 %
    of a rotor's thrust, so that it never takes the authority of roll and pitch.
    """
    sum_x2 = sum(x * x for x, _ in mixer.rotor_xy_m)
    sum_y2 = sum(y * y for _, y in mixer.rotor_xy_m)
    yaw_limit = 0.15 * mixer.rotor_thrust_max_n
    lowest = mixer.idle * mixer.idle
    collective = thrust_n * (0.25 / mixer.rotor_thrust_max_n)
    speeds: list[Any] = []
    yaw_arm = abs(mixer.yaw_m[0])
    yaw = clip(ops, torque_nm[2] * (0.25 / yaw_arm), -yaw_limit, yaw_limit) * (1.0 / mixer.rotor_thrust_max_n)
    for (x, y), yaw_m in zip(mixer.rotor_xy_m, mixer.yaw_m, strict=True):
        share = (
            collective
            + torque_nm[0] * (y / sum_y2 / mixer.rotor_thrust_max_n)
            - torque_nm[1] * (x / sum_x2 / mixer.rotor_thrust_max_n)
        )
        share = share + yaw if yaw_m > 0 else share - yaw  # a constant of the airframe, not of the flight
        speeds.append(ops.sqrt(clip(ops, share, lowest, 1.0)))
    return speeds[0], speeds[1], speeds[2], speeds[3]
