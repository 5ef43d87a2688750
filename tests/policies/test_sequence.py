"""Laws of the sequence engines: the numbers and gradients of the loop, whatever the form, batch, mask or lanes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from liquid_pilot import native
from liquid_pilot.errors import ConfigError
from policies.cells.layer import CfCLayer
from policies.fragments import network_text
from policies.sequence import cfc_sequence
from policies.sequence.kernel import build_kernel, run
from tests.compiled.running import needs_compiler
from tests.policies.sequence_cases import DOUBLE, FAST, INPUTS, UNITS, assert_same, make_inputs, make_layer, outcome

CASES = [("decay", 0), ("decay", 1), ("decay", 2), ("default", 1), ("no_gate", 0), ("pure", 0), ("pure", 1)]


@pytest.mark.parametrize("engine", FAST)
@pytest.mark.parametrize(("form", "depth"), CASES)
@pytest.mark.parametrize("masked", [False, True])
def test_numbers_and_gradients_are_those_of_the_loop(form: str, depth: int, engine: str, masked: bool) -> None:
    layer, values = make_layer(form, depth), make_inputs(13, 37, masked=masked)
    assert_same(outcome(layer, values, engine), outcome(layer, values, "loop"), 1e-12)


@pytest.mark.parametrize("engine", ["loop", *FAST])
@pytest.mark.parametrize("form", ["decay", "default"])
def test_float32_stays_as_near_to_float64_as_the_loop_does(form: str, engine: str) -> None:
    torch.manual_seed(0)
    layer, values = CfCLayer(INPUTS, UNITS, form, 1, 9, 0.1), make_inputs(21, 40, torch.float32, masked=True)
    found = outcome(layer, values, engine)
    exact = {name: part.detach().double().requires_grad_() for name, part in values.items() if name != "mask"}
    truth = outcome(layer.double(), exact | {"mask": values["mask"]}, "loop")
    assert_same([part.double() for part in found], truth, 3e-6)


@settings(max_examples=25, deadline=None)
@given(batch=st.integers(1, 20), steps=st.integers(1, 35), masked=st.booleans())
def test_any_batch_and_length_will_do(batch: int, steps: int, masked: bool) -> None:
    layer, values = make_layer("decay", 1), make_inputs(batch, steps, masked=masked)
    wanted = outcome(layer, values, "loop")
    for engine in ("torch", "auto"):
        assert_same(outcome(layer, values, engine), wanted, 1e-12)


@pytest.mark.parametrize("engine", FAST)
@pytest.mark.parametrize("form", ["decay", "default"])
def test_gradients_are_finite_differences(form: str, engine: str) -> None:
    layer, values = make_layer(form, 1), make_inputs(3, 4, masked=True)
    mask = values.pop("mask")
    assert torch.autograd.gradcheck(
        lambda x, dt_s, h, *_: cfc_sequence(layer, x, dt_s, h, mask, engine),
        (*values.values(), *layer.parameters()),
        atol=1e-7,
    )


@pytest.mark.parametrize("engine", ["loop", *FAST])
def test_masked_steps_keep_the_state_and_are_not_looked_at(engine: str) -> None:
    layer, values = make_layer("decay", 1), make_inputs(4, 9)
    mask = torch.ones((4, 9), dtype=torch.bool)
    mask[:, 3:6] = mask[1] = False
    with torch.no_grad():
        values["x"][~mask], values["dt_s"][~mask] = float("nan"), float("inf")
    states, last, by_x, by_dt, by_h, *by_weights = outcome(layer, values | {"mask": mask}, engine)
    assert torch.equal(states[:, 5], states[:, 2]) and torch.equal(last[1], values["h"][1].detach())
    assert not by_x[~mask].any() and not by_dt[~mask].any() and by_x[mask].all()
    assert all(bool(part.isfinite().all()) for part in (by_h, *by_weights))


@pytest.mark.parametrize("engine", FAST)
@pytest.mark.parametrize("name", ["x", "dt_s", "h", "weights"])
def test_gradient_in_one_argument_needs_no_other(name: str, engine: str) -> None:
    layer, values = make_layer("default", 1), make_inputs(5, 6)
    layer.requires_grad_(name == "weights")
    for other in ("x", "dt_s", "h"):
        values[other] = values[other].detach().requires_grad_(other == name)
    wanted: Sequence[Tensor] = list(layer.parameters()) if name == "weights" else [values[name]]
    assert_same(outcome(layer, values, engine, wanted), outcome(layer, values, "loop", wanted), 1e-12)


@pytest.mark.parametrize("engine", FAST)
@pytest.mark.parametrize("part", [0, 1])
def test_gradient_of_the_states_or_the_last_alone(part: int, engine: str) -> None:
    layer, values = make_layer("decay", 1), make_inputs(5, 20)
    found, wanted = (
        torch.autograd.grad(cfc_sequence(layer, **values, engine=name)[part].sum(), [values["h"], *layer.parameters()])
        for name in (engine, "loop")
    )
    assert_same(list(found), list(wanted), 1e-12)


@pytest.mark.parametrize("engine", ["loop", *FAST])
def test_without_gradients_there_is_no_graph_and_the_same_numbers(engine: str) -> None:
    layer, values = make_layer("decay", 1), make_inputs(5, 20, masked=True)
    with torch.no_grad():
        states, last = cfc_sequence(layer, **values, engine=engine)
    assert not states.requires_grad and not last.requires_grad
    recorded, _ = cfc_sequence(layer, **values, engine=engine)
    assert recorded.requires_grad and torch.equal(recorded, states)


@pytest.mark.parametrize("engine", FAST)
def test_memory_order_does_not_matter(engine: str) -> None:
    layer, values = make_layer("decay", 1), make_inputs(6, 8, masked=True)
    turned = dict(values)
    turned["x"] = values["x"].detach().permute(2, 1, 0).contiguous().permute(2, 1, 0).requires_grad_()
    turned["dt_s"] = values["dt_s"].detach().T.contiguous().T.requires_grad_()
    turned["h"] = values["h"].detach().repeat(1, 2)[:, :UNITS].requires_grad_()
    assert not turned["x"].is_contiguous() and not turned["h"].is_contiguous()
    assert_same(outcome(layer, turned, engine), outcome(layer, values, engine), 1e-14)


@pytest.mark.parametrize("engine", FAST)
def test_the_same_twice_to_the_last_bit(engine: str) -> None:
    layer, values = make_layer("default", 1, torch.float32), make_inputs(21, 40, torch.float32)
    assert all(map(torch.equal, outcome(layer, values, engine), outcome(layer, values, engine)))


@needs_compiler
def test_a_row_is_the_same_alone() -> None:
    layer, values = make_layer("decay", 1, torch.float32), make_inputs(37, 20, torch.float32)
    together, _ = cfc_sequence(layer, **values, engine="compiled")
    alone, _ = cfc_sequence(layer, values["x"][20:21], values["dt_s"][20:21], values["h"][20:21], engine="compiled")
    assert torch.equal(alone[0], together[20])


@pytest.mark.parametrize("engine", FAST)
def test_no_gradient_where_no_synapse_is(engine: str) -> None:
    synapses = (torch.rand((UNITS, INPUTS + UNITS), generator=torch.Generator().manual_seed(1)) > 0.5).double()
    layer, values = make_layer("decay", 0, mask=synapses), make_inputs(5, 6)
    found, wanted = outcome(layer, values, engine), outcome(layer, values, "loop")
    assert_same(found, wanted, 1e-12)
    matrices = [slope for slope in found[5:] if slope.ndim == 2]
    assert len(matrices) == 2 and all(not slope[synapses == 0].any() for slope in matrices)


@needs_compiler
@pytest.mark.parametrize("lane_bytes", [16, 32, 64])
def test_every_lane_width_gives_the_numbers(lane_bytes: int) -> None:
    layer, values = make_layer("default", 1), make_inputs(11, 20)
    kernel = build_kernel(network_text(layer.spec, outputs=0), DOUBLE, lane_bytes)
    weights = torch.cat([weight.reshape(-1) for weight in layer.weights()])
    states, last = run(kernel, weights, values["x"], values["dt_s"], values["h"], None)
    assert_same([states.detach(), last.detach()], outcome(layer, values, "loop")[:2], 1e-12)


@pytest.mark.parametrize("engine", FAST)
def test_a_second_derivative_is_refused_and_the_loop_gives_it(engine: str) -> None:
    layer, values = make_layer("decay", 1), make_inputs(2, 3)
    states, _ = cfc_sequence(layer, **values, engine=engine)
    with pytest.raises(ConfigError, match="choose engine='loop'"):
        torch.autograd.grad(states.sum(), values["x"], create_graph=True)
    states, _ = cfc_sequence(layer, **values, engine="loop")
    (slope,) = torch.autograd.grad(states.sum(), values["x"], create_graph=True)
    (second,) = torch.autograd.grad(slope.square().sum(), values["x"])
    assert second.any()


@pytest.mark.parametrize("engine", FAST)
def test_transforms_of_functions_see_the_loop(engine: str) -> None:
    layer, values = make_layer("decay", 1), make_inputs(4, 5)
    named = {name: parameter.detach() for name, parameter in layer.named_parameters()}
    x, dt_s, h = (values[name].detach() for name in ("x", "dt_s", "h"))

    class Summed(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: Tensor, dt_s: Tensor, h: Tensor) -> Tensor:
            return cfc_sequence(self.layer, x[None], dt_s[None], h[None], engine=engine)[0].sum()

    module = Summed()
    weights = {f"layer.{name}": value for name, value in named.items()}
    slope = torch.func.grad(lambda w, *args: torch.func.functional_call(module, w, args))
    each = torch.func.vmap(slope, in_dims=(None, 0, 0, 0))(weights, x, dt_s, h)
    wanted = torch.autograd.grad(cfc_sequence(layer, x, dt_s, h, engine="loop")[0].sum(), list(layer.parameters()))
    assert_same([each[f"layer.{name}"].sum(0) for name in named], list(wanted), 1e-12)


def test_without_a_compiler_torch_runs_and_it_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler-for-sequences")
    layer = CfCLayer(3, 2, "decay", 1, 4)  # of sizes that no other test has built
    values = torch.randn(4, 5, 3), torch.rand(4, 5), torch.zeros(4, 2)
    with caplog.at_level("WARNING"):
        found = [cfc_sequence(layer, *values)[0] for _ in range(2)]
    assert torch.equal(found[0], cfc_sequence(layer, *values, engine="torch")[0]) and torch.equal(*found)
    assert len([record for record in caplog.records if "no-such-compiler" in record.message]) == 1
    with pytest.raises(native.NativeUnavailable, match="no-such-compiler"):
        cfc_sequence(layer, *values, engine="compiled")


@pytest.mark.parametrize("engine", ["loop", *FAST, "auto"])
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("x", (UNITS, UNITS, INPUTS + 1)),
        ("x", (UNITS, INPUTS)),
        ("x", (UNITS, 0, INPUTS)),
        ("dt_s", (UNITS,)),
        ("dt_s", (UNITS, 1)),
        ("dt_s", (UNITS, UNITS, 1)),
        ("h", (1, UNITS)),
        ("h", (UNITS,)),
        ("mask", (UNITS,)),
        ("mask", (UNITS, UNITS, UNITS)),
    ],
)
def test_nothing_is_broadcast_even_when_batch_steps_and_units_are_equal(
    name: str, shape: tuple[int, ...], engine: str
) -> None:
    values = make_inputs(UNITS, UNITS, masked=True)
    values[name] = torch.ones(shape, dtype=torch.bool if name == "mask" else DOUBLE)
    with pytest.raises(ConfigError, match=r"give x \(B, T, 5\)"):
        cfc_sequence(make_layer("decay", 1), **values, engine=engine)


def test_elapsed_time_belongs_to_its_row_even_when_batch_steps_and_units_are_equal() -> None:
    layer, values = make_layer("decay", 1), make_inputs(UNITS, UNITS)
    rows = [{name: part[i : i + 1] for name, part in values.items() if part is not None} for i in range(UNITS)]
    alone = torch.cat([cfc_sequence(layer, **row, engine="loop")[0] for row in rows])
    for engine in ("torch", "auto"):
        assert_same([cfc_sequence(layer, **values, engine=engine)[0].detach()], [alone.detach()], 1e-12)


@pytest.mark.parametrize("engine", FAST)
@pytest.mark.parametrize("form", ["decay", "default", "no_gate", "pure"])
def test_the_longest_times_are_all_alike_and_finite(form: str, engine: str) -> None:
    layer, values = make_layer(form, 1, torch.float32), make_inputs(3, 4, torch.float32)
    found = []
    for dt_s in (1e8, 1e9, 3e38):  # from DT_LIMIT time units on
        values["dt_s"] = torch.full((3, 4), dt_s).requires_grad_()
        found.append(outcome(layer, values, engine))
        assert_same(found[-1], outcome(layer, values, "loop"), 1e-5)
    assert all(bool(torch.isfinite(part).all()) for part in found[0])
    assert all(torch.equal(*parts) for longer in found[1:] for parts in zip(longer[:2], found[0][:2], strict=True))


def test_unknown_engines_and_number_types_are_refused() -> None:
    layer, values = make_layer("decay", 1), make_inputs(2, 3)
    with pytest.raises(ConfigError, match="choose one of: auto, compiled, loop, torch"):
        cfc_sequence(layer, **values, engine="cuda")
    for name in ("x", "h"):
        with pytest.raises(ConfigError, match=rf"{name}( is)? torch\.float32"):
            cfc_sequence(layer, **values | {name: values[name].float()})
    with pytest.raises(ConfigError, match=r"dt_s torch\.int64"):
        cfc_sequence(layer, **values | {"dt_s": values["dt_s"].long()})
    with pytest.raises(ConfigError, match=r"mask is torch\.float64"):
        cfc_sequence(layer, **values | {"mask": values["dt_s"].detach()})
    half = make_layer("decay", 1).bfloat16()
    given_ = {name: part.bfloat16() for name, part in values.items() if part is not None}
    with pytest.raises(ConfigError, match="takes float32 and float64"):
        cfc_sequence(half, **given_, engine="compiled")
    assert cfc_sequence(half, **given_)[0].dtype == torch.bfloat16
