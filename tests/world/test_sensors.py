"""Sensors: sign conventions, saturation, statistics of noise, and when samples are taken and arrive."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from envs.airframe import load_airframe
from envs.conditions import Conditions
from envs.fault_messages import Sample
from envs.faults import Fault
from envs.flights import Flights, draw_flights
from envs.sample_clock import around
from envs.sensor_events import SensorSuite
from envs.sensors import (
    FlowModel,
    ImuModel,
    RangeModel,
    flow_quality,
    range_returns,
    read_flow,
    read_imu,
    slant_distance,
    specific_force,
    true_flow,
)
from liquid_pilot.geometry import rotation_matrix
from liquid_pilot.messages import Flow, Imu, Range
from liquid_pilot.observation import GRAVITY_M_S2
from liquid_pilot.ops import FLOAT_OPS, Vec3

AIRFRAME = load_airframe("cf2x")
LEVEL = rotation_matrix((1.0, 0.0, 0.0, 0.0))
ZERO = (0.0, 0.0, 0.0)
IDEAL = Conditions(sensor_jitter=0.0, noise_scale=(0.0, 0.0), flow_scale_spread=0.0, texture=(1.0, 1.0))


def one(conditions: Conditions, **fields: object) -> Flights:
    flights = draw_flights(AIRFRAME, conditions, 1, np.random.default_rng(5))
    return replace(flights, **{k: np.array([v], dtype=float) for k, v in fields.items()})


def run(
    suite: SensorSuite,
    seconds: float,
    height_m: float = 1.0,
    velocity: Vec3[float] = ZERO,
    rates: Vec3[float] = ZERO,
    h_s: float = 0.002,
) -> list[tuple[float, Sample]]:
    """Steady motion; (time of hearing, message)."""
    heard: list[tuple[float, Sample]] = []
    for i in range(1, round(seconds / h_s) + 1):
        suite.sense(i * h_s, i * h_s, height_m, LEVEL, velocity, rates, h_s)
        heard += [(i * h_s, message) for message in suite.due(i * h_s)]
    return heard


def test_flow_signs() -> None:
    assert true_flow((1.0, 0.0, 0.0), ZERO, 2.0) == (0.5, 0.0)  # forward: +x
    assert true_flow((0.0, 1.0, 0.0), ZERO, 2.0) == (0.0, 0.5)  # left: +y
    assert true_flow(ZERO, (0.0, 0.3, 0.0), 2.0) == (-0.3, 0.0)  # pitching nose down (FLU): -x
    assert true_flow(ZERO, (0.3, 0.0, 0.0), 2.0) == (0.0, 0.3)  # rolling right: +y


def test_flow_is_the_angle_of_a_ground_point_in_the_body() -> None:
    """Finite differences: the point under the camera, seen from a moving and turning body."""
    v, w, d, dt = (0.7, -0.4, 0.0), (0.3, -0.5, 0.2), 1.3, 1e-6
    half = [x * dt / 2.0 for x in w]
    matrix = np.array(rotation_matrix((1.0, half[0], half[1], half[2])))
    seen = matrix.T @ (np.array([0.0, 0.0, -d]) - np.array(v) * dt)
    angles = -seen[:2] / -seen[2] / dt  # the ground moves opposite to the camera
    assert true_flow(v, w, d) == pytest.approx(tuple(angles), rel=1e-4)


def test_compensation_leaves_velocity_over_distance() -> None:
    w = (0.8, -0.6, 0.1)
    x, y = true_flow((0.4, 0.2, 0.0), w, 2.0)
    assert (x + w[1], y - w[0]) == pytest.approx((0.2, 0.1))


def test_an_accelerometer_at_rest_reads_gravity_upwards() -> None:
    assert specific_force(LEVEL, ZERO) == (0.0, 0.0, GRAVITY_M_S2)
    rolled_right = rotation_matrix((math.cos(0.25), math.sin(0.25), 0.0, 0.0))
    assert specific_force(rolled_right, ZERO) == pytest.approx(
        (0.0, GRAVITY_M_S2 * math.sin(0.5), GRAVITY_M_S2 * math.cos(0.5))
    )
    assert specific_force(LEVEL, (0.0, 0.0, -GRAVITY_M_S2)) == (0.0, 0.0, 0.0)


def test_imu_bias_and_saturation() -> None:
    model, none, biases = ImuModel(), (ZERO, ZERO), ((0.1, 0.1, 0.1), (0.2, 0.2, 0.2))
    gyro, accel = read_imu(FLOAT_OPS, model, (1.0, 99.0, -99.0), (1.0, 999.0, -999.0), *biases, none)
    assert gyro == pytest.approx((1.1, model.gyro_limit_rad_s, -model.gyro_limit_rad_s))
    assert accel == pytest.approx((1.2, model.accel_limit_m_s2, -model.accel_limit_m_s2))


def test_flow_goes_blind_too_near_too_far_too_fast_and_without_texture() -> None:
    model = FlowModel()

    def quality(texture: float, distance_m: float, rate: float) -> float:
        return float(flow_quality(FLOAT_OPS, model, texture, distance_m, (rate, -rate)))

    assert quality(1.0, 1.0, 1.0) > 0.9
    assert quality(1.0, 3.0, 1.0) < quality(1.0, 2.0, 1.0) < quality(1.0, 1.0, 1.0)
    assert quality(0.6, 1.0, 1.0) < quality(0.9, 1.0, 1.0)
    assert quality(0.0, 1.0, 1.0) == quality(1.0, 0.07, 1.0) == quality(1.0, 6.1, 1.0) == quality(1.0, 1.0, 7.5) == 0.0
    assert read_flow(FLOAT_OPS, model, (9.0, -9.0), 1.0, 1.0, (0.0, 0.0)) == (model.limit_rad_s, -model.limit_rad_s)


def test_range_follows_the_slant_and_loses_far_ground() -> None:
    model = RangeModel()
    tilted = rotation_matrix((math.cos(0.25), math.sin(0.25), 0.0, 0.0))
    assert slant_distance(FLOAT_OPS, 1.5, tilted) == pytest.approx(1.5 / math.cos(0.5))
    on_the_back = rotation_matrix((0.0, 1.0, 0.0, 0.0))
    assert math.isfinite(slant_distance(FLOAT_OPS, 1.5, on_the_back))
    assert [range_returns(FLOAT_OPS, model, d) for d in (0.02, 0.5, 3.9, 4.1)] == [0.0, 1.0, 1.0, 0.0]


def test_range_without_return_is_nan() -> None:
    suite = SensorSuite(one(IDEAL), IDEAL, np.random.default_rng(0))
    far = [m for _, m in run(suite, 0.5, height_m=4.5) if isinstance(m, Range)]
    assert len(far) > 10 and all(math.isnan(m.distance_m) for m in far)


def test_noise_has_the_stated_spread() -> None:
    conditions = replace(IDEAL, noise_scale=(1.5, 1.5), flow_latency_s=(0.0, 0.0))
    flights = one(conditions, flow_hz=100.0, range_hz=100.0)
    suite = SensorSuite(flights, conditions, np.random.default_rng(1))
    heard = run(suite, 30.0, h_s=0.01)
    ranges = [m.distance_m for _, m in heard if isinstance(m, Range)]
    assert np.mean(ranges) == pytest.approx(1.0, abs=0.002)
    assert np.std(ranges) == pytest.approx(1.5 * RangeModel().noise_m, rel=0.06)
    rates = [(m.flow_rad[0] / m.dt_s, m.quality) for _, m in heard if isinstance(m, Flow)]
    spread = 1.5 * FlowModel().noise_rad_s / rates[0][1]
    assert np.std([r for r, _ in rates]) == pytest.approx(spread, rel=0.06)
    read = [suite.read_imu(0.01 * i, 1.0, LEVEL, ZERO, ZERO, (ZERO, ZERO)) for i in range(3000)]
    gyro = np.array([imu.gyro_rad_s for imu in read if imu is not None])
    accel = np.array([imu.accel_m_s2 for imu in read if imu is not None])
    assert np.std(gyro, axis=0) == pytest.approx([1.5 * ImuModel().gyro_noise_rad_s] * 3, rel=0.06)
    assert np.std(accel, axis=0) == pytest.approx([1.5 * ImuModel().accel_noise_m_s2] * 3, rel=0.06)


def test_windows_tile_time_and_carry_the_integral() -> None:
    suite = SensorSuite(one(IDEAL, flow_hz=40.0), IDEAL, np.random.default_rng(0))
    flows = [m for _, m in run(suite, 2.0, 2.0, (0.5, 0.1, 0.0), (0.2, 0.3, 0.0)) if isinstance(m, Flow)]
    assert 78 <= len(flows) <= 80
    assert flows[0].t_s - flows[0].dt_s == 0.0
    for before, after in itertools.pairwise(flows):
        assert after.t_s - after.dt_s == pytest.approx(before.t_s)
    assert np.mean([m.dt_s for m in flows[1:]]) == pytest.approx(1.0 / 40.0, rel=0.01)
    for m in flows:
        assert m.flow_rad == pytest.approx(((0.25 - 0.3) * m.dt_s, (0.05 + 0.2) * m.dt_s))


def test_samples_arrive_after_their_latency_with_their_true_stamp() -> None:
    flights = one(IDEAL, flow_latency_s=0.011, range_latency_s=0.005)
    suite = SensorSuite(flights, IDEAL, np.random.default_rng(0))
    heard = run(suite, 2.0)
    for t, m in heard:
        latency = 0.011 if isinstance(m, Flow) else 0.005
        assert -1e-6 <= t - (m.t_s + latency) < 0.002 + 1e-6
    arrived = sorted(suite.arrivals_s["flow"] + suite.arrivals_s["range"])
    assert arrived == [m.t_s + (0.011 if isinstance(m, Flow) else 0.005) for _, m in heard]


def test_dropout_loses_its_share() -> None:
    flights = one(IDEAL, flow_dropout=0.3, flow_hz=100.0, range_hz=100.0)
    heard = [m for _, m in run(SensorSuite(flights, IDEAL, np.random.default_rng(0)), 20.0, h_s=0.005)]
    assert sum(isinstance(m, Flow) for m in heard) == pytest.approx(1400, abs=90)
    assert sum(isinstance(m, Range) for m in heard) == pytest.approx(2000, abs=3)


@pytest.mark.parametrize("silence", ["fault", "outage"])
def test_a_silenced_sensor_says_nothing_and_the_others_the_same(silence: str) -> None:
    conditions, fields = IDEAL, {}
    if silence == "fault":
        conditions = replace(IDEAL, faults=(Fault("flow", 0.5, 1.0),))
    else:
        fields = {"flow_outage_s": [0.5, 1.0]}
    quiet = run(SensorSuite(one(conditions, **fields), conditions, np.random.default_rng(0)), 2.0)
    normal = run(SensorSuite(one(IDEAL), IDEAL, np.random.default_rng(0)), 2.0)
    stamps = [m.t_s for _, m in quiet if isinstance(m, Flow)]
    assert not [t for t in stamps if 0.5 <= t < 1.0]
    assert [m for m in normal if not (isinstance(m[1], Flow) and 0.5 <= m[1].t_s < 1.0)] == quiet


def test_a_lost_accelerometer_is_nan_and_a_lost_imu_is_none() -> None:
    conditions = replace(IDEAL, faults=(Fault("accel", 1.0, 2.0), Fault("imu", 3.0, 4.0)))
    suite = SensorSuite(one(conditions), conditions, np.random.default_rng(0))
    read: Callable[[float], Imu | None] = lambda t: suite.read_imu(t, t, LEVEL, ZERO, ZERO, (ZERO, ZERO))  # noqa: E731
    at = {t: read(t) for t in (0.5, 1.5, 2.5, 3.5, 4.5)}
    assert at[3.5] is None
    for t, absent in ((0.5, False), (1.5, True), (2.5, False), (4.5, False)):
        imu = at[t]
        assert imu is not None and all(map(math.isfinite, imu.gyro_rad_s))
        assert all(map(math.isnan, imu.accel_m_s2)) == absent


def test_jitter_moves_samples_but_not_their_mean_rate() -> None:
    conditions = replace(IDEAL, sensor_jitter=0.5)
    flights = one(conditions, flow_hz=50.0)
    gaps = [
        m.dt_s for _, m in run(SensorSuite(flights, conditions, np.random.default_rng(2)), 20.0) if isinstance(m, Flow)
    ][1:]
    assert np.mean(gaps) == pytest.approx(0.02, rel=0.03)
    assert min(gaps) < 0.012 and max(gaps) > 0.028
    assert 0.01 - 0.002 <= min(gaps) and max(gaps) <= 0.03 + 0.002


def test_a_factor_around_one_is_that_of_a_uniform_draw() -> None:
    ours, numpys = np.random.default_rng(5), np.random.default_rng(5)
    assert [around(0.2, ours) for _ in range(100)] == [1.0 + 0.2 * numpys.uniform(-1.0, 1.0) for _ in range(100)]
