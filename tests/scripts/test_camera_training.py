"""`train avoid --method camera`: the run folder of every method, and refusals in one line."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("cv2")

from liquid_pilot import load_bundle
from policies.camera_flights import Crossings
from policies.camera_tuning import CameraConfig
from scripts import train
from scripts.training import camera

WORDS = ["avoid", "--method", "camera", "--init", "avoid", "--flights", "1", "--rounds", "1", "--updates", "4"]


def test_a_policy_is_tuned_and_the_run_goes_on(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = partial(CameraConfig, held_out=1, crossings=Crossings(flight_s=0.05))
    monkeypatch.setattr(camera, "CameraConfig", tiny)
    assert train.main([*WORDS, "--out", str(tmp_path)]) == 0
    assert {"checkpoint.safetensors", "config.json", "learning_curve.png", "policy.safetensors", "progress.csv",
            "tensorboard"} <= {path.name for path in tmp_path.iterdir()}  # fmt: skip
    with (tmp_path / "progress.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["update"] for row in rows] == ["1", "2", "3", "4"] and float(rows[-1]["camera_error"]) > 0.0
    bundle = load_bundle(tmp_path / "policy.safetensors")
    told = bundle.metadata["training"]
    assert bundle.name == "avoid-camera" and told["start_sha256"] == load_bundle("avoid").metadata["sha256"]
    assert told["command"] == "python -m scripts.train " + " ".join(
        ["avoid", "--method", "camera", "--init", "avoid", "--updates", "4", "--flights", "1", "--rounds", "1"]
    )
    capsys.readouterr()
    assert train.main([*WORDS, "--resume", "--out", str(tmp_path)]) == 0
    assert "resumed after update 4" in " ".join(capsys.readouterr().out.split())
    assert train.main([*WORDS, "--seed", "1", "--resume", "--out", str(tmp_path)]) == 2
    assert "seed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["avoid"], "--init"),
        (["avoid", "--init", "hover"], "sees no flow grid"),
        (["hover", "--init", "avoid"], "hover has no method 'camera'"),
        (["avoid", "--init", "avoid", "--airframe", "racer"], "airframe: cf2x there, racer here"),
        (["avoid", "--init", "avoid", "--cell", "gru"], "avoid by camera has no --cell"),
        (["avoid", "--init", "avoid", "--expert", "pid"], "avoid by camera has no --expert"),
        (["avoid", "--init", "avoid", "--backend", "torch"], "avoid by camera has no --backend"),
        (["avoid", "--init", "avoid", "--faults", "0.5"], "avoid by camera has no --faults"),
        (["avoid", "--init", "avoid", "--flights", "2"], "one for each of the 5 rounds"),
    ],
)
def test_what_cannot_be_tuned_is_refused_in_one_line(words: list[str], told: str, tmp_path: Path, capsys: Any) -> None:
    assert train.main([*words, "--method", "camera", "--out", str(tmp_path / "run")]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and told in lines[0]
