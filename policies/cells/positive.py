"""Weights that stay positive whatever an optimiser does: softplus of what is stored, and its inverse."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

POSITIVE_FLOOR: Final = 1e-6  # a positive weight never comes closer to 0
SOFTPLUS_IS_LINEAR: Final = 20.0  # from here on softplus(x) = x in float32, and torch computes it so


def inverse_softplus(y: Tensor) -> Tensor:
    """x with softplus(x) = y > 0, for y of any size."""
    return torch.where(y > SOFTPLUS_IS_LINEAR, y, torch.log(torch.expm1(y.clamp(max=SOFTPLUS_IS_LINEAR))))


def positive(raw: Tensor) -> Tensor:
    """Any number to one above `POSITIVE_FLOOR`, by softplus."""
    return functional.softplus(raw) + POSITIVE_FLOOR


def raw_of(value: Tensor) -> Tensor:
    """Inverse of `positive`, for values above `POSITIVE_FLOOR`."""
    return inverse_softplus(value - POSITIVE_FLOOR)
