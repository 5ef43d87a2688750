"""Flow grids from pictures: two of a low-resolution camera, compared by OpenCV's dense inverse search (DIS).

Kroeger, Timofte, Dai and Van Gool, "Fast optical flow using dense inverse search", 2016. A ray is silent where the
picture has no texture, and where the flow there and back does not lead back.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from envs.eye import Eye, Grey
from envs.flights import Array
from envs.flow_grid import GridModel
from envs.physics import Body
from envs.vision import import_cv2
from liquid_pilot.ops import Vec3

PICTURE_NOISE: Final = 2.0  # standard deviation, of 255 greys, at a noise scale of 1
TEXTURE_GREYS: Final = 5.0  # standard deviation around a pixel, below which nothing can be told
AROUND_PX: Final = 5
AGREES_PX: Final = 0.7  # and AGREES_SHARE of the flow: there and back
AGREES_SHARE: Final = 0.1


class CameraFlow:
    """Of a planted eye. noise_scale: of the flight; the noise of pictures comes from `rng`."""

    def __init__(self, model: GridModel, eye: Eye, noise_scale: float, rng: np.random.Generator) -> None:
        self.layout = model.layout
        self._eye, self._limit, self._rng = eye, model.limit_rad_s, rng
        self._noise = PICTURE_NOISE * noise_scale
        cv2 = import_cv2()
        self._cv2, self._dis = cv2, cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._dis.setFinestScale(0)  # trunks are few pixels wide
        self._dis.setVariationalRefinementIterations(0)  # it costs as much as all else, and gains little here
        axes = np.array(model.layout.axes())  # (R, 3 vectors, 3)
        self._rays, self._tangents = axes[:, 0], axes[:, 1:]
        self._pixels = eye.lens.pixels(self._rays)
        self._before: Grey | None = None

    def flow(self, body: Body[float], mean_rates_rad_s: Vec3[float], window_s: float) -> Array | None:
        """From the picture before to one that is taken now; None where there is none before."""
        picture = self._eye.picture(body).astype(np.float64)
        picture += self._noise * self._rng.standard_normal(picture.shape)
        now, before = np.clip(picture, 0.0, 255.0).astype(np.uint8), self._before
        self._before = now
        return None if before is None else self.compare(before, now, window_s)

    def compare(self, before: Grey, now: Grey, window_s: float) -> Array:
        """(rows, rays, 2) in rad/s: how what is seen now along each ray has moved within window_s."""
        back, forth = self._dis.calc(now, before, None), self._dis.calc(before, now, None)  # (rows, columns, 2)
        moved = self._at(back, self._pixels)
        there = self._pixels + moved
        returned = moved + self._at(forth, there)
        agrees = np.linalg.norm(returned, axis=1) < AGREES_PX + AGREES_SHARE * np.linalg.norm(moved, axis=1)
        seen = agrees & (self._at(self._texture(now), self._pixels)[:, 0] > TEXTURE_GREYS)
        turned = (self._rays - self._eye.lens.rays(there)) / window_s
        flow = np.einsum("rkc,rc->rk", self._tangents, turned)
        flow = np.where(seen[:, None], np.clip(flow, -self._limit, self._limit), math.nan)
        return np.asarray(flow.reshape(len(self.layout.elevation_rad), len(self.layout.azimuth_rad), 2))

    def _at(self, field: Any, pixels: Array) -> Array:
        """Values of a picture's field at pixels (n, 2), between its pixels, (n, channels); at its edge beyond it."""
        cv2, (x, y) = self._cv2, pixels.astype(np.float32).T
        found = cv2.remap(
            field, x[:, None].copy(), y[:, None].copy(), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        return np.asarray(found, np.float64).reshape(len(pixels), -1)

    def _texture(self, picture: Grey) -> Any:
        """Standard deviation around each pixel."""
        size, grey = (AROUND_PX, AROUND_PX), picture.astype(np.float32)
        mean, square = self._cv2.blur(grey, size), self._cv2.blur(grey * grey, size)
        return np.sqrt(np.maximum(square - mean * mean, 0.0))
