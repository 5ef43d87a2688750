"""PyBulletQuad: known answers, its twin in plain floats, isolation, and the launch from the hand."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pybullet
import pytest

from envs.airframe import load_airframe
from envs.conditions import SUBSTEP_S, Conditions
from envs.flights import RELEASE_THRUST, draw_flights
from envs.launch import HandLaunch
from envs.physics import Actuators, Body, accelerations, actuate, forces, integrate, nominal_params
from envs.pybullet_quad import PyBulletQuad, flight_params
from liquid_pilot.errors import SimulationError
from liquid_pilot.geometry import rotation_matrix, to_world
from liquid_pilot.messages import Imu
from liquid_pilot.observation import GRAVITY_M_S2
from liquid_pilot.ops import FLOAT_OPS, Vec3, Vec4
from liquid_pilot.rate_loop import RateLoopState

AIRFRAME = load_airframe("cf2x")
NOMINAL = nominal_params(AIRFRAME)
CALM = (0.0, 0.0, 0.0)
LEVEL = (1.0, 0.0, 0.0, 0.0)
ROLLED = (math.cos(math.pi / 4), math.sin(math.pi / 4), 0.0, 0.0)
H = SUBSTEP_S
STOPPED = (0.0, 0.0, 0.0, 0.0)


def set_motors(quad: PyBulletQuad, speeds: Vec4[float]) -> None:
    quad.actuators = Actuators(speeds, RateLoopState(CALM, CALM))


@pytest.fixture(scope="module", name="quad")
def shared_quad() -> PyBulletQuad:
    return PyBulletQuad(AIRFRAME)


def test_hover_thrust_is_the_weight(quad: PyBulletQuad) -> None:
    quad.reset(NOMINAL, (0.0, 0.0, 50.0), LEVEL)
    s = AIRFRAME.hover_speed
    set_motors(quad, (s, s, s, s))
    for _ in range(500):
        quad.push(CALM, H)
    assert quad.body.position_m == pytest.approx((0.0, 0.0, 50.0), abs=1e-4)
    assert quad.body.attitude_wxyz == pytest.approx(LEVEL, abs=1e-9)


def test_free_fall(quad: PyBulletQuad) -> None:
    quad.reset(NOMINAL, (0.0, 0.0, 50.0), ROLLED, (1.0, 2.0, 3.0))
    set_motors(quad, STOPPED)
    for _ in range(500):
        quad.push(CALM, H)
    assert quad.body.velocity_m_s == pytest.approx((1.0, 2.0, 3.0 - GRAVITY_M_S2))
    fallen = 3.0 - GRAVITY_M_S2 * (1.0 + H) / 2.0  # semi-implicit Euler sums n (n + 1) / 2 steps
    assert quad.body.position_m == pytest.approx((1.0, 2.0, 50.0 + fallen))
    assert quad.acceleration_m_s2 == pytest.approx((0.0, 0.0, -GRAVITY_M_S2))


@pytest.mark.parametrize("attitude", [LEVEL, ROLLED, (0.5, 0.5, 0.5, 0.5), (0.5, -0.5, 0.5, 0.5)])
def test_forces_and_torques_act_in_the_body_frame(quad: PyBulletQuad, attitude: Vec4[float]) -> None:
    quad.reset(NOMINAL, (0.0, 0.0, 50.0), attitude)
    a = AIRFRAME.hover_speed
    set_motors(quad, (0.9 * a, 1.1 * a, 0.9 * a, 1.1 * a))  # the two that spin alike: pure yaw
    quad.push(CALM, H)
    thrust = sum((f * a) ** 2 for f in (0.9, 1.1, 0.9, 1.1)) * AIRFRAME.rotor_thrust_max_n
    yaw = (1.1**2 - 0.9**2) * 2.0 * a * a * AIRFRAME.rotor_thrust_max_n * abs(AIRFRAME.yaw_m[0])
    assert quad.body.rates_rad_s == pytest.approx((0.0, 0.0, yaw / AIRFRAME.inertia_kg_m2[2] * H), rel=1e-3, abs=1e-9)
    lift = to_world(rotation_matrix(attitude), (0.0, 0.0, thrust / AIRFRAME.mass_kg))
    expected = (lift[0], lift[1], lift[2] - GRAVITY_M_S2)
    assert quad.acceleration_m_s2 == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_more_thrust_in_front_pitches_up_and_on_the_left_rolls_right(quad: PyBulletQuad) -> None:
    for speeds, axis, sign in (((0.7, 0.6, 0.6, 0.7), 1, -1.0), ((0.6, 0.6, 0.7, 0.7), 0, 1.0)):
        quad.reset(NOMINAL, (0.0, 0.0, 50.0), ROLLED)
        set_motors(quad, speeds)
        quad.push(CALM, H)
        rates = quad.body.rates_rad_s
        assert sign * rates[axis] > 0.1
        assert [r for i, r in enumerate(rates) if i != axis] == pytest.approx([0.0, 0.0], abs=1e-9)


def test_a_drop_comes_to_rest_on_the_floor(quad: PyBulletQuad) -> None:
    quad.reset(NOMINAL, (0.0, 0.0, 0.5), LEVEL, (0.5, 0.0, 0.0))
    set_motors(quad, STOPPED)
    lowest = math.inf
    for _ in range(2500):
        quad.push(CALM, H)
        lowest = min(lowest, quad.body.position_m[2])
    assert lowest > -0.1
    assert quad.body.velocity_m_s == pytest.approx((0.0, 0.0, 0.0), abs=0.01)
    assert 0.0 < quad.body.position_m[2] < AIRFRAME.rest_height_m


def twin_step(body: Body[float], params: object, speeds: Vec4[float], wind: Vec3[float]) -> Body[float]:
    matrix = rotation_matrix(body.attitude_wxyz)
    force = forces(FLOAT_OPS, AIRFRAME, params, body, matrix, speeds, wind)  # type: ignore[arg-type]
    linear, angular = accelerations(AIRFRAME, params, body, matrix, force)  # type: ignore[arg-type]
    return integrate(FLOAT_OPS, body, linear, angular, H)


def test_the_twins_agree_on_the_same_motor_commands(quad: PyBulletQuad) -> None:
    flights = draw_flights(AIRFRAME, Conditions(), 24, np.random.default_rng(7))
    rng = np.random.default_rng(8)
    worst_m = worst_deg = 0.0
    command = (GRAVITY_M_S2, CALM)
    for i in range(len(flights)):
        row = flights.rows(slice(i, i + 1))
        params = flight_params(row)
        v, w, q = (tuple(a[0].tolist()) for a in (row.launch_velocity_m_s, row.launch_rates_rad_s, row.attitude_wxyz))
        body = Body((0.0, 0.0, float(row.height_m[0])), v, q, w)
        quad.reset(params, body.position_m, q, v, w)
        actuators = quad.actuators
        wind = tuple(row.wind_mean_m_s[0].tolist())
        for k in range(500):
            if k % 50 == 0:
                x, y, z = rng.uniform(-3.0, 3.0, 3).tolist()
                command = (float(rng.uniform(5.0, 18.0)), (x, y, z))
            actuators = actuate(FLOAT_OPS, AIRFRAME, params, actuators, command, body.rates_rad_s, H)
            quad.actuators = actuators
            body = twin_step(body, params, actuators.motor_speed, wind)
            quad.push(wind, H)
        worst_m = max(worst_m, math.dist(body.position_m, quad.body.position_m))
        same = abs(sum(a * b for a, b in zip(body.attitude_wxyz, quad.body.attitude_wxyz, strict=True)))
        worst_deg = max(worst_deg, math.degrees(2.0 * math.acos(min(1.0, same))))
    assert worst_m < 0.001  # 2 cm and 1 degree is what training needs; both integrate in the same order
    assert worst_deg < 0.05


@pytest.mark.parametrize("height_m", [50.0, 0.005])  # in the air, and in the floor
def test_one_force_and_one_torque_do_what_a_force_at_every_rotor_does(height_m: float) -> None:
    speeds, wind = (0.9, 0.2, 0.6, 0.4), (2.0, -1.0, 0.5)
    with PyBulletQuad(AIRFRAME) as whole, PyBulletQuad(AIRFRAME) as apart:
        for quad in (whole, apart):
            quad.reset(NOMINAL, (0.0, 0.0, height_m), (0.5, -0.5, 0.5, 0.5), (1.0, 2.0, -0.5), (3.0, -2.0, 1.0))
            set_motors(quad, speeds)
        drone, client, frame = (0, -1), apart.client, pybullet.LINK_FRAME
        force = forces(FLOAT_OPS, AIRFRAME, NOMINAL, apart.body, apart.matrix, speeds, wind)
        for (x, y), thrust_n in zip(AIRFRAME.rotor_xy_m, force.rotor_n, strict=True):
            pybullet.applyExternalForce(*drone, (0.0, 0.0, thrust_n), (x, y, 0.0), frame, client)
        pybullet.applyExternalForce(*drone, force.drag_n, CALM, frame, client)
        pybullet.applyExternalForce(*drone, force.floor_n, apart.body.position_m, pybullet.WORLD_FRAME, client)
        pybullet.applyExternalTorque(*drone, (0.0, 0.0, force.yaw_nm), frame, client)
        pybullet.setTimeStep(H, client)
        pybullet.stepSimulation(client)
        velocity, spin = pybullet.getBaseVelocity(0, client)
        whole.push(wind, H)
        assert whole.body.velocity_m_s == pytest.approx(velocity, rel=1e-12)
        assert to_world(whole.matrix, whole.body.rates_rad_s) == pytest.approx(spin, rel=1e-12)
    assert (force.floor_n[2] > 0.0) == (height_m < 1.0)


def test_a_free_spin_tumbles_as_the_formula_says(quad: PyBulletQuad) -> None:
    params = replace(NOMINAL, inertia_kg_m2=(1.0e-5, 1.6e-5, 2.2e-5))
    body = Body((0.0, 0.0, 50.0), CALM, LEVEL, (5.0, 4.0, 3.0))
    quad.reset(params, body.position_m, LEVEL, CALM, body.rates_rad_s)
    set_motors(quad, STOPPED)
    for _ in range(500):
        body = twin_step(body, params, STOPPED, CALM)
        quad.push(CALM, H)
    assert quad.body.rates_rad_s == pytest.approx(body.rates_rad_s, abs=0.05)
    assert math.dist(body.rates_rad_s, (5.0, 4.0, 3.0)) > 1.0  # without the gyroscopic term it would stay


def test_two_quads_never_touch_each_other() -> None:
    def fly(quad: PyBulletQuad) -> Body[float]:
        quad.substep((12.0, (0.5, -0.5, 0.2)), CALM, H)
        return quad.body

    with PyBulletQuad(AIRFRAME) as alone:
        expected = [fly(alone) for _ in range(50)]
    with PyBulletQuad(AIRFRAME) as one, PyBulletQuad(AIRFRAME) as other:
        for body in expected:
            assert fly(one) == body
            other.push((5.0, 0.0, 0.0), 0.001)  # the same place, another step, another wind


def test_a_reset_forgets_the_flight_before_bit_by_bit() -> None:
    def flight(quad: PyBulletQuad) -> list[Body[float]]:
        quad.reset(NOMINAL, (0.0, 0.0, 1.0), ROLLED, (1.0, 0.0, 0.0), (1.0, 2.0, 3.0))
        bodies = []
        for _ in range(100):
            quad.substep((12.0, (0.5, -0.5, 0.2)), (1.0, 0.0, 0.0), H)
            bodies.append(quad.body)
        return bodies

    with PyBulletQuad(AIRFRAME) as quad:
        first = flight(quad)
        quad.reset(replace(NOMINAL, mass_kg=0.1), (0.0, 0.0, 0.01), LEVEL)
        for _ in range(300):
            quad.push((9.0, 0.0, 0.0), 0.001)
        assert flight(quad) == first


def test_a_closed_quad_says_so() -> None:
    quad = PyBulletQuad(AIRFRAME)
    quad.close()
    quad.close()
    with pytest.raises(SimulationError, match="closed"):
        quad.push(CALM, H)


def test_an_attitude_must_be_a_unit_quaternion(quad: PyBulletQuad) -> None:
    for bad in ((2.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0), (math.nan, 0.0, 0.0, 0.0)):
        with pytest.raises(SimulationError, match="norm"):
            quad.reset(NOMINAL, (0.0, 0.0, 1.0), bad)


def launched(quad: PyBulletQuad, conditions: Conditions, seed: int = 0) -> HandLaunch:
    flights = draw_flights(AIRFRAME, conditions, 1, np.random.default_rng(seed))
    return HandLaunch(quad, flights, conditions, np.random.default_rng(seed))


def test_the_hand_holds_still_and_lets_go_after_the_imu_sample(quad: PyBulletQuad) -> None:
    conditions = Conditions(noise_scale=(0.0, 0.0), gyro_bias_rad_s=0.0, gyro_walk_rad_s2=0.0, accel_bias_m_s2=0.0)
    flights = draw_flights(AIRFRAME, conditions, 1, np.random.default_rng(0))
    launch = HandLaunch(quad, flights, conditions, np.random.default_rng(0))
    messages = launch.first_messages()
    while not launch.released:
        imu = messages[-1]
        assert isinstance(imu, Imu) and imu.gyro_rad_s == CALM
        assert math.hypot(*imu.accel_m_s2) == pytest.approx(GRAVITY_M_S2)
        assert launch.t_s < conditions.hold_s
        launch.issue((19.0, (6.0, 6.0, 3.0)), launch.t_s)
        messages = launch.advance()
    imu = messages[-1]
    assert isinstance(imu, Imu) and imu.gyro_rad_s == CALM
    assert conditions.hold_s <= launch.release_s == launch.t_s < conditions.hold_s + 0.012
    assert launch.body.velocity_m_s == pytest.approx(flights.launch_velocity_m_s[0])
    assert launch.body.rates_rad_s == pytest.approx(flights.launch_rates_rad_s[0])
    assert quad.actuators.motor_speed == (math.sqrt(RELEASE_THRUST),) * 4


def note(after: dict[float, float], launch: HandLaunch, t_s: float) -> None:
    after[round(t_s - launch.release_s, 6)] = launch.quad.actuators.motor_speed[0]


def intervals(launch: HandLaunch, n: int) -> list[float]:
    steps = []
    for _ in range(n):
        launch.advance()
        steps.append(launch.dt_s)
    return steps


@pytest.mark.parametrize("latency_s", [0.0, 0.012])
def test_a_command_takes_effect_after_its_latency(quad: PyBulletQuad, latency_s: float) -> None:
    conditions = Conditions(command_latency_s=(latency_s, latency_s), imu_jitter=0.0)
    speeds = []
    for thrust in (5.0, 18.0):
        launch = launched(quad, conditions)
        while not launch.released:
            launch.advance()
        launch.issue((thrust, CALM), launch.t_s)
        after: dict[float, float] = {}
        for _ in range(2):
            launch.advance(partial(note, after, launch))
        speeds.append(after)
    differs = [t for t in speeds[0] if speeds[0][t] != speeds[1][t]]
    assert min(differs) == pytest.approx(latency_s + H)


def test_intervals_are_jittered_or_mixed(quad: PyBulletQuad) -> None:
    launch = launched(quad, Conditions(imu_hz=(100.0, 100.0), imu_jitter=0.2))
    steps = intervals(launch, 40)
    assert 0.008 <= min(steps) < 0.0095 and 0.0105 < max(steps) <= 0.012
    launch = launched(quad, Conditions(imu_hz=(25.0, 400.0), imu_mixed=True))
    steps = intervals(launch, 100)
    assert 1.0 / 400.0 <= min(steps) < 0.003 and 0.035 < max(steps) <= 1.0 / 25.0
    assert np.median(steps) == pytest.approx(0.01, rel=0.4)  # log-uniform: geometric mean of both ends


def test_biases_walk_and_the_rate_loop_feels_what_the_gyro_reads(quad: PyBulletQuad) -> None:
    conditions = Conditions(noise_scale=(0.0, 0.0), hold_s=10.0, gyro_walk_rad_s2=0.1)
    ends = []
    for seed in range(20):
        launch = launched(quad, conditions, seed)
        first = launch.first_messages()[-1]
        for _ in range(99):
            launch.advance()
        last = launch.advance()[-1]
        assert isinstance(first, Imu) and isinstance(last, Imu)
        assert quad.params.gyro_bias_rad_s == pytest.approx(last.gyro_rad_s)  # held still: it reads its bias
        moved = np.subtract(last.accel_m_s2, first.accel_m_s2) / 10.0
        ends.append([*np.subtract(last.gyro_rad_s, first.gyro_rad_s), *moved])
    assert np.std(ends) == pytest.approx(0.1, rel=0.25)  # after one second; the accelerometer walks ten times as far


def test_a_command_that_is_not_finite_is_refused(quad: PyBulletQuad) -> None:
    launch = launched(quad, Conditions())
    with pytest.raises(SimulationError, match="not finite"):
        launch.issue((math.nan, CALM), 0.0)


def test_it_is_fast_enough(quad: PyBulletQuad) -> None:
    """A guard against a slip of ten times, in time of the processor; the measured figure is several times higher."""
    launch = launched(quad, Conditions(imu_jitter=0.0))
    while not launch.released:
        launch.advance()
    best = math.inf
    for _ in range(3):
        start = time.process_time()
        for _ in range(20):
            launch.issue((GRAVITY_M_S2, CALM), launch.t_s)
            launch.advance()
        best = min(best, time.process_time() - start)
    assert 100 / best > 3000.0
