"""Spectral bounds on the matrices of a CfC that hold for every value an optimiser may give them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from liquid_pilot.errors import ConfigError
from policies.cells.cell import Cell
from policies.parametrized import make_plain, parametrizations
from policies.stability.layers import cfc_layers, linear_maps

_ROUNDING: Final = 32  # of the matrix's number type, in its steps at 1: what the singular values may be wrong by


class SpectralBound(nn.Module):
    """Parametrization of a matrix: itself, scaled down where its largest singular value is above the bound.

    Singular values are computed, not iterated for: these matrices are small, and the bound holds at every call.
    """

    def __init__(self, bound: float) -> None:
        super().__init__()
        if not 0.0 < bound < math.inf:
            raise ConfigError(f"bound is {bound!r}; give a finite number above 0")
        self.bound = bound

    def forward(self, weight: Tensor) -> Tensor:
        """(rows, columns) to (rows, columns)."""
        largest = torch.linalg.matrix_norm(weight, ord=2)
        inside = self.bound * (1.0 - _ROUNDING * torch.finfo(weight.dtype).eps)
        bounded: Tensor = weight * (inside / largest.clamp(min=inside))
        return bounded


def constrain_spectral(cell: Cell, bound: float = 1.0) -> None:
    """Keep the spectral norm of every matrix of a CfC, of backbone and heads, at or below the bound from now on.

    Masks of a wired cell act first, so that the bound is that of the masked matrix. The optimiser's parameters stay
    the same objects. Raises `ConfigError` for a cell that is not a CfC or is constrained already.
    """
    maps = list(_maps(cell))
    if any(_bounds(linear) for linear in maps):
        raise ConfigError("the matrices of this cell have a spectral bound already; call fold(cell) first")
    for linear in maps:
        parametrize.register_parametrization(linear, "weight", SpectralBound(bound))


def fold(cell: Cell) -> None:
    """Take the spectral bounds away and leave the bounded values as plain weights, for export; masks stay.

    Raises `ConfigError` for a cell that is not a CfC.
    """
    for linear in _maps(cell):
        if _bounds(linear):
            steps = [(name, step) for name, found in parametrizations(linear).items() for step in found]
            make_plain(linear)
            for name, step in steps:
                if not isinstance(step, SpectralBound):
                    parametrize.register_parametrization(linear, name, step)


def _maps(cell: Cell) -> Iterator[nn.Linear]:
    for layer in cfc_layers(cell):
        yield from linear_maps(layer)


def _bounds(linear: nn.Linear) -> bool:
    return any(isinstance(step, SpectralBound) for step in parametrizations(linear).get("weight", []))
