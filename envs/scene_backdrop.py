"""Floor, sky and shadow of a picture, computed a pixel at a time: a chequered plane at z = 0 up to the horizon.

The camera has no roll, so that depth depends on the row alone and every floor point is a row's point plus a column's
step. The chequer is averaged over the floor that a pixel sees, in closed form, so that it does not flicker far away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from envs.scene_camera import Camera, focal_px
from liquid_pilot.ops import Vec3

Plane: TypeAlias = npt.NDArray[np.float32]  # (rows, columns)
Image: TypeAlias = npt.NDArray[np.float32]  # (rows, columns, 3), red, green, blue in 0..1

TILE_M: Final = 0.25
LIGHT_TILE: Final = (0.93, 0.92, 0.88)
DARK_TILE: Final = (0.62, 0.68, 0.72)
HAZE: Final = (0.90, 0.94, 0.97)  # where floor and sky meet
ZENITH: Final = (0.42, 0.66, 0.90)
HAZE_M: Final = 7.0  # the floor fades over this distance
SOFTER: Final = 1.5  # the floor is averaged over so many pixels: less flicker of fine rows
SHADOW: Final = 0.55  # of the floor's light is taken right under the drone
SHADOW_FADE_M: Final = 2.5  # height at which half of that is left


def draw_backdrop(camera: Camera, width: int, height: int, shadows: Sequence[tuple[Vec3[float], float]]) -> Image:
    """The picture without the drone. shadows: (place_m, radius_m) of the discs that shade the floor below them."""
    forward, right, up = (np.array(axis, dtype=np.float32) for axis in camera.axes)
    focal = focal_px(height)
    columns = ((np.arange(width, dtype=np.float32) + 0.5) - 0.5 * width) / focal
    rows = (0.5 * height - (np.arange(height, dtype=np.float32) + 0.5)) / focal
    rays = forward + rows[:, None] * up  # (rows, 3) of the middle column
    picture = np.empty((height, width, 3), np.float32)
    picture[:] = _sky(rays[:, 2] / np.linalg.norm(rays, axis=1))[:, None]
    first = int(np.searchsorted(-rays[:, 2], 1e-4))  # the first row that meets the floor
    if first == height or camera.eye_m[2] <= 0.0:
        return picture
    reach = camera.eye_m[2] / -rays[first:, 2]  # (n,) lengths of the rays
    x, y = (
        (np.float32(camera.eye_m[k]) + reach * rays[first:, k])[:, None] + (reach * right[k])[:, None] * columns
        for k in (0, 1)
    )  # (n, width)
    step = reach / focal  # of floor between columns; between rows it is longer, by the slant
    along = step * reach / camera.eye_m[2]
    tiles = [
        average_square(place / TILE_M, SOFTER / TILE_M * (step * abs(right[k]) + along * abs(forward[k])))
        for k, place in enumerate((x, y))
    ]
    light_tile = 0.5 + 0.5 * tiles[0] * tiles[1]  # (n, width) share of the pixel
    light = np.exp(-reach / HAZE_M)[:, None] * (1.0 - _shade(x, y, shadows))
    haze = -np.expm1(-reach / HAZE_M)[:, None]
    for channel, (dark, pale, far) in enumerate(zip(DARK_TILE, LIGHT_TILE, HAZE, strict=True)):
        picture[first:, :, channel] = (dark + (pale - dark) * light_tile) * light + far * haze
    return picture


def _sky(climb: Plane) -> Plane:
    """Colours by the sine of the elevation, (n, 3)."""
    share = np.clip(climb / 0.6, 0.0, 1.0)[:, None] ** 0.7
    return np.asarray(np.array(HAZE) * (1.0 - share) + np.array(ZENITH) * share, dtype=np.float32)


def average_square(x: Plane, size: Plane) -> Plane:
    """A square wave averaged over `size` around x: the difference of its integral, a triangle wave.

    x: (n, m); size: (n,). The wave is 1 from 0 to 1, -1 from 1 to 2, and so on.
    """
    half = np.asarray(0.25 * np.maximum(size, 1e-6), dtype=np.float32)[:, None]
    middle = np.asarray(0.5 * x, dtype=np.float32)
    return np.asarray((_triangle(middle - half) - _triangle(middle + half)) / (2.0 * half), dtype=np.float32)


def _triangle(x: Plane) -> Plane:
    """0.5 at whole numbers, 0 halfway between them."""
    return np.asarray(np.abs(x - np.floor(x) - 0.5), dtype=np.float32)


def _shade(x: Plane, y: Plane, shadows: Sequence[tuple[Vec3[float], float]]) -> Plane:
    """Share of the light that is taken; a shadow is softer and paler from higher up."""
    dark = np.zeros_like(x)
    for (cx, cy, cz), radius in shadows:
        soft = radius * (0.25 + 0.5 * max(cz, 0.0))
        depth = SHADOW / (1.0 + max(cz, 0.0) / SHADOW_FADE_M)
        distance = np.sqrt((x - cx) ** 2 + (y - cy) ** 2)
        np.maximum(dark, depth * np.clip((radius + soft - distance) / (2.0 * soft), 0.0, 1.0), out=dark)
    return dark
