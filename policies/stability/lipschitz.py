"""Lipschitz constants of one step: certified from above, measured from below."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from policies.cells.cell import Cell, check_sizes
from policies.stability.bounds import norm_bound, step_bounds
from policies.stability.box import Box
from policies.stability.jacobian import check_norm, step_jacobian
from policies.stability.norm_balls import jacobian_norms

_FIRST_STRIDE: Final = 0.1  # of the ascent, as a share of the box; it shrinks to this share of itself
_LAST_STRIDE: Final = 0.01


@dataclass(frozen=True)
class Lipschitz:
    """Largest |change of h'| for a unit change of x, of h, and of dt by one second; in the norm inf or 2."""

    by_x: float
    by_h: float
    by_dt_per_s: float
    norm: float


def lipschitz_bound(cell: Cell, box: Box, norm: float = torch.inf, parts: int = 8) -> Lipschitz:
    """Constants that no step of a CfC inside a box of one row exceeds, in exact arithmetic.

    The lesser of two bounds: from intervals of all entries, and from norms of the matrices and of their deviations.
    parts: pieces into which the elapsed times are cut; more are tighter. Raises `ConfigError`.
    """
    check_norm(norm)
    check_sizes(parts=parts)
    pieces = box.split(parts)
    bounds = step_bounds(cell, pieces)
    others = jacobian_norms(cell, pieces, norm)
    by_x, by_h = (
        torch.minimum(norm_bound(j, norm), n) for j, n in zip((bounds.by_x, bounds.by_h), others, strict=True)
    )
    by_dt = norm_bound(bounds.by_dt_per_s[..., None], norm)
    return Lipschitz(float(by_x.max()), float(by_h.max()), float(by_dt.max()), norm)


def measured_lipschitz(
    cell: Cell,
    box: Box,
    generator: torch.Generator,
    norm: float = torch.inf,
    points: int = 256,
    climbers: int = 8,
    rounds: int = 30,
) -> Lipschitz:
    """Largest norms of the Jacobian of any cell that were found inside a box of one row: never more than the true ones.

    Random points first; then, for each of the three constants, ascent by the sign of its gradient from the best ones.
    """
    check_norm(norm)
    check_sizes(points=points, climbers=climbers, rounds=rounds)
    box.check_fits(cell)
    twin = copy.deepcopy(cell).double().requires_grad_(False)
    width = cell.inputs + cell.state_width + 1
    unit = torch.rand(points, width, generator=generator, dtype=torch.float64)
    norms = _norms(twin, box, unit, norm)  # (points, 3)
    found = []
    for column in range(3):
        best = norms[:, column].topk(min(climbers, points))
        found.append(max(float(best.values[0]), _climb(twin, box, unit[best.indices], norm, column, rounds)))
    by_x, by_h, by_dt = found
    return Lipschitz(by_x, by_h, by_dt, norm)


def _norms(cell: Cell, box: Box, unit: Tensor, norm: float) -> Tensor:
    """Norms of the derivatives by x, h and dt at points of the unit cube, (B, 3)."""
    by_x, by_h, by_dt = step_jacobian(cell, *box.at(unit))
    return torch.stack([torch.linalg.matrix_norm(j, ord=norm) for j in (by_x, by_h, by_dt[..., None])], dim=1)


def _climb(cell: Cell, box: Box, unit: Tensor, norm: float, column: int, rounds: int) -> float:
    """Largest norm of one column of `_norms` on the way up."""
    found = 0.0
    for k in range(rounds):
        unit = unit.detach().requires_grad_()
        norms = _norms(cell, box, unit, norm)[:, column]
        found = max(found, float(norms.detach().max()))
        anchored = norms.sum() + 0.0 * unit.sum()  # a linear cell's Jacobian knows nothing of the point
        (slope,) = torch.autograd.grad(anchored, unit)
        stride = _FIRST_STRIDE * _LAST_STRIDE ** (k / rounds)
        unit = (unit + stride * slope.nan_to_num().sign()).clamp(0.0, 1.0)
    return found
