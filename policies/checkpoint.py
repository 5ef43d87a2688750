"""Checkpoints of a training run: everything that decides the next update, without pickle.

One safetensors file: network, running average, best weights, optimiser, random generators, and the drones in
flight. A resumed run continues to the same numbers as one that was never stopped.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from envs.batched_quad import BatchedQuad
from envs.batched_state import from_dict, to_dict
from envs.flights import draw_flights
from liquid_pilot.bundle import Bundle
from liquid_pilot.errors import TrainingError
from policies.analytic import AnalyticTrainer, TrainConfig
from policies.checkpoint_file import learner_tensors, read_checkpoint, restore_learner, restoring, write_checkpoint
from policies.compiled_trainer import saved_sight, seeing
from policies.curriculum import lesson
from policies.torch_backend import TorchCarry

SCHEMA = 1


def save_checkpoint(path: Path, trainer: AnalyticTrainer) -> None:
    """Write atomically: a run that is cut off leaves the previous checkpoint whole. Raises `TrainingError`."""
    tensors = learner_tensors(_networks(trainer), trainer.optimizer)
    tensors["generator"] = trainer.generator.get_state()
    if trainer.carry is not None:
        tensors |= to_dict(trainer.carry.world, "world")
        tensors |= {"carry.h": trainer.carry.h, "carry.action": trainer.carry.action}
        tensors |= saved_sight(trainer.carry)
    record = {
        "schema": SCHEMA,
        "config": asdict(trainer.config),
        "start_sha256": trainer.start_sha256,
        "done": trainer.done,
        "stale": trainer.stale,
        "elapsed_s": trainer.elapsed_s,
        "best_score": trainer.best_score if math.isfinite(trainer.best_score) else None,
        "rng": trainer.rng.bit_generator.state,
    }
    write_checkpoint(path, tensors, record)


def load_checkpoint(
    path: Path, config: TrainConfig, backend: str = "torch", threads: int = 1, start: Bundle | None = None
) -> AnalyticTrainer:
    """The trainer as it was. backend, threads, start: as of `AnalyticTrainer`; a start left out is taken as it was.

    Raises `TrainingError` for a damaged file, another configuration or another start.
    """
    tensors, record = read_checkpoint(path, SCHEMA, config)
    began = record.get("start_sha256", "")
    if start is not None and start.metadata["sha256"] != began:
        raise TrainingError(
            f"{path} began with {f'the policy of sha256 {began[:12]}' if began else 'fresh weights'}, not with "
            f"{start.name!r}; resume without --init, or start again without --resume"
        )
    trainer = AnalyticTrainer(config, backend, threads)
    trainer.start_sha256 = began
    with restoring(path):
        _restore(trainer, record, tensors)
    return trainer


def _networks(trainer: AnalyticTrainer) -> dict[str, torch.nn.Module]:
    return {"network": trainer.network, "averaged": trainer.averaged, "best": trainer.best}


def _restore(trainer: AnalyticTrainer, record: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    restore_learner(tensors, _networks(trainer), trainer.optimizer)
    if "carry.h" in tensors:
        spare = lesson(trainer.config.curriculum, 0.0, trainer.rng)  # any flight has the shape of the saved ones
        world = BatchedQuad(trainer.airframe, spare.conditions, trainer.generator)
        flights = draw_flights(trainer.airframe, spare.conditions, trainer.config.batch, trainer.rng)
        state = from_dict(world.reset(flights), tensors, "world")
        carry = TorchCarry(state, tensors["carry.h"], tensors["carry.action"])
        trainer.carry = seeing(carry, tensors) if trainer.drill.sees else carry
    trainer.generator.set_state(tensors["generator"])
    trainer.rng.bit_generator.state = record["rng"]
    trainer.done, trainer.elapsed_s = int(record["done"]), float(record["elapsed_s"])
    trainer.stale = int(record.get("stale", 0))
    best = record["best_score"]
    trainer.best_score = math.inf if best is None else float(best)
