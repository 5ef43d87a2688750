"""Trunks in drawn pictures: where they stand, and what hides what."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import numpy.typing as npt
import pytest

from envs.airframe import load_airframe
from envs.scene import Scene
from envs.scene_camera import Chase, focal_px
from envs.scene_obstacles import TOP_M
from envs.scene_shapes import drone_radius_m
from envs.shapes import trunks

AIRFRAME = load_airframe("cf2x")
PLACE, LEVEL = (2.0, 1.0, 1.2), (1.0, 0.0, 0.0, 0.0)
WIDTH, HEIGHT = 320, 240
Picture = npt.NDArray[np.uint8]


def picture(*trees: tuple[float, float, float]) -> Picture:
    with closing(Scene(AIRFRAME, trunks(np.reshape(np.array(trees, float), (-1, 3))))) as scene:
        return scene.picture(PLACE, LEVEL, width=WIDTH, height=HEIGHT)


@pytest.fixture(scope="module")
def bare() -> Picture:
    with closing(Scene(AIRFRAME)) as scene:
        return scene.picture(PLACE, LEVEL, width=WIDTH, height=HEIGHT)


def differs(one: Picture, other: Picture) -> npt.NDArray[np.bool_]:
    return np.asarray((one != other).any(axis=2))


def test_without_trunks_and_with_those_out_of_sight_nothing_changes(bare: Picture) -> None:
    assert (picture() == bare).all()
    assert (picture((-5.0, 1.0, 0.3), (90.0, 0.0, 0.3)) == bare).all()  # behind the camera, and too far away


def test_a_trunk_covers_the_pixels_to_which_its_points_project(bare: Picture) -> None:
    x, y, radius = 6.0, 1.5, 0.3
    changed = differs(picture((x, y, radius)), bare)
    camera = Chase(drone_radius_m(AIRFRAME)).follow(PLACE, 0.0)
    forward, right, up = (np.array(axis) for axis in camera.axes)
    for z in np.linspace(0.05, TOP_M - 0.05, 60):
        offset = np.array([x, y, z]) - camera.eye_m  # of its axis, hidden by its front
        depth = offset @ forward
        column = 0.5 * WIDTH + focal_px(HEIGHT) * (offset @ right) / depth
        row = 0.5 * HEIGHT - focal_px(HEIGHT) * (offset @ up) / depth
        if 2.0 < row < HEIGHT - 2.0:
            assert changed[int(row), int(column)]
    assert 200 < changed.sum() < 0.2 * changed.size


def test_what_is_nearer_hides_what_is_behind(bare: Picture) -> None:
    camera = Chase(drone_radius_m(AIRFRAME)).follow(PLACE, 0.0)
    eye = np.array(camera.eye_m)
    window = camera.window(PLACE, 0.3 * drone_radius_m(AIRFRAME), WIDTH, HEIGHT)
    toward = np.array(PLACE) - eye
    between, beyond = eye + 0.6 * toward, eye + 3.0 * toward
    assert differs(picture((*between[:2].tolist(), 0.1)), bare)[window].mean() > 0.9
    assert differs(picture((*beyond[:2].tolist(), 0.02)), bare)[window].mean() < 0.5
