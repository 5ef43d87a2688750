"""A policy file of HalfCheetah: saved as loaded, refused once anything in it changes, and never taken for a drone's."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from liquid_pilot import Controller
from liquid_pilot.bundle import Bundle, digest, load_bundle, run_selftest, save_bundle
from liquid_pilot.errors import BundleError
from liquid_pilot.half_cheetah import BODY_FIELDS, MOST_FRAMES, OBSERVE, CheetahLayout
from liquid_pilot.schema import check_metadata
from tests.onboard.bundles import Metadata, Tensors, assert_same, make, make_cheetah, parts, wired_spec

LAYOUTS = [(simulator, observe) for simulator in BODY_FIELDS for observe in OBSERVE]


@pytest.fixture(scope="module", name="good")
def good_bundle() -> Bundle:
    return make_cheetah()


def write(path: Path, tensors: Tensors, metadata: Metadata, *, sealed: bool) -> Path:
    """What a forger would write; sealed: with a hash that fits."""
    if sealed:
        metadata = metadata | {"sha256": digest(tensors, metadata)}
    path.write_bytes(save(tensors, {"liquid_pilot": json.dumps(metadata, sort_keys=True)}))
    return path


@pytest.mark.parametrize(("simulator", "observe"), LAYOUTS)
def test_round_trip_is_byte_equal(simulator: str, observe: str, tmp_path: Path) -> None:
    made = make_cheetah(simulator, observe)
    first = save_bundle(tmp_path / "a.safetensors", made)
    loaded = load_bundle(first)
    assert_same(made, loaded)
    assert first.read_bytes() == save_bundle(tmp_path / "b.safetensors", loaded).read_bytes()
    assert loaded.metadata["observation"] == CheetahLayout(simulator, observe).manifest()
    assert loaded.task == "half-cheetah" and run_selftest(loaded) == 0.0


def test_a_wired_policy_is_a_policy(tmp_path: Path) -> None:
    width = CheetahLayout("pybullet", "positions").width
    made = make_cheetah(observe="positions", spec=replace(wired_spec("decay", width, (8, 5, 6)), time_unit_s=0.0165))
    assert_same(load_bundle(save_bundle(tmp_path / "a.safetensors", made)), made)


def set_(*path: Any) -> Any:
    *keys, last, value = path

    def change(metadata: Metadata) -> None:
        inner: Any = metadata
        for key in keys:
            inner = inner[key]
        inner[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_("simulator", "mujoco"), r"observation\[1\]"),
        (set_("simulator", "gazebo"), "one of pybullet, mujoco"),
        (set_("simulator", ["pybullet"]), "one of pybullet"),
        (set_("observe", "positions"), r"observation\[2\]"),
        (set_("observe", "all"), "one of full"),
        (set_("observation", 2, "scale", 1.0), r"observation\[2\]"),
        (set_("observation", 0, "index", [1]), r"observation\[0\]"),
        (set_("observation", {}), "list"),
        (lambda m: m["observation"].pop(), "missing"),
        (lambda m: m["observation"].append({}), "nothing"),
        (set_("trained_rhythm", "frames", [0, 6]), "from 1 to 100"),
        (set_("trained_rhythm", "frames", [6, 1]), "lowest, highest"),
        (set_("trained_rhythm", "frames", [1.0, 6.0]), "whole numbers"),
        (set_("trained_rhythm", "frames", [1, MOST_FRAMES + 1]), "trained_rhythm.frames"),
        (set_("trained_rhythm", "delay_frames", [-1, 0]), "trained_rhythm.delay_frames"),
        (set_("trained_rhythm", "dropped", 1.5), "from 0 to 1"),
        (set_("trained_rhythm", "noise", -1.0), "trained_rhythm.noise"),
        (set_("trained_rhythm", "speed", 1.0), r"not known \['speed'\]"),
        (set_("cell", "inputs", 28), "29, the width"),
        (set_("cell", "outputs", 4), "6 outputs"),
        (set_("airframe", "cf2x"), r"not known \['airframe'\]"),
        (lambda m: m.pop("trained_rhythm"), r"missing \['trained_rhythm'\]"),
        (set_("task", "hover"), "missing"),
        (set_("task", "half_cheetah"), "missing"),
        (set_("schema", 2), "schema 2"),
    ],
)
def test_a_forged_field_is_refused_even_with_a_hash_that_fits(
    change: Any, words: str, good: Bundle, tmp_path: Path
) -> None:
    tensors, metadata = parts(good)
    load_bundle(write(tmp_path / "a.safetensors", tensors, metadata, sealed=True))  # that this is how one is made
    change(metadata)
    with pytest.raises(BundleError, match=words):
        load_bundle(write(tmp_path / "a.safetensors", tensors, metadata, sealed=True))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where anything stands in nested data."""
    inner: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return ([path] if path else []) + [found for key, item in inner for found in places(item, (*path, key))]


GOOD = make_cheetah()
PLACES = places(GOOD.metadata)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)


@given(st.sampled_from(PLACES), JSON)
def test_any_other_value_anywhere_is_refused(place: tuple[Any, ...], value: Any) -> None:
    tensors, metadata = parts(GOOD)
    inner: Any = metadata
    for key in place[:-1]:
        inner = inner[key]
    if json.dumps(inner[place[-1]]) == json.dumps(value):
        return
    inner[place[-1]] = value
    with pytest.raises(BundleError):
        load_forged(tensors, metadata)
    if place[0] in ("schema", "task", "simulator", "observe", "observation"):  # even with a hash that fits
        with pytest.raises(BundleError, match=r"(metadata|the policy has schema)"):
            load_forged(tensors, metadata | {"sha256": digest(tensors, metadata)})


@given(st.sampled_from(PLACES))
def test_anything_left_out_is_refused(place: tuple[Any, ...]) -> None:
    tensors, metadata = parts(GOOD)
    inner: Any = metadata
    for key in place[:-1]:
        inner = inner[key]
    inner.pop(place[-1])
    with pytest.raises(BundleError):
        load_forged(tensors, metadata)


def load_forged(tensors: Tensors, metadata: Metadata) -> Bundle:
    from liquid_pilot.bundle import _decode, verify

    found = _decode(save(tensors, {"liquid_pilot": json.dumps(metadata, sort_keys=True)}))
    verify(found)
    return found


def test_forging_is_loading_when_nothing_is_changed() -> None:
    assert_same(load_forged(*parts(GOOD)), GOOD)


@given(JSON)
def test_metadata_that_is_something_else_is_refused(value: Any) -> None:
    with pytest.raises(BundleError):
        check_metadata(value)


def test_a_drone_is_no_cheetah_and_a_cheetah_no_drone(good: Bundle, tmp_path: Path) -> None:
    for made, task in ((make(), "half-cheetah"), (good, "hover")):
        tensors, metadata = parts(made)
        metadata["task"] = task
        with pytest.raises(BundleError, match=r"missing.*not known"):
            load_bundle(write(tmp_path / "a.safetensors", tensors, metadata, sealed=True))


def test_a_policy_that_flies_no_drone_says_where_it_runs(good: Bundle, tmp_path: Path) -> None:
    path = save_bundle(tmp_path / "a.safetensors", good)
    for ask in (lambda: good.limits, lambda: Controller(good), lambda: Controller.load(path)):
        with pytest.raises(BundleError, match=r"flies no drone.*--task half-cheetah"):
            ask()
    shaped = replace(good, spec=make().spec)  # not even one of a drone's shape
    with pytest.raises(BundleError, match="flies no drone"):
        Controller(shaped)


def test_making_refuses_what_loading_would() -> None:
    rhythm = copy.deepcopy(GOOD.metadata["trained_rhythm"])
    with pytest.raises(BundleError, match=r"missing \['noise'\]"):
        make_cheetah(trained_rhythm={key: value for key, value in rhythm.items() if key != "noise"})
    with pytest.raises(BundleError, match="29"):
        make_cheetah(spec=replace(GOOD.spec, inputs=28))
    nan = GOOD.weights | {"readout.bias": np.full(6, np.nan, np.float32)}
    with pytest.raises(BundleError, match="NaN"):
        save_bundle("never.safetensors", replace(GOOD, weights=nan))
