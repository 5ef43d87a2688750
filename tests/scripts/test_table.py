"""Laws of the rate table: equal chances for every model, nothing done twice, and no failure left out."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from liquid_pilot import native
from liquid_pilot.bundle import load_bundle
from liquid_pilot.cells import parameters
from liquid_pilot.errors import ConfigError, SimulationError
from policies.network import hover_spec
from policies.validation import VALIDATION, validation
from scripts.benchmarks import contest, table
from scripts.benchmarks.contest import (
    LSTM,
    MODELS,
    TRAININGS,
    TUNING_SEED,
    Recipe,
    Trained,
    best,
    run_folder,
    trained,
)
from scripts.benchmarks.table import IMU_RATES, Plan, markdown, present, spread, summary, texts
from scripts.flying import FlightPool
from scripts.workers.options import Workers

needs_compiler = pytest.mark.skipif(not native.available(), reason="needs a C compiler")
MLP = MODELS[-1]
TINY = Recipe(updates=1, batch=4, backend="compiled")


def cell(success: float, error: float | None) -> dict[str, Any]:
    return {"success_rate": success, "speed_error_median_m_s": error}


def test_every_model_has_the_same_trials_and_about_the_same_parameters() -> None:
    assert {len(set(model.trials)) for model in (*MODELS, LSTM)} == {6}
    counts = [parameters(hover_spec(model.cell)) for model in (*MODELS, LSTM)]
    assert max(counts) <= 1.05 * min(counts)
    seeds = {TINY.run(model, "wide", model.trials[0], TUNING_SEED).config.seed for model in MODELS}
    assert seeds == {TUNING_SEED}
    with pytest.raises(ConfigError, match="seeds"):
        Plan(Path(), TINY, seeds=TUNING_SEED)


def test_narrow_training_sees_and_is_judged_at_its_own_rates_only() -> None:
    narrow = TRAININGS["narrow"]
    assert narrow.mixed_chance == 0.0
    assert all(narrow.imu_hz[0] <= hz <= narrow.imu_hz[1] for c in validation(narrow) for hz in c.imu_hz)
    assert validation(TRAININGS["wide"]) == VALIDATION


def test_best_trial_is_the_lowest_score_and_a_failed_one_never_wins() -> None:
    runs = [Trained(0, rate, 0.015, Path(), score, 1, 0.0, "") for rate, score in ((1.0, math.inf), (2.0, 0.3))]
    assert best(runs).learning_rate == 2.0
    assert best(runs[:1]).row()["score"] is None
    json.dumps(runs[0].row(), allow_nan=False)


def test_mean_and_deviation_over_seeds_count_lost_seeds() -> None:
    whole = summary([cell(1.0, 0.1), cell(0.8, 0.3)])
    assert whole["success_mean"] == pytest.approx(0.9) and whole["success_sd"] == pytest.approx(math.sqrt(0.02))
    assert whole["speed_error_mean_m_s"] == pytest.approx(0.2) and whole["lost_seeds"] == 0
    lost = summary([cell(1.0, 0.1), cell(0.2, None)])
    assert lost["speed_error_mean_m_s"] is None and lost["lost_seeds"] == 1
    assert texts(lost | {"seeds": [0, 0]}) == ("60.0 ± 56.6", "lost in 1 of 2")
    assert texts(summary([cell(0.1, None)]) | {"seeds": [0]}) == ("10.0", "lost")
    assert spread(0.05, 0.004, 3) == "0.050 ± 0.004"


def plan(folder: Path) -> Plan:
    return Plan(folder, TINY, seeds=1, flights=16, models=(MLP,), trainings=("narrow",))


@needs_compiler
def test_a_finished_table_is_read_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contest, "_MORE_RATES", (5e-3,))
    first = table.run(plan(tmp_path), Workers(1))
    policy = Path(first["rows"][0]["runs"][0]["policy"])
    assert load_bundle(str(policy)).metadata["trained_rates_hz"]["imu"] == [50.0, 100.0]
    assert [c["imu"] for c in first["rows"][0]["cells"]] == list(IMU_RATES)

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("made again")

    monkeypatch.setattr(contest, "train", never)
    monkeypatch.setattr(table, "evaluate", never)
    again = table.run(plan(tmp_path), Workers(1))
    assert again == first
    files = present(first, tmp_path)
    assert all(file.stat().st_size > 0 for file in files)
    text = files[1].read_text(encoding="utf-8")
    assert text.count("MLP, no memory") == 1 and f"{parameters(hover_spec('mlp')):,}" in text


@needs_compiler
def test_a_training_that_diverges_is_flown_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(*_: Any) -> None:
        raise SimulationError("the command of drone 3 is not finite at step 5")

    monkeypatch.setattr(contest, "train", diverge)
    wanted = TINY.run(MLP, "narrow", MLP.trials[0], 0)
    (run,) = trained(tmp_path, [wanted], "compiled", FlightPool(1))
    assert run.score == math.inf and "drone 3" in run.trouble and load_bundle(str(run.policy)).spec.form == "mlp"
    assert trained(tmp_path, [wanted], "compiled", FlightPool(1)) == [run]  # read, not made again
    other = replace(wanted, config=replace(wanted.config, learning_rate=0.1))
    assert run_folder(tmp_path, other) != run.policy.parent
    (run.policy.parent / "record.json").write_text("{")
    with pytest.raises(ConfigError, match="no record of a run"):
        trained(tmp_path, [wanted], "compiled", FlightPool(1))


def test_markdown_is_one_grid_a_training_and_tells_pybullet_apart() -> None:
    cells = [{"imu": hz, "seeds": [0]} | summary([cell(0.9, None if hz == "400" else 0.1)]) for hz in IMU_RATES]
    row = {"imu_hz": [50.0, 100.0], "neurons": 19, "parameters": 2646, "bytes": 10584, "cells": cells}
    flown = [cell(1.0, 0.05)] * 3
    rows = [
        row | {"training": training, "model": model, "pybullet": flown}
        for training in ("narrow", "wide")
        for model in ("decay", "GRU")
    ]
    whole = {"seeds": 1, "flights": 2000, "pybullet_flights": 100, "rows": rows, "geometric": flown}
    text = markdown(whole)
    assert text.count("| --- |") == 3 and text.count("| geometric |") == 1
    assert "90.0<br>lost" in text and "100.0<br>0.050" in text and "2,646" in text


def test_a_policy_that_may_not_fly_counts_as_lost() -> None:
    plan = Plan(Path(), TINY, seeds=1, flights=16, models=(MLP,), trainings=("narrow",))
    grounded = table._grounded(plan, "100")
    assert summary([grounded, cell(1.0, 0.1)])["success_mean"] == 0.5 and summary([grounded])["lost_seeds"] == 1
