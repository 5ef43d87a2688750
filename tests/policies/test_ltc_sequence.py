"""Laws of compiled LTC sequences: the numbers and gradients of the loop, whatever the wiring, batch, mask or lanes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from torch import Tensor

from liquid_pilot import native
from liquid_pilot.errors import ConfigError
from policies.cells.ltc import LTC
from policies.sequence.ltc import compiled_ltc, ltc_kernel, sources
from policies.wirings import NCP
from tests.compiled.running import needs_compiler
from tests.policies.sequence_cases import assert_same

INPUTS, UNITS = 5, 12
WIRING = NCP(INPUTS, 6, 4, 2, 3, 2, 4, 2, rng=0)
DOUBLE, SINGLE = torch.float64, torch.float32


def make(engine: str, wired: bool = True, dtype: torch.dtype = DOUBLE, **options: Any) -> LTC:
    """A cell whose every weight counts: no output or input map is the identity, no polarity a whole number."""
    given_: dict[str, Any] = {"wiring": WIRING} if wired else {"units": UNITS}
    cell = LTC(INPUTS, **given_, engine=engine, time_unit_s=0.5, **options).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=DOUBLE))
    return cell.to(dtype)


def events(batch: int, steps: int, dtype: torch.dtype = DOUBLE, masked: bool = False) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(batch + 100 * steps)
    mask = torch.rand((batch, steps), generator=generator) > 0.4 if masked else None
    x = torch.randn((batch, steps, INPUTS), generator=generator, dtype=DOUBLE).to(dtype)
    dt_s = 0.2 * torch.rand((batch, steps), generator=generator, dtype=DOUBLE).to(dtype)
    h = torch.randn((batch, UNITS), generator=generator, dtype=DOUBLE).to(dtype)
    return {"x": x.requires_grad_(), "dt_s": dt_s.requires_grad_(), "h": h.requires_grad_(), "mask": mask}


def outcome(cell: LTC, given_: dict[str, Any], wanted: Sequence[Tensor] | None = None) -> list[Tensor]:
    """Outputs, last state, and the gradient of a fixed sum of both in `wanted`; in everything if not given."""
    shown, last = cell.sequence(**given_)
    wanted = [given_["x"], given_["dt_s"], given_["h"], *cell.parameters()] if wanted is None else wanted
    generator = torch.Generator().manual_seed(5)
    shares = [torch.randn(part.shape, generator=generator).to(part.dtype) for part in (shown, last)]
    total = (shown * shares[0]).sum() + (last * shares[1]).sum()
    return [shown.detach(), last.detach(), *torch.autograd.grad(total, wanted)]


@needs_compiler
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("wired", [False, True])
@pytest.mark.parametrize("batch", [1, 8, 13])
def test_numbers_and_gradients_are_those_of_the_loop(wired: bool, masked: bool, batch: int) -> None:
    values = events(batch, 19, masked=masked)
    assert_same(outcome(make("compiled", wired), values), outcome(make("loop", wired), values), 1e-12)


@needs_compiler
@pytest.mark.parametrize("wired", [False, True])
def test_float32_stays_near_to_the_loop_and_to_float64(wired: bool) -> None:
    values = events(21, 40, SINGLE, masked=True)
    found = outcome(make("compiled", wired, SINGLE), values)
    assert_same(found, outcome(make("loop", wired, SINGLE), values), 5e-6)
    exact = {name: part.detach().double().requires_grad_() for name, part in values.items() if name != "mask"}
    truth = outcome(make("loop", wired, SINGLE).double(), exact | {"mask": values["mask"]})
    assert_same([part.double() for part in found], truth, 5e-6)


@settings(max_examples=20, deadline=None)
@given(batch=st.integers(1, 20), steps=st.integers(1, 12), masked=st.booleans())
def test_any_batch_and_length_will_do(batch: int, steps: int, masked: bool) -> None:
    values = events(batch, steps, masked=masked)
    assert_same(outcome(make("auto"), values), outcome(make("loop"), values), 1e-12)


@needs_compiler
def test_gradients_are_finite_differences() -> None:
    cell, values = make("compiled", unfolds=2), events(2, 3, masked=True)
    mask = values.pop("mask")
    assert torch.autograd.gradcheck(
        lambda x, dt_s, h, *_: cell.sequence(x, dt_s, h, mask), (*values.values(), *cell.parameters()), atol=1e-7
    )


@needs_compiler
@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE])
def test_no_elapsed_time_is_the_exact_identity(dtype: torch.dtype) -> None:
    cell, values = make("compiled", dtype=dtype), events(5, 4, dtype)
    _, last = cell.sequence(values["x"], torch.zeros_like(values["dt_s"]), values["h"])
    assert torch.equal(last, values["h"])
    (slope,) = torch.autograd.grad(last.sum(), values["h"])
    assert_allclose(slope, 1.0, rtol=1e-6)


@needs_compiler
def test_masked_events_keep_the_state_and_are_not_looked_at() -> None:
    cell, values = make("compiled"), events(4, 9)
    mask = torch.ones((4, 9), dtype=torch.bool)
    mask[:, 3:6] = mask[1] = False
    with torch.no_grad():
        values["x"][~mask], values["dt_s"][~mask] = float("nan"), float("inf")
    shown, last, by_x, by_dt, by_h, *by_weights = outcome(cell, values | {"mask": mask})
    assert torch.equal(shown[:, 5], shown[:, 2]) and torch.equal(last[1], values["h"][1].detach())
    assert not by_x[~mask].any() and not by_dt[~mask].any() and by_dt[mask].all()
    assert all(bool(part.isfinite().all()) for part in (by_h, *by_weights))


@needs_compiler
@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE])
def test_what_is_far_away_saturates_and_stays_finite(dtype: torch.dtype) -> None:
    values = events(4, 3, dtype)
    values["x"] = (1e6 * values["x"].detach()).requires_grad_()
    values["dt_s"] = torch.full((4, 3), 1e9, dtype=dtype, requires_grad=True)
    found, wanted = outcome(make("compiled", dtype=dtype), values), outcome(make("loop", dtype=dtype), values)
    assert all(bool(part.isfinite().all()) for part in found)
    assert_same(found[:2], wanted[:2], 2e-6 if dtype == SINGLE else 1e-12)


@needs_compiler
def test_what_is_not_a_number_stays_in_its_row() -> None:
    cell, values = make("compiled"), events(11, 4)
    spoiled = values["x"].detach().clone()
    spoiled[3, 1, 0] = float("nan")
    with torch.no_grad():
        found, wanted = cell.sequence(spoiled, values["dt_s"], values["h"])[1], cell.sequence(**values)[1]
    others = torch.arange(11) != 3
    assert found[3].isnan().any() and torch.equal(found[others], wanted[others])


@needs_compiler
@pytest.mark.parametrize("name", ["x", "dt_s", "h", "weights"])
def test_gradient_in_one_argument_needs_no_other(name: str) -> None:
    found = []
    for engine in ("compiled", "loop"):
        cell, values = make(engine), events(5, 6)
        cell.requires_grad_(name == "weights")
        for other in ("x", "dt_s", "h"):
            values[other] = values[other].detach().requires_grad_(other == name)
        found.append(outcome(cell, values, list(cell.parameters()) if name == "weights" else [values[name]]))
    assert_same(found[0], found[1], 1e-12)


@needs_compiler
@pytest.mark.parametrize("wired", [False, True])
def test_no_value_and_no_gradient_where_no_synapse_is(wired: bool) -> None:
    cells = make("compiled", wired), make("loop", wired)
    for cell in cells:
        cell.recurrent_mask[2:] = 0.0
        cell.sensory_mask.zero_()
    values = events(5, 6)
    found, wanted = (outcome(cell, values) for cell in cells)
    assert_same(found, wanted, 1e-12)
    of = dict(zip(cells[0].raw, found[5:], strict=True))
    assert not of["sensory_w"].any() and not of["mu"][2:].any() and of["mu"][:2].any() and not found[2].any()


@needs_compiler
@pytest.mark.parametrize("lane_bytes", [16, 32, 64])
@pytest.mark.parametrize("dtype", [SINGLE, DOUBLE])
def test_every_lane_width_gives_the_numbers(lane_bytes: int, dtype: torch.dtype) -> None:
    cell, values = make("loop", dtype=dtype), events(11, 7, dtype)
    masks = sources(cell.sensory_mask), sources(cell.recurrent_mask)
    kernel = ltc_kernel(cell.unfolds, *masks, INPUTS, dtype, lane_bytes)
    with torch.no_grad():
        dt = values["dt_s"] / cell.time_unit_s
        states = compiled_ltc(kernel, cell, cell.weights(), values["x"], dt, values["h"])
        wanted, _ = cell.sequence(**values)
    assert_same([cell.read(states).detach()], [wanted], 2e-6 if dtype == SINGLE else 1e-12)


@needs_compiler
def test_the_same_twice_to_the_last_bit_and_a_row_the_same_alone() -> None:
    cell, values = make("compiled", dtype=SINGLE), events(37, 20, SINGLE)
    first, second = outcome(cell, values), outcome(cell, values)
    assert all(map(torch.equal, first, second))
    alone, _ = cell.sequence(*(values[name][20:21] for name in ("x", "dt_s", "h")))
    assert torch.equal(alone[0], first[0][20])


@needs_compiler
def test_memory_order_does_not_matter() -> None:
    cell, values = make("compiled"), events(6, 8, masked=True)
    turned = dict(values)
    turned["x"] = values["x"].detach().permute(2, 1, 0).contiguous().permute(2, 1, 0).requires_grad_()
    turned["dt_s"] = values["dt_s"].detach().T.contiguous().T.requires_grad_()
    turned["h"] = values["h"].detach().repeat(1, 2)[:, :UNITS].requires_grad_()
    assert not turned["x"].is_contiguous() and not turned["h"].is_contiguous()
    assert_same(outcome(cell, turned), outcome(cell, values), 1e-14)


@pytest.mark.parametrize("options", [{"solver": "rk4", "unfolds": 20}, {"checkpoint_every": 2}])
def test_auto_is_the_loop_where_nothing_is_compiled(options: dict[str, Any]) -> None:
    values = events(3, 4)
    found, wanted = outcome(make("auto", **options), values), outcome(make("loop", **options), values)
    assert all(map(torch.equal, found, wanted))


def test_number_types_that_are_not_compiled_run_in_the_loop_or_are_refused() -> None:
    values = {name: part for name, part in events(3, 4, torch.bfloat16).items() if name != "mask"}
    assert make("auto", dtype=torch.bfloat16).sequence(**values)[0].dtype == torch.bfloat16
    with pytest.raises(ConfigError, match=r"got torch\.bfloat16 on cpu; it takes float32 and float64 on the CPU"):
        make("compiled", dtype=torch.bfloat16).sequence(**values)


def test_transforms_of_functions_see_the_loop_and_nothing_else() -> None:
    cell, values = make("auto"), events(4, 3)
    x, dt_s, h = (values[name].detach() for name in ("x", "dt_s", "h"))

    def last(x: Tensor, dt_s: Tensor, h: Tensor) -> Tensor:
        return cell.sequence(x[None], dt_s[None], h[None])[1][0]

    each = torch.func.vmap(last)(x, dt_s, h)
    assert_same([each.detach()], [make("loop").sequence(x, dt_s, h)[1].detach()], 1e-12)
    cell.engine = "compiled"
    with pytest.raises(ConfigError, match="traces or transforms"):
        torch.func.vmap(last)(x, dt_s, h)


@needs_compiler
def test_a_second_derivative_is_refused_and_the_loop_gives_it() -> None:
    values = events(2, 3)
    with pytest.raises(ConfigError, match="choose engine='loop'"):
        torch.autograd.grad(make("compiled").sequence(**values)[1].sum(), values["x"], create_graph=True)
    (slope,) = torch.autograd.grad(make("loop").sequence(**values)[1].sum(), values["x"], create_graph=True)
    (second,) = torch.autograd.grad(slope.square().sum(), values["x"])
    assert second.any()


def test_without_a_compiler_the_loop_runs_and_it_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler-for-ltc")
    values = events(3, 4)
    unbuilt: dict[str, Any] = {"unfolds": 7}  # a number that no other test has built
    with caplog.at_level("WARNING"):
        found = [outcome(make("auto", **unbuilt), values) for _ in range(2)]
    wanted = outcome(make("loop", **unbuilt), values)
    assert all(map(torch.equal, found[0], wanted)) and all(map(torch.equal, found[1], wanted))
    assert len([record for record in caplog.records if "no-such-compiler" in record.message]) == 1
    with pytest.raises(native.NativeUnavailable, match="no-such-compiler"):
        make("compiled", **unbuilt).sequence(**values)


@pytest.mark.parametrize("engine", ["loop", "auto"])
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("x", (UNITS, UNITS, INPUTS + 1)),
        ("x", (UNITS, INPUTS)),
        ("x", (UNITS, 0, INPUTS)),
        ("dt_s", (UNITS,)),
        ("dt_s", (UNITS, 1)),
        ("h", (1, UNITS)),
        ("h", (UNITS,)),
        ("mask", (UNITS,)),
        ("mask", (UNITS, UNITS, UNITS)),
    ],
)
def test_nothing_is_broadcast_even_when_batch_steps_and_units_are_equal(
    name: str, shape: tuple[int, ...], engine: str
) -> None:
    values = events(UNITS, UNITS, masked=True)
    values[name] = torch.ones(shape, dtype=torch.bool if name == "mask" else DOUBLE)
    with pytest.raises(ConfigError, match=r"give x \(B, T, 5\)"):
        make(engine).sequence(**values)


def test_elapsed_time_belongs_to_its_row_even_when_batch_steps_and_units_are_equal() -> None:
    cell, values = make("auto"), events(UNITS, UNITS)
    rows = [[values[name][i : i + 1] for name in ("x", "dt_s", "h")] for i in range(UNITS)]
    alone = torch.cat([make("loop").sequence(*row)[0] for row in rows])
    assert_same([cell.sequence(**values)[0].detach()], [alone.detach()], 1e-12)
