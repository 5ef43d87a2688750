"""The rate table: models of equal parameters, trained narrow and wide, flown from slow to fast.

Every trained policy and every scored cell is kept in the folder and not done again.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from rich.progress import Progress

from liquid_pilot.bundle import load_bundle
from liquid_pilot.errors import ConfigError
from scripts.benchmarks.cell_file import CellFile
from scripts.benchmarks.contest import MODELS, TRAININGS, Competed, Model, Recipe, check_counts, compete
from scripts.case import Case
from scripts.console import OUT, progress_bar
from scripts.evaluation import evaluate, policy_sha256
from scripts.files import write_json
from scripts.flying import GEOMETRIC, FlightPool
from scripts.pictures.table import draw_table
from scripts.tables import markdown_table, rich_table
from scripts.workers.options import ALL_CORES, Workers

IMU_RATES: Final = ("25", "50", "100", "200", "400", "mixed")
PYBULLET_RATES: Final = ("25", "100", "400")
_KEPT: Final = (
    "success_rate", "flights", "failures", "speed_error_median_m_s", "speed_error_p90_m_s", "height_error_median_m",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """What is trained and flown. flight_seed: of all scored flights, the same for everybody."""

    folder: Path
    recipe: Recipe
    seeds: int = 5
    flights: int = 2000
    pybullet_flights: int = 0
    flight_seed: int = 7
    models: tuple[Model, ...] = MODELS
    trainings: tuple[str, ...] = ("narrow", "wide")

    def __post_init__(self) -> None:
        check_counts(self.seeds, self.flights, self.pybullet_flights)

    @property
    def steps(self) -> int:
        """Trainings and scored cells, for the progress bar."""
        contests = len(self.models) * len(self.trainings)
        runs = contests * (len(self.models[0].trials) + self.seeds)
        pybullet = (contests + 1) * len(PYBULLET_RATES) if self.pybullet_flights else 0
        return runs + contests * self.seeds * len(IMU_RATES) + pybullet


class _Scores:
    """Scored cells: kept in a file, flown where they are missing."""

    def __init__(self, plan: Plan, pool: FlightPool, progress: Progress) -> None:
        self._plan, self._pool, self._progress = plan, pool, progress
        self._kept = CellFile(plan.folder / "cells.json")

    def cell(self, policy: str, imu_hz: str, engine: str) -> dict[str, Any]:
        """Figures of a policy at an IMU rate."""
        plan = self._plan
        flights = plan.flights if engine == "batched" else plan.pybullet_flights
        marks = {
            "policy_sha256": policy_sha256(policy),  # empty for the geometric controller, the only one without a file
            "imu": imu_hz,
            "engine": engine,
            "flights": flights,
            "seed": plan.flight_seed,
        }

        def flown() -> dict[str, Any]:
            case = Case(
                policy=policy,
                imu_hz=imu_hz,
                engine=engine,
                flights=flights,
                seed=plan.flight_seed,
                backend=plan.recipe.backend,
            )
            row = evaluate(case, self._pool, self._progress)
            return {key: row[key] for key in _KEPT}

        known = self._kept.cell(marks, flown)
        return {key: known[key] for key in ("imu", *_KEPT)}


def run(plan: Plan, workers: Workers = ALL_CORES) -> dict[str, Any]:
    """Tune, train and fly everything that the folder does not hold yet; returns what table.json says."""
    with FlightPool(workers) as pool, progress_bar() as progress:
        whole = progress.add_task("rate table", total=plan.steps)
        scores = _Scores(plan, pool, progress)
        on_done = partial(progress.advance, whole)
        entries = [(model, training) for training in plan.trainings for model in plan.models]
        competed = compete(plan.folder, plan.recipe, entries, plan.seeds, pool, on_done)
        rows = [_row(plan, *entry, runs, scores, on_done) for entry, runs in zip(entries, competed, strict=True)]
        upper = []
        if plan.pybullet_flights:
            for hz in PYBULLET_RATES:
                upper.append(scores.cell(GEOMETRIC, hz, "pybullet"))
                on_done()
    return {
        "seeds": plan.seeds,
        "flights": plan.flights,
        "flight_seed": plan.flight_seed,
        "pybullet_flights": plan.pybullet_flights,
        "updates": plan.recipe.updates,
        "batch": plan.recipe.batch,
        "rows": rows,
        "geometric": upper,
    }


def _row(
    plan: Plan, model: Model, training: str, runs: Competed, scores: _Scores, on_done: Callable[[], None]
) -> dict[str, Any]:
    """One model under one training: the flights of its reported seeds."""
    chosen, reported = runs.chosen, runs.reported
    cells = []
    for imu_hz in IMU_RATES:
        of_seeds = []
        for one in reported:
            of_seeds.append(scores.cell(str(one.policy), imu_hz, "batched") if one.bundled else _grounded(plan, imu_hz))
            on_done()
        cells.append({"imu": imu_hz, "seeds": of_seeds} | summary(of_seeds))
    pybullet = []
    first = next((one for one in reported if one.bundled), None)
    if first is None:
        raise ConfigError(f"no policy of {model.name} in {plan.folder} may fly; train them again with other --updates")
    for imu_hz in PYBULLET_RATES if plan.pybullet_flights else ():
        pybullet.append(scores.cell(str(first.policy), imu_hz, "pybullet"))
        on_done()
    bundle = load_bundle(str(first.policy))
    return {
        "training": training,
        "imu_hz": list(TRAININGS[training].imu_hz),
        "model": model.name,
        "cell": model.cell,
        "neurons": bundle.spec.units,
        "parameters": bundle.parameters,
        "bytes": 4 * bundle.parameters,
        "learning_rate": chosen.learning_rate,
        "time_unit_s": chosen.time_unit_s if model.timed else None,
        "trials": [trial.row() for trial in runs.trials],
        "runs": [one.row() for one in reported],
        "cells": cells,
        "pybullet": pybullet,
    }


def _grounded(plan: Plan, imu_hz: str) -> dict[str, Any]:
    """The cell of a policy whose self-test was refused: it may not fly, and counts as lost."""
    return {
        "imu": imu_hz,
        **dict.fromkeys(_KEPT),
        "success_rate": 0.0,
        "flights": plan.flights,
        "failures": plan.flights,
    }


def summary(cells: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and standard deviation over seeds; of one seed there is no deviation.

    The error is None, and `lost_seeds` says in how many seeds, where half of the flights or more failed.
    """
    success = [float(cell["success_rate"]) for cell in cells]
    errors = [cell["speed_error_median_m_s"] for cell in cells]
    whole = [float(error) for error in errors if error is not None]
    complete = len(whole) == len(errors)
    return {
        "success_mean": statistics.fmean(success),
        "success_sd": statistics.stdev(success) if len(success) > 1 else None,
        "speed_error_mean_m_s": statistics.fmean(whole) if complete else None,
        "speed_error_sd_m_s": statistics.stdev(whole) if complete and len(whole) > 1 else None,
        "lost_seeds": len(errors) - len(whole),
    }


def spread(mean: float, sd: float | None, digits: int) -> str:
    """A mean with its deviation, as 99.8 ± 0.1."""
    return f"{mean:.{digits}f}" if sd is None else f"{mean:.{digits}f} ± {sd:.{digits}f}"


def texts(cell: dict[str, Any]) -> tuple[str, str]:
    """(success in percent, median speed error in m/s) of a cell of the table."""
    sd = None if cell["success_sd"] is None else 100.0 * cell["success_sd"]
    success = spread(100.0 * cell["success_mean"], sd, 1)
    if cell["speed_error_mean_m_s"] is None:
        seeds = len(cell["seeds"])
        return success, "lost" if cell["lost_seeds"] == seeds else f"lost in {cell['lost_seeds']} of {seeds}"
    return success, spread(cell["speed_error_mean_m_s"], cell["speed_error_sd_m_s"], 3)


def markdown(table: dict[str, Any]) -> str:
    """The whole table for a README."""
    parts = [
        f"{_seeds(table)} a model, {table['flights']:,} batched flights of 15 s a cell and seed; mean ± sd over "
        "seeds of the flights still up (%) and, below, of the median horizontal speed error (m/s; lost: half of the "
        "flights or more failed). All models see the elapsed time and have about as many parameters; learning rate and "
        f"time unit from {len(MODELS[0].trials)} trials each on another seed."
    ]
    for training in dict.fromkeys(row["training"] for row in table["rows"]):
        rows = [row for row in table["rows"] if row["training"] == training]
        low, high = rows[0]["imu_hz"]
        parts.append(f"Trained {training}: IMU {low:g} to {high:g} Hz{'' if training == 'narrow' else ' and mixed'}.")
        head = [f"{hz} Hz" if hz != "mixed" else hz for hz in IMU_RATES]
        lines = [["model", "neurons", "parameters", "bytes", *head]]
        for row in rows:
            sizes = [str(row["neurons"]), f"{row['parameters']:,}", f"{row['bytes']:,}"]
            lines.append([row["model"], *sizes, *("<br>".join(texts(cell)) for cell in row["cells"])])
        parts.append(markdown_table(lines))
    if table["pybullet_flights"]:
        parts += [
            f"The first seed of each in PyBullet, through the onboard controller, {table['pybullet_flights']} flights "
            "a cell: still up (%), median speed error (m/s). Geometric: told the true state.",
            markdown_table(_pybullet_lines(table)),
        ]
    return "\n\n".join(parts) + "\n"


def _seeds(table: dict[str, Any]) -> str:
    return "1 seed" if table["seeds"] == 1 else f"{table['seeds']} seeds"


def _pybullet_lines(table: dict[str, Any]) -> list[list[str]]:
    lines = [["model", "trained", *(f"{hz} Hz" for hz in PYBULLET_RATES)]]
    given = [(row["model"], row["training"], row["pybullet"]) for row in table["rows"]]
    for name, training, cells in [*given, ("geometric", "-", table["geometric"])]:
        found = []
        for cell in cells:
            error = cell["speed_error_median_m_s"]
            found.append(f"{100.0 * cell['success_rate']:.1f}<br>{'lost' if error is None else f'{error:.3f}'}")
        lines.append([name, training, *found])
    return lines


def present(table: dict[str, Any], folder: Path) -> list[Path]:
    """Print the table; write table.json, table.md and table.png."""
    for training in dict.fromkeys(row["training"] for row in table["rows"]):
        own = [row for row in table["rows"] if row["training"] == training]
        lines = [[hz, *("\n".join(texts(row["cells"][number])) for row in own)] for number, hz in enumerate(IMU_RATES)]
        title = f"trained {training}: flights still up (%) and median speed error (m/s), {_seeds(table)}"
        OUT.print(rich_table(title, ("IMU Hz", *(row["model"] for row in own)), lines))
    for row in table["rows"]:
        for one in row["runs"]:
            if one["trouble"]:
                OUT.print(f"{row['model']}, {row['training']}, seed {one['seed']} ended early: {one['trouble']}")
    write_json(folder / "table.json", table)
    text = folder / "table.md"
    text.write_text(markdown(table), encoding="utf-8")
    return [folder / "table.json", text, draw_table(table, folder / "table.png")]
