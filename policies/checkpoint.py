"""Checkpoints of a training run: everything that decides the next update, without pickle.

One safetensors file: network, running average, best weights, optimiser, random generators, and the drones in
flight. A resumed run continues to the same numbers as one that was never stopped.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from envs.batched_quad import BatchedQuad
from envs.batched_state import from_dict, to_dict
from envs.flights import draw_flights
from liquid_pilot.errors import TrainingError
from policies.analytic import AnalyticTrainer, TrainConfig
from policies.curriculum import lesson
from policies.torch_backend import TorchCarry

SCHEMA = 1


def save_checkpoint(path: Path, trainer: AnalyticTrainer) -> None:
    """Write atomically: a run that is cut off leaves the previous checkpoint whole."""
    tensors: dict[str, Tensor] = {}
    for name, network in _networks(trainer).items():
        tensors |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
    for index, parameter in enumerate(trainer.network.parameters()):
        for key, value in trainer.optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{index}.{key}"] = value
    tensors["generator"] = trainer.generator.get_state()
    if trainer.carry is not None:
        tensors |= to_dict(trainer.carry.world, "world")
        tensors |= {"carry.h": trainer.carry.h, "carry.action": trainer.carry.action}
    record = {
        "schema": SCHEMA,
        "config": asdict(trainer.config),
        "done": trainer.done,
        "elapsed_s": trainer.elapsed_s,
        "best_score": trainer.best_score if math.isfinite(trainer.best_score) else None,
        "rng": trainer.rng.bit_generator.state,
    }
    partial = path.with_suffix(".partial")
    save_file({k: v.clone().contiguous() for k, v in tensors.items()}, partial, {"run": json.dumps(record)})
    os.replace(partial, path)


def load_checkpoint(path: Path, config: TrainConfig, backend: str = "torch", threads: int = 1) -> AnalyticTrainer:
    """The trainer as it was. backend, threads: as of `AnalyticTrainer`.

    Raises `TrainingError` for a damaged file or another configuration.
    """
    try:
        with safe_open(path, framework="pt") as file:
            record = json.loads((file.metadata() or {})["run"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # not a mapping
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise TrainingError(f"{path} is not a readable checkpoint ({error}); start again without --resume") from error
    found, wanted = record.get("config"), json.loads(json.dumps(asdict(config)))
    if record.get("schema") != SCHEMA or found != wanted:
        differing = sorted(k for k in wanted if (found or {}).get(k) != wanted[k])
        raise TrainingError(
            f"{path} was made with another configuration (schema {record.get('schema')}, differing: {differing}); "
            "resume with the same options, or start again without --resume"
        )
    trainer = AnalyticTrainer(config, backend, threads)
    try:
        _restore(trainer, record, tensors)
    except (KeyError, RuntimeError, ValueError) as error:
        raise TrainingError(f"{path} lacks a part ({error}); start again without --resume") from error
    return trainer


def _networks(trainer: AnalyticTrainer) -> dict[str, torch.nn.Module]:
    return {"network": trainer.network, "averaged": trainer.averaged, "best": trainer.best}


def _restore(trainer: AnalyticTrainer, record: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    for name, network in _networks(trainer).items():
        network.load_state_dict({key: tensors[f"{name}.{key}"] for key in network.state_dict()})
    for index, parameter in enumerate(trainer.network.parameters()):
        keys = ("step", "exp_avg", "exp_avg_sq")
        if f"optimizer.{index}.step" in tensors:
            trainer.optimizer.state[parameter] = {key: tensors[f"optimizer.{index}.{key}"] for key in keys}
    if "carry.h" in tensors:
        spare = lesson(trainer.config.curriculum, 0.0, trainer.rng)  # any flight has the shape of the saved ones
        world = BatchedQuad(trainer.airframe, spare.conditions, trainer.generator)
        flights = draw_flights(trainer.airframe, spare.conditions, trainer.config.batch, trainer.rng)
        state = from_dict(world.reset(flights), tensors, "world")
        trainer.carry = TorchCarry(state, tensors["carry.h"], tensors["carry.action"])
    trainer.generator.set_state(tensors["generator"])
    trainer.rng.bit_generator.state = record["rng"]
    trainer.done, trainer.elapsed_s = int(record["done"]), float(record["elapsed_s"])
    best = record["best_score"]
    trainer.best_score = math.inf if best is None else float(best)
