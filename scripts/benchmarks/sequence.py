"""The prediction benchmark: which trainings there are, each done once and kept, and what they add up to."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import torch

from liquid_pilot.errors import ConfigError, unknown_name
from policies.prediction.fit import FitConfig, fit
from policies.prediction.judge import judge
from policies.prediction.known import check_known
from policies.prediction.models import KINDS, NEURONS, Scaling, build, count, matched_size, scaling
from policies.prediction.traces import Traces, load_traces
from policies.prediction.trivial import trivial
from policies.prediction.windows import Windows, windows
from scripts.benchmarks.sequence_spread import spread
from scripts.console import ERR, progress_bar
from scripts.files import write_json
from scripts.flying import FlightPool
from scripts.workers.once import made_once
from scripts.workers.options import ALL_CORES, Workers

TUNING_SEED: Final = 1000  # of the trials; no reported training has it
MAIN: Final = ("decay", "default", "ltc", "lstm", "gru")
_TIMED: Final = tuple((rate, unit) for unit in (1.0, 4.0) for rate in (3e-3, 1e-2, 2e-2))
_UNTIMED: Final = tuple((rate, 1.0) for rate in (1e-3, 3e-3, 5e-3, 1e-2, 2e-2, 4e-2))
LARGE, SMALL = "large", "small"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is learned and judged; see `scripts.benchmarks.sequence_command`."""

    folder: Path
    data: Path | None = None
    models: tuple[str, ...] = ()
    noise: tuple[float, ...] = (0.0, 0.2)
    missing: tuple[float, ...] = (0.0, 0.3)
    shares: tuple[float, ...] = ()
    seeds: int = 5
    epochs: int = 30
    parameters: int = 7000

    def __post_init__(self) -> None:
        for model in self.models:
            if model not in KINDS:
                raise ConfigError(unknown_name("model", model, list(KINDS)))
        if not 1 <= self.seeds < TUNING_SEED or self.epochs < 1 or self.parameters < 100:
            raise ConfigError(
                f"seeds is {self.seeds}, epochs {self.epochs}, parameters {self.parameters}; give 1 to "
                f"{TUNING_SEED - 1}, at least 1, at least 100"
            )
        if not all(0.0 <= share < 1.0 for share in self.missing) or not all(0.0 < s < 1.0 for s in self.shares):
            raise ConfigError(f"missing is {self.missing} and shares {self.shares}; give shares below 1")
        if not all(math.isfinite(level) and level >= 0.0 for level in self.noise):
            raise ConfigError(f"noise is {self.noise}; give standard deviations of 0 or more")

    @property
    def chosen(self) -> tuple[str, ...]:
        """Models, in the order of `KINDS`."""
        return tuple(name for name in KINDS if not self.models or name in self.models)

    @property
    def main(self) -> tuple[str, ...]:
        """Those that are also trained with augmentation, on less data, and with 19 neurons."""
        return tuple(name for name in self.chosen if name in MAIN)

    @property
    def file(self) -> Path:
        """Of the traces."""
        return self.data or self.folder / "traces.npz"


@dataclass(frozen=True, slots=True)
class Training:
    """One of them. share: of the training data."""

    model: str
    size: int
    time_unit: float
    config: FitConfig
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Trial:
    """How trainings are judged, and where their data is. judged: on the test windows, otherwise chosen by alone."""

    data: Path
    noise: tuple[float, ...]
    missing: tuple[float, ...]
    judged: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """Windows of the three parts; width: numbers of a step."""

    traces: Traces
    train: Windows
    valid: Windows
    test: Windows
    given: Scaling

    @property
    def width(self) -> int:
        """Numbers of a step."""
        return self.traces.width


@lru_cache(maxsize=2)
def loaded(file: Path) -> Loaded:
    """Raises `ConfigError` as `load_traces`."""
    traces = load_traces(file)
    train, valid, test = (windows(part) for part in (traces.train, traces.valid, traces.test))
    return Loaded(traces, train, valid, test, scaling(train))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {key: found[key] for key in ("valid", "epoch", "seconds", "judged")}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"{path} is no record of a training ({error}); delete it or give another --out") from error


def record_of(trial: Trial, training: Training) -> dict[str, Any]:
    """The record of a training, which is made here."""
    torch.set_num_threads(1)
    data = loaded(trial.data)
    train = data.train if training.share == 1.0 else windows(data.traces.first(training.share).train)
    given = data.given if training.share == 1.0 else scaling(train)
    model = build(training.model, training.size, given, training.time_unit, training.config.seed)
    found = fit(model, train, data.valid, training.config)
    judged = {}
    if trial.judged:
        with torch.no_grad():
            judged = judge(model, data.test, data.given.noise, trial.noise, trial.missing)
    return asdict(found) | {"judged": judged}


def sizes(plan: Plan, width: int) -> dict[str, dict[str, int]]:
    """Size of each model in each class: about the wanted parameters, and about those of 19 neurons of decay."""
    small = count("decay", NEURONS, width)
    return {
        LARGE: {model: matched_size(model, width, plan.parameters) for model in plan.chosen},
        SMALL: {model: NEURONS if model == "decay" else matched_size(model, width, small) for model in plan.main},
    }


class Runs:
    """Trainings by a pool of workers."""

    def __init__(self, plan: Plan, pool: FlightPool, bar: Any) -> None:
        self.plan, self._pool, self._bar = plan, pool, bar
        self._sha256 = hashlib.sha256(plan.file.read_bytes()).hexdigest()

    def each(
        self, title: str, trainings: Sequence[Training], judged: bool = True, clean: bool = False
    ) -> list[dict[str, Any]]:
        """Records of all, in order. clean: judged without noise and losses."""
        task = self._bar.add_task(title, total=len(trainings))
        noise, missing = ((), ()) if clean or not judged else (self.plan.noise, self.plan.missing)
        trial = Trial(self.plan.file, noise, missing, judged)
        return made_once(
            self._pool, record_of, trial, trainings,
            lambda training: _read(self._path(trial, training)),
            lambda training, made: write_json(self._path(trial, training), made | {"training": asdict(training)}),
            lambda: self._bar.advance(task),
        )  # fmt: skip

    def _path(self, trial: Trial, training: Training) -> Path:
        marks = json.dumps([self._sha256, asdict(training), trial.noise, trial.missing, trial.judged], sort_keys=True)
        digest = hashlib.sha256(marks.encode()).hexdigest()[:12]
        name = f"{training.model}-{training.size}-seed{training.config.seed}-{digest}.json"
        return self.plan.folder / "records" / name


def run(plan: Plan, workers: Workers = ALL_CORES) -> dict[str, Any]:
    """Everything that the folder does not hold yet; returns what sequence.json says. Raises `ConfigError`."""
    with FlightPool(workers) as pool, progress_bar() as bar:
        _record_traces(plan, pool, bar)
        data = loaded(plan.file)
        for share in plan.shares:
            data.traces.first(share)  # refuse here, not in a worker
        runs, classes = Runs(plan, pool, bar), sizes(plan, data.width)
        rows = {name: _rows(plan, runs, data.width, name, models) for name, models in classes.items() if models}
        best = {row["model"]: row["setting"] for row in rows[LARGE]}
        extra = _extra(plan, runs, classes[LARGE], best)
    settled = [
        {"title": name, **judge(predict, data.test, data.given.noise, plan.noise, plan.missing)}
        for name, predict in trivial(data.train).items()
    ]
    return {
        "paper": check_known(data.traces, {row["title"]: row["clean"] for row in settled}),
        "data": plan.file.name,
        "windows": {"train": len(data.train), "valid": len(data.valid), "test": len(data.test)},
        "width": data.width,
        "seeds": plan.seeds,
        "epochs": plan.epochs,
        "trial_epochs": trial_epochs(plan),
        "batch": FitConfig().batch,
        "noise": list(plan.noise),
        "missing": list(plan.missing),
        "shares": list(plan.shares),
        "trivial": settled,
        **rows,
        **extra,
    }


def _record_traces(plan: Plan, pool: FlightPool, bar: Any) -> None:
    """Traces of the shipped teacher, where no file was given and none is there."""
    if plan.data is not None or plan.file.is_file():
        return
    from scripts.cheetah import CheetahJob, TraceJob, record_trace, save_traces

    ERR.print("no --data: recording 25 traces of the shipped teacher")
    job = TraceJob(CheetahJob("half-cheetah-teacher", episodes=25))
    task = bar.add_task("traces", total=25)
    save_traces(plan.file, pool.each(record_trace, job, 25, lambda: bar.advance(task)))


def trial_epochs(plan: Plan) -> int:
    """Of a trial."""
    return max(1, plan.epochs // 5)


def _rows(plan: Plan, runs: Runs, width: int, size_class: str, models: dict[str, int]) -> list[dict[str, Any]]:
    """Tuned and trained, model by model."""
    settings = [(model, s) for model in models for s in (_TIMED if KINDS[model].timed else _UNTIMED)]
    trial = FitConfig(trial_epochs(plan), seed=TUNING_SEED)
    tried = runs.each(
        f"{size_class}: trials",
        [Training(m, models[m], unit, replace(trial, learning_rate=rate)) for m, (rate, unit) in settings],
        judged=False,
    )
    best: dict[str, tuple[float, tuple[float, float]]] = {}
    for (model, setting), record in zip(settings, tried, strict=True):
        found = (record["valid"] if math.isfinite(record["valid"]) else math.inf, setting)
        best[model] = min(best.get(model, (math.inf, setting)), found)
    trainings = [
        Training(m, models[m], best[m][1][1], FitConfig(plan.epochs, learning_rate=best[m][1][0], seed=seed))
        for m in models
        for seed in range(plan.seeds)
    ]
    records = runs.each(f"{size_class}: trainings", trainings)
    rows = []
    for number, model in enumerate(models):
        own = records[number * plan.seeds : (number + 1) * plan.seeds]
        rows.append(
            {
                "model": model,
                "title": KINDS[model].title,
                "liquid": KINDS[model].liquid,
                "size": models[model],
                "parameters": count(model, models[model], width),
                "setting": list(best[model][1]),
                "seconds": statistics.median(record["seconds"] for record in own),
                "valid": statistics.fmean(record["valid"] for record in own),
                **spread([record["judged"] for record in own]),
            }
        )
    return rows


def _extra(plan: Plan, runs: Runs, models: dict[str, int], best: dict[str, list[float]]) -> dict[str, Any]:
    """The main models with augmentation, and on less data."""

    def trained(title: str, share: float, augmented: bool) -> dict[str, dict[str, Any]]:
        trainings = [
            Training(
                m, models[m], best[m][1], FitConfig(plan.epochs, learning_rate=best[m][0], seed=s, augmented=augmented),
                share,
            )
            for m in plan.main
            for s in range(plan.seeds)
        ]  # fmt: skip
        records = runs.each(title, trainings, clean=share < 1.0)
        return {
            model: spread([r["judged"] for r in records[k * plan.seeds : (k + 1) * plan.seeds]])
            for k, model in enumerate(plan.main)
        }

    if not plan.main:
        return {"augmented": {}, "data_amount": {}}
    return {
        "augmented": trained("augmented", 1.0, True),
        "data_amount": {f"{share:g}": trained(f"{share:.0%} of the data", share, False) for share in plan.shares},
    }
