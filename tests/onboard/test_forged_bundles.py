"""A file that is not a policy, or no longer the one that was saved, is refused: what was found, allowed, the fix."""

from __future__ import annotations

import json
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from liquid_pilot import bundle as bundle_module
from liquid_pilot.bundle import Bundle, digest, load_bundle, save_bundle
from liquid_pilot.cells import weight_masks
from liquid_pilot.errors import BundleError
from liquid_pilot.observation import OBS_DIM
from liquid_pilot.schema import wiring_field
from tests.onboard.bundles import Metadata, Tensors, assert_same, make, parts, wired_spec

Change = Callable[[Tensors, Metadata], None]

WIRED = wired_spec("default")


@pytest.fixture(scope="module", name="good")
def good_bundle() -> Bundle:
    return make()


def write(path: Path, tensors: Tensors, metadata: Metadata) -> Path:
    """Write what a forger would: nothing is checked or sealed."""
    path.write_bytes(save(tensors, {"liquid_pilot": json.dumps(metadata, sort_keys=True)}))
    return path


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
    ("wiring in the cell", _set("cell", "wiring", {}), "CellSpec"),
    ("wiring of a cell with a backbone", _set("wiring", wiring_field(WIRED)), "backbone"),
    ("cell form", _set("cell", "form", "elman"), "choose one of"),
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


def _astray(name: str) -> Change:
    """A weight where the wiring has no synapse."""

    def change(tensors: Tensors, metadata: Metadata) -> None:
        dead = np.argwhere(~weight_masks(WIRED)[name])
        tensors[f"weights.{name}"][tuple(dead[0])] = 1e-30

    return change


def _other_synapse(tensors: Tensors, metadata: Metadata) -> None:
    """A synapse less for one of the weights, and the count that goes with it."""
    rows, count = metadata["wiring"]["command"], metadata["wiring"]["live_synapses"]
    rows[0] = rows[0].replace("1", "0", 1)
    metadata["wiring"]["live_synapses"] = count - 1


WIRED_FORGERIES: list[tuple[str, Change, str]] = [
    *((f"{name} off the wiring", _astray(name), f"'{name}' holds 1e-30.*no synapse") for name in weight_masks(WIRED)),
    ("a synapse taken away", _other_synapse, "command.ff1.weight.*no synapse"),
    ("wiring left out", _set("wiring", "full"), "weights missing"),
    ("count of synapses", _set("wiring", "live_synapses", 7), "wiring.live_synapses"),
    ("wiring of a newer kind", _set("wiring", "slow", []), "object with inter"),
    ("seed of the wiring", _set("wiring", "seed", -1), "whole number"),
    ("rows are no list", _set("wiring", "motor", "0101"), "CellWiring"),
    ("row of other characters", _set("wiring", "motor", 0, "?" * 10), "made of '0' and '1'"),
    ("row of another length", _set("wiring", "motor", 0, "1" * 9), "characters"),
    ("row of a wrong type", _set("wiring", "motor", 0, 1), "CellWiring"),
    ("neuron that hears nothing", _set("wiring", "motor", 0, "0" * 10), "one '1' at least"),
    ("no neurons", _set("wiring", "command", []), "CellWiring"),
    ("motor neuron left out", lambda t, m: m["wiring"]["motor"].pop(), "characters"),
    ("form that is not wired", _set("cell", "form", "gru"), "give it to one of"),
    ("neurons of the cell", _set("cell", "units", 18), "inputs, neurons, motor neurons"),
]


@pytest.mark.parametrize(("change", "words"), [f[1:] for f in WIRED_FORGERIES], ids=[f[0] for f in WIRED_FORGERIES])
def test_forgeries_of_a_wiring_are_refused(change: Change, words: str, tmp_path: Path) -> None:
    _refused(make(spec=WIRED), change, words, tmp_path)


@pytest.mark.parametrize(("change", "words"), [f[1:] for f in FORGERIES], ids=[f[0] for f in FORGERIES])
def test_forgeries_with_a_matching_hash_are_refused(change: Change, words: str, good: Bundle, tmp_path: Path) -> None:
    _refused(good, change, words, tmp_path)


def _refused(good: Bundle, change: Change, words: str, tmp_path: Path) -> None:
    tensors, metadata = parts(good)
    change(tensors, metadata)
    try:
        metadata["sha256"] = digest(tensors, metadata)
    except BundleError:  # an infinity has no canonical text; the forger leaves the old hash
        pass
    path = write(tmp_path / "forged.safetensors", tensors, metadata)
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
        load_bundle(write(tmp_path / "edited.safetensors", tensors, metadata))


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
