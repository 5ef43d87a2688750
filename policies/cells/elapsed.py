"""Elapsed time between chosen events: of a sequence with padding, and of layers that do not advance at every event."""

from __future__ import annotations

import torch
from torch import Tensor


def previous(values: Tensor, chosen: Tensor, first: Tensor) -> Tensor:
    """The value at the last chosen step before each step; `first` as long as there was none.

    values: (B, T), chosen: (B, T) bool, first: (B,) -> (B, T).
    """
    steps = torch.arange(1, values.shape[1] + 1, device=values.device)
    latest = torch.where(chosen, steps, 0).cummax(dim=1).values  # 0 stands for `first`
    before = torch.cat([torch.zeros_like(latest[:, :1]), latest[:, :-1]], dim=1)
    return torch.cat([first[:, None], values], dim=1).gather(1, before)


def since(chosen: Tensor, dt_s: Tensor, elapsed_s: Tensor) -> tuple[Tensor, Tensor]:
    """Seconds since the last chosen event: at every event, (B, T), and after the last one, (B, 1).

    chosen: (B, T) bool, dt_s: (B, T), elapsed_s: (B, 1) at the start. Sums are taken in double precision, because a
    long sequence makes them large beside the differences.
    """
    total = elapsed_s.double() + dt_s.double().cumsum(dim=1)
    waited = (total - previous(total, chosen, torch.zeros_like(total[:, 0]))).to(dt_s.dtype)
    return waited, torch.where(chosen[:, -1:], 0.0, waited[:, -1:])
