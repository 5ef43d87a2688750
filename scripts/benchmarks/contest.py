"""Who competes in the tables of trained policies, how each is tuned, and training that is never done twice.

Every model gets the same number of trials on a seed that is not reported; the trial with the best closed-loop
validation, at rates inside the trained ones, sets the learning rate and the time unit of the reported seeds.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from safetensors.numpy import save

from liquid_pilot.errors import BundleError, ConfigError, SimulationError
from policies.analytic import AnalyticTrainer, TrainConfig
from policies.compiled_trainer import CompiledBackend
from policies.curriculum import Curriculum
from policies.drills import drill_of
from policies.export import export_policy
from policies.schedule import train
from scripts.files import write_json
from scripts.training.run import git_commit
from scripts.workers.once import made_once
from scripts.workers.pool import WorkerPool

TUNING_SEED: Final = 1000  # weights, flights and noise of the trials; no reported run has it
_POLICY: Final = "policy.safetensors"
_WEIGHTS: Final = "weights.safetensors"
_RATES: Final = (1e-3, 2.5e-3, 5e-3)
_MORE_RATES: Final = (5e-4, 1e-3, 2e-3, 3.5e-3, 5e-3, 1e-2)
_TIME_UNITS_S: Final = (0.015, 0.05)


@dataclass(frozen=True, slots=True)
class Variant:
    """What a configuration cannot say of a run. name: of it, in the names of folders; empty for nothing.

    change: done to the trainer before its first update; a function of a module, for it travels to workers. trigger:
    of slow neurons, see `policies.fragments.network_text`; no policy file states those: the weights alone are kept.
    """

    name: str = ""
    change: Callable[[AnalyticTrainer], None] | None = None
    trigger: int | None = None


PLAIN: Final = Variant()


@dataclass(frozen=True, slots=True)
class Model:
    """One competitor. timed: elapsed time acts in its formulas, beside being one of its inputs as for all.

    wiring: as of `TrainConfig`. variant: in what its runs differ from what their configuration says.
    """

    name: str
    cell: str
    timed: bool
    wiring: str | None = None
    variant: Variant = PLAIN

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
    "forest": drill_of("avoid").curriculum,
    "blind": replace(drill_of("avoid").curriculum, grid_lost=(1.0, 1.0)),  # no flow grid is ever heard
    "sudden": Curriculum(horizon_share=0.0, disturbance_share=0.0),  # wide, all of it from the first update on
}


@dataclass(frozen=True, slots=True)
class Trained:
    """One finished run. score: of its best validation, infinite where none was reached; trouble: why it ended early.

    policy: the policy file; the weights alone where none states the variant, or where its self-test failed.
    """

    seed: int
    learning_rate: float
    time_unit_s: float
    policy: Path
    score: float
    updates: int
    seconds: float
    trouble: str

    @property
    def bundled(self) -> bool:
        """Whether there is a policy file."""
        return self.policy.name == _POLICY

    def row(self) -> dict[str, Any]:
        """For JSON, where an infinite score is null."""
        return asdict(self) | {"policy": str(self.policy), "score": None if math.isinf(self.score) else self.score}


@dataclass(frozen=True, slots=True)
class Run:
    """One run that is wanted."""

    training: str
    config: TrainConfig
    variant: Variant = PLAIN


@dataclass(frozen=True, slots=True)
class Recipe:
    """What all runs of a table share. trial_updates: of a tuning trial, validated at its end; None: as the others."""

    updates: int
    batch: int
    backend: str
    trial_updates: int | None = None
    task: str = "hover"

    def __post_init__(self) -> None:
        if min(self.updates, self.batch, self.trial_updates or 1) < 1:
            raise ConfigError(
                f"updates is {self.updates}, batch {self.batch}, trial_updates {self.trial_updates}; give at least 1 "
                "of each"
            )

    def run(self, model: Model, training: str, trial: tuple[float, float], seed: int) -> Run:
        """One run of a model; `TUNING_SEED` is that of a trial."""
        short = self.trial_updates if seed == TUNING_SEED else None
        updates, drill = short or self.updates, drill_of(self.task)
        config = TrainConfig(
            cell=model.cell,
            seed=seed,
            updates=updates,
            batch=self.batch,
            learning_rate=trial[0],
            time_unit_s=trial[1],
            validate_every=short or max(1, updates // 5),
            wiring=model.wiring,
            curriculum=TRAININGS[training],
            task=self.task,
            cost=drill.cost,
            validation_s=drill.validation_s,
            early_weight=drill.early_weight,
            oldest_s=drill.oldest_s,
        )
        return Run(training, config, model.variant)


def check_counts(seeds: int, flights: int, pybullet_flights: int = 0) -> None:
    """Raise `ConfigError` for seeds, flights of a cell, or flights in PyBullet that no table has."""
    if not 1 <= seeds < TUNING_SEED:
        raise ConfigError(f"seeds is {seeds}; give 1 to {TUNING_SEED - 1}")
    if flights < 1 or pybullet_flights < 0:
        raise ConfigError(f"flights is {flights} and pybullet_flights {pybullet_flights}; give 1 and 0 at least")


def run_folder(folder: Path, run: Run) -> Path:
    """Where a run is kept: readable, and different for every configuration and variant."""
    config = run.config
    digest = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode()).hexdigest()[:10]
    words = (config.cell, config.wiring, run.variant.name, run.training, f"seed{config.seed}", digest)
    return folder / "policies" / "-".join(word for word in words if word)


def train_run(backend: str, run: Run) -> tuple[dict[str, Any], bytes]:
    """The record of a run and its file: the policy file, or the weights where there can be none; the record says which.

    A run whose flights diverge ends there; the best weights until then, or the first ones, stand for it and are
    flown and counted like all others.
    """
    trainer, trouble = _trainer(run, backend), ""
    try:
        train(trainer, lambda row: None, lambda: None)
    except SimulationError as error:
        trouble = str(error)
    policy, contents, refused = _file(trainer, run)
    score = None if math.isinf(trainer.best_score) else trainer.best_score
    ended = {"updates": trainer.done, "seconds": trainer.elapsed_s, "trouble": trouble or refused}
    return {"score": score, "policy": policy, **ended, "config": asdict(run.config)}, contents


def _trainer(run: Run, backend: str) -> AnalyticTrainer:
    trainer, variant = AnalyticTrainer(run.config, backend), run.variant
    if variant.trigger is not None:
        spec, rng = trainer.network.spec, trainer.rng
        trainer.backend = CompiledBackend(trainer.recipe, spec, rng, trigger=variant.trigger)
    if variant.change is not None:
        variant.change(trainer)
    return trainer


def _file(trainer: AnalyticTrainer, run: Run) -> tuple[str, bytes, str]:
    """Name and contents of what is kept of a trained network, and why that is no policy file where one could be."""
    refused = ""
    if run.variant.trigger is None:
        try:
            with TemporaryDirectory() as folder:
                name = f"{run.config.task}-{run.config.cell}-{run.training}"
                return _POLICY, export_policy(trainer, Path(folder) / _POLICY, name, git_commit()).read_bytes(), ""
        except BundleError as error:  # counted with the others: it flies where it was trained
            refused = f"no policy file: {error}"
    return _WEIGHTS, save(dict(trainer.best.weights())), refused


def trained(
    folder: Path, runs: Sequence[Run], backend: str, pool: WorkerPool, on_done: Callable[[], None] = lambda: None
) -> list[Trained]:
    """All runs, in order: read where they are finished, else trained. on_done is called after each."""

    def keep(run: Run, made: tuple[dict[str, Any], bytes]) -> None:
        place, (record, contents) = run_folder(folder, run), made
        place.mkdir(parents=True, exist_ok=True)
        (place / record["policy"]).write_bytes(contents)
        write_json(place / "record.json", record)

    return made_once(pool, train_run, backend, runs, lambda run: finished(folder, run), keep, on_done)


def finished(folder: Path, run: Run) -> Trained | None:
    """A run that is kept; None where there is none. Raises `ConfigError` for a broken record."""
    place = run_folder(folder, run)
    found = _read(place / "record.json")
    if found is None or not (place / found["policy"]).is_file():
        return None
    score = math.inf if found["score"] is None else float(found["score"])
    ended = (int(found["updates"]), float(found["seconds"]), str(found["trouble"]))
    policy, config = place / found["policy"], run.config
    return Trained(config.seed, config.learning_rate, config.time_unit_s, policy, score, *ended)


def best(trials: Sequence[Trained]) -> Trained:
    """The trial with the lowest validation score; the first of equals."""
    return min(trials, key=lambda run: run.score)


@dataclass(frozen=True, slots=True)
class Competed:
    """All runs of a model: its tuning trials, and those that are reported, in the order of their seeds."""

    trials: list[Trained]
    reported: list[Trained]

    @property
    def chosen(self) -> Trained:
        """The trial whose settings the reported runs have."""
        return best(self.trials)


def compete(
    folder: Path,
    recipe: Recipe,
    entries: Sequence[tuple[Model, str]],
    seeds: int,
    pool: WorkerPool,
    on_done: Callable[[], None],
) -> list[Competed]:
    """Tune and train models, each under its training, in order; what the folder holds is read.

    First the trials of all, then the reported seeds of each with the setting that was best. on_done: called after each.
    """

    def done(wanted: Sequence[Sequence[Run]]) -> list[list[Trained]]:
        found = iter(trained(folder, [run for own in wanted for run in own], recipe.backend, pool, on_done))
        return [[next(found) for _ in own] for own in wanted]

    trials = done([[recipe.run(*entry, trial, TUNING_SEED) for trial in entry[0].trials] for entry in entries])
    settings = [(one.learning_rate, one.time_unit_s) for one in map(best, trials)]
    wanted = [
        [recipe.run(*entry, setting, seed) for seed in range(seeds)]
        for entry, setting in zip(entries, settings, strict=True)
    ]
    return [Competed(*both) for both in zip(trials, done(wanted), strict=True)]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        known = {key: found[key] for key in ("score", "updates", "seconds", "trouble")}
        return known | {"policy": found.get("policy", _POLICY)}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is no record of a run ({error}); delete its folder or give another --out") from error
