"""The sequence of a CfC layer as it reads: one step after the other, differentiated by torch. The reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from policies.cells.layer import CfCLayer


def loop(layer: CfCLayer, x: Tensor, dt_s: Tensor, h: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """x: (B, T, inputs), dt_s: (B, T), h: (B, units), mask: (B, T) -> states (B, T, units), last state (B, units)."""
    states = []
    for t in range(x.shape[1]):
        following = layer(x[:, t], h, dt_s[:, t, None])
        h = following if mask is None else torch.where(mask[:, t, None], following, h)
        states.append(h)
    return torch.stack(states, dim=1), h
