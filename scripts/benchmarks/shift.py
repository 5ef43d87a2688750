"""The shift table: models of equal parameters, trained in one world and flown in others, and the decay cell in parts.

Every trained policy and every scored cell is kept in the folder and not done again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from rich.progress import Progress
from safetensors.numpy import load_file

from envs.airframe import load_airframe
from envs.compiled.engine import CompiledRollout
from envs.scoring import FlightScore, summarise
from liquid_pilot.bundle import load_bundle
from liquid_pilot.cell_spec import CellSpec, check_weights, parameters
from liquid_pilot.errors import ConfigError, unknown_name
from liquid_pilot.forms import F32
from policies.compiled_trainer import flight_rollout, fly_and_score
from policies.fragments import flatten_weights
from policies.network import hover_spec
from scripts.benchmarks.cell_file import CellFile
from scripts.benchmarks.contest import TRAININGS, Competed, Recipe, Trained, check_counts, compete
from scripts.benchmarks.shift_arms import ABLATION, RACE, SAME, Arm
from scripts.benchmarks.shift_worlds import USUAL, WORLDS, World
from scripts.benchmarks.table import summary
from scripts.console import progress_bar
from scripts.flying import GEOMETRIC, FlightPool, Job
from scripts.workers.options import ALL_CORES, Workers

SECONDS: Final = 15.0  # of a flight after the release
IN_PYBULLET: Final = (USUAL, "drones within 40 %", "wind 3 m/s", "poor texture", "all together")
_KEPT: Final = (
    "success_rate", "flights", "failures", "speed_error_median_m_s", "speed_error_p90_m_s", "height_error_median_m",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Plan:
    """What is trained and flown. flight_seed: of all scored flights, the same for everybody."""

    folder: Path
    recipe: Recipe
    training: str = "wide"
    seeds: int = 5
    flights: int = 500
    pybullet_flights: int = 0
    flight_seed: int = 7
    arms: tuple[Arm, ...] = (*RACE, *ABLATION)
    worlds: tuple[World, ...] = WORLDS

    def __post_init__(self) -> None:
        if self.training not in TRAININGS:
            raise ConfigError(unknown_name("training", self.training, list(TRAININGS)))
        check_counts(self.seeds, self.flights, self.pybullet_flights)

    @property
    def steps(self) -> int:
        """Trainings and scored cells, for the progress bar."""
        runs = sum(len(arm.model.trials) + self.seeds for arm in self.arms)
        flown = sum(arm in RACE for arm in self.arms) + 1 if self.pybullet_flights else 0
        return runs + len(self.arms) * self.seeds * len(self.worlds) + flown * len(self.in_pybullet)

    @property
    def in_pybullet(self) -> tuple[World, ...]:
        """Worlds that are flown there too."""
        return tuple(world for world in self.worlds if world.label in IN_PYBULLET)

    def trained(self, arm: Arm) -> str:
        """Name of an arm's training."""
        return self.training if arm.training == SAME else arm.training


class _Scores:
    """Scored cells: kept in a file, flown where they are missing."""

    def __init__(self, plan: Plan, pool: FlightPool, progress: Progress) -> None:
        self._plan, self._pool, self._progress = plan, pool, progress
        self._kept = CellFile(plan.folder / "cells.json")
        self._rollouts: dict[tuple[Any, ...], CompiledRollout] = {}

    def batched(self, arm: Arm, run: Trained, world: World) -> dict[str, Any]:
        """Figures of a trained network in a world, in the compiled engine."""
        spec, weights = network_of(arm, run)
        flat = flatten_weights(spec, weights)

        def fly() -> list[FlightScore]:
            rollout = self._rollout(spec, world.airframe, arm.model.variant.trigger)
            given = (rollout, flat, world.conditions, self._plan.flights, self._plan.flight_seed, SECONDS)
            return fly_and_score(*given)

        who = {
            "weights": hashlib.sha256(flat.tobytes()).hexdigest(),
            "engine": "batched",
            "flights": self._plan.flights,
        }
        return self._cell(who, world, lambda: summarise(fly()))

    def pybullet(self, policy: str, world: World) -> dict[str, Any]:
        """Figures of a policy file, or of a conventional controller, in PyBullet."""
        plan, task = self._plan, self._progress.add_task(f"PyBullet: {world.label}", total=self._plan.pybullet_flights)
        job = Job(policy, world.airframe, world.conditions, plan.pybullet_flights, plan.flight_seed, SECONDS)
        named = policy if policy == GEOMETRIC else str(load_bundle(policy).metadata["sha256"])
        who = {"weights": named, "engine": "pybullet", "flights": plan.pybullet_flights}
        advance = partial(self._progress.advance, task)
        found = self._cell(who, world, lambda: summarise(self._pool.score(job, advance)))
        self._progress.remove_task(task)
        return found

    def _cell(self, who: Mapping[str, Any], world: World, fly: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        said = json.dumps([world.airframe, asdict(world.conditions)], sort_keys=True)
        marks = {**who, "conditions": hashlib.sha256(said.encode()).hexdigest()[:16], "seed": self._plan.flight_seed}
        known = self._kept.cell(marks, lambda: {key: value for key, value in fly().items() if key in _KEPT})
        return {key: known[key] for key in _KEPT}

    def _rollout(self, spec: CellSpec, airframe: str, trigger: int | None) -> CompiledRollout:
        key = (spec, airframe, trigger)
        if key not in self._rollouts:
            threads = self._pool.threads
            self._rollouts[key] = flight_rollout(load_airframe(airframe), spec, threads=threads, trigger=trigger)
        return self._rollouts[key]


def network_of(arm: Arm, run: Trained) -> tuple[CellSpec, Mapping[str, F32]]:
    """Spec and weights of a trained network. Raises `BundleError` for a file that is not what it should be."""
    if run.bundled:
        bundle = load_bundle(str(run.policy))
        return bundle.spec, bundle.weights
    spec, weights = hover_spec(arm.model.cell, run.time_unit_s, arm.model.wiring), load_file(run.policy)
    check_weights(spec, weights)
    return spec, weights


def run(plan: Plan, workers: Workers = ALL_CORES) -> dict[str, Any]:
    """Tune, train and fly everything that the folder does not hold yet; returns what shift.json says."""
    with FlightPool(workers) as pool, progress_bar() as progress:
        whole = progress.add_task("shift table", total=plan.steps)
        scores = _Scores(plan, pool, progress)
        on_done = partial(progress.advance, whole)
        entries = [(arm.model, plan.trained(arm)) for arm in plan.arms]
        competed = compete(plan.folder, plan.recipe, entries, plan.seeds, pool, on_done)
        rows = [_arm(plan, arm, runs, scores, on_done) for arm, runs in zip(plan.arms, competed, strict=True)]
        upper = []
        for world in plan.in_pybullet if plan.pybullet_flights else ():
            upper.append({"world": world.label} | scores.pybullet(GEOMETRIC, world))
            on_done()
    return {
        "training": plan.training,
        "seeds": plan.seeds,
        "flights": plan.flights,
        "flight_seed": plan.flight_seed,
        "pybullet_flights": plan.pybullet_flights,
        "updates": plan.recipe.updates,
        "trial_updates": plan.recipe.trial_updates or plan.recipe.updates,
        "batch": plan.recipe.batch,
        "rows": rows,
        "geometric": upper,
    }


def _arm(plan: Plan, arm: Arm, runs: Competed, scores: _Scores, on_done: Callable[[], None]) -> dict[str, Any]:
    """One arm: the flights of its reported seeds in every world."""
    model, cells = arm.model, []
    for world in plan.worlds:
        of_seeds = []
        for one in runs.reported:
            of_seeds.append(scores.batched(arm, one, world))
            on_done()
        beyond = world.beyond(TRAININGS[plan.training])
        told = {"world": world.label, "group": world.group, "airframe": world.airframe, "beyond": beyond}
        cells.append(told | {"seeds": of_seeds} | summary(of_seeds))
    files, pybullet = [str(one.policy) for one in runs.reported if one.bundled], []
    for world in plan.in_pybullet if plan.pybullet_flights and files and arm in RACE else ():
        pybullet.append({"world": world.label} | scores.pybullet(files[0], world))
        on_done()
    spec, _ = network_of(arm, runs.reported[0])
    return {
        "model": model.name,
        "training": plan.trained(arm),
        "race": arm in RACE,
        "against": arm.against,
        "part": arm.part,
        "without": arm.without,
        "cell": model.cell,
        "neurons": spec.units,
        "parameters": parameters(spec),
        "bytes": 4 * parameters(spec),
        "learning_rate": runs.chosen.learning_rate,
        "time_unit_s": runs.chosen.time_unit_s if model.timed else None,
        "trials": [trial.row() for trial in runs.trials],
        "runs": [one.row() for one in runs.reported],
        "cells": cells,
        "pybullet": pybullet,
    }
