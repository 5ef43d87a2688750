"""Batches for learning from sequences: windows of flights, each with events before it that warm the network up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from policies.imitation.demonstrations import Demonstrations
from policies.network import PolicyNetwork


@dataclass(frozen=True, slots=True)
class Windows:
    """B windows of W warm-up events and T learned ones, by torch.

    x (B, W + T, OBS_DIM), dt_s and inside (B, W + T); target (B, T, 4); weight (B, T): seconds that an action acts,
    0 in the hand and past the flight's end. Where `inside` is False there is no event.
    """

    x: Tensor
    dt_s: Tensor
    inside: Tensor
    target: Tensor
    weight: Tensor

    @property
    def warm_up(self) -> int:
        """W."""
        return self.x.shape[1] - self.target.shape[1]


@dataclass(frozen=True, slots=True)
class Rows:
    """Which events B windows hold. events, inside: (B, W + T); weight: (B, T); see `Windows`."""

    events: npt.NDArray[np.int64]
    inside: npt.NDArray[np.bool_]
    weight: npt.NDArray[np.float32]


def draw_rows(flights: Demonstrations, batch: int, warm_up: int, steps: int, rng: np.random.Generator) -> Rows:
    """Windows at random: a flight, each as likely as the others, and an event of it at which learning begins.

    A window nearer to the flight's start than warm_up begins at the start itself, in the network's first state.
    """
    start, length = flights.start, flights.length
    chosen = rng.integers(flights.flights, size=batch)
    latest = np.maximum(length[chosen] - steps, 0)
    at = rng.integers(0, latest + 1)
    index = at[:, None] + np.arange(-warm_up, steps)  # (B, W + T), in the flight
    inside = (index >= 0) & (index < length[chosen][:, None])
    rows = start[chosen][:, None] + np.clip(index, 0, length[chosen][:, None] - 1)
    learned = rows[:, warm_up:]
    # an action acts until the event after; the last one of a flight as long as it took to come
    last = index[:, warm_up:] >= length[chosen][:, None] - 1
    acts_s = flights.dt_s[np.where(last, learned, learned + (~last))]
    weight = acts_s * (inside[:, warm_up:] & ~flights.held[learned])
    return Rows(rows, inside, weight.astype(np.float32))


def windows_of(flights: Demonstrations, rows: Rows) -> Windows:
    """The events of the rows."""
    learned = rows.events[:, rows.events.shape[1] - rows.weight.shape[1] :]
    return Windows(
        torch.from_numpy(flights.observation[rows.events]),
        torch.from_numpy(flights.dt_s[rows.events]),
        torch.from_numpy(rows.inside),
        torch.from_numpy(flights.action[learned]),
        torch.from_numpy(rows.weight),
    )


def draw_windows(flights: Demonstrations, batch: int, warm_up: int, steps: int, rng: np.random.Generator) -> Windows:
    """Windows of events that are drawn as `draw_rows` says."""
    return windows_of(flights, draw_rows(flights, batch, warm_up, steps, rng))


def cloning_loss(network: PolicyNetwork, windows: Windows) -> Tensor:
    """Mean squared error of the actions, weighed by the time for which each acts; the warm-up has no loss, no slope."""
    w, h = windows.warm_up, None
    if w:
        with torch.no_grad():
            _, h = network(windows.x[:, :w], windows.dt_s[:, :w], None, windows.inside[:, :w])
    action, _ = network(windows.x[:, w:], windows.dt_s[:, w:], h, windows.inside[:, w:])
    error = ((action - windows.target) ** 2).mean(dim=2)
    loss: Tensor = (error * windows.weight).sum() / windows.weight.sum().clamp(min=1e-6)
    return loss
