"""HalfCheetah: every model imitates one teacher the same way, and runs at rhythms that training drew and others.

Every trained and scored cell is kept in the folder and not done again.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch

from envs.half_cheetah.rhythm import IRREGULAR, REGULAR, Rhythm
from envs.half_cheetah.simulators import SIMULATORS
from liquid_pilot.bundle import load_bundle
from liquid_pilot.cells import parameters
from liquid_pilot.errors import ConfigError, unknown_name
from policies.half_cheetah.export import export_run
from policies.half_cheetah.sizes import LIQUID, RIVALS
from policies.half_cheetah.teacher import CheetahTeacher
from policies.half_cheetah.trainer import CheetahConfig, CheetahTrainer
from policies.schedule import train
from scripts.cheetah import CheetahJob, score_episode
from scripts.console import OUT, progress_bar
from scripts.files import write_json
from scripts.flying import FlightPool, import_pybullet
from scripts.pictures.cheetah_table import draw_cheetah_table
from scripts.tables import rich_table
from scripts.training.run import git_commit
from scripts.workers.once import made_once
from scripts.workers.options import ALL_CORES, Workers

TUNING_SEED: Final = 1000  # of the trials; no reported run has it
RATES: Final = (2.5e-3, 5e-3, 1e-2)
WIRED: Final = "wired"
WIRING: Final = "8-5-6"
MODELS: Final = (*LIQUID, WIRED, *RIVALS)
SEEN: Final = {"regular": REGULAR, "1-6 frames, 30 % lost": IRREGULAR}  # of training
UNSEEN: Final = {
    "2 frames": Rhythm(frames=(2, 2)),
    "1-6 frames, 60 % lost": Rhythm(frames=(1, 6), dropped=0.6),
    "0-6 frames late": Rhythm(delay_frames=(0, 6)),
}
RHYTHMS: Final = SEEN | UNSEEN
_SCORE_SEED: Final = 7


@dataclass(frozen=True, slots=True)
class Plan:
    """What is learned and run; see `scripts.benchmarks.cheetah_command`."""

    folder: Path
    expert: str
    models: tuple[str, ...]
    partial: tuple[str, ...] = ()
    seeds: int = 3
    updates: int = 2500
    episodes: int = 120
    flights: int = 20
    trial_updates: int = 600
    trial_episodes: int = 48

    def __post_init__(self) -> None:
        for model in (*self.models, *self.partial):
            if model not in MODELS:
                raise ConfigError(unknown_name("model", model, list(MODELS)))
        if not self.models or not 1 <= self.seeds < TUNING_SEED:
            raise ConfigError(f"models is {self.models} and seeds {self.seeds}; give a model and 1 to 999 seeds")
        if min(self.updates, self.episodes, self.flights, self.trial_updates, self.trial_episodes) < 1:
            raise ConfigError("updates, episodes and flights must be at least 1 each")

    @property
    def rows(self) -> list[tuple[str, str]]:
        """(model, what it observes)."""
        partly = [(model, observe) for observe in ("positions", "velocities") for model in self.partial]
        return [(model, "full") for model in self.models] + partly

    def config(self, model: str, observe: str, seed: int, learning_rate: float) -> CheetahConfig:
        """Of one training."""
        teacher = load_bundle(self.expert)
        trial = seed == TUNING_SEED
        updates = self.trial_updates if trial else self.updates
        return CheetahConfig(
            simulator=teacher.metadata.get("simulator", ""),
            observe=observe,
            cell="decay" if model == WIRED else model,
            wiring=WIRING if model == WIRED else None,
            seed=seed,
            expert=teacher.name,
            expert_sha256=str(teacher.metadata["sha256"]),
            updates=updates,
            learning_rate=learning_rate,
            episodes=self.trial_episodes if trial else self.episodes,
            validate_every=max(1, updates // 4) if not trial else updates,
        )


@dataclass(frozen=True, slots=True)
class Work:
    """What all trainings of a kind share. flights: of a score; 0 = not scored."""

    expert: str
    flights: int


def run_folder(folder: Path, work: Work, config: CheetahConfig) -> Path:
    """Where a cell is kept."""
    marks = json.dumps([asdict(config), work.flights], sort_keys=True)
    digest = hashlib.sha256(marks.encode()).hexdigest()[:10]
    wired = "-wired" if config.wiring else ""
    return folder / "runs" / f"{config.cell}{wired}-{config.observe}-seed{config.seed}-{digest}"


def trained(work: Work, config: CheetahConfig) -> tuple[dict[str, Any], bytes]:
    """Train and, where that is wanted, run: the record and the policy file."""
    import_pybullet()
    torch.set_num_threads(1)
    trainer = CheetahTrainer(config, CheetahTeacher(load_bundle(work.expert), config.simulator))
    try:
        train(trainer, lambda row: None, lambda: None)
    finally:
        trainer.close()
    found: dict[str, Any] = {
        "validation_return": -trainer.best_score,
        "seconds": round(trainer.elapsed_s, 1),
        "parameters": parameters(trainer.best.spec),
    }
    with TemporaryDirectory() as folder:
        policy = export_run(
            trainer, Path(folder) / "policy.safetensors", f"half-cheetah-{config.cell}", git_commit(),
            {"episodes": trainer.recorded().flights},
        )  # fmt: skip
        returns = {"returns": returns_of(str(policy), work.flights)} if work.flights else {}
        return found | returns, policy.read_bytes()


def _all_trained(
    plan: Plan, scored: bool, configs: Sequence[CheetahConfig], pool: FlightPool, on_done: Callable[[], None]
) -> list[dict[str, Any]]:
    """Records of all, read where they are kept."""
    work = Work(plan.expert, plan.flights if scored else 0)

    def keep(config: CheetahConfig, made: tuple[dict[str, Any], bytes]) -> None:
        folder = run_folder(plan.folder, work, config)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "policy.safetensors").write_bytes(made[1])
        write_json(folder / "record.json", made[0] | {"config": asdict(config)})

    def read(config: CheetahConfig) -> dict[str, Any] | None:
        return _read(run_folder(plan.folder, work, config) / "record.json")

    return made_once(pool, trained, work, configs, read, keep, on_done)


def returns_of(policy: str, flights: int) -> dict[str, list[float]]:
    """Returns of a policy at every rhythm."""
    found = {}
    for name, rhythm in RHYTHMS.items():
        count = flights if name in SEEN else max(1, flights // 2)
        job = CheetahJob(policy, rhythm, count, _SCORE_SEED)
        found[name] = [score_episode(job, index)[0] for index in range(count)]
    return found


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {key: found[key] for key in ("validation_return", "seconds", "parameters", "returns") if key in found}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f"{path} is no record of a run ({error}); delete its folder or give another --out") from error


def _teacher_returns(work: Work, index: int) -> dict[str, list[float]]:
    return returns_of(work.expert, work.flights)


def run(plan: Plan, workers: Workers = ALL_CORES) -> dict[str, Any]:
    """Tune, train and score everything that the folder does not hold yet; returns what cheetah.json says."""
    teacher = load_bundle(plan.expert)
    CheetahTeacher(teacher, str(teacher.metadata.get("simulator")))  # refuse here, not in a worker
    trials = [(model, rate) for model in dict.fromkeys(model for model, _ in plan.rows) for rate in RATES]
    with FlightPool(workers) as pool, progress_bar() as bar:
        task = bar.add_task("trials", total=len(trials))
        configs = [plan.config(model, "full", TUNING_SEED, rate) for model, rate in trials]
        tried = _all_trained(plan, False, configs, pool, lambda: bar.advance(task))
        best: dict[str, list[tuple[float, float]]] = {}
        for (model, rate), found in zip(trials, tried, strict=True):
            best.setdefault(model, []).append((found["validation_return"], rate))
        chosen = {model: max(found)[1] for model, found in best.items()}
        cells = [(model, observe, seed) for model, observe in plan.rows for seed in range(plan.seeds)]
        task = bar.add_task("trainings", total=len(cells))
        configs = [plan.config(model, observe, seed, chosen[model]) for model, observe, seed in cells]
        records = _all_trained(plan, True, configs, pool, lambda: bar.advance(task))
        top = pool.each(_teacher_returns, Work(plan.expert, plan.flights), 1)[0]
    rows = []
    for model, observe in plan.rows:
        own = [record for cell, record in zip(cells, records, strict=True) if cell[:2] == (model, observe)]
        rows.append(_row(model, observe, chosen[model], best[model], own))
    return {
        "expert": teacher.name,
        "expert_sha256": teacher.metadata["sha256"],
        "expert_parameters": teacher.parameters,
        "simulator": teacher.metadata["simulator"],
        "usual_frames": SIMULATORS[teacher.metadata["simulator"]].usual_frames,
        "seeds": plan.seeds,
        "updates": plan.updates,
        "episodes": plan.episodes,
        "flights": plan.flights,
        "teacher": {name: statistics.fmean(found) for name, found in top.items()},
        "rows": rows,
    }


def _row(
    model: str, observe: str, rate: float, trials: Sequence[tuple[float, float]], own: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    cells = {}
    for name in RHYTHMS:
        means = [statistics.fmean(record["returns"][name]) for record in own]
        cells[name] = {
            "mean": statistics.fmean(means),
            "sd": statistics.stdev(means) if len(means) > 1 else None,
            "seeds": means,
            "lowest": min(min(record["returns"][name]) for record in own),
        }
    return {
        "model": model,
        "observe": observe,
        "parameters": own[0]["parameters"],
        "learning_rate": rate,
        "trials": [{"learning_rate": r, "validation_return": v} for v, r in trials],
        "seconds": statistics.fmean(record["seconds"] for record in own),
        "cells": cells,
    }


NAMES: Final = {
    "decay": "CfC decay, 19",
    WIRED: f"CfC wired {WIRING}",
    "default": "CfC default, 19",
    "no_gate": "CfC no_gate, 19",
    "pure": "CfC pure, 19",
    "gru": "GRU",
    "lstm": "LSTM",
    "mlp": "MLP, no memory",
}


def _texts(table: dict[str, Any]) -> list[list[str]]:
    """Body of the table, the teacher first."""
    body = [
        ["teacher", "full", f"{table['expert_parameters']:,}", *(f"{table['teacher'][name]:,.0f}" for name in RHYTHMS)]
    ]
    for row in table["rows"]:
        cells = [row["cells"][name] for name in RHYTHMS]
        texts = [f"{c['mean']:,.0f}" + ("" if c["sd"] is None else f" ± {c['sd']:.0f}") for c in cells]
        body.append([NAMES[row["model"]], row["observe"], f"{row['parameters']:,}", *texts])
    return body


def markdown(table: dict[str, Any]) -> str:
    """The whole table for a README."""
    told = (
        f"Return of an episode in {table['simulator']}: mean ± sd over {table['seeds']} trainings of the mean of "
        f"{table['flights']} episodes ({max(1, table['flights'] // 2)} at the last {len(UNSEEN)} rhythms, which no "
        f"training drew). DAgger from one teacher, {table['updates']:,} updates, {table['episodes']} episodes, half of "
        f"them at irregular time with 30 % of the observations lost; learning rate from {len(RATES)} trials on another "
        "seed. The teacher's row is the teacher called at that rhythm on what the rhythm lets through."
    )
    head = ["model", "observes", "parameters", *RHYTHMS]
    lines = [head, ["---", "---", *["---:"] * (len(head) - 2)], *_texts(table)]
    return told + "\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def present(table: dict[str, Any], folder: Path) -> list[Path]:
    """Print the table; write cheetah.json, .md and .png."""
    OUT.print(rich_table(f"returns, {table['seeds']} seeds", ("model", "observes", "weights", *RHYTHMS), _texts(table)))
    write_json(folder / "cheetah.json", table)
    text = folder / "cheetah.md"
    text.write_text(markdown(table), encoding="utf-8")
    return [folder / "cheetah.json", text, draw_cheetah_table(table, folder / "cheetah.png")]
