"""Laws of the numpy cells: known formulas, exactness in time, bounds, and no input that breaks them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liquid_pilot.cells import FORMS, CellSpec, Network, check_weights, parameters, weight_shapes
from liquid_pilot.errors import BundleError, ConfigError, LiquidPilotError, MessageError
from liquid_pilot.forms import sigmoid, softplus

F64 = npt.NDArray[np.float64]
Weights = dict[str, npt.NDArray[np.float32]]
UNIT_S = 0.015


def make_spec(form: str, layers: int = 1) -> CellSpec:
    return CellSpec(form, 21, 0 if form == "mlp" else 19, 4, layers, 32, UNIT_S)


def make_weights(spec: CellSpec, seed: int = 0, size: float = 0.4) -> Weights:
    rng = np.random.default_rng([seed])
    return {name: (size * rng.normal(size=shape)).astype(np.float32) for name, shape in weight_shapes(spec).items()}


def formula_step(spec: CellSpec, weights: Weights, x: F64, h: F64, dt_s: float) -> tuple[F64, F64]:
    """The published formulas in float64, written without sharing a line with the code under test."""
    w = {name: value.astype(np.float64) for name, value in weights.items()}

    def linear(name: str, z: F64) -> F64:
        return np.asarray(w[f"{name}.weight"] @ z + w[f"{name}.bias"])

    def gate(z: F64) -> F64:
        return np.asarray(1.0 / (1.0 + np.exp(-(linear("time_a", z) * dt + linear("time_b", z)))))

    dt = dt_s / spec.time_unit_s
    z = x if spec.form in ("mlp", "gru", "lstm") else np.concatenate([x, h])
    for k in range(spec.backbone_layers):
        z = 1.7159 * np.tanh(0.666 * linear(f"backbone.{k}", z))
    if spec.form == "mlp":
        return np.tanh(linear("readout", z)), h
    if spec.form == "gru":
        r, u = (1.0 / (1.0 + np.exp(-linear(f"{g}_x", z) - linear(f"{g}_h", h))) for g in ("reset", "update"))
        h = (1.0 - u) * np.tanh(linear("new_x", z) + r * linear("new_h", h)) + u * h
    elif spec.form == "lstm":
        h, c = np.split(h, 2)
        sums = {gate: linear(f"{gate}_x", z) + linear(f"{gate}_h", h) for gate in ("write", "keep", "new", "show")}
        write, keep, show = (1.0 / (1.0 + np.exp(-sums[gate])) for gate in ("write", "keep", "show"))
        c = keep * c + write * np.tanh(sums["new"])
        h = np.concatenate([show * np.tanh(c), c])
    elif spec.form == "decay":
        kept = np.exp(-dt * np.log1p(np.exp(linear("rate", z))))
        h = h * kept + (1.0 - kept) * np.tanh(linear("target", z))
    elif spec.form == "default":
        s = gate(z)
        h = np.tanh(linear("ff1", z)) * (1.0 - s) + s * np.tanh(linear("ff2", z))
    elif spec.form == "no_gate":
        h = np.tanh(linear("ff1", z)) + gate(z) * np.tanh(linear("ff2", z))
    else:
        u = linear("ff1", z)
        h = -w["a"] * np.exp(-dt * (np.abs(w["w_tau"]) + np.abs(u))) * u + w["a"]
    return np.tanh(linear("readout", h[: spec.units])), h


@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.parametrize("form", sorted(FORMS))
def test_each_step_is_the_formula(form: str, layers: int) -> None:
    spec = make_spec(form, layers)
    weights = make_weights(spec, seed=layers, size=0.2)
    network, rng = Network(spec, weights), np.random.default_rng([7, layers])
    h = network.initial_state()
    for k in range(200):
        x = rng.normal(size=spec.inputs).astype(np.float32)
        dt_s = 0.0 if k % 10 == 0 else float(np.exp(rng.uniform(np.log(1e-3), np.log(0.2))))
        wanted_action, wanted_h = formula_step(spec, weights, x.astype(np.float64), h.astype(np.float64), dt_s)
        action, h = network.step(x, h, dt_s)
        np.testing.assert_allclose(action, wanted_action, atol=5e-6, rtol=0)
        np.testing.assert_allclose(h, wanted_h, atol=5e-6, rtol=2e-6)
        assert action.dtype == h.dtype == np.float32


@pytest.mark.parametrize("form", sorted(FORMS))
def test_long_recurrence_stays_with_the_formula(form: str) -> None:
    spec = make_spec(form)
    weights = make_weights(spec, size=0.15)
    network, rng = Network(spec, weights), np.random.default_rng([3])
    h, exact = network.initial_state(), np.zeros(spec.state_width)
    for _ in range(1000):
        x, dt_s = rng.normal(size=spec.inputs).astype(np.float32), float(rng.uniform(0.0, 0.05))
        action, h = network.step(x, h, dt_s)
        wanted, exact = formula_step(spec, weights, x.astype(np.float64), exact, dt_s)
        np.testing.assert_allclose(action, wanted, atol=1e-5, rtol=0)


def test_decay_does_nothing_in_no_time() -> None:
    spec = make_spec("decay")
    network, rng = Network(spec, make_weights(spec, size=2.0)), np.random.default_rng([1])
    for _ in range(50):
        h = rng.uniform(-1, 1, spec.units).astype(np.float32)
        _, after = network.step(rng.normal(size=21).astype(np.float32), h, 0.0)
        np.testing.assert_array_equal(after, h)


@given(dt_s=st.floats(0.0, 2.0), parts=st.integers(1, 50))
@settings(max_examples=50, deadline=None)
def test_decay_depends_on_elapsed_time_not_on_the_number_of_steps(dt_s: float, parts: int) -> None:
    spec = make_spec("decay")
    weights = make_weights(spec)
    weights["backbone.0.weight"][:, spec.inputs :] = 0.0  # f and r then do not depend on h
    network, rng = Network(spec, weights), np.random.default_rng([5])
    x, h = rng.normal(size=21).astype(np.float32), rng.uniform(-1, 1, 19).astype(np.float32)
    _, once = network.step(x, h, dt_s)
    for _ in range(parts):
        _, h = network.step(x, h, dt_s / parts)
    np.testing.assert_allclose(h, once, atol=1e-5, rtol=0)


def test_decay_loses_the_gap_to_its_target_at_its_time_constant() -> None:
    spec = make_spec("decay")
    weights = make_weights(spec)
    weights["backbone.0.weight"][:, spec.inputs :] = 0.0
    network = Network(spec, weights)
    x, h = np.full(21, 0.3, np.float32), np.zeros(19, np.float32)
    tau_s = network.time_constants(x, h)
    _, target = network.step(x, h, 1e6)
    for neuron in range(19):
        _, after = network.step(x, h, float(tau_s[neuron]))
        assert after[neuron] == pytest.approx((1.0 - np.exp(-1.0)) * target[neuron], abs=2e-6)


@pytest.mark.parametrize("form", sorted(set(FORMS) - {"decay"}))
def test_other_forms_have_no_time_constants(form: str) -> None:
    network = Network(make_spec(form), make_weights(make_spec(form)))
    assert network.time_constants(np.zeros(21, np.float32), network.initial_state()).shape == (0,)


any_input = st.lists(st.floats(width=32, allow_nan=False), min_size=21, max_size=21)
any_state = st.lists(st.floats(-1, 1, width=32), min_size=19, max_size=19)
any_time = st.one_of(st.sampled_from([0.0, 1e-9, 1e6, 1e300, float("inf")]), st.floats(0.0, 1e3))


@given(x=any_input, h=any_state, dt_s=any_time, size=st.sampled_from([0.3, 30.0, 1e5]), seed=st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_decay_state_never_leaves_one(x: list[float], h: list[float], dt_s: float, size: float, seed: int) -> None:
    spec = make_spec("decay", layers=seed % 3)
    network = Network(spec, make_weights(spec, seed, size))
    state = np.array(h, np.float32)
    for _ in range(3):
        action, state = network.step(np.array(x, np.float32), state, dt_s)
        assert np.abs(state).max() <= 1.0 and np.abs(action).max() <= 1.0


@given(x=any_input, dt_s=any_time, form=st.sampled_from(sorted(FORMS)), layers=st.integers(0, 2))
@settings(max_examples=100, deadline=None)
def test_finite_input_gives_finite_output(x: list[float], dt_s: float, form: str, layers: int) -> None:
    spec = make_spec(form, layers)
    network = Network(spec, {name: np.sign(v) * np.float32(1e6) for name, v in make_weights(spec).items()})
    h = network.initial_state()
    for _ in range(3):
        action, h = network.step(np.array(x, np.float32), h, dt_s)
        constants = network.time_constants(np.array(x, np.float32), h)
        assert np.isfinite(action).all() and np.isfinite(h).all() and np.isfinite(constants).all()


def test_softplus_and_sigmoid_hold_at_both_ends() -> None:
    x = np.array([-3e38, -200.0, -1.0, 0.0, 1.0, 200.0, 3e38], np.float32)
    np.testing.assert_allclose(softplus(x), [0, 0, 0.31326166, 0.6931472, 1.3132616, 200, 3e38], rtol=1e-6)
    np.testing.assert_allclose(sigmoid(x), [0, 0, 0.26894143, 0.5, 0.7310586, 1, 1], atol=1e-7)


def test_nan_is_not_hidden() -> None:
    spec = make_spec("decay")
    x = np.zeros(21, np.float32)
    x[4] = np.nan
    action, _ = Network(spec, make_weights(spec)).step(x, np.zeros(19, np.float32), 0.01)
    assert np.isnan(action).all()


@pytest.mark.parametrize("form", sorted(FORMS))
def test_results_are_the_callers_own_and_inputs_are_untouched(form: str) -> None:
    spec = make_spec(form)
    weights = make_weights(spec)
    network = Network(spec, weights)
    x, h = np.ones(21, np.float32), network.initial_state()
    first, state = network.step(x, h, 0.01)
    kept = first.copy(), state.copy()
    for value in weights.values():
        value[...] = 9.0  # the network holds its own copy
    network.step(-x, state, 0.02)
    np.testing.assert_array_equal(first, kept[0])
    np.testing.assert_array_equal(state, kept[1])
    np.testing.assert_array_equal(x, np.ones(21))
    again, _ = network.step(x, h, 0.01)
    np.testing.assert_array_equal(again, first)


@pytest.mark.parametrize("dt_s", [-1e-9, -1.0, float("nan"), float("-inf")])
def test_time_never_runs_backwards(dt_s: float) -> None:
    network = Network(make_spec("decay"), make_weights(make_spec("decay")))
    with pytest.raises(MessageError, match="0 or more"):
        network.step(np.zeros(21, np.float32), network.initial_state(), dt_s)


@pytest.mark.parametrize(("x_width", "h_width"), [(20, 19), (21, 18), (1, 19), (21, 1), (0, 0)])
def test_wrong_shapes_are_refused_and_never_broadcast(x_width: int, h_width: int) -> None:
    network = Network(make_spec("decay"), make_weights(make_spec("decay")))
    with pytest.raises(MessageError, match=r"give \(21,\) and \(19,\)"):
        network.step(np.zeros(x_width, np.float32), np.zeros(h_width, np.float32), 0.01)


def test_parameters_of_the_flying_size() -> None:
    backbone, head, readout = 40 * 32 + 32, 32 * 19 + 19, 19 * 4 + 4
    heads = {"decay": 2 * head, "default": 4 * head, "no_gate": 4 * head, "pure": head + 2 * 19}
    for form, expected in heads.items():
        assert parameters(make_spec(form)) == backbone + expected + readout
    assert parameters(make_spec("mlp")) == 21 * 32 + 32 + 32 * 4 + 4


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"form": "cfc"}, "choose one of: decay, default, gru, lstm, mlp, no_gate, pure"),
        ({"units": 0}, "at least 1"),
        ({"form": "mlp"}, "give 0"),
        ({"units": 19.0}, "whole number"),
        ({"inputs": True}, "whole number"),
        ({"backbone_layers": 9}, "0 to 8"),
        ({"outputs": 0}, "1 to 64"),
        ({"time_unit_s": 0.0}, "time_unit_s"),
        ({"time_unit_s": float("nan")}, "time_unit_s"),
        ({"time_unit_s": "15 ms"}, "time_unit_s"),
    ],
)
def test_impossible_specs_are_refused(change: dict[str, Any], words: str) -> None:
    values: dict[str, Any] = {
        "form": "decay",
        "inputs": 21,
        "units": 19,
        "outputs": 4,
        "backbone_layers": 1,
        "backbone_units": 32,
        "time_unit_s": UNIT_S,
    }
    CellSpec(**values)
    with pytest.raises(ConfigError, match=words):
        CellSpec(**(values | change))


def _with(name: str, value: Any) -> Callable[[Weights], dict[str, Any]]:
    return lambda weights: weights | {name: value}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_with("rate.bias", np.full(19, np.nan, np.float32)), "NaN"),
        (_with("rate.bias", np.full(19, np.inf, np.float32)), "infinity"),
        (_with("rate.bias", np.full(19, 2e6, np.float32)), "largest allowed"),
        (_with("rate.bias", np.zeros(19)), "float64"),
        (_with("rate.bias", np.zeros((19, 1), np.float32)), r"\(19, 1\)"),
        (_with("rate.bias", [0.0] * 19), "list"),
        (_with("gate.bias", np.zeros(19, np.float32)), r"not known \['gate.bias'\]"),
        (lambda weights: {k: v for k, v in weights.items() if k != "rate.bias"}, r"missing \['rate.bias'\]"),
    ],
)
def test_wrong_weights_are_refused(change: Callable[[Weights], dict[str, Any]], words: str) -> None:
    spec = make_spec("decay")
    weights = make_weights(spec)
    check_weights(spec, weights)
    with pytest.raises(BundleError, match=words) as caught:
        Network(spec, change(weights))
    assert isinstance(caught.value, LiquidPilotError)
