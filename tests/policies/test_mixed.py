"""Mixed memory in both published orders: the public package's numbers, the equations written again, what it keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from ncps.torch import CfC as TheirCfC
from numpy.testing import assert_allclose
from torch import Tensor, nn

from liquid_pilot.errors import ConfigError
from policies import LTC, AutoNCP, CfC, LiquidRNN
from policies.cells.baselines import CTRNN, GRUD, LSTM, MLP, Transformer
from policies.cells.cell import Cell
from policies.cells.mixed import ORDERS, MixedMemory

INPUTS, UNITS, BATCH, STEPS = 5, 6, 3, 7
Array = npt.NDArray[np.float64]


def events() -> tuple[Tensor, Tensor]:
    """x (B, T, inputs), dt_s (B, T)."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(BATCH, STEPS, INPUTS, generator=generator, dtype=torch.float64)
    return x, 2.0 * torch.rand(BATCH, STEPS, generator=generator, dtype=torch.float64)


def public_pair(form: str) -> tuple[MixedMemory, nn.Module, list[tuple[Tensor, Tensor]]]:
    """Our memory and theirs, and the weights that belong together: their gates are [g, i, f, o], and f has a 1 more."""
    torch.manual_seed(0)
    theirs = TheirCfC(INPUTS, UNITS, mode=form, mixed_memory=True, backbone_units=8).double()
    cell = CfC(INPUTS, UNITS, form=form, backbone_units=8)
    ours = MixedMemory(cell, "torch").double()
    their_cell: Any = theirs.rnn_cell
    layer: Any = cell.layers[0]
    heads = ("ff1",) if form == "pure" else ("ff1", "ff2", "time_a", "time_b")
    maps = [(layer.backbone[0], their_cell.backbone[0])]
    maps += [(mine, getattr(their_cell, name)) for mine, name in zip(layer.heads(), heads, strict=True)]
    pairs = [(getattr(mine, part), getattr(other, part)) for mine, other in maps for part in ("weight", "bias")]
    if form == "pure":
        pairs += [(layer.head.w_tau, their_cell.w_tau), (layer.head.a, their_cell.A)]
    with torch.no_grad():
        for mine, other in pairs:
            mine.copy_(other.reshape(mine.shape))
        for mine, other in lstm_pairs(ours, theirs):
            mine.copy_(our_order(other))
        ours.gates.input.bias[UNITS : 2 * UNITS].add_(1.0)
    return ours, theirs, pairs


def lstm_pairs(ours: MixedMemory, theirs: Any) -> list[tuple[Tensor, Tensor]]:
    gates, lstm = ours.gates, theirs.lstm
    return [
        (gates.input.weight, lstm.input_map.weight),
        (gates.input.bias, lstm.input_map.bias),
        (gates.recurrent.weight, lstm.recurrent_map.weight),
    ]


def our_order(rows: Tensor) -> Tensor:
    new, write, keep, show = rows.chunk(4)
    return torch.cat([write, keep, new, show])


@pytest.mark.parametrize("form", ["default", "no_gate", "pure"])
def test_torch_order_has_the_values_and_gradients_of_the_public_package(form: str) -> None:
    ours, theirs, pairs = public_pair(form)
    x, dt_s = events()
    state = torch.randn(BATCH, 2 * UNITS, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    own, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, last = ours.sequence(own, dt_s, state)
    (y.square().sum() + last.sum()).backward()
    wanted = torch.zeros((), dtype=torch.float64)
    for i in range(BATCH):  # row by row, because theirs gives the elapsed times of a batch to neurons
        start = (state[i : i + 1, :UNITS], state[i : i + 1, UNITS:])
        their_y, (their_h, their_c) = theirs(other[i : i + 1], start, dt_s[i : i + 1])
        assert_allclose(y[i].detach(), their_y[0].detach(), atol=1e-11)
        assert_allclose(last[i].detach(), torch.cat([their_h, their_c], dim=1)[0].detach(), atol=1e-11)
        wanted = wanted + their_y.square().sum() + their_h.sum() + their_c.sum()
    wanted.backward()
    assert own.grad is not None and other.grad is not None
    assert_allclose(own.grad, other.grad, atol=1e-9)
    for mine, theirs_too in pairs:
        assert mine.grad is not None and theirs_too.grad is not None
        assert_allclose(mine.grad, theirs_too.grad.reshape(mine.shape), atol=1e-9)
    for mine, theirs_too in lstm_pairs(ours, theirs):
        assert mine.grad is not None and theirs_too.grad is not None
        assert_allclose(mine.grad, our_order(theirs_too.grad), atol=1e-9)


def sigmoid(x: Array) -> Array:
    result: Array = 1.0 / (1.0 + np.exp(-x))
    return result


def tensorflow_order(weights: dict[str, Array], x: Array, h: Array, c: Array, dt: float) -> tuple[Array, Array]:
    """One row of the order "tensorflow" around the published default form, from its equations. Returns h' and c'."""
    z = weights["gates.input.weight"] @ x + weights["gates.input.bias"] + weights["gates.recurrent.weight"] @ h
    write, keep, new, show = np.split(z, 4)
    c = c * sigmoid(keep) + np.tanh(new) * sigmoid(write)
    joined = np.concatenate([np.tanh(c) * sigmoid(show), h])

    def linear(name: str, features: Array) -> Array:
        result: Array = weights[f"cell.layers.0.{name}.weight"] @ features + weights[f"cell.layers.0.{name}.bias"]
        return result

    features = 1.7159 * np.tanh(0.666 * linear("backbone.0", joined))
    gate = sigmoid(linear("head.time_a", features) * dt + linear("head.time_b", features))
    mixed: Array = np.tanh(linear("head.ff1", features)) * (1 - gate) + gate * np.tanh(linear("head.ff2", features))
    return mixed, c


@pytest.mark.parametrize("memory", [UNITS, 4])
def test_tensorflow_order_has_the_values_of_its_equations(memory: int) -> None:
    torch.manual_seed(0)
    made = MixedMemory(CfC(memory, UNITS, form="default", backbone_units=8), "tensorflow", INPUTS).double()
    weights = {name: value.numpy() for name, value in made.state_dict().items()}
    x, dt_s = events()
    state = torch.randn(BATCH, UNITS + memory, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.no_grad():
        y, last = made.sequence(x, dt_s, state)
    for i in range(BATCH):
        h, c = state[i, :UNITS].numpy(), state[i, UNITS:].numpy()
        for t in range(STEPS):
            h, c = tensorflow_order(weights, x[i, t].numpy(), h, c, float(dt_s[i, t]))
            assert_allclose(y[i, t], h, atol=1e-12)
        assert_allclose(last[i], np.concatenate([h, c]), atol=1e-12)


@pytest.mark.parametrize("order", ORDERS)
def test_a_network_takes_the_memory_by_the_name_of_its_order(order: str) -> None:
    cell = CfC(INPUTS, UNITS)
    torch.manual_seed(3)
    rnn = LiquidRNN(cell, mixed_memory=order)
    torch.manual_seed(3)
    wanted = MixedMemory(cell, order)
    x, dt_s = (tensor.float() for tensor in events())
    assert isinstance(rnn.cell, MixedMemory)
    assert torch.equal(rnn(x, dt_s)[0], wanted.sequence(x, dt_s, wanted.initial_state(BATCH))[0])
    assert rnn.initial_state(2).shape == (2, UNITS + (UNITS if order == "torch" else INPUTS))
    other = LiquidRNN(CfC(INPUTS, UNITS), mixed_memory=next(name for name in ORDERS if name != order))
    with pytest.raises(ConfigError, match="belong to another network"):
        other.load_state_dict(rnn.state_dict())


@pytest.mark.parametrize("order", ORDERS)
def test_a_memory_with_open_forget_gates_and_closed_input_gates_keeps_what_it_holds(order: str) -> None:
    made = MixedMemory(LTC(INPUTS, UNITS), order).double()
    memory = made.state_width - UNITS
    with torch.no_grad():
        made.gates.input.bias[:memory] = -60.0
        made.gates.input.bias[memory : 2 * memory] = 60.0
        x, dt_s = events()
        state = made.initial_state(BATCH)
        state[:, UNITS:] = torch.linspace(-2.0, 2.0, memory, dtype=torch.float64)
        _, last = made.sequence(x.repeat(1, 30, 1), dt_s.repeat(1, 30), state)
    assert_allclose(last[:, UNITS:], state[:, UNITS:], atol=1e-12)


def test_a_wired_cell_shows_its_motor_neurons_through_the_memory() -> None:
    wiring = AutoNCP(INPUTS, 10, 2)
    made = MixedMemory(CfC(INPUTS, wiring=wiring)).double()
    x, dt_s = events()
    y, last = made.sequence(x, dt_s, made.initial_state(BATCH))
    assert (y.shape, last.shape) == ((BATCH, STEPS, 2), (BATCH, 20))
    assert torch.equal(y[:, -1], last[:, 8:10])


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: MixedMemory(CfC(INPUTS, UNITS), "keras"), "choose one of: tensorflow, torch"),
        (lambda: LiquidRNN(CfC(INPUTS, UNITS), mixed_memory="lstm"), "choose one of: tensorflow, torch"),
        (lambda: MixedMemory(CfC(INPUTS, UNITS), "torch", INPUTS + 1), "in the order 'torch' both see x"),
        (lambda: MixedMemory(CfC(INPUTS, UNITS), "tensorflow", 0), "inputs is 0"),
        (lambda: MixedMemory(CfC(INPUTS, wiring=AutoNCP(INPUTS, 10, 2).multi_rate(0))), "not neurons alone"),
        (lambda: MixedMemory(MixedMemory(CfC(INPUTS, UNITS))), "of a MixedMemory"),
        (lambda: MixedMemory(nn.Linear(2, 2)), "of a Linear"),  # type: ignore[arg-type]
    ],
)
def test_what_does_not_fit_is_refused(build: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        build()


@pytest.mark.parametrize("cell", [LSTM(INPUTS, UNITS), GRUD(4, UNITS), Transformer(INPUTS), MLP(INPUTS)])
def test_cells_that_hold_more_than_neurons_are_refused(cell: Cell) -> None:
    for order in ORDERS:
        with pytest.raises(ConfigError, match="not neurons alone"):
            MixedMemory(cell, order)
    assert MixedMemory(CTRNN(INPUTS, UNITS)).state_width == 2 * UNITS
