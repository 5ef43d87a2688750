"""What each baseline is: its differential equation, the network of torch that it equals, what it forgets."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from torch import Tensor, nn

from liquid_pilot.errors import ConfigError, MessageError
from policies.cells.baselines import CTRNN, GRUD, MLP, ODERNN, Transformer
from policies.cells.forms import Gru

INPUTS, UNITS, BATCH, STEPS = 4, 6, 3, 8


def events(batch: int = BATCH, steps: int = STEPS, inputs: int = INPUTS) -> tuple[Tensor, Tensor]:
    """x (B, T, inputs), dt_s (B, T)."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(batch, steps, inputs, generator=generator, dtype=torch.float64)
    return x, torch.rand(batch, steps, generator=generator, dtype=torch.float64)


def same(found: Tensor, wanted: Tensor, atol: float = 1e-12) -> None:
    assert found.shape == wanted.shape
    assert_allclose(found.detach().numpy(), wanted.detach().numpy(), atol=atol)


def fill_gru(ours: Gru, theirs: nn.GRUCell) -> None:
    """Our maps take the rows of theirs."""
    state: dict[str, Tensor] = {}
    for side, letter in (("x", "ih"), ("h", "hh")):
        for part in ("weight", "bias"):
            rows = theirs.get_parameter(f"{part}_{letter}").chunk(3)
            state |= {f"{gate}_{side}.{part}": r for gate, r in zip(("reset", "update", "new"), rows, strict=True)}
    ours.load_state_dict(state)


def ct_rnn(unfolds: int = 6, **options: Any) -> CTRNN:
    torch.manual_seed(0)
    cell = CTRNN(INPUTS, UNITS, unfolds=unfolds, **options).double()
    with torch.no_grad():
        cell.raw_tau.add_(torch.linspace(-1.0, 2.0, UNITS))
    return cell


def orders(errors: list[float]) -> list[float]:
    return [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]


def test_ct_rnn_converges_to_its_differential_equation_with_order_one() -> None:
    x, _ = events()
    now, dt_s = x[:, 0], torch.full((BATCH, 1), 0.7, dtype=torch.float64)
    v = torch.randn(BATCH, UNITS, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    cell = ct_rnn()
    with torch.no_grad():
        exact, steps = v, 2000  # midpoint steps of the equation as it is written
        for _ in range(steps):
            half = exact + 0.35 / steps * slope(cell, now, exact)
            exact = exact + 0.7 / steps * slope(cell, now, half)
        errors = [float((ct_rnn(n).advance(now, v, dt_s) - exact).abs().max()) for n in (16, 32, 64, 128)]
    assert errors[-1] < 5e-3
    assert_allclose(orders(errors), 1.0, atol=0.1)


def slope(cell: CTRNN, x: Tensor, v: Tensor) -> Tensor:
    return -v / cell.time_constants() + torch.tanh(cell.input(x) + cell.recurrent(v))


def test_ct_rnn_starts_with_the_time_constant_that_was_asked_for() -> None:
    same(CTRNN(INPUTS, UNITS, tau=0.3).time_constants(), torch.full((UNITS,), 0.3), atol=1e-6)


@given(scale=st.floats(0.0, 1e4), dt_s=st.floats(0.0, 1e12), seed=st.integers(0, 50))
def test_ct_rnn_never_leaves_the_box_of_its_time_constants(scale: float, dt_s: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    cell = ct_rnn()
    x = scale * torch.randn(BATCH, INPUTS, generator=generator, dtype=torch.float64)
    v = (2.0 * torch.rand(BATCH, UNITS, generator=generator, dtype=torch.float64) - 1.0) * cell.time_constants()
    after = cell.advance(x, v, torch.full((BATCH, 1), dt_s, dtype=torch.float64))
    assert bool((after.abs() <= cell.time_constants() * (1 + 1e-12)).all())


def test_ode_rnn_solves_its_equation_with_order_four() -> None:
    torch.manual_seed(0)
    cell = ODERNN(INPUTS, UNITS, 9, time_unit_s=0.5).double()
    h = torch.randn(BATCH, UNITS, dtype=torch.float64)
    dt_s = torch.linspace(0.5, 3.0, BATCH, dtype=torch.float64)[:, None]

    def drifted(unfolds: int) -> Tensor:
        cell.unfolds = unfolds
        return cell.drift(h, dt_s)

    with torch.no_grad():
        errors = [float((drifted(n) - drifted(256)).abs().max()) for n in (4, 8, 16, 32)]
    assert_allclose(orders(errors), 4.0, atol=0.3)


def test_ode_rnn_is_a_gru_for_no_time_and_drifts_alike_in_one_go_or_two() -> None:
    torch.manual_seed(0)
    cell, theirs = ODERNN(INPUTS, UNITS).double(), nn.GRUCell(INPUTS, UNITS).double()
    fill_gru(cell.gates, theirs)
    x, dt_s = events()
    h = torch.randn(BATCH, UNITS, dtype=torch.float64)
    same(cell.advance(x[:, 0], h, torch.zeros(BATCH, 1, dtype=torch.float64)), theirs(x[:, 0], h))
    whole = cell.drift(h, dt_s[:, :1])
    cell.unfolds = 2
    same(cell.drift(cell.drift(h, dt_s[:, :1] / 2), dt_s[:, :1] / 2), whole)


def gru_d() -> GRUD:
    torch.manual_seed(0)
    cell = GRUD(2 * INPUTS, UNITS, time_unit_s=0.5).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
        cell.value_rate.abs_().add_(0.1)
        cell.value_bias.zero_()
    return cell


def test_gru_d_that_observes_everything_is_a_gru_whose_state_decays() -> None:
    cell, theirs = gru_d(), nn.GRUCell(2 * INPUTS, UNITS).double()
    fill_gru(cell.gates, theirs)
    values, dt_s = events()
    x = torch.cat([values, torch.ones_like(values)], dim=2)
    y, _ = cell.sequence(x, dt_s, cell.initial_state(BATCH))
    h = torch.zeros(BATCH, UNITS, dtype=torch.float64)
    for t in range(STEPS):
        age = dt_s[:, t, None].expand(BATCH, INPUTS) / 0.5
        decay = torch.exp(-torch.clamp(age @ cell.state_rate.weight.T + cell.state_rate.bias, min=0.0))
        h = theirs(x[:, t], decay * h)
        same(y[:, t], h)


def test_gru_d_does_not_look_at_missing_values_and_wants_to_know_which_they_are() -> None:
    cell = gru_d()
    values, dt_s = events()
    observed = (torch.rand(values.shape, generator=torch.Generator().manual_seed(0)) > 0.5).double()
    h = cell.initial_state(BATCH)
    found = [
        cell.sequence(torch.cat([torch.where(observed > 0, values, other), observed], dim=2), dt_s, h)[0]
        for other in (0.0, 1e6)
    ]
    assert torch.equal(*found)
    observed[1, 2, 3] = 0.5
    x = torch.cat([values, observed], dim=2)
    with pytest.raises(MessageError, match=r"observed at \(1, 2, 3\) is 0.5; give 1"):
        cell.sequence(x, dt_s, h)
    with pytest.raises(MessageError, match=r"observed at \(1, 3\) is 0.5; give 1"):
        cell.step(x[:, 2], h, dt_s[:, 2])


def test_the_transformer_is_that_of_torch_over_the_last_events_and_their_ages() -> None:
    torch.manual_seed(0)
    width, context = 8, 5
    cell = Transformer(INPUTS, width, 2, layers=2, context=context, time_unit_s=0.3).double()
    layers = [
        nn.TransformerEncoderLayer(width, 2, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True).double()
        for _ in cell.blocks
    ]
    names = {"linear1": "own.0", "linear2": "own.2", "norm1": "norm", "norm2": "own_norm", "self_attn.out_proj": "join"}
    for layer, block in zip(layers, cell.blocks, strict=True):
        own = block.state_dict()
        state = {f"{a}.{part}": own[f"{b}.{part}"] for a, b in names.items() for part in ("weight", "bias")}
        for part in ("weight", "bias"):
            state[f"self_attn.in_proj_{part}"] = torch.cat([own[f"query.{part}"], own[f"key_value.{part}"]])
        layer.load_state_dict(state)
    x, dt_s = events()
    y, _ = cell.sequence(x, dt_s, cell.initial_state(BATCH))
    times_s = dt_s.cumsum(dim=1)
    later = torch.ones(context, context, dtype=torch.bool).triu(1)
    for t in range(STEPS):
        first = max(0, t + 1 - context)
        phase = torch.log(1.0 + (times_s[:, t, None] - times_s[:, first : t + 1]) / 0.3)[:, :, None]
        phase = phase * torch.tensor([0.5, 1.0, 2.0, 4.0], dtype=torch.float64)
        z = cell.embed(x[:, first : t + 1]) + cell.age(torch.cat([torch.sin(phase), torch.cos(phase)], dim=2))
        for layer in layers:
            z = layer(z, src_mask=later[: z.shape[1], : z.shape[1]])
        same(y[:, t], cell.norm(z[:, -1]))


def test_the_transformer_remembers_its_context_and_not_an_event_more() -> None:
    torch.manual_seed(0)
    cell = Transformer(INPUTS, 8, 2, layers=2, context=4).double()
    x, dt_s = (tensor.requires_grad_() for tensor in events())
    y, _ = cell.sequence(x, dt_s, cell.initial_state(BATCH))
    of_x, of_time = torch.autograd.grad(y[:, 6].square().sum(), (x, dt_s))
    assert of_x.any(dim=2).all(dim=0).tolist() == [False] * 3 + [True] * 4 + [False]
    assert of_time.bool().all(dim=0).tolist() == [False] * 4 + [True] * 3 + [False]


def test_a_mlp_is_its_layers_of_features_and_elapsed_time() -> None:
    x, dt_s = events()
    seeing, blind = (
        MLP(INPUTS, (UNITS,), 2, time_unit_s=0.1).double(),
        MLP(INPUTS, (UNITS, 5), time_input=False).double(),
    )
    first, last = seeing.layers[0], seeing.layers[2]
    hidden = torch.tanh(first(torch.cat([x, torch.log(1.0 + dt_s / 0.1)[:, :, None]], dim=2)))
    same(seeing.sequence(x, dt_s, seeing.initial_state(BATCH))[0], last(hidden))
    hidden = torch.tanh(blind.layers[2](torch.tanh(blind.layers[0](x))))
    same(blind.sequence(x, dt_s, blind.initial_state(BATCH))[0], hidden)


def test_a_mlp_has_no_memory() -> None:
    cell = MLP(INPUTS, (UNITS,), 2).double()
    x, dt_s = events()
    _, h = cell.sequence(x, dt_s, cell.initial_state(BATCH))
    fresh = cell.initial_state(BATCH)
    assert torch.equal(cell.step(x[:, 0], h, dt_s[:, 0]), cell.step(x[:, 0], fresh, dt_s[:, 0]))


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: CTRNN(INPUTS, UNITS, unfolds=0), "unfolds is 0"),
        (lambda: CTRNN(INPUTS, 0), "units is 0"),
        (lambda: CTRNN(INPUTS, UNITS, tau=-1.0), "tau is -1.0"),
        (lambda: CTRNN(INPUTS, UNITS, tau=1e-6), "tau is 1e-06"),
        (lambda: CTRNN(INPUTS, UNITS, time_unit_s=1e-300), "time_unit_s is 1e-300"),
        (lambda: CTRNN(INPUTS, UNITS, time_unit_s=math.nan), "time_unit_s is nan"),
        (lambda: GRUD(5, UNITS), "inputs is 5; give an even number"),
        (lambda: GRUD(4, -1), "units is -1"),
        (lambda: ODERNN(INPUTS, UNITS, 0), "hidden is 0"),
        (lambda: ODERNN(INPUTS, UNITS, unfolds=-2), "unfolds is -2"),
        (lambda: Transformer(INPUTS, 8, 3), "width is 8 and heads 3"),
        (lambda: Transformer(INPUTS, context=0), "context is 0"),
        (lambda: Transformer(INPUTS, time_unit_s=math.inf), "time_unit_s is inf"),
        (lambda: MLP(INPUTS, ()), r"hidden is \(\); give the size of each"),
        (lambda: MLP(INPUTS, 40), "hidden is 40; give the size"),  # type: ignore[arg-type]
        (lambda: MLP(INPUTS, (4, 0)), r"hidden\[1\] is 0"),
        (lambda: MLP(INPUTS, (4,), 0), "outputs is 0"),
        (lambda: MLP(INPUTS, time_unit_s=-1.0), "time_unit_s is -1.0"),
    ],
)
def test_sizes_and_options_that_do_not_fit_are_refused(build: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        build()
