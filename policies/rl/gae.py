"""Advantages in continuous time: an event that comes twice as late is discounted twice as much.

Generalised advantage estimation (Schulman et al., "High-dimensional continuous control using generalized advantage
estimation", 2016) with gamma and lambda as rates per `EVENT_S` of flight. At a constant interval of `EVENT_S` it is the
published form; at any other rate of events the same flight has the same return.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

EVENT_S: Final = 0.01  # gamma and lambda are told for an interval of so many seconds


def advantages(
    reward: Tensor, value: Tensor, last_value: Tensor, ended: Tensor, end_value: Tensor, dt_s: Tensor,
    gamma: float, gae_lambda: float,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Advantages and returns, (N, T) each, of N sequences of T steps.

    reward, value (of the state before the step), dt_s (which the step took): (N, T). last_value: (N,), of the state
    after the last step. ended: (N, T), 1 where an episode ended with the step; there end_value (N, T) stands for the
    value of the state after it: 0 if the episode was over, the value of its last state if only its time was up.
    """
    following = torch.cat([value[:, 1:], last_value[:, None]], dim=1)
    following = torch.where(ended > 0.0, end_value, following)
    intervals = dt_s / EVENT_S
    delta = reward + gamma**intervals * following - value
    carried = (gamma * gae_lambda) ** intervals * (1.0 - ended)
    found, running = torch.empty_like(value), torch.zeros_like(last_value)
    for t in reversed(range(value.shape[1])):
        running = delta[:, t] + carried[:, t] * running
        found[:, t] = running
    return found, found + value
