"""Train a policy by analytic gradients through the differentiable world.

The result is one file, `policy.safetensors`, which `scripts.evaluate` scores and the onboard controller
flies. Beside it: the resolved configuration, the learning curve (CSV, PNG, TensorBoard) and a checkpoint
from which `--resume` continues.

Examples:
  python -m scripts.train hover                          # the shipped policy, about a minute
  python -m scripts.train hover --cell default --seed 3  # the published CfC form
  python -m scripts.train hover --airframe racer         # another drone; or the path of a TOML file of your own
  python -m scripts.train hover --budget-s 120 --out runs/quick
  tensorboard --logdir runs/hover                        # watch it learn
"""

from __future__ import annotations

import csv
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from envs.compiled.engine import check_threads
from liquid_pilot import native
from liquid_pilot.errors import ConfigError, TrainingError
from policies import analytic
from policies.analytic import AnalyticTrainer, TrainConfig, train
from policies.checkpoint import load_checkpoint, save_checkpoint
from policies.export import export_policy
from scripts.console import OUT, exit_code, on_backend
from scripts.files import check_folder, write_json
from scripts.pictures.curves import draw_learning_curve

DEFAULTS = TrainConfig()
COLUMNS = [field.name for field in fields(analytic.Progress)]


@dataclass(frozen=True)
class Options:
    """Train a policy by analytic gradients; see the examples at the top of `scripts/train.py`."""

    task: Annotated[Literal["hover"], tyro.conf.Positional]
    """What to learn: hover = recover from a throw, then hold velocity and height."""
    cell: Literal["decay", "default", "no_gate", "pure", "gru", "mlp"] = "decay"
    """decay: exact exponential step (default). default, no_gate, pure: the published CfC forms. gru and
    mlp (no memory): rivals of as many parameters."""
    airframe: str = "cf2x"
    """Shipped airframe (cf2x, racer, companion) or path of a TOML file, see docs/adding_an_airframe.md. Every flight's
    drone is drawn around it."""
    out: Path | None = None
    """Folder of the run; runs/TASK, with -CELL and -AIRFRAME after it where they are not the default, if not given."""
    seed: int = 0
    """Seed of weights, flights and noise."""
    updates: int = DEFAULTS.updates
    """Gradient steps."""
    batch: int = DEFAULTS.batch
    """Drones flown at once."""
    learning_rate: float = DEFAULTS.learning_rate
    """Largest learning rate of the schedule."""
    time_unit_s: float = DEFAULTS.time_unit_s
    """Unit in which the cell sees elapsed time; about the middle of the IMU intervals."""
    resume: bool = False
    """Continue from the last checkpoint in the folder."""
    budget_s: float | None = None
    """Stop after this many seconds; schedule and curriculum shrink to fit."""
    backend: Literal["auto", "compiled", "torch"] = "auto"
    """compiled: the world traced to C, about a hundred times faster. torch: the reference, needs no compiler.
    auto: compiled where a C compiler is found, else torch."""
    threads: int = 1
    """Threads of the engine. The compiled one gives the same weights with any number; torch is usually fastest with
    one."""
    verbose: Annotated[bool, tyro.conf.arg(aliases=["-v"])] = False
    """Say which backend flies and where its compiled code is kept."""


def git_commit() -> str:
    """Commit of the working copy, or "unknown" outside one."""
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


class RunLog:
    """Progress rows to CSV and TensorBoard; a resumed run keeps the rows up to its checkpoint."""

    def __init__(self, folder: Path, done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.path = folder / "progress.csv"
        kept = [row for row in read_rows(self.path) if int(row["update"]) <= done] if done else []
        self._file = self.path.open("w", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, COLUMNS)
        self._writer.writeheader()
        self._writer.writerows(kept)
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=done)

    def add(self, row: analytic.Progress) -> None:
        """One update."""
        self._writer.writerow(asdict(row))
        self._file.flush()
        for name, value in asdict(row).items():
            if name != "update" and not math.isnan(value):
                self._board.add_scalar(name, value, row.update)

    def close(self) -> None:
        """Write out what is left."""
        self._file.close()
        self._board.close()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a progress CSV; none if it is not there."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _show(bar: Progress, task: Any, total: int, budget_s: float | None) -> Callable[[analytic.Progress], None]:
    def show(row: analytic.Progress) -> None:
        if not math.isnan(row.score):
            bar.console.print(
                f"update {row.update:5d}  {row.elapsed_s:6.0f} s  up {row.success_rate:6.1%}  "
                f"speed error {row.speed_error_median_m_s:.3f} m/s  height error {row.height_error_median_m:.3f} m"
            )
        spent = row.elapsed_s / budget_s * total if budget_s else 0.0
        bar.update(task, completed=min(max(spent, row.update), total))
        if not math.isnan(row.loss):  # a row of nothing but validation has none
            bar.update(task, loss=f"loss {row.loss:.3f}")

    return show


def run(options: Options, console: Console) -> Path:
    """Train as the options say; returns the policy file."""
    check_threads(options.threads)
    if options.budget_s is not None and not 0.0 < options.budget_s < math.inf:
        raise ConfigError(f"budget_s is {options.budget_s:g}; give seconds above 0, or leave it out")
    torch.set_num_threads(options.threads)
    config = TrainConfig(
        task=options.task,
        cell=options.cell,
        seed=options.seed,
        updates=options.updates,
        batch=options.batch,
        learning_rate=options.learning_rate,
        time_unit_s=options.time_unit_s,
        airframe=options.airframe,
    )
    special = [options.cell] * (options.cell != "decay") + [Path(options.airframe).stem] * (options.airframe != "cf2x")
    name = "-".join([options.task, *special])
    folder = options.out or Path("runs") / name
    check_folder("--out", folder)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = folder / "checkpoint.safetensors"
    if options.resume and not checkpoint.is_file():
        raise TrainingError(f"there is no checkpoint in {folder}; start without --resume, or give the run's --out")

    def begin(backend: str) -> AnalyticTrainer:
        if options.resume:
            return load_checkpoint(checkpoint, config, backend, options.threads)
        return AnalyticTrainer(config, backend, options.threads)

    trainer = on_backend(options.backend, console, begin)
    if options.verbose:
        console.print(f"backend {trainer.backend.name}; compiled code is kept in {native.cache_dir()}")
    write_json(folder / "config.json", asdict(config) | {"budget_s": options.budget_s})
    console.print(
        f"training [bold]{name}[/bold] into {folder}: {sum(p.numel() for p in trainer.network.parameters())} parameters"
        + (f", resumed after update {trainer.done}" if options.resume else "")
    )
    log, commit = RunLog(folder, trainer.done), git_commit()
    policy = folder / "policy.safetensors"

    def keep() -> None:
        save_checkpoint(checkpoint, trainer)
        export_policy(trainer, policy, name, commit)
        draw_learning_curve(log.path, folder / "learning_curve.png")

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[loss]}"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task("training", total=config.updates, completed=trainer.done, loss="")
        show = _show(bar, task, config.updates, options.budget_s)

        def on_progress(row: analytic.Progress) -> None:
            log.add(row)
            show(row)

        train(trainer, on_progress, keep, options.budget_s)
    log.close()
    console.print(f"wrote {policy}, learning_curve.png, progress.csv and config.json in {folder}")
    return policy


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m scripts.train`. Returns the exit code."""
    options = tyro.cli(Options, prog="python -m scripts.train", args=argv, description=__doc__)

    def train_to_file() -> None:
        run(options, OUT)

    return exit_code(train_to_file)


if __name__ == "__main__":
    sys.exit(main())
