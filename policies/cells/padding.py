"""Sequences with padding through functions that know none: events go to the front, states back to where they belong."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def to_front(values: Tensor, mask: Tensor) -> Tensor:
    """Chosen steps of every row at its front, in order, and zeros behind. values: (B, T, n), mask: (B, T) bool."""
    order = (~mask).to(torch.uint8).argsort(dim=1, stable=True)
    moved = values.gather(1, order[:, :, None].expand_as(values))
    chosen = mask.gather(1, order)
    return torch.where(chosen[:, :, None], moved, 0.0)


def put_back(values: Tensor, mask: Tensor, first: Tensor) -> Tensor:
    """Inverse of `to_front`, where other steps show the value before them; first: (B, n) is that before all."""
    latest = mask.cumsum(dim=1)[:, :, None].expand_as(values)
    return torch.cat([first[:, None], values], dim=1).gather(1, latest)


def causal(
    run: Callable[[Tensor, Tensor, Tensor], Tensor], x: Tensor, dt_s: Tensor, h: Tensor, mask: Tensor | None
) -> Tensor:
    """States (B, T, n) of `run(x, dt_s, h)`, each of which depends on no later event, as if padding were not there.

    x: (B, T, inputs), dt_s: (B, T, 1), h: (B, n), mask: (B, T) bool.
    """
    if mask is None:
        return run(x, dt_s, h)
    return put_back(run(to_front(x, mask), to_front(dt_s, mask), h), mask, h)
