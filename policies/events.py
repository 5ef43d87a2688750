"""Sequences of events as they are given, checked: nothing is broadcast, and padding is never looked at."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from liquid_pilot.errors import ConfigError
from policies.cells.cell import Cell, check_elapsed, check_finite, check_numbers, check_tensors, refuse
from policies.cells.elapsed import previous


@dataclass(frozen=True, eq=False)
class Events:
    """x: (B, T, inputs), dt_s: (B, T) since the event before, mask: (B, T) True at events; None: all steps are.

    Padding holds anything.
    """

    x: Tensor
    dt_s: Tensor
    mask: Tensor | None

    def window(self, steps: slice) -> Events:
        """These steps of every row."""
        return Events(self.x[:, steps], self.dt_s[:, steps], None if self.mask is None else self.mask[:, steps])

    def without_padding(self) -> Events:
        """The same events, and zeros elsewhere. Of a window it has a graph that no other window shares."""
        if self.mask is None:
            return self
        x, dt_s = torch.where(self.mask[:, :, None], self.x, 0.0), torch.where(self.mask, self.dt_s, 0.0)
        return Events(x, dt_s, self.mask)


def make_events(
    cell: Cell,
    x: Tensor,
    dt_s: Tensor | None,
    times_s: Tensor | None = None,
    start_s: Tensor | None = None,
    mask: Tensor | None = None,
    batch_first: bool = True,
) -> Events:
    """Events for `Cell.sequence`. x: (B, T, inputs), one of dt_s and times_s: (B, T), mask: (B, T) bool, start_s: (B,).

    With batch_first=False x, dt_s, times_s and mask come as (T, B, ...). Raises `ConfigError` for other shapes and
    number types, `MessageError` for events with elapsed times that are negative, times that decrease and numbers that
    are not finite.
    """
    given = {"dt_s": dt_s, "times_s": times_s, "mask": mask}
    check_layout(cell, x, batch_first, **{name: tensor for name, tensor in given.items() if tensor is not None})
    if not batch_first:
        x = x.transpose(0, 1)
        dt_s, times_s, mask = (None if tensor is None else tensor.transpose(0, 1) for tensor in given.values())
    if times_s is not None and dt_s is None:
        dt_s = elapsed(times_s, start_s, mask)
    elif dt_s is None or times_s is not None or start_s is not None:
        raise ConfigError("give either dt_s, or times_s and if need be start_s")
    events = Events(x, dt_s, mask)
    seen = events.without_padding()
    check_finite(x=seen.x)
    check_elapsed(seen.dt_s, x.dtype)
    return replace(events, dt_s=dt_s.to(x.dtype))


def check_layout(cell: Cell, x: Tensor, batch_first: bool, **others: Tensor) -> None:
    """Raise `ConfigError` unless x is (B, T, inputs) and all others (B, T), in this order or (T, B)."""
    layout = "B, T" if batch_first else "T, B"
    check_tensors(x=x, **others)
    if x.ndim != 3 or 0 in x.shape or x.shape[2] != cell.inputs:
        raise ConfigError(f"x is {tuple(x.shape)}; give ({layout}, {cell.inputs}) with B and T of at least 1")
    for name, tensor in others.items():
        if tensor.shape != x.shape[:2]:
            raise ConfigError(f"{name} is {tuple(tensor.shape)}; give ({layout}), for this x {tuple(x.shape[:2])}")
        if name == "mask" and tensor.dtype != torch.bool:
            raise ConfigError(f"mask is {tensor.dtype}; give torch.bool, True where there is an event")
        if name != "mask" and not tensor.is_floating_point():
            raise ConfigError(f"{name} is {tensor.dtype}; give seconds as floating-point numbers")
    check_numbers(cell, x=x)


def check_state(cell: Cell, state: Tensor, batch: int) -> None:
    """Raise `ConfigError` unless state is (B, state_width) of the weights' type, `MessageError` unless it is finite."""
    check_tensors(state=state)
    if state.shape != (batch, cell.state_width):
        raise ConfigError(f"state is {tuple(state.shape)}; give (B, state_width), here {(batch, cell.state_width)}")
    check_numbers(cell, state=state)
    check_finite(state=state)


def elapsed(times_s: Tensor, start_s: Tensor | None, mask: Tensor | None) -> Tensor:
    """Seconds between the events of every row, (B, T); 0 at its first event unless start_s (B,) is given.

    Differences are taken in the number type of the times. Raises as `make_events` does.
    """
    chosen = torch.ones_like(times_s, dtype=torch.bool) if mask is None else mask
    times_s = torch.where(chosen, times_s, 0.0)
    check_times(times_s, start_s)
    before = previous(times_s, chosen, times_s[:, 0] if start_s is None else start_s)
    counted = chosen if start_s is not None else chosen & (chosen.cumsum(dim=1) > 1)
    dt_s = torch.where(counted, times_s - before, 0.0)
    refuse(times_s, dt_s < 0, "times_s", "the times of a row never decrease, from start_s on where it is given")
    return dt_s


def check_times(times_s: Tensor, start_s: Tensor | None) -> None:
    """Raise `ConfigError` for shapes and number types of times, `MessageError` for those that are not finite."""
    if start_s is None:
        start_s = torch.zeros_like(times_s[:, 0])
    check_tensors(start_s=start_s)
    if start_s.shape != times_s.shape[:1]:
        raise ConfigError(f"start_s is {tuple(start_s.shape)}; give (B,), here {tuple(times_s.shape[:1])}")
    if start_s.dtype != times_s.dtype:
        raise ConfigError(
            f"times_s is {times_s.dtype} and start_s {start_s.dtype}; give one type, float64 where they count "
            "from far away"
        )
    check_finite(times_s=times_s, start_s=start_s)
