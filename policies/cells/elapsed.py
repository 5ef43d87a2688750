"""Elapsed time between chosen events: of a sequence with padding, and of layers that do not advance at every event."""

from __future__ import annotations

import torch
from torch import Tensor

from liquid_pilot.cells import DT_LIMIT


def time_units(elapsed_s: Tensor, unit_s: float) -> Tensor:
    """Seconds as time units, cut to what enters the equations of any cell, so that none can overflow."""
    return (elapsed_s / unit_s).clamp(max=min(DT_LIMIT, torch.finfo(elapsed_s.dtype).max))


def count_on(age_s: Tensor, dt_s: Tensor, unit_s: float) -> Tensor:
    """age_s + dt_s, cut as `time_units` would cut it."""
    return (age_s + dt_s).clamp(max=most_s(age_s.dtype, unit_s))


def most_s(dtype: torch.dtype, unit_s: float) -> float:
    """Longest elapsed time that is told apart from longer ones, in seconds."""
    return min(DT_LIMIT * unit_s, torch.finfo(dtype).max)


def previous(values: Tensor, chosen: Tensor, first: Tensor) -> Tensor:
    """The value at the last chosen step before each step; `first` as long as there was none.

    values: (B, T), chosen: (B, T) bool, first: (B,) -> (B, T).
    """
    steps = torch.arange(1, values.shape[1] + 1, device=values.device)
    latest = torch.where(chosen, steps, 0).cummax(dim=1).values  # 0 stands for `first`
    before = torch.cat([torch.zeros_like(latest[:, :1]), latest[:, :-1]], dim=1)
    return torch.cat([first[:, None], values], dim=1).gather(1, before)


def since(chosen: Tensor, dt_s: Tensor, elapsed_s: Tensor, unit_s: float) -> tuple[Tensor, Tensor]:
    """Seconds since the last chosen event: at every event, (B, T), and after the last one, (B, 1).

    chosen: (B, T) bool, dt_s: (B, T), elapsed_s: (B, 1) at the start. Cut as `time_units` would cut them. Sums are
    taken in double precision, because a long sequence makes them large beside the differences.
    """
    limit_s = most_s(dt_s.dtype, unit_s)
    total = elapsed_s.double() + dt_s.double().clamp(max=limit_s).cumsum(dim=1)
    waited = (total - previous(total, chosen, torch.zeros_like(total[:, 0]))).clamp(max=limit_s).to(dt_s.dtype)
    return waited, torch.where(chosen[:, -1:], 0.0, waited[:, -1:])
