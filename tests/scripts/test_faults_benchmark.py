"""Laws of the fault sweep: every flight has one end, and finished cells are kept."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from envs.scoring import FlightScore
from scripts import benchmark
from scripts.benchmarks import faults
from scripts.case import Case
from scripts.workers.options import Workers

UP = FlightScore(True, "", 0.1, 0.02)
DOWN = FlightScore(False, "ground", math.inf, math.inf)
FEW = (faults.Point("none", "no fault"), faults.Point("flow", "flow lost", "flow:off"))


def test_every_flight_is_up_landed_or_crashed() -> None:
    found = faults.figures_of(
        [faults.Outcome(UP, False), faults.Outcome(UP, True), faults.Outcome(DOWN, True), faults.Outcome(DOWN, False)]
    )
    assert (found["up_rate"], found["landed_rate"], found["crashed_rate"]) == (0.5, 0.25, 0.25)
    assert found["reasons"] == {"ground": 1} and found["speed_error_median_m_s"] is None


def test_points_are_faults_that_exist_and_differ() -> None:
    cases = [point.case(Case("hover", flights=1, seconds=2.0)) for point in faults.SWEEP]
    conditions = [case.conditions() for case in cases]
    assert len({condition.faults for condition in conditions}) == len({p.label for p in faults.SWEEP}) == len(cases)
    assert all(condition.faults[0].start_s == faults.START_S for condition in conditions[1:])


def test_a_sweep_tells_who_came_down_and_flies_no_cell_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = Case("hover", flights=2, seconds=14.0, spread=0.05)
    cells = faults.sweep(["hover"], base, tmp_path, Workers(1), FEW)
    assert [cell["up_rate"] for cell in cells] == [1.0, 0.0] and cells[1]["landed_rate"] >= 0.5

    def never(job: object, index: int) -> None:
        raise AssertionError("flown again")

    monkeypatch.setattr(faults, "fly_to_the_end", never)
    assert faults.sweep(["hover"], base, tmp_path, Workers(1), FEW) == cells
    files = faults.present(cells, tmp_path)
    assert all(file.stat().st_size > 100 for file in files) and "| flow lost | 0.0 | " in files[1].read_text()


def test_no_policy_and_a_broken_file_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["faults", "--out", str(tmp_path)]) != 0
    assert "no policy" in capsys.readouterr().err
    (tmp_path / "faults.json").write_text(json.dumps({"cells": 3}))
    assert benchmark.main(["faults", "hover", "--flights", "1", "--workers", "1", "--out", str(tmp_path)]) != 0
    assert "--out" in capsys.readouterr().err
