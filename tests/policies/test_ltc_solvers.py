"""Laws of the solvers of liquid time-constant neurons: order, invariant box, identity at dt = 0, gradients."""

from __future__ import annotations

import itertools
import math
import sys
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from torch import Tensor

from liquid_pilot.errors import ConfigError, MissingExtraError
from policies.cells import ltc_solvers
from policies.cells.ltc import LTC, SOLVERS, stable_step_s
from policies.cells.ltc_bounds import fastest_rates, state_box
from policies.cells.ltc_solvers import derivative, sensory_drive
from policies.wirings import NCP

INPUTS, UNITS = 5, 8
WIRING = NCP(INPUTS, 6, 4, 2, 3, 2, 4, 2, rng=0)
EXPLICIT = ("euler", "rk4")


def cell(wired: bool = False, **options: Any) -> LTC:
    made = LTC(INPUTS, wiring=WIRING, **options) if wired else LTC(INPUTS, UNITS, **options)
    return made.double()


def arguments(units: int, batch: int = 4, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand((batch, INPUTS), generator=generator, dtype=torch.float64)
    return x, torch.rand((batch, units), generator=generator, dtype=torch.float64) - 0.5


def shaken(made: LTC, scale: float, seed: int) -> LTC:
    """Weights as far from the first ones as a bad training run could bring them."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype))
    return made


@pytest.mark.parametrize("wired", [False, True])
@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("rk4", 4), ("semi_implicit", 1)])
def test_solvers_converge_with_their_order(solver: str, order: int, wired: bool) -> None:
    x, h = arguments(cell(wired).units)
    dt_s = torch.tensor([0.3, 0.2, 0.1, 0.05], dtype=torch.float64)
    with torch.no_grad():
        exact = cell(wired, solver="rk4", unfolds=1000).step(x, h, dt_s)
        steps = [cell(wired, solver=solver, unfolds=n).step(x, h, dt_s) for n in (32, 64, 128)]
    errors = [float((step - exact).abs().max()) for step in steps]
    for coarse, fine in itertools.pairwise(errors):
        assert abs(math.log2(coarse / fine) - order) < 0.15


def test_semi_implicit_step_is_the_weighted_mean_of_the_paper() -> None:
    made = cell(unfolds=1)
    x, h = arguments(UNITS)
    with torch.no_grad():
        w = made.weights()
        synapse = w["w"] * torch.sigmoid(w["sigma"] * (h[:, :, None] - w["mu"]))
        sensory = w["sensory_w"] * torch.sigmoid(w["sensory_sigma"] * (x[:, :, None] - w["sensory_mu"]))
        cm_t = w["cm"] / 0.07
        above = cm_t * h + w["gleak"] * w["vleak"] + (synapse * w["erev"]).sum(1) + (sensory * w["sensory_erev"]).sum(1)
        expected = above / (cm_t + w["gleak"] + synapse.sum(1) + sensory.sum(1))
        found = made.step(x, h, torch.full((4,), 0.07, dtype=torch.float64))
    assert_allclose(found, expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("solver", SOLVERS)
def test_without_synapses_a_neuron_leaks_exponentially(solver: str) -> None:
    made = cell(solver=solver, unfolds=2000, rtol=1e-8, atol=1e-10)
    with torch.no_grad():
        made.recurrent_mask.zero_()
        made.sensory_mask.zero_()
        w = made.weights()
        x, h = arguments(UNITS)
        found = made.step(x, h, torch.full((4,), 0.5, dtype=torch.float64))
        kept = torch.exp(-0.5 * w["gleak"] / w["cm"])
        expected = w["vleak"] + (h - w["vleak"]) * kept
    assert_allclose(found, expected, atol=1e-7 if solver in ("rk4", "adaptive") else 2e-3)


@given(
    dt_s=st.floats(0.0, 1e30),
    reach=st.floats(0.0, 1e30),
    scale=st.floats(0.0, 30.0),
    seed=st.integers(0, 100),
)
def test_semi_implicit_state_stays_in_its_box(dt_s: float, reach: float, scale: float, seed: int) -> None:
    made = shaken(cell(seed=seed), scale, seed)
    with torch.no_grad():
        low, high = state_box(made.weights())
        x, h = arguments(UNITS, 16, seed)
        h = low + (high - low) * (h + 0.5).round()
        after = made.step(reach * (x - 0.5), h, torch.full((16,), dt_s, dtype=torch.float64))
    slack = 1e-9 * (high - low)
    assert bool(((after >= low - slack) & (after <= high + slack)).all())


@pytest.mark.parametrize("solver", EXPLICIT)
@pytest.mark.parametrize("scale", [0.0, 1.0, 10.0])
def test_explicit_state_stays_in_its_box_up_to_the_stable_step(solver: str, scale: float) -> None:
    for seed in range(10):
        made = shaken(cell(solver=solver, unfolds=2, seed=seed), scale, seed)
        low, high = (bound.detach() for bound in state_box(made.weights()))
        x, h = arguments(UNITS, 32, seed)
        h = low + (high - low) * (h + 0.5).round()
        longest = torch.full((32,), 2 * stable_step_s(made) * (1 - 1e-12), dtype=torch.float64)
        slack = 1e-9 * (high - low)
        with torch.no_grad():
            for _ in range(5):
                h = made.step(10.0 * (x - 0.5), h, longest)
                assert bool(((h >= low - slack) & (h <= high + slack)).all())


@pytest.mark.parametrize("solver", EXPLICIT)
def test_a_step_above_the_stable_one_is_refused_with_the_fix(solver: str) -> None:
    made = cell(solver=solver, unfolds=3, time_unit_s=0.015)
    x, h = arguments(UNITS, 2)
    too_long = torch.tensor([0.0, 3.01 * stable_step_s(made)], dtype=torch.float64)
    with pytest.raises(ConfigError, match=r"stable up to .*give unfolds=4, or solver='semi_implicit'"):
        made.step(x, h, too_long)
    cell(solver=solver, unfolds=4, time_unit_s=0.015).step(x, h, too_long)
    with pytest.raises(ConfigError, match="stable up to"):
        made.sequence(x[:, None], too_long[:, None], h)
    padding = torch.tensor([[True], [False]])
    made.sequence(x[:, None], too_long[:, None], h, padding)  # padding lasts no time, whatever stands there


def test_the_stable_step_bounds_every_eigenvalue() -> None:
    for seed in range(20):
        made = shaken(cell(seed=seed), 1.0, seed)
        weights = {name: value.detach() for name, value in made.weights().items()}
        low, high = state_box(weights)
        x, h = arguments(UNITS, 1, seed)
        h = low + (high - low) * (h + 0.5)
        drive = sensory_drive(weights, x)
        jacobian = torch.func.jacrev(lambda v, w=weights, d=drive: derivative(w, d, v[None])[0])(h[0])
        assert float(torch.linalg.eigvals(jacobian).abs().max()) <= fastest_rates(weights)[1]


def test_solvers_without_a_limit_say_so() -> None:
    assert stable_step_s(cell()) == stable_step_s(cell(solver="adaptive")) == math.inf


@pytest.mark.parametrize("wired", [False, True])
@pytest.mark.parametrize("solver", SOLVERS)
def test_no_elapsed_time_is_the_exact_identity(solver: str, wired: bool) -> None:
    for number in (torch.float32, torch.float64):
        made = cell(wired, solver=solver).to(number)
        x, h = (tensor.to(number) for tensor in arguments(made.units))
        assert torch.equal(made.step(x, h, torch.zeros(4)), h)


@pytest.mark.parametrize("time_unit_s", [1.0, 0.015])
def test_ten_seconds_are_finite_in_value_and_gradient(time_unit_s: float) -> None:
    made = cell(time_unit_s=time_unit_s).float()
    x, h = (tensor.float().requires_grad_() for tensor in arguments(UNITS, 2))
    made.step(x, h, torch.tensor([10.0, 0.0])).sum().backward()
    gradients = [parameter.grad for parameter in made.parameters() if parameter.grad is not None]
    assert all(
        bool(torch.isfinite(gradient).all()) for gradient in [*gradients, x.grad, h.grad] if gradient is not None
    )
    assert len(gradients) == len(made.raw) - 2  # all but the output map


@pytest.mark.parametrize("wired", [False, True])
def test_adaptive_holds_its_tolerance(wired: bool) -> None:
    x, h = arguments(cell(wired).units)
    dt_s = torch.tensor([1.0, 0.3, 0.01, 0.0], dtype=torch.float64)
    with torch.no_grad():
        exact = cell(wired, solver="rk4", unfolds=1000).step(x, h, dt_s)
        for tolerance in (1e-3, 1e-5, 1e-7):
            found = cell(wired, solver="adaptive", rtol=tolerance, atol=tolerance).step(x, h, dt_s)
            assert float((found - exact).abs().max()) < 10 * tolerance  # an error a step, and some steps


@pytest.mark.parametrize("solver", SOLVERS)
def test_elapsed_time_belongs_to_the_row_even_when_batch_equals_units(solver: str) -> None:
    made = cell(solver=solver, unfolds=20, rtol=1e-7, atol=1e-9)
    x, h = arguments(UNITS, UNITS)
    dt_s = torch.linspace(0.0, 0.5, UNITS, dtype=torch.float64)
    with torch.no_grad():
        together = made.step(x, h, dt_s)
        alone = [made.step(x[i : i + 1], h[i : i + 1], dt_s[i : i + 1]) for i in range(UNITS)]
    assert_allclose(together, torch.cat(alone), atol=1e-6 if solver == "adaptive" else 1e-14)


@pytest.mark.parametrize("solver", ["semi_implicit", "euler", "rk4"])
def test_gradients_are_finite_differences(solver: str) -> None:
    made = LTC(2, 3, solver=solver, unfolds=2).double()
    x, h = torch.rand(2, 2, dtype=torch.float64), torch.rand(2, 3, dtype=torch.float64)
    dt_s = torch.tensor([0.05, 0.02], dtype=torch.float64)
    stored = tuple(parameter.detach().clone() for parameter in made.parameters())

    def step(x: Tensor, h: Tensor, dt_s: Tensor, *values: Tensor) -> Tensor:
        names = [name for name, _ in made.named_parameters()]
        called = torch.func.functional_call(made, dict(zip(names, values, strict=True)), (x, h, dt_s))
        assert isinstance(called, Tensor)
        return called

    made.forward = made.step
    leaves = tuple(tensor.requires_grad_() for tensor in (x, h, dt_s, *stored))
    assert torch.autograd.gradcheck(step, leaves)


@pytest.mark.parametrize("lasting_s", [0.1, 2.0])
def test_adjoint_gradients_are_those_of_every_step(lasting_s: float) -> None:
    found = []
    for adjoint in (False, True):
        made = cell(wired=True, solver="adaptive", adjoint=adjoint, rtol=1e-6, atol=1e-8)
        x, h = (tensor.requires_grad_() for tensor in arguments(made.units))
        dt_s = torch.full((4, 1), lasting_s, dtype=torch.float64, requires_grad=True)
        shown, _ = made.sequence(x[:, None], dt_s, h)
        shown.square().sum().backward()
        found.append([leaf.grad for leaf in (x, h, dt_s, *made.parameters())])
    for plain, adjoint_gradient in zip(*found, strict=True):
        assert plain is not None and adjoint_gradient is not None
        assert_allclose(adjoint_gradient, plain, atol=2e-5)


def test_adaptive_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchdiffeq", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'liquid-pilot\[train\]'"):
        cell(solver="adaptive").step(*arguments(UNITS), torch.zeros(4))


def test_adaptive_says_when_it_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ltc_solvers, "MOST_STEPS", 3)
    with pytest.raises(ConfigError, match="larger tolerances, float64"):
        cell(solver="adaptive").step(*arguments(UNITS), torch.ones(4))
