"""Laws of the training command: one way in for every method, the same run folder, refusals in one line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liquid_pilot import load_bundle, native
from policies import validation
from policies.imitation.files import Origin, save_flights
from scripts import collect, train
from scripts.training.options import ImitationOptions, Options
from tests.policies.imitation_cases import random_flights

pytestmark = pytest.mark.skipif(not native.available(), reason="needs a C compiler")


@pytest.fixture(autouse=True)
def one_short_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "VALIDATION", validation.VALIDATION[:1])


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "progress.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_flights_are_collected_cloned_and_improved_by_gradients(tmp_path: Path, capsys: Any) -> None:
    demos, cloned, finer = tmp_path / "demos.safetensors", tmp_path / "bc", tmp_path / "finer"
    words = ["hover", "--flights", "3", "--seconds", "0.5", "--seed", "2", "--workers", "1"]
    assert collect.main([*words, "--out", str(demos)]) == 0
    again = tmp_path / "again.safetensors"
    assert collect.main([*words, "--out", str(again)]) == 0 and again.read_bytes() == demos.read_bytes()
    learn = ["hover", "--method", "bc", "--demos", str(demos), "--updates", "2", "--batch", "4"]
    assert train.main([*learn, "--out", str(cloned)]) == 0
    assert {"checkpoint.safetensors", "config.json", "learning_curve.png", "policy.safetensors", "progress.csv",
            "tensorboard"} <= {path.name for path in cloned.iterdir()}  # fmt: skip
    assert json.loads((cloned / "config.json").read_text())["method"] == "bc"
    assert [row["update"] for row in rows(cloned)] == ["1", "2", "2"] and rows(cloned)[-1]["score"]
    assert train.main([*learn, "--resume", "--out", str(cloned)]) == 0
    capsys.readouterr()
    assert train.main([*learn, "--learning-rate", "0.1", "--resume", "--out", str(cloned)]) == 2
    assert "learning_rate" in capsys.readouterr().err

    policy = cloned / "policy.safetensors"
    start = ["hover", "--init", str(policy), "--updates", "1", "--batch", "2", "--learning-rate", "1e-9"]
    assert train.main([*start, "--out", str(finer)]) == 0
    ours, theirs = load_bundle(finer / "policy.safetensors"), load_bundle(policy)
    assert ours.metadata["training"]["start_sha256"] == theirs.metadata["sha256"]
    assert ours.metadata["training"]["command"].startswith("python -m scripts.train hover --method analytic --init ")
    assert " --updates 2 --batch 4 --demos " in theirs.metadata["training"]["command"]
    for name, value in theirs.weights.items():  # a step of next to nothing: it began with these
        np.testing.assert_allclose(ours.weights[name], value, atol=1e-6)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--method", "bc", "--demos", "nowhere.safetensors"], "nowhere.safetensors"),
        (["--method", "dagger", "--expert", "nobody"], "geometric, pid"),
        (["--method", "dagger", "--backend", "torch"], "compiled engine"),
        (["--method", "dagger", "--rounds", "0"], "rounds"),
        (["--init", "hover", "--cell", "gru"], "form: decay there, gru here"),
        (["--method", "bc", "--init", "hover", "--airframe", "racer"], "airframe: cf2x there, racer here"),
        (["--patience", "0"], "patience"),
        (["--budget-s", "0"], "budget_s"),
        (["--resume"], "no checkpoint"),
    ],
)
def test_a_run_that_cannot_be_is_refused_in_one_line(
    words: list[str], told: str, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train.main(["hover", *words, "--out", str(tmp_path / "run")]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and told in lines[0]


def test_flights_of_another_airframe_are_refused(tmp_path: Path, capsys: Any) -> None:
    origin = Origin("hover", "racer", "geometric", "", 0, {})
    demos = save_flights(tmp_path / "demos.safetensors", random_flights(0, (5,)), origin)
    assert train.main(["hover", "--method", "bc", "--demos", str(demos), "--out", str(tmp_path / "run")]) == 2
    assert "hover with racer" in capsys.readouterr().err


@pytest.mark.parametrize(("task", "method"), [(task, name) for task, own in train.METHODS.items() for name in own])
def test_every_method_has_a_module_that_trains(task: str, method: str) -> None:
    from importlib import import_module

    assert callable(import_module(train.METHODS[task][method]).run)


def test_what_was_not_given_is_left_to_the_method() -> None:
    options = Options("hover", updates=3, imitation=ImitationOptions(noise=0.0))
    assert options.given("updates", "batch", "learning_rate") == {"updates": 3}
    assert options.imitation.noise == 0.0


def test_a_policy_of_mission_may_be_asked_to_land(tmp_path: Path) -> None:
    assert train.main(["mission", "--updates", "1", "--batch", "2", "--out", str(tmp_path)]) == 0
    bundle = load_bundle(tmp_path / "policy.safetensors")
    assert bundle.task == "mission" and bundle.metadata["setpoint_limits"]["height_m"] == [-0.05, 1.6]


def test_a_policy_of_track_says_what_it_was_made_for(tmp_path: Path, capsys: Any) -> None:
    words = ["track", "--updates", "1", "--batch", "2", "--out", str(tmp_path)]
    assert train.main(words) == 0
    bundle = load_bundle(tmp_path / "policy.safetensors")
    assert bundle.task == "track" and bundle.metadata["setpoint_limits"]["speed_m_s"] == pytest.approx(2.2)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["curriculum"]["setpoint_speed_m_s"] == pytest.approx(2.2) and config["validation_s"] == 15.0
    capsys.readouterr()
    assert train.main([*words, "--observe", "positions"]) == 2
    assert "track by analytic has no --observe" in " ".join(capsys.readouterr().err.split())
    assert train.main([*words, "--method", "ppo"]) == 2
    assert "choose one of: analytic" in " ".join(capsys.readouterr().err.split())
