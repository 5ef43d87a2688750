"""Laws of the comparison of two worlds: flights are those of evaluate, none is flown twice, differences have signs."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from envs.scoring import FlightScore
from scripts import benchmark
from scripts.benchmarks import transfer
from scripts.benchmarks.transfer_command import Transfer
from scripts.case import Case
from scripts.evaluation import figures
from scripts.flying import AVIARY_SIM, OWN_SIM, FlightPool, Job
from scripts.workers.options import Workers


def test_one_world_twice_is_no_difference_and_its_flights_are_those_of_evaluate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "WORLDS", (OWN_SIM, OWN_SIM))
    monkeypatch.setattr(transfer, "BLOCK", 2)
    case = Case("hover", flights=3, seconds=1.0)
    first, second = rows = transfer.compare([case], tmp_path, Workers(1))
    assert first == second and transfer.apart(first, second) == (0.0, 0.0)
    with FlightPool(1) as pool:
        assert figures(pool.score(case.job())).items() <= first.items()

    def never(*given: object) -> None:
        raise AssertionError("flown again")

    monkeypatch.setattr(transfer, "score_one", never)
    assert transfer.compare([case], tmp_path, Workers(1)) == rows
    text = transfer.present(rows, tmp_path)[1].read_text(encoding="utf-8")
    assert "| hover | liquid-pilot | 100.0% | 0." in text
    assert "| hover | between | +0.0% | +0.0% |  |  | 0 there alone, 0 here alone |" in text


def test_what_a_world_costs_is_negative_success_and_positive_error() -> None:
    own = {"success_rate": 1.0, "speed_error_median_m_s": 0.1}
    worse = {"success_rate": 0.5, "speed_error_median_m_s": 0.15}
    assert transfer.apart(own, worse) == pytest.approx((-0.5, 0.5))
    assert transfer.apart(own, worse | {"speed_error_median_m_s": None}) == (-0.5, None)
    placed = own | {"place_error_median_m": 0.02}
    assert transfer.apart(placed, placed | {"place_error_median_m": 0.01}) == pytest.approx((0.0, -0.5))


def test_flights_that_one_world_alone_loses_are_counted_for_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = {OWN_SIM: {2}, AVIARY_SIM: {0, 2}}

    def flown(job: Job, index: int) -> FlightScore:
        failed = index in lost[job.sim]
        return FlightScore(not failed, "ground" * failed, 0.1, 0.1)

    monkeypatch.setattr(transfer, "score_one", flown)
    monkeypatch.setattr(Case, "check", lambda case: None)
    own, theirs = transfer.compare([Case("hover", flights=4)], tmp_path, Workers(1))
    assert (own["flown_in_this_world_alone"], theirs["flown_in_this_world_alone"]) == (1, 0)
    assert transfer.body_of([own, theirs])[2][-1] == "1 there alone, 0 here alone"


def test_a_run_of_more_flights_goes_on_from_one_of_fewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flown = list[tuple[str, int]]()

    def fly(job: Job, index: int) -> FlightScore:
        flown.append((job.sim, index))
        return FlightScore(True, "", 0.1, 0.1)

    monkeypatch.setattr(transfer, "score_one", fly)
    monkeypatch.setattr(transfer, "BLOCK", 2)
    monkeypatch.setattr(Case, "check", lambda case: None)
    for flights in (2, 4):
        rows = transfer.compare([Case("hover", flights=flights)], tmp_path, Workers(1))
        assert [row["flights"] for row in rows] == [flights, flights]
    assert flown == [(sim, index) for first in (0, 2) for sim in (OWN_SIM, AVIARY_SIM) for index in (first, first + 1)]


def test_every_drone_policy_that_ships_is_flown_in_its_own_task() -> None:
    cases = [transfer.case_of(policy, 2.0, 1, 0) for policy in Transfer().policies]
    assert [case.task for case in cases] == ["hover", "track", "track-position", "mission"]


def test_without_the_package_nothing_is_flown_and_the_install_line_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("gym_pybullet_drones.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gym_pybullet_drones", None)
    assert benchmark.main(["transfer", "hover", "--flights", "1", "--out", str(tmp_path)]) == 2
    assert "pip install 'setuptools<82' git+" in capsys.readouterr().err
    assert not (tmp_path / "transfer.json").exists()
    assert benchmark.main(["transfer", "pid", "--out", str(tmp_path)]) == 2
    assert "unknown policy 'pid'" in capsys.readouterr().err
