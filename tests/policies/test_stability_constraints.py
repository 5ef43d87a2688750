"""Spectral bounds and clipped time constants: they hold for any weights, and change no more than they must."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call
from torch.testing import assert_close

from liquid_pilot.errors import ConfigError
from policies.cells.cell import Cell
from policies.cells.cfc import CfC
from policies.cells.ltc import LTC
from policies.cells.ltc_solvers import membrane, sensory_drive
from policies.stability.box import box
from policies.stability.layers import cfc_layers, linear_maps
from policies.stability.spectral import constrain_spectral, fold
from policies.stability.time_constants import clip_time_constants, time_constant_interval
from tests.policies.stable_cells import (
    FORMS,
    INPUTS,
    KINDS,
    UNIT_S,
    UNITS,
    cell,
    one_neuron,
    samples,
    wiring,
)


def all_maps(made: CfC) -> list[nn.Linear]:
    return [linear for layer in cfc_layers(made) for linear in linear_maps(layer)]


@settings(max_examples=20)
@given(scale=st.floats(0.0, 1e4), bound=st.floats(0.01, 10.0), form=st.sampled_from(FORMS))
def test_spectral_bound_holds_for_any_weights(scale: float, bound: float, form: str) -> None:
    for kind in KINDS:
        made = cell(form, kind).float()
        constrain_spectral(made, bound)
        with torch.no_grad():
            for parameter in made.parameters():
                parameter.mul_(scale)
        for linear in all_maps(made):
            weight = linear.weight.detach().double()
            assert float(torch.linalg.matrix_norm(weight, ord=2)) <= bound


def test_spectral_bound_leaves_small_matrices_alone_and_scales_large_ones() -> None:
    made = cell("decay", "dense")
    before = [linear.weight.detach().clone() for linear in all_maps(made)]
    norms = [float(torch.linalg.matrix_norm(weight, ord=2)) for weight in before]
    bound = sorted(norms)[1] * 1.01
    constrain_spectral(made, bound)
    for linear, weight, norm in zip(all_maps(made), before, norms, strict=True):
        assert_close(linear.weight, weight * min(1.0, bound / norm), rtol=1e-12, atol=0.0)


@pytest.mark.parametrize("kind", ["dense", "wired"])
def test_spectral_bound_survives_training_and_folds_into_plain_weights(kind: str) -> None:
    made = cell("decay", kind, scale=3.0)
    masked = [linear.weight == 0 for linear in all_maps(made)]
    parameters = {id(parameter) for parameter in made.parameters()}
    constrain_spectral(made, 0.8)
    assert parameters == {id(parameter) for parameter in made.parameters()}
    optimiser = torch.optim.Adam(made.parameters(), lr=0.1)
    x, h, dt_s = samples(box(made, 1.0, 0.01, 0.02), 8, 0)
    for _ in range(3):
        optimiser.zero_grad()
        (-made.step(x, h, dt_s).square().sum()).backward()
        optimiser.step()
    before = made.step(x, h, dt_s)
    fold(made)
    assert_close(made.step(x, h, dt_s), before, rtol=0.0, atol=1e-15)
    assert parameters == {id(parameter) for parameter in made.parameters()}
    for linear, zero in zip(all_maps(made), masked, strict=True):
        assert float(torch.linalg.matrix_norm(linear.weight.detach(), ord=2)) <= 0.8
        assert torch.equal(linear.weight == 0, zero)
    assert sorted(made.state_dict()) == sorted(cell("decay", kind).state_dict())
    constrain_spectral(made, 0.5)  # folded, so a new bound is allowed


@pytest.mark.parametrize("kind", ["dense", "wired"])
def test_folding_a_copy_leaves_the_original_bounded(kind: str) -> None:
    made = cell("decay", kind, scale=3.0)
    constrain_spectral(made, 0.5)
    points = samples(box(made, 1.0, 0.01, 0.02), 4, 0)
    before, copied = made.step(*points), copy.deepcopy(made)
    fold(copied)
    assert torch.equal(made.step(*points), before)
    assert_close(copied.step(*points), before, rtol=0.0, atol=1e-15)
    with torch.no_grad():
        for parameter in (*made.parameters(), *copied.parameters()):
            parameter.mul_(10.0)
    bounded, free = (
        [float(torch.linalg.matrix_norm(linear.weight.detach(), ord=2)) for linear in all_maps(one)]
        for one in (made, copied)
    )
    assert max(bounded) <= 0.5 < max(free)


class Stepped(nn.Module):
    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor, h: Tensor, dt_s: Tensor) -> Tensor:
        return self.cell.step(x, h, dt_s)


def test_constrained_cells_work_as_functions_of_their_parameters() -> None:
    made = cell("decay", "dense", scale=3.0)
    constrain_spectral(made, 0.5)
    points = samples(box(made, 1.0, 0.01, 0.02), 4, 0)
    parameters = dict(made.named_parameters())
    wrapped = Stepped(made)
    called = functional_call(wrapped, {f"cell.{name}": p for name, p in parameters.items()}, points)
    assert torch.equal(called, made.step(*points))


def test_time_constants_of_one_neuron_are_known() -> None:
    made = one_neuron(rate_x=0.5, rate_h=-0.25, rate_bias=0.1)
    fastest_s, slowest_s = time_constant_interval(made, 2.0)
    assert float(fastest_s) == pytest.approx(UNIT_S / math.log1p(math.exp(0.1 + 1.25)), rel=1e-9)
    assert float(slowest_s) == pytest.approx(UNIT_S / math.log1p(math.exp(0.1 - 1.25)), rel=1e-9)


def seen_time_constants(made: CfC, x: Tensor, h: Tensor) -> Tensor:
    """Seconds, (B, units), of a step from (x, h): read off how much of the old state remains."""
    dt_s = torch.full((len(x), 1), 1e-3, dtype=torch.float64)
    found, value, start = [], x, 0
    for layer in cfc_layers(made):
        own = h[:, start : start + layer.units]
        z = torch.cat([value, own], dim=1)
        for linear in linear_maps(layer)[: len(layer.backbone)]:
            z = 1.7159 * torch.tanh(0.666 * linear(z))
        found.append(UNIT_S / nn.functional.softplus(layer.heads()[1](z)))
        value, start = layer(value, own, dt_s), start + layer.units
    return torch.cat(found, dim=1)


@settings(max_examples=20)
@given(
    kind=st.sampled_from(KINDS), seed=st.integers(0, 100), scale=st.sampled_from([0.5, 3.0, 20.0]), x=st.floats(0, 9)
)
def test_time_constants_stay_in_their_interval_and_clipping_moves_it(
    kind: str, seed: int, scale: float, x: float
) -> None:
    made = cell("decay", kind, seed, scale)
    for fastest_limit_s, slowest_limit_s in ((0.0, math.inf), (0.03, 1.0)):
        if fastest_limit_s:
            clip_time_constants(made, fastest_limit_s, slowest_limit_s, x)
        fastest_s, slowest_s = time_constant_interval(made, x)
        assert float(fastest_s.min()) >= fastest_limit_s and float(slowest_s.max()) <= slowest_limit_s
        values, states, _ = samples(box(made, x, 0.0, 0.1), 100, seed)
        seen = seen_time_constants(made, values, states)
        assert bool((seen >= fastest_s * (1 - 1e-8)).all()) and bool((seen <= slowest_s * (1 + 1e-8)).all())


@pytest.mark.parametrize("number", [torch.float32, torch.float64])
@pytest.mark.parametrize("constrained", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_clipping_again_changes_nothing(kind: str, constrained: bool, number: torch.dtype) -> None:
    made = cell("decay", kind, scale=5.0).to(number)
    if constrained:
        constrain_spectral(made, 2.0)
    zeros = [linear.weight == 0 for linear in all_maps(made)]
    clip_time_constants(made, 0.03, 0.5, 2.0)
    fastest_s, slowest_s = time_constant_interval(made, 2.0)
    assert float(fastest_s.min()) >= 0.03 and float(slowest_s.max()) <= 0.5
    once = copy.deepcopy(made.state_dict())
    clip_time_constants(made, 0.03, 0.5, 2.0)
    assert all(torch.equal(once[name], value) for name, value in made.state_dict().items())
    assert all(torch.equal(linear.weight == 0, zero) for linear, zero in zip(all_maps(made), zeros, strict=True))


def test_clipping_touches_rates_alone_and_only_rows_that_do_not_fit() -> None:
    made = cell("decay", "bare")
    fastest_s, slowest_s = time_constant_interval(made, 1.0)
    before = copy.deepcopy(made.state_dict())
    limit_s = float(slowest_s.sort().values[-2:].mean())  # between the slowest neuron and the next
    clip_time_constants(made, float(fastest_s.min()) * 0.9, limit_s, 1.0)
    rows = torch.zeros(UNITS, dtype=torch.bool)
    rows[int(slowest_s.argmax())] = True
    for name, value in made.state_dict().items():
        changed = (value != before[name]).reshape(UNITS, -1).any(dim=1)
        assert torch.equal(changed, rows if name.endswith("rate.bias") else rows & changed & ("rate" in name))


def test_time_constants_of_ltc_hold_and_are_reached() -> None:
    made = LTC(INPUTS, UNITS, time_unit_s=UNIT_S).double()
    fastest_s, slowest_s = time_constant_interval(made, 1.0)
    x, h, _ = samples(box(made, 1.0, 0.0, 0.1), 4000, 0)
    drive = sensory_drive(made.weights(), x)
    conductance, _ = membrane(made.weights(), drive, h)
    seen = UNIT_S * made.weights()["cm"] / conductance
    assert bool((seen >= fastest_s * (1 - 1e-9)).all()) and bool((seen <= slowest_s * (1 + 1e-9)).all())
    ones = torch.ones(1, INPUTS + UNITS, dtype=torch.float64)  # sigma is positive: all inputs high, all synapses open
    for sign, expected in ((1.0, fastest_s), (-1.0, slowest_s)):
        drive = sensory_drive(made.weights(), sign * ones[:, :INPUTS])
        conductance, _ = membrane(made.weights(), drive, sign * ones[:, INPUTS:])
        assert_close(UNIT_S * made.weights()["cm"] / conductance[0], expected, rtol=1e-9, atol=0.0)


def test_time_constants_of_slow_layers_are_those_of_the_same_wiring_without_them() -> None:
    plain = cell("decay", "wired", scale=2.0)
    slow = CfC(INPUTS, wiring=wiring().multi_rate(0), time_unit_s=UNIT_S).double()
    slow.load_state_dict(plain.state_dict())
    for a, b in zip(time_constant_interval(slow, 1.0), time_constant_interval(plain, 1.0), strict=True):
        assert torch.equal(a, b)


def test_bad_constraints_are_refused_with_what_was_found() -> None:
    made = cell("decay", "dense")
    for times in ((0.5, 0.1), (0.0, 0.1), (0.1, 0.1), (0.1, math.nan)):
        with pytest.raises(ConfigError, match="fastest_s < slowest_s"):
            clip_time_constants(made, *times, 1.0)
    with pytest.raises(ConfigError, match="'pure' have no time constants"):
        time_constant_interval(cell("pure", "bare"), 1.0)
    with pytest.raises(ConfigError, match="this needs a CfC and got a Cell"):
        constrain_spectral(Cell(2, 3))
    for bound in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ConfigError, match="bound is"):
            constrain_spectral(made, bound)
    constrain_spectral(made)
    with pytest.raises(ConfigError, match="fold"):
        constrain_spectral(made)
