"""From an imitation run to the policy file that flies."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path

from policies.export import export_network
from policies.imitation.trainer import ImitationTrainer


def export_policy(trainer: ImitationTrainer, path: Path, name: str, commit: str, command: str = "") -> Path:
    """Write the best weights of a run as a policy file. command: that trained it, "" where none is told.

    Raises `BundleError` if its self-test fails.
    """
    config = trainer.config
    training = {
        "config": asdict(config),
        "seed": config.seed,
        "commit": commit,
        **({"command": command} if command else {}),
        "minutes": round(trainer.elapsed_s / 60.0, 2),
        "updates": trainer.done,
        "flights": sum(trainer.school.count(part)[0] for part in trainer.rounds),
        "validation_score": None if math.isinf(trainer.best_score) else round(trainer.best_score, 5),
        **({"start_sha256": trainer.start_sha256} if trainer.start_sha256 else {}),
    }
    return export_network(
        path, name, config.task, trainer.best, trainer.airframe, config.curriculum, config.seed, training
    )
