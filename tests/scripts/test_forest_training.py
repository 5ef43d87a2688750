"""`train avoid --method dagger`: the run folder of every method, a policy that flies, refusals in one line."""

from __future__ import annotations

import csv
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from liquid_pilot import load_bundle, native
from policies import validation
from policies.imitation.trainer import usual_config
from scripts import evaluate, train
from scripts.training import imitation

pytestmark = pytest.mark.skipif(not native.available(), reason="needs a C compiler")


def test_a_planner_is_imitated_and_the_policy_flies(
    tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(validation, "VALIDATION", validation.VALIDATION[:1])
    monkeypatch.setattr(imitation, "usual_config", partial(usual_config, flight_s=0.3, validation_flights=2))
    words = ["avoid", "--method", "dagger", "--updates", "3", "--batch", "4", "--flights", "4", "--rounds", "2"]
    assert train.main([*words, "--out", str(tmp_path)]) == 0
    assert {"checkpoint.safetensors", "config.json", "flights", "learning_curve.png", "policy.safetensors",
            "progress.csv", "tensorboard"} <= {path.name for path in tmp_path.iterdir()}  # fmt: skip
    with (tmp_path / "progress.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["flights"] for row in rows] == ["2", "2", "4", "4"] and rows[-1]["score"]
    bundle = load_bundle(tmp_path / "policy.safetensors")
    assert (bundle.name, bundle.task, bundle.sees) == ("avoid-dagger", "avoid", True)
    capsys.readouterr()
    assert train.main([*words, "--resume", "--out", str(tmp_path)]) == 0
    assert "resumed after update 3" in " ".join(capsys.readouterr().out.split())
    policy = str(tmp_path / "policy.safetensors")
    flown = ["--task", "avoid", "--engine", "batched", "--flights", "4", "--workers", "1"]
    assert evaluate.main([policy, *flown]) == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--expert", "geometric"], "taught by planner alone"),
        (["--demos", "flights.safetensors"], "leave --demos out"),
        (["--wiring", "9-6-4"], "wiring"),
        (["--backend", "torch"], "compiled engine alone"),
        (["--faults", "0.5"], "avoid by dagger has no --faults"),
        (["--init", "hover"], "cannot start this run"),
    ],
)
def test_what_cannot_be_imitated_is_refused_in_one_line(
    words: list[str], told: str, tmp_path: Path, capsys: Any
) -> None:
    assert train.main(["avoid", "--method", "dagger", *words, "--out", str(tmp_path / "run")]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and told in lines[0]
