"""Who competes in the tables of trained policies, how each is tuned, and training that is never done twice.

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
from typing import Any, Final

from rich.progress import Progress, TaskID
from safetensors.numpy import save_file

from liquid_pilot.errors import BundleError, ConfigError, SimulationError
from policies.analytic import AnalyticTrainer, TrainConfig
from policies.compiled_trainer import CompiledBackend
from policies.curriculum import Curriculum
from policies.export import export_policy
from policies.schedule import train
from scripts.files import write_json
from scripts.training.run import git_commit

TUNING_SEED: Final = 1000  # weights, flights and noise of the trials; no reported run has it
_POLICY: Final = "policy.safetensors"
_WEIGHTS: Final = "weights.safetensors"
_RATES: Final = (1e-3, 2.5e-3, 5e-3)
_MORE_RATES: Final = (5e-4, 1e-3, 2e-3, 3.5e-3, 5e-3, 1e-2)
_TIME_UNITS_S: Final = (0.015, 0.05)


@dataclass(frozen=True, slots=True)
class Variant:
    """What a configuration cannot say of a run. name: of it, in the names of folders; empty for nothing.

    change: done to the trainer before its first update. trigger: of slow neurons, see
    `policies.fragments.network_text`; no policy file states those, so that the weights alone are kept.
    """

    name: str = ""
    change: Callable[[AnalyticTrainer], None] = lambda trainer: None
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
class Recipe:
    """What all runs of a table share. trial_updates: of a tuning trial, validated at its end; None: as the others."""

    updates: int
    batch: int
    backend: str
    trial_updates: int | None = None

    def __post_init__(self) -> None:
        if min(self.updates, self.batch, self.trial_updates or 1) < 1:
            raise ConfigError(
                f"updates is {self.updates}, batch {self.batch}, trial_updates {self.trial_updates}; give at least 1 "
                "of each"
            )

    def config(self, model: Model, training: str, trial: tuple[float, float], seed: int) -> TrainConfig:
        """The configuration of one run; `TUNING_SEED` is that of a trial."""
        short = self.trial_updates if seed == TUNING_SEED else None
        updates = short or self.updates
        return TrainConfig(
            cell=model.cell,
            seed=seed,
            updates=updates,
            batch=self.batch,
            learning_rate=trial[0],
            time_unit_s=trial[1],
            validate_every=short or max(1, updates // 5),
            wiring=model.wiring,
            curriculum=TRAININGS[training],
        )


def run_folder(folder: Path, training: str, config: TrainConfig, variant: str = "") -> Path:
    """Where a run is kept: readable, and different for every configuration and variant."""
    digest = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode()).hexdigest()[:10]
    words = (config.cell, config.wiring, variant, training, f"seed{config.seed}", digest)
    return folder / "policies" / "-".join(word for word in words if word)


def trained(
    folder: Path,
    training: str,
    config: TrainConfig,
    backend: str,
    on_update: Callable[[int], None],
    variant: Variant = PLAIN,
) -> Trained:
    """The run of a configuration: read where it is finished, else trained. on_update: told the updates done.

    A run whose flights diverge ends there; the best weights until then, or the first ones, stand for it and are
    flown and counted like all others.
    """
    place = run_folder(folder, training, config, variant.name)
    record = place / "record.json"
    found = _read(record)
    if found is None or not (place / found["policy"]).is_file():
        trainer, trouble = _trainer(config, backend, variant), ""
        try:
            train(trainer, lambda row: on_update(row.update), lambda: None)
        except SimulationError as error:
            trouble = str(error)
        place.mkdir(parents=True, exist_ok=True)
        policy, refused = _keep(trainer, place, training, variant)
        trouble = trouble or refused
        score = None if math.isinf(trainer.best_score) else trainer.best_score
        ended = {"updates": trainer.done, "seconds": trainer.elapsed_s, "trouble": trouble}
        found = {"score": score, "policy": policy, **ended}
        write_json(record, found | {"config": asdict(config)})
    on_update(config.updates)
    score = math.inf if found["score"] is None else float(found["score"])
    told = (int(found["updates"]), float(found["seconds"]), str(found["trouble"]))
    return Trained(config.seed, config.learning_rate, config.time_unit_s, place / found["policy"], score, *told)


def _trainer(config: TrainConfig, backend: str, variant: Variant) -> AnalyticTrainer:
    trainer = AnalyticTrainer(config, backend)
    if variant.trigger is not None:
        spec, rng = trainer.network.spec, trainer.rng
        trainer.backend = CompiledBackend(trainer.recipe, spec, rng, trigger=variant.trigger)
    variant.change(trainer)
    return trainer


def _keep(trainer: AnalyticTrainer, place: Path, training: str, variant: Variant) -> tuple[str, str]:
    """Writes the policy file, or where there can be none the weights; returns the file's name and what was wrong."""
    trouble = ""
    if variant.trigger is None:
        try:
            name = f"{trainer.config.task}-{trainer.config.cell}-{training}"
            export_policy(trainer, place / _POLICY, name, git_commit())
            return _POLICY, ""
        except BundleError as error:  # counted with the others: it flies where it was trained
            trouble = f"no policy file: {error}"
    save_file(trainer.best.weights(), place / _WEIGHTS)
    return _WEIGHTS, trouble


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
    model: Model,
    training: str,
    seeds: int,
    progress: Progress,
    on_run: Callable[[], None],
) -> Competed:
    """Tune and train a model; what the folder holds is read. on_run: told of every run that is done."""

    def runs(name: str, jobs: Sequence[tuple[tuple[float, float], int]]) -> list[Trained]:
        task = progress.add_task("")
        found = []
        for number, (trial, seed) in enumerate(jobs):
            label = f"{model.name}, {training}: {name} {number + 1} of {len(jobs)}"
            config = recipe.config(model, training, trial, seed)
            progress.update(task, description=label, completed=0, total=config.updates)
            found.append(trained(folder, training, config, recipe.backend, shown(progress, task), model.variant))
            on_run()
        progress.remove_task(task)
        return found

    trials = runs("trial", [(trial, TUNING_SEED) for trial in model.trials])
    setting = (best(trials).learning_rate, best(trials).time_unit_s)
    return Competed(trials, runs("seed", [(setting, seed) for seed in range(seeds)]))


def shown(progress: Progress, task: TaskID) -> Callable[[int], None]:
    """What tells a bar how many updates are done."""
    return lambda done: progress.update(task, completed=done)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        known = {key: found[key] for key in ("score", "updates", "seconds", "trouble")}
        return known | {"policy": found.get("policy", _POLICY)}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is no record of a run ({error}); delete its folder or give another --out") from error
