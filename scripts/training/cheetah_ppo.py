"""Reinforcement learning of HalfCheetah from the command line."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path

from rich.console import Console

from envs.half_cheetah.rhythm import changed
from liquid_pilot.cells import parameters
from policies.half_cheetah.checkpoint import load_ppo, save_ppo
from policies.half_cheetah.export import export_run
from policies.half_cheetah.ppo import CheetahPPOConfig, CheetahPPOTrainer, Progress, usual_config
from scripts.flying import import_pybullet
from scripts.training.cheetah_teacher import tell, tell_returns
from scripts.training.options import Options, command_of, given
from scripts.training.run import follow, git_commit, open_folder, start_policy


def run(options: Options, console: Console) -> Path:
    """Train as the options say; returns the policy file."""
    folder = open_folder(options)
    import_pybullet()
    config, start = config_of(options), start_policy(options)
    if options.resume:
        trainer = load_ppo(folder.checkpoint, config, start)
    else:
        trainer = CheetahPPOTrainer(config, start)
        if start is not None:  # what it has learnt is kept only where it runs better than that
            trainer.validate(trainer.idle())
    commit = git_commit()
    console.print(
        f"training [bold]{folder.name}[/bold] into {folder.path}: {parameters(trainer.best.spec):,} parameters, "
        f"{config.cheetahs} cheetahs, {config.steps:,} calls"
        + (f", resumed after update {trainer.done}" if options.resume else "")
    )

    def keep() -> None:
        save_ppo(folder.checkpoint, trainer)
        told = {"command": command_of(options), "calls": trainer.model.num_timesteps}
        start_told = {"start_sha256": trainer.start_sha256} if trainer.start_sha256 else {}
        export_run(trainer, folder.policy, folder.name, commit, told | start_told)

    columns = [field.name for field in fields(Progress)]
    try:
        return follow(trainer, columns, folder, asdict(config), keep, options, console, tell, tell_returns)
    finally:
        trainer.close()


def config_of(options: Options) -> CheetahPPOConfig:
    """The configuration that the options ask for. Raises `ConfigError`."""
    own = options.cheetah
    told = given(options.ppo, "steps")
    if options.batch is not None:
        told["cheetahs"] = options.batch
    return usual_config(
        fine_tuning=options.init is not None,
        simulator=own.simulator,
        observe=own.observe,
        cell=options.cell,
        wiring=options.wiring,
        wiring_seed=options.wiring_seed,
        seed=options.seed,
        rhythm=changed(CheetahPPOConfig().rhythm, own.frames, own.dropped, own.delay_frames, own.noise_on),
        **told,
        **given(own, "irregular"),
        **options.given("learning_rate", "time_unit_s"),
    )
