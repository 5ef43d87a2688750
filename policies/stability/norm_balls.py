"""Bounds on the norm of a step's Jacobian as the norm of its middle and of what it may differ from it.

Entry by entry, an interval forgets that one slope of the backbone acts on a whole row; here it scales that row as one.
On wide backbones this bound is the better one, on small cells that of `policies.stability.bounds`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from policies.cells.cell import Cell
from policies.stability.bounds import LayerBounds, layer_bounds
from policies.stability.box import Box
from policies.stability.interval import Interval


@dataclass(frozen=True, eq=False)
class NormBall:
    """All matrices within `radius` (B,) of `centre` (B, rows, columns), in the norm inf or 2."""

    centre: Tensor
    radius: Tensor
    norm: float

    def of(self, matrix: Tensor) -> Tensor:
        """The norm of matrices (..., rows, columns)."""
        size: Tensor = torch.linalg.matrix_norm(matrix, ord=self.norm)
        return size

    @property
    def largest(self) -> Tensor:
        """Largest norm of a member, (B,)."""
        return self.of(self.centre) + self.radius

    def __add__(self, other: NormBall) -> NormBall:
        return NormBall(self.centre + other.centre, self.radius + other.radius, self.norm)

    def matmul(self, other: NormBall) -> NormBall:
        """Products of a member of each."""
        radius = self.of(self.centre) * other.radius + self.radius * other.largest
        return NormBall(self.centre @ other.centre, radius, self.norm)

    def columns(self, slope: Interval) -> NormBall:
        """Each column times its slope (B, columns)."""
        radius = self.of(self.centre * slope.radius[:, None, :]) + self.radius * slope.magnitude.amax(-1)
        return NormBall(self.centre * slope.centre[:, None, :], radius, self.norm)

    def times(self, matrix: Tensor) -> NormBall:
        """Each member by one matrix (columns, other columns)."""
        return NormBall(self.centre @ matrix, self.radius * self.of(matrix), self.norm)


def jacobian_norms(cell: Cell, box: Box, norm: float) -> tuple[Tensor, Tensor]:
    """Bounds on the norms of dh'/dx and of dh'/dh, (B,) each. Arguments and errors as of `step_bounds`."""
    by_x: list[NormBall] = []
    by_h: list[NormBall] = []
    for layer in layer_bounds(cell, box):
        own = layer.own
        first = layer.weights.backbone[0][0] if layer.weights.backbone else layer.form.terms[0][1]
        cut = first.shape[-1] - (own.stop - own.start)
        by_value, by_own = _through(layer, slice(0, cut), norm), _through(layer, slice(cut, None), norm)
        by_own = by_own + _diagonal(layer.form.by_own, norm)
        margins = own.start, cell.state_width - own.stop
        by_own = NormBall(functional.pad(by_own.centre, margins), by_own.radius, norm)
        by_x.append(by_value.matmul(by_x[-1]) if by_x else by_value)
        by_h.append(by_value.matmul(by_h[-1]) + by_own if by_h else by_own)
    return _stack(by_x).largest, _stack(by_h).largest


def _through(layer: LayerBounds, part: slice, norm: float) -> NormBall:
    """Jacobian of the new state by the part of [input; old state] that these columns see, less the direct path."""
    backbone = layer.weights.backbone
    terms = [(scale, matrix if backbone else matrix[..., part]) for scale, matrix in layer.form.terms]
    first, *others = (_rows(scale, matrix, norm) for scale, matrix in terms)
    ball = sum(others, first)
    for k in reversed(range(len(backbone))):
        weight = backbone[k][0]
        ball = ball.columns(layer.slopes[k]).times(weight if k else weight[:, part])
    return ball


def _rows(scale: Interval, matrix: Tensor, norm: float) -> NormBall:
    """Each row of a matrix times its scale (B, rows)."""
    off = torch.linalg.matrix_norm(scale.radius[..., None] * matrix, ord=norm)
    return NormBall(scale.centre[..., None] * matrix, off, norm)


def _diagonal(values: Interval, norm: float) -> NormBall:
    return NormBall(torch.diag_embed(values.centre), values.radius.amax(-1), norm)


def _stack(balls: list[NormBall]) -> NormBall:
    """One above the other."""
    norm = balls[0].norm
    radius = torch.linalg.vector_norm(torch.stack([ball.radius for ball in balls]), ord=norm, dim=0)
    return NormBall(torch.cat([ball.centre for ball in balls], dim=1), radius, norm)
