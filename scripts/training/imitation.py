"""Behaviour cloning and DAgger from the command line."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, fields
from pathlib import Path

from rich.console import Console

from envs.airframe import load_airframe
from liquid_pilot.cells import parameters
from liquid_pilot.errors import ConfigError
from policies.imitation.checkpoint import load_checkpoint, save_checkpoint
from policies.imitation.demonstrations import Demonstrations
from policies.imitation.export import export_policy
from policies.imitation.files import load_flights
from policies.imitation.school import teacher_of
from policies.imitation.trainer import ImitationTrainer, Progress, usual_config
from scripts.flying import import_pybullet
from scripts.training.options import Options, command_of, given
from scripts.training.run import follow, git_commit, open_folder, start_policy


def run(options: Options, console: Console) -> Path:
    """Train as the options say; returns the policy file."""
    folder, own = open_folder(options), options.imitation
    import_pybullet()  # the environments load it
    if options.backend == "torch":
        raise ConfigError("imitation flies on the compiled engine alone; leave --backend torch out, install a compiler")
    airframe = load_airframe(options.airframe)
    if options.task == "avoid" and own.demos is not None:
        raise ConfigError(
            "avoid learns from flights that it flies itself, a file of flights holds no flow grids; leave --demos out"
        )
    expert = own.expert or usual_config(options.task).expert
    teacher = teacher_of(options.task, expert, airframe)
    recorded = None if own.demos is None else _recorded(own.demos, own.flights, airframe.name, options.task)
    config = usual_config(
        options.task,
        method=options.method or "dagger",
        cell=options.cell,
        seed=options.seed,
        airframe=options.airframe,
        wiring=options.wiring,
        wiring_seed=options.wiring_seed,
        expert=expert,
        expert_sha256=teacher.sha256,
        demonstrations="" if recorded is None else _sha256(recorded),
        **options.given("updates", "batch", "learning_rate", "time_unit_s"),
        **given(own, "flights", "rounds", "share_decay", "noise"),
    )
    start = start_policy(options)
    if options.resume:
        trainer = load_checkpoint(folder.checkpoint, config, teacher, start, options.threads)
    else:
        trainer = ImitationTrainer(config, teacher, recorded, start, options.threads)
    commit = git_commit()
    console.print(
        f"training [bold]{folder.name}[/bold] into {folder.path}: "
        f"{parameters(trainer.network.spec)} parameters, taught by {teacher.name}"
        + (f", resumed after update {trainer.done}" if options.resume else "")
    )

    def keep() -> None:
        save_checkpoint(folder.checkpoint, trainer)
        export_policy(trainer, folder.policy, folder.name, commit, command_of(options))

    columns = [field.name for field in fields(Progress)]
    return follow(trainer, columns, folder, asdict(config), keep, options, console)


def _recorded(path: Path, flights: int | None, airframe: str, task: str) -> Demonstrations:
    found, origin = load_flights(path, flights)
    if (origin.airframe, origin.task) != (airframe, task):
        raise ConfigError(
            f"{path} holds flights of {origin.task} with {origin.airframe}; this run is {task} with {airframe}; "
            "collect flights of that, or give --airframe"
        )
    return found


def _sha256(flights: Demonstrations) -> str:
    """Of what is learned from."""
    hasher = hashlib.sha256()
    for name in ("observation", "action", "dt_s", "held", "length"):
        hasher.update(getattr(flights, name).tobytes())
    return hasher.hexdigest()
