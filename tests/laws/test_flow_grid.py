"""Flow grids: known answers of still, turning and moving cameras, and one arithmetic for trainer and drone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liquid_pilot.course import YAW_LIMIT_RAD_S, told_course
from liquid_pilot.encoder import Encoder, EncoderSpec
from liquid_pilot.errors import ConfigError, MessageError
from liquid_pilot.flow_grid import (
    DEFAULT_GRID,
    MOST_RAYS,
    GridLayout,
    GridReader,
    even_grid,
    moving_flow,
    ray_axes,
    shown,
    turning_flow,
)
from liquid_pilot.ops import FLOAT_OPS

ANGLES = st.floats(-1.5, 1.5)
SPEEDS = st.tuples(*[st.floats(-8.0, 8.0)] * 3)
AXES = np.array(DEFAULT_GRID.axes())  # (rays, 3, 3)


def seen_flow(rates: Any, velocity: Any, per_m: Any) -> Any:
    """(5, 32, 2) of a camera, by vector algebra. per_m: (160,) one over the distance along each ray."""
    ray, axes = AXES[:, 0], AXES[:, 1:]
    # how a fixed point moves in the body's frame: -w x r - v / d, across the line of sight
    moves = -np.cross(np.asarray(rates), ray) - np.asarray(velocity) * np.asarray(per_m)[:, None]
    return np.einsum("rac,rc->ra", axes, moves).reshape(5, 32, 2)


@given(ANGLES, ANGLES)
def test_axes_of_a_ray_are_a_right_handed_frame_in_which_its_angles_grow(azimuth: float, elevation: float) -> None:
    frame = np.array(ray_axes(azimuth, elevation))
    np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(frame) == pytest.approx(1.0)
    step = 1e-6
    along = (np.array(ray_axes(azimuth + step, elevation)[0]) - frame[0]) / step
    up = (np.array(ray_axes(azimuth, elevation + step)[0]) - frame[0]) / step
    np.testing.assert_allclose(along, frame[1] * math.cos(elevation), atol=1e-5)
    np.testing.assert_allclose(up, frame[2], atol=1e-5)


@given(SPEEDS)
def test_a_still_camera_that_turns_sees_nothing_once_its_gyro_is_taken_out(rates: Any) -> None:
    flow = seen_flow(rates, (0.0, 0.0, 0.0), np.zeros(160))
    assert np.abs(flow).max() <= np.linalg.norm(rates) + 1e-9
    np.testing.assert_allclose(GridReader(DEFAULT_GRID).read(flow, rates), 0.0, atol=1e-12 / 0.3 * 10)
    by_hand = [[turning_flow(axis, ray, rates) for axis in (across, up)] for ray, across, up in DEFAULT_GRID.axes()]
    np.testing.assert_allclose(np.array(by_hand).reshape(5, 32, 2), flow, atol=1e-12)
    # of the same arithmetic the rest is exactly nothing
    exact = np.einsum("rcd,c->rd", GridReader(DEFAULT_GRID).turning, np.asarray(rates)).reshape(5, 32, 2)
    assert not GridReader(DEFAULT_GRID).read(exact, rates).any()


@pytest.mark.parametrize(
    ("rates", "component", "value"),
    [((0.0, 0.0, 1.0), 0, -1.0), ((0.0, 1.0, 0.0), 1, 1.0), ((1.0, 0.0, 0.0), 0, 0.0), ((1.0, 0.0, 0.0), 1, 0.0)],
)
def test_straight_ahead_a_turn_is_seen_as_it_is(rates: Any, component: int, value: float) -> None:
    """Yaw to the left moves what is ahead to the right; nose down moves it up; a roll does nothing there."""
    ray, *axes = ray_axes(0.0, 0.0)
    assert turning_flow(axes[component], ray, rates) == pytest.approx(value)


def test_known_flow_of_a_flight_towards_a_wall() -> None:
    """A wall x = 4 m ahead, 2 m/s towards it: the flow grows away from where it flies, sin(a) cos(a) v / 4 m."""
    distance = 4.0 / AXES[:, 0, 0]
    flow = seen_flow((0.0, 0.0, 0.0), (2.0, 0.0, 0.0), 1.0 / distance)
    for row, e in enumerate(DEFAULT_GRID.elevation_rad):
        for column, a in enumerate(DEFAULT_GRID.azimuth_rad):
            rate = 2.0 / 4.0 * math.cos(e) * math.cos(a)
            assert flow[row, column] == pytest.approx((rate * math.sin(a), rate * math.cos(a) * math.sin(e)), abs=1e-12)
            ray = DEFAULT_GRID.axes()[32 * row + column]
            per_m = math.cos(e) * math.cos(a) / 4.0
            by_hand = [moving_flow(axis, (2.0, 0.0, 0.0), per_m) for axis in ray[1:]]
            assert by_hand == pytest.approx(flow[row, column].tolist(), abs=1e-12)
    assert flow[0, 0, 0] > 0.0 and flow[0, 0, 1] > 0.0  # upper left: to the left and up


@given(SPEEDS, SPEEDS, st.integers(0, 2**32))
def test_what_flies_reads_a_grid_as_the_traced_functions_do(rates: Any, velocity: Any, seed: int) -> None:
    rng = np.random.default_rng([seed])
    flow = seen_flow(rates, velocity, rng.uniform(0.02, 2.0, 160)) + rng.normal(0.0, 0.02, (5, 32, 2))
    blind = rng.random(160) < 0.2
    flow.reshape(160, 2)[blind] = np.nan
    wanted = np.zeros((2, 160))
    for k, (ray, *axes) in enumerate(DEFAULT_GRID.axes()):
        for c, axis in enumerate(axes):
            if not blind[k]:
                rest = float(flow.reshape(160, 2)[k, c]) - turning_flow(axis, ray, rates)
                wanted[c, k] = shown(FLOAT_OPS, rest)
    read = GridReader(DEFAULT_GRID).read(flow, rates)
    assert read.dtype == np.float32 and read.shape == (320,) and np.abs(read).max() <= 2.0
    np.testing.assert_allclose(read, wanted.reshape(-1), atol=1e-6)


@given(st.floats(-50.0, 50.0), st.floats(-50.0, 50.0))
def test_what_is_shown_of_a_flow_is_odd_rises_and_is_bounded(a: float, b: float) -> None:
    assert shown(FLOAT_OPS, -a) == -shown(FLOAT_OPS, a) and abs(shown(FLOAT_OPS, a)) < 2.0
    assert (shown(FLOAT_OPS, a) <= shown(FLOAT_OPS, b)) == (a <= b) or abs(a - b) < 1e-6


@given(st.floats(-math.pi, math.pi), st.floats(0.0, 5.0), st.floats(-math.pi, math.pi), st.floats(-math.pi, math.pi))
def test_a_course_is_told_with_its_speed_and_the_shorter_turn(
    yaw: float, speed: float, way: float, face: float
) -> None:
    heading, facing = (math.cos(yaw), math.sin(yaw)), (math.cos(face), math.sin(face))
    velocity = (speed * math.cos(way), speed * math.sin(way))
    (x, y), rate = told_course(FLOAT_OPS, heading, velocity, facing)
    assert math.hypot(x, y) == pytest.approx(speed, abs=1e-9)
    assert (x, y) == pytest.approx((speed * math.cos(way - yaw), speed * math.sin(way - yaw)), abs=1e-9)
    error = math.remainder(face - yaw, math.tau)
    assert abs(rate) <= YAW_LIMIT_RAD_S and (rate * error >= 0.0 or abs(abs(error) - math.pi) < 1e-6)
    if abs(error) > math.pi / 2 + 1e-6:
        assert abs(rate) == YAW_LIMIT_RAD_S


def test_grids_that_make_no_sense_are_refused() -> None:
    for azimuth, elevation in (((), (0.0,)), ((0.0, 0.1), (0.0,)), ((2.0, 0.0), (0.0,)), ((0.0,), (math.nan,))):
        with pytest.raises(ConfigError, match="GridLayout"):
            GridLayout(azimuth, elevation)
    with pytest.raises(ConfigError, match=f"at most {MOST_RAYS}"):
        even_grid(MOST_RAYS + 1, 1, 90.0, 40.0)
    assert even_grid(MOST_RAYS, 1, 90.0, 40.0).numbers == 2 * MOST_RAYS
    with pytest.raises(ConfigError, match="hidden"):
        EncoderSpec(DEFAULT_GRID, hidden=0)


def test_an_encoder_gives_hand_computed_features() -> None:
    spec = EncoderSpec(GridLayout((0.1,), (0.0,)), hidden=2, features=1)
    weights = {
        "encoder.0.weight": np.array([[1.0, 0.0, 0.5], [0.0, -2.0, 0.0]], np.float32),
        "encoder.0.bias": np.array([0.25, -1.0], np.float32),
        "encoder.1.weight": np.array([[0.5, -0.25]], np.float32),
        "encoder.1.bias": np.array([0.1], np.float32),
    }
    # speed 3 m/s enters as 1.5: hidden 1 + 0.75 + 0.25 = 2 and exp(-1 - 1) - 1
    wanted = math.tanh(0.5 * 2.0 - 0.25 * (math.exp(-2.0) - 1.0) + 0.1)
    features = Encoder(spec, weights).features(np.array([1.0, 0.5], np.float32), 3.0)
    assert features.dtype == np.float32 and features == pytest.approx([wanted], abs=1e-6)
    assert spec.parameters == sum(value.size for value in weights.values())
    with pytest.raises(MessageError, match=r"\(3,\); give \(2,\)"):
        Encoder(spec, weights).features(np.zeros(3, np.float32), 0.0)
