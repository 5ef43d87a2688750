"""Forward flow grids: the same numbers in both engines, rates and losses, and what rotation leaves of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from envs.airframe import load_airframe
from envs.avoid import avoid_course, sighted
from envs.compiled.job import Draw, Objective
from envs.compiled.sight import LOOKS
from envs.conditions import Conditions
from envs.flights import Array, draw_flights
from envs.flow_grid import GridModel, Sight
from envs.forest import COURSE_ROWS, CROSSING_PLOT, NEAR
from envs.grid_events import CastRays, GridSensor
from envs.grid_observation import SILENT_S, GridMemory
from envs.physics import Body
from envs.shapes import FAR_M, obstacles_of, per_metre, target
from envs.surroundings import Surroundings
from liquid_pilot.flow_grid import DEFAULT_GRID, GridReader, turning_flow
from liquid_pilot.fusion import SensorMemory
from liquid_pilot.geometry import rotation_matrix, to_world
from liquid_pilot.messages import FlowGrid, Imu
from liquid_pilot.ops import FLOAT_OPS, Vec3

AIRFRAME = load_airframe("cf2x")
CLEAR = GridModel(noise_rad_s=0.0, noise_share=0.0, rays_lost=0.0)
STILL = (0.0, 0.0, 0.0)
LEVEL = (1.0, 0.0, 0.0, 0.0)


def a_forest(seed: int = 0, density_per_m2: float = 0.12) -> Surroundings:
    rng = np.random.default_rng(seed)
    return Surroundings(CROSSING_PLOT, CROSSING_PLOT.draw(density_per_m2, 1, rng)[:, 0])


def one_tree(x_m: float, y_m: float, radius_m: float = 0.2) -> Surroundings:
    rows = np.full((CROSSING_PLOT.places, 3), (0.0, 0.0, -1e3))
    rows[0] = x_m, y_m, radius_m
    return Surroundings(CROSSING_PLOT, rows.ravel())


def seen(forest: Surroundings, body: Body[float], rates: Vec3[float] | None = None, model: GridModel = CLEAR) -> Array:
    source = CastRays(model, forest, 0.0, np.random.default_rng(0))
    return source.flow(body, body.rates_rad_s if rates is None else rates, 0.03)


def test_both_engines_see_the_same_grid() -> None:
    pytest.importorskip("torch")
    from policies.compiled_trainer import flight_rollout, new_lanes
    from policies.drills import avoid_drill
    from policies.fragments import flatten_weights
    from policies.network import PolicyNetwork, avoid_spec

    n, rng = 16, np.random.default_rng(5)
    conditions = sighted(Conditions(noise_scale=(0.0, 0.0)))
    spec, sight = avoid_spec("decay", DEFAULT_GRID), Sight(model=GridModel(rays_lost=0.0))
    aim = avoid_drill().aim(10.0)
    rollout = flight_rollout(AIRFRAME, spec, dtype=np.float64, aim=type(aim)(aim.rows, aim.goal, sees=sight))
    flights = draw_flights(AIRFRAME, conditions, n, rng)
    course = avoid_course(CROSSING_PLOT, 3.0, 0.12, flights, rng)
    lanes = new_lanes(rollout, flights, rng, course)
    body = lanes.world.value("body")
    body[0], body[1] = rng.uniform(0.0, 30.0, n), rng.uniform(-9.0, 9.0, n)
    body[3:6], body[10:13] = rng.normal(0.0, 2.0, (3, n)), rng.normal(0.0, 1.0, (3, n))
    lanes.world.clock("release_s")[...] = 0.0  # in the air
    draw = Draw(np.full((1, n), 0.01), seed=1, looks=np.array([LOOKS], np.int32))
    weights = flatten_weights(spec, PolicyNetwork(spec).weights())
    costs = Objective((0.0,) * rollout.model.cost.weights)
    after = rollout.run(lanes, weights, draw, conditions, costs, gradients=False).lanes
    assert after.sight is not None
    reader, numbers = GridReader(DEFAULT_GRID), DEFAULT_GRID.numbers
    seeing = 0
    for k in range(n):
        row = after.world.value("body")[:, k].tolist()
        moved: Any = Body(tuple(row[:3]), tuple(row[3:6]), tuple(row[6:10]), tuple(row[10:13]))
        flow = seen(Surroundings(CROSSING_PLOT, course[COURSE_ROWS:, k]), moved, model=sight.model)
        gyro = after.world.value("gyro_rad_s")[:, k].tolist()
        told = after.sight[:numbers, k]
        assert reader.read(flow, tuple(gyro)) == pytest.approx(told, abs=1e-5)
        seeing += int(np.abs(told).max() > 0.3)
    assert seeing > n // 2  # there was something to see


def test_a_tree_ahead_spreads_away_from_the_direction_of_flight() -> None:
    flow = seen(one_tree(4.0, 0.0, 0.35), Body((0.0, 0.0, 1.0), (3.0, 0.0, 0.0), LEVEL, STILL))
    across, azimuth = flow[2, :, 0], np.array(DEFAULT_GRID.azimuth_rad)
    hit = np.abs(azimuth) < math.asin(0.35 / 4.0)
    assert (np.sign(across[hit]) == np.sign(azimuth[hit])).all() and (across[~hit] == 0.0).all()
    nearest = 4.0 * np.cos(azimuth[hit]) - np.sqrt(0.35**2 - (4.0 * np.sin(azimuth[hit])) ** 2)
    assert across[hit] == pytest.approx(3.0 * np.sin(azimuth[hit]) / nearest, rel=1e-6)


def test_rotation_alone_is_all_taken_away_by_the_gyro() -> None:
    rates = (0.4, -0.3, 0.8)
    flow = seen(a_forest(), Body((3.0, 1.0, 1.2), STILL, LEVEL, rates))
    assert np.abs(flow).max() > 0.3
    assert np.abs(GridReader(DEFAULT_GRID).read(flow, rates)).max() < 1e-6


def test_what_a_ray_meets_is_what_stands_there() -> None:
    forest = a_forest(3)
    trees = forest.within((-30.0, 60.0), (-30.0, 30.0))
    near = forest.near(5.0, 2.0)
    offsets = [target(FLOAT_OPS, obstacle, (5.0, 2.0, 1.0)) for obstacle in obstacles_of(near, NEAR)]
    for angle in np.linspace(-math.pi, math.pi, 721):
        c, s = math.cos(angle), math.sin(angle)
        per_m = per_metre(FLOAT_OPS, (c, s, 0.0), 1.0, offsets, 3.5)
        ahead, aside = (trees[:, :2] - (5.0, 2.0)) @ (c, s), (trees[:, :2] - (5.0, 2.0)) @ (-s, c)
        met = (ahead > 0.0) & (np.abs(aside) < trees[:, 2])
        distance = np.min(ahead[met] - np.sqrt(trees[met, 2] ** 2 - aside[met] ** 2), initial=FAR_M)
        if distance < 3.4:
            assert 1.0 / per_m == pytest.approx(distance, rel=1e-6)
        elif distance > 3.6:
            assert per_m == 0.0


def test_free_space_counts_the_drone_itself() -> None:
    forest = one_tree(5.0, 1.0, 0.25)
    assert forest.free_m((5.0, 2.0, 1.0)) == pytest.approx(1.0 - 0.25 - 0.12)
    assert forest.free_m((5.0, 1.3, 1.0)) < 0.0
    shifted = forest.free_m((5.0 + 44.0, 2.0 - 16.0, 1.0))  # of the next plot
    assert shifted == pytest.approx(1.0 - 0.25 - 0.12)


class _Told:
    """A source that remembers what it was asked."""

    layout = DEFAULT_GRID

    def __init__(self) -> None:
        self.asked: list[tuple[Vec3[float], float]] = []

    def flow(self, body: Body[float], mean_rates_rad_s: Vec3[float], window_s: float) -> Array:
        self.asked.append((mean_rates_rad_s, window_s))
        return np.ones((5, 32, 2))


def test_a_grid_covers_the_time_since_the_one_before_and_turns_as_the_body_did_in_it() -> None:
    source, rng = _Told(), np.random.default_rng(2)
    sensor = GridSensor(source, Conditions(grid_hz=(20.0, 20.0)), rng)
    grids: list[FlowGrid] = []
    h = 0.002
    for k in range(1, 1001):
        t = k * h
        found = sensor.sample(t, Body((0.0, 0.0, 1.0), STILL, LEVEL, (2.0 * t, 0.0, -t)), h)
        grids += [] if found is None else [found]
    stamps = np.array([g.t_s for g in grids])
    assert np.diff(stamps) == pytest.approx([g.dt_s for g in grids[1:]]) and len(grids) == pytest.approx(40, abs=3)
    for grid, (mean, window_s) in zip(grids, source.asked, strict=True):
        middle = grid.t_s - 0.5 * grid.dt_s + 0.5 * h  # the mean of what rises evenly, over ends of substeps
        assert window_s == pytest.approx(grid.dt_s) and mean == pytest.approx((2.0 * middle, 0.0, -middle))


def test_rays_are_lost_and_noisy_as_often_and_as_much_as_the_model_says() -> None:
    model, rng = GridModel(noise_share=0.0, rays_lost=0.1), np.random.default_rng(1)
    source = CastRays(model, one_tree(20.0, 8.0), 1.5, rng)
    body: Body[float] = Body((0.0, 0.0, 1.0), STILL, LEVEL, STILL)
    flow = np.stack([source.flow(body, STILL, 0.03) for _ in range(300)])
    lost = np.isnan(flow[..., 0])
    assert (lost == np.isnan(flow[..., 1])).all() and lost.mean() == pytest.approx(0.1, rel=0.05)
    assert np.nanstd(flow) == pytest.approx(1.5 * model.noise_rad_s, rel=0.02)


def test_flow_across_the_view_is_the_turn_of_the_ray() -> None:
    ray, across, up = DEFAULT_GRID.axes()[40]
    turned = to_world(rotation_matrix((math.cos(5e-7), 0.0, 0.0, math.sin(5e-7))), ray)  # of the body, by 1e-6 rad
    moved = [(b - a) / 1e-6 for a, b in zip(ray, turned, strict=True)]
    for axis in (across, up):  # what stands still moves the other way in the view
        told = turning_flow(axis, ray, (0.0, 0.0, 1.0))
        assert told == pytest.approx(-sum(a * m for a, m in zip(axis, moved, strict=True)), abs=1e-5)


def test_what_was_seen_is_forgotten_in_a_silence_as_on_board() -> None:
    memory, shown = SensorMemory(), GridMemory(DEFAULT_GRID)
    flow = np.random.default_rng(0).normal(0.0, 0.3, (5, 32, 2))
    memory.accept(Imu(1.0, (0.0, 0.0, 0.0), (0.0, 0.0, 9.81)))
    before = shown.show(memory, 0.0)
    shown.accept(FlowGrid(1.0, 0.04, DEFAULT_GRID.azimuth_rad, DEFAULT_GRID.elevation_rad, flow))
    seen = shown.show(memory, 0.0)
    assert seen[0] == 1.0 and seen[1] == 0.0 and any(seen[2:])
    memory.accept(Imu(1.4, (0.0, 0.0, 0.0), (0.0, 0.0, 9.81)))
    assert shown.show(memory, 0.0)[2:] == seen[2:]
    memory.accept(Imu(1.0 + SILENT_S + 0.1, (0.0, 0.0, 0.0), (0.0, 0.0, 9.81)))
    assert shown.show(memory, 0.0) == before and not any(before[2:])
