"""LSTM and GRU are those of torch, with elapsed time as an input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor, nn
from torch.func import functional_call

from liquid_pilot.errors import ConfigError
from policies.cells.cell import Cell
from policies.cells.gated import GRU, LSTM

INPUTS, UNITS, STEPS = 4, 6, 9
KINDS: dict[str, Any] = {"lstm": LSTM, "gru": GRU}
every_kind = pytest.mark.parametrize("kind", KINDS)
Gated = LSTM | GRU


def make(kind: str, seed: int = 0, **options: Any) -> Gated:
    torch.manual_seed(seed)
    cell: Gated = KINDS[kind](INPUTS, UNITS, **options).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return cell


def events(batch: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, STEPS, INPUTS, generator=generator, dtype=torch.float64)
    dt_s = 0.2 * torch.rand(batch, STEPS, generator=generator, dtype=torch.float64)
    return x, dt_s


def start(cell: Cell, batch: int) -> Tensor:
    return torch.rand(batch, cell.state_width, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def their_weights(cell: Gated) -> dict[str, Tensor]:
    """Of `torch.nn.LSTM` and `torch.nn.GRU`, differentiable in ours."""
    if isinstance(cell, LSTM):
        own = cell.gates
        tensors = [own.input.weight, own.recurrent.weight, own.input.bias, torch.zeros_like(own.input.bias)]
    else:
        gates = cell.gates
        of_x, of_h = (gates.reset_x, gates.update_x, gates.new_x), (gates.reset_h, gates.update_h, gates.new_h)
        tensors = [torch.cat([linear.weight for linear in maps]) for maps in (of_x, of_h)]
        tensors += [torch.cat([linear.bias for linear in maps]) for maps in (of_x, of_h)]
    return dict(zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), tensors, strict=True))


def by_torch(cell: Gated, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs and last state by `torch.nn.LSTMCell` and `torch.nn.GRUCell`."""
    theirs = (nn.LSTMCell if isinstance(cell, LSTM) else nn.GRUCell)(x.shape[2], UNITS, dtype=x.dtype)
    weights, shown = their_weights(cell), []
    for t in range(x.shape[1]):
        state: Any = h.chunk(2, dim=1) if isinstance(cell, LSTM) else h
        following = functional_call(theirs, weights, (x[:, t], state))
        h = torch.cat(following, dim=1) if isinstance(cell, LSTM) else following
        shown.append(h[:, :UNITS])
    return torch.stack(shown, dim=1), h


def gradients(result: tuple[Tensor, Tensor], of: list[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(result[0].square().sum() + result[1].pow(3).sum(), of))


@every_kind
@pytest.mark.parametrize("time_input", [True, False])
def test_values_and_gradients_are_those_of_torch(kind: str, time_input: bool) -> None:
    cell = make(kind, time_input=time_input, time_unit_s=0.05)
    x, dt_s = events(5)
    x.requires_grad_()
    h = start(cell, 5).requires_grad_()
    features = torch.cat([x, torch.log(1.0 + dt_s / 0.05)[:, :, None]], dim=2) if time_input else x
    found, wanted = cell.sequence(x, dt_s, h), by_torch(cell, features, h)
    of = [x, h, *cell.parameters()]
    for mine, theirs in zip([*found, *gradients(found, of)], [*wanted, *gradients(wanted, of)], strict=True):
        assert_allclose(mine.detach(), theirs.detach(), atol=1e-12)


@every_kind
def test_elapsed_time_counts_in_time_units_or_not_at_all(kind: str) -> None:
    x, dt_s = events(3)
    slow, fast, blind = make(kind), make(kind, time_unit_s=0.01), make(kind, time_input=False)
    h = start(slow, 3)
    assert_allclose(fast.sequence(x, 0.01 * dt_s, h)[1].detach(), slow.sequence(x, dt_s, h)[1].detach(), atol=1e-12)
    assert float((slow.sequence(x, 5.0 * dt_s, h)[1] - slow.sequence(x, dt_s, h)[1]).detach().abs().max()) > 1e-3
    assert torch.equal(blind.sequence(x, 5.0 * dt_s, h)[1], blind.sequence(x, dt_s, h)[1])
    assert len({str(sorted(cell.architecture().items())) for cell in (slow, fast, blind)}) == 3


def test_a_new_lstm_keeps_what_it_has() -> None:
    cell = LSTM(INPUTS, UNITS, time_input=False).double()
    c = torch.ones(1, UNITS, dtype=torch.float64)
    h = torch.cat([torch.zeros_like(c), c], dim=1)
    after = cell.step(torch.zeros(1, INPUTS, dtype=torch.float64), h, torch.zeros(1, dtype=torch.float64))
    assert_allclose(after[:, UNITS:].detach(), torch.sigmoid(c), rtol=1e-12)


@every_kind
def test_arguments_that_do_not_fit_are_refused(kind: str) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"inputs": 0}, "inputs is 0"),
        ({"units": -1}, "units is -1"),
        ({"units": "6"}, "units is '6'"),
        ({"units": 6.0}, "units is 6.0"),
        ({"time_unit_s": 0.0}, "time_unit_s is 0"),
        ({"time_unit_s": float("nan")}, "time_unit_s is nan"),
        ({"time_input": "yes"}, "time_input is 'yes'"),
    ]
    for options, told in cases:
        arguments = {"inputs": INPUTS, "units": UNITS, **options}
        with pytest.raises(ConfigError, match=told):
            KINDS[kind](**arguments)
