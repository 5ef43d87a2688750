"""Flow grids of a camera's pictures, onboard and in simulation: two of them, compared by dense inverse search (DIS).

Kroeger, Timofte, Dai and Van Gool, "Fast optical flow using dense inverse search", 2016, as OpenCV has it (extra
`vision`). A ray is silent where the picture has no texture, where the flow there and back does not lead back, and where
the camera does not look.
"""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from liquid_pilot.errors import ConfigError, MessageError
from liquid_pilot.flow_grid import GridLayout
from liquid_pilot.messages import FlowGrid
from liquid_pilot.pinhole import Array, Pinhole
from liquid_pilot.sight import LONGEST_WINDOW_S, SATURATED_RAD_S
from liquid_pilot.vision import import_cv2

Grey: TypeAlias = npt.NDArray[np.uint8]  # (rows, columns)
Size: TypeAlias = tuple[int, int]  # rows, columns

TEXTURE_GREYS: Final = 5.0  # standard deviation around a pixel, below which nothing can be told
AROUND_PX: Final = 5
AGREES_PX: Final = 0.7  # and AGREES_SHARE of the flow: there and back
AGREES_SHARE: Final = 0.1
SMALLEST_PX: Final = 16  # sides of a picture; the method compares patches of 8
FOCAL_PX: Final = 67.2  # to which `GridCamera` shrinks finer pictures: 160 pixels over 100 degrees
MARGIN_PX: Final = 8  # kept around the rays, so that what comes into view is found


def checked_grey(picture: object, size: Size | None = None) -> Grey:
    """The picture, if it is one grey channel of 8 bits, and of this size. Raises `MessageError`."""
    if not isinstance(picture, np.ndarray):
        raise MessageError(f"a picture is {type(picture).__name__}; give an array of 8-bit greys, (rows, columns)")
    if picture.ndim == 3:
        raise MessageError(
            f"a picture has shape {picture.shape}, as of colours; give one grey channel, (rows, columns): "
            "cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)"
        )
    if picture.ndim != 2 or picture.dtype != np.uint8:
        raise MessageError(
            f"a picture holds {picture.dtype} of shape {picture.shape}; give 8-bit greys (uint8), (rows, columns)"
        )
    if size is not None and picture.shape != size:
        raise MessageError(
            f"a picture has {picture.shape[0]} rows and {picture.shape[1]} columns; the intrinsics are of {size[0]} "
            f"and {size[1]}: give pictures of that size, or the intrinsics of these"
        )
    grey: Grey = picture
    return grey


class GridFlow:
    """What two pictures say along each ray of a layout. Nothing is remembered from one call to the next.

    pinhole: of pictures of this size (rows, columns). limit_rad_s: flows are cut to +- this. Not shared between
    threads. Raises `ConfigError` where the camera sees none of the rays or the pictures are too small, and
    `MissingExtraError`.
    """

    def __init__(self, layout: GridLayout, pinhole: Pinhole, size: Size, limit_rad_s: float = SATURATED_RAD_S) -> None:
        if min(size) < SMALLEST_PX:
            raise ConfigError(f"pictures of {size[0]} x {size[1]} pixels; each side needs {SMALLEST_PX} at least")
        if not (math.isfinite(limit_rad_s) and limit_rad_s > 0.0):
            raise ConfigError(f"limit_rad_s is {limit_rad_s}; give a rate above 0 rad/s")
        self.layout, self.pinhole, self.size = layout, pinhole, size
        self._limit = limit_rad_s
        axes = np.array(layout.axes())  # (R, 3 vectors, 3)
        self._rays, self._tangents = axes[:, 0], axes[:, 1:]
        self._pixels = pinhole.pixels(self._rays)
        self._inside = _inside(self._pixels, size)
        self.rays_seen = _some(self._inside, size)
        self._cv2 = cv2 = import_cv2()
        self._dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._dis.setFinestScale(0)  # trunks are few pixels wide
        self._dis.setVariationalRefinementIterations(0)  # it costs as much as all else, and gains little here

    def flows(self, before: Grey, now: Grey, dt_s: float) -> Array:
        """(rows, rays, 2) in rad/s: how what is seen now along each ray has moved within the dt_s between the pictures.

        To +azimuth and to +elevation, body rotation included, NaN where a ray saw nothing: as `FlowGrid` has them.
        Raises `MessageError` for what are no grey pictures of that size, and for a dt_s that is not above 0.
        """
        before, now = checked_grey(before, self.size), checked_grey(now, self.size)
        if not (math.isfinite(dt_s) and dt_s > 0.0):
            raise MessageError(f"the time between two pictures is {dt_s} s; it must be finite and above 0")
        back, forth = self._dis.calc(now, before, None), self._dis.calc(before, now, None)  # (rows, columns, 2)
        moved = self._at(back, self._pixels)
        there = self._pixels + moved
        returned = moved + self._at(forth, there)
        agrees = np.linalg.norm(returned, axis=1) < AGREES_PX + AGREES_SHARE * np.linalg.norm(moved, axis=1)
        seen = self._inside & agrees & (self._at(self._texture(now), self._pixels)[:, 0] > TEXTURE_GREYS)
        turned = (self._rays - self.pinhole.rays(there)) / dt_s
        flow = np.einsum("rkc,rc->rk", self._tangents, turned)
        flow = np.where(seen[:, None], np.clip(flow, -self._limit, self._limit), math.nan)
        return np.asarray(flow.reshape(len(self.layout.elevation_rad), len(self.layout.azimuth_rad), 2))

    def grid(self, before: Grey, now: Grey, t_s: float, dt_s: float) -> FlowGrid:
        """The message of two pictures, the second taken at t_s. See `flows`."""
        layout, flow = self.layout, self.flows(before, now, dt_s)
        return FlowGrid(t_s, dt_s, layout.azimuth_rad, layout.elevation_rad, flow)

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


class GridCamera:
    """A camera's pictures, one by one as they come, as messages for a `Controller`.

    pinhole: of the pictures as they come, of this size (rows, columns). What lies far from every ray is cut away, and
    what is finer than focal_px is shrunk: that bounds the cost, and trunks are as wide in pixels as where the method
    was tried. Not shared between threads. Raises `ConfigError` and `MissingExtraError`, see `GridFlow`.
    """

    def __init__(self, layout: GridLayout, pinhole: Pinhole, size: Size, focal_px: float = FOCAL_PX) -> None:
        if not (math.isfinite(focal_px) and focal_px > 0.0):
            raise ConfigError(f"focal_px is {focal_px}; give pixels above 0, such as {FOCAL_PX:g}")
        self.size = size
        pixels = pinhole.pixels(np.array(layout.axes())[:, 0])
        _some(_inside(pixels, size), size)
        scales = min(1.0, focal_px / pinhole.fx_px), min(1.0, focal_px / pinhole.fy_px)
        spans = [
            _span(pixels[:, k], MARGIN_PX / scale, side)
            for k, (scale, side) in enumerate(zip(scales, reversed(size), strict=True))
        ]
        (left, right), (top, bottom) = spans
        self._part = slice(top, bottom), slice(left, right)
        columns, rows = (max(round((high - low) * s), 1) for (low, high), s in zip(spans, scales, strict=True))
        smaller = pinhole.cut(left, top).scaled(columns / (right - left), rows / (bottom - top))
        self.flow = GridFlow(layout, smaller, (rows, columns))
        self._cv2 = import_cv2()
        self.reset()

    def reset(self) -> None:
        """As before the first picture."""
        self._before: Grey | None = None
        self._t_s = -math.inf

    def feed(self, t_s: float, picture: Grey) -> FlowGrid | None:
        """The grid from the picture before to this one, which was taken at t_s, on the clock of the IMU's stamps.

        None for the first, and for one more than `LONGEST_WINDOW_S` after the one before, which no controller would
        take. Raises `MessageError` for a picture of another size or kind, which is as if it had not come, and for a
        stamp that is not later than the one before: then this picture is a first one.
        """
        checked_grey(picture, self.size)
        if not math.isfinite(t_s):
            raise MessageError(f"a picture is stamped {t_s} s; give a finite time")
        before, now, dt_s = self._before, self._smaller(picture), t_s - self._t_s
        self._before, self._t_s = now, t_s
        if dt_s <= 0.0:
            raise MessageError(
                f"a picture is stamped {t_s:g} s, {-dt_s:g} s before the one that came ahead of it; stamps must grow: "
                "give pictures in their order, each with the time it was taken"
            )
        return None if before is None or dt_s > LONGEST_WINDOW_S else self.flow.grid(before, now, t_s, dt_s)

    def _smaller(self, picture: Grey) -> Grey:
        """The part that matters, at the size that matters; a copy, because drivers use their buffers again."""
        rows, columns = self.flow.size
        part: Grey = np.array(picture[self._part], order="C")
        if part.shape == (rows, columns):
            return part
        smaller: Grey = self._cv2.resize(part, (columns, rows), interpolation=self._cv2.INTER_AREA)
        return smaller


def _inside(pixels: Array, size: Size) -> npt.NDArray[np.bool_]:
    """Which pixels (n, 2) lie in a picture."""
    return np.asarray(((pixels >= 0.0) & (pixels <= (size[1] - 1, size[0] - 1))).all(axis=1))


def _some(inside: npt.NDArray[np.bool_], size: Size) -> int:
    """How many rays are seen. Raises `ConfigError` where none is."""
    if not inside.any():
        raise ConfigError(
            f"no ray of the layout falls into pictures of {size[0]} rows and {size[1]} columns with these intrinsics; "
            "give those of these pictures, of a camera that looks ahead"
        )
    return int(np.count_nonzero(inside))


def _span(places_px: Array, margin_px: float, side_px: int) -> tuple[int, int]:
    """First pixel and the one after the last that matter along a side."""
    low, high = float(places_px.min()) - margin_px, float(places_px.max()) + margin_px
    return max(math.floor(low), 0), min(math.ceil(high) + 1, side_px)
