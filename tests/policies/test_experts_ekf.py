"""The Kalman filter: known motions, slopes by finite differences, covariances, any order and rate of messages."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.sensors import slant_distance, true_flow
from liquid_pilot.errors import ConfigError
from liquid_pilot.geometry import rotate_by_rates, rotation_matrix, to_body
from liquid_pilot.messages import Flow, Imu, Range, SensorMessage
from liquid_pilot.observation import GRAVITY_M_S2
from liquid_pilot.ops import FLOAT_OPS
from policies.experts.ekf import (
    ACCEL_BIAS,
    ATTITUDE,
    ERRORS,
    GYRO_BIAS,
    HEIGHT,
    VELOCITY,
    Array,
    EkfNoise,
    EkfState,
    Inertial,
    at_rest,
    error_of,
    fuse_flow,
    fuse_range,
    let_go,
    predict,
)
from policies.experts.estimator import Estimator

NOISE = EkfNoise()
LEVEL_FORCE = (0.0, 0.0, GRAVITY_M_S2)
REST = (0.0, 0.0, 0.0)
TILTED = rotate_by_rates(FLOAT_OPS, (1.0, 0.0, 0.0, 0.0), (0.4, -0.3, 0.2), 1.0)


def random_state(seed: int) -> EkfState:
    """A flying state with a dense covariance."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(ERRORS, ERRORS)) * 0.1
    return EkfState(
        0.0, TILTED, rng.normal(size=3), 1.3, 0.01 * rng.normal(size=3), 0.2 * rng.normal(size=3),
        root @ root.T + 0.01 * np.eye(ERRORS),
    )  # fmt: skip


def moved(state: EkfState, error: Array) -> EkfState:
    """The state with its errors put right."""
    x, y, z = error[ATTITUDE].tolist()
    return replace(
        state,
        attitude_wxyz=rotate_by_rates(FLOAT_OPS, state.attitude_wxyz, (x, y, z), 1.0),
        velocity_m_s=state.velocity_m_s + error[VELOCITY],
        height_m=state.height_m + float(error[HEIGHT]),
        gyro_bias_rad_s=state.gyro_bias_rad_s + error[GYRO_BIAS],
        accel_bias_m_s2=state.accel_bias_m_s2 + error[ACCEL_BIAS],
    )


def least(covariance: Array) -> float:
    return float(np.linalg.eigvalsh(covariance).min())


def test_constant_rotation_is_exact() -> None:
    rates, state = (1.0, -2.0, 0.5), at_rest(NOISE, 0.0, LEVEL_FORCE)
    for i in range(50):
        t = 0.02 * (i + 1)
        state = predict(NOISE, state, Inertial(t, 0.02, rates, REST), t)
    turned = rotate_by_rates(FLOAT_OPS, (1.0, 0.0, 0.0, 0.0), rates, 1.0)
    assert state.attitude_wxyz == pytest.approx(turned, abs=1e-12)


def test_free_fall_is_exact() -> None:
    state = at_rest(NOISE, 0.0, LEVEL_FORCE)
    for t in (0.03, 0.1, 0.5):
        state = predict(NOISE, state, Inertial(t, 0.01, (0.3, 0.0, 0.0), REST), t)
    assert state.velocity_m_s == pytest.approx([0.0, 0.0, -0.5 * GRAVITY_M_S2])
    assert state.height_m == pytest.approx(1.0 - 0.5 * GRAVITY_M_S2 * 0.25)


@given(st.floats(-0.8, 0.8), st.floats(-0.8, 0.8))
def test_rest_converges_to_the_true_tilt(x: float, y: float) -> None:
    q = rotate_by_rates(FLOAT_OPS, (1.0, 0.0, 0.0, 0.0), (x, y, 0.0), 1.0)
    up = np.array(rotation_matrix(q)[2])
    rng, estimator = np.random.default_rng(0), Estimator()
    for i in range(100):
        ax, ay, az = (GRAVITY_M_S2 * up + 0.1 * rng.normal(size=3)).tolist()
        wx, wy, wz = (0.005 + 0.01 * rng.normal(size=3)).tolist()
        estimator.feed(Imu(0.01 * i, (wx, wy, wz), (ax, ay, az)))
    state = estimator.state
    assert state is not None and estimator.release_s is None
    found = np.array(rotation_matrix(state.attitude_wxyz)[2])
    # noise of 0.1 m/s^2 over 100 samples, four deviations of both axes
    assert math.acos(min(1.0, float(found @ up))) < 4.0 * math.sqrt(2.0) * 0.1 / 10.0 / GRAVITY_M_S2
    assert state.gyro_bias_rad_s == pytest.approx([0.005] * 3, abs=0.004)


@pytest.mark.parametrize("force", [(0.5, -1.0, 11.0), None])
def test_the_transition_is_the_slope_of_the_motion(force: tuple[float, float, float] | None) -> None:
    """P after a step = F P F' + Q; with P of one error alone its column of F is seen in the moved states."""
    state, sample, h = random_state(1), Inertial(0.02, 0.02, (1.5, -2.0, 0.7), force), 1e-6
    after = predict(NOISE, state, sample, 0.02)
    columns = []
    for i in range(ERRORS):
        e = np.zeros(ERRORS)
        e[i] = h
        other = predict(NOISE, moved(state, e), sample, 0.02)
        seven = error_of(after, other.attitude_wxyz, other.velocity_m_s, other.height_m)
        biases = (other.gyro_bias_rad_s - after.gyro_bias_rad_s, other.accel_bias_m_s2 - after.accel_bias_m_s2)
        columns.append(np.concatenate([seven, *biases]) / h)
    slope = np.array(columns).T
    nothing = predict(NOISE, replace(state, covariance=np.zeros((ERRORS, ERRORS))), sample, 0.02).covariance
    # the filter holds terms of first order in dt; those of second order, w dt and dt^2 g, are left out
    np.testing.assert_allclose(after.covariance - nothing, slope @ state.covariance @ slope.T, atol=2e-3)


@pytest.mark.parametrize("seed", [0, 1])
def test_measurements_that_agree_move_nothing_and_that_differ_pull_towards_them(seed: int) -> None:
    state = random_state(seed)
    matrix = np.array(rotation_matrix(state.attitude_wxyz))
    body, upright = matrix.T @ state.velocity_m_s, matrix[2, 2]
    bx, by, _ = state.gyro_bias_rad_s
    distance = state.height_m / upright
    agreeing = (body[0] / distance - (0.5 - by), body[1] / distance + (0.2 - bx))
    same = fuse_flow(NOISE, state, agreeing, (0.2, 0.5, 0.0), 1.0, 1.0)
    assert error_of(state, same.attitude_wxyz, same.velocity_m_s, same.height_m) == pytest.approx(np.zeros(7), abs=1e-9)
    assert fuse_range(NOISE, state, distance).height_m == pytest.approx(state.height_m)
    higher = fuse_range(NOISE, state, distance + 0.1)
    new = np.array(rotation_matrix(higher.attitude_wxyz))[2, 2]
    assert distance < higher.height_m / new < distance + 0.11


@given(seed=st.integers(0, 1000), sensor=st.sampled_from(["flow", "range"]))
@settings(max_examples=40)
def test_one_unknown_error_is_found_by_one_true_measurement(seed: int, sensor: str) -> None:
    """An error along one known direction of all 13: what the sensor equations of the world then read tells how far."""
    rng, sharp = (
        np.random.default_rng(seed),
        EkfNoise(flow_rad_s=1e-11, flow_scale=1e-11, range_m=1e-11, gyro_rad_s=1e-11),
    )
    state, direction, size, gyro = random_state(seed), rng.normal(size=ERRORS), 1e-6, (0.7, -0.4, 0.2)
    truth = moved(state, size * direction)
    x, y, z = (gyro - truth.gyro_bias_rad_s).tolist()
    matrix = rotation_matrix(truth.attitude_wxyz)
    distance = slant_distance(FLOAT_OPS, truth.height_m, matrix)
    vx, vy, vz = truth.velocity_m_s.tolist()
    unsure = replace(state, covariance=1e-10 * np.outer(direction, direction))
    if sensor == "flow":
        flow = true_flow(to_body(matrix, (vx, vy, vz)), (x, y, z), distance)
        found = fuse_flow(sharp, unsure, flow, gyro, 1.0, 1.0)
    else:
        found = fuse_range(sharp, unsure, distance)
    left = error_of(found, truth.attitude_wxyz, truth.velocity_m_s, truth.height_m)
    before = error_of(state, truth.attitude_wxyz, truth.velocity_m_s, truth.height_m)
    assert np.linalg.norm(left) < 0.02 * np.linalg.norm(before)
    assert found.gyro_bias_rad_s - state.gyro_bias_rad_s == pytest.approx(size * direction[GYRO_BIAS], abs=0.02 * size)


def readings(state: EkfState) -> dict[str, Callable[[EkfState], EkfState]]:
    """Each measurement as its own prediction, so that only the covariance is news."""
    matrix = np.array(rotation_matrix(state.attitude_wxyz))
    body, distance = matrix.T @ state.velocity_m_s, state.height_m / matrix[2, 2]
    bx, by, _ = state.gyro_bias_rad_s
    rate = (body[0] / distance + by, body[1] / distance - bx)
    return {
        "flow": lambda s: fuse_flow(NOISE, s, rate, REST, 1.0, 0.4),
        "range": lambda s: fuse_range(NOISE, s, distance),
    }


@pytest.mark.parametrize("kind", ["flow", "range"])
@given(seed=st.integers(0, 1000))
@settings(max_examples=20)
def test_a_missing_measurement_leaves_more_covariance(kind: str, seed: int) -> None:
    state = random_state(seed)
    told = readings(state)[kind](state).covariance
    assert least(state.covariance - told) > -1e-9  # never less sure for having missed nothing
    assert np.trace(told) < np.trace(state.covariance)


def test_without_sensors_uncertainty_grows() -> None:
    state = let_go(NOISE, at_rest(NOISE, 0.0, LEVEL_FORCE))
    spread = [np.diag(state.covariance)]
    for i in range(100):
        t = 0.01 * (i + 1)
        state = predict(NOISE, state, Inertial(t, 0.01, REST, LEVEL_FORCE), t)
        spread.append(np.diag(state.covariance))
    # velocities, height, biases; the attitude error only turns where nothing rotates
    assert (np.diff(np.array(spread), axis=0)[:, 3:] > 0.0).all()
    absent = predict(NOISE, state, Inertial(1.01, 0.01, REST, None), 1.01)
    present = predict(NOISE, state, Inertial(1.01, 0.01, REST, LEVEL_FORCE), 1.01)
    assert np.diag(absent.covariance)[VELOCITY].sum() > np.diag(present.covariance)[VELOCITY].sum()


def stream(seed: int, imu_hz: tuple[float, float], mixed: bool, seconds: float) -> list[tuple[float, SensorMessage]]:
    """Messages of a hovering flight with true stamps, as (arrival, message)."""
    rng, messages = np.random.default_rng(seed), list[tuple[float, SensorMessage]]()
    t = 0.0
    while t < seconds:
        moving = t > 0.5
        wx, wy, wz = (0.02 * rng.normal(size=3) + (0.3 * math.sin(3.0 * t) if moving else 0.0)).tolist()
        ax, ay, az = (0.3 * rng.normal(size=3) + [0.0, 0.0, GRAVITY_M_S2 + (4.0 if 0.5 < t < 0.6 else 0.0)]).tolist()
        messages.append((t, Imu(t, (wx, wy, wz), (ax, ay, az))))
        t += 1.0 / rng.uniform(*imu_hz) if mixed else 1.0 / imu_hz[0]
    for k in range(int(40 * seconds)):
        s = 0.03 + k / 40
        messages.append((s + rng.uniform(0.004, 0.02), Flow(s, 0.025, (0.002 * rng.normal(), 0.0), 0.8)))
    for k in range(int(30 * seconds)):
        s = 0.01 + k / 30
        messages.append((s + rng.uniform(0.004, 0.02), Range(s, 1.0 + 0.015 * rng.normal())))
    return sorted(messages, key=lambda pair: (pair[0], isinstance(pair[1], Imu)))


@pytest.mark.parametrize("imu_hz", [(25.0, 25.0), (100.0, 100.0), (400.0, 400.0), (25.0, 400.0)])
def test_covariance_stays_symmetric_and_positive_at_any_rate(imu_hz: tuple[float, float]) -> None:
    estimator, checked = Estimator(), 0
    for _, message in stream(1, imu_hz, imu_hz[0] != imu_hz[1], 1.5):
        if estimator.feed(message):
            state = estimator.state
            assert state is not None and state.t_s == message.t_s
            assert np.abs(state.covariance - state.covariance.T).max() < 1e-15
            assert least(state.covariance) > -1e-14
            checked += 1
    assert checked > 30 and estimator.release_s is not None


def test_late_messages_count_as_if_they_had_come_at_once() -> None:
    late = stream(2, (100.0, 100.0), False, 1.2)
    punctual = sorted((m for _, m in late), key=lambda m: (m.t_s, not isinstance(m, Imu)))
    found = []
    for messages in ([m for _, m in late], punctual):
        estimator = Estimator()
        for message in messages:
            estimator.feed(message)
        estimator.feed(Imu(1.3, REST, LEVEL_FORCE))  # everything has arrived
        assert estimator.state is not None
        found.append(estimator.state)
    a, b = found
    assert error_of(a, b.attitude_wxyz, b.velocity_m_s, b.height_m) == pytest.approx(np.zeros(7), abs=1e-9)
    np.testing.assert_allclose(a.covariance, b.covariance, atol=1e-12)


def test_what_the_onboard_memory_drops_is_dropped() -> None:
    estimator = Estimator()
    assert estimator.body is None
    assert not estimator.feed(Imu(0.0, (math.nan, 0.0, 0.0), LEVEL_FORCE)) and estimator.body is None
    assert estimator.feed(Imu(0.0, REST, LEVEL_FORCE)) and not estimator.feed(Imu(0.0, REST, LEVEL_FORCE))
    before = estimator.state
    for bad in (Range(math.nan, 1.0), Flow(0.0, -1.0, (0.0, 0.0), 1.0), Flow(0.0, 0.02, (math.nan, 0.0), 1.0)):
        assert not estimator.feed(bad)
    estimator.feed(Imu(0.01, REST, (math.nan, math.nan, math.nan)))
    after = estimator.state
    assert before is not None and after is not None and np.isfinite(after.covariance).all()
    assert error_of(before, after.attitude_wxyz, after.velocity_m_s, after.height_m) == pytest.approx(np.zeros(7))
    for i in range(5):
        estimator.feed(Imu(1000.0 + 0.01 * i, REST, LEVEL_FORCE))  # another clock, agreed on by three samples
    assert estimator.state is not None and estimator.state.t_s == pytest.approx(1000.04)
    estimator.reset()
    assert estimator.body is None
    with pytest.raises(ConfigError, match=r"gyro_rad_s.*positive"):
        EkfNoise(gyro_rad_s=0.0)
