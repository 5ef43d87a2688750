"""ONNX and TorchScript give the numbers that fly onboard, over a long recurrence and at any batch."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.testing import assert_allclose

from liquid_pilot.bundle import Bundle, load_bundle
from liquid_pilot.cells import CellSpec, Network
from liquid_pilot.errors import BundleError, ConfigError
from liquid_pilot.observation import OBS_DIM
from policies.export_formats import METADATA_KEY, onnx_bytes, torchscript_bytes, write_whole
from scripts import export
from scripts.export import Step, onnx_step, selftest_difference, torchscript_step
from tests.onboard.bundles import make, wired_spec

BUNDLES: dict[str, Callable[[], Bundle]] = {
    "decay": make,
    "default": lambda: make("default"),
    "pure": lambda: make("pure"),
    "gru": lambda: make(spec=CellSpec("gru", OBS_DIM, 20, 4, 0, 1, 0.015)),
    "lstm": lambda: make(spec=CellSpec("lstm", OBS_DIM, 16, 4, 0, 1, 0.015)),
    "mlp": lambda: make("mlp"),
    "wired": lambda: make(spec=wired_spec("decay")),
    "hover": lambda: load_bundle("hover"),
}


def step_of(kind: str, bundle: Bundle) -> Step:
    return onnx_step(onnx_bytes(bundle)) if kind == "onnx" else torchscript_step(torchscript_bytes(bundle))


SLOW = "onnx"  # a few seconds each to export


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, "torchscript") for name in BUNDLES] + [(name, SLOW) for name in ("hover", "lstm", "wired")],
)
def test_a_thousand_recurrent_steps_are_numpys(name: str, kind: str) -> None:
    bundle = BUNDLES[name]()
    step, network, rng = step_of(kind, bundle), Network(bundle.spec, bundle.weights), np.random.default_rng(0)
    h, k = network.initial_state(), network.initial_state()[None]
    for event in range(1000):
        x = rng.normal(size=OBS_DIM).astype(np.float32)
        dt_s = np.float32(0.0 if event % 10 == 0 else np.exp(rng.uniform(np.log(1e-3), np.log(0.2))))
        wanted, h = network.step(x, h, float(dt_s))
        action, k = step(x[None], k, np.array([dt_s], np.float32))
        assert_allclose(action[0], wanted, atol=1e-5, rtol=0)
        assert_allclose(k[0], h, atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("kind", ["onnx", "torchscript"])
def test_rows_of_a_batch_are_independent_and_extremes_are_cut_as_onboard(kind: str) -> None:
    bundle = make()
    step, network = step_of(kind, bundle), Network(bundle.spec, bundle.weights)
    x = np.array([[0.3] * OBS_DIM, [3e38] * OBS_DIM, [np.nan] * OBS_DIM, [-0.2] * OBS_DIM], np.float32)
    dt_s = np.array([0.01, 1e30, 0.01, 0.0], np.float32)
    action, h = step(x, np.full((4, 19), 0.1, np.float32), dt_s)
    for row in (0, 1, 3):
        wanted = network.step(x[row], np.full(19, 0.1, np.float32), float(dt_s[row]))
        assert_allclose(action[row], wanted[0], atol=2e-6)
        assert_allclose(h[row], wanted[1], atol=2e-6)
    assert np.isnan(action[2]).all()


def test_onnx_tells_which_policy_it_is() -> None:
    bundle = load_bundle("hover")
    told = {entry.key: entry.value for entry in onnx.load_model_from_string(onnx_bytes(bundle)).metadata_props}
    assert json.loads(told[METADATA_KEY]) == bundle.metadata


def test_the_script_writes_proved_files_and_refuses_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new" / "hover.pt"
    assert export.main(["hover", "--torchscript", str(path)]) == 0
    assert selftest_difference(load_bundle("hover"), torchscript_step(path.read_bytes())) <= 1e-5
    assert selftest_difference(make(), torchscript_step(path.read_bytes())) > 1e-2
    monkeypatch.setattr(export, "torchscript_step", lambda data: torchscript_step(torchscript_bytes(make(seed=1))))
    with pytest.raises(BundleError, match="not written"):
        export.run(export.Options("hover", torchscript=tmp_path / "other.pt"))
    assert [found.name for found in tmp_path.iterdir()] == ["new"]


def test_bad_requests_end_with_one_line_and_write_nothing(tmp_path: Path) -> None:
    assert export.main(["hover"]) == 2
    assert export.main(["hover", "--onnx", str(tmp_path / "a.txt")]) == 2
    assert export.main([str(tmp_path / "no.safetensors"), "--onnx", str(tmp_path / "a.onnx")]) == 2
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_whole(tmp_path / "file" / "a.onnx", b"")
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_a_state_that_is_not_a_number_is_the_largest_difference() -> None:
    bundle = make()

    def broken(x: np.ndarray, h: np.ndarray, dt_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((1, 4), np.float32), np.full((1, 19), np.nan, np.float32)

    assert np.isnan(selftest_difference(bundle, broken))
