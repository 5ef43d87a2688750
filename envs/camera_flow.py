"""Flow grids of a camera in the simulated forest: its pictures, with noise, through `liquid_pilot.camera_grid`."""

from __future__ import annotations

from typing import Final

import numpy as np

from envs.eye import Eye, Lens
from envs.flights import Array
from envs.flow_grid import GridModel
from envs.physics import Body
from liquid_pilot.camera_grid import Grey, GridFlow
from liquid_pilot.ops import Vec3
from liquid_pilot.pinhole import Pinhole

PICTURE_NOISE: Final = 2.0  # standard deviation, of 255 greys, at a noise scale of 1


def pinhole_of(lens: Lens) -> Pinhole:
    """Its intrinsics."""
    return Pinhole(lens.focal_px, lens.focal_px, 0.5 * (lens.columns - 1), 0.5 * (lens.rows - 1))


class CameraFlow:
    """Of a planted eye. noise_scale: of the flight; the noise of pictures comes from `rng`."""

    def __init__(self, model: GridModel, eye: Eye, noise_scale: float, rng: np.random.Generator) -> None:
        self.layout = model.layout
        self._eye, self._rng = eye, rng
        self._noise = PICTURE_NOISE * noise_scale
        size = eye.lens.rows, eye.lens.columns
        self.pictures = GridFlow(model.layout, pinhole_of(eye.lens), size, model.limit_rad_s)
        self._before: Grey | None = None

    def flow(self, body: Body[float], mean_rates_rad_s: Vec3[float], window_s: float) -> Array | None:
        """From the picture before to one that is taken now; None where there is none before."""
        picture = self._eye.picture(body).astype(np.float64)
        picture += self._noise * self._rng.standard_normal(picture.shape)
        now, before = np.clip(picture, 0.0, 255.0).astype(np.uint8), self._before
        self._before = now
        return None if before is None else self.pictures.flows(before, now, window_s)
