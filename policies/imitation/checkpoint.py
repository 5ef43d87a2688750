"""Checkpoints of imitation: the run's state in one file, the flights of each round in one of their own.

A resumed run continues to the same numbers as one that was never stopped. Rounds are written once, when they are flown;
of those a run finds, it takes as many as its checkpoint counts and flies the later ones again, which gives the same.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from liquid_pilot.bundle import Bundle
from liquid_pilot.errors import TrainingError
from policies.checkpoint_file import learner_tensors, read_checkpoint, restore_learner, restoring, write_checkpoint
from policies.imitation.trainer import ImitationConfig, ImitationTrainer

SCHEMA = 1


def round_file(folder: Path, number: int) -> Path:
    """Where the flights of a round are kept."""
    return folder / "flights" / f"round-{number:03d}.safetensors"


def save_checkpoint(path: Path, trainer: ImitationTrainer) -> None:
    """Write the run's state, and beside it the rounds that are not there yet. Raises `TrainingError`."""
    config = trainer.config
    for number, flights in enumerate(trainer.rounds[trainer.saved_rounds :], trainer.saved_rounds):
        trainer.school.save(round_file(path.parent, number), flights, trainer.share_of(number))
    trainer.saved_rounds = len(trainer.rounds)
    networks = {"network": trainer.network, "averaged": trainer.averaged, "best": trainer.best}
    record = {
        "schema": SCHEMA,
        "config": asdict(config),
        "start_sha256": trainer.start_sha256,
        "rounds": len(trainer.rounds),
        "done": trainer.done,
        "stale": trainer.stale,
        "elapsed_s": trainer.elapsed_s,
        "best_score": trainer.best_score if math.isfinite(trainer.best_score) else None,
        "rng": trainer.rng.bit_generator.state,
    }
    write_checkpoint(path, learner_tensors(networks, trainer.optimizer), record)


def load_checkpoint(
    path: Path, config: ImitationConfig, teacher: Any, start: Bundle | None = None, threads: int = 1
) -> ImitationTrainer:
    """The trainer as it was. start: one left out is taken as it was; see `ImitationTrainer`.

    Raises `TrainingError` for a damaged file, another configuration or start, or rounds that are missing.
    """
    tensors, record = read_checkpoint(path, SCHEMA, config)
    began = str(record.get("start_sha256", ""))
    if start is not None and start.metadata["sha256"] != began:
        raise TrainingError(
            f"{path} began with {f'the policy of sha256 {began[:12]}' if began else 'fresh weights'}, not with "
            f"{start.name!r}; resume without --init, or start again without --resume"
        )
    trainer = ImitationTrainer(config, teacher, threads=threads)
    with restoring(path):
        networks = {"network": trainer.network, "averaged": trainer.averaged, "best": trainer.best}
        restore_learner(tensors, networks, trainer.optimizer)
        trainer.start_sha256 = began
        numbers = range(int(record["rounds"]))
        trainer.rounds = [trainer.school.load(round_file(path.parent, number)) for number in numbers]
        trainer.saved_rounds = len(trainer.rounds)
        trainer.done, trainer.stale = int(record["done"]), int(record["stale"])
        trainer.elapsed_s = float(record["elapsed_s"])
        best = record["best_score"]
        trainer.best_score = math.inf if best is None else float(best)
        trainer.rng.bit_generator.state = record["rng"]
    return trainer
