"""The set of steps that a bound speaks of: inputs, states and elapsed times, each from a lowest to a highest value."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from liquid_pilot.errors import ConfigError
from policies.cells.cell import Cell, check_step
from policies.stability.interval import Interval, point


@dataclass(frozen=True, eq=False)
class Box:
    """B sets of steps: x (B, inputs), h (B, state_width), dt_s (B, 1). See `box` and `point_box`."""

    x: Interval
    h: Interval
    dt_s: Interval

    def jittered(self, jitter_s: float) -> Box:
        """The same with elapsed times that may be wrong by jitter_s either way, but not negative."""
        return Box(self.x, self.h, Interval((self.dt_s.low - jitter_s).clamp(min=0.0), self.dt_s.high + jitter_s))

    def split(self, parts: int) -> Box:
        """A box of one row as `parts` rows, cut along the elapsed time."""
        self._check_one_row()
        ends = torch.linspace(0.0, 1.0, parts + 1, dtype=torch.float64)[:, None]
        cuts = self.dt_s.low + ends * (self.dt_s.high - self.dt_s.low)
        x, h = (Interval(v.low.expand(parts, -1), v.high.expand(parts, -1)) for v in (self.x, self.h))
        return Box(x, h, Interval(cuts[:-1], cuts[1:]))

    def at(self, unit: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Points (x, h, dt_s) of a box of one row, from unit: (B, inputs + state_width + 1) in [0, 1]."""
        self._check_one_row()
        parts = unit.split([self.x.low.shape[1], self.h.low.shape[1], 1], dim=1)
        pairs = zip((self.x, self.h, self.dt_s), parts, strict=True)
        x, h, dt_s = (side.low + share * (side.high - side.low) for side, share in pairs)
        return x, h, dt_s

    def check_fits(self, cell: Cell) -> None:
        """Raise `ConfigError` unless the box is one of steps of this cell."""
        widths, wanted = (self.x.low.shape[1], self.h.low.shape[1]), (cell.inputs, cell.state_width)
        if widths != wanted:
            raise ConfigError(f"the box is for (inputs, state_width) {widths} and the cell has {wanted}; make it anew")

    def _check_one_row(self) -> None:
        if len(self.x.low) != 1:
            raise ConfigError(f"the box has {len(self.x.low)} rows and this takes one; make it with `box`")


def box(cell: Cell, x_limit: float | Tensor, dt_min_s: float, dt_max_s: float, h_limit: float | Tensor = 1.0) -> Box:
    """One row: |x| <= x_limit, |h| <= h_limit, dt_min_s <= dt_s <= dt_max_s.

    Limits are one number or one for each feature, (inputs,) and (state_width,). The states of the forms `decay` and
    `default` never leave h_limit = 1, those of `no_gate` never leave 2. Raises `ConfigError` for limits that are
    negative, not finite or of another shape.
    """
    if not 0.0 <= dt_min_s <= dt_max_s < math.inf:
        raise ConfigError(f"elapsed times are {dt_min_s!r} to {dt_max_s!r} s; give 0 <= dt_min_s <= dt_max_s, finite")
    times = (torch.full((1, 1), dt, dtype=torch.float64) for dt in (dt_min_s, dt_max_s))
    x, h = symmetric("x_limit", x_limit, cell.inputs), symmetric("h_limit", h_limit, cell.state_width)
    return Box(x, h, Interval(*times))


def point_box(cell: Cell, x: Tensor, h: Tensor, dt_s: Tensor) -> Box:
    """One row for each single step, with the arguments and errors of `Cell.step`."""
    return Box(point(x), point(h), point(check_step(cell, x, h, dt_s)))


def symmetric(name: str, limit: float | Tensor, width: int) -> Interval:
    """-limit to limit, (1, width). Raises `ConfigError`; see `box`."""
    given = torch.as_tensor(limit, dtype=torch.float64)
    if given.shape not in ((), (width,)):
        raise ConfigError(f"{name} has shape {tuple(given.shape)}; give one number or ({width},)")
    if not bool(((given >= 0) & torch.isfinite(given)).all()):
        raise ConfigError(f"{name} is {given.tolist()}; limits are finite and 0 or more")
    high = given.expand(1, width)
    return Interval(-high, high)
