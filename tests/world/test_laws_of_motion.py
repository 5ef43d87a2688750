"""Conservation laws of the rigid body, and their errors shrinking with the substep as first order says."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from envs.airframe import load_airframe
from envs.physics import Actuators, Body, accelerations, forces, integrate, nominal_params
from envs.pybullet_quad import PyBulletQuad
from liquid_pilot.geometry import rotate_by_rates, rotation_matrix, to_world
from liquid_pilot.observation import GRAVITY_M_S2
from liquid_pilot.ops import FLOAT_OPS, Vec3, Vec4
from liquid_pilot.rate_loop import RateLoopState

AIRFRAME = load_airframe("cf2x")
PARAMS = replace(nominal_params(AIRFRAME), inertia_kg_m2=(1.0e-5, 1.6e-5, 2.2e-5), drag_scale=0.0)
NONE = (0.0, 0.0, 0.0)
STOPPED = (0.0, 0.0, 0.0, 0.0)
TUMBLE = Body((0.0, 0.0, 50.0), (1.0, 2.0, 3.0), (0.8, 0.0, 0.6, 0.0), (3.0, 4.0, 2.0))

Flight = Callable[[Body[float], float, float], Body[float]]


def batched_way(body: Body[float], h_s: float, seconds: float) -> Body[float]:
    """The order of both batched engines, on floats."""
    for _ in range(round(seconds / h_s)):
        matrix = rotation_matrix(body.attitude_wxyz)
        force = forces(FLOAT_OPS, AIRFRAME, PARAMS, body, matrix, STOPPED, NONE)
        body = integrate(FLOAT_OPS, body, *accelerations(AIRFRAME, PARAMS, body, matrix, force), h_s)
    return body


def pybullets_way(body: Body[float], h_s: float, seconds: float) -> Body[float]:
    with PyBulletQuad(AIRFRAME) as quad:
        quad.reset(PARAMS, body.position_m, body.attitude_wxyz, body.velocity_m_s, body.rates_rad_s)
        quad.actuators = Actuators(STOPPED, RateLoopState(NONE, NONE))
        for _ in range(round(seconds / h_s)):
            quad.push(NONE, h_s)
        return quad.body


def angular_momentum(body: Body[float]) -> NDArray[np.float64]:
    """In the world."""
    x, y, z = (j * w for j, w in zip(PARAMS.inertia_kg_m2, body.rates_rad_s, strict=True))
    return np.array(to_world(rotation_matrix(body.attitude_wxyz), (x, y, z)))


def spin_energy(body: Body[float]) -> float:
    return 0.5 * sum(j * w * w for j, w in zip(PARAMS.inertia_kg_m2, body.rates_rad_s, strict=True))


def fall_energy(body: Body[float]) -> float:
    return 0.5 * math.hypot(*body.velocity_m_s) ** 2 + GRAVITY_M_S2 * body.position_m[2]


both_ways = pytest.mark.parametrize("fly", [batched_way, pybullets_way])


@both_ways
def test_a_free_tumble_keeps_its_angular_momentum(fly: Flight) -> None:
    before = angular_momentum(TUMBLE)
    errors = [float(np.linalg.norm(angular_momentum(fly(TUMBLE, h, 1.0)) - before)) for h in (0.002, 0.001)]
    size = float(np.linalg.norm(before))
    assert errors[0] < 0.03 * size
    assert 1.5 < errors[0] / errors[1] < 2.5  # first order: half the substep, half the error


@both_ways
def test_the_energy_of_a_free_tumble_drifts_little_and_as_first_order_does(fly: Flight) -> None:
    drifts = [spin_energy(fly(TUMBLE, h, 1.0)) / spin_energy(TUMBLE) - 1.0 for h in (0.002, 0.001)]
    assert 0.0 < drifts[0] < 0.03  # explicit in the gyroscopic term: it gains
    assert 1.5 < drifts[0] / drifts[1] < 2.5


@both_ways
def test_a_fall_keeps_its_energy_to_first_order_and_its_horizontal_momentum(fly: Flight) -> None:
    lost = []
    for h in (0.002, 0.001):
        after = fly(TUMBLE, h, 1.0)
        assert after.velocity_m_s[:2] == pytest.approx(TUMBLE.velocity_m_s[:2], abs=1e-9)
        lost.append(fall_energy(TUMBLE) - fall_energy(after))
    exact = [GRAVITY_M_S2**2 * h / 2.0 for h in (0.002, 0.001)]  # semi-implicit Euler falls g h t / 2 too far
    assert lost == pytest.approx(exact, rel=1e-3)


@both_ways
def test_a_long_tumble_keeps_a_unit_quaternion(fly: Flight) -> None:
    attitude = fly(TUMBLE, 0.002, 10.0).attitude_wxyz
    assert math.hypot(*attitude) == pytest.approx(1.0, abs=1e-9)


rates = st.floats(-35.0, 35.0)


@settings(max_examples=50)
@given(st.tuples(rates, rates, rates), st.tuples(*[st.floats(-1.0, 1.0)] * 4), st.floats(1e-4, 0.02))
def test_turning_keeps_the_norm_of_any_quaternion(spin: Vec3[float], q: Vec4[float], h_s: float) -> None:
    turned = q
    for _ in range(20):
        turned = rotate_by_rates(FLOAT_OPS, turned, spin, h_s)
    assert math.hypot(*turned) == pytest.approx(math.hypot(*q), abs=1e-9)


def test_an_energy_only_falls_with_drag() -> None:
    """Rotors at hover speed, blown by nothing: what moves slows down, what is still stays."""
    speed = AIRFRAME.hover_speed
    params = nominal_params(AIRFRAME)
    body, h = replace(TUMBLE, attitude_wxyz=(1.0, 0.0, 0.0, 0.0), rates_rad_s=NONE), 0.002
    speeds = [math.hypot(*body.velocity_m_s)]
    for _ in range(200):
        matrix = rotation_matrix(body.attitude_wxyz)
        force = forces(FLOAT_OPS, AIRFRAME, params, body, matrix, (speed, speed, speed, speed), NONE)
        body = integrate(FLOAT_OPS, body, *accelerations(AIRFRAME, params, body, matrix, force), h)
        speeds.append(math.hypot(*body.velocity_m_s))
    assert np.all(np.diff(speeds) < 0.0)
