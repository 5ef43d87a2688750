"""Forward low-resolution optical flow: where its rays point, and what a network is shown of it.

A ray is a direction of the body (FLU) by azimuth (to the left) and elevation (up). Its flow is the angular velocity at
which what it hits moves across the view: two tangential components, to +azimuth and to +elevation, in rad/s. Of a body
with velocity v and rates w that sees a surface at distance d along r, the component along the unit vector e is
-(e . v) / d - e . (w x r) (Longuet-Higgins and Prazdny, 1980, on the sphere). The second term says nothing of
distances; the gyro takes it away.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from liquid_pilot.errors import ConfigError
from liquid_pilot.messages import Floats3
from liquid_pilot.ops import Ops, S, Vec3

MOST_RAYS: Final = 192
FLOW_KNEE_RAD_S: Final = 0.3  # a flow f enters the network as 2 f / (FLOW_KNEE_RAD_S + |f|)
SPEED_SCALE_M_S: Final = 2.0  # the commanded speed enters the encoder as speed / SPEED_SCALE_M_S


@dataclass(frozen=True, slots=True)
class GridLayout:
    """The rays of a grid: a row for each elevation, falling, in it a ray for each azimuth, falling (upper left first).

    Radians. Raises `ConfigError` for angles that do not fall or lie beyond straight to the side, and for more than
    `MOST_RAYS` rays.
    """

    azimuth_rad: tuple[float, ...]
    elevation_rad: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("azimuth_rad", "elevation_rad"):
            angles: tuple[float, ...] = getattr(self, name)
            falls = all(a > b for a, b in pairwise(angles))
            if not angles or not falls or not all(abs(a) < math.pi / 2.0 for a in angles):
                raise ConfigError(f"GridLayout.{name} is {angles}; give angles that fall, each within +-90 degrees")
        if self.rays > MOST_RAYS:
            raise ConfigError(f"a grid of {self.rays} rays; at most {MOST_RAYS} are allowed")

    @property
    def rays(self) -> int:
        """How many rays."""
        return len(self.azimuth_rad) * len(self.elevation_rad)

    @property
    def numbers(self) -> int:
        """Numbers of a grid as the network is shown it: all flows to +azimuth, then all to +elevation."""
        return 2 * self.rays

    def axes(self) -> list[tuple[Floats3, Floats3, Floats3]]:
        """Of every ray, row by row: its direction, and the unit vectors to +azimuth and to +elevation (body FLU)."""
        return [ray_axes(a, e) for e in self.elevation_rad for a in self.azimuth_rad]


def even_grid(columns: int, rows: int, width_deg: float, height_deg: float) -> GridLayout:
    """Rays in the middles of equal parts of the view."""

    def middles(count: int, whole_deg: float) -> tuple[float, ...]:
        return tuple(math.radians(whole_deg) * (0.5 - (k + 0.5) / count) for k in range(count))

    return GridLayout(middles(columns, width_deg), middles(rows, height_deg))


DEFAULT_GRID: Final = even_grid(32, 5, 90.0, 40.0)


def ray_axes(azimuth_rad: float, elevation_rad: float) -> tuple[Floats3, Floats3, Floats3]:
    """Direction of a ray, and the unit vectors in which azimuth and elevation grow."""
    ca, sa, ce, se = (f(x) for x in (azimuth_rad, elevation_rad) for f in (math.cos, math.sin))
    return (ce * ca, ce * sa, se), (-sa, ca, 0.0), (-se * ca, -se * sa, ce)


def turning_flow(axis: Vec3[S], ray: Vec3[S], rates_rad_s: Vec3[S]) -> S:
    """Flow of a ray along a unit vector that the body's rotation alone makes."""
    (ex, ey, ez), (rx, ry, rz), (p, q, r) = axis, ray, rates_rad_s
    flow: S = (ey * rz - ez * ry) * p + (ez * rx - ex * rz) * q + (ex * ry - ey * rx) * r
    return flow


def moving_flow(axis: Vec3[S], velocity_m_s: Vec3[S], per_m: S) -> S:
    """Flow along a unit vector that moving with a velocity (body) makes at a distance of 1 / per_m."""
    (ex, ey, ez), (vx, vy, vz) = axis, velocity_m_s
    flow: S = -(ex * vx + ey * vy + ez * vz) * per_m
    return flow


def shown(ops: Ops, flow_rad_s: S) -> S:
    """A flow as the network is shown it, -2 to 2: small ones, which say what is far, keep their differences."""
    size: Any = ops.maximum(flow_rad_s, -flow_rad_s)
    result: S = 2.0 * flow_rad_s / (FLOW_KNEE_RAD_S + size)
    return result


class GridReader:
    """What the network is shown of a grid of flows: rotation taken away, silent rays 0.

    turning: (rays, 3, 2), flow that body rates (the middle axis, rad/s) make along both components.
    """

    def __init__(self, layout: GridLayout) -> None:
        self.layout = layout
        axes = np.array(layout.axes())  # (R, 3 vectors, 3)
        ray, across, up = axes[:, 0], axes[:, 1], axes[:, 2]
        self.turning = np.stack([np.cross(across, ray), np.cross(up, ray)], axis=-1)  # (R, 3, 2)

    def read(self, flow_rad_s: npt.NDArray[np.float64], gyro_rad_s: Floats3) -> npt.NDArray[np.float32]:
        """flow_rad_s: (H, W, 2), NaN where a ray saw nothing. gyro_rad_s: mean over the window. -> (numbers,)."""
        flow = flow_rad_s.reshape(-1, 2) - np.einsum("rcd,c->rd", self.turning, np.asarray(gyro_rad_s))
        seen = 2.0 * flow / (FLOW_KNEE_RAD_S + np.abs(flow))
        shown_rows: npt.NDArray[np.float32] = np.nan_to_num(seen, nan=0.0).T.reshape(-1).astype(np.float32)
        return shown_rows
