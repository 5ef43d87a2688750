"""A policy file either proves itself or is refused with what was found, what is allowed and the fix."""

from __future__ import annotations

import copy
import json
import os
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from liquid_pilot import bundle as bundle_module
from liquid_pilot.bundle import (
    Bundle,
    SelfTest,
    digest,
    load_bundle,
    make_bundle,
    make_selftest,
    run_selftest,
    save_bundle,
    shipped,
)
from liquid_pilot.cells import FORMS, CellSpec, weight_shapes
from liquid_pilot.command import DEFAULT_LIMITS
from liquid_pilot.errors import BundleError, ConfigError
from liquid_pilot.observation import OBS_DIM
from liquid_pilot.schema import canonical_json

Tensors = dict[str, Any]
Metadata = dict[str, Any]
Change = Callable[[Tensors, Metadata], None]


def make(form: str = "decay", seed: int = 0, backbone_units: int = 32, **changed: Any) -> Bundle:
    """A small policy with random weights."""
    spec = CellSpec(form, OBS_DIM, 0 if form == "mlp" else 19, 4, 1, backbone_units, 0.015)
    rng = np.random.default_rng([seed])
    weights = {name: (0.2 * rng.normal(size=shape)).astype(np.float32) for name, shape in weight_shapes(spec).items()}
    values: dict[str, Any] = {
        "trained_rates_hz": {"imu": (50.0, 200.0), "flow": (20.0, 50.0), "range": (20.0, 40.0)},
        "sensor_limits_s": {"imu": 0.1, "flow": 2.0, "range": 2.0},
        "setpoint_limits": {"speed_m_s": 0.5, "height_m": (0.5, 2.0), "yaw_rate_rad_s": 1.0},
        "airframe": "cf2x",
        "training": {"config": {"batch": 256}, "seed": 0, "commit": "unknown", "minutes": 1.5, "host": "test"},
    }
    return make_bundle(
        "test-hover", "hover", spec, weights, DEFAULT_LIMITS, make_selftest(spec, weights, rng), **(values | changed)
    )


@pytest.fixture(scope="module")
def good() -> Bundle:
    return make()


def parts(bundle: Bundle) -> tuple[Tensors, Metadata]:
    tensors: Tensors = {f"weights.{name}": value.copy() for name, value in bundle.weights.items()}
    for name in SelfTest.__slots__:
        tensors[f"selftest.{name}"] = getattr(bundle.selftest, name).copy()
    return tensors, copy.deepcopy(bundle.metadata)


def write(path: Path, tensors: Tensors, metadata: Metadata, *, sealed: bool = True) -> Path:
    """Write what a forger would; `sealed` = with a sha256 that matches."""
    if sealed and "sha256" in metadata:
        metadata["sha256"] = digest(tensors, metadata)
    path.write_bytes(save(tensors, {"liquid_pilot": json.dumps(metadata, sort_keys=True)}))
    return path


def assert_same(a: Bundle, b: Bundle) -> None:
    assert (a.name, a.task, a.spec, a.limits, a.metadata) == (b.name, b.task, b.spec, b.limits, b.metadata)
    (first, _), (second, _) = parts(a), parts(b)
    assert set(first) == set(second)
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


@pytest.mark.parametrize("form", sorted(FORMS))
def test_round_trip_is_byte_equal(form: str, tmp_path: Path) -> None:
    made = make(form)
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


def test_a_short_file_is_refused_wherever_it_ends(good: Bundle, tmp_path: Path) -> None:
    data = save_bundle(tmp_path / "a.safetensors", good).read_bytes()
    path = tmp_path / "cut.safetensors"
    for end in sorted({*range(0, 24), *range(24, len(data), 307), len(data) - 1}):
        path.write_bytes(data[:end])
        with pytest.raises(BundleError, match=r"cut\.safetensors"):
            load_bundle(path)
    path.write_bytes(data + b"\0")
    with pytest.raises(BundleError):
        load_bundle(path)


def test_a_flipped_bit_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    made = make(backbone_units=4)
    data = save_bundle(tmp_path / "a.safetensors", made).read_bytes()
    header = 8 + int.from_bytes(data[:8], "little")
    rng = np.random.default_rng([11])
    places = [*rng.integers(0, header, 500).tolist(), *range(8), *rng.integers(header, len(data), 200).tolist()]
    path, refused = tmp_path / "flipped.safetensors", 0
    for place in places:
        flipped = bytearray(data)
        flipped[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        try:
            loaded = load_bundle(path)
        except BundleError:
            refused += 1
        else:
            assert_same(made, loaded)
    assert refused >= len(places) - 5  # only padding of the header may pass


def _set(*keys_and_value: Any) -> Change:
    *keys, last, value = keys_and_value

    def change(tensors: Tensors, metadata: Metadata) -> None:
        inner: Any = metadata
        for key in keys:
            inner = inner[key]
        inner[last] = value

    return change


def _drop(key: str) -> Change:
    return lambda tensors, metadata: metadata.pop(key)


def _tensor(name: str, value: Any) -> Change:
    return lambda tensors, metadata: tensors.__setitem__(name, value)


def _rename(old: str, new: str) -> Change:
    return lambda tensors, metadata: tensors.__setitem__(new, tensors.pop(old))


def _swap_fields(tensors: Tensors, metadata: Metadata) -> None:
    fields = metadata["observation"]
    fields[0], fields[1] = fields[1], fields[0]


def _other_weights(tensors: Tensors, metadata: Metadata) -> None:
    tensors["weights.target.bias"][3] += np.float32(0.01)


FORGERIES: list[tuple[str, Change, str]] = [
    ("newer schema", _set("schema", 2), "schema 2; this version reads schema 1"),
    ("schema of another type", _set("schema", 1.0), "allowed is 1"),
    ("schema true", _set("schema", True), "allowed is 1"),
    ("no schema", _drop("schema"), "schema None"),
    ("missing field", _drop("airframe"), r"missing \['airframe'\]"),
    ("unknown field", _set("extra", 1), r"not known \['extra'\]"),
    ("name is a path", _set("name", "../../etc/x"), "letters, digits"),
    ("name has a line break", _set("name", "a\n"), "letters, digits"),
    ("wiring", _set("wiring", "ncp"), "allowed is 'full'"),
    ("cell form", _set("cell", "form", "lstm"), "choose one of"),
    ("cell form of a wrong type", _set("cell", "form", []), "CellSpec"),
    ("cell is no object", _set("cell", 3), "CellSpec"),
    ("cell with a new field", _set("cell", "gain", 1), "CellSpec"),
    ("cell of another input", _set("cell", "inputs", 20), f"{OBS_DIM} inputs"),
    ("cell of another size", _set("cell", "units", 18), r"must be float32 \(32, 39\)"),
    ("enormous cell", _set("cell", "units", 10**9), "0 to 1024"),
    ("layout: order", _swap_fields, r"observation\[0\]"),
    ("layout: scale", _set("observation", 3, "scale", 2.0), r"observation\[3\]"),
    ("layout: unit", _set("observation", 0, "unit", "deg/s"), "rad/s"),
    ("layout: a field less", lambda t, m: m["observation"].pop(), "missing"),
    ("layout: a field more", lambda t, m: m["observation"].append({}), "nothing"),
    ("layout: no list", _set("observation", {}), "list of observation fields"),
    ("limits upside down", _set("command_limits", "thrust_m_s2", [19.0, 0.0]), "lowest, highest"),
    ("limits too weak to fly", _set("command_limits", "thrust_m_s2", [0.0, 5.0]), "carry the weight"),
    ("limits infinite", _set("command_limits", "rates_rad_s", [float("inf"), 1.0, 1.0]), "Infinity"),
    ("limits of text", _set("command_limits", "rates_rad_s", ["1", "1", "1"]), "list of 3 numbers"),
    ("limits true", _set("command_limits", "rates_rad_s", [True, 1.0, 1.0]), "list of 3 numbers"),
    ("rates", _set("trained_rates_hz", "imu", [0.0, 100.0]), "0.1 to 10000"),
    ("silence", _set("sensor_limits_s", "imu", -1.0), "sensor_limits_s.imu"),
    ("silence of an unknown sensor", _set("sensor_limits_s", "radar", 1.0), "radar"),
    ("set-point", _set("setpoint_limits", "height_m", 1.0), "list of 2 numbers"),
    ("training", _set("training", "seed", "zero"), "whole number"),
    ("tensor renamed", _rename("weights.rate.bias", "weights.speed.bias"), r"missing \['rate.bias'\]"),
    ("tensor outside the groups", _rename("weights.rate.bias", "rate.bias"), r"allowed are 'weights.\*'"),
    ("tensor missing", lambda t, m: t.pop("weights.rate.bias"), r"missing \['rate.bias'\]"),
    ("self-test missing", lambda t, m: t.pop("selftest.x"), "self-test has tensors"),
    ("NaN weight", _tensor("weights.rate.bias", np.full(19, np.nan, np.float32)), "NaN"),
    ("infinite weight", _tensor("weights.rate.bias", np.full(19, np.inf, np.float32)), "infinity"),
    ("wrong shape", _tensor("weights.rate.bias", np.zeros(20, np.float32)), r"must be float32 \(19,\)"),
    ("wrong type", _tensor("weights.rate.bias", np.zeros(19, np.float64)), "type F64"),
    ("time runs backwards", _tensor("selftest.dt_s", np.full(96, -0.01, np.float32)), "0 or more"),
    ("NaN in the self-test", _tensor("selftest.x", np.full((96, OBS_DIM), np.nan, np.float32)), "NaN"),
    ("short self-test", _tensor("selftest.dt_s", np.zeros(63, np.float32)), "63 steps"),
    ("other weights than tested", _other_weights, "self-test differs"),
]


@pytest.mark.parametrize(("change", "words"), [f[1:] for f in FORGERIES], ids=[f[0] for f in FORGERIES])
def test_forgeries_with_a_matching_hash_are_refused(change: Change, words: str, good: Bundle, tmp_path: Path) -> None:
    tensors, metadata = parts(good)
    change(tensors, metadata)
    try:
        metadata["sha256"] = digest(tensors, metadata)
    except BundleError:  # an infinity has no canonical text; the forger leaves the old hash
        pass
    path = write(tmp_path / "forged.safetensors", tensors, metadata, sealed=False)
    with pytest.raises(BundleError, match=words) as caught:
        load_bundle(path)
    message = str(caught.value)
    assert message.startswith(str(path)) and ";" in message  # where, what; and the fix
    assert "\n" not in message and len(message) < 1500


@pytest.mark.parametrize(
    "change",
    [
        _set("airframe", "racer"),
        _set("setpoint_limits", "speed_m_s", 0.6),
        _set("command_limits", "thrust_m_s2", [0.0, 19.63]),
        _set("training", "commit", "0000"),
        _set("sha256", "0" * 64),
        lambda tensors, metadata: tensors.__setitem__("selftest.x", tensors["selftest.x"] * np.float32(1.0000001)),
        _other_weights,
    ],
)
def test_every_edit_breaks_the_hash(change: Change, good: Bundle, tmp_path: Path) -> None:
    tensors, metadata = parts(good)
    change(tensors, metadata)
    with pytest.raises(BundleError, match=r"sha256.*edited or damaged"):
        load_bundle(write(tmp_path / "edited.safetensors", tensors, metadata, sealed=False))


def _header(text: str) -> bytes:
    return len(text).to_bytes(8, "little") + text.encode()


NOT_POLICIES: list[tuple[str, bytes, str]] = [
    ("empty", b"", "0 bytes"),
    ("seven bytes", b"\1" * 7, "7 bytes"),
    ("huge header", (2**63).to_bytes(8, "little") + b"{}" * 50, "header of 9223372036854775808"),
    ("pickle", pickle.dumps({"weights": [1.0] * 100}), "pickle"),
    ("zip of a checkpoint", b"PK\3\4" + b"\0" * 500, "pickle or a PyTorch checkpoint"),
    ("no metadata", save({"a": np.zeros(3, np.float32)}), "metadata 'liquid_pilot'"),
    ("other metadata", save({"a": np.zeros(3, np.float32)}, {"format": "pt"}), "metadata 'liquid_pilot'"),
    ("empty metadata", save({"a": np.zeros(3, np.float32)}, {"liquid_pilot": "{}"}), "schema None"),
    ("metadata is a list", save({"a": np.zeros(3, np.float32)}, {"liquid_pilot": "[]"}), "object with the fields"),
    ("metadata is no JSON", save({"a": np.zeros(3, np.float32)}, {"liquid_pilot": "{"}), "not JSON"),
    ("metadata is NaN", save({"a": np.zeros(3, np.float32)}, {"liquid_pilot": "NaN"}), "NaN"),
    ("a key twice", save({"a": np.zeros(3, np.float32)}, {"liquid_pilot": '{"schema":1,"schema":1}'}), "twice"),
    ("very deep", _header('{"a":' * 60000), "not JSON"),
    ("header is a list", _header("[]"), "metadata 'liquid_pilot'"),
    ("header is binary", _header("\0" * 64), "not JSON"),
]


@pytest.mark.parametrize(("data", "words"), [n[1:] for n in NOT_POLICIES], ids=[n[0] for n in NOT_POLICIES])
def test_other_files_are_refused(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(BundleError, match=re.escape(words)):
        load_bundle(path)


def test_places_without_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="there is no such file"):
        load_bundle(tmp_path / "missing.safetensors")
    with pytest.raises(BundleError, match="not a regular file"):
        load_bundle(tmp_path)
    with pytest.raises(BundleError, match="not a regular file"):
        load_bundle(Path(os.devnull))
    with pytest.raises(BundleError):
        load_bundle("nul\0byte.safetensors")


def test_a_file_beyond_the_limit_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "big.safetensors"
    with path.open("wb") as file:
        file.truncate(bundle_module.LARGEST_BYTES + 1)
    with pytest.raises(BundleError, match="more than 16777216 bytes"):
        load_bundle(path)


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
        (replace(good, limits=replace(DEFAULT_LIMITS, thrust_m_s2=(0.0, 15.0))), "make_bundle"),
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
