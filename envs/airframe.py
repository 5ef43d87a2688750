"""Airframes: facts of one quadrotor from a TOML file, checked on load."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from envs.toml_tables import build, find_table, read_table
from liquid_pilot.errors import ConfigError
from liquid_pilot.observation import GRAVITY_M_S2
from liquid_pilot.rate_loop import Mixer, RateLoopGains

AIRFRAME_DIR: Final = Path(__file__).parent / "airframes"
AIR_DENSITY_KG_M3: Final = 1.225
SOUND_M_S: Final = 340.0


@dataclass(frozen=True)
class Airframe:
    """Nominal quadrotor. Rotor order front-right, back-right, back-left, front-left; body FLU.

    No slots: what physics asks for at every step is computed once and kept.
    """

    name: str
    mass_kg: float
    inertia_kg_m2: tuple[float, float, float]
    rotor_xy_m: tuple[tuple[float, float], tuple[float, float], tuple[float, float], tuple[float, float]]
    spin: tuple[int, int, int, int]
    thrust_coefficient_n_rpm2: float
    torque_coefficient_nm_rpm2: float
    thrust_to_weight: float
    drag_coefficient_xy: float
    drag_coefficient_z: float
    ground_effect_coefficient: float
    propeller_radius_m: float
    motor_tau_up_s: float
    motor_tau_down_s: float
    idle_speed: float
    rest_height_m: float
    rate_loop: RateLoopGains

    @cached_property
    def rotor_thrust_max_n(self) -> float:
        """Thrust of one rotor at full speed."""
        return self.thrust_to_weight * self.mass_kg * GRAVITY_M_S2 / 4.0

    @property
    def speed_max_rpm(self) -> float:
        """Motor speed at full thrust."""
        return math.sqrt(self.rotor_thrust_max_n / self.thrust_coefficient_n_rpm2)

    @cached_property
    def speed_max_rad_s(self) -> float:
        """Motor speed at full thrust, rad/s."""
        return self.speed_max_rpm * 2.0 * math.pi / 60.0

    @cached_property
    def yaw_m(self) -> tuple[float, float, float, float]:
        """Yaw torque per rotor thrust, signed by spin."""
        ratio = self.torque_coefficient_nm_rpm2 / self.thrust_coefficient_n_rpm2
        a, b, c, d = self.spin
        return a * ratio, b * ratio, c * ratio, d * ratio

    @property
    def hover_speed(self) -> float:
        """Motor speed that carries the weight, as a fraction of full speed."""
        return math.sqrt(1.0 / self.thrust_to_weight)

    @cached_property
    def mixer(self) -> Mixer:
        """What the rate loop knows of this airframe."""
        return Mixer(
            mass_kg=self.mass_kg,
            inertia_kg_m2=self.inertia_kg_m2,
            rotor_xy_m=self.rotor_xy_m,
            yaw_m=self.yaw_m,
            rotor_thrust_max_n=self.rotor_thrust_max_n,
            idle=self.idle_speed,
        )


def load_airframe(name: str | Path) -> Airframe:
    """Airframe by shipped name ("cf2x", "racer", "companion") or by path to a TOML file.

    Raises `ConfigError` for a file that is not there, keys that are missing or unknown, and figures that no quadrotor
    has, which a wrong unit usually makes.
    """
    path = find_table("airframe", name, AIRFRAME_DIR)
    airframe = build(Airframe, read_table(path), str(path))
    complaint = next(_complaints(airframe), None)
    if complaint is not None:
        raise ConfigError(f"{path}: {complaint}")
    return airframe


def _complaints(airframe: Airframe) -> Iterator[str]:
    """What cannot be about an airframe. The first complaint is final: the next check may divide by what it is about."""
    yield from _layout(airframe)
    yield from _body(airframe)
    yield from _propellers(airframe)
    yield from _motors(airframe)
    yield from _gains(airframe.rate_loop)


def _layout(airframe: Airframe) -> Iterator[str]:
    signs = [(x > 0.0) - (x < 0.0) for rotor in airframe.rotor_xy_m for x in rotor]
    if signs != [1, -1, -1, -1, -1, 1, 1, 1]:
        yield (
            f"rotor_xy_m is {airframe.rotor_xy_m}; in a body frame of x forward and y left the order is front-right "
            "(+, -), back-right (-, -), back-left (-, +), front-left (+, +): change the order or the signs"
        )
    arm = math.hypot(*airframe.rotor_xy_m[0])
    if not 0.01 <= arm <= 2.0:
        yield f"rotor_xy_m puts a rotor {arm:g} m from the centre; give metres, 0.01 to 2 (mm or cm given?)"
    for axis, name in enumerate("xy"):
        reach = [abs(rotor[axis]) for rotor in airframe.rotor_xy_m]
        if max(reach) > 1.02 * min(reach):
            yield (
                f"rotor_xy_m has |{name}| from {min(reach):g} to {max(reach):g} m; the mixer needs rotors that mirror "
                "each other about both body axes: measure from the centre of mass, or give the mean"
            )
    if airframe.spin not in ((-1, 1, -1, 1), (1, -1, 1, -1)):
        yield (
            f"spin is {airframe.spin}; neighbours must turn against each other: [-1, 1, -1, 1] where the front-right "
            "rotor turns the body clockwise seen from above, [1, -1, 1, -1] where it turns it the other way"
        )


def _body(airframe: Airframe) -> Iterator[str]:
    mass, inertia = airframe.mass_kg, airframe.inertia_kg_m2
    arm = math.hypot(*airframe.rotor_xy_m[0])
    if mass <= 0.0 or not 20.0 <= mass / arm**3 <= 4000.0:
        yield (
            f"mass_kg is {mass:g} with rotors {arm:g} m from the centre; drones of that size weigh "
            f"{20.0 * arm**3:.2g} to {4000.0 * arm**3:.2g} kg (mass in grams, or rotor_xy_m in mm or cm?)"
        )
    jx, jy, jz = inertia
    low, high = 0.03 * mass * arm**2, 2.0 * mass * arm**2
    if not (low <= min(inertia) and max(inertia) <= high):
        yield (
            f"inertia_kg_m2 is {inertia}; for this mass and arm each must lie in {low:.2g} to {high:.2g} kg m^2, "
            "which is 0.03 to 2 times mass times arm squared (g cm^2 or kg mm^2 given?)"
        )
    if jx + jy < jz or jy + jz < jx or jz + jx < jy:
        yield (
            f"inertia_kg_m2 is {inertia}; no body has a moment of inertia above the sum of the other two: "
            "check the figures and their order x, y, z"
        )
    if not 0.002 <= airframe.rest_height_m <= 3.0 * arm:
        yield (
            f"rest_height_m is {airframe.rest_height_m:g}; the centre of a standing drone of this size is 0.002 to "
            f"{3.0 * arm:.2g} m above the floor (millimetres given?)"
        )
    if not 1.2 <= airframe.thrust_to_weight <= 20.0:
        yield (
            f"thrust_to_weight is {airframe.thrust_to_weight:g}; full thrust of all four rotors over weight must lie "
            "in 1.2 to 20, or there is nothing left to steer with (one rotor's share, or grams given?)"
        )


def _propellers(airframe: Airframe) -> Iterator[str]:
    """Blade-element figures of a propeller: T = c_T rho n^2 D^4, Q = c_P / (2 pi) rho n^2 D^5, n in 1/s."""
    radius, thrust, torque = (
        airframe.propeller_radius_m,
        airframe.thrust_coefficient_n_rpm2,
        airframe.torque_coefficient_nm_rpm2,
    )
    if not 0.005 <= radius <= 1.0:
        yield f"propeller_radius_m is {radius:g}; it must lie in 0.005 to 1 m (millimetres or inches given?)"
    unit = AIR_DENSITY_KG_M3 / 3600.0 * (2.0 * radius) ** 4
    if not 0.03 <= thrust / unit <= 0.4:
        yield (
            f"thrust_coefficient_n_rpm2 is {thrust:g}, {thrust / unit:.2g} as a coefficient of thrust for propellers "
            f"of {radius:g} m radius; give {0.03 * unit:.2g} to {0.4 * unit:.2g} N per rpm squared "
            "(per (rad/s)^2, or in grams? or is the radius a diameter?)"
        )
    merit_torque = math.sqrt(2.0 / math.pi) * (thrust / unit) ** 1.5 * unit * radius / math.pi  # figure of merit 1
    if not merit_torque <= torque <= 50.0 * merit_torque:
        yield (
            f"torque_coefficient_nm_rpm2 is {torque:g}; with this thrust it must lie in {merit_torque:.2g} to "
            f"{50.0 * merit_torque:.2g} N m per rpm squared, figures of merit of 1 to 0.02 (per (rad/s)^2 given?)"
        )
    for name in ("drag_coefficient_xy", "drag_coefficient_z"):
        value = getattr(airframe, name)
        hover = 4.0 * airframe.speed_max_rad_s * airframe.hover_speed / airframe.mass_kg
        if not 0.0 <= value * hover <= 3.0:
            yield (
                f"{name} is {value:g}, {value * hover:.2g} m/s^2 per m/s in hover; give 0 to {3.0 / hover:.2g} N per "
                "(m/s) per (rad/s summed over the rotors), which is 0 to 3 (per rpm, or drag of the whole drone given?)"
            )
    if not 0.0 <= airframe.ground_effect_coefficient <= 30.0:
        yield (
            f"ground_effect_coefficient is {airframe.ground_effect_coefficient:g}; give 0 to 30: thrust grows by it "
            "times (radius / 4 heights) squared, 1 for a single rotor, about 4 for four"
        )


def _motors(airframe: Airframe) -> Iterator[str]:
    tip_m_s = airframe.speed_max_rad_s * airframe.propeller_radius_m
    if tip_m_s > SOUND_M_S:
        yield (
            f"full thrust needs {airframe.speed_max_rpm:.0f} rpm, {tip_m_s:.0f} m/s at the blade tips, faster than "
            "sound; check thrust_to_weight, thrust_coefficient_n_rpm2 and propeller_radius_m"
        )
    for name in ("motor_tau_up_s", "motor_tau_down_s"):
        if not 0.002 <= getattr(airframe, name) <= 0.5:
            value = getattr(airframe, name)
            yield f"{name} is {value:g}; a motor's lag must lie in 0.002 to 0.5 s (milliseconds given?)"
    if not 0.0 < airframe.idle_speed < airframe.hover_speed:
        yield (
            f"idle_speed is {airframe.idle_speed:g}; as a fraction of the largest speed it must lie between 0 and the "
            f"hover speed, {airframe.hover_speed:.3g} (percent or rpm given?)"
        )


def _gains(gains: RateLoopGains) -> Iterator[str]:
    spans = {
        "kp_per_s": (0.1, 200.0),
        "ki_per_s2": (0.0, 2000.0),
        "kd": (0.0, 10.0),
        "integral_limit_rad_s2": (0.0, 1000.0),
    }
    for name, (low, high) in spans.items():
        if not all(low <= value <= high for value in getattr(gains, name)):
            yield (
                f"[rate_loop] {name} is {getattr(gains, name)}; each must lie in {low:g} to {high:g}: gains are in "
                "angular acceleration, the inertia is multiplied in"
            )
    if not 0.0005 <= gains.derivative_tau_s <= 0.1:
        yield (
            f"[rate_loop] derivative_tau_s is {gains.derivative_tau_s:g}; it must lie in 0.0005 to 0.1 s "
            "(milliseconds, or a cut-off in Hz given?)"
        )
