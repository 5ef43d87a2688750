"""Laws of the LTC cell: the public package's numbers, positivity, wiring, sequences, memory."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from ncps.torch.ltc_cell import LTCCell
from ncps.wirings import Wiring as TheirWiring
from numpy.testing import assert_allclose
from torch import Tensor
from torch.utils._pytree import tree_map

from liquid_pilot.errors import ConfigError, MessageError
from policies.cells.cell import Cell
from policies.cells.ltc import LTC, SOLVERS
from policies.cells.positive import POSITIVE_FLOOR
from policies.rnn import LiquidRNN
from policies.wirings import NCP

INPUTS, UNITS = 5, 8
WIRING = NCP(INPUTS, 6, 4, 2, 3, 2, 4, 2, rng=0)
POSITIVE = ("gleak", "cm", "w", "sensory_w")


def cell(wired: bool = False, **options: Any) -> LTC:
    made = LTC(INPUTS, wiring=WIRING, **options) if wired else LTC(INPUTS, UNITS, **options)
    return made.double()


def events(units: int, batch: int = 3, count: int = 7, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """x (B, T, inputs), dt_s (B, T), h (B, units)."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64)

    return uniform(batch, count, INPUTS), 0.1 * uniform(batch, count), uniform(batch, units) - 0.5


def their_order(ours: LTC) -> list[int]:
    """Our numbers of their neurons: they begin with the motor neurons."""
    layers = (slice(0, ours.units),) if ours.wiring is None else ours.wiring.slices
    return [neuron for layer in reversed(layers) for neuron in range(layer.start, layer.stop)]


def public_twin(ours: LTC) -> LTCCell:
    """The public package's cell with our weights, and affine maps that are not the identity."""
    order = their_order(ours)
    with torch.no_grad():
        for kind in ("input", "output"):
            ours.raw[f"{kind}_w"].copy_(torch.linspace(0.5, 1.5, len(ours.raw[f"{kind}_w"])))
            ours.raw[f"{kind}_b"].copy_(torch.linspace(-0.2, 0.2, len(ours.raw[f"{kind}_b"])))
    wiring = TheirWiring(ours.units)
    wiring.set_output_dim(ours.outputs)
    wiring.build(ours.inputs)
    wiring.adjacency_matrix = ours.recurrent_mask[order][:, order].numpy().astype(np.int32)
    wiring.sensory_adjacency_matrix = ours.sensory_mask[:, order].numpy().astype(np.int32)
    theirs = LTCCell(wiring, ode_unfolds=ours.unfolds).double()
    with torch.no_grad():
        for name, value in ours.weights().items():
            theirs.get_parameter(name).copy_(in_their_order(name, value, order))
    return theirs


def in_their_order(name: str, value: Tensor, order: list[int]) -> Tensor:
    if name.startswith(("input", "output")):
        return value
    value = value[..., order]
    return value[order] if name in ("w", "mu", "sigma", "erev") else value


@pytest.mark.parametrize("wired", [False, True])
@pytest.mark.parametrize("batch", [1, 4])
def test_values_and_gradients_are_those_of_the_public_package(wired: bool, batch: int) -> None:
    ours = cell(wired)
    theirs, order = public_twin(ours), their_order(ours)
    x, _, h = events(ours.units, batch, 5)
    own = [tensor.clone().requires_grad_() for tensor in (x, h)]
    other = [tensor.clone().requires_grad_() for tensor in (x, h)]
    elapsed_s = (1.0, 0.1, 0.02, 3.0, 0.5)
    mine, _ = ours.sequence(own[0], torch.tensor([elapsed_s] * batch, dtype=torch.float64), own[1])
    mine.square().sum().backward()
    state, shown = other[1][:, order], []
    for t, lasting_s in enumerate(elapsed_s):
        output, state = theirs(other[0][:, t], state, lasting_s)
        shown.append(output)
    expected = torch.stack(shown, dim=1)
    expected.square().sum().backward()
    assert_allclose(mine.detach(), expected.detach(), atol=1e-6)
    for found, wanted in zip(own, other, strict=True):
        assert found.grad is not None and wanted.grad is not None
        assert_allclose(found.grad, wanted.grad, atol=1e-6)
    for name, raw in ours.raw.items():
        expected_grad = theirs.get_parameter(name).grad
        assert expected_grad is not None and raw.grad is not None
        slope = torch.sigmoid(raw.detach()) if name in POSITIVE else torch.ones_like(raw)  # of softplus
        expected_grad = expected_grad * in_their_order(name, slope, order)
        assert_allclose(in_their_order(name, raw.grad, order), expected_grad, atol=1e-6, err_msg=name)


def test_weights_begin_in_the_published_ranges_with_the_polarities_of_the_wiring() -> None:
    made = LTC(INPUTS, wiring=WIRING)
    ranges = {"gleak": (0.001, 1), "vleak": (-0.2, 0.2), "cm": (0.4, 0.6), "mu": (0.3, 0.8), "sigma": (3, 8)}
    weights = made.weights()
    for name, (low, high) in ranges.items():
        value = weights[name].detach()
        assert low - 1e-6 <= float(value.min()) < float(value.max()) <= high + 1e-6
    assert (weights["erev"].detach().numpy() == WIRING.recurrent).all()
    assert (weights["sensory_erev"].detach().numpy() == WIRING.sensory).all()
    assert int((weights["w"] > 0).sum()) == WIRING.synapses
    assert int((weights["sensory_w"] > 0).sum()) == WIRING.sensory_synapses


def test_a_seed_is_a_cell() -> None:
    first, same, other = (LTC(INPUTS, UNITS, seed=seed).weights() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in ("gleak", "w", "erev", "sensory_erev"))


def test_conductances_stay_positive_after_any_optimiser_step() -> None:
    made = cell(wired=True)
    optimiser = torch.optim.SGD(made.parameters(), lr=1e6)
    x, dt_s, h = events(made.units)
    for sign in (1.0, -1.0, 1.0):
        optimiser.zero_grad()
        shown, _ = made.sequence(x, dt_s, h)
        (sign * shown.sum()).backward()
        optimiser.step()
        weights = {name: value.detach() for name, value in made.weights().items()}
        assert all(float(weights[name].min()) >= POSITIVE_FLOOR for name in ("gleak", "cm"))
        assert float(weights["w"][made.recurrent_mask > 0].min()) >= POSITIVE_FLOOR
        assert float(weights["sensory_w"][made.sensory_mask > 0].min()) >= POSITIVE_FLOOR
        assert bool(torch.isfinite(made.sequence(x, dt_s, h)[0]).all())


def test_what_no_synapse_joins_has_no_effect() -> None:
    made = cell(wired=True)
    x, dt_s, h = events(made.units)
    before, _ = made.sequence(x, dt_s, h)
    before.sum().backward()
    with torch.no_grad():
        for kind, mask in (("", made.recurrent_mask), ("sensory_", made.sensory_mask)):
            for name in ("w", "mu", "sigma", "erev"):
                raw = made.raw[f"{kind}{name}"]
                assert raw.grad is not None and not raw.grad[mask == 0].any()
                raw[mask == 0] = 3.0
    assert torch.equal(made.sequence(x, dt_s, h)[0], before)


@pytest.mark.parametrize("solver", SOLVERS)
def test_sequence_is_step_after_step_and_padding_is_kept_out(solver: str) -> None:
    made = cell(wired=True, solver=solver, unfolds=8)
    x, dt_s, h = events(made.units)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1, 1], [0, 1, 0, 0, 1, 1, 0], [1, 1, 1, 0, 0, 0, 0]], dtype=torch.bool)
    with torch.no_grad():
        for chosen in (None, mask):
            expected, wanted = Cell.sequence(made, x, dt_s, h, chosen)
            shown, last = made.sequence(x, dt_s, h, chosen)
            assert_allclose(shown, expected, atol=1e-6 if solver == "adaptive" else 1e-15)
            assert_allclose(last, wanted, atol=1e-6 if solver == "adaptive" else 1e-15)


def test_what_stands_in_the_padding_reaches_neither_values_nor_gradients() -> None:
    mask = torch.tensor([[True, True, False], [False, True, True]])
    found = []
    for filling in (0.0, float("nan")):
        made = cell()
        x, dt_s, h = events(UNITS, 2, 3)
        x, dt_s = torch.where(mask[:, :, None], x, filling), torch.where(mask, dt_s, filling)
        shown, last = made.sequence(x, dt_s, h.requires_grad_(), mask)
        (shown.sum() + last.sum()).backward()
        found.append([shown.detach(), last.detach(), h.grad, *(parameter.grad for parameter in made.parameters())])
    for zeros, nans in zip(*found, strict=True):
        assert zeros is not None and nans is not None and torch.equal(zeros, nans)


@pytest.mark.parametrize("every", [1, 3, 100, "sqrt"])
def test_checkpoints_change_no_number(every: int | str) -> None:
    found = []
    for checkpoint_every in (None, every):
        made = cell(wired=True, checkpoint_every=checkpoint_every)
        x, dt_s, h = events(made.units)
        mask = torch.ones(3, 7, dtype=torch.bool)
        mask[1, 4:] = False
        x, h, dt_s = x.requires_grad_(), h.requires_grad_(), dt_s.requires_grad_()
        shown, last = made.sequence(x, dt_s, h, mask)
        (shown.square().sum() + last.sum()).backward()
        found.append([shown.detach(), x.grad, h.grad, dt_s.grad, *(parameter.grad for parameter in made.parameters())])
    for plain, checkpointed in zip(*found, strict=True):
        assert plain is not None and checkpointed is not None
        assert_allclose(checkpointed, plain, atol=1e-14)


def test_one_cell_of_many_weights_at_once() -> None:
    cells = [cell(seed=seed, solver="euler") for seed in range(3)]
    stacked = tree_map(lambda *values: torch.stack(values), *(dict(made.named_parameters()) for made in cells))
    skeleton = Stepped(copy.deepcopy(cells[0]))
    x, dt_s, h = events(UNITS, 3, 1)

    def step(weights: dict[str, Tensor]) -> Tensor:
        named = {f"cell.{name}": value for name, value in weights.items()}
        called = torch.func.functional_call(skeleton, named, (x[:, 0], h, dt_s[:, 0]))
        assert isinstance(called, Tensor)
        return called

    together = torch.func.vmap(step)(stacked)
    alone = torch.stack([made.step(x[:, 0], h, dt_s[:, 0]) for made in cells])
    # The polarities without a wiring are weights, so that nothing of a cell stays behind.
    assert_allclose(together.detach(), alone.detach(), atol=1e-14)


class Stepped(torch.nn.Module):
    def __init__(self, cell: LTC) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor, h: Tensor, dt_s: Tensor) -> Tensor:
        return self.cell.step(x, h, dt_s)


def test_stored_weights_make_the_same_cell() -> None:
    first, second = cell(wired=True, seed=1), cell(wired=True, seed=2, engine="loop")
    assert first.architecture() == second.architecture()
    second.load_state_dict(first.state_dict())
    assert all(torch.equal(value, second.weights()[name]) for name, value in first.weights().items())
    assert list(first.state_dict()) == [f"raw.{name}" for name in first.weights()]


@pytest.mark.parametrize("options", [{"solver": "rk4"}, {"unfolds": 5}, {"time_unit_s": 0.5}])
def test_weights_do_not_load_into_what_would_give_other_numbers(options: dict[str, Any]) -> None:
    stored = LiquidRNN(cell(wired=True)).state_dict()
    LiquidRNN(cell(wired=True, seed=1)).load_state_dict(stored)
    with pytest.raises(ConfigError, match=next(iter(options))):
        LiquidRNN(cell(wired=True, **options)).load_state_dict(stored)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"solver": "heun"}, "choose one of: adaptive, euler, rk4, semi_implicit"),
        ({"adjoint": True}, "for solver='adaptive' alone"),
        ({"solver": "adaptive", "adjoint": True, "checkpoint_every": 4}, "give one of them"),
        ({"unfolds": 0}, "unfolds is 0"),
        ({"units": None}, "units"),
        ({"units": 0}, "units is 0"),
        ({"units": 3, "wiring": WIRING}, "12 units"),
        ({"units": None, "inputs": 4, "wiring": WIRING}, "5 inputs"),
        ({"units": None, "wiring": WIRING.multi_rate(0)}, "slow layers"),
        ({"time_unit_s": 0.0}, "time_unit_s is 0.0"),
        ({"time_unit_s": "1"}, "time_unit_s is '1'"),
        ({"seed": -1}, "seed is -1"),
        ({"rtol": float("nan")}, "rtol is nan"),
        ({"atol": -1.0}, "atol is -1.0"),
        ({"checkpoint_every": 0}, "checkpoint_every is 0"),
        ({"engine": "torch"}, "choose one of: auto, compiled, loop"),
        ({"engine": "compiled", "solver": "rk4"}, "engine='compiled' with solver='rk4'"),
        ({"engine": "compiled", "checkpoint_every": 4}, "checkpoint_every=4; .* engine='loop'"),
        ({"checkpoint_every": "root"}, "'sqrt' or None"),
    ],
)
def test_options_that_do_not_fit_are_refused(options: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"inputs": INPUTS, "units": UNITS}
    with pytest.raises(ConfigError, match=said):
        LTC(**(given | options))


def test_arguments_that_do_not_fit_are_refused() -> None:
    made = cell()
    x, dt_s, h = events(UNITS, UNITS, 1)
    for elapsed_s in (
        dt_s[:, :, None],
        dt_s.T,
        torch.ones((), dtype=torch.float64),
        torch.ones(1, dtype=torch.float64),
    ):
        with pytest.raises(ConfigError, match="step got"):
            made.step(x[:, 0], h, elapsed_s)
    for elapsed_s in (-dt_s, dt_s * float("nan"), dt_s + float("inf")):
        with pytest.raises(MessageError, match="dt_s at"):
            made.step(x[:, 0], h, elapsed_s)
