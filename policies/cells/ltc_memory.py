"""Memory that gradients of an LTC cost: bytes that autograd keeps from the forward pass for the backward pass.

The adjoint keeps as much for a long event as for a short one, whatever steps it took; of every event it keeps states.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from policies.cells.ltc import LTC, SQRT

METHODS: Final[dict[str, dict[str, Any]]] = {  # options of `LTC`
    "semi_implicit": {"engine": "loop"},
    "semi_implicit, checkpointed": {"engine": "loop", "checkpoint_every": SQRT},
    "adaptive": {"solver": "adaptive"},
    "adaptive, adjoint": {"solver": "adaptive", "adjoint": True},
}


@dataclass(frozen=True)
class SavedMemory:
    """Bytes kept for the gradients of a sequence of `events`, each `dt_s` long: one row of a table."""

    method: str
    events: int
    dt_s: float
    kept_bytes: int


def memory_table(
    events: Iterable[int] = (16, 64, 256),
    dt_s: Iterable[float] = (0.1, 1.0, 10.0),
    batch: int = 8,
    inputs: int = 17,
    units: int = 19,
    seed: int = 0,
) -> list[SavedMemory]:
    """Bytes of every method against the number of events, of the shortest dt_s each, and against dt_s of one event."""
    shortest_s, *longer_s = sorted(dt_s)
    cases = [(count, shortest_s) for count in events] + [(1, lasting_s) for lasting_s in (shortest_s, *longer_s)]
    table = []
    for method, options in METHODS.items():
        cell = LTC(inputs, units, seed=seed, **options)
        table += [
            SavedMemory(method, count, each_s, sequence_bytes(cell, batch, count, each_s)) for count, each_s in cases
        ]
    return table


def sequence_bytes(cell: LTC, batch: int, events: int, dt_s: float) -> int:
    """Most bytes kept at a time for the gradients of a sequence, beside its inputs and the stored weights.

    With checkpoints: what is kept from the forward pass, and the one block that the backward pass has computed again.
    """
    generator = torch.Generator().manual_seed(0)
    example = cell.initial_state(batch)
    x = torch.rand((batch, events, cell.inputs), generator=generator, dtype=example.dtype)
    elapsed_s = torch.full((batch, events), dt_s, dtype=example.dtype)
    known = [x, elapsed_s, *cell.parameters(), *cell.buffers()]
    kept = saved_bytes(lambda: cell.sequence(x, elapsed_s, example), known)
    if cell.checkpoint_every is None:
        return kept
    block = math.isqrt(events) if cell.checkpoint_every == SQRT else min(int(cell.checkpoint_every), events)
    plain = copy(cell)
    plain.checkpoint_every = None
    return kept + sequence_bytes(plain, batch, block, dt_s)


def saved_bytes(run: Callable[[], object], known: Iterable[Tensor] = ()) -> int:
    """Bytes of all different storages that a run keeps for its gradients, without those of the known tensors."""
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> None:
        kept.setdefault(tensor.untyped_storage().data_ptr(), tensor)

    with saved_tensors_hooks(pack, _never):
        result = run()  # held, so that no storage is given out twice
    for tensor in known:
        kept.pop(tensor.untyped_storage().data_ptr(), None)
    del result
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def _never(_: None) -> Tensor:
    raise AssertionError("only the forward pass is measured")
