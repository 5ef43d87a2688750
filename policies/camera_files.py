"""Files of a tuning to a camera: its checkpoint, flights included, and the policy file that flies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from liquid_pilot.bundle import Bundle, make_bundle, save_bundle
from policies.camera_flights import SeenGrids, joined
from policies.camera_tuning import CameraConfig, CameraTrainer
from policies.checkpoint_file import learner_tensors, read_checkpoint, restore_learner, restoring, write_checkpoint
from policies.export import record_selftest, record_sight

SCHEMA = 1
_KEPT = ("camera", "true", "speed_m_s", "length")


def save_checkpoint(path: Path, trainer: CameraTrainer) -> None:
    """Write atomically: a run that is cut off leaves the previous checkpoint whole. Raises `TrainingError`."""
    tensors = learner_tensors(_networks(trainer), trainer.optimizer)
    tensors |= _grid_tensors("recorded", trainer.recorded) | _grid_tensors("held_out", trainer.held_out)
    record = {
        "schema": SCHEMA,
        "config": asdict(trainer.config),
        "round": trainer.round,
        "done": trainer.done,
        "stale": trainer.stale,
        "elapsed_s": trainer.elapsed_s,
        "best_score": trainer.best_score if math.isfinite(trainer.best_score) else None,
        "rng": trainer.rng.bit_generator.state,
    }
    write_checkpoint(path, tensors, record)


def load_checkpoint(path: Path, config: CameraConfig, start: Bundle) -> CameraTrainer:
    """The trainer as it was. Raises `TrainingError` for a damaged file or another configuration, start among it."""
    tensors, record = read_checkpoint(path, SCHEMA, config)
    trainer = CameraTrainer(config, start)
    with restoring(path):
        restore_learner(tensors, _networks(trainer), trainer.optimizer)
        trainer.recorded, trainer.held_out = (_grids(tensors, name) for name in ("recorded", "held_out"))
        trainer.round, trainer.done, trainer.stale = (int(record[name]) for name in ("round", "done", "stale"))
        trainer.elapsed_s = float(record["elapsed_s"])
        best = record["best_score"]
        trainer.best_score = math.inf if best is None else float(best)
        trainer.rng.bit_generator.state = record["rng"]
    return trainer


def _networks(trainer: CameraTrainer) -> dict[str, torch.nn.Module]:
    return {"network": trainer.network, "flown": trainer.flown, "best": trainer.best}


def _grid_tensors(name: str, flights: Sequence[SeenGrids]) -> dict[str, Tensor]:
    if not flights:
        return {}
    grids = joined(flights)
    return {f"{name}.{part}": torch.from_numpy(getattr(grids, part)) for part in _KEPT}


def _grids(tensors: Mapping[str, Tensor], name: str) -> list[SeenGrids]:
    """Flight by flight."""
    if f"{name}.length" not in tensors:
        return []
    camera, true, speed, length = (tensors[f"{name}.{part}"].numpy() for part in _KEPT)
    ends = np.cumsum(length)
    return [
        SeenGrids(camera[end - n : end], true[end - n : end], speed[end - n : end], np.array([n]))
        for end, n in zip(ends, length, strict=True)
    ]


def export_policy(trainer: CameraTrainer, path: Path, name: str, commit: str, command: str = "") -> Path:
    """Write the start with the best encoder as a policy file: what it says of rates and limits is the start's.

    command: that tuned it, "" where none is told. Raises `BundleError` if its self-test fails.
    """
    config, start, network = trainer.config, trainer.start, trainer.best
    meta, selftest = start.metadata, record_selftest(network, trainer.airframe, config.seed)
    training = {
        "config": asdict(config),
        "seed": config.seed,
        "commit": commit,
        **({"command": command} if command else {}),
        "minutes": round(trainer.elapsed_s / 60.0, 2),
        "method": config.method,
        "updates": trainer.done,
        "rounds": trainer.round + 1,
        "flights": len(trainer.recorded),
        "grids": sum(len(part) for part in trainer.recorded),
        "validation_score": None if math.isinf(trainer.best_score) else round(trainer.best_score, 5),
        "start_sha256": config.start_sha256,
    }
    bundle = make_bundle(
        name,
        start.task,
        network.spec,
        network.weights(),
        start.limits,
        record_sight(network, selftest, config.seed),
        trained_rates_hz=meta["trained_rates_hz"],
        sensor_limits_s=meta["sensor_limits_s"],
        setpoint_limits=meta["setpoint_limits"],
        airframe=trainer.airframe.name,
        training=training,
    )
    return save_bundle(path, bundle)
