"""Runs are compared by what their own logs say; what is no run is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts import benchmark
from scripts.benchmarks.roads import read_run


def text_of(said: str) -> str:
    """Without the line breaks of a narrow terminal."""
    return " ".join(said.split())


def run_folder(path: Path, config: dict[str, object], header: str, rows: list[str]) -> Path:
    path.mkdir()
    (path / "config.json").write_text(json.dumps(config))
    (path / "progress.csv").write_text("\n".join([header, *rows]) + "\n")
    return path


SCORED = "success_rate,speed_error_median_m_s,height_error_median_m,score"


def analytic(path: Path, seed: int = 0) -> Path:
    header = f"update,elapsed_s,loss,gradient_norm,imu_hz,horizon_s,{SCORED}"
    rows = [
        "1,1.0,0.5,1.0,100,2.0,nan,nan,nan,nan",
        "2,2.0,0.4,1.0,50,2.0,0.5,0.4,0.1,0.9",
        "3,3.5,0.3,1.0,200,1.0,0.95,0.2,0.1,0.3",
        "3,3.6,nan,nan,nan,nan,0.99,0.3,0.1,0.4",
    ]
    return run_folder(path, {"seed": seed, "batch": 10}, header, rows)


def ppo(path: Path) -> Path:
    header = f"update,steps,elapsed_s,loss,{SCORED}"
    rows = ["1,1000,2.0,0.1,0.1,2.0,2.0,4.0", "2,2000,4.0,0.1,0.2,2.0,2.0,3.0"]
    return run_folder(path, {"seed": 0, "engine": "batched", "cell": "gru"}, header, rows)


def test_events_are_counted_to_the_first_validation_that_is_good_enough(tmp_path: Path) -> None:
    run = read_run(analytic(tmp_path / "a"))
    assert (run.seconds, run.events) == (3.5, 10 * (100 * 2.0 + 50 * 2.0 + 200 * 1.0))
    assert (run.success_rate, run.speed_error_m_s) == (0.95, 0.2)  # of the best score
    lost = read_run(ppo(tmp_path / "p"))
    assert lost.seconds is None and lost.events is None and lost.all_events == 2000.0
    assert lost.road == "ppo, batched, gru"


def test_the_table_has_a_row_a_road(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [analytic(tmp_path / "a"), analytic(tmp_path / "b", 1), ppo(tmp_path / "p")]
    assert benchmark.main(["roads", *map(str, folders), "--out", str(tmp_path / "out")]) == 0
    said = text_of(capsys.readouterr().out)
    assert "2 of 2" in said and "0 of 1" in said
    assert len(json.loads((tmp_path / "out" / "roads.json").read_text())["runs"]) == 3


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = run_folder(tmp_path / "e", {"seed": 0}, f"update,elapsed_s,{SCORED}", ["1,1.0,nan,nan,nan,nan"])
    for folder, words in ((tmp_path / "nowhere", "no folder of a training run"), (empty, "no validation")):
        assert benchmark.main(["roads", str(folder), "--out", str(tmp_path / "out")]) == 2
        assert words in text_of(capsys.readouterr().err)
    assert benchmark.main(["roads", "--out", str(tmp_path / "out")]) == 2


@pytest.mark.parametrize(
    ("start", "road"),
    [("runs/dagger-2/policy.safetensors", "analytic, from dagger"), ("hover", "analytic, from hover")],
)
def test_a_run_from_a_policy_is_a_road_of_its_own(tmp_path: Path, start: str, road: str) -> None:
    folder = analytic(tmp_path / "a")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"init": start}))
    assert read_run(folder).road == road
