"""Who competes in the rate table, how each is tuned, and training that is never done twice.

Every model gets the same number of trials on a seed that is not reported; the trial with the best closed-loop
validation, at rates inside the trained ones, sets the learning rate and the time unit of the reported seeds.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from liquid_pilot.errors import ConfigError, SimulationError
from policies.analytic import AnalyticTrainer, TrainConfig
from policies.curriculum import Curriculum
from policies.export import export_policy
from policies.schedule import train
from scripts.files import write_json
from scripts.training.run import git_commit
from scripts.workers.once import made_once
from scripts.workers.pool import WorkerPool

TUNING_SEED: Final = 1000  # weights, flights and noise of the trials; no reported run has it
_RATES: Final = (1e-3, 2.5e-3, 5e-3)
_MORE_RATES: Final = (5e-4, 1e-3, 2e-3, 3.5e-3, 5e-3, 1e-2)
_TIME_UNITS_S: Final = (0.015, 0.05)


@dataclass(frozen=True, slots=True)
class Model:
    """One competitor. timed: elapsed time acts in its formulas, beside being one of its inputs as for all."""

    name: str
    cell: str
    timed: bool

    @property
    def trials(self) -> tuple[tuple[float, float], ...]:
        """(learning rate, time unit in s) of each trial: six, whatever the model."""
        if not self.timed:
            return tuple((rate, _TIME_UNITS_S[0]) for rate in _MORE_RATES)
        return tuple((rate, unit) for unit in _TIME_UNITS_S for rate in _RATES)


MODELS: Final = (
    Model("decay", "decay", True),
    Model("CfC, published", "default", True),
    Model("GRU", "gru", False),
    Model("MLP, no memory", "mlp", False),
)
LSTM: Final = Model("LSTM", "lstm", False)  # one more where it is asked for
TRAININGS: Final[Mapping[str, Curriculum]] = {
    "narrow": Curriculum(imu_hz=(50.0, 100.0), mixed_chance=0.0),
    "wide": Curriculum(),
}


@dataclass(frozen=True, slots=True)
class Trained:
    """One finished run. score: of its best validation, infinite where none was reached; trouble: why it ended early."""

    seed: int
    learning_rate: float
    time_unit_s: float
    policy: Path
    score: float
    updates: int
    seconds: float
    trouble: str

    def row(self) -> dict[str, Any]:
        """For JSON, where an infinite score is null."""
        return asdict(self) | {"policy": str(self.policy), "score": None if math.isinf(self.score) else self.score}


@dataclass(frozen=True, slots=True)
class Recipe:
    """What all runs of a table share."""

    updates: int
    batch: int
    backend: str

    def __post_init__(self) -> None:
        if self.updates < 1 or self.batch < 1:
            raise ConfigError(f"updates is {self.updates} and batch {self.batch}; give at least 1 of each")

    def config(self, model: Model, training: str, trial: tuple[float, float], seed: int) -> TrainConfig:
        """The configuration of one run."""
        return TrainConfig(
            cell=model.cell,
            seed=seed,
            updates=self.updates,
            batch=self.batch,
            learning_rate=trial[0],
            time_unit_s=trial[1],
            validate_every=max(1, self.updates // 5),
            curriculum=TRAININGS[training],
        )


def run_folder(folder: Path, training: str, config: TrainConfig) -> Path:
    """Where a run is kept: readable, and different for every configuration."""
    digest = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode()).hexdigest()[:10]
    return folder / "policies" / f"{config.cell}-{training}-seed{config.seed}-{digest}"


@dataclass(frozen=True, slots=True)
class Run:
    """One run that is wanted."""

    training: str
    config: TrainConfig


def train_run(backend: str, run: Run) -> tuple[dict[str, Any], bytes]:
    """The record and the policy file of a run.

    A run whose flights diverge ends there; the best weights until then, or the first ones, stand for it and are
    flown and counted like all others.
    """
    trainer, trouble = AnalyticTrainer(run.config, backend), ""
    try:
        train(trainer, lambda row: None, lambda: None)
    except SimulationError as error:
        trouble = str(error)
    score = None if math.isinf(trainer.best_score) else trainer.best_score
    with TemporaryDirectory() as folder:
        name = f"{run.config.task}-{run.config.cell}-{run.training}"
        policy = export_policy(trainer, Path(folder) / "policy.safetensors", name, git_commit()).read_bytes()
    found = {"score": score, "updates": trainer.done, "seconds": trainer.elapsed_s, "trouble": trouble}
    return found | {"config": asdict(run.config)}, policy


def trained(
    folder: Path, runs: Sequence[Run], backend: str, pool: WorkerPool, on_done: Callable[[], None] = lambda: None
) -> list[Trained]:
    """All runs, in order: read where they are finished, else trained. on_done is called after each."""

    def keep(run: Run, made: tuple[dict[str, Any], bytes]) -> None:
        place = run_folder(folder, run.training, run.config)
        place.mkdir(parents=True, exist_ok=True)
        (place / "policy.safetensors").write_bytes(made[1])
        write_json(place / "record.json", made[0])

    return made_once(pool, train_run, backend, runs, lambda run: finished(folder, run), keep, on_done)


def finished(folder: Path, run: Run) -> Trained | None:
    """A run that is kept; None where there is none. Raises `ConfigError` for a broken record."""
    place = run_folder(folder, run.training, run.config)
    policy, found = place / "policy.safetensors", _read(place / "record.json")
    if found is None or not policy.is_file():
        return None
    score = math.inf if found["score"] is None else float(found["score"])
    ended = (int(found["updates"]), float(found["seconds"]), str(found["trouble"]))
    return Trained(run.config.seed, run.config.learning_rate, run.config.time_unit_s, policy, score, *ended)


def best(trials: Sequence[Trained]) -> Trained:
    """The trial with the lowest validation score; the first of equals."""
    return min(trials, key=lambda run: run.score)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {key: found[key] for key in ("score", "updates", "seconds", "trouble")}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is no record of a run ({error}); delete its folder or give another --out") from error
