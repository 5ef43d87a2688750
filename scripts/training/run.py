"""What every training run has, whatever the method: its folder, log, progress bar, checkpoints, learning curve."""

from __future__ import annotations

import csv
import math
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from envs.compiled.engine import check_threads
from liquid_pilot import native
from liquid_pilot.bundle import Bundle, load_bundle
from liquid_pilot.errors import ConfigError, TrainingError
from policies.schedule import Trainer, train
from scripts.files import check_folder, write_json
from scripts.pictures.curves import draw_learning_curve
from scripts.training.options import Options


class Row(Protocol):
    """A row of the learning curve: a dataclass with these fields and more. Validation figures are NaN between."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def update(self) -> int: ...  # noqa: D102
    @property
    def elapsed_s(self) -> float: ...  # noqa: D102
    @property
    def loss(self) -> float: ...  # noqa: D102
    @property
    def score(self) -> float: ...  # noqa: D102


R = TypeVar("R", bound=Row)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where a run keeps its files."""

    name: str
    path: Path

    @property
    def checkpoint(self) -> Path:
        """From which `--resume` continues."""
        return self.path / "checkpoint.safetensors"

    @property
    def policy(self) -> Path:
        """The exported best weights."""
        return self.path / "policy.safetensors"

    @property
    def log(self) -> Path:
        """The learning curve."""
        return self.path / "progress.csv"


def open_folder(options: Options) -> RunFolder:
    """The run's folder, made. Raises for options that make no sense and where there is nothing to resume."""
    check_threads(options.threads)
    if options.budget_s is not None and not 0.0 < options.budget_s < math.inf:
        raise ConfigError(f"budget_s is {options.budget_s:g}; give seconds above 0, or leave it out")
    if options.patience is not None and options.patience < 1:
        raise ConfigError(f"patience is {options.patience}; give at least one validation, or leave it out")
    torch.set_num_threads(options.threads)
    chosen = (
        (options.cell, "decay"),
        (options.wiring or "", ""),
        (options.method or "", "dagger" if options.task == "half-cheetah" else "analytic"),
        (Path(options.airframe).stem, "cf2x"),
        (options.cheetah.observe, "full"),
        (options.cheetah.simulator, "pybullet"),
    )
    name = "-".join([options.task, *(word for word, usual in chosen if word not in (usual, ""))])
    folder = RunFolder(name, options.out or Path("runs") / name)
    check_folder("--out", folder.path)
    folder.path.mkdir(parents=True, exist_ok=True)
    if options.resume and not folder.checkpoint.is_file():
        raise TrainingError(f"there is no checkpoint in {folder.path}; start without --resume, or give the run's --out")
    return folder


def start_policy(options: Options) -> Bundle | None:
    """The policy that the run starts from, proved; None = fresh weights."""
    return None if options.init is None else load_bundle(options.init)


def git_commit() -> str:
    """Commit of the working copy, or "unknown" outside one."""
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or "unknown"


class RunLog(Generic[R]):
    """Progress rows to CSV and TensorBoard; a resumed run keeps the rows up to its checkpoint."""

    def __init__(self, folder: RunFolder, columns: Sequence[str], done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        kept = [row for row in read_rows(folder.log) if int(row["update"]) <= done] if done else []
        self._file = folder.log.open("w", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, columns)
        self._writer.writeheader()
        self._writer.writerows(kept)
        self._board = SummaryWriter(str(folder.path / "tensorboard"), purge_step=done)

    def add(self, row: R) -> None:
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


def tell_loss(row: Row) -> str:
    """What stands beside the progress bar, unless a method has more to say."""
    return f"loss {row.loss:.3f}"


def tell_flights(row: Any) -> str:
    """What a validation by flights found."""
    return (
        f"up {row.success_rate:6.1%}  speed error {row.speed_error_median_m_s:.3f} m/s  "
        f"height error {row.height_error_median_m:.3f} m"
    )


def _show(
    bar: Progress,
    task: Any,
    total: int,
    budget_s: float | None,
    tell: Callable[[R], str],
    tell_validation: Callable[[R], str],
) -> Callable[[R], None]:
    def show(row: R) -> None:
        if not math.isnan(row.score):
            bar.console.print(f"update {row.update:5d}  {row.elapsed_s:6.0f} s  {tell_validation(row)}")
        spent = row.elapsed_s / budget_s * total if budget_s else 0.0
        bar.update(task, completed=min(max(spent, row.update), total))
        if not math.isnan(row.loss):  # a row of nothing but validation has none
            bar.update(task, told=tell(row))

    return show


def follow(
    trainer: Trainer[R],
    columns: Sequence[str],
    folder: RunFolder,
    config: dict[str, Any],
    keep: Callable[[], None],
    options: Options,
    console: Console,
    tell: Callable[[R], str] = tell_loss,
    tell_validation: Callable[[R], str] = tell_flights,
    finish: Callable[[], None] = lambda: None,
) -> Path:
    """Train to the end while logging; returns the policy file.

    columns: of the log; config: the resolved configuration; keep: writes the run's checkpoint and policy; tell: what
    stands beside the progress bar; tell_validation: what a validation found; finish: what comes after the training.
    """
    if options.verbose:
        console.print(f"compiled code is kept in {native.cache_dir()}")
    write_json(folder.path / "config.json", config | {"init": options.init, "budget_s": options.budget_s})
    log: RunLog[R] = RunLog(folder, columns, trainer.done)

    def keep_all() -> None:
        keep()
        draw_learning_curve(folder.log, folder.path / "learning_curve.png")

    shown = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
    with Progress(*shown, TimeElapsedColumn(), TimeRemainingColumn(), console=console) as bar:
        task = bar.add_task("training", total=trainer.updates, completed=trainer.done, told="")
        show = _show(bar, task, trainer.updates, options.budget_s, tell, tell_validation)

        def on_progress(row: R) -> None:
            log.add(row)
            show(row)

        train(trainer, on_progress, keep_all, options.budget_s, options.patience)
    log.close()
    finish()
    console.print(f"wrote {folder.policy}, learning_curve.png, progress.csv and config.json in {folder.path}")
    return folder.policy
