"""Imitation of a teacher of HalfCheetah from the command line."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path

from rich.console import Console

from envs.half_cheetah.rhythm import changed
from liquid_pilot.cells import parameters
from liquid_pilot.errors import ConfigError
from policies.half_cheetah.checkpoint import load_imitation, save_imitation
from policies.half_cheetah.export import export_run
from policies.half_cheetah.teacher import load_teacher
from policies.half_cheetah.trainer import CheetahConfig, CheetahTrainer, Progress
from scripts.flying import import_pybullet
from scripts.training.cheetah_teacher import tell_returns
from scripts.training.options import Options, command_of, given
from scripts.training.run import follow, git_commit, open_folder, start_policy

TEACHERS = {"pybullet": "half-cheetah-teacher"}  # shipped


def run(options: Options, console: Console) -> Path:
    """Train as the options say; returns the policy file."""
    folder, own = open_folder(options), options.cheetah
    import_pybullet()
    expert = options.imitation.expert or TEACHERS.get(own.simulator)
    if expert is None:
        raise ConfigError(
            f"no teacher of {own.simulator} is shipped; train one with `python -m scripts.train half-cheetah --method "
            f"teacher --simulator {own.simulator}` and give its policy as --expert"
        )
    teacher = load_teacher(expert, own.simulator)
    usual = CheetahConfig()
    config = CheetahConfig(
        simulator=own.simulator,
        observe=own.observe,
        cell=options.cell,
        wiring=options.wiring,
        wiring_seed=options.wiring_seed,
        seed=options.seed,
        expert=teacher.name,
        expert_sha256=teacher.sha256,
        rhythm=changed(usual.rhythm, own.frames, own.dropped, own.delay_frames, own.noise_on),
        **given(own, "irregular", "episodes"),
        **options.given("updates", "batch", "learning_rate", "time_unit_s"),
        **given(options.imitation, "rounds", "share_decay", "noise"),
    )
    start = start_policy(options)
    if options.resume:
        trainer = load_imitation(folder.checkpoint, config, teacher, start)
    else:
        trainer = CheetahTrainer(config, teacher, start)
    commit = git_commit()
    console.print(
        f"training [bold]{folder.name}[/bold] into {folder.path}: {parameters(trainer.best.spec):,} parameters, "
        f"taught by {teacher.name}" + (f", resumed after update {trainer.done}" if options.resume else "")
    )

    def keep() -> None:
        save_imitation(folder.checkpoint, trainer)
        start_told = {"start_sha256": trainer.start_sha256} if trainer.start_sha256 else {}
        told = {"command": command_of(options), "episodes": trainer.recorded().flights}
        export_run(trainer, folder.policy, folder.name, commit, told | start_told)

    columns = [field.name for field in fields(Progress)]
    try:
        return follow(trainer, columns, folder, asdict(config), keep, options, console, tell_validation=tell_returns)
    finally:
        trainer.close()
