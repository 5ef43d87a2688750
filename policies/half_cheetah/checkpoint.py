"""Checkpoints of HalfCheetah's trainers, without pickle. A resumed run continues to the same numbers.

Imitation keeps each round's episodes in a file of their own, as they are recorded once.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from stable_baselines3.common.running_mean_std import RunningMeanStd
from torch import Tensor

from liquid_pilot.bundle import Bundle
from liquid_pilot.errors import TrainingError
from policies.checkpoint_file import learner_tensors, read_checkpoint, restore_learner, restoring, write_checkpoint
from policies.half_cheetah.ppo import CheetahPPOConfig, CheetahPPOTrainer
from policies.half_cheetah.teacher import CheetahTeacher
from policies.half_cheetah.teaching import TeacherTrainer, TeachingConfig
from policies.half_cheetah.trainer import CheetahConfig, CheetahTrainer
from policies.imitation.demonstrations import Demonstrations

Trainer: TypeAlias = "CheetahTrainer | TeacherTrainer | CheetahPPOTrainer"
SCHEMA = 1
_MOMENTS = ("mean", "var", "count")
_PARTS = ("observation", "action", "dt_s", "held", "length")


def save_imitation(path: Path, trainer: CheetahTrainer) -> None:
    """Write the run's state, and the rounds that are not there yet. Raises `TrainingError`."""
    digests = []
    for number, episodes in enumerate(trainer.rounds):
        file = _round_file(path.parent, number)
        if number >= trainer.saved_rounds:
            _save_round(file, episodes)
        digests.append(_digest(episodes))
    trainer.saved_rounds = len(trainer.rounds)
    record = _course(trainer) | {"config": asdict(trainer.config), "start_sha256": trainer.start_sha256}
    record |= {"rounds": digests, "rng": trainer.rng.bit_generator.state}
    write_checkpoint(path, learner_tensors(_networks(trainer), trainer.optimizer), record)


def load_imitation(
    path: Path, config: CheetahConfig, teacher: CheetahTeacher, start: Bundle | None = None
) -> CheetahTrainer:
    """The trainer as it was; a start left out is taken as it was.

    Raises `TrainingError` for a damaged file, another configuration or start, rounds that are missing or others.
    """
    tensors, record = read_checkpoint(path, SCHEMA, config)
    began = _check_start(path, record, start)
    trainer = CheetahTrainer(config, teacher)
    with restoring(path):
        restore_learner(tensors, _networks(trainer), trainer.optimizer)
        trainer.start_sha256 = began
        trainer.rounds = [_load_round(_round_file(path.parent, n), want) for n, want in enumerate(record["rounds"])]
        trainer.saved_rounds = len(trainer.rounds)
        trainer.rng.bit_generator.state = record["rng"]
        _take_up(trainer, record)
    return trainer


def save_teaching(path: Path, trainer: TeacherTrainer) -> None:
    """Write the run's state. Raises `TrainingError`."""
    policy = trainer.model.policy
    networks: dict[str, torch.nn.Module] = {"policy": policy, "best": trainer.best}
    record = _course(trainer) | {"config": asdict(trainer.config), "steps": trainer.model.num_timesteps}
    tensors = learner_tensors(networks, policy.optimizer)
    for name, seen in _statistics(trainer).items():
        tensors |= {f"{name}.{part}": torch.tensor(getattr(seen, part), dtype=torch.float64) for part in _MOMENTS}
    write_checkpoint(path, tensors, record)


def load_teaching(path: Path, config: TeachingConfig) -> TeacherTrainer:
    """The trainer as it was. Raises `TrainingError` for a damaged file or another configuration."""
    tensors, record = read_checkpoint(path, SCHEMA, config)
    trainer = TeacherTrainer(config)
    with restoring(path):
        policy = trainer.model.policy
        restore_learner(tensors, {"policy": policy, "best": trainer.best}, policy.optimizer)
        for name, seen in _statistics(trainer).items():
            for part in _MOMENTS:
                setattr(seen, part, tensors[f"{name}.{part}"].numpy())
        trainer.model.num_timesteps = int(record["steps"])
        _take_up(trainer, record)
    return trainer


def _statistics(trainer: TeacherTrainer) -> dict[str, RunningMeanStd]:
    """By which observations and returns are scaled."""
    seen: Any = trainer.env.obs_rms  # of one box, not a dictionary of them
    return {"observations": seen, "returns": trainer.env.ret_rms}


def save_ppo(path: Path, trainer: CheetahPPOTrainer) -> None:
    """Write the run's state. Raises `TrainingError`."""
    model = trainer.model
    record = _course(trainer) | {"config": asdict(trainer.config), "start_sha256": trainer.start_sha256}
    record |= {"steps": model.num_timesteps, "rollouts": model.rollouts}
    write_checkpoint(path, learner_tensors(_ppo_networks(trainer), model.policy.optimizer), record)


def load_ppo(path: Path, config: CheetahPPOConfig, start: Bundle | None = None) -> CheetahPPOTrainer:
    """The trainer as it was; a start left out is taken as it was. Raises as `load_imitation`."""
    tensors, record = read_checkpoint(path, SCHEMA, config)
    began = _check_start(path, record, start)
    trainer = CheetahPPOTrainer(config)
    with restoring(path):
        restore_learner(tensors, _ppo_networks(trainer), trainer.model.policy.optimizer)
        trainer.start_sha256 = began
        trainer.model.num_timesteps, trainer.model.rollouts = int(record["steps"]), int(record["rollouts"])
        _take_up(trainer, record)
    return trainer


def _ppo_networks(trainer: CheetahPPOTrainer) -> dict[str, torch.nn.Module]:
    return {"policy": trainer.model.policy, "averaged": trainer.averaged, "best": trainer.best}


def _check_start(path: Path, record: dict[str, Any], start: Bundle | None) -> str:
    """The sha256 of the policy that the run began with, which a start that is given must have."""
    began = str(record.get("start_sha256", ""))
    if start is not None and start.metadata["sha256"] != began:
        raise TrainingError(
            f"{path} began with {f'the policy of sha256 {began[:12]}' if began else 'fresh weights'}, not with "
            f"{start.name!r}; resume without --init, or start again without --resume"
        )
    return began


def _networks(trainer: CheetahTrainer) -> dict[str, torch.nn.Module]:
    return {"network": trainer.network, "averaged": trainer.averaged, "best": trainer.best}


def _course(trainer: Trainer) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "done": trainer.done,
        "stale": trainer.stale,
        "elapsed_s": trainer.elapsed_s,
        "best_score": trainer.best_score if math.isfinite(trainer.best_score) else None,
    }


def _take_up(trainer: Trainer, record: dict[str, Any]) -> None:
    trainer.done, trainer.stale = int(record["done"]), int(record["stale"])
    trainer.elapsed_s = float(record["elapsed_s"])
    best = record["best_score"]
    trainer.best_score = math.inf if best is None else float(best)


def _round_file(folder: Path, number: int) -> Path:
    return folder / "episodes" / f"round-{number:03d}.safetensors"


def _tensors(episodes: Demonstrations) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.ascontiguousarray(getattr(episodes, name))) for name in _PARTS}


def _digest(episodes: Demonstrations) -> str:
    hasher = hashlib.sha256()
    for name in _PARTS:
        hasher.update(np.ascontiguousarray(getattr(episodes, name)).tobytes())
    return hasher.hexdigest()


def _save_round(file: Path, episodes: Demonstrations) -> None:
    partial = file.with_suffix(".partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(_tensors(episodes), partial)
        partial.replace(file)
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"{file} cannot be written ({error}); make room, then continue with --resume") from error
    finally:
        partial.unlink(missing_ok=True)


def _load_round(file: Path, digest: str) -> Demonstrations:
    try:
        found = load_file(file)
        episodes = Demonstrations(*(found[name].numpy() for name in _PARTS))
    except (OSError, SafetensorError, KeyError) as error:
        raise TrainingError(f"{file} is not a whole round ({error}); start again without --resume") from error
    if _digest(episodes) != digest:
        raise TrainingError(f"{file} is not the round that was recorded; start again without --resume")
    return episodes
