"""Laws of the table of demonstrations: equal chances for every model, nothing done twice, no failure left out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liquid_pilot import native
from liquid_pilot.cells import parameters
from liquid_pilot.errors import ConfigError
from policies import validation
from policies.imitation.collect import Collection
from policies.network import hover_spec
from policies.schedule import train
from scripts.benchmarks import demonstrations
from scripts.benchmarks.demonstrations import MODELS, TUNING_SEED, Plan, chosen, markdown, present, read_record
from tests.policies.imitation_cases import SLOW, random_flights

needs_compiler = pytest.mark.skipif(not native.available(), reason="needs a C compiler")
MLP = MODELS[-1]


def tiny(folder: Path) -> Plan:
    collection = Collection(flight_s=0.3, curriculum=SLOW, fleet=3)
    return Plan(
        folder, 2, (2, 4), updates=1, flights=2, models=(replace(MLP, trials=MLP.trials[:2]),), collection=collection
    )


def test_every_model_has_as_many_trials_and_about_the_same_parameters() -> None:
    assert {len(set(model.trials)) for model in MODELS} == {4}
    counts = [parameters(hover_spec(model.cell)) for model in MODELS]
    assert max(counts) <= 1.05 * min(counts)
    for bad in ({"seeds": TUNING_SEED}, {"counts": ()}, {"counts": (0,)}, {"flights": 0}):
        with pytest.raises(ConfigError, match=next(iter(bad))):
            replace(Plan(Path()), **bad)


def test_more_flights_hold_the_fewer_ones_and_seeds_differ() -> None:
    pool = random_flights(0, tuple(range(1, 13)))
    few, many, other = chosen(pool, 1, 3), chosen(pool, 1, 9), chosen(pool, 2, 3)
    assert np.array_equal(few.observation, many.first(3).observation)
    assert few.length.tolist() != other.length.tolist()
    assert sorted(chosen(pool, 3, 12).length) == sorted(pool.length)


@needs_compiler
def test_an_interrupted_table_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "VALIDATION", validation.VALIDATION[:1])
    plan, trained = tiny(tmp_path), list[str]()
    stop_at = 3

    def counted(trainer: Any, *rest: Any) -> None:
        if len(trained) == stop_at:
            raise KeyboardInterrupt
        trained.append(f"{trainer.config.flights} {trainer.config.seed}")
        train(trainer, *rest)

    monkeypatch.setattr(demonstrations, "train", counted)
    with pytest.raises(KeyboardInterrupt):
        demonstrations.run(plan)
    stop_at = 100
    table = demonstrations.run(plan)
    assert len(trained) == plan.runs == 6
    assert demonstrations.run(plan) == table and len(trained) == 6
    files = present(table, tmp_path)
    assert [path.name for path in files] == [f"demonstrations.{kind}" for kind in ("json", "md", "png")]
    assert json.loads(files[0].read_text())["rows"][0]["cells"][0]["demonstrations"] == 2
    with pytest.raises(ConfigError, match="other flights"):
        demonstrations.run(replace(plan, noise=0.3))


def test_the_best_trial_sets_the_seeds_and_a_failed_one_never_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[float, int, int, bool]] = []

    def cell(self: Any, config: Any, fly: bool, on_update: Any) -> dict[str, Any]:
        asked.append((config.learning_rate, config.seed, config.flights, fly))
        score = {MLP.trials[0][0]: None, MLP.trials[1][0]: 0.5}[config.learning_rate]
        up = {0: 1.0, 1: 0.2}[config.seed] if fly else 0.0
        return {"score": score, "seconds": 1.0, "success_rate": up, "speed_error_median_m_s": 0.1 if up > 0.5 else None}

    monkeypatch.setattr(demonstrations.Runs, "cell", cell)
    monkeypatch.setattr(demonstrations, "demonstrations", lambda plan, progress: random_flights(0, (3, 3, 3, 3)))
    if not native.available():
        pytest.skip("needs a C compiler")
    table = demonstrations.run(tiny(tmp_path))
    assert [row[1:] for row in asked[:2]] == [(TUNING_SEED, 4, False)] * 2
    assert {row[0] for row in asked[2:]} == {MLP.trials[1][0]}
    text = markdown(table)
    assert "lost in 1 of 2" in text and "60.0 ±" in text and "2 seeds" in text


def test_a_record_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    assert read_record(path) is None
    path.write_text("{")
    with pytest.raises(ConfigError, match="no record of a run"):
        read_record(path)
