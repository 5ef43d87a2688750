"""Flow grids of a camera's pictures: the geometry of its lens, and that they say what true rays say."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2")

from envs.airframe import load_airframe
from envs.avoid import plot_of
from envs.avoid_task import avoid_task
from envs.camera_flow import CameraFlow
from envs.eye import Eye, Lens
from envs.flights import Array, draw_flights
from envs.flow_grid import GridModel
from envs.grid_events import CastRays
from envs.launch import FOREST_X_M, FOREST_Y_M, HandLaunch
from envs.obstacle_kinds import TREES
from envs.physics import Body
from envs.pybullet_quad import PyBulletQuad
from envs.surroundings import Surroundings
from envs.vision import import_cv2
from liquid_pilot.errors import MissingExtraError
from liquid_pilot.flow_grid import DEFAULT_GRID
from liquid_pilot.geometry import multiply
from liquid_pilot.messages import FlowGrid
from liquid_pilot.ops import Vec3

CLEAR = GridModel(noise_rad_s=0.0, noise_share=0.0, rays_lost=0.0, reach_m=25.0)
DT_S = 0.04
STILL = (0.0, 0.0, 0.0)


def a_forest(density_per_m2: float = 0.1, kind: str = TREES) -> Surroundings:
    plot = plot_of(kind)
    return Surroundings(plot, plot.draw(density_per_m2, 1, np.random.default_rng(1), kind)[:, 0])


@pytest.fixture(scope="module")
def eye() -> Iterator[Eye]:
    found = Eye()
    yield found
    found.close()


def before(body: Body[float]) -> Body[float]:
    """Where it was a window ago."""
    (p, q, r), (x, y, z) = body.rates_rad_s, body.position_m
    half = -0.5 * DT_S
    attitude = multiply(body.attitude_wxyz, (1.0, half * p, half * q, half * r))
    size = math.hypot(*attitude)
    a, b, c, d = (part / size for part in attitude)
    u, v, w = body.velocity_m_s
    return Body((x - u * DT_S, y - v * DT_S, z - w * DT_S), body.velocity_m_s, (a, b, c, d), body.rates_rad_s)


def compared(eye: Eye, body: Body[float]) -> Array:
    source = CameraFlow(CLEAR, eye, 0.0, np.random.default_rng(0))
    return source.pictures.flows(eye.picture(before(body)), eye.picture(body), DT_S)


def true(forest: Surroundings, body: Body[float]) -> Array:
    return CastRays(CLEAR, forest, 0.0, np.random.default_rng(0)).flow(body, body.rates_rad_s, DT_S)


def moving(x_m: float, velocity_m_s: Vec3[float], rates_rad_s: Vec3[float] = STILL) -> Body[float]:
    return Body((x_m, 0.0, 1.1), velocity_m_s, (1.0, 0.0, 0.0, 0.0), rates_rad_s)


def test_pixels_and_rays_are_two_names_of_a_direction() -> None:
    lens, rays = Lens(), np.array(DEFAULT_GRID.axes())[:, 0]
    pixels = lens.pixels(rays)
    assert lens.rays(pixels) == pytest.approx(rays, abs=1e-12)
    assert (pixels > 2.0).all() and (pixels < (lens.columns - 3, lens.rows - 3)).all()  # with room around
    assert lens.pixels(np.array([[1.0, 0.0, 0.0]]))[0] == pytest.approx((79.5, 31.5))
    assert pixels[0, 0] < pixels[31, 0] and pixels[0, 1] < pixels[-1, 1]  # upper left first


def test_a_trunk_is_seen_where_it_stands(eye: Eye) -> None:
    eye.plant(np.array([[4.0, 1.0, 0.3]]))
    picture = eye.picture(moving(0.0, STILL))
    dark = np.flatnonzero(picture[5] < 252)  # above the horizon there is nothing else
    middle = eye.lens.pixels(np.array([[4.0, 1.0, 0.0]]))[0, 0]
    half = eye.lens.focal_px * 0.3 / 4.0
    assert dark.mean() == pytest.approx(middle, abs=1.5) and len(dark) == pytest.approx(2.0 * half, abs=3.0)


@pytest.mark.parametrize(("kind", "least"), [(TREES, 0.7), ("mixed", 0.7), ("spheres", 0.55), ("boxes", 0.55)])
def test_pictures_say_what_true_rays_say(eye: Eye, kind: str, least: float) -> None:
    """Over balls and boxes there is more of the sky, which says nothing."""
    forest, rng = a_forest(kind=kind), np.random.default_rng(3)
    eye.plant(forest.within(FOREST_X_M, FOREST_Y_M))
    told, wanted = list[Array](), list[Array]()
    for x in np.arange(0.0, 30.0, 1.0).tolist():
        if forest.free_m((x, 0.0, 1.1)) < 0.4:
            continue
        rates = rng.normal(0.0, 0.4, 3).tolist()
        body = moving(x, (3.0, rng.normal(0.0, 0.7), rng.normal(0.0, 0.2)), (rates[0], rates[1], rates[2]))
        told.append(compared(eye, body))
        wanted.append(true(forest, body))
    found, right = np.array(told), np.array(wanted)
    seen = ~np.isnan(found)
    assert least < seen.mean() < 1.0
    assert np.corrcoef(found[seen], right[seen])[0, 1] > 0.95
    assert np.median(np.abs(found - right)[seen]) < 0.08


def test_turning_alone_moves_everything_as_the_gyro_says(eye: Eye) -> None:
    forest, body = a_forest(), moving(0.0, STILL, (0.3, -0.4, 0.8))
    eye.plant(forest.within(FOREST_X_M, FOREST_Y_M))
    off = np.abs(compared(eye, body) - true(forest, body))
    assert np.nanmedian(off) < 0.05


def test_the_sky_says_nothing(eye: Eye) -> None:
    eye.plant(np.zeros((0, 3)))
    flow = compared(eye, moving(0.0, (3.0, 0.0, 0.0)))
    assert np.isnan(flow[:2]).all() and not np.isnan(flow[3:]).any()


def test_a_flight_by_camera_hears_grids_from_the_second_picture_on() -> None:
    task, rng, grids = avoid_task(camera=True), np.random.default_rng(0), list[FlowGrid]()
    with PyBulletQuad(load_airframe("cf2x")) as quad:
        assert task.sees is not None
        for _ in range(2):  # a used one as well as a new one
            flights = draw_flights(quad.airframe, task.conditions, 1, rng)
            launch = HandLaunch(quad, flights, task.conditions, rng)
            launch.plant(task.sees, task.course(flights, 10.0, rng)[-task.sees.plot.rows :, 0], camera=True)
            messages: list[Any] = [*launch.first_messages()]
            while launch.t_s < 0.5:
                grids += [m for m in messages if isinstance(m, FlowGrid)]
                messages = launch.advance()
        assert 10 < len(grids) < 30
    for grid in grids:
        seen = ~np.isnan(grid.flow_rad_s)
        assert 0.5 < seen.mean() and np.median(np.abs(grid.flow_rad_s[seen])) < 0.1  # in a hand at rest


def test_without_opencv_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match="vision"):
        import_cv2()
