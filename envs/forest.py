"""Forests: obstacles on a plot that repeats without end, and those of them that are near.

x is the course, y to its left. A plot has a fixed number of places; a place without an obstacle has radius `NO_TREE`.
Of the obstacles, those `NEAR` that matter most are looked at: the nearest, where one that lies behind counts `BEHIND_M`
further.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from envs.flights import Array
from envs.obstacle_kinds import GATE_ROOM_M, NO_TREE, TREES, check_size, gates, shaped
from envs.shapes import DRONE_RADIUS_M, FAR_M, SHAPE_ROWS, TREE_ROWS, TRUNK, Obstacle, surface_m
from liquid_pilot.errors import ConfigError
from liquid_pilot.ops import NUMPY_OPS, Vec3

Reals: TypeAlias = npt.NDArray[np.floating[Any]]

NEAR: Final = 12
BEHIND_M: Final = 3.0
TREE_RADIUS_M: Final = (0.15, 0.35)
WALL_STEP_M: Final = 0.75  # between the middles of the trunks of a wall, which no drone passes
START_CLEAR_M: Final = 2.5  # around the place where flights begin
HALF_X: Final = 4  # row of an obstacle
NOBODY: Final = (FAR_M, FAR_M, 0.1, *TRUNK)  # in place of an obstacle where there are fewer
COURSE_ROWS: Final = 3  # of a course before its forest: speed, height, x of a wall


@dataclass(frozen=True, slots=True)
class Plot:
    """A piece of forest that repeats, its middle where flights begin. Raises `ConfigError`.

    places: for obstacles. shapes: these may be others than trees, which takes `SHAPE_ROWS` numbers for each.
    """

    places: int
    length_m: float
    width_m: float
    shapes: bool = False

    def __post_init__(self) -> None:
        if self.places < NEAR or not (self.length_m > 5.0 and self.width_m > 5.0):
            raise ConfigError(
                f"a plot of {self.length_m} x {self.width_m} m with {self.places} places; give at least {NEAR}, and "
                "more than 5 m each way"
            )

    @property
    def row_numbers(self) -> int:
        """Numbers of an obstacle, see `envs.shapes.Obstacle`."""
        return SHAPE_ROWS if self.shapes else TREE_ROWS

    @property
    def bodies(self) -> int:
        """Obstacles that it has rows for: gates are three."""
        return self.places + 2 * gates(self.places) * self.shapes

    @property
    def rows(self) -> int:
        """Numbers that say where its obstacles stand."""
        return self.row_numbers * self.bodies

    @property
    def near_rows(self) -> int:
        """Numbers of those that are near."""
        return self.row_numbers * NEAR

    @property
    def densest_per_m2(self) -> float:
        """With an obstacle in every place."""
        return self.places / (self.length_m * self.width_m)

    def draw(
        self, density_per_m2: float | Array, n: int, rng: np.random.Generator, kind: str = TREES, size: float = 1.0
    ) -> Array:
        """n forests, (rows, n). Places are independent: obstacles may touch and make walls.

        kind: see `envs.obstacle_kinds.OBSTACLES`; size: factor on how thick they are. Raises `ConfigError` for a
        density that the plot has no room for, for a kind that it has not, and for a size out of bounds.
        """
        wanted = np.broadcast_to(np.asarray(density_per_m2, np.float64) * self.length_m * self.width_m, (n,))
        if not bool(((wanted >= 0.0) & (wanted < self.places + 1)).all()):
            raise ConfigError(
                f"density {density_per_m2} obstacles per m^2; a plot has places for 0 to {self.densest_per_m2:.3g}"
            )
        if kind != TREES and not self.shapes:
            raise ConfigError(f"a plot for trees alone has no {kind}; make it with shapes=True")
        x, y = (side * (rng.random((self.places, n)) - 0.5) for side in (self.length_m, self.width_m))
        radius = check_size(size) * rng.uniform(*TREE_RADIUS_M, (self.places, n))
        drawn = rng.random((self.places, n))  # the fraction of a tree is one in so many forests
        stands = np.arange(self.places)[:, None] + drawn[:1] < wanted
        stands &= np.hypot(x, y) > START_CLEAR_M + (radius if kind == TREES else GATE_ROOM_M)
        trees = np.stack([x, y, np.where(stands, radius, NO_TREE)], axis=1)
        return (shaped(trees, kind, rng, size) if self.shapes else trees).reshape(self.rows, n)

    def walled(self, rows: Array, x_m: Array) -> Array:
        """The forests with a wall of trunks across, at x_m (n,): there is no way through."""
        count = math.ceil(self.width_m / WALL_STEP_M)
        found = rows.reshape(self.bodies, self.row_numbers, -1).copy()
        across = self.width_m * ((np.arange(count) + 0.5) / count - 0.5)
        found[:count, 0], found[:count, 1], found[:count, 2] = x_m, across[:, None], TREE_RADIUS_M[1]
        found[:count, TREE_ROWS:] = np.array(TRUNK)[: self.row_numbers - TREE_ROWS, None]
        return np.asarray(found.reshape(self.rows, -1))

    def centre(self, body: Reals) -> None:
        """Move places (at least x and y as rows, n) by whole plots into the middle one, which changes nothing seen."""
        for row, side in ((0, self.length_m), (1, self.width_m)):
            body[row] -= side * _whole(body[row] / side)

    def nearest(self, rows: Reals, x_m: Reals, y_m: Reals) -> Reals:
        """(near_rows, n) of forests `rows` (rows, n) seen from (n,): the obstacles that matter most, in that order.

        Places are those of the repetition of the plot that is nearest.
        """
        found = rows.reshape(self.bodies, self.row_numbers, -1).copy()
        dx, dy = self._shortest(found[:, 0] - x_m, found[:, 1] - y_m)
        found[:, 0], found[:, 1] = x_m + dx, y_m + dy
        gone = ~(found[:, 2] > NO_TREE)
        gx, gy = (
            (dx, dy)
            if not self.shapes
            else (np.maximum(np.abs(d) - found[:, row], 0.0) for d, row in ((dx, HALF_X), (dy, HALF_X + 1)))
        )
        key = np.where(gone, FAR_M, np.hypot(gx, gy) - found[:, 2] + BEHIND_M * (dx < -0.5))
        order = np.argsort(key, axis=0, kind="stable")[:NEAR]
        nobody = np.array(NOBODY[: self.row_numbers])[:, None]
        found = np.where(gone[:, None], nobody, found)
        return np.take_along_axis(found, order[:, None], axis=0).reshape(self.near_rows, -1)

    def free_m(self, rows: Reals, place_m: Vec3[Any]) -> Reals:
        """Free space (n,), see `envs.shapes.clearance_m`, between drones at (n,) and all of their forests (rows, n)."""
        x, y, radius, *rest = rows.reshape(self.bodies, self.row_numbers, -1).swapaxes(0, 1)
        dx, dy = self._shortest(x - place_m[0], y - place_m[1])
        z, half_x, half_y, half_z = rest or TRUNK
        all_of_them: Obstacle[Any] = Obstacle(dx, dy, radius, z, half_x, half_y, half_z, plain=not self.shapes)
        surface = surface_m(NUMPY_OPS, all_of_them, (0.0, 0.0, place_m[2]))
        surface = np.where(radius > NO_TREE, surface, FAR_M)
        return np.asarray(surface.min(axis=0) - DRONE_RADIUS_M)

    def _shortest(self, dx: Reals, dy: Reals) -> tuple[Reals, Reals]:
        """The way to the nearest repetition."""
        return dx - self.length_m * _whole(dx / self.length_m), dy - self.width_m * _whole(dy / self.width_m)


def _whole(x: Reals) -> Reals:
    """The nearest whole number."""
    return np.trunc(x + np.copysign(0.5, x))


CROSSING_PLOT: Final = Plot(88, 44.0, 16.0)  # of a crossing of 30 m, without meeting a tree twice
SHAPES_PLOT: Final = Plot(88, 44.0, 16.0, shapes=True)  # the same with more than trees


def check_density(density_per_m2: float) -> float:
    """The density. Raises `ConfigError` unless a forest to cross has room for so many trees per square metre."""
    most = CROSSING_PLOT.densest_per_m2
    if not isinstance(density_per_m2, (int, float)) or not 0.0 <= density_per_m2 <= most or math.isnan(density_per_m2):
        raise ConfigError(f"density is {density_per_m2!r}; give trees per square metre, 0 to {most:g}")
    return float(density_per_m2)
