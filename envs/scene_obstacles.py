"""Obstacles of a picture, a pixel at a time, as `envs.scene_backdrop` computes the floor that they stand on."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from envs.scene_backdrop import HAZE, HAZE_M, Image
from envs.scene_camera import Camera, focal_px
from envs.shapes import ENDLESS_M, Obstacle
from liquid_pilot.ops import Vec3

Array = npt.NDArray[np.float64]

BARK: Final = (0.50, 0.41, 0.33)
PAINT: Final = (0.66, 0.36, 0.26)  # of what is no tree
LIGHT_XY: Final = (-0.6, 0.8)  # from where light comes
FARTHEST_M: Final = 25.0
CUT_M: Final = 0.1  # an obstacle so near to the camera, or around it, is not drawn
TOP_M: Final = 5.0
COARSE: Final = 4  # pixels, each way, of the search for where an obstacle is


class _Rays(NamedTuple):
    """To pixels, from the eye, whose height is z_m: parts along the world's axes (rows, columns); focal in pixels."""

    along: tuple[Array, Array, Array]
    z_m: float
    focal: float


class _Seen(NamedTuple):
    """(rows, columns): share that is covered, light, distance."""

    cover: Array
    light: Array
    reach: Array


def split(camera: Camera, obstacles: Array, place_m: tuple[float, float]) -> tuple[Array, Array]:
    """(behind, before): those farther from the camera than a place, farthest first, and the others.

    obstacles: (n, 7), see `envs.shapes.Obstacle`.
    """
    eye = np.array(camera.eye_m[:2])
    away = np.hypot(*(obstacles[:, :2] - eye).T)
    order = np.argsort(-away)
    behind = away[order] > np.hypot(*(np.array(place_m) - eye))
    return obstacles[order[behind]], obstacles[order[~behind]]


def draw_obstacles(picture: Image, camera: Camera, obstacles: Array) -> None:
    """Draw obstacles (n, 7) over what is there, in this order."""
    height, width, _ = picture.shape
    for obstacle in (Obstacle(*row) for row in obstacles.tolist()):
        offset = (obstacle.x - camera.eye_m[0], obstacle.y - camera.eye_m[1], obstacle.z - camera.eye_m[2])
        size = obstacle.radius + max(obstacle.half_x, obstacle.half_y)
        if not size + CUT_M < float(np.hypot(*offset[:2])) < FARTHEST_M:
            continue
        rows, columns = np.arange(0, height, COARSE), np.arange(0, width, COARSE)
        where = np.nonzero(_look(_rays(camera, height, width, rows, columns), offset, obstacle).cover)
        if not len(where[0]):
            continue
        (top, bottom), (left, right) = ((int(k.min()) - 1, int(k.max()) + 2) for k in where)
        rows = np.arange(max(top * COARSE, 0), min(bottom * COARSE, height))
        columns = np.arange(max(left * COARSE, 0), min(right * COARSE, width))
        seen = _look(_rays(camera, height, width, rows, columns), offset, obstacle)
        clear = np.exp(-seen.reach / (2.0 * HAZE_M))
        part = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        for channel, (own, far) in enumerate(zip(BARK if _upright(obstacle) else PAINT, HAZE, strict=True)):
            colour = own * seen.light * clear + far * (1.0 - clear)
            part[:, :, channel] += (seen.cover * (colour - part[:, :, channel])).astype(np.float32)


def _upright(obstacle: Obstacle[float]) -> bool:
    return bool(obstacle.half_z >= ENDLESS_M)


def _rays(
    camera: Camera, height: int, width: int, rows: npt.NDArray[np.int64], columns: npt.NDArray[np.int64]
) -> _Rays:
    focal, (forward, right, up) = focal_px(height), camera.axes
    v = ((0.5 * height - 0.5 - rows) / focal)[:, None]
    u = ((columns + 0.5 - 0.5 * width) / focal)[None, :]
    x, y, z = (forward[k] + v * up[k] + u * right[k] for k in range(3))
    return _Rays((x, y, z), camera.eye_m[2], focal)


def _look(rays: _Rays, offset: Vec3[float], obstacle: Obstacle[float]) -> _Seen:
    """offset: of the obstacle's middle, from the eye."""
    if obstacle.half_x > 0.0:
        return _box(rays, offset, (obstacle.half_x, obstacle.half_y, obstacle.half_z))
    return _round(rays, offset, obstacle.radius, _upright(obstacle))


def _round(rays: _Rays, offset: Vec3[float], radius: float, upright: bool) -> _Seen:
    """A trunk (upright), whose height does not matter, or a ball."""
    (dx, dy, dz), (ox, oy, oz) = rays.along, offset
    square, along, away = dx * dx + dy * dy, ox * dx + oy * dy, ox * ox + oy * oy
    if not upright:
        square, along, away = square + dz * dz, along + oz * dz, away + oz * oz
    root = along * along - square * (away - radius * radius)
    reach = (along - np.sqrt(np.maximum(root, 0.0))) / square
    miss = np.sqrt(np.maximum(away - along * along / square, 0.0))
    z = rays.z_m + reach * dz
    edge = np.clip(0.5 + (radius - miss) * rays.focal / np.maximum(reach, 0.05), 0.0, 1.0)
    cover = np.where((along > 0.0) & (z >= 0.0) & (z <= TOP_M), edge, 0.0)
    nx, ny = (reach * dx - ox) / radius, (reach * dy - oy) / radius
    return _Seen(cover, 0.72 + 0.33 * (nx * LIGHT_XY[0] + ny * LIGHT_XY[1]), np.maximum(reach, 0.0))


def _box(rays: _Rays, offset: Vec3[float], half: Vec3[float]) -> _Seen:
    """Light is that of the face which is met."""
    enters, leaves = np.zeros_like(rays.along[0] + rays.along[1]), np.full_like(rays.along[0] + rays.along[1], np.inf)
    light = np.full_like(enters, 1.0)
    for d, middle, side, lit in zip(rays.along, offset, half, (*LIGHT_XY, 0.8), strict=True):
        safe = np.where(np.abs(d) > 1e-9, d, 1e-9)
        first, last = middle / safe - side / np.abs(safe), middle / safe + side / np.abs(safe)
        light = np.where(first > enters, 0.72 - 0.33 * np.sign(safe) * lit, light)
        enters, leaves = np.maximum(enters, first), np.minimum(leaves, last)
    return _Seen(((leaves > enters) & (enters > 0.0)).astype(np.float64), light, enters)
