"""Known answers of the quadrotor's equations, and what the rate loop does with them."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.airframe import load_airframe
from envs.physics import (
    Actuators,
    Body,
    accelerations,
    actuate,
    floor_force,
    forces,
    held_level,
    integrate,
    lag_motors,
    nominal_params,
)
from liquid_pilot.geometry import rotation_matrix
from liquid_pilot.observation import GRAVITY_M_S2
from liquid_pilot.ops import FLOAT_OPS, Vec3, Vec4
from liquid_pilot.rate_loop import RateLoopState, mix

AIRFRAME = load_airframe("cf2x")
PARAMS = nominal_params(AIRFRAME)
CALM = (0.0, 0.0, 0.0)
LEVEL = (1.0, 0.0, 0.0, 0.0)
HIGH = Body((0.0, 0.0, 50.0), CALM, LEVEL, CALM)


def accelerate(body: Body[float], speeds: Vec4[float], wind: Vec3[float] = CALM) -> tuple[Vec3[float], Vec3[float]]:
    matrix = rotation_matrix(body.attitude_wxyz)
    force = forces(FLOAT_OPS, AIRFRAME, PARAMS, body, matrix, speeds, wind)
    return accelerations(AIRFRAME, PARAMS, body, matrix, force)


def test_hover_speed_carries_the_weight() -> None:
    s = AIRFRAME.hover_speed
    linear, angular = accelerate(HIGH, (s, s, s, s))
    assert linear == pytest.approx((0.0, 0.0, 0.0), abs=1e-4)  # what is left is ground effect from 50 m
    assert angular == pytest.approx((0.0, 0.0, 0.0), abs=1e-9)


def test_stopped_motors_fall_freely() -> None:
    moving = replace(HIGH, velocity_m_s=(3.0, -2.0, 1.0))
    assert accelerate(moving, (0.0, 0.0, 0.0, 0.0))[0] == pytest.approx((0.0, 0.0, -GRAVITY_M_S2))


@pytest.mark.parametrize(("axis", "sign"), [(0, 1.0), (0, -1.0), (1, 1.0), (1, -1.0), (2, 1.0), (2, -1.0)])
def test_a_mixed_torque_turns_about_its_own_axis(axis: int, sign: float) -> None:
    wanted = [0.0, 0.0, 0.0]
    wanted[axis] = sign * 10.0 * AIRFRAME.inertia_kg_m2[axis]
    speeds = mix(FLOAT_OPS, AIRFRAME.mixer, AIRFRAME.mass_kg * GRAVITY_M_S2, (wanted[0], wanted[1], wanted[2]))
    expected = [0.0, 0.0, 0.0]
    expected[axis] = sign * 10.0
    assert accelerate(HIGH, speeds)[1] == pytest.approx(expected, abs=1e-3)


def test_spinning_rotors_are_blown_along_by_the_wind() -> None:
    s = AIRFRAME.hover_speed
    push = accelerate(HIGH, (s, s, s, s), (2.0, 0.0, 0.0))[0]
    assert push[0] > 0.05 and push[1] == 0.0
    still = replace(HIGH, velocity_m_s=(2.0, 0.0, 0.0))
    assert accelerate(still, (s, s, s, s))[0][0] == pytest.approx(-push[0])


def test_ground_effect_lifts_near_the_ground_only() -> None:
    def lift(height_m: float) -> float:
        body = replace(HIGH, position_m=(0.0, 0.0, height_m))
        return sum(
            forces(
                FLOAT_OPS, AIRFRAME, PARAMS, body, rotation_matrix(body.attitude_wxyz), (0.5, 0.5, 0.5, 0.5), CALM
            ).rotor_n
        )

    assert lift(0.05) > 1.05 * lift(1.0)
    assert lift(1.0) == pytest.approx(lift(10.0), rel=1e-3)


@given(depth_m=st.floats(-0.1, 0.1), climb_m_s=st.floats(-5.0, 5.0), slide_m_s=st.floats(-3.0, 3.0))
def test_the_floor_pushes_never_pulls_and_brakes(depth_m: float, climb_m_s: float, slide_m_s: float) -> None:
    body = replace(
        HIGH, position_m=(0.0, 0.0, AIRFRAME.rest_height_m - depth_m), velocity_m_s=(slide_m_s, 0.0, climb_m_s)
    )
    x, y, z = floor_force(FLOAT_OPS, AIRFRAME, AIRFRAME.mass_kg, body)
    assert z >= 0.0 and y == 0.0 and x * slide_m_s <= 0.0
    if depth_m <= 0.0:
        assert (x, z) == (0.0, 0.0)


@pytest.mark.parametrize("tilt_rad", [(0.3, 0.0), (0.0, -0.3), (-0.2, 0.2)])
def test_feet_turn_a_drone_upright_on_the_floor_and_do_nothing_in_the_air(tilt_rad: tuple[float, float]) -> None:
    half = math.hypot(*tilt_rad) / 2.0
    x, y = (math.sin(half) * part / (2.0 * half) for part in tilt_rad)
    rates = (0.5, -0.4, 0.3)
    for height_m in (AIRFRAME.rest_height_m - 0.006, AIRFRAME.rest_height_m):
        body: Body[float] = Body((0.0, 0.0, height_m), (0.0, 0.0, 0.0), (math.cos(half), x, y, 0.0), rates)
        for _ in range(1500):
            matrix = rotation_matrix(body.attitude_wxyz)
            angular = held_level(FLOAT_OPS, AIRFRAME, body, matrix, (0.0, 0.0, 0.0))
            body = integrate(FLOAT_OPS, body, (0.0, 0.0, 0.0), angular, 0.001)
        upright = rotation_matrix(body.attitude_wxyz)[2][2]
        if height_m < AIRFRAME.rest_height_m:
            assert upright > math.cos(0.03) and math.hypot(*body.rates_rad_s) < 0.5 * math.hypot(*rates)
        else:
            assert body.rates_rad_s == rates


@given(tau_s=st.floats(0.02, 0.2), h_s=st.floats(1e-4, 0.05))
def test_motor_lag_does_not_depend_on_the_step(tau_s: float, h_s: float) -> None:
    params = replace(PARAMS, motor_tau_up_s=tau_s, motor_tau_down_s=0.5 * tau_s)
    wanted = (0.9, 0.1, 0.5, 0.3)
    start = (0.2, 0.7, 0.5, 0.2)
    once = lag_motors(FLOAT_OPS, params, start, wanted, 2.0 * h_s)
    half = lag_motors(FLOAT_OPS, params, start, wanted, h_s)
    assert lag_motors(FLOAT_OPS, params, half, wanted, h_s) == pytest.approx(once)
    assert once[0] == pytest.approx(0.9 - 0.7 * math.exp(-2.0 * h_s / tau_s))
    assert once[1] == pytest.approx(0.1 + 0.6 * math.exp(-4.0 * h_s / tau_s))


def test_a_free_spin_keeps_its_angular_momentum() -> None:
    body = replace(HIGH, rates_rad_s=(3.0, -2.0, 4.0))

    def momentum(b: Body[float]) -> np.ndarray:
        return np.array(rotation_matrix(b.attitude_wxyz)) @ (np.array(AIRFRAME.inertia_kg_m2) * b.rates_rad_s)

    before = momentum(body)
    for _ in range(1000):
        linear, angular = accelerate(body, (0.0, 0.0, 0.0, 0.0))
        body = integrate(FLOAT_OPS, body, linear, angular, 0.001)
    assert momentum(body) == pytest.approx(before, rel=0.01, abs=0.01 * np.linalg.norm(before))
    assert math.sqrt(sum(q * q for q in body.attitude_wxyz)) == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_rate_loop_reaches_the_commanded_rate(axis: int) -> None:
    wanted = [0.0, 0.0, 0.0]
    wanted[axis] = 1.0
    s = AIRFRAME.hover_speed
    actuators = Actuators((s, s, s, s), RateLoopState(CALM, CALM))
    body = HIGH
    for _ in range(400):
        command = (GRAVITY_M_S2, (wanted[0], wanted[1], wanted[2]))
        actuators = actuate(FLOAT_OPS, AIRFRAME, PARAMS, actuators, command, body.rates_rad_s, 0.002)
        linear, angular = accelerate(body, actuators.motor_speed)
        body = integrate(FLOAT_OPS, body, linear, angular, 0.002)
    assert body.rates_rad_s == pytest.approx(wanted, abs=0.06)
