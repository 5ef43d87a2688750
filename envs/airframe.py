"""Airframes: facts of one quadrotor from a TOML file, checked on load."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from liquid_pilot.errors import ConfigError, unknown_name
from liquid_pilot.observation import GRAVITY_M_S2
from liquid_pilot.rate_loop import Mixer, RateLoopGains

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover  # the same parser under its older name
    import tomli as tomllib

AIRFRAME_DIR: Final = Path(__file__).parent / "airframes"


@dataclass(frozen=True, slots=True)
class Airframe:
    """Nominal quadrotor. Rotor order front-right, back-right, back-left, front-left; body FLU."""

    name: str
    mass_kg: float
    inertia_kg_m2: tuple[float, float, float]
    rotor_xy_m: tuple[tuple[float, float], ...]
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

    @property
    def rotor_thrust_max_n(self) -> float:
        """Thrust of one rotor at full speed."""
        return self.thrust_to_weight * self.mass_kg * GRAVITY_M_S2 / 4.0

    @property
    def speed_max_rpm(self) -> float:
        """Motor speed at full thrust."""
        return math.sqrt(self.rotor_thrust_max_n / self.thrust_coefficient_n_rpm2)

    @property
    def speed_max_rad_s(self) -> float:
        """Motor speed at full thrust, rad/s."""
        return self.speed_max_rpm * 2.0 * math.pi / 60.0

    @property
    def yaw_m(self) -> tuple[float, float, float, float]:
        """Yaw torque per rotor thrust, signed by spin."""
        ratio = self.torque_coefficient_nm_rpm2 / self.thrust_coefficient_n_rpm2
        a, b, c, d = self.spin
        return a * ratio, b * ratio, c * ratio, d * ratio

    @property
    def hover_speed(self) -> float:
        """Motor speed that carries the weight, as a fraction of full speed."""
        return math.sqrt(1.0 / self.thrust_to_weight)

    @property
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


def _tuple(value: Any) -> Any:
    return tuple(_tuple(item) for item in value) if isinstance(value, list) else value


def _build(cls: type[Any], table: dict[str, Any], path: Path) -> Any:
    names = {field.name for field in fields(cls)}
    missing, extra = sorted(names - set(table)), sorted(set(table) - names)
    if missing or extra:
        raise ConfigError(f"{path}: missing keys {missing}, unknown keys {extra}; the keys are {sorted(names)}")
    return cls(**{key: _tuple(value) for key, value in table.items()})


def load_airframe(name: str | Path) -> Airframe:
    """Airframe by shipped name ("cf2x") or by path to a TOML file. Raises `ConfigError`."""
    path = Path(name) if str(name).endswith(".toml") else AIRFRAME_DIR / f"{name}.toml"
    if not path.is_file():
        raise ConfigError(unknown_name("airframe", str(name), [p.stem for p in AIRFRAME_DIR.glob("*.toml")]))
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML ({error}); see {AIRFRAME_DIR / 'cf2x.toml'} for the format") from error
    try:
        table["rate_loop"] = _build(RateLoopGains, table.get("rate_loop", {}), path)
        airframe: Airframe = _build(Airframe, table, path)
        _check(airframe, path)
    except (TypeError, ValueError, ArithmeticError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path} holds a value of a wrong kind ({error}); write it as cf2x.toml does") from error
    return airframe


def _check(airframe: Airframe, path: Path) -> None:
    """Refuse what cannot be a quadrotor; a wrong unit usually lands here."""
    jx, jy, jz = airframe.inertia_kg_m2
    arm2 = max(x * x + y * y for x, y in airframe.rotor_xy_m)
    checks = (
        (0.005 <= airframe.mass_kg <= 50.0, "mass_kg must be 0.005 to 50 kg (grams given?)"),
        (len(airframe.rotor_xy_m) == 4, "rotor_xy_m must list four rotors"),
        (sorted(airframe.spin) == [-1, -1, 1, 1], "spin must hold two +1 and two -1"),
        (min(jx, jy, jz) > 0 and jx + jy >= jz and jy + jz >= jx and jz + jx >= jy, "inertia is not one of a body"),
        (
            max(jx, jy, jz) <= 4.0 * airframe.mass_kg * arm2,
            "inertia is too large for the mass and arms (g cm^2 given?)",
        ),
        (1.1 <= airframe.thrust_to_weight <= 20.0, "thrust_to_weight must be 1.1 to 20"),
        (0.001 <= airframe.motor_tau_up_s <= 1.0, "motor_tau_up_s must be 0.001 to 1 s (milliseconds given?)"),
        (0.001 <= airframe.motor_tau_down_s <= 1.0, "motor_tau_down_s must be 0.001 to 1 s (milliseconds given?)"),
        (0.0 < airframe.idle_speed < airframe.hover_speed, "idle_speed must lie between 0 and the hover speed"),
    )
    for holds, message in checks:
        if not holds:
            raise ConfigError(f"{path}: {message}")
