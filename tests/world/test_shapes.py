"""Laws of obstacles: distances, what rays meet, what stands in a forest of each kind, and PyBullet's bodies of them."""

from __future__ import annotations

import math
from contextlib import closing
from typing import Any

import numpy as np
import pybullet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from envs.airframe import load_airframe
from envs.avoid import CROSSING_M, crossing, plot_of
from envs.avoid_task import avoid_task
from envs.flights import Array
from envs.forest import CROSSING_PLOT, NEAR, SHAPES_PLOT
from envs.obstacle_kinds import BALL_Z_M, BEAM_HALF_M, GATE_HALF_M, NO_TREE, OBSTACLES, TREES
from envs.obstacles import plant
from envs.pybullet_quad import PyBulletQuad
from envs.scene import Scene
from envs.shapes import (
    ENDLESS_M,
    SHAPE_ROWS,
    Obstacle,
    clearance_m,
    obstacles_of,
    per_metre,
    surface_m,
    target,
    target_numbers,
    targets_of,
    trunks,
)
from envs.surroundings import Surroundings
from liquid_pilot.errors import ConfigError
from liquid_pilot.ops import FLOAT_OPS

AIRFRAME = load_airframe("cf2x")
BALL = Obstacle(3.0, 0.5, 0.4, 1.2, 0.0, 0.0, 0.0)
BOX = Obstacle(3.0, -0.5, 0.0, 1.0, 0.3, 0.2, 1.0)
TRUNK = Obstacle(2.5, 0.2, 0.25, 0.0, 0.0, 0.0, ENDLESS_M)
EYE = (0.0, 0.0, 1.1)
places = st.tuples(st.floats(-2.0, 6.0), st.floats(-3.0, 3.0), st.floats(0.1, 3.0))


def inside(obstacle: Obstacle[float], points: Array) -> Any:
    """Whether points (n, 3) lie in a ball, a trunk or a box, by their definitions."""
    offset = np.abs(points - (obstacle.x, obstacle.y, obstacle.z))
    if obstacle.half_x > 0.0:
        return (offset <= (obstacle.half_x, obstacle.half_y, obstacle.half_z)).all(axis=1)
    return np.linalg.norm(offset[:, : 3 if obstacle.half_z == 0.0 else 2], axis=1) <= obstacle.radius


@pytest.mark.parametrize("obstacle", [BALL, BOX, TRUNK])
@given(st.floats(-0.8, 0.8), st.floats(-0.7, 0.7))
@settings(max_examples=60, deadline=None)
def test_a_ray_ends_where_it_enters_and_nowhere_else(obstacle: Obstacle[float], azimuth: float, up: float) -> None:
    ray = (math.cos(azimuth) * math.cos(up), math.sin(azimuth) * math.cos(up), math.sin(up))
    high = (0.0, 0.0, 1.1)
    per_m = per_metre(FLOAT_OPS, ray, 1e3, [target(FLOAT_OPS, obstacle, high)], 12.0)  # the floor is far away
    along = np.linspace(0.05, 12.0, 24_000)
    hit = inside(obstacle, np.array(high) + along[:, None] * ray)
    if hit.sum() > 20:  # not just grazed
        assert 1.0 / per_m == pytest.approx(along[hit][0], abs=2e-3)
    elif not hit.any():
        grown = obstacle._replace(radius=obstacle.radius + 0.02) if obstacle.half_x == 0.0 else obstacle
        grazed = inside(grown, np.array(high) + along[:, None] * ray).any()
        assert per_m == 0.0 or grazed


@pytest.mark.parametrize("obstacle", [BALL, BOX, TRUNK])
@given(places)
@settings(max_examples=60, deadline=None)
def test_the_surface_is_as_far_as_its_nearest_point(obstacle: Obstacle[float], place: tuple[float, ...]) -> None:
    x, y, z = place
    found = surface_m(FLOAT_OPS, obstacle, (x, y, z))
    if inside(obstacle, np.array([place]))[0]:
        assert found <= 1e-4
        return
    half = np.array([obstacle.half_x, obstacle.half_y, obstacle.half_z])
    middle = np.array([obstacle.x, obstacle.y, obstacle.z])
    core = middle + np.clip(np.array(place) - middle, -half, half)
    assert found == pytest.approx(float(np.linalg.norm(np.array(place) - core)) - obstacle.radius, abs=5e-5)


def test_numbers_of_targets_are_read_as_they_were_written() -> None:
    for shapes in ([BALL, BOX, TRUNK], [Obstacle(2.0, 1.0, 0.3, plain=True)] * 2):
        seen = [target(FLOAT_OPS, obstacle, EYE) for obstacle in shapes]
        assert targets_of([n for one in seen for n in target_numbers(one)], len(seen)) == seen


def test_a_tree_is_the_same_among_trees_and_among_shapes() -> None:
    rows, rng = CROSSING_PLOT.draw(0.1, 1, np.random.default_rng(3)), np.random.default_rng(3)
    shaped = SHAPES_PLOT.draw(0.1, 1, rng)
    at = np.array([3.0]), np.array([1.0])
    plain = obstacles_of(CROSSING_PLOT.nearest(rows, *at)[:, 0].tolist(), NEAR)
    other = obstacles_of(SHAPES_PLOT.nearest(shaped, *at)[:, 0].tolist(), NEAR)
    assert [o[:3] for o in plain] == [o[:3] for o in other]
    place = (3.0, 1.0, 1.2)
    assert clearance_m(FLOAT_OPS, plain, place) == clearance_m(FLOAT_OPS, other, place)
    for angle in np.linspace(-math.pi, math.pi, 100):
        ray = (math.cos(angle) * 0.98, math.sin(angle) * 0.98, math.sqrt(1.0 - 0.98**2))
        one, two = (
            per_metre(FLOAT_OPS, ray, 1.2, [target(FLOAT_OPS, o, place) for o in near], 12.0) for near in (plain, other)
        )
        assert one == pytest.approx(two, abs=1e-12)


@pytest.mark.parametrize("kind", OBSTACLES[1:])
def test_a_forest_has_what_it_is_said_to_have(kind: str) -> None:
    rows = SHAPES_PLOT.draw(0.1, 40, np.random.default_rng(2), kind).reshape(SHAPES_PLOT.bodies, SHAPE_ROWS, -1)
    found = [Obstacle(*row) for row in np.concatenate(list(np.moveaxis(rows, 2, 0))).tolist() if row[2] > NO_TREE]
    balls, tall = [o for o in found if o.half_z == 0.0], [o for o in found if o.half_z == ENDLESS_M]
    beams = [o for o in found if o.half_x == BEAM_HALF_M]
    boxes = len(found) - len(balls) - len(tall) - len(beams)
    gates = len(beams) / 3  # two posts, and what lies on them
    area = 0.1 * SHAPES_PLOT.length_m * SHAPES_PLOT.width_m * 40
    shares = {"spheres": (0, 1, 0, 0), "boxes": (0, 0, 1, 0), "gates": (0.75, 0, 0, 0.25), "mixed": (0.25,) * 4}[kind]
    assert_allclose(np.array([len(tall), len(balls), boxes, gates]) / area, shares, atol=0.05)
    assert all(BALL_Z_M[0] <= ball.z <= BALL_Z_M[1] for ball in balls)
    assert all(o.z == o.half_z for o in found if o.half_x > BEAM_HALF_M)  # boxes stand on the floor


def test_a_gate_has_a_way_through_and_none_at_its_sides() -> None:
    rng = np.random.default_rng(1)
    rows = SHAPES_PLOT.draw(0.1, 1, rng, "gates")
    forest = Surroundings(SHAPES_PLOT, rows[:, 0])
    lintels = [Obstacle(*r) for r in forest.within((-22.0, 22.0), (-8.0, 8.0)).tolist() if r[5] > GATE_HALF_M[0]]
    assert len(lintels) > 5
    for lintel in lintels:
        span = lintel.y - lintel.half_y, lintel.y + lintel.half_y
        own = [Obstacle(*r) for r in forest.within((lintel.x, lintel.x), span).tolist()]
        assert len(own) == 3
        at = (lintel.x, lintel.y, 1.1)
        assert GATE_HALF_M[0] - 0.13 < clearance_m(FLOAT_OPS, own, at) < GATE_HALF_M[1]
        for side in (-1, 1):
            assert clearance_m(FLOAT_OPS, own, (at[0], at[1] + side * lintel.half_y, at[2])) < 0.0
        assert clearance_m(FLOAT_OPS, own, (at[0], at[1], lintel.z)) < 0.0


@pytest.mark.parametrize("kind", OBSTACLES)
def test_bodies_of_pybullet_are_where_obstacles_are(kind: str) -> None:
    plot = plot_of(kind)
    rows = plot.draw(0.1, 1, np.random.default_rng(5), kind)
    forest = Surroundings(plot, rows[:, 0])
    client = pybullet.connect(pybullet.DIRECT)
    try:
        plant(client, forest.within((-15.0, 25.0), (-15.0, 15.0)))
        pybullet.performCollisionDetection(physicsClientId=client)
        eye, met = (6.0, 1.0, 1.1), 0
        near = [target(FLOAT_OPS, o, eye) for o in obstacles_of(forest.near(6.0, 1.0), NEAR)]
        for angle in np.linspace(-math.pi, math.pi, 200):
            ray = (math.cos(angle), math.sin(angle), 0.0)
            end = tuple(p + 3.0 * r for p, r in zip(eye, ray, strict=True))
            (body, _, fraction, _, _), *_ = pybullet.rayTest(eye, end, physicsClientId=client)
            per_m = per_metre(FLOAT_OPS, ray, eye[2], near, 3.0)
            if body >= 0 and 0.1 < fraction < 0.99:
                assert 1.0 / per_m == pytest.approx(3.0 * fraction, abs=0.02)
                met += 1
        assert met > 10
    finally:
        pybullet.disconnect(physicsClientId=client)


@pytest.mark.parametrize("obstacle", [BALL, BOX])
def test_what_is_touched_has_no_free_space(obstacle: Obstacle[float]) -> None:
    away = obstacle.radius + obstacle.half_x
    with closing(PyBulletQuad(AIRFRAME)) as quad:
        for x, touches in ((obstacle.x - away, True), (obstacle.x - away - 0.3, False)):
            quad.reset(quad.params, (x, obstacle.y, obstacle.z), (1.0, 0.0, 0.0, 0.0))
            quad.plant(np.array([obstacle[:SHAPE_ROWS]]))
            quad.substep((9.81, (0.0, 0.0, 0.0)), (0.0, 0.0, 0.0), 0.001)
            assert quad.touches_obstacles == touches


def test_pictures_show_balls_and_boxes() -> None:
    def shot(*found: Obstacle[float]) -> Any:
        rows = np.reshape(np.array([o[:SHAPE_ROWS] for o in found]), (-1, SHAPE_ROWS))
        with closing(Scene(AIRFRAME, rows)) as scene:
            return scene.picture((0.0, 0.0, 1.2), (1.0, 0.0, 0.0, 0.0), width=320, height=240)

    bare = shot()
    for found in (BALL, BOX):
        changed = (shot(found) != bare).any(axis=2)
        rows, columns = np.nonzero(changed)
        assert 100 < changed.sum() < 0.3 * changed.size
        assert np.ptp(rows) < 240 and np.ptp(columns) < 200  # one thing in one place
    assert (shot(BALL, BOX) != bare).any(axis=2).sum() > (shot(BALL) != bare).any(axis=2).sum()
    assert (shot(Obstacle(*trunks(np.array([[-5.0, 0.0, 0.3]]))[0])) == bare).all()  # behind the camera


def test_unknown_kinds_and_plots_without_room_are_refused() -> None:
    for call in (
        lambda: plot_of("bushes"),
        lambda: avoid_task(obstacles="bushes"),
        lambda: crossing(2.0, 0.1, obstacles="x"),
    ):
        with pytest.raises(ConfigError, match="obstacles"):
            call()
    with pytest.raises(ConfigError, match="for trees alone has no boxes"):
        CROSSING_PLOT.draw(0.1, 2, np.random.default_rng(0), "boxes")
    with pytest.raises(ConfigError, match="obstacles"):
        SHAPES_PLOT.draw(0.1, 2, np.random.default_rng(0), "bushes")
    assert plot_of(TREES) is CROSSING_PLOT and CROSSING_M < SHAPES_PLOT.length_m
