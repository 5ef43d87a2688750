"""Parameters are counted where they can act, and matched networks are the nearest there are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from liquid_pilot.errors import ConfigError
from policies import LTC, AutoNCP, CfC, LiquidRNN
from policies.cells.gated import GRU, LSTM
from policies.cells.matching import KINDS, matched, parameters
from policies.cells.mixed import MixedMemory

INPUTS = 6
WIRING = AutoNCP(INPUTS, 12, 3)
every_kind = pytest.mark.parametrize("kind", KINDS)


def options(kind: str) -> dict[str, Any]:
    return {"backbone_units": 5} if kind == "cfc" else {}


def sizes(kind: str, count: int) -> list[LiquidRNN]:
    return [LiquidRNN(KINDS[kind](INPUTS, size, **options(kind)), 2) for size in range(1, count)]


def test_counts_are_those_of_the_equations() -> None:
    n, k = 7, INPUTS + 1
    assert parameters(LSTM(INPUTS, n)) == 4 * n * (k + n + 1)
    assert parameters(GRU(INPUTS, n)) == 3 * n * (k + n + 2) == parameters(nn.GRU(k, n))
    assert parameters(MixedMemory(CfC(INPUTS, n), "torch")) == parameters(CfC(INPUTS, n)) + 4 * n * (INPUTS + n + 1)


def test_synapses_that_are_not_there_do_not_count() -> None:
    for form in ("decay", "default", "pure"):
        cell = CfC(INPUTS, wiring=WIRING, form=form)
        tensors = [tensor for layer in cell.layers for tensor in layer.weights()]  # type: ignore[operator]
        dead = sum(int((tensor == 0).sum()) for tensor in tensors if tensor.ndim == 2)
        assert dead > 0
        assert parameters(cell) == sum(tensor.numel() for tensor in tensors) - dead
    live = WIRING.synapses + WIRING.sensory_synapses
    assert parameters(LTC(INPUTS, wiring=WIRING)) == 4 * live + 3 * 12 + 2 * INPUTS + 2 * 3


@every_kind
def test_no_other_size_is_nearer(kind: str) -> None:
    there = [parameters(network) for network in sizes(kind, 14)]
    assert there == sorted(set(there))
    for wanted in range(there[0], there[-1], max(37, (there[-1] - there[0]) // 25)):
        found = parameters(matched(kind, INPUTS, 2, wanted, **options(kind)))
        assert abs(found - wanted) == min(abs(count - wanted) for count in there)
    assert parameters(matched(kind, INPUTS, 2, there[5], **options(kind))) == there[5]


@every_kind
def test_its_weights_are_drawn_as_if_no_other_size_had_been_tried(kind: str) -> None:
    torch.manual_seed(4)
    wanted = LiquidRNN(KINDS[kind](INPUTS, 5, **options(kind)), 2)
    torch.manual_seed(4)
    found = matched(kind, INPUTS, 2, parameters(wanted), **options(kind))
    for name, value in wanted.state_dict().items():
        assert torch.equal(found.state_dict()[name], value)


def test_what_cannot_be_matched_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"unknown kind of network 'rnn'.*gru, grud, lstm"):
        matched("rnn", INPUTS, 2, 500)
    for wanted in (0, -5, 2.5, True):
        with pytest.raises(ConfigError, match=f"wanted is {wanted}"):
            matched("gru", INPUTS, 2, wanted)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="wanted is 10 parameters; the smallest 'gru'"):
        matched("gru", INPUTS, 2, 10)
