"""Interval arithmetic on tensors: every result holds the exact value for every choice inside the operands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

_ROUNDING: Final = 1e-12  # each float64 operation is widened by this share, thousands of times its rounding error


@dataclass(frozen=True, eq=False)
class Interval:
    """All numbers from low to high, entry by entry. Both are float64 of one shape."""

    low: Tensor
    high: Tensor

    def __add__(self, other: Interval) -> Interval:
        return _outward(self.low + other.low, self.high + other.high)

    def __neg__(self) -> Interval:
        return Interval(-self.high, -self.low)

    def __sub__(self, other: Interval) -> Interval:
        return self + -other

    def __mul__(self, other: Interval | Tensor | float) -> Interval:
        if isinstance(other, Interval):
            ends = self.low * other.low, self.low * other.high, self.high * other.low, self.high * other.high
            return _outward(*_extremes(*ends))
        return _outward(*_extremes(self.low * other, self.high * other))

    def __getitem__(self, index: Any) -> Interval:
        return Interval(self.low[index], self.high[index])

    @property
    def magnitude(self) -> Tensor:
        """Largest absolute value."""
        return torch.maximum(self.low.abs(), self.high.abs())

    @property
    def centre(self) -> Tensor:
        """Middle."""
        return (self.low + self.high) / 2

    @property
    def radius(self) -> Tensor:
        """Half of the width, rounded up."""
        return (self.high - self.low) / 2 + _ROUNDING * self.magnitude

    def image(self, function: Callable[[Tensor], Tensor], turn: float | None = None) -> Interval:
        """Values of a function of one number that is monotone, or monotone on either side of `turn`."""
        ends = [function(self.low), function(self.high)]
        if turn is not None:
            inside = (self.low <= turn) & (self.high >= turn)
            ends.append(torch.where(inside, function(torch.full_like(self.low, turn)), ends[0]))
        return _outward(*_extremes(*ends))

    def affine(self, weight: Tensor, bias: Tensor) -> Interval:
        """weight @ v + bias for v in (..., columns): (..., rows), as narrow as can be for independent entries."""
        middle = (weight @ self.centre[..., None])[..., 0] + bias
        reach = (weight.abs() @ self.radius[..., None])[..., 0]
        slack = _ROUNDING * ((weight.abs() @ self.magnitude[..., None])[..., 0] + bias.abs())
        return Interval(middle - reach - slack, middle + reach + slack)

    def times(self, matrix: Tensor) -> Interval:
        """An interval matrix (..., rows, k) by a plain one (k, columns)."""
        middle, size = self.centre @ matrix, matrix.abs()
        reach = self.radius @ size + _ROUNDING * (self.magnitude @ size)
        return Interval(middle - reach, middle + reach)

    def matmul(self, other: Interval) -> Interval:
        """An interval matrix (..., rows, k) by another (..., k, columns)."""
        products = self[..., :, :, None] * other[..., None, :, :]
        size = _ROUNDING * products.magnitude.sum(-2)
        return Interval(products.low.sum(-2) - size, products.high.sum(-2) + size)

    def hull(self, other: Interval) -> Interval:
        """The smallest interval that holds both."""
        return Interval(torch.minimum(self.low, other.low), torch.maximum(self.high, other.high))

    def within(self, other: Interval) -> Interval:
        """What both have in common, where both are known to hold the value."""
        return Interval(torch.maximum(self.low, other.low), torch.minimum(self.high, other.high))

    def clamp(self, low: float, high: float) -> Interval:
        """Image under clamp; also states what is known of the range of a function."""
        return Interval(self.low.clamp(low, high), self.high.clamp(low, high))


def point(values: Tensor) -> Interval:
    """The interval that holds these values alone."""
    return Interval(values.double(), values.double())


def cat(parts: list[Interval]) -> Interval:
    """Side by side, along the last axis."""
    return Interval(torch.cat([p.low for p in parts], dim=-1), torch.cat([p.high for p in parts], dim=-1))


def _extremes(*values: Tensor) -> tuple[Tensor, Tensor]:
    stacked = torch.stack(values)
    return stacked.amin(0), stacked.amax(0)


def _outward(low: Tensor, high: Tensor) -> Interval:
    return Interval(low - _ROUNDING * low.abs(), high + _ROUNDING * high.abs())
