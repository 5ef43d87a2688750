"""The camera that follows a drone: behind and a little above it, level, looking down far enough to see its shadow."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from liquid_pilot.ops import Vec3, Vec4

FIELD_OF_VIEW_RAD: Final = math.radians(75.0)  # from the lower to the upper edge
PITCH_RAD: Final = math.radians(33.0)  # down; the horizon stays a little below the upper edge
ELEVATION_RAD: Final = math.radians(13.0)  # of the camera, as the drone sees it
ASIDE_RAD: Final = math.radians(22.0)  # of straight behind, so that pitch shows as well as roll
DISTANCE_PER_HEIGHT: Final = 0.5  # keeps the shadow in view
DISTANCE_SPAN: Final = (5.0, 8.5)  # in radii of the drone
FOLLOW_S: Final = 0.5  # time constant of heading and distance; a turn or a climb is seen, not copied

Window = tuple[slice, slice]  # rows and columns of a picture


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole at `eye_m` (world) that looks to `heading_rad`, `PITCH_RAD` down, without roll."""

    eye_m: Vec3[float]
    heading_rad: float

    @property
    def axes(self) -> tuple[Vec3[float], Vec3[float], Vec3[float]]:
        """Unit vectors forward, right and up in the picture, in the world."""
        c, s = math.cos(self.heading_rad), math.sin(self.heading_rad)
        cp, sp = math.cos(PITCH_RAD), math.sin(PITCH_RAD)
        return (c * cp, s * cp, -sp), (s, -c, 0.0), (c * sp, s * sp, cp)

    def window(self, centre_m: Vec3[float], radius_m: float, width: int, height: int) -> Window:
        """A part of a picture that holds all of a ball; empty where the ball is out of the picture."""
        offset = np.subtract(centre_m, self.eye_m)
        depth, right, up = (float(offset @ np.array(axis)) for axis in self.axes)
        near = depth - radius_m
        if near <= 0.0:
            behind = depth + radius_m <= 0.0
            return (slice(0, 0), slice(0, 0)) if behind else (slice(0, height), slice(0, width))
        scale, half = focal_px(height), radius_m / near * focal_px(height)
        column, row = 0.5 * width + scale * right / depth, 0.5 * height - scale * up / depth
        reach = half * (1.0 + max(abs(right), abs(up)) / depth)
        return _span(row, reach, height), _span(column, reach, width)


def focal_px(height: int) -> float:
    """Distance of the picture's plane from the pinhole, in pixels of a picture of `height` rows."""
    return 0.5 * height / math.tan(0.5 * FIELD_OF_VIEW_RAD)


def yaw_rad(attitude_wxyz: Vec4[float]) -> float:
    """Heading of the body's x axis."""
    w, x, y, z = attitude_wxyz
    return math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


class Chase:
    """A camera that follows; what it remembers is its own heading and distance.

    radius_m: of the drone. nearer: times the usual distance, for a wider lens.
    """

    def __init__(self, radius_m: float, nearer: float = 1.0) -> None:
        self._span = [nearer * span * radius_m for span in DISTANCE_SPAN]
        self._per_height = nearer * DISTANCE_PER_HEIGHT
        self._t_s = math.inf
        self._heading: npt.NDArray[np.float64] = np.zeros(2)
        self._distance_m = 0.0

    def follow(self, position_m: Vec3[float], heading_rad: float, t_s: float | None = None) -> Camera:
        """The camera for a drone that is there at t_s.

        Without a time, and when time runs backwards or jumps, it goes to its place at once.
        """
        x, y, z = position_m
        heading = np.array([math.cos(heading_rad), math.sin(heading_rad)])
        low, high = self._span
        distance = min(max(self._per_height * z, low), high)
        since_s = math.inf if t_s is None else t_s - self._t_s
        keep = math.exp(-since_s / FOLLOW_S) if 0.0 <= since_s < 4.0 * FOLLOW_S else 0.0
        self._heading = keep * self._heading + (1.0 - keep) * heading
        self._distance_m = keep * self._distance_m + (1.0 - keep) * distance
        self._t_s = math.inf if t_s is None else t_s
        looking = math.atan2(self._heading[1], self._heading[0]) - ASIDE_RAD
        across, above = (self._distance_m * f(ELEVATION_RAD) for f in (math.cos, math.sin))
        eye = (x - across * math.cos(looking), y - across * math.sin(looking), max(z, 0.0) + above)
        return Camera(eye, looking)


def _span(middle: float, half: float, size: int) -> slice:
    first, last = (min(max(math.floor(edge), 0), size) for edge in (middle - half, middle + half + 1.0))
    return slice(first, last)
