"""Known answers of the world: experiments whose outcome a formula gives, read from what an engine flew.

Each check is one drone of one common experiment. Motors that must hold a speed have a lag without end; a drone without
rotor thrust and drag is a free body. Answers without a formula are those of the independent integrator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from envs.airframe import Airframe
from envs.conditions import SUBSTEP_S
from scripts.benchmarks.world_engines import CONTROL_S, STUCK_S, Array, Experiment, Trajectory, nominal_flights

G: Final = 9.81
SECONDS: Final = 2.0  # of the common experiment
STEPS: Final = round(SECONDS / CONTROL_S)
STEP_AT: Final = 1  # control steps before a command steps
THICK: Final = 20.0  # drag scale that brings a terminal speed within reach
WIND_M_S: Final = 2.0
TILT_RAD: Final = math.radians(10.0)
SPIN_RAD_S: Final = (2.0, 0.0, 8.0)
STUCK: Final = {"motor_tau_up_s": STUCK_S, "motor_tau_down_s": STUCK_S}
FREE: Final = {"rotor_thrust_max_n": 0.0, "drag_scale": 0.0}

Reading = Callable[[Trajectory], float]


@dataclass(frozen=True, slots=True)
class Check:
    """One drone and what is known of it.

    expected: by formula, or None = what the independent integrator finds; tolerance: absolute, in `unit`. speeds: of
    the motors at first. fields: of its `Flights` row. command: thrust_m_s2 and rates_rad_s from the first control step
    on; before it, hover.
    """

    what: str
    unit: str
    expected: float | None
    tolerance: float
    read: Reading
    speeds: tuple[float, float, float, float] | float
    fields: dict[str, Any] = field(default_factory=dict)
    command: tuple[float, float, float, float] = (G, 0.0, 0.0, 0.0)


def _at(seconds: float) -> int:
    return round(seconds / CONTROL_S)


def _axis(name: str, axis: int, seconds: float = SECONDS) -> Reading:
    return lambda path: float(getattr(path, name)[_at(seconds), axis])


def _climb(seconds: float) -> Reading:
    return lambda path: float(path.position_m[_at(seconds), 2] - path.position_m[0, 2])


def rise_time_s(path: Trajectory, wanted_rad_s: float) -> float:
    """From 10 to 90 % of a step of the roll rate."""
    share = path.rates_rad_s[:, 0] / wanted_rad_s

    def crossing(level: float) -> float:
        after = int(np.argmax(share >= level))
        low, high = share[after - 1], share[after]
        return float(path.t_s[after - 1] + CONTROL_S * (level - low) / (high - low))

    return crossing(0.9) - crossing(0.1)


def overshoot(path: Trajectory, wanted_rad_s: float) -> float:
    """Of a step of the roll rate, as a share of it."""
    return float(path.rates_rad_s[:, 0].max() / wanted_rad_s - 1.0)


def terminal_flight(airframe: Airframe, drag_scale: float) -> tuple[float, float]:
    """(rotor speed as a fraction of full, m/s) of steady level flight at `TILT_RAD`, forces in balance."""
    c, s = math.cos(TILT_RAD), math.sin(TILT_RAD)
    weight, speed, v = airframe.mass_kg * G, airframe.hover_speed, 0.0
    for _ in range(100):  # a fixed point: drag follows the rotor speed, thrust carries weight and the drag's lift
        spin = 4.0 * speed * airframe.speed_max_rad_s * drag_scale
        along, up = spin * airframe.drag_coefficient_xy, spin * airframe.drag_coefficient_z
        thrust = (weight + v * s * c * (up - along)) / c
        v = thrust * s / (along * c * c + up * s * s)
        speed = math.sqrt(thrust / (4.0 * airframe.rotor_thrust_max_n))
    return speed, v


def checks(airframe: Airframe) -> list[Check]:
    """All known answers for an airframe."""
    return [*_translations(airframe), *_floor(airframe), *_rotations(airframe), *_responses(airframe)]


def _translations(airframe: Airframe) -> list[Check]:
    hover = airframe.hover_speed
    hover_rpm = math.sqrt(airframe.mass_kg * G / (4.0 * airframe.thrust_coefficient_n_rpm2))
    speed, steady = terminal_flight(airframe, THICK)
    along = 4.0 * hover * airframe.speed_max_rad_s * airframe.drag_coefficient_xy / airframe.mass_kg
    blown = WIND_M_S * (1.0 - math.exp(-along * SECONDS))
    leaning = {"attitude_wxyz": (math.cos(TILT_RAD / 2.0), 0.0, math.sin(TILT_RAD / 2.0), 0.0)}
    low_m = max(0.05, airframe.rest_height_m + 0.02)  # clear of the floor
    lifted = G * airframe.ground_effect_coefficient * (airframe.propeller_radius_m / (4.0 * low_m)) ** 2
    return [
        Check(
            "hover rotor speed, thrust = m g", "rpm", hover_rpm, 1e-4 * hover_rpm,
            lambda path: float(path.motor_speed[-1].mean()) * airframe.speed_max_rpm, 0.5,
        ),
        Check("climb after 2 s at that speed", "m", 0.0, 1e-3, _climb(SECONDS), hover, STUCK),
        Check("free fall, speed after 1 s", "m/s", -G, 1e-3, _axis("velocity_m_s", 2, 1.0), 0.5, FREE),
        Check("free fall, way after 1 s", "m", -G / 2.0, 0.012, _climb(1.0), 0.5, FREE),
        Check(
            "steady speed at 10 deg of tilt, drag x20", "m/s", steady, 0.01 * steady, _axis("velocity_m_s", 0), speed,
            {**STUCK, **leaning, "drag_scale": THICK},
        ),
        Check(
            "blown along by 2 m/s of wind, after 2 s", "m/s", blown, 0.01 * blown, _axis("velocity_m_s", 0), hover,
            {**STUCK, "wind_mean_m_s": (WIND_M_S, 0.0, 0.0)},
        ),
        Check(
            f"ground effect at {100.0 * low_m:.0f} cm, lift over weight", "m/s2", lifted, 0.015 * lifted,
            lambda path: float(path.velocity_m_s[1, 2]) / CONTROL_S, hover, {**STUCK, "height_m": low_m},
        ),
    ]  # fmt: skip


def _floor(airframe: Airframe) -> list[Check]:
    """A drone without thrust falls 20 cm. At rest the floor's spring, which fades in, carries the weight."""
    stiffness, soft_m = 45.0**2, 0.004
    depth = (G + math.sqrt(G * G + 4.0 * stiffness * G * soft_m)) / (2.0 * stiffness)
    drop = {**FREE, "height_m": 0.2 + airframe.rest_height_m}

    def bounce(path: Trajectory) -> float:
        height = path.position_m[:, 2]
        return float(height[int(np.argmin(height)) :].max())

    return [
        Check("drop: deepest point", "m", None, 2e-3, lambda p: float(p.position_m[:, 2].min()), 0.5, drop),
        Check("drop: top of the bounce", "m", None, 2e-3, bounce, 0.5, drop),
        Check("drop: height at rest", "m", airframe.rest_height_m - depth, 1e-4, _axis("position_m", 2), 0.5, drop),
    ]


def _rotations(airframe: Airframe) -> list[Check]:
    """0.1 s of rotors at two speeds; and a free top, whose spin axis goes round at (Jz - Jx) / Jx times its spin."""
    full, (jx, jy, jz) = airframe.rotor_thrust_max_n, airframe.inertia_kg_m2
    x, y = abs(airframe.rotor_xy_m[0][0]), abs(airframe.rotor_xy_m[0][1])
    high, low, seconds = 0.70, 0.66, 0.1
    more = 2.0 * full * (high**2 - low**2)
    yaw_m = abs(airframe.yaw_m[0])
    turned = math.copysign(1.0, airframe.spin[1])  # of the back-right rotor on the body
    across = (jx + jy) / 2.0
    angle = (jz - across) / across * SPIN_RAD_S[2] * SECONDS
    growth = (angle / SECONDS) ** 2 * SUBSTEP_S * SECONDS / 2.0  # of the explicit gyroscopic term, first order
    free = {**FREE, "inertia_kg_m2": (across, across, jz), "launch_rates_rad_s": SPIN_RAD_S}
    roll, pitch, yaw = more * y / jx * seconds, -more * x / jy * seconds, turned * more * yaw_m / jz * seconds
    pairs = (
        ("left rotors faster: rolls right (+)", 0, roll, (low, low, high, high)),
        ("front rotors faster: pitches up (-)", 1, pitch, (high, low, low, high)),
        ("rotors of one spin faster: yaws with their torque", 2, yaw, (low, high, low, high)),
    )
    return [
        *(
            Check(what, "rad/s", rate, 1e-3 * abs(rate) + 1e-4, _axis("rates_rad_s", axis, seconds), speeds, STUCK)
            for what, axis, rate, speeds in pairs
        ),
        Check(
            "free top: roll rate after 2 s", "rad/s", SPIN_RAD_S[0] * math.cos(angle),
            1.5 * growth * SPIN_RAD_S[0], _axis("rates_rad_s", 0),
            0.5, free,
        ),
    ]  # fmt: skip


def _responses(airframe: Airframe) -> list[Check]:
    """Motors start at hover; the command steps after one control step."""
    hover, tau = airframe.hover_speed, airframe.motor_tau_up_s
    wanted = math.sqrt(1.5 / airframe.thrust_to_weight)
    after = STEP_AT * CONTROL_S + round(tau / CONTROL_S) * CONTROL_S
    lag = 1.0 - math.exp(-(after - STEP_AT * CONTROL_S) / tau)
    rate = 1.0
    return [
        Check(
            f"motor speed {after - STEP_AT * CONTROL_S:.2f} s after a step of thrust", "of full",
            hover + lag * (wanted - hover), 1e-3, _axis("motor_speed", 0, after), hover, {}, (1.5 * G, 0.0, 0.0, 0.0),
        ),
        Check(
            "roll rate step: rise time", "s", None, 3e-3, lambda p: rise_time_s(p, rate), hover, {},
            (G, rate, 0.0, 0.0),
        ),
        Check(
            "roll rate step: overshoot", "of step", None, 0.02, lambda p: overshoot(p, rate), hover, {},
            (G, rate, 0.0, 0.0),
        ),
    ]  # fmt: skip


def common_experiment(airframe: Airframe, asked: list[Check]) -> Experiment:
    """One drone for each check, `SECONDS` long."""
    n = len(asked)
    nominal = nominal_flights(airframe, n)
    columns: dict[str, Array] = {}
    for lane, check in enumerate(asked):
        for name, value in check.fields.items():
            columns.setdefault(name, getattr(nominal, name).copy())[lane] = value
    commands = np.tile(np.array([G, 0.0, 0.0, 0.0])[:, None], (STEPS, 1, n))
    commands[STEP_AT:] = np.array([check.command for check in asked]).T
    speeds = np.array([np.broadcast_to(check.speeds, 4) for check in asked], dtype=np.float64).T
    return Experiment(airframe, nominal_flights(airframe, n, **columns), speeds, commands)
