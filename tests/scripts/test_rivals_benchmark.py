"""Laws of the comparison: every policy flies the same references, and the table has all of them."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest

from liquid_pilot.errors import ConfigError, MissingExtraError
from scripts import benchmark
from scripts.benchmarks import eights, rates, rivals
from scripts.case import Case
from scripts.workers.options import Workers

SHORT = rivals.Follow("sinusoid", 0.3, "50")


def test_points_ask_for_what_their_names_say() -> None:
    points = rivals.points_of(("50", "mixed"), (1.0, 2.0), (5.5,))
    assert len({(point.group, point.label) for point in points}) == len(points) == 2 * (1 + 2 * 2 + 1)
    for point in points:
        assert point.label == point.imu_hz
        if isinstance(point, rivals.Eight):
            assert f"{point.period_s:g} s" in point.group
            continue
        case = point.case(Case("pid", flights=1))
        assert case.imu_hz == point.imu_hz
        if isinstance(point, rivals.Hold):
            assert case.task == "hover"
        else:
            assert (case.task, case.reference, case.track_m_s) == ("track", point.reference, point.speed_m_s)
        case.check()


def test_each_flies_what_it_was_made_for() -> None:
    hold, eight = rivals.Hold("100"), rivals.Eight(5.5, "100")
    flown = {name: [rivals.flies(name, point) for point in (hold, SHORT, eight)] for name in ("hover", "track", "pid")}
    assert flown == {"hover": [True, False, False], "track": [True, True, False], "pid": [True, True, True]}


def test_a_comparison_is_a_table_and_flies_no_cell_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points: list[rivals.Point] = [SHORT, rivals.Eight(3.5, "50")]
    base = Case("pid", flights=1)
    cells = rivals.compare(["pid", "track"], base, tmp_path, Workers(1), points)
    assert [(cell["policy"], cell["group"]) for cell in cells] == [
        ("pid", SHORT.group), ("pid", "eight 3.5 s"), ("track", SHORT.group),
    ]  # fmt: skip
    assert all(cell["success_rate"] == 1.0 and 0.0 < rivals.judged(cell)["error"] < 0.3 for cell in cells)

    def never(*given: object) -> None:
        raise AssertionError("flown again")

    monkeypatch.setattr(rates, "evaluate", never)
    monkeypatch.setattr(eights, "error_m", never)
    assert rivals.compare(["pid", "track"], base, tmp_path, Workers(1), points) == cells
    files = rivals.present(cells, tmp_path)
    text = files[1].read_text()
    assert "| pid | true state | 50 | 100.0 / 0." in text and text.rstrip().endswith("| - |")
    assert files[2].stat().st_size > 1000


def test_lost_flights_are_infinite_and_counted() -> None:
    figures = eights.figures_of([0.2, math.inf, 0.1])
    assert figures["failures"] == 1 and figures["success_rate"] == pytest.approx(2.0 / 3.0)
    assert figures["position_error_median_m"] == 0.2 and figures["position_error_p90_m"] is None
    assert eights.figures_of([math.inf, math.inf, 0.1])["position_error_median_m"] is None


def test_a_raptor_that_is_not_installed_is_told_before_flying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "foundation_policy", None)
    with pytest.raises(MissingExtraError, match="rivals"):
        rivals.compare(["raptor"], Case("raptor", flights=1), tmp_path, Workers(1), [SHORT])


def test_what_cannot_be_flown_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for options in (["--flights", "0"], ["--imu-hz"], ["--imu-hz", "fast"]):
        assert benchmark.main(["rivals", *options, "--out", str(tmp_path)]) != 0
    with pytest.raises(ConfigError, match="mission"):
        Case("raptor", task="mission").check()
