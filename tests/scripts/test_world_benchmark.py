"""The world on trial: every known answer passes, a wrong one is told, files are written, bad input is refused."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from envs.airframe import load_airframe
from scripts import benchmark
from scripts.benchmarks.world import ENGINES, REFERENCE, judge
from scripts.benchmarks.world_checks import checks, common_experiment
from scripts.benchmarks.world_engines import fly_pybullet, fly_torch, nominal_flights
from scripts.benchmarks.world_episodes import Endurance, Flown
from scripts.benchmarks.world_reference import fly_reference
from scripts.benchmarks.world_speed import side_by_side

AIRFRAME = load_airframe("cf2x")


@pytest.mark.parametrize("name", ["cf2x", "racer", "companion"])
def test_every_known_answer_holds_in_pybullet_and_apart_from_it(name: str) -> None:
    airframe = load_airframe(name)
    asked = checks(airframe)
    experiment = common_experiment(airframe, asked)
    rows = judge(asked, {REFERENCE: fly_reference(experiment), "PyBullet": fly_pybullet(experiment)})
    assert [row.what for row in rows if not row.passed] == []
    assert sum(row.by_formula for row in rows) >= 12


def test_a_drone_that_is_not_as_its_file_says_fails_its_checks() -> None:
    asked = checks(AIRFRAME)
    right = common_experiment(AIRFRAME, asked)
    heavy = replace(right, flights=replace(right.flights, mass_kg=1.02 * right.flights.mass_kg))
    rows = judge(asked, {REFERENCE: fly_reference(right), "torch": fly_torch(heavy)})
    failed = {row.what for row in rows if not row.passed}
    assert {"climb after 2 s at that speed", "blown along by 2 m/s of wind, after 2 s"} <= failed
    assert "free fall, speed after 1 s" not in failed


def test_a_value_that_is_no_number_never_passes() -> None:
    asked = checks(AIRFRAME)[:1]
    path = fly_reference(common_experiment(AIRFRAME, asked))
    spoiled = replace(path, motor_speed=np.full_like(path.motor_speed, math.nan))
    for flown in ({REFERENCE: path, "torch": spoiled}, {REFERENCE: spoiled, "torch": path}):
        assert not judge(asked, flown)[0].passed


def test_endurance_needs_finite_numbers_and_the_same_bits() -> None:
    good = Endurance("torch", Flown(3, 900, 0, 1.0, "a"), 1, True)
    assert good.passed
    assert not replace(good, same=False).passed
    assert not replace(good, flown=replace(good.flown, not_finite=1)).passed


def test_rates_are_compared_in_turn_so_that_a_slow_moment_meets_both() -> None:
    machine = itertools.chain.from_iterable((speed, speed) for speed in itertools.cycle((1.0, 0.4, 1.0)))
    own, peer, ratio = side_by_side(lambda _: 300.0 * next(machine), lambda _: 100.0 * next(machine), 1.0)
    assert (own, peer) == (300.0, 100.0) and ratio == pytest.approx(3.0)


def test_the_command_prints_its_tables_and_writes_its_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    options = ["--quick", "--drones", "4", "--episodes", "2", "--out", str(tmp_path), "--page", str(page)]
    assert benchmark.main(["world", *options]) == 0
    said = capsys.readouterr().out
    assert "All pass." in said and all(name in said for name in ENGINES)
    kept = json.loads((tmp_path / "world.json").read_text())
    assert kept["passed"] and len(kept["rows"]) == len(checks(AIRFRAME)) and kept["drones"] == 4
    assert (tmp_path / "world.png").read_bytes().startswith(b"\x89PNG")
    text = page.read_text(encoding="utf-8")
    assert "(page.png)" in text and page.with_suffix(".png").exists()
    assert all(f"| {row['what']} |" in text for row in kept["rows"])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (["--drones", "0"], "drones"),
        (["--episodes", "0"], "episodes"),
        (["--airframe", "zeppelin"], "zeppelin"),
        (["--page", "page.txt"], "--page"),
    ],
)
def test_bad_input_is_refused(
    options: list[str], named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmark.main(["world", "--out", str(tmp_path), *options]) == 2
    assert named in capsys.readouterr().err


def test_nominal_flights_are_as_the_file_has_them() -> None:
    flights = nominal_flights(AIRFRAME, 3)
    assert flights.mass_kg.tolist() == [AIRFRAME.mass_kg] * 3
    assert flights.motor_tau_up_s.tolist() == [AIRFRAME.motor_tau_up_s] * 3
    assert np.ptp(flights.rotor_thrust_max_n) == 0.0 and not flights.wind_mean_m_s.any()
