"""Known answers of the rivals of liquid cells: their published equations, written a second time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from torch import Tensor
from torchdiffeq import odeint

from policies.cells.baselines import CTRNN, GRUD, ODERNN, Transformer
from policies.cells.cell import Cell
from tests.policies.rnn_cases import same

Array = npt.NDArray[np.float64]

INPUTS, UNITS = 3, 5


def uniform(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2.0 - 1.0


def solved(slope: Callable[[Tensor, Tensor], Tensor], start: Tensor, duration: float) -> Tensor:
    states = odeint(slope, start, torch.tensor([0.0, duration], dtype=torch.float64), rtol=1e-9, atol=1e-10)
    assert isinstance(states, Tensor)
    return states[-1]


def shaken(cell: Cell, scale: float = 0.3) -> Cell:
    with torch.no_grad():
        for k, parameter in enumerate(cell.parameters()):
            parameter.copy_(parameter.double() + scale * uniform(*parameter.shape, seed=k))
    return cell.double()


@given(dt_s=st.floats(0.0, 50.0), unfolds=st.integers(1, 9), tau=st.floats(0.01, 30.0), unit_s=st.floats(0.01, 2.0))
def test_ct_rnn_with_a_drive_alone_has_the_closed_form_of_its_implicit_steps(
    dt_s: float, unfolds: int, tau: float, unit_s: float
) -> None:
    cell = CTRNN(INPUTS, UNITS, unfolds=unfolds, tau=tau, time_unit_s=unit_s).double()
    with torch.no_grad():
        cell.recurrent.weight.zero_()
        x, v = uniform(2, INPUTS), uniform(2, UNITS, seed=1)
        rest = tau * torch.tanh(cell.input(x))
        left = (1.0 + dt_s / unit_s / unfolds / tau) ** -unfolds
        found = cell.step(x, v, torch.full((2,), dt_s, dtype=torch.float64))
    assert_allclose(found, rest + (v - rest) * left, rtol=1e-5, atol=1e-5 * max(1.0, tau))  # tau is stored in float32


def test_gru_d_has_the_numbers_of_its_published_equations() -> None:
    cell = shaken(GRUD(2 * INPUTS, UNITS, time_unit_s=0.4))
    assert isinstance(cell, GRUD)
    steps = 12
    values, dt_s = uniform(1, steps, INPUTS), 0.5 + 0.5 * uniform(1, steps, seed=1)
    observed = (uniform(1, steps, INPUTS, seed=2) > 0).double()
    shown, _ = cell.sequence(torch.cat([values, observed], dim=2), dt_s, cell.initial_state(1))
    w = {name: parameter.detach().numpy() for name, parameter in cell.named_parameters()}

    def relu(a: Array) -> Array:
        positive: Array = np.maximum(a, 0.0)
        return positive

    def gate(name: str, seen: Array, h: Array) -> Array:
        of_x = w[f"gates.{name}_x.weight"] @ seen + w[f"gates.{name}_x.bias"]
        opened: Array = 1.0 / (1.0 + np.exp(-of_x - w[f"gates.{name}_h.weight"] @ h - w[f"gates.{name}_h.bias"]))
        return opened

    h, last, delta, m_before = np.zeros(UNITS), w["mean"].copy(), np.zeros(INPUTS), np.ones(INPUTS)
    for t in range(steps):
        value, m = values[0, t].numpy(), observed[0, t].numpy()
        delta = float(dt_s[0, t]) / 0.4 + (1.0 - m_before) * delta  # Che et al., equation 4
        decay_x = np.exp(-relu(w["value_rate"] * delta + w["value_bias"]))
        decay_h = np.exp(-relu(w["state_rate.weight"] @ delta + w["state_rate.bias"]))
        seen = np.concatenate([m * value + (1 - m) * (decay_x * last + (1 - decay_x) * w["mean"]), m])
        h = decay_h * h
        reset, update = gate("reset", seen, h), gate("update", seen, h)
        of_h = w["gates.new_h.weight"] @ h + w["gates.new_h.bias"]
        new = np.tanh(w["gates.new_x.weight"] @ seen + w["gates.new_x.bias"] + reset * of_h)
        h = (1.0 - update) * new + update * h
        last, m_before = np.where(m > 0, value, last), m
        assert_allclose(shown[0, t].detach().numpy(), h, atol=1e-12)


def test_every_decay_of_a_new_gru_d_begins_with_time_and_can_be_learned() -> None:
    torch.manual_seed(0)
    cell = GRUD(2 * INPUTS, UNITS).double()
    values, unseen = uniform(4, 1, INPUTS), torch.zeros(4, 1, INPUTS, dtype=torch.float64)
    x = torch.cat([torch.cat([values, unseen + 1.0], dim=2), torch.cat([values, unseen], dim=2)], dim=1)
    cell.sequence(x, torch.ones(4, 2, dtype=torch.float64), cell.initial_state(4))[0].square().sum().backward()
    for parameter in (cell.state_rate.weight, cell.state_rate.bias, cell.value_rate, cell.value_bias):
        assert parameter.grad is not None and bool((parameter.grad != 0).all())
    same(torch.relu(cell.state_rate(torch.zeros(1, INPUTS, dtype=torch.float64))), torch.zeros(1, UNITS).double())


def test_ode_rnn_drifts_as_a_solver_integrates_its_equation() -> None:
    cell = shaken(ODERNN(INPUTS, UNITS, 7, unfolds=40, time_unit_s=0.5))
    assert isinstance(cell, ODERNN)
    h, dt_s = uniform(2, UNITS), torch.full((2, 1), 0.9, dtype=torch.float64)
    with torch.no_grad():
        exact = solved(lambda _, state: cell.slope(state), h, 1.8)
        same(cell.drift(h, dt_s), exact, atol=1e-7)


def test_an_age_counts_from_the_event_that_asks_and_an_empty_slot_counts_for_nothing() -> None:
    cell, roomy = Transformer(INPUTS, 8, 2, 2, context=6), Transformer(INPUTS, 8, 2, 2, context=11)
    roomy.load_state_dict(shaken(cell).state_dict())
    x, dt_s = uniform(2, 6, INPUTS), 0.5 + 0.4 * uniform(2, 6, seed=1)
    shown, _ = cell.sequence(x, dt_s, cell.initial_state(2))
    same(roomy.double().sequence(x, dt_s, roomy.initial_state(2))[0], shown)
    later = dt_s.clone()
    later[:, 0] += 1e3
    same(cell.sequence(x, later, cell.initial_state(2))[0], shown)
    later[:, 4] += 0.1
    moved = cell.sequence(x, later, cell.initial_state(2))[0]
    same(moved[:, :4], shown[:, :4])
    assert bool(((moved - shown)[:, 4:].abs().amax(dim=2) > 1e-4).all())
