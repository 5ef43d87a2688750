"""Scores are the same flights for everyone: keys, determinism, refusals of the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Progress

from liquid_pilot import native
from liquid_pilot.errors import BundleError, ConfigError, LiquidPilotError
from policies.compiled_trainer import flight_rollout
from scripts import benchmark, train
from scripts import evaluate as script
from scripts.benchmarks.cell_file import read_cells
from scripts.benchmarks.rates import RatePoint, sweep
from scripts.case import Case
from scripts.evaluation import cautions, evaluate
from scripts.flying import FlightPool, Job, score_one
from scripts.tables import condition, failures, score_table, short_name, short_names
from scripts.workers.options import Workers
from tests.scripts.synthetic import write_random_policy

SHORT = Case(policy="geometric", flights=2, seconds=1.0)
KEYS = {
    "success_rate": float,
    "flights": int,
    "failures": int,
    "speed_error_median_m_s": float,
    "speed_error_p90_m_s": float,
    "height_error_median_m": float,
    "policy": str,
    "policy_sha256": str,
    "task": str,
    "engine": str,
    "imu_hz": float,
    "flow_hz": float,
    "range_hz": float,
    "flow_dropout": float,
    "range_dropout": float,
    "faults": str,
    "wind_m_s": float,
    "seed": int,
    "duration_s": float,
    "wall_s": float,
}


def score(case: Case, workers: int = 1) -> dict[str, Any]:
    with FlightPool(workers) as pool:
        return evaluate(case, pool, Progress(disable=True))


def figures(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key not in ("wall_s", "workers")}


def test_json_has_the_promised_flat_keys(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "score.json"
    code = script.main(["geometric", "--flights", "2", "--seconds", "1", "--workers", "1", "--json", str(path)])
    assert code == 0
    row = json.loads(path.read_text())
    assert {key: type(row[key]) for key in KEYS} == KEYS
    assert not any(isinstance(value, (dict, list)) for value in row.values())


def test_scores_do_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    network = Case(policy=str(write_random_policy(tmp_path / "p.safetensors")), flights=2, seconds=1.0, imu_hz="mixed")
    for case in (SHORT, network):
        alone, together = score(case), score(case, workers=2)
        assert figures(alone) == figures(together)


@pytest.mark.skipif(not native.available(), reason="needs a C compiler")
def test_workers_are_the_threads_of_the_compiled_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy, threads = str(write_random_policy(tmp_path / "p.safetensors")), list[int]()
    case = Case(policy=policy, flights=70, seconds=1.0, imu_hz="mixed", engine="batched", backend="compiled")

    def watched(*given: Any, **named: Any) -> Any:
        threads.append(named["threads"])
        return flight_rollout(*given, **named)

    monkeypatch.setattr("policies.compiled_trainer.flight_rollout", watched)
    rows = [figures(score(case, workers)) for workers in (1, 2, 3)]
    assert threads == [1, 2, 3] and rows[0] == rows[1] == rows[2]


def test_a_flight_depends_on_seed_and_number_alone() -> None:
    few, many = SHORT.job(), replace(SHORT, flights=5).job()
    assert score_one(few, 1) == score_one(many, 1)
    assert score_one(few, 1) == score_one(few, 1)
    assert score_one(few, 1) != score_one(replace(SHORT, seed=1).job(), 1)


def test_conditions_follow_the_command_line() -> None:
    case = Case("geometric", imu_hz="mixed", flow_hz=20.0, dropout=("flow:0.3", "range:0.1"), fault=("flow:off@6s+1s",))
    conditions = case.conditions()
    assert conditions.imu_mixed and conditions.flow_hz == (20.0, 20.0)
    assert conditions.flow_dropout == (0.3, 0.3) and conditions.range_dropout == (0.1, 0.1)
    assert (conditions.faults[0].part, conditions.faults[0].start_s, conditions.faults[0].end_s) == ("flow", 6.0, 7.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task": "fly"}, "task.*hover"),
        ({"engine": "gazebo"}, "engine.*pybullet"),
        ({"engine": "batched"}, "--engine pybullet"),
        ({"flights": 0}, "at least one"),
        ({"seed": -1}, "seed"),
        ({"seconds": 0.0}, "seconds"),
        ({"imu_hz": "fast"}, "mixed"),
        ({"imu_hz": "1"}, "slowest IMU"),
        ({"flow_hz": -3.0}, "flow_hz"),
        ({"dropout": ("flow:2",)}, "0 to 1"),
        ({"dropout": ("flow:0.1", "flow:0.5")}, "one share"),
        ({"dropout": ("gps:0.1",)}, "flow, grid, range"),
        ({"fault": ("flow:of",)}, "flow:off@6s"),
        ({"wind": -1.0}, "wind"),
        ({"airframe": "boeing"}, "airframe.*cf2x"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_way_out(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        score(replace(SHORT, **change))


def test_a_policy_that_does_not_exist_is_refused() -> None:
    with pytest.raises(LiquidPilotError, match="nosuch"):
        score(replace(SHORT, policy="nosuch"))


def test_a_policy_that_was_edited_is_refused_before_it_flies(tmp_path: Path) -> None:
    path = write_random_policy(tmp_path / "policy.safetensors")
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(BundleError):
        score(replace(SHORT, policy=str(path)))


def test_errors_are_one_line_and_exit_code_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["geometric", "--task", "fly"]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len([line for line in error if line.strip()]) == 1
    assert "fly" in error[-1] and "hover" in error[-1]
    assert script.main(["geometric", "--picture-flight", "500"]) == 2
    assert script.main(["geometric", "--workers", "0"]) == 2
    assert benchmark.main(["rates"]) == 2
    assert train.main(["hover", "--threads", "0"]) == 2
    assert train.main(["hover", "--budget-s", "0"]) == 2


def test_a_result_that_cannot_be_written_after_all_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, value: Any) -> None:
        raise OSError("no room")

    monkeypatch.setattr(script, "write_json", full)
    given = ["geometric", "--flights", "1", "--seconds", "1", "--workers", "1", "--json", str(tmp_path / "score.json")]
    assert script.main(given) == 2
    assert "check the paths" in capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize("main", [script.main, benchmark.main])
def test_help_teaches_by_example(main: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    assert "Examples:" in capsys.readouterr().out


def test_pool_and_job_refuse_nonsense() -> None:
    with pytest.raises(ConfigError, match="workers"):
        FlightPool(0)
    with pytest.raises(ConfigError, match="flights"):
        Job("geometric", "cf2x", SHORT.conditions(), 0)


def test_a_sweep_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = (RatePoint("imu", "50", imu_hz="50"), RatePoint("imu", "mixed", imu_hz="mixed"))
    first = sweep([SHORT], tmp_path, Workers(1), points[:1])
    flown: list[str] = []
    original = evaluate

    def counting(case: Case, pool: FlightPool, progress: Progress) -> dict[str, Any]:
        flown.append(case.imu_hz)
        return original(case, pool, progress)

    monkeypatch.setattr("scripts.benchmarks.rates.evaluate", counting)
    both = sweep([SHORT], tmp_path, Workers(1), points)
    assert flown == ["mixed"]
    assert both[0] == first[0]
    assert read_cells(tmp_path / "rates.json") == both
    sweep([replace(SHORT, seed=3)], tmp_path, Workers(1), points[:1])
    assert flown == ["mixed", "50"]  # another seed is another cell


def test_a_broken_sweep_file_is_refused(tmp_path: Path) -> None:
    for broken in ('{"cells": 3', '{"cells": 3}', '{"cells": [3]}', "[]", "", "\x00"):
        (tmp_path / "rates.json").write_text(broken)
        with pytest.raises(ConfigError, match="delete it"):
            read_cells(tmp_path / "rates.json")


def test_tables_say_what_was_flown() -> None:
    row = figures(score(replace(SHORT, dropout=("flow:0.3",), fault=("range:off@0.5s",))))
    assert condition(row) == "IMU 100 Hz, flow 40 Hz, 30% of flow lost, range:off@0.5s"
    assert failures(row | {"failed_ground": 3, "failed_ended_early": 1}) == "3 ground, 1 ended early"
    table = score_table("title", [row, row | {"imu_hz": "mixed"}])
    assert [str(column.header) for column in table.columns][:2] == ["policy", "conditions"]
    assert short_name("runs/hover/policy.safetensors") == "hover"
    assert short_name("hover") == "hover"
    two = short_names(["hover", "runs/hover/policy.safetensors", "geometric"])
    assert len(set(two.values())) == 3 and two["geometric"] == "geometric"


def test_flights_that_a_policy_was_not_made_for_are_told() -> None:
    assert cautions(Case("hover")) == cautions(Case("pid", airframe="racer")) == []
    (stranger,) = cautions(Case("hover", airframe="racer"))
    assert "made for the airframe cf2x" in stranger and "times its weight" in stranger
    assert cautions(Case("track", task="track", track_m_s=2.0)) == []
    (fast,) = cautions(Case("hover", task="track", track_m_s=2.0))
    assert "at most 0.5 m/s" in fast
    assert cautions(Case("mission", task="mission")) == []
    (aloft,) = cautions(Case("hover", task="mission"))
    assert "cannot be asked to land" in aloft and "0.6 m" in aloft


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (Case("track-position"), "give --task track-position"),
        (Case("hover", task="track-position"), "it knows no places"),
        (Case("pid", task="track-position"), "benchmark tracking"),
        (Case("track-position", task="track-position", flow_hz=20.0), "leave out flow_hz"),
        (Case("track-position", task="track-position", fault=("flow:off@6s",)), "leave out flow:off@6s"),
    ],
)
def test_places_are_for_policies_that_fly_to_them(given: Case, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        given.check()


@pytest.mark.parametrize("engine", ["pybullet", "batched"])
def test_a_place_is_followed_in_both_engines(engine: str, tmp_path: Path) -> None:
    out = tmp_path / "score.json"
    words = ["track-position", "--task", "track-position", "--reference", "figure_eight", "--track-m-s", "1.5"]
    assert (
        script.main(
            [*words, "--engine", engine, "--flights", "2", "--seconds", "8", "--workers", "1", "--json", str(out)]
        )
        == 0
    )
    row = json.loads(out.read_text(encoding="utf-8"))
    assert row["success_rate"] == 1.0 and 0.0 < row["place_error_median_m"] < 0.1
    assert row["reference"] == "figure_eight" and row["track_m_s"] == 1.5
