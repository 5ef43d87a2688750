"""The forest of one flight as the one drone in it meets it: what matters of it, free space, and all around it."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from envs.conditions import Span
from envs.flights import Array
from envs.forest import NEAR, Plot
from envs.obstacle_kinds import NO_TREE
from envs.shapes import SHAPE_ROWS, Obstacle, clearance_m, obstacles_of, trunks
from liquid_pilot.ops import FLOAT_OPS, Vec3

MOVED_M: Final = 0.25  # so far along or across the obstacles of before still are the nearest


class Surroundings:
    """rows: where the obstacles of the plot stand, as `Plot.draw` has them, of this one flight (plot.rows,)."""

    def __init__(self, plot: Plot, rows: Array) -> None:
        self.plot = plot
        self._rows = np.asarray(rows, np.float64).reshape(plot.rows, 1)
        self._near: list[Obstacle[float]] = []
        self._looked_m = (math.inf, math.inf)

    def near(self, x_m: float, y_m: float) -> list[float]:
        """The obstacles that matter there, see `Plot.nearest`."""
        near: list[float] = self.plot.nearest(self._rows, np.array([x_m]), np.array([y_m]))[:, 0].tolist()
        self._near, self._looked_m = obstacles_of(near, NEAR), (x_m, y_m)
        return near

    def free_m(self, place_m: Vec3[float]) -> float:
        """Free space between a drone there and the nearest obstacle, see `clearance_m`."""
        (x, y), (x_m, y_m, _) = self._looked_m, place_m
        if not (abs(x_m - x) < MOVED_M and abs(y_m - y) < MOVED_M):
            self.near(x_m, y_m)
        free: float = clearance_m(FLOAT_OPS, self._near, place_m)
        return free

    def within(self, x_m: Span, y_m: Span) -> Array:
        """Every obstacle, in all repetitions of the plot, whose middle stands in there, (n, `SHAPE_ROWS`)."""
        rows = self._rows.reshape(self.plot.bodies, self.plot.row_numbers)
        found = rows if self.plot.shapes else trunks(rows)
        found = found[found[:, 2] > NO_TREE]
        shifts = [
            side * np.arange(math.floor(low / side - 0.5), math.ceil(high / side + 0.5) + 1)
            for side, (low, high) in ((self.plot.length_m, x_m), (self.plot.width_m, y_m))
        ]
        along, across = np.meshgrid(*shifts, indexing="ij")
        offsets = np.zeros((along.size, SHAPE_ROWS))
        offsets[:, 0], offsets[:, 1] = along.ravel(), across.ravel()
        found = (found[None] + offsets[:, None]).reshape(-1, SHAPE_ROWS)
        inside = [(low <= found[:, k]) & (found[:, k] <= high) for k, (low, high) in enumerate((x_m, y_m))]
        return np.asarray(found[inside[0] & inside[1]])
