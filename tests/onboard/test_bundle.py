"""What is saved as a policy is what is loaded, and nothing is saved or made that would not load."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liquid_pilot import bundle as bundle_module
from liquid_pilot.bundle import (
    Bundle,
    SelfTest,
    load_bundle,
    make_bundle,
    make_selftest,
    run_selftest,
    save_bundle,
    shipped,
)
from liquid_pilot.cell_spec import WIRED_FORMS
from liquid_pilot.cells import FORMS, CellSpec, Network
from liquid_pilot.command import DEFAULT_LIMITS
from liquid_pilot.errors import BundleError, ConfigError
from liquid_pilot.observation import OBS_DIM
from liquid_pilot.schema import canonical_json
from liquid_pilot.selftest import largest_difference, run_difference, step_difference
from tests.onboard.bundles import assert_same, make, wired_spec


@pytest.fixture(scope="module", name="good")
def good_bundle() -> Bundle:
    return make()


@pytest.mark.parametrize("form", sorted(FORMS))
def test_round_trip_is_byte_equal(form: str, tmp_path: Path) -> None:
    _round_trip(make(form), tmp_path)


@pytest.mark.parametrize("form", WIRED_FORMS)
def test_round_trip_of_a_wired_cell_is_byte_equal(form: str, tmp_path: Path) -> None:
    _round_trip(make(spec=wired_spec(form)), tmp_path)


def _round_trip(made: Bundle, tmp_path: Path) -> None:
    first = save_bundle(tmp_path / "a.safetensors", made)
    loaded = load_bundle(first)
    assert_same(made, loaded)
    second = save_bundle(tmp_path / "deeper" / "b.safetensors", loaded)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.safetensors", "deeper"]  # no temporary file stays


def test_loaded_bundle_says_what_was_saved(good: Bundle, tmp_path: Path) -> None:
    loaded = load_bundle(str(save_bundle(tmp_path / "a.safetensors", good)))
    assert loaded.limits == DEFAULT_LIMITS
    assert loaded.parameters == sum(value.size for value in loaded.weights.values()) == 2646
    assert loaded.metadata["training"]["host"] == "test"
    assert len(loaded.metadata["sha256"]) == 64
    assert run_selftest(loaded) == 0.0  # the same machine that recorded it
    with pytest.raises(ValueError, match="read-only"):
        loaded.weights["rate.bias"][0] = 0.0


def test_self_test_covers_time_that_stands_still_and_every_step(good: Bundle) -> None:
    dt_s = good.selftest.dt_s
    assert len(dt_s) >= 64 and (dt_s == 0.0).any() and len(np.unique(dt_s)) > 32
    wrong = good.selftest.hidden.copy()
    wrong[-1, -1] += 0.5
    assert run_selftest(replace(good, selftest=replace(good.selftest, hidden=wrong))) == pytest.approx(0.5, abs=1e-6)
    wrong[3, 3] = np.nan
    assert run_selftest(replace(good, selftest=replace(good.selftest, hidden=wrong))) == float("inf")


def test_rounding_that_a_recurrence_amplifies_is_no_other_policy() -> None:
    """A recording by another machine: last bits apart at every step, and each step from its own state."""
    made = make(form="no_gate", spec=CellSpec("no_gate", OBS_DIM, 19, 4, 1, 32, 0.015))
    weights = {name: value * np.float32(3.0 if "backbone" in name else 1.5) for name, value in made.weights.items()}
    network, rng = Network(made.spec, weights), np.random.default_rng([3])
    x, dt_s = made.selftest.x, made.selftest.dt_s
    h, rows = network.initial_state(), []
    for k, dt in enumerate(dt_s.tolist()):
        action, h = network.step(x[k], h, dt)
        h = (h * (1.0 + 1e-6 * rng.uniform(-1.0, 1.0, h.shape))).astype(np.float32)
        rows.append((action, h))
    action, hidden = (np.array(column) for column in zip(*rows, strict=True))
    test = SelfTest(x, dt_s, action, hidden)
    assert step_difference(made.spec, weights, test) < 5e-6
    assert run_difference(made.spec, weights, test) > 2e-5  # what was refused before
    hidden = hidden + np.float32(1e-4)
    assert step_difference(made.spec, weights, SelfTest(x, dt_s, action, hidden)) > 5e-5


def test_a_lasting_error_too_small_for_any_step_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    made = make()
    slow = {name: value.copy() for name, value in made.weights.items()}
    slow["rate.bias"] -= np.float32(6.0)  # seconds
    test = make_selftest(made.spec, slow, np.random.default_rng([1]), 2000)
    off = slow | {"rate.bias": slow["rate.bias"] + np.float32(0.02)}
    monkeypatch.setattr(bundle_module, "SELFTEST_TOLERANCE", 1e-2)
    with pytest.raises(BundleError, match="flown as one run"):
        make_bundle(
            "a",
            "hover",
            made.spec,
            off,
            DEFAULT_LIMITS,
            test,
            **{name: made.metadata[name] for name in OTHERS},
        )


OTHERS = ("trained_rates_hz", "sensor_limits_s", "setpoint_limits", "airframe", "training")


def test_names_mean_shipped_policies(good: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_module, "ZOO_DIR", tmp_path)
    with pytest.raises(ConfigError, match=r"unknown policy 'hover'.*path of a .safetensors"):
        load_bundle("hover")
    save_bundle(tmp_path / "hover.safetensors", good)
    save_bundle(tmp_path / "track.safetensors", good)
    assert shipped() == ["hover", "track"]
    assert_same(load_bundle("hover"), good)
    with pytest.raises(ConfigError, match=r"'hoover'; choose one of: hover, track"):
        load_bundle("hoover")
    with pytest.raises(ConfigError, match="no policy"):
        load_bundle(None)  # type: ignore[arg-type]


def test_every_shipped_policy_proves_itself() -> None:
    for name in shipped():
        assert load_bundle(name).name == name


def test_saving_refuses_what_loading_would(good: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    nan = good.weights | {"rate.bias": np.full(19, np.nan, np.float32)}
    edited = good.weights | {"rate.bias": good.weights["rate.bias"] + np.float32(0.1)}
    wrong: list[tuple[Bundle, str]] = [
        (replace(good, weights=nan), "NaN"),
        (replace(good, weights=edited), "sha256"),
        (replace(good, name="other"), "make_bundle"),
        (replace(good, task="land"), "make_bundle"),
        (replace(good, metadata=good.metadata | {"schema": 7}), "schema 7"),
        (replace(good, selftest=replace(good.selftest, x=good.selftest.x.astype(np.float64))), "float64"),
    ]
    for bundle, words in wrong:
        with pytest.raises(BundleError, match=words):
            save_bundle(path, bundle)
    with pytest.raises(BundleError, match=r"ends in \.safetensors"):
        save_bundle(tmp_path / "a.pt", good)
    (tmp_path / "taken.safetensors").mkdir()
    with pytest.raises(BundleError, match="cannot be written"):
        save_bundle(tmp_path / "taken.safetensors", good)
    assert [p.name for p in tmp_path.iterdir()] == ["taken.safetensors"]


def test_a_failed_write_leaves_the_old_file(good: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_bundle(tmp_path / "a.safetensors", good)
    before = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BundleError, match="no space left"):
        save_bundle(path, make(seed=1))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_making_refuses_what_cannot_be_flown() -> None:
    with pytest.raises(BundleError, match="missing"):
        make(training={"seed": 0})
    with pytest.raises(BundleError, match="not JSON"):
        make(training={"config": {"x": object()}, "seed": 0, "commit": "", "minutes": 1})
    with pytest.raises(BundleError, match="not JSON"):
        make(training={"config": {"x": float("nan")}, "seed": 0, "commit": "", "minutes": 1})


def test_equal_metadata_has_one_text() -> None:
    assert canonical_json({"b": 1.0, "a": [1, "é"]}) == '{"a":[1,"\\u00e9"],"b":1.0}'


def test_a_selftest_asks_of_large_numbers_what_float32_can_give() -> None:
    recorded = np.array([0.5, -4.0, 0.0], np.float32)
    for off in ([1e-3, 0.0, 0.0], [0.0, 4e-3, 0.0]):
        found = recorded + np.array(off, np.float32)
        assert largest_difference(found, recorded) == pytest.approx(1e-3, rel=1e-3)
    assert largest_difference(np.array([np.nan, 0.0, 0.0], np.float32), recorded) == np.inf
    assert largest_difference(recorded[:0], recorded[:0]) == 0.0
