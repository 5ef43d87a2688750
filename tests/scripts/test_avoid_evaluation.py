"""`scripts.evaluate --task avoid`: who may fly it, what is told of it, and that knowing the trees pays."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.progress import Progress

from envs.airframe import load_airframe
from envs.avoid import CROSSING_M
from envs.shapes import trunks
from liquid_pilot.errors import ConfigError
from liquid_pilot.flow_grid import DEFAULT_GRID
from policies.drills import drill_of
from policies.experts.planner import Planner
from policies.export import export_network
from policies.network import PolicyNetwork, avoid_spec
from scripts import evaluate as script
from scripts.case import Case
from scripts.crossings import grid_span, pairs
from scripts.evaluation import cautions, evaluate
from scripts.flying import CONVENTIONAL, FlightPool, task_of
from scripts.forest_flights import PATHS, fly_path, forest_of, starts_m
from scripts.forest_flights import Path as Flown
from scripts.pictures.avoid import Panel, draw_crossings
from scripts.tables import condition

FOREST = Case("planner", task="avoid", speed="4", flights=4)
TRAINING: dict[str, Any] = {
    "config": {},
    "seed": 0,
    "commit": "",
    "minutes": 0.0,
    "updates": 0,
    "validation_score": None,
}


def score(case: Case) -> dict[str, Any]:
    with FlightPool(1) as pool:
        return evaluate(case, pool, Progress(disable=True))


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A policy that sees and was never trained."""
    path = tmp_path_factory.mktemp("seeing") / "avoid.safetensors"
    network, curriculum = PolicyNetwork(avoid_spec("decay", DEFAULT_GRID)), drill_of("avoid").curriculum
    return str(export_network(path, "a", "avoid", network, load_airframe("cf2x"), curriculum, 0, TRAINING))


def test_who_knows_the_trees_crosses_where_others_run_into_them() -> None:
    knows, blind = score(FOREST), score(replace(FOREST, policy="geometric", flights=6))
    assert knows["success_rate"] == 1.0 and 3.3 < knows["crossing_mean_m_s"] < 4.1
    assert blind["failed_touched"] >= 3 and blind["success_rate"] < 0.6
    assert (knows["speed_m_s"], knows["density_per_m2"], knows["grid_hz"]) == (4.0, 0.1, "20-30")


def test_a_policy_that_sees_flies_both_engines_under_the_same_keys(seeing: str) -> None:
    case = Case(seeing, task="avoid", flights=2, grid_hz="25", dropout=("grid:0.3",))
    here, there = score(case), score(replace(case, engine="batched"))
    assert here["success_rate"] == there["success_rate"] == 0.0  # it was never trained
    same = [key for key in here if not key.startswith(("failed_", "wall_s", "engine", "workers"))]
    assert [here[key] for key in same] == [there[key] for key in same]
    assert here["grid_hz"] == 25.0 and here["grid_dropout"] == 0.3
    assert "3 m/s, 0.1 trees/m^2, grid 25 Hz, 30% of grids lost" in condition(here)


def test_before_a_wall_one_stops_who_knows_it() -> None:
    row = score(replace(FOREST, speed="2", walled=True, flights=2))
    assert row["failed_not_crossed"] == 2 and row["stopped"] == 1.0 and row["success_rate"] == 0.0
    assert "no way through" in condition(row)


def test_several_speeds_are_several_cells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "cells.json"
    arguments = ["planner", "--task", "avoid", "--speed", "4,6", "--flights", "1", "--workers", "1", "--json", str(out)]
    assert script.main(arguments) == 0
    rows = json.loads(out.read_text())["cells"]
    assert [row["speed_m_s"] for row in rows] == [4.0, 6.0] and all(row["flights"] == 1 for row in rows)
    assert "4 m/s" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "fix"),
    [
        ({"policy": "hover"}, "no flow grid"),
        ({"policy": "pid-ekf"}, "planner and geometric"),
        ({"task": "hover"}, "--task avoid"),
        ({"policy": "geometric", "task": "track", "speed": "2"}, "--speed"),
        ({"policy": "geometric", "task": "hover", "dropout": ("grid:0.5",)}, "grid:0.5"),
        ({"speed": "9"}, "above 0 to 8"),
        ({"speed": "2;3"}, "as in 1,2,3"),
        ({"speed": "2,3"}, "one by one"),
        ({"density": "0.5"}, "trees per square metre"),
        ({"grid_hz": "0"}, "at least 1 Hz"),
        ({"grid_hz": "fast"}, "as in 25"),
        ({"engine": "batched"}, "--engine pybullet only"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_fix(changes: dict[str, Any], fix: str) -> None:
    case = replace(FOREST, **changes)
    with pytest.raises(ConfigError, match=fix):
        case.check()
        case.job()


def test_a_policy_that_sees_flies_nothing_else(seeing: str) -> None:
    with pytest.raises(ConfigError, match="give --task avoid"):
        Case(seeing).check()
    assert not cautions(Case(seeing, task="avoid", speed="4"))
    assert "made for at most" in cautions(Case(seeing, task="avoid", speed="8"))[0]


def test_pairs_and_spans_are_read_as_they_are_written() -> None:
    assert pairs("1,2.5", "0.05,0.1") == [(1.0, 0.05), (2.5, 0.05), (1.0, 0.1), (2.5, 0.1)]
    assert grid_span("15-60") == (15.0, 60.0) and grid_span("30") == (30.0, 30.0)
    assert "planner" in CONVENTIONAL and hasattr(Planner(), "cross")


def test_paths_of_a_picture_lead_through_one_forest(tmp_path: Path) -> None:
    job = replace(FOREST.job(), flights=PATHS)
    assert (forest_of(job) == forest_of(replace(job, policy="geometric", speed_m_s=1.0))).all()
    assert (forest_of(job) != forest_of(replace(job, seed=1))).any()
    begin = starts_m(job)
    assert (np.diff(begin) > 0.0).all()
    trees = forest_of(job).reshape(-1, 3)
    for index in (0, PATHS - 1):
        flown = fly_path(job, index)
        assert flown.place_m[0] == pytest.approx((0.0, begin[index]), abs=1e-9)
        assert flown.outcome == "success" and flown.place_m[-1, 0] > CROSSING_M
        away = np.hypot(*(flown.place_m[:, None] - trees[:, :2]).transpose(2, 0, 1)) - trees[:, 2]
        assert away[:, trees[:, 2] > 0.0].min() > 0.12  # through the forest of the picture
    lost = Flown(np.array([[0.0, 0.0], [5.0, 1.0]]), "touched")
    stands = task_of(job).sees
    assert stands is not None
    panels = [Panel("4 m/s", trunks(trees[trees[:, 2] > 0.0]), [lost, replace(lost, outcome="not crossed")])] * 3
    picture = draw_crossings(panels, tmp_path / "paths.png", "paths")
    assert picture.stat().st_size > 20_000
