"""The compiled core gives numpy's numbers, is proved before it flies, and without it numpy flies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from liquid_pilot import Controller, Imu, native_step
from liquid_pilot.bundle import load_bundle
from liquid_pilot.cells import Network
from liquid_pilot.errors import BundleError, ConfigError, MessageError
from liquid_pilot.export import policy
from liquid_pilot.forms import FORMS
from liquid_pilot.native import NativeBuildError, NativeUnavailable
from liquid_pilot.native_step import CompiledNetwork, choose_core, compiled
from liquid_pilot.observation import OBS_DIM
from tests.export.compiling import needs_compiler
from tests.export.test_export_c import CASES
from tests.onboard.bundles import make

REST = (0.0, 0.0, 9.81)


def events(seed: int, count: int = 1000) -> list[tuple[Any, float]]:
    rng = np.random.default_rng([seed])
    x = rng.normal(size=(count, OBS_DIM)).astype(np.float32)
    dt_s = np.exp(rng.uniform(np.log(1e-3), np.log(0.2), count))
    dt_s[::10] = 0.0
    return list(zip(x, dt_s.tolist(), strict=True))


@needs_compiler
@pytest.mark.parametrize("case", CASES)
def test_a_thousand_recurrent_steps_are_numpys(case: str) -> None:
    bundle = make(spec=CASES[case])
    network, core = Network(bundle.spec, bundle.weights), compiled(bundle)
    h = k = network.initial_state()
    for x, dt_s in events(0):
        wanted, h = network.step(x, h, dt_s)
        action, k = core.step(x, k, dt_s)
        assert_allclose(action, wanted, atol=1e-5, rtol=0)
        assert_allclose(k, h, atol=1e-5, rtol=1e-6)


@needs_compiler
def test_the_shipped_policy_over_a_thousand_steps() -> None:
    bundle = load_bundle("hover")
    network, core = Network(bundle.spec, bundle.weights), compiled(bundle)
    h = k = network.initial_state()
    for x, dt_s in events(1):
        wanted, h = network.step(x, h, dt_s)
        action, k = core.step(x, k, dt_s)
        assert_allclose(np.concatenate([action, k]), np.concatenate([wanted, h]), atol=1e-5, rtol=0)


@needs_compiler
@given(
    x=st.lists(st.floats(width=32), min_size=OBS_DIM, max_size=OBS_DIM),
    dt_s=st.one_of(st.sampled_from([0.0, 1e-9, 1e6, 1e300, float("inf")]), st.floats(0.0, 1e3)),
    form=st.sampled_from(sorted(FORMS)),
)
@settings(max_examples=150, deadline=None)
def test_any_input_gives_the_finite_or_the_visible(x: list[float], dt_s: float, form: str) -> None:
    if form not in _CORES:
        _CORES[form] = compiled(make(form))
    core = _CORES[form]
    before = core.initial_state()
    action, h = core.step(np.array(x, np.float32), before, dt_s)
    if np.isnan(x).any():
        assert np.isnan(action).any()
    else:
        assert np.isfinite(action).all() and np.isfinite(h).all() and np.abs(action).max() <= 1.0
        if form == "decay":
            assert np.abs(h).max() <= 1.0 and (dt_s > 0.0 or (h == before).all())


_CORES: dict[str, CompiledNetwork] = {}


@needs_compiler
def test_bad_time_and_shapes_are_refused_as_by_numpy() -> None:
    core = compiled(make())
    x, h = np.zeros(OBS_DIM, np.float32), core.initial_state()
    for dt_s in (-1.0, float("nan")):
        with pytest.raises(MessageError, match="0 or more"):
            core.step(x, h, dt_s)
    with pytest.raises(MessageError, match="give"):
        core.step(x[:-1], h, 0.01)
    kept = core.step(x, h, 0.01)
    core.step(x + 1, kept[1], 0.02)
    again = core.step(x, h, 0.01)
    assert_array_equal(again[0], kept[0])
    assert_array_equal(again[1], kept[1])


def flown(controller: Controller) -> list[Any]:
    rng, found = np.random.default_rng(3), []
    for k in range(200):
        gyro = tuple(rng.normal(0.0, 0.3, 3).tolist())
        found.append(controller.feed(Imu(t_s=0.01 * k, gyro_rad_s=gyro, accel_m_s2=REST)))
    return found


@needs_compiler
def test_a_controller_flies_either_core_and_replays_each_to_the_bit() -> None:
    cores = {core: Controller(make(), core=core) for core in ("numpy", "c", "auto")}
    assert {core: pilot.core for core, pilot in cores.items()} == {"numpy": "numpy", "c": "c", "auto": "c"}
    for pilot in cores.values():
        first = flown(pilot)
        pilot.reset()
        assert flown(pilot) == first
    assert_allclose(cores["c"].hidden, cores["numpy"].hidden, atol=1e-5)
    assert_array_equal(cores["c"].hidden, cores["auto"].hidden)
    assert Controller(make()).core == "numpy"


def notes(pilot: Controller) -> list[str]:
    flown(pilot)
    return [event.text for event in pilot.events if event.kind == "core"]


def test_without_a_compiler_numpy_flies_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/nowhere/cc")
    pilot = Controller(make(), core="auto")
    assert pilot.core == "numpy"
    (note,) = notes(pilot)
    assert note.startswith("numpy flies instead of C: no C compiler")
    assert flown(Controller(make(), core="auto")) == flown(Controller(make()))
    with pytest.raises(NativeUnavailable):
        Controller(make(), core="c")


@needs_compiler
def test_a_compiler_that_fails_leaves_numpy_flying(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("LIQUID_PILOT_CACHE", str(tmp_path))
    monkeypatch.setattr(native_step, "FLAGS", ("-std=c99", "-no-such-flag"))
    assert "ended with" in notes(Controller(make(), core="auto"))[0]
    with pytest.raises(NativeBuildError):
        compiled(make())


@needs_compiler
def test_a_core_that_computes_wrongly_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    right = policy.core_source

    def wrong(*arguments: Any) -> str:
        text = right(*arguments)
        assert "(1.0f - keep)" in text
        return text.replace("(1.0f - keep)", "(1.001f - keep)")

    monkeypatch.setenv("LIQUID_PILOT_CACHE", str(tmp_path))
    monkeypatch.setattr(policy, "core_source", wrong)
    with pytest.raises(BundleError, match="differs from numpy"):
        compiled(make())
    network, note = choose_core(make(), "auto")
    assert isinstance(network, Network)
    assert "differs from numpy" in note
    assert "differs from numpy" in notes(Controller(make(), core="auto"))[0]


def test_an_unknown_core_is_refused() -> None:
    with pytest.raises(ConfigError, match="choose one of: auto, c, numpy"):
        Controller(make(), core="fortran")
