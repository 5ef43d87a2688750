"""Trunks of a picture, computed a pixel at a time, as `envs.scene_backdrop` computes the floor that they stand on."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from envs.scene_backdrop import HAZE, HAZE_M, Image
from envs.scene_camera import Camera, focal_px

Trees = npt.NDArray[np.float64]  # (n, 3): x, y, radius

BARK: Final = (0.50, 0.41, 0.33)
LIGHT_XY: Final = (-0.6, 0.8)  # from where light comes
FARTHEST_M: Final = 25.0
CUT_M: Final = 0.1  # a trunk so near to the camera, or around it, is not drawn
TOP_M: Final = 5.0
COARSE: Final = 4  # pixels, each way, of the search for where a trunk is


def split(camera: Camera, trees: Trees, place_m: tuple[float, float]) -> tuple[Trees, Trees]:
    """(behind, before): those farther from the camera than a place, farthest first, and the others."""
    eye = np.array(camera.eye_m[:2])
    away = np.hypot(*(trees[:, :2] - eye).T)
    order = np.argsort(-away)
    behind = away[order] > np.hypot(*(np.array(place_m) - eye))
    return trees[order[behind]], trees[order[~behind]]


def draw_trees(picture: Image, camera: Camera, trees: Trees) -> None:
    """Draw trunks over what is there, in this order."""
    height, width, _ = picture.shape
    offsets = trees[:, :2] - np.array(camera.eye_m[:2])
    away = np.hypot(*offsets.T)
    for (ox, oy), radius, distance in zip(offsets.tolist(), trees[:, 2].tolist(), away.tolist(), strict=True):
        if not radius + CUT_M < distance < FARTHEST_M:
            continue
        rows, columns = np.arange(0, height, COARSE), np.arange(0, width, COARSE)
        found, _, _ = _trunk(camera, height, width, rows, columns, (ox, oy, radius))
        where = np.nonzero(found)
        if not len(where[0]):
            continue
        (top, bottom), (left, right) = ((int(k.min()) - 1, int(k.max()) + 2) for k in where)
        rows = np.arange(max(top * COARSE, 0), min(bottom * COARSE, height))
        columns = np.arange(max(left * COARSE, 0), min(right * COARSE, width))
        cover, light, reach = _trunk(camera, height, width, rows, columns, (ox, oy, radius))
        clear = np.exp(-reach / (2.0 * HAZE_M))
        part = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        for channel, (bark, far) in enumerate(zip(BARK, HAZE, strict=True)):
            colour = bark * light * clear + far * (1.0 - clear)
            part[:, :, channel] += (cover * (colour - part[:, :, channel])).astype(np.float32)


def _trunk(
    camera: Camera,
    height: int,
    width: int,
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
    trunk: tuple[float, float, float],
) -> tuple[Trees, Trees, Trees]:
    """(share that is covered, light, distance) of pixels (rows, columns). trunk: x, y from the eye, and radius."""
    focal, (forward, right, up) = focal_px(height), camera.axes
    v = ((0.5 * height - 0.5 - rows) / focal)[:, None]
    u = ((columns + 0.5 - 0.5 * width) / focal)[None, :]
    dx, dy, dz = (forward[k] + v * up[k] + u * right[k] for k in range(3))
    ox, oy, radius = trunk
    flat = dx * dx + dy * dy
    along = ox * dx + oy * dy
    root = along * along - flat * (ox * ox + oy * oy - radius * radius)
    reach = (along - np.sqrt(np.maximum(root, 0.0))) / flat
    z = camera.eye_m[2] + reach * dz
    miss = np.abs(ox * dy - oy * dx) / np.sqrt(flat)
    edge = np.clip(0.5 + (radius - miss) * focal / np.maximum(reach, 0.05), 0.0, 1.0)
    cover = np.where((along > 0.0) & (z >= 0.0) & (z <= TOP_M), edge, 0.0)
    nx, ny = (reach * dx - ox) / radius, (reach * dy - oy) / radius
    light = 0.72 + 0.33 * (nx * LIGHT_XY[0] + ny * LIGHT_XY[1])
    return cover, light, np.maximum(reach, 0.0)
