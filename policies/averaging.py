"""Averaged weights, which are validated and kept in the place of those that the optimiser moves."""

from __future__ import annotations

import torch
from torch import nn


def average_into(mean: nn.Module, network: nn.Module, decay: float, done: int) -> None:
    """Move averaged weights towards those after `done` updates; the average is short as long as they are few."""
    kept = min(decay, (done + 1) / (done + 10))
    with torch.no_grad():
        for ours, value in zip(mean.parameters(), network.parameters(), strict=True):
            ours.lerp_(value, 1.0 - kept)
