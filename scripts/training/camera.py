"""Tuning of a policy that sees to a camera, from the command line."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path

from rich.console import Console

from envs.vision import import_cv2
from liquid_pilot.errors import ConfigError
from policies.camera_files import export_policy, load_checkpoint, save_checkpoint
from policies.camera_flights import check_sees
from policies.camera_tuning import CameraConfig, CameraTrainer, Progress
from scripts.flying import import_pybullet
from scripts.training.options import Options, command_of, given
from scripts.training.run import follow, git_commit, open_folder, start_policy


def run(options: Options, console: Console) -> Path:
    """Train as the options say; returns the policy file."""
    start = start_policy(options)
    if start is None:
        raise ConfigError("camera tunes the encoder of a policy; give it as --init, such as --init avoid")
    check_sees(start)
    import_pybullet()
    import_cv2()
    config = CameraConfig(
        start_sha256=str(start.metadata["sha256"]),
        seed=options.seed,
        airframe=options.airframe,
        **options.given("updates", "batch", "learning_rate"),
        **given(options.imitation, "flights", "rounds"),
    )
    folder = open_folder(options)
    trainer = load_checkpoint(folder.checkpoint, config, start) if options.resume else CameraTrainer(config, start)
    commit = git_commit()
    encoder = start.spec.encoder
    console.print(
        f"training [bold]{folder.name}[/bold] into {folder.path}: the {encoder.parameters if encoder else 0:,} "
        f"parameters of the encoder of {start.name}, {config.flights} flights on a camera, {config.held_out} held out"
        + (f", resumed after update {trainer.done}" if options.resume else "")
    )

    def keep() -> None:
        save_checkpoint(folder.checkpoint, trainer)
        export_policy(trainer, folder.policy, folder.name, commit, command_of(options))

    columns = [field.name for field in fields(Progress)]
    return follow(trainer, columns, folder, asdict(config), keep, options, console, tell, tell_errors)


def tell(row: Progress) -> str:
    """What stands beside the progress bar."""
    return f"{row.flights} flights, {row.grids:,} grids  loss {row.loss:.4f}"


def tell_errors(row: Progress) -> str:
    """What the held-out flights found."""
    return (
        f"{row.flights} flights  feature error by camera {row.camera_error:.4f} (before: {row.camera_error_before:.4f})"
        f"  by rays {row.ray_error:.4f}"
    )
