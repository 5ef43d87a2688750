"""How many demonstrations a policy needs: cloned from 10 to 1000 flights of the geometric controller, model by model.

All models have about as many parameters and the same number of tuning trials on a seed that is not reported. Every
trained and flown cell is kept in the folder and not done again.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.progress import Progress, TaskID

from liquid_pilot.cells import parameters
from liquid_pilot.errors import ConfigError
from policies.imitation.collect import Collection, record_part, shuffled
from policies.imitation.demonstrations import Demonstrations
from policies.imitation.export import export_policy
from policies.imitation.files import load_flights, save_flights
from policies.imitation.teachers import GeometricTeacher
from policies.imitation.trainer import ImitationConfig, ImitationTrainer
from policies.network import hover_spec
from policies.schedule import train
from scripts.benchmarks.table import summary, texts
from scripts.case import Case
from scripts.console import OUT, progress_bar
from scripts.evaluation import evaluate
from scripts.files import write_json
from scripts.flying import FlightPool
from scripts.pictures.demonstrations import draw_demonstrations
from scripts.tables import rich_table
from scripts.training.run import git_commit

TUNING_SEED: Final = 1000  # of the trials; no reported run has it
TUNING_FLIGHTS: Final = 100  # that a trial learns from, or as many as there are
COUNTS: Final = (10, 30, 100, 300, 1000)
POOL: Final = Collection()  # but for the number of flights and the noise
_KEPT: Final = ("success_rate", "speed_error_median_m_s", "speed_error_p90_m_s", "height_error_median_m")


@dataclass(frozen=True, slots=True)
class Model:
    """One competitor; trials: (learning rate, time unit in s), four whatever the model."""

    name: str
    cell: str
    trials: tuple[tuple[float, float], ...]


_TIMED: Final = tuple((rate, unit) for unit in (0.015, 0.05) for rate in (2.5e-3, 7.5e-3))
_UNTIMED: Final = tuple((rate, 0.015) for rate in (1e-3, 2.5e-3, 5e-3, 1e-2))
MODELS: Final = (
    Model("decay", "decay", _TIMED),
    Model("GRU", "gru", _UNTIMED),
    Model("LSTM", "lstm", _UNTIMED),
    Model("MLP, no memory", "mlp", _UNTIMED),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is learned and flown. noise: on the expert's controls as it flies; flights: of a score."""

    folder: Path
    seeds: int = 5
    counts: tuple[int, ...] = COUNTS
    updates: int = 800
    flights: int = 500
    noise: float = 0.1
    flight_seed: int = 7
    models: tuple[Model, ...] = MODELS
    collection: Collection = POOL

    def __post_init__(self) -> None:
        if not 1 <= self.seeds < TUNING_SEED:
            raise ConfigError(f"seeds is {self.seeds}; give 1 to {TUNING_SEED - 1}")
        if not self.counts or min(self.counts) < 1:
            raise ConfigError(f"counts is {self.counts}; give numbers of flights, each at least 1")
        if self.flights < 1:
            raise ConfigError(f"flights is {self.flights}; fly at least one")

    @property
    def pool(self) -> Collection:
        """All flights that are learned from; a seed's are drawn from them."""
        return replace(self.collection, flights=max(self.counts), noise=self.noise)

    @property
    def runs(self) -> int:
        """Trainings, for the progress bar."""
        return len(self.models) * (len(self.models[0].trials) + self.seeds * len(self.counts))

    def config(self, model: Model, trial: tuple[float, float], seed: int, flights: int) -> ImitationConfig:
        """Of one run."""
        return ImitationConfig(
            method="bc",
            cell=model.cell,
            seed=seed,
            updates=self.updates,
            learning_rate=trial[0],
            time_unit_s=trial[1],
            flights=flights,
            noise=self.noise,
            airframe=self.pool.airframe,
            validate_every=max(1, self.updates // 4),
            curriculum=self.pool.curriculum,
        )


def demonstrations(plan: Plan, progress: Progress) -> Demonstrations:
    """The pool, read where it is there."""
    path, origin = plan.folder / "demonstrations.safetensors", plan.pool.origin()
    if path.is_file():
        found, theirs = load_flights(path)
        if theirs != replace(origin, conditions=json.loads(json.dumps(origin.conditions))):
            raise ConfigError(f"{path} holds other flights than this table's; delete it or give another --out")
        return found
    task = progress.add_task("flights of the expert", total=plan.pool.parts)
    parts = []
    for number in range(plan.pool.parts):
        parts.append(record_part(plan.pool, number))
        progress.advance(task)
    progress.remove_task(task)
    flights = shuffled(parts, plan.pool.seed)
    save_flights(path, flights, origin)
    return flights


def chosen(pool: Demonstrations, seed: int, flights: int) -> Demonstrations:
    """A seed's flights: the first of an order of its own, so that more flights hold the fewer ones."""
    return pool.pick(np.random.default_rng([seed, 6]).permutation(pool.flights)[:flights])


class Runs:
    """Trained and flown cells, each in a folder of its own."""

    def __init__(self, plan: Plan, pool: Demonstrations, workers: FlightPool, progress: Progress) -> None:
        self.plan, self._pool, self._workers, self._progress = plan, pool, workers, progress

    def cell(self, config: ImitationConfig, fly: bool, on_update: Callable[[int], None]) -> dict[str, Any]:
        """The record of a configuration: read where it is finished, else trained and, if wanted, flown."""
        marks = json.dumps([asdict(config), self.plan.flights if fly else 0, self.plan.flight_seed], sort_keys=True)
        digest = hashlib.sha256(marks.encode()).hexdigest()[:10]
        name = f"{config.cell}-{config.flights:04d}-seed{config.seed}-{digest}"
        record, policy = self.plan.folder / "runs" / name / "record.json", self.plan.folder / "runs" / name
        found = read_record(record)
        if found is None:
            found = self._done(config, policy / "policy.safetensors", fly, on_update)
            write_json(record, found | {"config": asdict(config)})
        on_update(config.updates)
        return found

    def _done(
        self, config: ImitationConfig, policy: Path, fly: bool, on_update: Callable[[int], None]
    ) -> dict[str, Any]:
        flights = chosen(self._pool, config.seed, config.flights)
        trainer = ImitationTrainer(config, GeometricTeacher(), flights)
        train(trainer, lambda row: on_update(row.update), lambda: None)
        policy.parent.mkdir(parents=True, exist_ok=True)
        export_policy(trainer, policy, f"{config.task}-{config.cell}-{config.flights}", git_commit())
        found: dict[str, Any] = {
            "score": trainer.best_score if math.isfinite(trainer.best_score) else None,
            "seconds": round(trainer.elapsed_s, 3),
        }
        if fly:
            case = Case(
                policy=str(policy), engine="batched", flights=self.plan.flights, seed=self.plan.flight_seed,
                airframe=config.airframe,
            )  # fmt: skip
            row = evaluate(case, self._workers, self._progress)
            found |= {key: row[key] for key in _KEPT}
        return found


def read_record(path: Path) -> dict[str, Any] | None:
    """A finished cell; None where there is none. Raises `ConfigError` for a file that is none."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {key: found[key] for key in ("score", "seconds", *_KEPT) if key in found}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{path} is no record of a run ({error}); delete its folder or give another --out") from error


def run(plan: Plan, threads: int = 1) -> dict[str, Any]:
    """Tune, train and fly everything that the folder does not hold yet; returns what demonstrations.json says."""
    with FlightPool(threads) as workers, progress_bar() as progress:
        whole = progress.add_task("demonstrations", total=plan.runs)
        runs = Runs(plan, demonstrations(plan, progress), workers, progress)
        rows = [_row(runs, model, progress, whole) for model in plan.models]
    return {
        "seeds": plan.seeds,
        "counts": list(plan.counts),
        "flights": plan.flights,
        "flight_seed": plan.flight_seed,
        "updates": plan.updates,
        "noise": plan.noise,
        "expert": plan.pool.expert,
        "rows": rows,
    }


def _row(runs: Runs, model: Model, progress: Progress, whole: TaskID) -> dict[str, Any]:
    """One model: its trials, then its seeds at every number of flights."""
    plan, task = runs.plan, progress.add_task(model.name, total=runs.plan.updates)

    def cell(trial: tuple[float, float], seed: int, flights: int, fly: bool) -> dict[str, Any]:
        what = f"{model.name}, {flights} flights, " + (f"seed {seed}" if fly else f"trial {trial[0]:g}, {trial[1]:g}")
        progress.update(task, description=what, completed=0)
        config = plan.config(model, trial, seed, flights)
        found = runs.cell(config, fly, lambda done: progress.update(task, completed=done))
        progress.advance(whole)
        return found

    tuning = min(TUNING_FLIGHTS, max(plan.counts))
    trials = [cell(trial, TUNING_SEED, tuning, False) for trial in model.trials]
    scores = [math.inf if trial["score"] is None else trial["score"] for trial in trials]
    setting = model.trials[scores.index(min(scores))]
    cells = []
    for flights in plan.counts:
        seeds = [cell(setting, seed, flights, True) for seed in range(plan.seeds)]
        cells.append({"demonstrations": flights, "seeds": seeds} | summary(seeds))
    progress.remove_task(task)
    spec = hover_spec(model.cell, setting[1])
    return {
        "model": model.name,
        "cell": model.cell,
        "neurons": spec.units,
        "parameters": parameters(spec),
        "learning_rate": setting[0],
        "time_unit_s": setting[1],
        "trials": [
            {"learning_rate": rate, "time_unit_s": unit, "score": trial["score"]}
            for (rate, unit), trial in zip(model.trials, trials, strict=True)
        ],
        "cells": cells,
    }


def markdown(table: dict[str, Any]) -> str:
    """The whole table for a README."""
    seeds = "1 seed" if table["seeds"] == 1 else f"{table['seeds']} seeds"
    text = (
        f"Behaviour cloning of the {table['expert']} controller (noise {table['noise']:g} on its controls), "
        f"{table['updates']} updates, {seeds} a cell, {table['flights']:,} batched flights of 15 s each; mean ± sd "
        "over seeds of the flights still up (%) and, below, of the median speed error (m/s; lost: half of the "
        "flights or more failed). Learning rate and time unit from "
        f"{len(table['rows'][0]['trials'])} trials each on another seed."
    )
    head = ["model", "neurons", "parameters", *(f"{count} flights" for count in table["counts"])]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for row in table["rows"]:
        cells = ["<br>".join(texts(cell)) for cell in row["cells"]]
        lines.append([row["model"], str(row["neurons"]), f"{row['parameters']:,}", *cells])
    return text + "\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def present(table: dict[str, Any], folder: Path) -> list[Path]:
    """Print the table; write demonstrations.json, .md and .png."""
    rows: Sequence[dict[str, Any]] = table["rows"]
    lines = [
        [str(count), *("\n".join(texts(row["cells"][number])) for row in rows)]
        for number, count in enumerate(table["counts"])
    ]
    title = f"cloned from so many flights: still up (%) and median speed error (m/s), {table['seeds']} seeds"
    OUT.print(rich_table(title, ("flights", *(row["model"] for row in rows)), lines))
    write_json(folder / "demonstrations.json", table)
    text = folder / "demonstrations.md"
    text.write_text(markdown(table), encoding="utf-8")
    return [folder / "demonstrations.json", text, draw_demonstrations(table, folder / "demonstrations.png")]
