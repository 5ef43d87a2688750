"""Reinforcement learning from the command line: recurrent PPO on the batched engine or on PyBullet."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path

from rich.console import Console

from liquid_pilot import native
from liquid_pilot.cells import parameters
from liquid_pilot.errors import ConfigError
from policies.rl.checkpoint import load_checkpoint, save_checkpoint
from policies.rl.export import export_policy
from policies.rl.trainer import PPOConfig, PPOTrainer, Progress, usual_config
from scripts.console import choose_backend
from scripts.flying import import_pybullet
from scripts.training.options import Options, command_of, given
from scripts.training.run import follow, git_commit, open_folder, start_policy


def run(options: Options, console: Console) -> Path:
    """Train as the options say; returns the policy file."""
    folder, own = open_folder(options), options.ppo
    import_pybullet()  # the environments load it
    config = config_of(options)
    if own.engine == "batched" and (options.backend == "torch" or not native.available()):
        raise ConfigError("the batched environments are compiled; install a C compiler, or give --engine pybullet")
    backend, start = choose_backend(options.backend, console), start_policy(options)
    if options.resume:
        trainer = load_checkpoint(folder.checkpoint, config, backend, options.threads, start)
    else:
        trainer = PPOTrainer(config, backend, options.threads, start)
    commit = git_commit()
    console.print(
        f"training [bold]{folder.name}[/bold] into {folder.path}: "
        f"{parameters(trainer.best.spec)} parameters, {config.drones} drones, {config.steps} steps"
        + (f", resumed after update {trainer.done}" if options.resume else "")
    )

    def keep() -> None:
        save_checkpoint(folder.checkpoint, trainer)
        export_policy(trainer, folder.policy, folder.name, commit, command_of(options))

    columns = [field.name for field in fields(Progress)]
    return follow(trainer, columns, folder, asdict(config), keep, options, console, tell)


def config_of(options: Options) -> PPOConfig:
    """The configuration that the options ask for. Raises `ConfigError` for those that PPO has not."""
    if options.updates is not None:
        raise ConfigError("ppo counts events, not updates; give --steps")
    told = given(options.ppo, "steps", "anchor_weight")
    if options.batch is not None:
        told["drones"] = options.batch
    return usual_config(
        options.ppo.engine,
        fine_tuning=options.init is not None,
        task=options.task,
        cell=options.cell,
        seed=options.seed,
        airframe=options.airframe,
        wiring=options.wiring,
        wiring_seed=options.wiring_seed,
        **told,
        **options.given("learning_rate", "time_unit_s"),
    )


def tell(row: Progress) -> str:
    """What stands beside the progress bar."""
    return f"{row.steps:,} steps, {row.steps_per_s:,.0f}/s  return {row.flight_return:.2f}  up {row.flight_success:.0%}"
