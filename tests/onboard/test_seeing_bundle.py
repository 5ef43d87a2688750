"""Files of policies that see: whole, proved encoder included, and refused where they do not fit together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save

from liquid_pilot.bundle import Bundle, digest, load_bundle, make_selftest, run_selftest, save_bundle
from liquid_pilot.cells import CellSpec
from liquid_pilot.encoder import EncoderSpec
from liquid_pilot.errors import BundleError, ConfigError
from liquid_pilot.export.quantise import quantised_bundle
from liquid_pilot.flow_grid import DEFAULT_GRID, even_grid
from liquid_pilot.observation import OBS_DIM, SIGHT_DIM, layout_manifest
from liquid_pilot.schema import canonical_json, cell_field
from liquid_pilot.selftest import GRIDS, encode
from tests.onboard.bundles import Metadata, Tensors, assert_same, make, make_locating, make_seeing, parts, seeing_spec

SMALL = EncoderSpec(even_grid(5, 2, 60.0, 20.0), 7, 3)


@pytest.fixture(scope="module", name="good")
def good_bundle() -> Bundle:
    return make_seeing()


@pytest.mark.parametrize("form", ["decay", "lstm", "mlp"])
@pytest.mark.parametrize("encoder", [None, SMALL])
def test_round_trip_is_byte_equal(form: str, encoder: EncoderSpec | None, tmp_path: Path) -> None:
    made = make_seeing(spec=seeing_spec(form, encoder))
    first = save_bundle(tmp_path / "a.safetensors", made)
    loaded = load_bundle(first)
    assert_same(made, loaded)
    assert save_bundle(tmp_path / "b.safetensors", loaded).read_bytes() == first.read_bytes()
    assert loaded.sees and not loaded.locates and loaded.spec.encoder == (encoder or EncoderSpec(DEFAULT_GRID))


def test_a_bundle_says_what_it_sees(good: Bundle) -> None:
    names = [entry["name"] for entry in good.metadata["observation"]]
    assert names[-3:] == ["grid_fresh", "grid_age", "grid_features"]
    assert sum(entry["width"] for entry in good.metadata["observation"]) == OBS_DIM + SIGHT_DIM + 24
    assert good.metadata["observation"] == layout_manifest(sees=True, features=24)
    assert set(good.metadata["encoder"]) == {"azimuth_rad", "elevation_rad", "hidden", "features"}
    assert good.metadata["encoder"]["azimuth_rad"] == list(DEFAULT_GRID.azimuth_rad)
    assert good.selftest.grid is not None and good.selftest.grid.shape == (GRIDS, 320)
    assert run_selftest(good) == 0.0


def test_other_files_say_nothing_of_an_encoder() -> None:
    for bundle in (make(), make_locating()):
        assert not bundle.sees and "encoder" not in bundle.metadata and "encoder" not in bundle.metadata["cell"]
        assert "encoder" not in cell_field(bundle.spec)
        assert set(bundle.selftest.tensors) == {"x", "dt_s", "action", "hidden"}


def _forge(good: Bundle, path: Path, change: Any) -> Path:
    """A changed file whose hash fits."""
    tensors, metadata = parts(good)
    change(tensors, metadata)
    metadata["sha256"] = digest(tensors, metadata)
    path.write_bytes(save(tensors, {"liquid_pilot": canonical_json(metadata)}))
    return path


def _weight(name: str) -> Any:
    def change(tensors: Tensors, metadata: Metadata) -> None:
        tensors[f"weights.{name}"].reshape(-1)[3] += np.float32(0.01)

    return change


def _set(key: str, value: Any) -> Any:
    return lambda tensors, metadata: metadata["encoder"].__setitem__(key, value)


def _tensor(name: str, value: Any) -> Any:
    return lambda tensors, metadata: tensors.__setitem__(name, np.asarray(value, np.float32))


FORGERIES: list[tuple[str, Any, str]] = [
    *((name, _weight(name), "self-test differs") for name in EncoderSpec(DEFAULT_GRID).shapes),
    ("a weight of the cell", _weight("rate.bias"), "self-test differs"),
    ("no encoder", lambda t, m: m.pop("encoder"), "'encoder' is None"),
    ("encoder of a blind policy", lambda t, m: m.__setitem__("observation", layout_manifest()), "not known"),
    ("features", _set("features", 23), "inputs"),
    ("no features", _set("features", 0), "1 to 256"),
    ("features as text", _set("features", "24"), "whole number"),
    ("hidden", _set("hidden", 63), r"must be float32 \(63, 321\)"),
    ("hidden true", _set("hidden", True), "whole number"),
    ("angles rise", _set("elevation_rad", [-0.2, -0.1, 0.0, 0.1, 0.2]), "fall"),
    ("angles behind", _set("elevation_rad", [2.0, 0.1, 0.0, -0.1, -0.2]), "90 degrees"),
    ("an angle less", lambda t, m: m["encoder"]["azimuth_rad"].pop(), "must be float32"),
    ("no angles", _set("azimuth_rad", []), "1 to 192 angles"),
    ("angles of text", _set("azimuth_rad", ["a"]), "1 to 192 angles"),
    ("too many rays", _set("elevation_rad", np.linspace(0.3, -0.3, 7).tolist()), "224 rays"),
    ("a new field", _set("gain", 1.0), "not known"),
    ("no grids", lambda t, m: t.pop("selftest.grid"), "self-test has tensors"),
    ("few grids", _tensor("selftest.speed_m_s", np.zeros(15)), "15 grids; allowed are 16"),
    ("grids of another size", _tensor("selftest.grid", np.zeros((32, 318))), r"\(32, 320\)"),
    ("NaN in a grid", _tensor("selftest.grid", np.full((32, 320), np.nan)), "NaN"),
    ("backwards", _tensor("selftest.speed_m_s", np.full(32, -1.0)), "0 or more"),
    ("other features", _tensor("selftest.features", np.zeros((32, 24))), "self-test differs"),
    ("silence", lambda t, m: m["sensor_limits_s"].pop("grid"), "missing"),
    ("rates", lambda t, m: m["trained_rates_hz"].pop("attitude"), "missing"),
]


@pytest.mark.parametrize(("change", "words"), [f[1:] for f in FORGERIES], ids=[f[0] for f in FORGERIES])
def test_forgeries_with_a_matching_hash_are_refused(change: Any, words: str, good: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=words):
        load_bundle(_forge(good, tmp_path / "forged.safetensors", change))


def test_grids_of_a_policy_without_an_encoder_are_refused() -> None:
    blind = make()
    with pytest.raises(BundleError, match="no encoder"):
        save_bundle(
            "a.safetensors", replace(blind, selftest=replace(blind.selftest, speed_m_s=np.zeros(1, np.float32)))
        )


def test_an_edited_encoder_breaks_the_hash(good: Bundle, tmp_path: Path) -> None:
    tensors, metadata = parts(good)
    tensors["selftest.grid"][0, 0] += np.float32(1e-6)
    (tmp_path / "a.safetensors").write_bytes(save(tensors, {"liquid_pilot": canonical_json(metadata)}))
    with pytest.raises(BundleError, match="sha256"):
        load_bundle(tmp_path / "a.safetensors")


def test_a_policy_sees_or_locates() -> None:
    with pytest.raises(BundleError, match="one or the other"):
        make_seeing(locates=True)
    with pytest.raises(ConfigError, match="more inputs"):
        CellSpec("decay", 24, 19, 4, 1, 64, 0.015, encoder=EncoderSpec(DEFAULT_GRID))


def test_int8_is_refused_until_it_is_there(good: Bundle) -> None:
    with pytest.raises(ConfigError, match="int8"):
        quantised_bundle(good)


def test_features_are_those_of_hand_computed_layers(good: Bundle) -> None:
    spec, rng = good.spec.encoder, np.random.default_rng([5])
    assert spec is not None
    grid, speed = rng.normal(size=(3, 320)).astype(np.float32), np.array([0.0, 1.0, 3.0], np.float32)
    w = {name: good.weights[name].astype(np.float64) for name in spec.shapes}
    inputs = np.concatenate([grid, speed[:, None] / 2.0], axis=1)
    hidden = inputs @ w["encoder.0.weight"].T + w["encoder.0.bias"]
    hidden = np.where(hidden > 0.0, hidden, np.exp(np.minimum(hidden, 0.0)) - 1.0)
    wanted = np.tanh(hidden @ w["encoder.1.weight"].T + w["encoder.1.bias"])
    np.testing.assert_allclose(encode(spec, good.weights, grid, speed), wanted, atol=1e-6)
    assert make_selftest(good.spec, good.weights, rng).features is not None
