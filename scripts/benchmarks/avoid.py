"""The forest table: models behind the same encoder, trained with the same budget, cross forests that none has seen.

Or policies that are there already, as trainings of one model. Every trained policy and every scored cell is kept in the
folder and not done again.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from envs.airframe import load_airframe
from envs.avoid import crossing_s, sighted
from envs.compiled.engine import CompiledRollout
from envs.conditions import Conditions
from envs.obstacle_kinds import OBSTACLES, TREES
from envs.scoring import FlightScore, summarise
from liquid_pilot.bundle import Bundle, load_bundle
from liquid_pilot.cell_spec import parameters
from liquid_pilot.errors import ConfigError, unknown_name
from policies.compiled_trainer import flight_rollout, fly_and_score
from policies.drills import AVOID_DENSITY_PER_M2, SIGHT, Drill, avoid_drill
from policies.fragments import flatten_weights
from policies.network import BACKBONE_UNITS
from scripts.benchmarks.avoid_readout import anticipation
from scripts.benchmarks.cell_file import CellFile
from scripts.benchmarks.contest import Competed, Model, Recipe, check_counts, compete
from scripts.console import progress_bar
from scripts.workers.options import ALL_CORES, Workers
from scripts.workers.pool import WorkerPool

UNSEEN: Final = replace(SIGHT, model=replace(SIGHT.model, sees_trees=False))
_KEPT: Final = ("success_rate", "flights", "failures", "crossing_mean_m_s", "reasons", "stopped")


@dataclass(frozen=True, slots=True)
class Arm:
    """A model and how it is trained, a key of `contest.TRAININGS`. whole: flies every cell, not plain ones alone."""

    model: Model
    training: str = "forest"
    whole: bool = False


DECAY: Final = Model("decay", "decay", True)
ARMS: Final = (
    Arm(DECAY, whole=True),
    Arm(Model("CfC, published", "default", True), whole=True),
    Arm(Model("GRU", "gru", False), whole=True),
    Arm(Model("MLP, no memory", "mlp", False)),
    Arm(Model("decay, blind", "decay", True), "blind"),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """What is crossed. plain: of all arms; unseen: trees stand there and the grid does not show them.

    walled: there is no way through; `stopped` counts the flights that stayed before it and touched nothing. obstacles:
    see `envs.obstacle_kinds.OBSTACLES`.
    """

    label: str
    speed_m_s: float
    density_per_m2: float = AVOID_DENSITY_PER_M2
    conditions: Conditions = field(default_factory=lambda: sighted(Conditions()))
    plain: bool = False
    unseen: bool = False
    walled: bool = False
    obstacles: str = TREES

    @property
    def drill(self) -> Drill:
        """What is flown."""
        drill = avoid_drill(self.speed_m_s, self.density_per_m2, self.walled, self.obstacles)
        return replace(drill, sees=UNSEEN) if self.unseen else drill


def _usual(**changes: Any) -> Conditions:
    return replace(sighted(Conditions()), **changes)


CELLS: Final = (
    *(Cell(f"{speed:g} m/s", speed, plain=True) for speed in (1.0, 2.0, 3.0, 4.0)),
    Cell("6 m/s", 6.0),
    Cell("3 m/s, a tree each 8 m²", 3.0, 1.0 / 8.0, plain=True),
    Cell("3 m/s, trees not shown", 3.0, unseen=True),
    *(Cell(f"3 m/s, {kind}", 3.0, obstacles=kind) for kind in OBSTACLES if kind != TREES),
    *(Cell(f"{speed:g} m/s, no way through", speed, walled=True) for speed in (1.0, 2.0, 3.0)),
    *(Cell(f"3 m/s, grid {hz:g} Hz", 3.0, conditions=_usual(grid_hz=(hz, hz))) for hz in (10.0, 20.0, 40.0)),
    *(Cell(f"3 m/s, IMU {hz:g} Hz", 3.0, conditions=_usual(imu_hz=(hz, hz))) for hz in (50.0, 200.0, 400.0)),
    Cell("3 m/s, 30 % of the grids lost", 3.0, conditions=_usual(grid_dropout=(0.3, 0.3))),
)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is trained and flown. flight_seed: of all scored flights, the same for everybody. Raises `ConfigError`."""

    folder: Path
    recipe: Recipe
    seeds: int = 3
    flights: int = 500
    flight_seed: int = 7
    arms: tuple[Arm, ...] = ARMS
    cells: tuple[Cell, ...] = CELLS

    def __post_init__(self) -> None:
        check_counts(self.seeds, self.flights)
        if not self.arms:
            raise ConfigError("no model is named; leave --models out, or give at least one")

    def cells_of(self, arm: Arm) -> list[Cell]:
        """What an arm flies."""
        return [cell for cell in self.cells if arm.whole or cell.plain]

    @property
    def trainings(self) -> int:
        """Trials among them, for the progress bar."""
        return sum(len(arm.model.trials) + self.seeds for arm in self.arms)

    @property
    def flown(self) -> int:
        """Scored cells and read-outs of one seed of each arm, for the progress bar."""
        return sum(len(self.cells_of(arm)) + arm.whole for arm in self.arms)


def arms_of(names: Sequence[str]) -> tuple[Arm, ...]:
    """Those of `ARMS` with these cells ("blind" for the one that is). Raises `ConfigError`."""
    known = {"blind" if arm.training == "blind" else arm.model.cell: arm for arm in ARMS}
    for name in names:
        if name not in known:
            raise ConfigError(unknown_name("model", name, list(known)))
    return tuple(known[name] for name in names)


class _Scores:
    """Scored cells: kept in a file, flown where they are missing."""

    def __init__(self, plan: Plan, threads: int) -> None:
        self._plan, self._threads = plan, threads
        self._kept = CellFile(plan.folder / "cells.json")
        self._rollouts: dict[tuple[Any, ...], CompiledRollout] = {}

    def crossed(self, arm: Arm, bundle: Bundle, cell: Cell) -> dict[str, Any]:
        """Figures of a policy in a cell."""
        conditions = replace(cell.conditions, grid_dropout=(1.0, 1.0)) if arm.training == "blind" else cell.conditions

        def fly() -> dict[str, Any]:
            found = summarise(self._fly(bundle, cell, conditions))
            stopped = found["reasons"].get("not crossed", 0) / found["flights"]
            return {key: found.get(key) for key in _KEPT} | {"stopped": stopped}

        marks = {"sha256": bundle.metadata["sha256"], "cell": cell.label, "flights": self._plan.flights}
        known = self._kept.cell({**marks, "seed": self._plan.flight_seed}, fly)
        return {key: known[key] for key in _KEPT}

    def _fly(self, bundle: Bundle, cell: Cell, conditions: Conditions) -> list[FlightScore]:
        rollout, weights = self.rollout(bundle, cell.drill), flatten_weights(bundle.spec, bundle.weights)
        given = (self._plan.flights, self._plan.flight_seed, crossing_s(cell.speed_m_s))
        return fly_and_score(rollout, weights, conditions, *given, drill=cell.drill)

    def rollout(self, bundle: Bundle, drill: Drill) -> CompiledRollout:
        """Compiled once for each network, and what it sees."""
        key = (bundle.spec, drill.sees)
        if key not in self._rollouts:
            airframe, aim = load_airframe(str(bundle.metadata["airframe"])), drill.aim(1.0)
            self._rollouts[key] = flight_rollout(airframe, bundle.spec, bundle.limits, threads=self._threads, aim=aim)
        return self._rollouts[key]

    def read_out(self, bundle: Bundle) -> dict[str, Any]:
        """See `avoid_readout.anticipation`."""
        marks = {"sha256": bundle.metadata["sha256"], "cell": "anticipation, held", "flights": self._plan.flights}
        given = (self._plan.flights, self._plan.flight_seed)
        make = partial(anticipation, self.rollout(bundle, avoid_drill()), bundle, *given)
        return {"ahead": self._kept.cell({**marks, "seed": given[1]}, make)["ahead"]}


def run(plan: Plan, workers: Workers = ALL_CORES) -> dict[str, Any]:
    """Tune, train and fly everything that the folder does not hold yet; returns what avoid.json says."""
    with WorkerPool(workers) as pool, progress_bar() as progress:
        whole = progress.add_task("forest table", total=plan.trainings + plan.seeds * plan.flown)
        on_done = partial(progress.advance, whole)
        entries = [(arm.model, arm.training) for arm in plan.arms]
        competed = compete(plan.folder, plan.recipe, entries, plan.seeds, pool, on_done)
        scores = _Scores(plan, pool.threads)
        rows = [_row(plan, arm, _made(runs), scores, on_done) for arm, runs in zip(plan.arms, competed, strict=True)]
    recipe = plan.recipe
    trial_updates = recipe.trial_updates or recipe.updates
    return _table(plan, plan.seeds, recipe.updates, recipe.batch, trial_updates, rows)


def score(plan: Plan, policies: Sequence[str], workers: Workers = ALL_CORES) -> dict[str, Any]:
    """Fly policies, names or paths, as the seeds of one model, through every cell; of the plan the recipe is not used.

    Raises `ConfigError` where they differ in what their training was told beside the seed, or see no flow grid.
    """
    bundles = [load_bundle(str(policy)) for policy in policies]
    arm, seeds = _arm_of(bundles), len(bundles)
    plan = replace(plan, arms=(arm,))
    with WorkerPool(workers) as pool, progress_bar() as progress:
        whole = progress.add_task("forest table", total=seeds * plan.flown)
        rows = [_row(plan, arm, bundles, _Scores(plan, pool.threads), partial(progress.advance, whole))]
    trained = bundles[0].metadata["training"]
    return _table(plan, seeds, trained["updates"], trained["config"]["batch"], None, rows)


def _table(
    plan: Plan, seeds: int, updates: int, batch: int, trial_updates: int | None, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "seeds": seeds,
        "flights": plan.flights,
        "flight_seed": plan.flight_seed,
        "updates": updates,
        "batch": batch,
        "trial_updates": trial_updates,
        "rows": rows,
    }


def _arm_of(bundles: Sequence[Bundle]) -> Arm:
    """What policies are trainings of."""
    told: list[Any] = []
    for bundle in bundles:
        if bundle.spec.encoder is None:
            raise ConfigError(f"policy {bundle.name!r} sees no flow grid; give policies of `train avoid`")
        trained = bundle.metadata["training"]
        own = trained.get("config", {})
        if "updates" not in trained or not {"seed", "batch", "learning_rate", "time_unit_s", "curriculum"} <= set(own):
            raise ConfigError(
                f"policy {bundle.name!r} does not say how it was trained; give policies of `train avoid`, none of "
                "--method camera"
            )
        if own["curriculum"].get("grid_lost") == [1.0, 1.0]:
            raise ConfigError(
                f"policy {bundle.name!r} was trained without any grid; the arm blind trains and flies those"
            )
        told.append({name: value for name, value in own.items() if name != "seed"})
        if (bundle.spec, told[-1]) != (bundles[0].spec, told[0]):
            raise ConfigError(
                f"policies {bundles[0].name!r} (the first) and {bundle.name!r} are no seeds of one training, their "
                "configurations differ; give policies of the same one"
            )
    if len({bundle.metadata["sha256"] for bundle in bundles}) < len(bundles):
        raise ConfigError("a policy is given twice; give each seed once")
    form = bundles[0].spec.form
    return Arm(Model(form, form, form in BACKBONE_UNITS), whole=True)


def _made(runs: Competed) -> list[Bundle]:
    """The policies of the reported seeds."""
    for one in runs.reported:
        if not one.bundled:
            raise ConfigError(f"{one.policy} holds weights alone ({one.trouble}); delete its folder and train it again")
    return [load_bundle(str(one.policy)) for one in runs.reported]


def _row(
    plan: Plan, arm: Arm, bundles: Sequence[Bundle], scores: _Scores, on_done: Callable[[], None]
) -> dict[str, Any]:
    """One arm: the crossings of its seeds in every cell, and what its neurons tell of what comes."""
    cells, ahead = [], []
    for cell in plan.cells_of(arm):
        of_seeds = []
        for bundle in bundles:
            of_seeds.append(scores.crossed(arm, bundle, cell))
            on_done()
        told = {"cell": cell.label, "speed_m_s": cell.speed_m_s, "density_per_m2": cell.density_per_m2}
        told |= {"walled": cell.walled}
        cells.append(told | {"seeds": of_seeds} | summary(of_seeds))
    for bundle in bundles if arm.whole else ():
        ahead.append(scores.read_out(bundle)["ahead"])
        on_done()
    spec, trained = bundles[0].spec, [bundle.metadata["training"] for bundle in bundles]
    assert spec.encoder is not None
    return {
        "model": arm.model.name,
        "training": arm.training,
        "cell": arm.model.cell,
        "neurons": spec.units,
        "parameters": parameters(spec),
        "head_parameters": parameters(spec) - spec.encoder.parameters,
        "bytes": 4 * parameters(spec),
        "learning_rate": trained[0]["config"]["learning_rate"],
        "time_unit_s": trained[0]["config"]["time_unit_s"] if arm.model.timed else None,
        "minutes": [one["minutes"] for one in trained],
        "cells": cells,
        "ahead": ahead,
    }


def summary(cells: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Mean and deviation over seeds of success, and mean of crossing speed; a seed that never crossed has no speed.

    stopped: neither crossed nor touched, within bounds.
    """
    success = [float(cell["success_rate"]) for cell in cells]
    stopped = [float(cell["stopped"]) for cell in cells]
    speeds = [float(cell["crossing_mean_m_s"]) for cell in cells if cell["crossing_mean_m_s"] is not None]
    return {
        "success_mean": statistics.fmean(success),
        "success_sd": statistics.stdev(success) if len(success) > 1 else None,
        "crossing_mean_m_s": statistics.fmean(speeds) if speeds else None,
        "stopped_mean": statistics.fmean(stopped),
        "stopped_sd": statistics.stdev(stopped) if len(stopped) > 1 else None,
    }
