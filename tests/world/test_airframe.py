"""Airframe files: what is no quadrotor is refused with the reason, and the shipped ones fly as they should."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envs.airframe import AIRFRAME_DIR, Airframe, load_airframe
from envs.conditions import Conditions
from envs.flights import draw_flights
from envs.physics import Actuators, Body, accelerations, actuate, forces, integrate, nominal_params
from envs.pybullet_quad import ZERO3, PyBulletQuad
from envs.rollout import fly_privileged
from envs.scoring import score_hover
from liquid_pilot.errors import ConfigError
from liquid_pilot.geometry import rotation_matrix
from liquid_pilot.observation import GRAVITY_M_S2
from liquid_pilot.ops import FLOAT_OPS
from liquid_pilot.rate_loop import RateLoopState, mix
from policies.experts.geometric import GeometricController

CF2X = (AIRFRAME_DIR / "cf2x.toml").read_text(encoding="utf-8")
SHIPPED = sorted(path.stem for path in AIRFRAME_DIR.glob("*.toml"))
LEVEL = (1.0, 0.0, 0.0, 0.0)
STEADY = Conditions(
    airframe_spread=0.0,
    rotor_spread=0.0,
    wind_m_s=(0.0, 0.0),
    gyro_bias_rad_s=0.0,
    gyro_walk_rad_s2=0.0,
)


def edited(tmp_path: Path, pattern: str, replacement: str) -> Path:
    text, count = re.subn(pattern, replacement, CF2X, count=1, flags=re.MULTILINE)
    assert count == 1
    path = tmp_path / "edited.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("mass_kg", "27", r"mass_kg is 27 .*grams"),
        ("mass_kg", "-0.027", "mass_kg is -0.027"),
        ("inertia_kg_m2", "[1e-5, 1e-5, 5e-5]", "sum of the other two"),
        ("inertia_kg_m2", "[140.0, 140.0, 217.0]", r"inertia_kg_m2 is .*g cm\^2"),
        ("inertia_kg_m2", "[1.4e-9, 1.4e-9, 2.17e-9]", "inertia_kg_m2 is .*0.03 to 2"),
        ("rotor_xy_m", "[[28, -28], [-28, -28], [-28, 28], [28, 28]]", "mm or cm"),
        ("rotor_xy_m", "[[0.028, 0.028], [-0.028, 0.028], [-0.028, -0.028], [0.028, -0.028]]", "front-right"),
        ("rotor_xy_m", "[[0.028, -0.028], [-0.035, -0.028], [-0.035, 0.028], [0.028, 0.028]]", "mirror"),
        ("rotor_xy_m", "[[0.028, -0.028], [-0.028, -0.028], [-0.028, 0.028]]", "wrong kind"),
        ("spin", "[1, 1, 1, 1]", "neighbours"),
        ("spin", "[-1, -1, 1, 1]", "neighbours"),
        ("thrust_to_weight", "0.9", "thrust_to_weight is 0.9"),
        ("thrust_to_weight", "-2.25", "thrust_to_weight"),
        ("thrust_to_weight", "60.0", "1.2 to 20"),
        ("thrust_coefficient_n_rpm2", "2.88e-8", r"thrust_coefficient_n_rpm2 .*\(rad/s\)\^2"),
        ("thrust_coefficient_n_rpm2", "0.0", "coefficient of thrust"),
        ("torque_coefficient_nm_rpm2", "7.24e-10", "torque_coefficient_nm_rpm2"),
        ("torque_coefficient_nm_rpm2", "1e-13", "figures of merit"),
        ("propeller_radius_m", "46.3", "propeller_radius_m"),
        ("propeller_radius_m", "0.0462696", "is the radius a diameter"),
        ("drag_coefficient_xy", "-1e-7", "drag_coefficient_xy"),
        ("drag_coefficient_z", "0.1", "drag_coefficient_z"),
        ("ground_effect_coefficient", "-1.0", "ground_effect_coefficient"),
        ("motor_tau_up_s", "60.0", "motor_tau_up_s is 60; .*milliseconds"),
        ("motor_tau_down_s", "0.0", "motor_tau_down_s"),
        ("idle_speed", "0.9", "idle_speed"),
        ("rest_height_m", "20.0", "rest_height_m"),
        ("kp_per_s", "[25000.0, 25.0, 12.0]", "kp_per_s"),
        ("ki_per_s2", "[-1.0, 30.0, 15.0]", "ki_per_s2"),
        ("derivative_tau_s", "8.0", "derivative_tau_s"),
        ("mass_kg", "= 1", "is not TOML"),
        ("mass_kg", "'27 g'", "mass_kg is '27 g', of a wrong kind"),
        ("mass_kg", "nan", "finite number"),
        ("mass_kg", "true", "finite number"),
        ("mass_kg", "1" + "0" * 400, "finite number"),
        ("spin", "[-1.0, 1.0, -1.0, 1.0]", "whole number"),
        ("name", "''", "a text"),
        ("inertia_kg_m2", "[1e-5, 1e-5]", "wrong kind"),
    ],
)
def test_what_is_no_quadrotor_is_refused(tmp_path: Path, key: str, value: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"(?s).*edited.toml.*{said}"):
        load_airframe(edited(tmp_path, rf"^{key} = .*$", f"{key} = {value}"))


@pytest.mark.parametrize(
    ("pattern", "replacement", "said"),
    [
        (r"^mass_kg = .*$", "", "missing keys .*mass_kg"),
        (r"^mass_kg", "weight = 1.0\nmass_kg", "unknown keys .*weight"),
        (r"^kd = .*$", "", r"\[rate_loop\]: missing keys .*kd"),
        (r"(?s)^\[rate_loop\].*", "rate_loop = 3", "rate_loop.* is 3; write a table"),
    ],
)
def test_missing_and_unknown_keys_are_named(tmp_path: Path, pattern: str, replacement: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_airframe(edited(tmp_path, pattern, replacement))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=150)
@given(
    key=st.sampled_from(re.findall(r"^(\w+) = ", CF2X, flags=re.MULTILINE)),
    value=st.one_of(st.floats(), st.integers(), st.booleans(), st.lists(st.floats(), max_size=4)),
)
def test_no_value_breaks_the_loader_otherwise(tmp_path: Path, key: str, value: object) -> None:
    written = str(value).lower() if isinstance(value, bool) else repr(value)
    try:
        airframe = load_airframe(edited(tmp_path, rf"^{key} = .*$", f"{key} = {written}"))
    except ConfigError:
        return
    assert math.isfinite(airframe.speed_max_rpm) and 0.0 < airframe.hover_speed < 1.0


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown airframe 'cf3x'; choose one of: cf2x, companion, racer"):
        load_airframe("cf3x")
    with pytest.raises(ConfigError, match="is no file"):
        load_airframe(tmp_path / "own.toml")


@pytest.mark.parametrize("name", SHIPPED)
def test_a_file_by_path_is_the_airframe_by_name(name: str) -> None:
    assert load_airframe(AIRFRAME_DIR / f"{name}.toml") == load_airframe(name)
    assert load_airframe(name).name == name


@pytest.mark.parametrize("name", SHIPPED)
def test_hover_thrust_is_carried_by_the_hover_speed(name: str) -> None:
    airframe = load_airframe(name)
    weight = airframe.mass_kg * GRAVITY_M_S2
    assert 4.0 * airframe.rotor_thrust_max_n * airframe.hover_speed**2 == pytest.approx(weight)
    assert mix(FLOAT_OPS, airframe.mixer, weight, (0.0, 0.0, 0.0)) == pytest.approx([airframe.hover_speed] * 4)
    force_n = airframe.thrust_coefficient_n_rpm2 * airframe.speed_max_rpm**2
    assert force_n == pytest.approx(airframe.rotor_thrust_max_n)


def test_full_thrust_and_drag_of_the_racer_end_at_its_top_speed() -> None:
    racer = load_airframe("racer")
    sideways = GRAVITY_M_S2 * math.sqrt(racer.thrust_to_weight**2 - 1.0)
    drag_per_s = racer.drag_coefficient_xy * 4.0 * racer.speed_max_rad_s / racer.mass_kg
    assert sideways / drag_per_s == pytest.approx(200.0 / 3.6, rel=0.01)


def step_response(
    airframe: Airframe, axis: int, step_rad_s: float, motor_tau_s: float, h_s: float = 0.002
) -> list[float]:
    """Share of a step of the body rate over 1.5 s, closed through motors and rotors; the body is kept level."""
    params = replace(nominal_params(airframe), motor_tau_up_s=motor_tau_s, motor_tau_down_s=motor_tau_s)
    s = airframe.hover_speed
    actuators, rates = Actuators((s, s, s, s), RateLoopState(ZERO3, ZERO3)), ZERO3
    wanted = (step_rad_s * (axis == 0), step_rad_s * (axis == 1), step_rad_s * (axis == 2))
    response = []
    for _ in range(round(1.5 / h_s)):
        body = Body((0.0, 0.0, 50.0), ZERO3, LEVEL, rates)
        actuators = actuate(FLOAT_OPS, airframe, params, actuators, (GRAVITY_M_S2, wanted), rates, h_s)
        matrix = rotation_matrix(LEVEL)
        force = forces(FLOAT_OPS, airframe, params, body, matrix, actuators.motor_speed, ZERO3)
        linear, angular = accelerations(airframe, params, body, matrix, force)
        rates = integrate(FLOAT_OPS, body, linear, angular, h_s).rates_rad_s
        response.append(rates[axis] / step_rad_s)
    return response


LIMITS = {  # (time to 90 %, overshoot): roll and pitch, yaw
    "cf2x": ((0.15, 0.20), (0.20, 0.36)),  # no derivative in yaw: a slow motor overshoots
    "racer": ((0.18, 0.11), (0.35, 0.08)),
    "companion": ((0.18, 0.11), (0.35, 0.08)),
}


@pytest.mark.parametrize("motor_tau_s", Conditions().motor_tau_s)
@pytest.mark.parametrize("name", SHIPPED)
def test_a_step_of_the_body_rate_is_followed_with_fast_and_slow_motors(name: str, motor_tau_s: float) -> None:
    airframe, h_s = load_airframe(name), 0.002
    for axis, step_rad_s, (rise_s, overshoot) in zip(
        (0, 1, 2), (3.0, 3.0, 0.5), (LIMITS[name][0], *LIMITS[name]), strict=True
    ):
        response = np.array(step_response(airframe, axis, step_rad_s, motor_tau_s, h_s))
        assert np.argmax(response >= 0.9) * h_s <= rise_s and response.max() >= 0.9
        assert response.max() <= 1.0 + overshoot
        assert np.abs(response[-250:] - 1.0).max() <= 0.05  # the last half second


@pytest.mark.parametrize("name", SHIPPED)
def test_hover_in_pybullet_takes_the_weight_at_the_hover_speed(name: str) -> None:
    airframe = load_airframe(name)
    flights = draw_flights(airframe, STEADY, 2, np.random.default_rng(3))
    with PyBulletQuad(airframe) as quad:
        for i in range(len(flights)):
            row, rng = flights.rows(slice(i, i + 1)), np.random.default_rng([3, i])
            trace = fly_privileged(GeometricController(), airframe, row, STEADY, rng, 6.0, quad)
            score = score_hover(trace, 6.0)
            assert score.success and score.speed_error_m_s < 0.03 and score.height_error_m < 0.03
            last = trace.t_s > trace.t_s[-1] - 1.0
            assert trace.thrust_m_s2[last].mean() == pytest.approx(GRAVITY_M_S2, rel=0.01)
            assert quad.actuators.motor_speed == pytest.approx((airframe.hover_speed,) * 4, rel=0.01)
            thrust_n = sum(airframe.rotor_thrust_max_n * speed**2 for speed in quad.actuators.motor_speed)
            assert thrust_n == pytest.approx(airframe.mass_kg * GRAVITY_M_S2, rel=0.02)
