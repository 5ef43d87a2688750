"""Analytic gradients through the differentiable world, from the command line."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path

from rich.console import Console

from envs.airframe import load_airframe
from liquid_pilot.cells import parameters
from policies.analytic import AnalyticTrainer, Progress, TrainConfig
from policies.avoid_cost import AvoidWeights
from policies.checkpoint import load_checkpoint, save_checkpoint
from policies.cost import CostWeights
from policies.drills import Drill, drill_of
from policies.export import export_policy
from scripts.console import on_backend
from scripts.training.options import Options, command_of
from scripts.training.run import follow, git_commit, open_folder, start_policy


def run(options: Options, console: Console) -> Path:
    """Train as the options say; returns the policy file."""
    folder, drill = open_folder(options), drill_of(options.task)
    config = TrainConfig(
        task=options.task,
        curriculum=replace(drill.curriculum, fault_chance=options.faults or 0.0),
        cost=_cost(drill, options.airframe),
        validation_s=drill.validation_s,
        early_weight=drill.early_weight,
        updates=drill.updates if options.updates is None else options.updates,
        batch=drill.batch if options.batch is None else options.batch,
        cell=options.cell,
        seed=options.seed,
        airframe=options.airframe,
        wiring=options.wiring,
        wiring_seed=options.wiring_seed,
        oldest_s=drill.oldest_s,
        **{"learning_rate": drill.learning_rate, **options.given("learning_rate", "time_unit_s")},
    )
    start = start_policy(options)

    def begin(backend: str) -> AnalyticTrainer:
        if options.resume:
            return load_checkpoint(folder.checkpoint, config, backend, options.threads, start)
        return AnalyticTrainer(config, backend, options.threads, start)

    trainer, commit = on_backend(options.backend, console, begin), git_commit()
    if options.verbose:
        console.print(f"backend {trainer.backend.name}")
    console.print(
        f"training [bold]{folder.name}[/bold] into {folder.path}: "
        f"{parameters(trainer.network.spec)} parameters"
        + (f", resumed after update {trainer.done}" if options.resume else "")
    )

    def keep() -> None:
        save_checkpoint(folder.checkpoint, trainer)
        export_policy(trainer, folder.policy, folder.name, commit, command_of(options))

    columns = [field.name for field in fields(Progress)]
    return follow(trainer, columns, folder, asdict(config), keep, options, console)


def _cost(drill: Drill, airframe: str) -> CostWeights | AvoidWeights:
    """Of the task, for where this airframe stands."""
    if isinstance(drill.cost, AvoidWeights):
        return drill.cost
    return replace(drill.cost, standing_m=load_airframe(airframe).rest_height_m)
