"""The states that a CfC can ever reach: a smaller box than all states makes every other bound tighter."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import torch

from policies.cells.cell import Cell, check_sizes
from policies.stability.bounds import step_bounds
from policies.stability.box import Box
from policies.stability.interval import Interval

_WIDENING: Final = 0.01  # of the radius, for a side that moves: a limit is passed and not just approached
_DIVERGED: Final = 1e6  # states this large will not settle


def reachable(cell: Cell, start: Box, rounds: int = 200) -> Box | None:
    """`start` with its states widened until no step leads out of them: a box of every state of every sequence.

    start: states at the start of a sequence (h_limit=0 for zeros), and all inputs and elapsed times there are.
    None where the states have not settled after that many rounds. Raises `ConfigError`.
    """
    check_sizes(rounds=rounds)
    box = start
    for _ in range(rounds):
        state, h = step_bounds(cell, box).state, box.h
        below, above = state.low < h.low, state.high > h.high
        if not bool((below | above).any()):
            return box
        if float(state.magnitude.max()) > _DIVERGED:
            return None
        further = _WIDENING * state.hull(h).radius
        low = torch.where(below, state.low - further, h.low)
        high = torch.where(above, state.high + further, h.high)
        box = replace(box, h=Interval(low, high))
    return None
