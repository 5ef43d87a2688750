"""The drawn scene: a quadrotor that is recognised, a floor true to the camera, and flights that do not notice."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pybullet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.airframe import Airframe, load_airframe
from envs.hover import HoverEnv
from envs.pybullet_quad import PyBulletQuad
from envs.scene import HEIGHT, WIDTH, Scene
from envs.scene_backdrop import DARK_TILE, LIGHT_TILE, TILE_M, average_square, draw_backdrop
from envs.scene_camera import FOLLOW_S, PITCH_RAD, Camera, Chase, focal_px
from envs.scene_shapes import Mesh, airframe_meshes, drone_radius_m, propeller_meshes, target_mesh
from liquid_pilot.errors import SimulationError

LEVEL = (1.0, 0.0, 0.0, 0.0)
AIRFRAMES = ("cf2x", "racer", "companion")


@pytest.fixture(name="scene", params=AIRFRAMES)
def one_scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    scene = Scene(load_airframe(request.param))
    yield scene
    scene.close()


def orange(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp]:
    """Rows and columns of what the front is painted with, (n, 2)."""
    red, green, _ = np.moveaxis(picture.astype(int), -1, 0)
    return np.argwhere(red > green + 40)


def blue(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.intp]:
    """Rows and columns of the rear propellers below the horizon, (n, 2)."""
    red, _, blue = np.moveaxis(picture.astype(int), -1, 0)
    found = np.argwhere(blue > red + 70)
    return found[found[:, 0] > 0.1 * len(picture)]


def test_the_front_is_told_from_the_rear_and_both_are_large(scene: Scene) -> None:
    picture = scene.picture((0.3, -0.2, 1.0), LEVEL)
    assert picture.shape == (HEIGHT, WIDTH, 3) and picture.dtype == np.uint8
    front, rear = orange(picture), blue(picture)
    assert front[:, 0].mean() < rear[:, 0].mean()  # further away, for the camera is behind
    both = np.concatenate([front, rear])
    assert np.ptp(both[:, 1]) > 0.1 * WIDTH


def test_a_roll_to_the_right_lowers_the_right_side(scene: Scene) -> None:
    def slope(roll_rad: float) -> float:
        front = orange(scene.picture((0.0, 0.0, 1.0), (math.cos(roll_rad / 2), math.sin(roll_rad / 2), 0.0, 0.0)))
        return float(np.polyfit(front[:, 1], front[:, 0], 1)[0])  # rows, which count down, per column

    assert slope(-0.4) < slope(0.0) < slope(0.4)


def test_the_ring_is_drawn_where_the_drone_should_be(scene: Scene) -> None:
    without = scene.picture((0.0, 0.0, 1.0), LEVEL).astype(int)
    high, low = (scene.picture((0.0, 0.0, 1.0), LEVEL, (0.0, 0.0, z)).astype(int) for z in (1.0, 0.8))
    rows = [np.argwhere((picture != without).any(axis=2))[:, 0] for picture in (high, low)]
    assert min(len(found) for found in rows) > 100
    assert rows[0].mean() < rows[1].mean()


def test_a_picture_without_a_time_depends_on_its_arguments_alone(scene: Scene) -> None:
    asked = ((0.3, -0.2, 1.0), (math.cos(0.7), 0.0, 0.0, math.sin(0.7)), (0.0, 0.0, 0.5))
    before = scene.picture(*asked)
    scene.picture((5.0, 5.0, 0.1), LEVEL, t_s=3.0)
    assert np.array_equal(scene.picture(*asked), before)


def test_a_drone_that_left_the_finite_numbers_is_not_drawn(scene: Scene) -> None:
    picture = scene.picture((math.nan, 0.0, 1.0), LEVEL)
    assert len(orange(picture)) == 0


def test_small_pictures_are_the_same_view(scene: Scene) -> None:
    large, small = (scene.picture((0.0, 0.0, 1.0), LEVEL, width=w, height=h) for w, h in ((320, 240), (160, 120)))
    halved = large.reshape(120, 2, 160, 2, 3).mean(axis=(1, 3))
    assert np.abs(halved - small).mean() < 4.0


def test_floor_below_and_sky_above_the_horizon() -> None:
    camera = Camera((0.3, 0.1, 1.2), 0.4)
    picture = draw_backdrop(camera, 160, 120, ())
    horizon = round(60.0 - focal_px(120) * math.tan(PITCH_RAD))
    assert 0 < horizon < 30
    assert np.ptp(picture[:horizon], axis=1).max() == 0.0  # sky: one colour a row
    assert np.ptp(picture[-1], axis=0).max() > 0.1


@given(st.floats(-3.0, 3.0), st.floats(-3.0, 3.0), st.floats(-math.pi, math.pi))
def test_a_tile_has_its_colour(x: float, y: float, heading: float) -> None:
    camera = Camera((x, y, 0.6), heading)
    picture = draw_backdrop(camera, 33, 25, ())
    forward, right, up = (np.array(axis) for axis in camera.axes)
    ray = forward + (20 - 16) / focal_px(25) * right + (12 - 22) / focal_px(25) * up  # of row 22, column 20
    place = np.array(camera.eye_m) - ray * camera.eye_m[2] / ray[2]
    across = place[:2] / TILE_M
    if np.abs(across - np.round(across)).min() < 0.4:
        return  # near an edge the pixel sees both
    dark = bool(np.floor(across).sum() % 2)
    nearer = [np.abs(picture[22, 20] - np.array(tile)).sum() for tile in (LIGHT_TILE, DARK_TILE)]
    assert bool(nearer[1] < nearer[0]) is dark


@given(st.floats(-5.0, 5.0), st.floats(0.01, 6.0))
def test_the_average_of_a_square_wave_is_that_of_its_samples(x: float, size: float) -> None:
    samples = np.linspace(x - 0.5 * size, x + 0.5 * size, 20001)
    wave = np.where(np.floor(samples) % 2 == 0, 1.0, -1.0)
    found = average_square(np.array([[x]], np.float32), np.array([size], np.float32))
    assert float(found[0, 0]) == pytest.approx(float(wave.mean()), abs=2e-3)


def test_the_shadow_lies_under_the_drone_and_pales_with_height() -> None:
    camera = Camera((0.0, 0.0, 1.0), 0.0)
    bare = draw_backdrop(camera, 160, 120, ())
    taken = [(bare - draw_backdrop(camera, 160, 120, [((0.8, 0.1, z), 0.05)])).sum(axis=2) for z in (0.2, 1.5)]
    rows, columns = camera.window((0.8, 0.1, 0.0), 0.2, 160, 120)
    for dark in taken:
        assert dark.min() >= -1e-5 and dark[rows, columns].sum() == pytest.approx(dark.sum(), rel=1e-3)
    assert taken[0].max() > taken[1].max() > 0.05


@given(
    st.tuples(*[st.floats(-2.0, 2.0)] * 3),
    st.floats(0.01, 1.0),
    st.tuples(*[st.floats(-1.0, 1.0)] * 3).filter(lambda v: 0.1 < math.hypot(*v)),
)
def test_what_is_in_a_ball_is_drawn_in_its_window(
    centre: tuple[float, float, float], radius: float, direction: tuple[float, float, float]
) -> None:
    camera = Camera((0.0, 0.0, 1.0), 0.3)
    point = np.array(centre) + radius * np.array(direction) / np.linalg.norm(direction)
    depth, right, up = (float((point - camera.eye_m) @ np.array(axis)) for axis in camera.axes)
    if depth < 1e-3:
        return  # behind the camera
    column, row = 80.0 + focal_px(120) * right / depth, 60.0 - focal_px(120) * up / depth
    if 0.0 <= column < 160.0 and 0.0 <= row < 120.0:
        rows, columns = camera.window(centre, radius, 160, 120)
        assert rows.start <= row < rows.stop and columns.start <= column < columns.stop


def test_the_camera_turns_after_the_drone() -> None:
    chase = Chase(0.06)
    begin = chase.follow((0.0, 0.0, 1.0), 0.0, 0.0).heading_rad
    half = chase.follow((0.0, 0.0, 1.0), 1.0, 0.5 * FOLLOW_S).heading_rad
    later = chase.follow((0.0, 0.0, 1.0), 1.0, 2.0 * FOLLOW_S).heading_rad
    assert begin < half < later < begin + 1.0
    assert chase.follow((0.0, 0.0, 1.0), 1.0, 0.0).heading_rad == pytest.approx(begin + 1.0)  # a new flight
    assert chase.follow((0.0, 0.0, 1.0), 0.0).heading_rad == pytest.approx(begin)  # no time


def test_time_steps_of_the_camera_add_up() -> None:
    once, twice = Chase(0.06), Chase(0.06)
    for chase in (once, twice):
        chase.follow((0.0, 0.0, 0.5), 0.0, 0.0)
    twice.follow((0.0, 0.0, 1.0), 0.8, 0.1)
    whole, parts = (chase.follow((0.0, 0.0, 1.0), 0.8, 0.3) for chase in (once, twice))
    assert parts.heading_rad == pytest.approx(whole.heading_rad)
    assert parts.eye_m == pytest.approx(whole.eye_m)


@pytest.mark.parametrize("name", AIRFRAMES)
def test_surfaces_are_closed_and_face_outwards(name: str) -> None:
    airframe = load_airframe(name)
    for mesh in (*airframe_meshes(airframe), *propeller_meshes(airframe), target_mesh(0.1)):
        a, b, c = np.array(mesh.corners_m).reshape(-1, 3, 3).transpose(1, 0, 2)
        areas = 0.5 * np.cross(b - a, c - a)
        assert np.abs(areas.sum(axis=0)).max() < 1e-12
        assert np.einsum("ij,ij->", a, areas) > 0.0  # three times the volume
        assert np.allclose(np.array(mesh.normals)[::3] * np.linalg.norm(areas, axis=1)[:, None], areas, atol=1e-9)
        assert mesh.indices == list(range(len(mesh.corners_m)))


@pytest.mark.parametrize("name", AIRFRAMES)
def test_the_drone_has_the_size_of_its_airframe(name: str) -> None:
    airframe = load_airframe(name)
    assert lowest(airframe_meshes(airframe)) == pytest.approx(-airframe.rest_height_m)
    corners = np.concatenate([np.array(mesh.corners_m) for mesh in propeller_meshes(airframe)])
    near = np.array(airframe.rotor_xy_m)[:, None] - corners[None, :, :2]  # (4, n, 2)
    from_hub = np.linalg.norm(near, axis=2).min(axis=0)
    assert from_hub.max() == pytest.approx(airframe.propeller_radius_m)
    assert np.linalg.norm(corners[:, :2], axis=1).max() <= drone_radius_m(airframe) + 1e-12


def lowest(meshes: list[Mesh]) -> float:
    return min(z for mesh in meshes for _, _, z in mesh.corners_m)


def states(airframe: Airframe, looked_at: bool) -> list[Any]:
    with PyBulletQuad(airframe) as quad:
        quad.throw((0.3, -0.2, 0.1), (0.5, -0.4, 0.2))
        rows: list[Any] = []
        for k in range(60):
            quad.substep((9.0, (0.3, 0.1, -0.2)), (0.5, 0.0, 0.0), 0.002)
            if looked_at and k % 7 == 0:
                quad.picture(64, 48, (0.0, 0.0, 1.0), 0.002 * k)
            rows.append((quad.body, quad.actuators, quad.acceleration_m_s2))
    return rows


@pytest.mark.parametrize("name", AIRFRAMES)
def test_physics_do_not_notice_that_somebody_looks(name: str) -> None:
    airframe = load_airframe(name)
    assert states(airframe, looked_at=True) == states(airframe, looked_at=False)


def test_flights_do_not_notice_that_somebody_looks() -> None:
    def flight(render_mode: str | None) -> list[Any]:
        env = HoverEnv(render_mode=render_mode, duration_s=0.2, hold_s=0.05)
        rows: list[Any] = []
        for seed in (3, 4):  # the second flight reuses the client
            observation, info = env.reset(seed=seed)
            rng, over = np.random.default_rng(seed), False
            while not over:
                rows.append((observation.tobytes(), repr(info)))
                env.render()
                action = rng.uniform(-1.0, 1.0, 4).astype(np.float32)
                observation, _, terminated, truncated, info = env.step(action)
                over = terminated or truncated
        env.close()
        return rows

    assert flight("rgb_array") == flight(None)


def test_closing_a_quad_closes_its_scene() -> None:
    def clients() -> int:
        return sum(bool(pybullet.isConnected(i)) for i in range(1024))

    before = clients()
    quad = PyBulletQuad(load_airframe("cf2x"))
    quad.picture(64, 48)
    assert clients() == before + 2
    quad.close()
    quad.close()
    assert clients() == before
    with pytest.raises(SimulationError, match="closed"):
        quad.picture()
