"""Checkpoints of PPO: weights, optimiser, generators, the drones in flight; one file, without pickle.

A resumed run continues to the same numbers as one that was never stopped. PyBullet's drones cannot be put back: with
that engine every flight is launched anew after a validation, in the unbroken run too.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from liquid_pilot.bundle import Bundle
from liquid_pilot.errors import TrainingError
from policies.checkpoint_file import learner_tensors, read_checkpoint, restore_learner, restoring, write_checkpoint
from policies.rl.trainer import PPOConfig, PPOTrainer
from policies.rl.vec_env import BatchedVecEnv

SCHEMA = 1


def save_checkpoint(path: Path, trainer: PPOTrainer) -> None:
    """Write atomically: a run that is cut off leaves the previous checkpoint whole. Raises `TrainingError`."""
    model = trainer.model
    tensors = learner_tensors(_networks(trainer), model.policy.optimizer)
    tensors |= {"generator": model.generator.get_state(), **{f"carry.{k}": v for k, v in model.carry().items()}}
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "config": asdict(trainer.config),
        "start_sha256": trainer.start_sha256,
        "done": trainer.done,
        "stale": trainer.stale,
        "steps": model.num_timesteps,
        "rollouts": model.rollouts,
        "flown_s": model.flown_s,
        "elapsed_s": trainer.elapsed_s,
        "best_score": trainer.best_score if math.isfinite(trainer.best_score) else None,
        "rng": trainer.rng.bit_generator.state,
    }
    if isinstance(trainer.env, BatchedVecEnv):
        tables, record["flights"] = trainer.env.snapshot()
        tensors |= {f"flights.{name}": torch.from_numpy(np.ascontiguousarray(v)) for name, v in tables.items()}
    write_checkpoint(path, tensors, record)


def load_checkpoint(
    path: Path, config: PPOConfig, backend: str = "compiled", threads: int = 1, start: Bundle | None = None
) -> PPOTrainer:
    """The trainer as it was. backend, threads, start: as of `PPOTrainer`; a start left out is taken as it was.

    Raises `TrainingError` for a damaged file, another configuration or another start.
    """
    tensors, record = read_checkpoint(path, SCHEMA, config)
    began = str(record.get("start_sha256", ""))
    if start is not None and start.metadata["sha256"] != began:
        raise TrainingError(
            f"{path} began with {f'the policy of sha256 {began[:12]}' if began else 'fresh weights'}, not with "
            f"{start.name!r}; resume without --init, or start again without --resume"
        )
    trainer = PPOTrainer(config, backend, threads)
    trainer.start_sha256 = began
    with restoring(path):
        _restore(trainer, record, tensors)
    return trainer


def _networks(trainer: PPOTrainer) -> dict[str, nn.Module]:
    own = {"averaged": trainer.averaged, "best": trainer.best, "anchor": trainer.anchor}
    return {"policy": trainer.model.policy, **own}


def _restore(trainer: PPOTrainer, record: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    model = trainer.model
    restore_learner(tensors, _networks(trainer), model.policy.optimizer)
    model.generator.set_state(tensors["generator"])
    trainer.rng.bit_generator.state = record["rng"]
    trainer.done, trainer.stale = int(record["done"]), int(record["stale"])
    model.num_timesteps, model.rollouts = int(record["steps"]), int(record["rollouts"])
    model.flown_s = float(record["flown_s"])
    trainer.elapsed_s = float(record["elapsed_s"])
    best = record["best_score"]
    trainer.best_score = math.inf if best is None else float(best)
    if isinstance(trainer.env, BatchedVecEnv):
        tables = _part(tensors, "flights.")
        seen = trainer.env.restore({name: value.numpy() for name, value in tables.items()}, record["flights"])
        model.take_up(seen, _part(tensors, "carry."))
        trainer.launches_anew = False


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
