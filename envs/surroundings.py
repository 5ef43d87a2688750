"""The forest of one flight as the one drone in it meets it: the trees that matter, free space, and all around it."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from envs.conditions import Span
from envs.flights import Array
from envs.forest import NO_TREE, TREE_ROWS, Plot, clearance_m
from liquid_pilot.ops import FLOAT_OPS

MOVED_M: Final = 0.25  # so far along or across the trees of before still are the nearest


class Surroundings:
    """rows: where the trees of the plot stand, as `Plot.draw` has them, of this one flight (plot.rows,)."""

    def __init__(self, plot: Plot, rows: Array) -> None:
        self.plot = plot
        self._rows = np.asarray(rows, np.float64).reshape(plot.rows, 1)
        self._near: list[float] = []
        self._looked_m = (math.inf, math.inf)

    def near(self, x_m: float, y_m: float) -> list[float]:
        """The trees that matter there, see `Plot.nearest`."""
        self._near = self.plot.nearest(self._rows, np.array([x_m]), np.array([y_m]))[:, 0].tolist()
        self._looked_m = (x_m, y_m)
        return self._near

    def free_m(self, x_m: float, y_m: float) -> float:
        """Free space between a drone there and the nearest tree, see `clearance_m`."""
        x, y = self._looked_m
        if not (abs(x_m - x) < MOVED_M and abs(y_m - y) < MOVED_M):
            self.near(x_m, y_m)
        free: float = clearance_m(FLOAT_OPS, self._near, x_m, y_m)
        return free

    def within(self, x_m: Span, y_m: Span) -> Array:
        """Every tree, in all repetitions of the plot, whose middle stands in there: x, y and radius, (n, 3)."""
        trees = self._rows.reshape(self.plot.trees, TREE_ROWS)
        trees = trees[trees[:, 2] > NO_TREE]
        shifts = [
            side * np.arange(math.floor(low / side - 0.5), math.ceil(high / side + 0.5) + 1)
            for side, (low, high) in ((self.plot.length_m, x_m), (self.plot.width_m, y_m))
        ]
        along, across = np.meshgrid(*shifts, indexing="ij")
        offsets = np.stack([along.ravel(), across.ravel(), np.zeros(along.size)], axis=1)
        found = (trees[None] + offsets[:, None]).reshape(-1, TREE_ROWS)
        inside = [(low <= found[:, k]) & (found[:, k] <= high) for k, (low, high) in enumerate((x_m, y_m))]
        return np.asarray(found[inside[0] & inside[1]])
