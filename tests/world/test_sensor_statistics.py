"""What the sensors read over time: Allan deviation of the gyro, scale and sign of flow, quality, slant range."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from envs.airframe import load_airframe
from envs.conditions import Conditions
from envs.flights import draw_flights
from envs.launch import HandLaunch
from envs.pybullet_quad import PyBulletQuad
from envs.sensors import FlowModel, ImuModel, RangeModel, flow_quality, read_flow, read_range, slant_distance, true_flow
from liquid_pilot.geometry import rotation_matrix, to_body
from liquid_pilot.messages import Imu
from liquid_pilot.ops import FLOAT_OPS, NUMPY_OPS, Vec2, Vec3

Array = NDArray[np.float64]

AIRFRAME = load_airframe("cf2x")
HZ = 100.0
STILL = Conditions(
    imu_hz=(HZ, HZ), imu_jitter=0.0, hold_s=1e6, noise_scale=(1.0, 1.0), gyro_bias_rad_s=0.0, wind_m_s=(0.0, 0.0)
)
NONE = (0.0, 0.0, 0.0)


def held_gyro(conditions: Conditions, seconds: float) -> Array:
    """(3, T) of a drone held still, through the whole PyBullet engine."""
    flights = draw_flights(AIRFRAME, conditions, 1, np.random.default_rng(1))
    flights = replace(flights, flow_hz=np.array([1.0]), range_hz=np.array([1.0]))
    with PyBulletQuad(AIRFRAME) as quad:
        launch = HandLaunch(quad, flights, conditions, np.random.default_rng(2))
        rows = []
        for _ in range(round(seconds * HZ)):
            imu = launch.advance()[-1]
            assert isinstance(imu, Imu)
            rows.append(imu.gyro_rad_s)
    return np.asarray(np.array(rows).T, dtype=np.float64)


def allan_deviation(rates: Array, samples: int) -> float:
    """Overlapping, of all axes together; averages over so many samples (IEEE Std 952)."""
    angle = np.concatenate([np.zeros((len(rates), 1)), np.cumsum(rates, axis=1)], axis=1)
    second = angle[:, 2 * samples :] - 2.0 * angle[:, samples:-samples] + angle[:, : -2 * samples]
    return math.sqrt(float(np.mean(second**2)) / 2.0) / samples


def test_white_gyro_noise_falls_with_the_root_of_time() -> None:
    rates = held_gyro(replace(STILL, gyro_walk_rad_s2=0.0), 60.0)
    for samples in (1, 4, 16, 64):  # slope -1/2, at the height of the model's figure
        assert allan_deviation(rates, samples) == pytest.approx(
            ImuModel().gyro_noise_rad_s / math.sqrt(samples), rel=0.08
        )


def test_the_walk_of_the_gyro_bias_grows_with_the_root_of_time() -> None:
    walk = 0.05
    rates = held_gyro(replace(STILL, gyro_walk_rad_s2=walk, noise_scale=(0.0, 0.0)), 60.0)
    for samples in (10, 40, 160):  # slope +1/2: walk sqrt(t / 3)
        assert allan_deviation(rates, samples) == pytest.approx(walk * math.sqrt(samples / HZ / 3.0), rel=0.2)


def test_noise_and_walk_together_turn_over_where_their_lines_cross() -> None:
    walk, noise = 0.05, ImuModel().gyro_noise_rad_s
    rates = held_gyro(replace(STILL, gyro_walk_rad_s2=walk), 60.0)
    lowest_s = math.sqrt(3.0) * noise / math.sqrt(HZ) / walk  # noise sqrt(dt / t) = walk sqrt(t / 3)
    spans = [2**k for k in range(10)]
    found = [allan_deviation(rates, samples) for samples in spans]
    assert spans[int(np.argmin(found))] / HZ == pytest.approx(lowest_s, rel=1.0)  # to a factor of two
    assert found[0] > 1.5 * min(found) < found[-1]


@pytest.mark.parametrize("height_m", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("tilt_deg", [0.0, 20.0, 40.0])
def test_flow_is_the_speed_across_the_axis_over_the_slant_distance(height_m: float, tilt_deg: float) -> None:
    """Rolled right at a steady height, moving along the body's own y: every ray length is height over cosine."""
    half = math.radians(tilt_deg) / 2.0
    matrix = rotation_matrix((math.cos(half), math.sin(half), 0.0, 0.0))
    distance = slant_distance(FLOAT_OPS, height_m, matrix)
    assert distance == pytest.approx(height_m / math.cos(2.0 * half))
    assert read_range(RangeModel(), distance, 0.0) == distance
    x, y = true_flow(to_body(matrix, (0.6, 0.4, 0.0)), NONE, distance)
    assert x == pytest.approx(0.6 * math.cos(2.0 * half) / height_m)
    assert y == pytest.approx(0.4 * math.cos(2.0 * half) ** 2 / height_m)


def test_rotation_adds_the_same_flow_at_every_height() -> None:
    spin = (0.5, -0.7, 3.0)
    for height_m in (0.2, 1.0, 4.0):
        still, turning = true_flow((0.3, 0.1, 0.0), NONE, height_m), true_flow((0.3, 0.1, 0.0), spin, height_m)
        assert (turning[0] - still[0], turning[1] - still[1]) == pytest.approx((0.7, 0.5))  # yaw adds none


def mavlink(velocity_frd_m_s: Vec3[float], rates_frd_rad_s: Vec3[float]) -> Vec2[float]:
    """(integrated_x, integrated_y) of OPTICAL_FLOW_RAD over 1 s, of a sensor 1 m up; axes forward, right, down.

    As `Flow` says, its `flow_rad` is (integrated_y, integrated_x).
    """
    v, w = velocity_frd_m_s, rates_frd_rad_s
    flow_x, flow_y = true_flow((v[0], -v[1], -v[2]), (w[0], -w[1], -w[2]), 1.0)
    return flow_y, flow_x


def test_flow_has_the_signs_of_optical_flow_rad() -> None:
    assert mavlink((1.0, 0.0, 0.0), NONE) == (0.0, 1.0)  # forward: +integrated_y
    assert mavlink((0.0, 1.0, 0.0), NONE) == (-1.0, 0.0)  # to the right: -integrated_x
    for rates in ((0.4, 0.0, 0.0), (0.0, 0.4, 0.0), (0.3, -0.2, 0.7)):
        assert mavlink(NONE, rates) == pytest.approx(rates[:2])  # pure rotation: what the gyro integrates


def test_quality_falls_with_distance_as_a_square_and_in_proportion_to_texture() -> None:
    model = FlowModel()
    distances = np.linspace(0.1, 5.9, 30)
    for texture in (0.3, 0.6, 1.0):
        quality = [float(flow_quality(FLOAT_OPS, model, texture, float(d), (0.0, 0.0))) for d in distances]
        assert quality == pytest.approx(texture * (1.0 - (distances / model.far_m) ** 2))


@pytest.mark.parametrize("quality", [1.0, 0.5, 0.25])
def test_flow_noise_is_the_stated_one_over_the_quality(quality: float) -> None:
    rng = np.random.default_rng(4)
    n = (rng.standard_normal(20_000), rng.standard_normal(20_000))
    zero = np.zeros(20_000)
    for axis in read_flow(NUMPY_OPS, FlowModel(), (zero + 0.5, zero - 0.5), zero + quality, zero + 1.1, n):
        assert np.std(axis) == pytest.approx(FlowModel().noise_rad_s / quality, rel=0.03)
        assert abs(np.mean(axis)) == pytest.approx(0.55, abs=0.012)  # scale 1.1
