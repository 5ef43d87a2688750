"""int8 weights and Q15 state: what numpy emulates is what the C computes; how far they are from float is stated."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from liquid_pilot.bundle import Bundle, load_bundle, run_selftest, save_bundle
from liquid_pilot.cells import Network, weight_masks
from liquid_pilot.export.core import Storage
from liquid_pilot.export.policy import core_source
from liquid_pilot.export.products import STEPS, quantised, row_scales
from liquid_pilot.export.quantise import int8_weights, quantised_bundle, quantised_network, rounded_to_q15
from liquid_pilot.native import build
from liquid_pilot.native_step import FLAGS
from tests.export.compiling import needs_compiler
from tests.export.test_export_c import CASES
from tests.export.test_native_step import events
from tests.onboard.bundles import make, wired_spec

F32 = npt.NDArray[np.float32]
INT8, Q15, BOTH = Storage(int8=True), Storage(q15=True), Storage(int8=True, q15=True)


def c_step(bundle: Bundle, storage: Storage) -> Callable[[F32, float], tuple[F32, F32]]:
    """Steps in C from the initial state: x, dt_s -> action, state as numbers."""
    lib = build(core_source(bundle.spec, bundle.weights, "p", storage), "small", FLAGS)
    width = max(1, bundle.spec.state_width)
    state: npt.NDArray[Any] = np.zeros(width, np.int16 if storage.q15 else np.float32)
    action = np.zeros(bundle.spec.outputs, np.float32)

    def step(x: F32, dt_s: float) -> tuple[F32, F32]:
        at = [ctypes.c_void_p(array.ctypes.data) for array in (state, x, action)]
        assert lib.p_step_scaled(at[0], at[1], ctypes.c_float(dt_s), at[2]) == 0
        told: F32 = (state / (32768.0 if storage.q15 else 1.0)).astype(np.float32)
        return action.copy(), told[: bundle.spec.state_width]

    return step


@needs_compiler
@pytest.mark.parametrize("case", CASES)
def test_int8_c_is_its_emulation_over_a_thousand_steps(case: str) -> None:
    bundle = make(spec=CASES[case])
    step, network = c_step(bundle, INT8), quantised_network(bundle, INT8)
    h = network.initial_state()
    for x, dt_s in events(2):
        wanted, h = network.step(x, h, dt_s)
        action, state = step(x, dt_s)
        assert_allclose(action, wanted, atol=1e-5, rtol=0)
        assert_allclose(state, h, atol=1e-5, rtol=1e-6)


@needs_compiler
@pytest.mark.parametrize("storage", [Q15, BOTH], ids=["float weights", "int8 weights"])
def test_q15_c_is_its_emulation_step_by_step_to_one_place_and_few_steps_differ(storage: Storage) -> None:
    """Each step from the same state: only a number on the edge between two places can fall to the other one."""
    bundle = load_bundle("hover")
    step, network = c_step(bundle, storage), quantised_network(bundle, storage)
    h, moved, count = network.initial_state(), 0, 0
    for x, dt_s in events(3):
        wanted, emulated = network.step(x, h, dt_s)
        action, h = step(x, dt_s)
        assert_allclose(action, wanted, atol=1e-5, rtol=0)
        assert np.abs(h - emulated).max() <= 2.0**-15
        moved, count = moved + int((h != emulated).sum()), count + len(h)
    assert moved <= 0.02 * count


@needs_compiler
def test_q15_c_stays_with_its_emulation_in_the_long_run() -> None:
    bundle = load_bundle("hover")
    step, network = c_step(bundle, BOTH), quantised_network(bundle, BOTH)
    h = network.initial_state()
    for x, dt_s in events(4):
        wanted, h = network.step(x, h, dt_s)
        action, state = step(x, dt_s)
        assert_allclose(action, wanted, atol=2e-3)
        assert_allclose(state, h, atol=2e-3)


@given(st.lists(st.lists(st.floats(-50, 50, width=32), min_size=5, max_size=5), min_size=1, max_size=4))
@settings(deadline=None)
def test_an_int8_weight_is_off_by_half_a_step_at_most(rows: list[list[float]]) -> None:
    weight = np.array(rows, np.float32)
    steps, scales = quantised(weight), row_scales(weight)
    assert np.abs(steps.astype(int)).max() <= STEPS
    assert (np.abs(steps * scales[:, None] - weight) <= 0.5001 * scales[:, None] + 1e-37).all()
    assert (steps[weight == 0.0] == 0).all()
    again = int8_weights({"w": (steps * scales[:, None]).astype(np.float32)})["w"]
    assert_allclose(again, steps * scales[:, None], rtol=1e-6)


@given(st.floats(-1.0, 1.0, width=32))
def test_q15_rounds_to_the_nearest_place(value: float) -> None:
    h = np.array([value], np.float32)
    kept = rounded_to_q15(h)
    assert (kept * 32768.0) % 1.0 == 0.0
    assert abs(float(kept[0]) - value) <= (2.0**-16 if value < 1.0 - 2.0**-15 else 2.0**-15)
    assert_array_equal(rounded_to_q15(kept), kept)


def test_q15_at_its_ends() -> None:
    h = np.array([2.0, 1.0, -1.0, -7.0, np.inf, np.nan, 0.5 * 2.0**-15, -0.5 * 2.0**-15, 0.0], np.float32)
    place = 2.0**-15
    assert_array_equal(rounded_to_q15(h), [1 - place, 1 - place, -1, -1, 1 - place, -1, place, -place, 0])


@needs_compiler
def test_q15_in_c_rounds_as_numpy_does() -> None:
    bundle = make(spec=CASES["one neuron"])
    text = core_source(bundle.spec, bundle.weights, "p", Q15)
    lib = build(text + "int rounded(float h) { return p_to_q15(h); }\n", "rounded", FLAGS)
    lib.rounded.argtypes, lib.rounded.restype = [ctypes.c_float], ctypes.c_int
    half = (np.arange(-40, 40) + 0.5) / 32768.0
    values = np.concatenate([half, np.linspace(-1.1, 1.1, 5001), [np.nan, np.inf, -np.inf]]).astype(np.float32)
    assert_array_equal([lib.rounded(v) for v in values.tolist()], (rounded_to_q15(values) * 32768.0).astype(int))


def test_a_quantised_bundle_is_a_bundle(tmp_path: object) -> None:
    bundle = load_bundle("hover")
    small = quantised_bundle(bundle)
    assert small.name == "hover-int8" and small.limits == bundle.limits and small.spec == bundle.spec
    assert run_selftest(small) <= 1e-5
    assert small.metadata["training"]["quantised_from"] == bundle.metadata["sha256"]
    path = save_bundle(f"{tmp_path}/small.safetensors", small)
    assert load_bundle(path).metadata == small.metadata


def test_synapses_that_are_not_there_stay_away() -> None:
    bundle = make(spec=wired_spec("decay"))
    small = int8_weights(bundle.weights)
    for name, mask in weight_masks(bundle.spec).items():
        assert not small[name][~mask].any()
        assert (small[name] != bundle.weights[name]).any()


def test_int8_costs_something_and_not_much() -> None:
    """The shipped policy over a thousand recurrent steps, on inputs of the size of its own."""
    bundle = load_bundle("hover")
    network, small = Network(bundle.spec, bundle.weights), quantised_network(bundle, INT8)
    h = k = network.initial_state()
    largest = 0.0
    for x, dt_s in events(5):
        wanted, h = network.step(np.float32(0.3) * x, h, dt_s)
        found, k = small.step(np.float32(0.3) * x, k, dt_s)
        largest = max(largest, float(np.abs(found - wanted).max()))
    assert 1e-4 < largest < 0.2
