"""Laws of forests: density, repetition, distances, what rays meet, and the course that is told through them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from envs.airframe import load_airframe
from envs.avoid import (
    START_YAW_RAD,
    avoid_goal,
    check_speed,
    crossing,
    crossing_s,
    facing_course,
    sighted,
)
from envs.conditions import Conditions
from envs.flights import draw_flights
from envs.flow_grid import GridModel, ray_flow, view
from envs.forest import (
    CROSSING_PLOT,
    NEAR,
    SHAPES_PLOT,
    START_CLEAR_M,
    Plot,
)
from envs.grid_observation import told_setpoint
from envs.obstacle_kinds import NO_TREE, OBSTACLES
from envs.physics import Body
from envs.shapes import DRONE_RADIUS_M, FAR_M, SHAPE_ROWS, TREE_ROWS, Obstacle, clearance_m, obstacles_of, per_metre
from liquid_pilot.course import YAW_LIMIT_RAD_S, told_course
from liquid_pilot.errors import ConfigError
from liquid_pilot.flow_grid import DEFAULT_GRID, GridReader, ray_axes
from liquid_pilot.ops import FLOAT_OPS, NUMPY_OPS

LEVEL = (1.0, 0.0, 0.0, 0.0)
STILL = (0.0, 0.0, 0.0)


def lone_tree(x_m: float, y_m: float, radius_m: float, plot: Plot = CROSSING_PLOT) -> Any:
    rows = np.zeros((plot.rows, 1))
    rows[2::TREE_ROWS] = NO_TREE
    rows[:3, 0] = x_m, y_m, radius_m
    return rows


def free_at(near: Any, x_m: Any, y_m: Any) -> Any:
    return clearance_m(NUMPY_OPS, obstacles_of(list(near), NEAR), (x_m, y_m, 1.2))


@pytest.mark.parametrize("density", [0.0, 1.0 / 12.0, 0.1, 0.125])
def test_a_forest_has_its_density_but_for_the_start(density: float) -> None:
    rows = CROSSING_PLOT.draw(density, 400, np.random.default_rng(1))
    x, y, radius = rows.reshape(CROSSING_PLOT.places, TREE_ROWS, -1).swapaxes(0, 1)
    area = CROSSING_PLOT.length_m * CROSSING_PLOT.width_m - math.pi * (START_CLEAR_M + 0.25) ** 2
    assert (radius > 0).sum(axis=0).mean() == pytest.approx(density * area, rel=0.02)
    stands = radius > 0
    assert (np.hypot(x, y)[stands] > START_CLEAR_M + radius[stands]).all()
    assert ((radius[stands] >= 0.15) & (radius[stands] <= 0.35)).all()


def drawn(kind: str, size: float) -> Obstacle[Any]:
    """Arrays (bodies, 200)."""
    rows = SHAPES_PLOT.draw(0.1, 200, np.random.default_rng(1), kind, size)
    return Obstacle(*rows.reshape(-1, SHAPE_ROWS, 200).swapaxes(0, 1))


@pytest.mark.parametrize("kind", OBSTACLES)
def test_size_makes_obstacles_thicker_and_moves_none(kind: str) -> None:
    usual, thick = drawn(kind, 1.0), drawn(kind, 1.5)
    both = (usual.radius > NO_TREE) & (thick.radius > NO_TREE)  # a thick trunk needs more room around a start
    assert both.sum() > 0.95 * (usual.radius > NO_TREE).sum()
    assert (thick.x == usual.x)[both].all()
    assert_allclose(thick.radius[both], 1.5 * usual.radius[both], rtol=1e-12)
    assert_allclose(thick.half_x[both], 1.5 * usual.half_x[both], rtol=1e-12)


def test_a_gate_of_thicker_beams_is_as_wide() -> None:
    left, right = (
        slice(3, SHAPES_PLOT.places, 4),
        slice(SHAPES_PLOT.places, SHAPES_PLOT.places + SHAPES_PLOT.places // 4),
    )
    width = [o.y[left] - o.y[right] - 2.0 * o.half_y[left] for o in (drawn("gates", 1.0), drawn("gates", 2.0))]
    there = drawn("gates", 1.0).radius[left] > NO_TREE
    assert there.any() and (width[0][there] > 1.19).all()
    assert_allclose(width[1][there], width[0][there], rtol=1e-9)


@pytest.mark.parametrize("size", [0.0, 0.2, 2.1, math.nan, "big", True])
def test_sizes_out_of_bounds_are_refused(size: Any) -> None:
    with pytest.raises(ConfigError, match=r"0\.25 to 2"):
        SHAPES_PLOT.draw(0.1, 1, np.random.default_rng(1), size=size)


@given(st.integers(-3, 3), st.integers(-3, 3), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_a_forest_repeats_without_end(along: int, across: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = CROSSING_PLOT.draw(0.1, 3, rng)
    x, y = rng.uniform(-20, 20, 3), rng.uniform(-7, 7, 3)
    far_x, far_y = x + along * CROSSING_PLOT.length_m, y + across * CROSSING_PLOT.width_m
    here, there = CROSSING_PLOT.nearest(rows, x, y), CROSSING_PLOT.nearest(rows, far_x, far_y)
    free, far = (free_at(n, *p) for n, p in ((here, (x, y)), (there, (far_x, far_y))))
    assert_allclose(far, free, atol=1e-9)
    body = np.stack([far_x, far_y])
    CROSSING_PLOT.centre(body)
    assert_allclose(free_at(CROSSING_PLOT.nearest(rows, *body), *body), free, atol=1e-9)
    assert (np.abs(body) <= [[22.0], [8.0]]).all()


def test_the_trees_nearby_are_the_nearest_and_those_behind_come_later() -> None:
    rng = np.random.default_rng(4)
    rows = CROSSING_PLOT.draw(0.1, 50, rng)
    x, y = rng.uniform(-20, 20, 50), rng.uniform(-8, 8, 50)
    near = CROSSING_PLOT.nearest(rows, x, y).reshape(NEAR, TREE_ROWS, -1)
    gap = np.hypot(near[:, 0] - x, near[:, 1] - y) - near[:, 2] + 3.0 * (near[:, 0] - x < -0.5)
    assert (np.diff(gap, axis=0) >= -1e-12).all()
    own, other = rows.reshape(-1, TREE_ROWS, 50), gap[-1]
    for shift in ((0, 0), (44, 0), (-44, 0), (0, 16), (0, -16), (44, 16), (-44, -16), (44, -16), (-44, 16)):
        dx, dy = own[:, 0] + shift[0] - x, own[:, 1] + shift[1] - y
        key = np.where(own[:, 2] > 0, np.hypot(dx, dy) - own[:, 2] + 3.0 * (dx < -0.5), np.inf)
        assert ((key < other - 1e-9).sum(axis=0) <= NEAR - 1).all()


def test_clearance_and_rays_of_one_tree_are_known() -> None:
    near = [float(v) for v in CROSSING_PLOT.nearest(lone_tree(5.0, 0.0, 0.25), np.zeros(1), np.zeros(1))[:, 0]]
    assert clearance_m(FLOAT_OPS, obstacles_of(near, NEAR), (0.0, 0.0, 1.5)) == pytest.approx(
        4.75 - DRONE_RADIUS_M, abs=1e-6
    )
    assert obstacles_of(near, NEAR)[1][:2] == (FAR_M, FAR_M)
    body: Body[float] = Body((0.0, 0.0, 1.5), STILL, LEVEL, STILL)
    offsets = view(FLOAT_OPS, body, near).targets
    assert 1.0 / per_metre(FLOAT_OPS, (1.0, 0.0, 0.0), 1.5, offsets, 12.0) == pytest.approx(4.75, abs=1e-3)
    up = math.sqrt(0.5)  # 45 degrees up meets the trunk farther along the ray
    assert 1.0 / per_metre(FLOAT_OPS, (up, 0.0, up), 1.5, offsets, 12.0) == pytest.approx(4.75 / up, abs=1e-3)
    assert 1.0 / per_metre(FLOAT_OPS, (0.6, 0.0, -0.8), 1.5, offsets, 12.0) == pytest.approx(1.5 / 0.8, abs=1e-6)
    assert per_metre(FLOAT_OPS, (0.0, 1.0, 0.0), 1.5, offsets, 12.0) == 0.0
    assert per_metre(FLOAT_OPS, (-1.0, 0.0, 0.0), 1.5, offsets, 12.0) == 0.0  # it lies behind
    assert per_metre(FLOAT_OPS, (1.0, 0.0, 0.0), 1.5, offsets, 4.0) == 0.0  # beyond reach


@given(st.floats(0.5, 6.0), st.floats(-0.7, 0.7), st.integers(0, 10**6))
@settings(max_examples=50, deadline=None)
def test_a_ray_ends_on_the_trunk(distance: float, azimuth: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    radius = rng.uniform(0.15, 0.35)
    x, y = (distance + radius) * math.cos(azimuth), (distance + radius) * math.sin(azimuth)
    body: Body[float] = Body((0.0, 0.0, 50.0), STILL, LEVEL, STILL)
    aim = azimuth + rng.uniform(-0.9, 0.9) * math.asin(radius / (distance + radius))
    elevation = rng.uniform(-0.3, 0.3)
    ray, _, _ = ray_axes(aim, elevation)
    near = [x, y, radius] + [FAR_M, FAR_M, 0.1] * (NEAR - 1)
    met = 1.0 / per_metre(FLOAT_OPS, ray, 50.0, view(FLOAT_OPS, body, near).targets, 1e3)
    assert math.hypot(met * ray[0] - x, met * ray[1] - y) == pytest.approx(radius, abs=1e-4)
    assert met < math.hypot(x, y) / math.cos(elevation)


def test_flow_of_a_trunk_ahead_expands_with_speed_over_distance() -> None:
    near = [4.0, 0.0, 0.3] + [FAR_M, FAR_M, 0.1] * (NEAR - 1)
    body: Body[float] = Body((0.0, 0.0, 1.5), (2.0, 0.0, 0.0), LEVEL, STILL)
    model = GridModel(noise_rad_s=0.0, noise_share=0.0)
    at = 0.05
    flow = ray_flow(FLOAT_OPS, model, ray_axes(at, 0.0), view(FLOAT_OPS, body, near), STILL, (0.0, 0.0), 1.0)
    distance = 1.0 / per_metre(FLOAT_OPS, ray_axes(at, 0.0)[0], 1.5, view(FLOAT_OPS, body, near).targets, 12.0)
    assert flow[0] == pytest.approx(2.0 * math.sin(at) / distance, rel=1e-9)  # outwards
    assert flow[1] == pytest.approx(0.0, abs=1e-12)


def test_turning_says_nothing_once_the_gyro_has_taken_it_away() -> None:
    near, rates = [FAR_M, FAR_M, 0.1] * NEAR, (0.7, -1.1, 0.4)
    body: Body[float] = Body((0.0, 0.0, 100.0), STILL, LEVEL, rates)
    model = GridModel(noise_rad_s=0.0, noise_share=0.0)
    flow = [
        ray_flow(FLOAT_OPS, model, axes, view(FLOAT_OPS, body, near), rates, (0.0, 0.0), 1.0)
        for axes in DEFAULT_GRID.axes()
    ]
    seen = GridReader(DEFAULT_GRID).read(np.array(flow).reshape(5, 32, 2), rates)
    assert np.abs(np.array(flow)).max() > 0.5
    assert_allclose(seen, 0.0, atol=1e-6)


@given(st.floats(-math.pi, math.pi), st.floats(0.1, 6.0))
@settings(max_examples=60, deadline=None)
def test_the_course_is_told_in_the_heading_frame_and_turns_towards_it(yaw: float, speed: float) -> None:
    q = (math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2))
    goal = avoid_goal(FLOAT_OPS, (speed, 1.2, FAR_M), 0.0, Body((3.0, 1.0, 1.0), STILL, q, STILL))
    vx, vy = goal.velocity_m_s
    c, s = math.cos(yaw), math.sin(yaw)
    assert c * vx - s * vy == pytest.approx(speed, abs=1e-9) and s * vx + c * vy == pytest.approx(0.0, abs=1e-9)
    assert goal.yaw_rate_rad_s * -yaw >= 0.0 and abs(goal.yaw_rate_rad_s) <= YAW_LIMIT_RAD_S
    assert abs(goal.yaw_rate_rad_s) == YAW_LIMIT_RAD_S or abs(yaw) < math.pi / 2
    assert told_course(FLOAT_OPS, (c, s), (speed, 0.0), (c, s))[1] == pytest.approx(0.0, abs=1e-9)


def test_flights_begin_facing_the_course_and_gently() -> None:
    airframe = load_airframe("cf2x")
    flights = draw_flights(airframe, sighted(Conditions()), 200, np.random.default_rng(0))
    begun = facing_course(flights, airframe)
    w, x, y, z = begun.attitude_wxyz.T
    yaw = np.arctan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z))
    assert np.abs(yaw).max() <= START_YAW_RAD and np.abs(yaw).max() > 0.8 * START_YAW_RAD
    upright, before = (1 - 2 * (q[1] ** 2 + q[2] ** 2) for q in (begun.attitude_wxyz.T, flights.attitude_wxyz.T))
    assert_allclose(upright, before, atol=1e-12)
    assert np.linalg.norm(begun.launch_velocity_m_s, axis=1).max() <= 0.3 * 1.5


def test_bad_forests_are_refused() -> None:
    for density in (-0.1, 0.2, math.nan, "much"):
        with pytest.raises(ConfigError, match="density"):
            crossing(2.0, density)  # type: ignore[arg-type]
    for speed in (0.0, 9.0, math.nan, None):
        with pytest.raises(ConfigError, match="speed"):
            check_speed(speed)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="places for"):
        CROSSING_PLOT.draw(0.5, 2, np.random.default_rng(0))
    with pytest.raises(ConfigError, match="plot"):
        Plot(3, 44.0, 16.0)
    with pytest.raises(ConfigError, match="grid_hz"):
        Conditions(grid_hz=(0.0, 20.0))
    assert crossing_s(3.0) == pytest.approx(30.0 / 1.8 + 4.0)


def test_a_wall_leaves_no_way_through() -> None:
    rng = np.random.default_rng(2)
    rows = CROSSING_PLOT.walled(CROSSING_PLOT.draw(0.1, 4, rng), np.array([10.0, -5.0, 7.0, 19.0]))
    for x, column in zip((10.0, -5.0, 7.0, 19.0), rows.T, strict=True):
        for y in np.arange(-8.0, 8.0, 0.05):
            near = CROSSING_PLOT.nearest(column[:, None], np.array([x]), np.array([y]))
            assert free_at(near, np.array([x]), np.array([y]))[0] < 0.0


def test_no_pilot_is_told_of_a_wall() -> None:
    def goal(x: float, wall: float) -> Any:
        return avoid_goal(FLOAT_OPS, (3.0, 1.2, wall), 0.0, Body((x, 0.0, 1.2), STILL, LEVEL, STILL))

    for x in (0.0, 7.75, 9.0, 9.9):
        found, free = goal(x, 10.0), goal(x, FAR_M)
        assert found.blocked_m == 10.0 - x and replace(found, blocked_m=free.blocked_m) == free
        assert told_setpoint(0.0, found, (1.0, 0.0)).velocity_m_s == (3.0, 0.0)
