"""A teacher for HalfCheetah from the command line."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rich.console import Console

from envs.half_cheetah.rhythm import changed
from liquid_pilot.cells import parameters
from policies.half_cheetah.checkpoint import load_teaching, save_teaching
from policies.half_cheetah.cloning import Clone, Cloning
from policies.half_cheetah.export import export_run
from policies.half_cheetah.teaching import Progress, TeacherTrainer, TeachingConfig
from scripts.console import progress_bar
from scripts.flying import import_pybullet
from scripts.training.options import Options, command_of, given
from scripts.training.run import follow, git_commit, open_folder


def run(options: Options, console: Console) -> Path:
    """Train as the options say; returns the policy file."""
    folder, own = open_folder(options), options.cheetah
    import_pybullet()
    usual = TeachingConfig()
    config = TeachingConfig(
        simulator=own.simulator,
        seed=options.seed,
        rhythm=changed(usual.rhythm, own.frames, None, None, None),
        **given(own, "irregular"),
        **given(options.ppo, "steps"),
        **options.given("batch", "learning_rate"),
    )
    trainer = load_teaching(folder.checkpoint, config) if options.resume else TeacherTrainer(config)
    commit = git_commit()
    console.print(
        f"training [bold]{folder.name}[/bold] into {folder.path}: {config.cheetahs} cheetahs, {config.steps:,} calls"
        + (f", resumed after update {trainer.done}" if options.resume else "")
    )

    def keep() -> None:
        save_teaching(folder.checkpoint, trainer)

    def finish() -> None:
        with progress_bar() as bar:
            task = bar.add_task("clone", total=Cloning().rounds)
            clone = Clone.of(trainer, Cloning(), lambda: bar.advance(task))
        console.print(
            f"the actor returns {-trainer.best_score:,.0f}, its clone of {parameters(clone.best.spec):,} parameters "
            f"{-clone.best_score:,.0f}"
        )
        told = {"calls": trainer.model.num_timesteps, "cloned_from_return": round(-trainer.best_score, 1)}
        export_run(clone, folder.policy, folder.name, commit, {"command": command_of(options), **told})

    columns = [field.name for field in fields(Progress)]
    try:
        return follow(trainer, columns, folder, asdict(config), keep, options, console, tell, tell_returns, finish)
    finally:
        trainer.close()


def tell(row: Any) -> str:
    """What stands beside the progress bar."""
    return f"{row.steps:,} calls  return {row.episode_return:,.0f}"


def tell_returns(row: Any) -> str:
    """What a validation found."""
    return f"return {row.return_regular:7,.0f} regular  {row.return_irregular:7,.0f} irregular"
