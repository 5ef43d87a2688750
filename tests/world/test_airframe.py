"""Airframe files: what is no quadrotor is refused with the reason, and the shipped one is right."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from envs.airframe import AIRFRAME_DIR, load_airframe
from liquid_pilot.errors import ConfigError
from liquid_pilot.observation import GRAVITY_M_S2
from liquid_pilot.ops import FLOAT_OPS
from liquid_pilot.rate_loop import mix

CF2X = (AIRFRAME_DIR / "cf2x.toml").read_text(encoding="utf-8")


def edited(tmp_path: Path, pattern: str, replacement: str) -> Path:
    text, count = re.subn(pattern, replacement, CF2X, count=1, flags=re.MULTILINE)
    assert count == 1
    path = tmp_path / "edited.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("pattern", "replacement", "said"),
    [
        (r"^mass_kg = .*$", "mass_kg = 27.0e3", "mass_kg"),
        (r"^mass_kg = .*$", "", "missing keys .*mass_kg"),
        (r"^mass_kg", "weight = 1.0\nmass_kg", "unknown keys .*weight"),
        (r"^inertia_kg_m2 = .*$", "inertia_kg_m2 = [1e-5, 1e-5, 5e-5]", "inertia is not one of a body"),
        (r"^inertia_kg_m2 = .*$", "inertia_kg_m2 = [140.0, 140.0, 217.0]", "inertia is too large"),
        (r"^spin = .*$", "spin = [1, 1, 1, 1]", "spin"),
        (r"^thrust_to_weight = .*$", "thrust_to_weight = 0.9", "thrust_to_weight"),
        (r"^motor_tau_up_s = .*$", "motor_tau_up_s = 60.0", "motor_tau_up_s"),
        (r"^idle_speed = .*$", "idle_speed = 0.9", "idle_speed"),
        (r"^kd = .*$", "", "missing keys .*kd"),
        (r"^mass_kg = .*$", "mass_kg = = 1", "is not TOML"),
        (r"^mass_kg = .*$", "mass_kg = '27 g'", "wrong kind"),
        (r"^inertia_kg_m2 = .*$", "inertia_kg_m2 = [1e-5, 1e-5]", "wrong kind"),
    ],
)
def test_what_is_no_quadrotor_is_refused(tmp_path: Path, pattern: str, replacement: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_airframe(edited(tmp_path, pattern, replacement))


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown airframe 'cf3x'; choose one of: .*cf2x"):
        load_airframe("cf3x")


def test_a_file_by_path_is_the_airframe_by_name() -> None:
    assert load_airframe(AIRFRAME_DIR / "cf2x.toml") == load_airframe("cf2x")


def test_hover_thrust_is_carried_by_the_hover_speed() -> None:
    airframe = load_airframe("cf2x")
    weight = airframe.mass_kg * GRAVITY_M_S2
    assert 4.0 * airframe.rotor_thrust_max_n * airframe.hover_speed**2 == pytest.approx(weight)
    assert mix(FLOAT_OPS, airframe.mixer, weight, (0.0, 0.0, 0.0)) == pytest.approx([airframe.hover_speed] * 4)
    force_n = airframe.thrust_coefficient_n_rpm2 * airframe.speed_max_rpm**2
    assert force_n == pytest.approx(airframe.rotor_thrust_max_n)
