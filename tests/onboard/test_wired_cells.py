"""Laws of a wired cell in numpy: layer after layer, each by the formula on its live synapses alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liquid_pilot.cell_spec import WIRED_FORMS, CellSpec, parameters, weight_masks
from liquid_pilot.cells import FORMS, Network
from liquid_pilot.errors import BundleError, ConfigError
from liquid_pilot.wiring import LAYERS, CellWiring
from tests.onboard.bundles import draw_weights, wired_spec
from tests.onboard.test_cells import formula_step

F64 = npt.NDArray[np.float64]
SIZES = (9, 6, 4)
ROWS: dict[str, Any] = {"inter": ("110", "011"), "command": ("1011", "0111"), "motor": ("101",), "seed": 0}


def layered_step(spec: CellSpec, weights: dict[str, Any], x: F64, h: F64, dt_s: float) -> tuple[F64, F64]:
    """Each layer as a cell of its own, without a backbone, on what the layer before it has just become."""
    heard, states, start = x, [], 0
    for layer, size in zip(LAYERS, SIZES, strict=True):
        own = {name.removeprefix(f"{layer}."): w for name, w in weights.items() if name.startswith(f"{layer}.")}
        own |= {"readout.weight": np.zeros((1, size)), "readout.bias": np.zeros(1)}
        alone = CellSpec(spec.form, len(heard), size, 1, 0, 1, spec.time_unit_s)
        _, heard = formula_step(alone, own, heard, h[start : start + size], dt_s)
        states.append(heard)
        start += size
    action = weights["readout.weight"].astype(np.float64) * heard + weights["readout.bias"]
    return np.tanh(action), np.concatenate(states)


@pytest.mark.parametrize("form", WIRED_FORMS)
def test_each_step_is_the_formula_layer_by_layer(form: str) -> None:
    spec = wired_spec(form)
    weights = draw_weights(spec, size=0.4)
    network, rng = Network(spec, weights), np.random.default_rng([7])
    h = network.initial_state()
    for k in range(200):
        x = rng.normal(size=spec.inputs).astype(np.float32)
        dt_s = 0.0 if k % 10 == 0 else float(np.exp(rng.uniform(np.log(1e-3), np.log(0.2))))
        wanted_action, wanted_h = layered_step(spec, weights, x.astype(np.float64), h.astype(np.float64), dt_s)
        action, h = network.step(x, h, dt_s)
        np.testing.assert_allclose(action, wanted_action, atol=5e-6, rtol=0)
        np.testing.assert_allclose(h, wanted_h, atol=5e-6, rtol=2e-6)
        assert action.dtype == h.dtype == np.float32 and h.shape == (19,)


@pytest.mark.parametrize("form", WIRED_FORMS)
def test_nothing_passes_where_no_synapse_is(form: str) -> None:
    spec = wired_spec(form)
    network, h = Network(spec, draw_weights(spec, size=0.4)), np.zeros(19, np.float32)
    assert spec.wiring is not None
    _, before = network.step(np.zeros(spec.inputs, np.float32), h, 0.02)
    for source in range(spec.inputs):
        x = np.zeros(spec.inputs, np.float32)
        x[source] = 1.0
        _, after = network.step(x, h, 0.02)
        np.testing.assert_array_equal(after[:9] != before[:9], spec.wiring.masks["inter"][:, source])


def test_wired_decay_does_nothing_in_no_time_and_stays_in_the_unit_box() -> None:
    spec = wired_spec("decay")
    network, rng = Network(spec, draw_weights(spec, size=30.0)), np.random.default_rng([1])
    h = rng.uniform(-1, 1, 19).astype(np.float32)
    for dt_s in (0.0, 1e-3, 0.1, 10.0):
        _, after = network.step(rng.normal(size=spec.inputs).astype(np.float32), h, dt_s)
        assert np.abs(after).max() <= 1.0
        if dt_s == 0.0:
            np.testing.assert_array_equal(after, h)


def test_a_wired_neuron_loses_the_gap_to_its_target_at_its_time_constant() -> None:
    spec = wired_spec("decay")
    weights = draw_weights(spec)
    for name, width in zip(LAYERS, (spec.inputs, 9, 6), strict=True):
        for head in ("target", "rate"):
            weights[f"{name}.{head}.weight"][:, width if name == "inter" else 0 :] = 0.0  # none of them hears a state
    network, x, h = Network(spec, weights), np.full(spec.inputs, 0.3, np.float32), np.zeros(19, np.float32)
    tau_s, (_, target) = network.time_constants(x, h), network.step(x, h, 1e6)
    for neuron in range(19):
        _, after = network.step(x, h, float(tau_s[neuron]))
        assert after[neuron] == pytest.approx((1.0 - np.exp(-1.0)) * target[neuron], abs=2e-6)


@given(
    x=st.lists(st.floats(width=32, allow_nan=False), min_size=21, max_size=21),
    dt_s=st.one_of(st.sampled_from([0.0, 1e-9, 1e300, float("inf")]), st.floats(0.0, 1e3)),
    form=st.sampled_from(WIRED_FORMS),
)
@settings(max_examples=60, deadline=None)
def test_finite_input_gives_finite_output(x: list[float], dt_s: float, form: str) -> None:
    spec = wired_spec(form)
    network = Network(spec, {name: np.sign(w) * np.float32(1e6) for name, w in draw_weights(spec).items()})
    h = network.initial_state()
    for _ in range(3):
        action, h = network.step(np.array(x, np.float32), h, dt_s)
        constants = network.time_constants(np.array(x, np.float32), h)
        assert np.isfinite(action).all() and np.isfinite(h).all() and np.isfinite(constants).all()


@pytest.mark.parametrize("form", WIRED_FORMS)
def test_parameters_are_those_of_live_synapses(form: str) -> None:
    spec = wired_spec(form)
    assert spec.wiring is not None
    heads, vectors = len(FORMS[form].heads), len(FORMS[form].vectors)
    assert len(weight_masks(spec)) == 3 * heads  # time gates included
    assert parameters(spec) == heads * (spec.wiring.live_synapses + 19) + 19 * vectors + 2 * 4
    assert sum(np.count_nonzero(w) for w in draw_weights(spec).values()) == parameters(spec)


def test_a_weight_without_a_synapse_is_refused() -> None:
    spec = wired_spec("decay")
    weights = draw_weights(spec)
    row, column = np.argwhere(~weight_masks(spec)["motor.rate.weight"])[-1]
    weights["motor.rate.weight"][row, column] = -0.5
    with pytest.raises(BundleError, match=rf"'motor.rate.weight' holds -0.5 at \[{row}, {column}\].*must be 0"):
        Network(spec, weights)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"inter": ()}, "wiring.inter"),
        ({"inter": ["110", "011"]}, "wiring.inter"),
        ({"inter": ("110", 11)}, "wiring.inter"),
        ({"inter": ("110", "01")}, "characters"),
        ({"command": ("101", "011")}, "have .3. characters; give 4: 2 for what the layer hears, 2 for itself"),
        ({"inter": ("11", "01")}, "give 3: 1 for"),
        ({"motor": ("1x1",)}, "made of '0' and '1'"),
        ({"motor": ("000",)}, "one '1' at least"),
        ({"seed": -1}, "seed"),
        ({"seed": True}, "seed"),
    ],
)
def test_impossible_wirings_are_refused(change: dict[str, Any], words: str) -> None:
    made = CellWiring(**ROWS)
    assert (made.inputs, made.sizes, made.live_synapses, made.possible_synapses) == (1, (2, 2, 1), 12, 17)
    assert str(made) == "2-2-1 of seed 0"
    with pytest.raises(ConfigError, match=words):
        CellWiring(**(ROWS | change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"form": "lstm"}, "give it to one of: decay, default, no_gate, pure"),
        ({"backbone_layers": 1}, "without a backbone"),
        ({"inputs": 2}, "the same numbers"),
        ({"units": 6}, "the same numbers"),
        ({"outputs": 2}, "the same numbers"),
    ],
)
def test_a_wiring_of_another_cell_is_refused(change: dict[str, Any], words: str) -> None:
    values: dict[str, Any] = {"form": "decay", "inputs": 1, "units": 5, "outputs": 1, "backbone_layers": 0}
    values |= {"backbone_units": 1, "time_unit_s": 0.015, "wiring": CellWiring(**ROWS)}
    CellSpec(**values)
    with pytest.raises(ConfigError, match=words):
        CellSpec(**(values | change))
