"""Laws of the CfC cells: exact time in the decay form, wired layers, layers of several rates."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from torch import Tensor
from torchdiffeq import odeint

from liquid_pilot.errors import ConfigError, MessageError
from policies.cells.cfc import CfC, CfCLayer
from policies.cells.forms import Decay
from policies.wirings import AutoNCP, Wiring
from scripts.benchmarks.consistency import CELLS, rate_spread

FORMS = ("decay", "default", "no_gate", "pure")
INPUTS = 5
WIRING = AutoNCP(INPUTS, 12, 3)
SLOW = WIRING.multi_rate(trigger=4)


def make(form: str = "decay", wiring: Wiring | None = None, seed: int = 0, **options: Any) -> CfC:
    torch.manual_seed(seed)
    return CfC(INPUTS, None if wiring else 8, wiring=wiring, form=form, **options).double()


def events(batch: int, steps: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, steps, INPUTS, generator=generator, dtype=torch.float64)
    return x, 0.2 * torch.rand(batch, steps, generator=generator, dtype=torch.float64)


def column(dt_s: float, batch: int) -> Tensor:
    return torch.full((batch,), dt_s, dtype=torch.float64)


@pytest.mark.parametrize("wiring", [None, WIRING, SLOW], ids=["dense", "wired", "slow"])
def test_decay_is_the_identity_when_no_time_passes(wiring: Wiring | None) -> None:
    cell = make(wiring=wiring)
    h = torch.rand(4, cell.state_width, dtype=torch.float64)
    x = torch.full((4, INPUTS), 0.4, dtype=torch.float64)
    assert torch.equal(cell.step(x, h, column(0.0, 4)), h)


def test_decay_makes_one_step_of_two_halves_when_rate_and_target_do_not_see_the_state() -> None:
    cell = make(backbone_layers=0)
    with torch.no_grad():
        for linear in layer_of(cell).heads():
            linear.weight[:, INPUTS:] = 0.0
    x, h = torch.randn(6, INPUTS, dtype=torch.float64), torch.rand(6, 8, dtype=torch.float64)
    for dt_s in (0.001, 0.1, 3.0):
        twice = cell.step(x, cell.step(x, h, column(dt_s / 2, 6)), column(dt_s / 2, 6))
        assert_allclose(twice.detach(), cell.step(x, h, column(dt_s, 6)).detach(), atol=1e-12)


def layer_of(cell: CfC) -> CfCLayer:
    layer = cell.layers[0]
    assert isinstance(layer, CfCLayer)
    return layer


@pytest.mark.parametrize("time_unit_s", [1.0, 0.05])
def test_decay_converges_to_its_differential_equation_with_first_order(time_unit_s: float) -> None:
    cell = make(time_unit_s=time_unit_s)
    layer = layer_of(cell)
    x, start = events(3, 1)[0][:, 0], torch.zeros(3, 8, dtype=torch.float64)
    head = layer.head
    assert isinstance(head, Decay)

    def derivative(_: Tensor, h: Tensor) -> Tensor:
        z = layer.backbone(torch.cat([x, h], dim=1))
        return (torch.tanh(head.target(z)) - h) / (head.time_constant(z) * time_unit_s)

    with torch.no_grad():
        span_s = torch.tensor([0.0, 0.5], dtype=torch.float64)
        exact: Any = odeint(derivative, start, span_s, rtol=1e-11, atol=1e-12)[-1]
        errors = []
        for steps in (64, 128, 256, 512):
            h = start
            for _ in range(steps):
                h = cell.advance(x, h, column(0.5 / steps, 3)[:, None])
            errors.append(float((h - exact).norm()))
    orders = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert_allclose(orders, 1.0, atol=0.1)


@given(
    magnitude=st.floats(-300.0, 38.0),
    dt_s=st.floats(0.0, 1e30),
    seed=st.integers(0, 30),
    wiring=st.sampled_from([None, WIRING, SLOW]),
)
@settings(max_examples=60, deadline=None)
def test_decay_state_never_leaves_the_unit_box(magnitude: float, dt_s: float, seed: int, wiring: Wiring | None) -> None:
    cell = make(wiring=wiring, seed=seed).float()
    generator = torch.Generator().manual_seed(seed)
    h = 2.0 * torch.rand(6, cell.state_width, generator=generator).round() - 1.0  # corners of the box
    h[:, cell.units :] = 0.0
    x = 10.0**magnitude * torch.randn(6, INPUTS, generator=generator).clamp(-1.0, 1.0)
    with torch.no_grad():
        after = cell.step(x, h, torch.full((6,), dt_s))[:, : cell.units]
    assert float(after.abs().max()) <= 1.0


def test_decay_depends_on_the_signal_and_published_forms_on_the_rate_it_is_sampled_at() -> None:
    decay, default = CELLS["CfC decay"], CELLS["CfC default (published)"]
    ours, published = (np.stack([rate_spread(make, seed, gain=2.0) for seed in range(4)]) for make in (decay, default))
    assert published.max(axis=1).sum() > 4.0 * ours.max(axis=1).sum()
    assert (ours.max(axis=1) < 0.35).all()
    assert (published.max(axis=1) > 2.0 * ours.max(axis=1)).all()
    assert (ours[:, 1:] < 0.7 * ours[:, :-1]).all()  # the faster it is sampled, the nearer


def test_wired_layers_see_what_the_wiring_says_and_nothing_else() -> None:
    for recurrence in ("full", "wired"):
        for form in FORMS:
            cell = make(form, WIRING, recurrence=recurrence)
            for layer, mask in zip(cell.layers, WIRING.masks(recurrence), strict=True):
                assert isinstance(layer, CfCLayer)
                for linear in layer.heads():
                    assert torch.equal(linear.weight != 0, torch.as_tensor(mask) != 0)
    free, wired = make(wiring=WIRING), make(wiring=WIRING, recurrence="wired")
    assert live(wired) < live(free)


def live(cell: CfC) -> int:
    return sum(int((w != 0).sum()) for layer in cell.layers if isinstance(layer, CfCLayer) for w in layer.weights())


def test_what_is_written_to_a_masked_matrix_stays_masked_after_an_optimiser_step() -> None:
    cell = make(wiring=WIRING)
    optimiser = torch.optim.AdamW(cell.parameters(), lr=0.1, weight_decay=0.1)
    x, dt_s = events(4, 6)
    cell.sequence(x, dt_s, cell.initial_state(4))[0].sum().backward()
    optimiser.step()
    for layer, mask in zip(cell.layers, WIRING.masks(), strict=True):
        assert isinstance(layer, CfCLayer)
        for linear in layer.heads():
            with torch.no_grad():
                linear.weight = torch.full_like(linear.weight, 3.0)
            assert torch.equal(linear.weight.detach(), 3.0 * torch.as_tensor(mask, dtype=torch.float64))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("wiring", [None, WIRING], ids=["dense", "wired"])
def test_weights_are_those_of_the_declared_order_and_carry_their_gradients(form: str, wiring: Wiring | None) -> None:
    from liquid_pilot.cells import weight_shapes

    cell = make(form, wiring)
    for layer in cell.layers:
        assert isinstance(layer, CfCLayer)
        shapes = {name: shape for name, shape in weight_shapes(layer.spec).items() if not name.startswith("readout")}
        assert [tuple(weight.shape) for weight in layer.weights()] == list(shapes.values())
        stored = list(layer.parameters())
        total = sum((weight * weight).sum() for weight in layer.weights())
        assert isinstance(total, Tensor)
        for weight, gradient in zip(stored, torch.autograd.grad(total, stored), strict=True):
            assert_allclose(gradient, 2.0 * weight.detach())


def test_the_leak_of_a_new_pure_cell_is_positive_and_learns() -> None:
    cell = make("pure")
    x, dt_s = events(3, 20)
    cell.sequence(x, dt_s, cell.initial_state(3))[0].square().sum().backward()
    w_tau = cell.get_parameter("layers.0.head.w_tau")
    assert bool((w_tau > 0).all()) and w_tau.grad is not None and bool((w_tau.grad != 0).all())


def test_slow_layers_move_at_triggers_alone_and_by_all_the_time_since() -> None:
    cell, plain = make(wiring=SLOW), make(wiring=WIRING)
    x, dt_s = events(1, 4)
    x[:, :, 4] = torch.tensor([0.0, 0.0, 1.0, 0.0])
    slow = SLOW.slices[1]
    h = torch.rand(1, cell.state_width, dtype=torch.float64)
    h[:, -1] = 0.3
    states = [h]
    for t in range(4):
        states.append(cell.step(x[:, t], states[-1], dt_s[:, t]))
    assert torch.equal(states[2][:, slow], h[:, slow])
    assert_allclose(states[2][:, -1].detach(), 0.3 + dt_s[:, 0] + dt_s[:, 1])
    assert float(states[3][0, -1].detach()) == 0.0
    assert torch.equal(states[4][:, slow], states[3][:, slow])
    inter, command = SLOW.slices[0], plain.layers[1]
    waited_s = (0.3 + dt_s[:, :3].sum(dim=1))[:, None]
    assert_allclose(
        states[3][:, slow].detach(), command(states[3][:, inter], h[:, slow], waited_s).detach(), atol=1e-14
    )


@pytest.mark.parametrize("form", FORMS)
def test_a_trigger_that_is_always_on_makes_a_plain_wired_cell(form: str) -> None:
    cell, plain = make(form, SLOW), make(form, WIRING)
    x, dt_s = events(3, 20)
    x[:, :, 4] = 1.0
    y, last = cell.sequence(x, dt_s, cell.initial_state(3))
    expected, expected_last = plain.sequence(x, dt_s, plain.initial_state(3))
    assert_allclose(y.detach(), expected.detach(), atol=1e-12)
    assert_allclose(last[:, : cell.units].detach(), expected_last.detach(), atol=1e-12)
    assert not last[:, cell.units :].any()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("wiring", [None, WIRING, SLOW], ids=["dense", "wired", "slow"])
def test_layer_by_layer_equals_step_by_step_with_padding_anywhere(form: str, wiring: Wiring | None) -> None:
    cell = make(form, wiring)
    x, dt_s = events(4, 15)
    mask = torch.rand(4, 15, generator=torch.Generator().manual_seed(3)) > 0.3
    h = torch.rand(4, cell.state_width, dtype=torch.float64)
    y, last = cell.sequence(x, dt_s, h, mask)
    shown = []
    for t in range(15):
        h = torch.where(mask[:, t, None], cell.step(x[:, t], h, dt_s[:, t]), h)
        shown.append(cell.read(h))
    assert_allclose(y.detach(), torch.stack(shown, dim=1).detach(), atol=1e-12)
    assert_allclose(last.detach(), h.detach(), atol=1e-12)


def test_gradients_of_a_cell_of_several_rates_are_those_of_finite_differences() -> None:
    cell = make(wiring=SLOW)
    x, dt_s = events(2, 6)
    h = torch.rand(2, cell.state_width, dtype=torch.float64)
    h[:, -1] = 0.05
    mask = torch.tensor([[1, 1, 0, 1, 1, 1], [0, 1, 1, 1, 0, 1]], dtype=torch.bool)
    arguments = [tensor.requires_grad_() for tensor in (x, dt_s + 0.01, h)]
    assert torch.autograd.gradcheck(lambda x, dt_s, h: cell.sequence(x, dt_s, h, mask), arguments)


@pytest.mark.parametrize("time_unit_s", [1e-3, 0.015, 1.0, 3.0, 100.0])
def test_time_constants_start_as_meant_in_every_time_unit(time_unit_s: float) -> None:
    head = layer_of(make(time_unit_s=time_unit_s, backbone_layers=0)).head
    assert isinstance(head, Decay)
    with torch.no_grad():
        head.rate.weight.zero_()
        constants_s = head.time_constant(torch.zeros(1, INPUTS + 8, dtype=torch.float64)) * time_unit_s
    assert_allclose(constants_s[0], torch.logspace(math.log10(0.02), math.log10(3.0), 8), rtol=1e-4)


def test_what_does_not_fit_is_refused_by_name() -> None:
    for options, told in [
        ({"units": 8, "form": "gru"}, "unknown form of CfC 'gru'.*decay"),
        ({"units": 8, "engine": "fast"}, "unknown engine 'fast'.*loop"),
        ({"units": 0}, "units is 0"),
        ({}, "units is None"),
        ({"units": WIRING}, "units is a Wiring; give it by name"),
        ({"units": "8"}, "units is '8'"),
        ({"wiring": WIRING.masks()}, "wiring is a tuple"),
        ({"units": 8, "backbone_layers": -1}, "backbone_layers is -1"),
        ({"units": 8, "recurrence": "wired"}, "without a wiring"),
        ({"units": 11, "wiring": WIRING}, "12 units"),
        ({"wiring": WIRING, "backbone_layers": 1}, "backbone_layers is 1"),
        ({"wiring": WIRING, "recurrence": "some"}, "unknown recurrence 'some'.*full, wired"),
        ({"units": 8, "time_unit_s": 0.0}, "time_unit_s is 0"),
    ]:
        with pytest.raises(ConfigError, match=told):
            CfC(INPUTS, **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="5 inputs"):
        CfC(4, wiring=WIRING)
    with pytest.raises(ConfigError, match=r"mask is \(8, 13\)"):
        CfCLayer(INPUTS, 8, "decay", 0, mask=torch.ones(13, 8))
    cell = make()
    for dt_s in (-0.1, math.nan, math.inf):
        with pytest.raises(MessageError, match="dt_s at"):
            cell.step(torch.zeros(2, INPUTS).double(), cell.initial_state(2), column(dt_s, 2))
    with pytest.raises(MessageError, match="x at"):
        cell.step(torch.full((2, INPUTS), math.nan).double(), cell.initial_state(2), column(0.1, 2))
    with pytest.raises(ConfigError, match=r"int64"):
        cell.step(torch.zeros(2, INPUTS).double(), cell.initial_state(2), torch.ones(2, dtype=torch.int64))
    with pytest.raises(ConfigError, match=r"dt_s \(1,\)"):
        cell.step(torch.zeros(2, INPUTS).double(), cell.initial_state(2), column(0.1, 1))
