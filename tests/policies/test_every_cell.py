"""Laws that every cell keeps. A new cell joins by a line in `cell_cases`."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.func import functional_call

from liquid_pilot.errors import ConfigError, MessageError
from policies import LiquidRNN
from policies.cells.cell import Cell
from tests.policies.cell_cases import CASES, FEATURES, events, every_cell, make, reached
from tests.policies.rnn_cases import same


@every_cell
@pytest.mark.parametrize("fresh", [True, False], ids=["from the start", "from a later state"])
def test_a_sequence_is_step_after_step(name: str, fresh: bool) -> None:
    cell = make(name)
    x, dt_s = events(name, 3, 9)
    h = cell.initial_state(3) if fresh else reached(cell, name, 3)
    mask = torch.rand(3, 9, generator=torch.Generator().manual_seed(3)) > 0.4
    mask[2] = False
    for chosen in (None, mask):
        shown, last = cell.sequence(x, dt_s, h, chosen)
        expected, wanted = Cell.sequence(cell, x, dt_s, h, chosen)
        same(shown, expected)
        same(last, wanted)
        assert shown.shape == (3, 9, cell.outputs) and last.shape == (3, cell.state_width)


@every_cell
@pytest.mark.parametrize("split", [1, 4, 8])
def test_streaming_is_the_sequence_wherever_it_is_split(name: str, split: int) -> None:
    rnn = LiquidRNN(make(name))
    x, dt_s = events(name, 3, 9)
    whole, last = rnn(x, dt_s)
    first, state = rnn(x[:, :split], dt_s[:, :split])
    second, state = rnn(x[:, split:], dt_s[:, split:], state)
    same(torch.cat([first, second], dim=1), whole)
    same(state, last)
    stepped = None
    for t in range(9):
        shown, stepped = rnn.step(x[:, t], dt_s[:, t], stepped)
        same(shown, whole[:, t])
    assert stepped is not None
    same(stepped, last)


@every_cell
def test_rows_do_not_see_each_other_when_batch_events_and_state_have_one_size(name: str) -> None:
    cell = make(name)
    for size in {cell.state_width, cell.outputs, cell.inputs}:
        x, dt_s = events(name, size, size)
        h = reached(cell, name, size)
        order = torch.randperm(size, generator=torch.Generator().manual_seed(4))
        shown, last = cell.sequence(x, dt_s, h)
        permuted, permuted_last = cell.sequence(x[order], dt_s[order], h[order])
        same(permuted, shown[order])
        same(permuted_last, last[order])
        alone, alone_last = cell.sequence(x[:1], dt_s[:1], h[:1])
        same(alone, shown[:1])
        same(alone_last, last[:1])


@every_cell
@given(row=st.lists(st.booleans(), min_size=1, max_size=9), garbage=st.sampled_from([0.0, 7.0, math.nan, -math.inf]))
@settings(max_examples=10)
def test_padding_anywhere_is_as_if_it_were_not_there(name: str, row: list[bool], garbage: float) -> None:
    cell = make(name)
    rnn = LiquidRNN(cell)
    mask = torch.tensor([row, row[::-1]])
    x, dt_s = events(name, 2, len(row))
    h = reached(cell, name, 2)
    y, last = rnn(torch.where(mask[:, :, None], x, garbage), torch.where(mask, dt_s, garbage), h, mask)
    for i in range(2):
        if not any(row):
            same(last[i], h[i])
            same(y[i], cell.read(h[i]).expand(len(row), -1))
            continue
        alone, alone_last = rnn(x[i, mask[i]][None], dt_s[i, mask[i]][None], h[i : i + 1])
        same(y[i, mask[i]], alone[0])
        same(last[i], alone_last[0])


@every_cell
def test_padding_reaches_no_gradient(name: str) -> None:
    mask = torch.tensor([[True, True, False, True], [False, False, False, False]])
    found = []
    for garbage in (0.0, math.nan):
        rnn = LiquidRNN(make(name))
        x, dt_s = events(name, 2, 4)
        h = reached(rnn.cell, name, 2).requires_grad_()
        y, last = rnn(torch.where(mask[:, :, None], x, garbage), torch.where(mask, dt_s, garbage), h, mask)
        (y.square().sum() + last.square().sum()).backward()
        found.append([h.grad, *(parameter.grad for parameter in rnn.parameters())])
    for clean, dirty in zip(*found, strict=True):
        assert clean is not None and dirty is not None
        same(dirty, clean)


@every_cell
def test_single_precision_is_double_precision_rounded(name: str) -> None:
    single, double = make(name, dtype=torch.float32), make(name)
    double.load_state_dict(single.state_dict())
    x, dt_s = events(name, 3, 9)
    h = reached(single.double(), name, 3)
    single = single.float()
    shown, last = single.sequence(x.float(), dt_s.float(), h.float())
    assert shown.dtype == last.dtype == torch.float32
    expected, wanted = double.sequence(x, dt_s, h)
    same(shown.double(), expected, atol=2e-5)
    same(last.double(), wanted, atol=2e-5)


@every_cell
@pytest.mark.parametrize("masked", [False, True])
def test_gradients_are_those_of_finite_differences(name: str, masked: bool) -> None:
    cell = make(name)
    encode = CASES[name].encode
    x, dt_s = events(name, 2, 3)
    mask = torch.tensor([[True, False, True], [True, True, False]]) if masked else None

    def run(features: Tensor, dt_s: Tensor, h: Tensor, *_: Tensor) -> tuple[Tensor, Tensor]:
        return cell.sequence(encode(features), dt_s, h, mask)  # with its weights, which are moved in place

    leaves = [leaf.clone().requires_grad_() for leaf in (x[..., :FEATURES], dt_s, reached(cell, name, 2))]
    # Along random directions: as many runs for a Transformer as for a single neuron.
    assert torch.autograd.gradcheck(run, (*leaves, *cell.parameters()), fast_mode=True, atol=1e-6)


class Shown(torch.nn.Module):
    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor, dt_s: Tensor, h: Tensor, mask: Tensor | None) -> Tensor:
        return self.cell.sequence(x, dt_s, h, mask)[0]


@every_cell
@pytest.mark.parametrize("dt_s", [0.0, 1e-45, 1e4, 1e30, 3e38])
def test_values_and_gradients_are_finite_for_no_time_and_for_ages(name: str, dt_s: float) -> None:
    for dtype in (torch.float32, torch.float64):
        cell = make(name, dtype=dtype)
        x = events(name, 2, 4)[0].to(dtype).requires_grad_()
        elapsed_s = torch.full((2, 4), dt_s, dtype=dtype, requires_grad=True)
        h = cell.initial_state(2).requires_grad_()
        shown, last = cell.sequence(x, elapsed_s, h)
        stepped = h.detach()
        for t in range(4):
            stepped = cell.step(x[:, t].detach(), stepped, elapsed_s[:, t].detach())
        same(stepped, last, atol=1e-4)
        assert bool(torch.isfinite(shown).all() and torch.isfinite(last).all())
        shown.sum().backward()
        for leaf in (x, elapsed_s, h, *cell.parameters()):
            assert leaf.grad is None or bool(torch.isfinite(leaf.grad).all())


@every_cell
def test_every_weight_matters(name: str) -> None:
    cell = make(name)
    x, dt_s = events(name, 4, 9)
    cell.sequence(x, dt_s, reached(cell, name, 4))[0].square().sum().backward()
    for key, parameter in cell.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.any()), key


@every_cell
def test_many_networks_are_as_each_alone(name: str) -> None:
    cells = [make(name, seed) for seed in range(3)]
    weights = {key: torch.stack([cell.get_parameter(key) for cell in cells]) for key, _ in cells[0].named_parameters()}
    x, dt_s = events(name, 2, 5)
    h = reached(cells[0], name, 2)
    skeleton = Shown(copy.deepcopy(cells[0]))

    def run(own: dict[str, Tensor]) -> Tensor:
        shown: Tensor = functional_call(skeleton, {f"cell.{k}": v for k, v in own.items()}, (x, dt_s, h, None))
        return shown

    together = torch.func.vmap(run)(weights)
    same(together, torch.stack([cell.sequence(x, dt_s, h)[0] for cell in cells]))


@every_cell
def test_weights_load_into_their_own_architecture_and_into_no_other(name: str) -> None:
    rnn, twin = LiquidRNN(make(name), 2).double(), LiquidRNN(make(name, seed=1), 2).double()
    assert json.loads(json.dumps(rnn.cell.architecture())) == json.loads(json.dumps(twin.cell.architecture()))
    twin.load_state_dict(rnn.state_dict())
    x, dt_s = events(name, 2, 5)
    same(twin(x, dt_s)[0], rnn(x, dt_s)[0], atol=0.0)
    for other in CASES:
        if other != name:
            with pytest.raises(ConfigError, match="belong to another network"):
                LiquidRNN(make(other), 2).set_extra_state(rnn.get_extra_state())


@every_cell
def test_shapes_that_do_not_fit_are_refused_and_never_broadcast(name: str) -> None:
    cell = make(name)
    rnn, size, width = LiquidRNN(cell), cell.inputs, cell.state_width
    x, dt_s = events(name, size, 1)
    h, x, dt_s = cell.initial_state(size), x[:, 0], dt_s[:, 0]
    wrong: list[tuple[Any, Any, Any]] = [
        (x[:, :-1], h, dt_s),
        (x[:1], h, dt_s),
        (x[0], h, dt_s),
        (x, h[:1], dt_s),
        (x, h[0], dt_s),
        (x, torch.zeros(size, width + 1, dtype=x.dtype), dt_s),
        (x, h, dt_s[:1]),
        (x, h, dt_s[0]),
        (x, h, dt_s[None]),
        (x, h, dt_s[:, None].expand(size, size)),  # batch = inputs
        (x, h, torch.ones(size, dtype=torch.int64)),
        (x[:0], h[:0], dt_s[:0]),
        (x.numpy(), h, dt_s),
        (x, None, dt_s),
        (x, h, 0.1),
        (x.float(), h, dt_s),
        (x, h.float(), dt_s),
    ]
    for given_x, given_h, given_dt_s in wrong:
        with pytest.raises(ConfigError):
            cell.step(given_x, given_h, given_dt_s)
    x, dt_s = events(name, size, size)  # batch = events = inputs
    for wrong_dt_s in (dt_s[0], dt_s[:1], dt_s[:, :1], dt_s[:, :, None]):
        with pytest.raises(ConfigError, match="dt_s is"):
            rnn(x, wrong_dt_s)
    for mask in (torch.ones(size), torch.ones(size, size), torch.ones(size, 1, dtype=torch.bool)):
        with pytest.raises(ConfigError, match="mask is"):
            rnn(x, dt_s, mask=mask)


@every_cell
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_and_time_that_runs_back_are_refused(name: str, bad: float) -> None:
    cell = make(name)
    x, dt_s = events(name, 3, 1)
    h, x, dt_s = cell.initial_state(3), x[:, 0], dt_s[:, 0]
    for label, position in (("x", 0), ("h", 1), ("dt_s", 2)):
        given = [x.clone(), h.clone(), dt_s.clone()]
        given[position][1] = bad
        with pytest.raises(MessageError, match=rf"{label} at \(1"):
            cell.step(*given)
    with pytest.raises(MessageError, match=r"dt_s at \(0"):
        cell.step(x, h, -dt_s)


@every_cell
def test_a_start_is_zeros_of_the_weights_type_and_shown_where_all_is_padding(name: str) -> None:
    for dtype in (torch.float32, torch.float64):
        cell = make(name, dtype=dtype)
        h = cell.initial_state(2)
        assert h.shape == (2, cell.state_width) and h.dtype == dtype
        x, dt_s = (part.to(dtype) for part in events(name, 2, 3))
        shown, last = cell.sequence(x, dt_s, h, torch.zeros(2, 3, dtype=torch.bool))
        assert torch.equal(last, h)
        same(shown, cell.read(h)[:, None].expand(2, 3, -1), atol=1e-6)
