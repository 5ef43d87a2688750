"""Laws of the memory that gradients of an LTC cost."""

from __future__ import annotations

import torch

from policies.cells.ltc import LTC
from policies.cells.ltc_memory import METHODS, memory_table, saved_bytes, sequence_bytes

INPUTS, UNITS = 5, 8


def test_saved_bytes_are_counted_once_a_storage_and_without_what_is_known() -> None:
    x, y = (torch.ones(100, requires_grad=True) for _ in range(2))
    assert saved_bytes(lambda: x * y) == 2 * 400
    assert saved_bytes(lambda: x * y, [y]) == 400
    assert saved_bytes(lambda: (x[:50] * x[50:]).sum()) == 400
    assert saved_bytes(lambda: x + y) == 0


def test_memory_of_gradients_against_events() -> None:
    counts, batch = (16, 64), 2
    plain, checkpointed, adjoint = (
        [sequence_bytes(LTC(INPUTS, UNITS, **options), batch, count, 0.1) for count in counts]
        for options in (METHODS["semi_implicit"], METHODS["semi_implicit, checkpointed"], METHODS["adaptive, adjoint"])
    )
    assert 3.8 < plain[1] / plain[0] < 4.1  # every event keeps all its unfolds
    assert 1.5 < checkpointed[1] / checkpointed[0] < 2.5  # the root of that
    kept = (adjoint[1] - adjoint[0]) / (counts[1] - counts[0])
    assert kept <= 12 * batch * UNITS * 4  # some states an event, not a synapse of them
    assert adjoint[1] < plain[1] / 10


def test_memory_of_gradients_against_elapsed_time() -> None:
    adaptive, adjoint = (
        [sequence_bytes(LTC(INPUTS, UNITS, solver="adaptive", adjoint=way), 2, 1, dt_s) for dt_s in (0.1, 1.0, 10.0)]
        for way in (False, True)
    )
    assert adaptive[0] < adaptive[1] < adaptive[2]
    assert adjoint[0] == adjoint[1] == adjoint[2]


def test_table_has_every_method_at_every_length() -> None:
    table = memory_table(events=(2, 3), dt_s=(0.1, 0.2), batch=1, inputs=2, units=3)
    assert [row.method for row in table] == [method for method in METHODS for _ in range(4)]
    assert [(row.events, row.dt_s) for row in table[:4]] == [(2, 0.1), (3, 0.1), (1, 0.1), (1, 0.2)]
    assert all(row.kept_bytes > 0 for row in table)
