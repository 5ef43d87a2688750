"""The geometry of a calibrated camera: which pixel sees which direction of the body."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from liquid_pilot.errors import ConfigError

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pinhole:
    """Intrinsics in pixels, of a camera that looks along body x (FLU), its columns to the right and its rows down.

    The middle of the upper left pixel is (0, 0), as OpenCV's calibration has it. A lens that bends lines is not in
    here: take its distortion out of the pictures first. Raises `ConfigError` for focal lengths that are not finite and
    positive, and for a principal point that is not finite.
    """

    fx_px: float
    fy_px: float
    cx_px: float
    cy_px: float

    def __post_init__(self) -> None:
        for name in ("fx_px", "fy_px", "cx_px", "cy_px"):
            value: object = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
                raise ConfigError(f"Pinhole.{name} is {value!r}; give one number, in pixels")
            if not math.isfinite(value):
                raise ConfigError(f"Pinhole.{name} is {value}; give a finite number of pixels, of the calibration")
            if name.startswith("f") and value <= 0.0:
                raise ConfigError(f"Pinhole.{name} is {value:g}; a focal length is above 0 pixels: see the calibration")

    def pixels(self, rays: Array) -> Array:
        """(n, 2), column and row, of directions (n, 3) of the body frame that lie ahead (x above 0)."""
        return np.asarray(self._middle - self._focal * rays[:, 1:] / rays[:, :1])

    def rays(self, pixels: Array) -> Array:
        """Unit vectors (n, 3) of the body frame to pixels (n, 2), column and row."""
        across = (self._middle - pixels) / self._focal
        ahead = np.concatenate([np.ones((len(pixels), 1)), across], axis=1)
        return np.asarray(ahead / np.linalg.norm(ahead, axis=1, keepdims=True))

    def cut(self, left_px: int, top_px: int) -> Pinhole:
        """Of the pictures without so many columns at their left and rows at their top."""
        return Pinhole(self.fx_px, self.fy_px, self.cx_px - left_px, self.cy_px - top_px)

    def scaled(self, across: float, down: float) -> Pinhole:
        """Of the pictures when their sides have become so many times longer."""
        middle = ((c + 0.5) * scale - 0.5 for c, scale in ((self.cx_px, across), (self.cy_px, down)))
        return Pinhole(self.fx_px * across, self.fy_px * down, *middle)

    @property
    def _middle(self) -> Array:
        return np.array([self.cx_px, self.cy_px])

    @property
    def _focal(self) -> Array:
        return np.array([self.fx_px, self.fy_px])
