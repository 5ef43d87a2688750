"""Laws of the comparison: every policy flies the same references, and the table has all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import benchmark
from scripts.benchmarks import rates, rivals
from scripts.evaluation import Case
from scripts.workers.options import Workers

SHORT = rivals.Follow("sinusoid", 0.3, "50")


def test_points_ask_for_what_their_names_say() -> None:
    for point in rivals.POINTS:
        case = point.case(Case("pid", flights=1))
        assert (case.task, case.reference, case.track_m_s, case.imu_hz) == (
            "track", point.reference, point.speed_m_s, point.imu_hz,
        )  # fmt: skip
        case.check()
    assert len({(point.group, point.label) for point in rivals.POINTS}) == len(rivals.POINTS)


def test_a_comparison_is_a_table_and_flies_no_cell_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = rivals.compare(["pid", "geometric"], Case("pid", flights=1), tmp_path, Workers(1), [SHORT])
    assert [cell["policy"] for cell in cells] == ["pid", "geometric"]
    assert all(cell["success_rate"] == 1.0 and 0.0 < cell["speed_error_median_m_s"] < 0.3 for cell in cells)

    def never(*given: object) -> None:
        raise AssertionError("flown again")

    monkeypatch.setattr(rates, "evaluate", never)
    assert rivals.compare(["pid", "geometric"], Case("pid", flights=1), tmp_path, Workers(1), [SHORT]) == cells
    files = rivals.present(cells, tmp_path)
    text = files[1].read_text()
    assert "| pid | true state | 50 | 100.0 / 0." in text and "| geometric | true state |" in text
    assert files[2].stat().st_size > 1000


def test_no_policy_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["rivals", "--flights", "0", "--out", str(tmp_path)]) != 0
    assert "flights" in capsys.readouterr().err
