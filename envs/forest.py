"""Forests: upright trunks on a plot that repeats without end, how near they are, and what a ray meets.

x is the course, y to its left. A plot has a fixed number of places for trees; a place without one has radius `NO_TREE`.
Of the trees, those `NEAR` that matter most are looked at: the nearest, where one that lies behind counts `BEHIND_M`
further. A ray that a trunk, or the floor, stops within `REACH_M` sees it; flow of what is farther away drowns in noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from envs.flights import Array
from liquid_pilot.errors import ConfigError
from liquid_pilot.ops import Ops, S, Vec3

Reals: TypeAlias = npt.NDArray[np.floating[Any]]

NEAR: Final = 12
BEHIND_M: Final = 3.0
FAR_M: Final = 1e4
NO_TREE: Final = -1e3  # radius
TREE_RADIUS_M: Final = (0.15, 0.35)
WALL_STEP_M: Final = 0.75  # between the middles of the trunks of a wall, which no drone passes
START_CLEAR_M: Final = 2.5  # around the place where flights begin
DRONE_RADIUS_M: Final = 0.12  # a centre nearer to a surface touches it: a drone of 0.1 kg and its guards
COURSE_ROWS: Final = 3  # of a course before its trees: speed, height, x of a wall
TREE_ROWS: Final = 3  # x, y, radius


@dataclass(frozen=True, slots=True)
class Plot:
    """A piece of forest that repeats, its middle where flights begin. trees: places for them. Raises `ConfigError`."""

    trees: int
    length_m: float
    width_m: float

    def __post_init__(self) -> None:
        if self.trees < NEAR or not (self.length_m > 5.0 and self.width_m > 5.0):
            raise ConfigError(
                f"a plot of {self.length_m} x {self.width_m} m for {self.trees} trees; give at least {NEAR}, and more "
                "than 5 m each way"
            )

    @property
    def rows(self) -> int:
        """Numbers that say where its trees stand."""
        return TREE_ROWS * self.trees

    @property
    def densest_per_m2(self) -> float:
        """With a tree in every place."""
        return self.trees / (self.length_m * self.width_m)

    def draw(self, density_per_m2: float | Array, n: int, rng: np.random.Generator) -> Array:
        """n forests, (rows, n): x, y and radius of every tree. Places are independent: trees may touch and make walls.

        Raises `ConfigError` for a density that the plot has no room for.
        """
        wanted = np.broadcast_to(np.asarray(density_per_m2, np.float64) * self.length_m * self.width_m, (n,))
        if not bool(((wanted >= 0.0) & (wanted < self.trees + 1)).all()):
            raise ConfigError(
                f"density {density_per_m2} trees per m^2; a plot has places for 0 to {self.densest_per_m2:.3g}"
            )
        x, y = (side * (rng.random((self.trees, n)) - 0.5) for side in (self.length_m, self.width_m))
        radius = rng.uniform(*TREE_RADIUS_M, (self.trees, n))
        drawn = rng.random((self.trees, n))  # the fraction of a tree is one in so many forests
        stands = np.arange(self.trees)[:, None] + drawn[:1] < wanted
        stands &= np.hypot(x, y) > START_CLEAR_M + radius
        return np.stack([x, y, np.where(stands, radius, NO_TREE)], axis=1).reshape(self.rows, n)

    def walled(self, rows: Array, x_m: Array) -> Array:
        """The forests with a wall of trunks across, at x_m (n,): there is no way through."""
        count = math.ceil(self.width_m / WALL_STEP_M)
        trees = rows.reshape(self.trees, TREE_ROWS, -1).copy()
        across = self.width_m * ((np.arange(count) + 0.5) / count - 0.5)
        trees[:count, 0], trees[:count, 1], trees[:count, 2] = x_m, across[:, None], TREE_RADIUS_M[1]
        return np.asarray(trees.reshape(self.rows, -1))

    def centre(self, body: Reals) -> None:
        """Move places (at least x and y as rows, n) by whole plots into the middle one, which changes nothing seen."""
        for row, side in ((0, self.length_m), (1, self.width_m)):
            body[row] -= side * _whole(body[row] / side)

    def nearest(self, rows: Reals, x_m: Reals, y_m: Reals) -> Reals:
        """(TREE_ROWS * NEAR, n) of forests `rows` (rows, n) seen from (n,): the trees that matter most, in that order.

        Places are those of the repetition of the plot that is nearest.
        """
        x, y, radius = rows.reshape(self.trees, TREE_ROWS, -1).swapaxes(0, 1)
        dx, dy = x - x_m, y - y_m
        dx, dy = dx - self.length_m * _whole(dx / self.length_m), dy - self.width_m * _whole(dy / self.width_m)
        stands = radius > 0.0
        key = np.where(stands, np.hypot(dx, dy) - radius + BEHIND_M * (dx < -0.5), FAR_M)
        order = np.argsort(key, axis=0, kind="stable")[:NEAR]
        near = [np.take_along_axis(part, order, axis=0) for part in (x_m + dx, y_m + dy, radius, stands)]
        found = [np.where(near[3], part, away) for part, away in zip(near[:3], (FAR_M, FAR_M, 0.1), strict=True)]
        return np.stack(found, axis=1).reshape(TREE_ROWS * NEAR, -1)


def _whole(x: Reals) -> Reals:
    """The nearest whole number."""
    return np.trunc(x + np.copysign(0.5, x))


TRAINING_PLOT: Final = Plot(40, 20.0, 16.0)
CROSSING_PLOT: Final = Plot(88, 44.0, 16.0)  # of a crossing of 30 m, without meeting a tree twice


def trees_of(near: Sequence[S]) -> list[tuple[S, S, S]]:
    """x, y and radius of each."""
    return [(near[k], near[k + 1], near[k + 2]) for k in range(0, len(near), TREE_ROWS)]


def clearance_m(ops: Ops, near: Sequence[S], x_m: S, y_m: S) -> S:
    """Free space between the nearest of these trees and a drone: `DRONE_RADIUS_M` less than from its centre."""
    least: Any = FAR_M
    for x, y, radius in trees_of(near):
        dx, dy = x - x_m, y - y_m
        free: Any = ops.sqrt(dx * dx + dy * dy + 1e-9) - radius
        least = ops.minimum(free, least)
    result: S = least - DRONE_RADIUS_M
    return result


def per_metre(ops: Ops, ray: Vec3[S], height_m: S, offsets: Sequence[tuple[S, S, S]], reach_m: float) -> S:
    """One over the distance at which a ray (unit vector, world) meets a trunk or the floor, 0 beyond reach_m.

    offsets: of each tree from the drone, x and y, and their square less that of the radius.
    """
    rx, ry, rz = ray
    flat: Any = ops.maximum(rx * rx + ry * ry, 1e-4)
    nearest: Any = ops.select(-1e-3, rz, height_m / ops.maximum(-rz, 1e-3), FAR_M)
    for ox, oy, outside in offsets:
        ahead: Any = rx * ox + ry * oy
        root: Any = ahead * ahead - flat * outside
        met = (ahead - ops.sqrt(ops.maximum(root, 1e-9))) / flat
        met = ops.select(root, 0.0, ops.select(ahead, 0.0, met, FAR_M), FAR_M)
        nearest = ops.minimum(met, nearest)
    nearest = ops.maximum(nearest, 0.05)
    result: S = ops.select(reach_m, nearest, 1.0 / nearest, 0.0)
    return result


def check_density(density_per_m2: float) -> float:
    """The density. Raises `ConfigError` unless a forest to cross has room for so many trees per square metre."""
    most = CROSSING_PLOT.densest_per_m2
    if not isinstance(density_per_m2, (int, float)) or not 0.0 <= density_per_m2 <= most or math.isnan(density_per_m2):
        raise ConfigError(f"density is {density_per_m2!r}; give trees per square metre, 0 to {most:g}")
    return float(density_per_m2)
