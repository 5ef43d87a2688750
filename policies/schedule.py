"""The course of a training run, whatever the method: learning rate, validations, checkpoints, when to stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

P = TypeVar("P")  # a row of the learning curve


class Trainer(Protocol[P]):
    """What `train` drives. done: updates so far; elapsed_s: seconds spent in them, over all sessions.

    stale: validations since the one with the best score.
    """

    done: int
    stale: int

    @property
    def updates(self) -> int:
        """Updates of a whole run."""
        ...

    @property
    def validate_every(self) -> int:
        """Updates between two validations."""
        ...

    def update(self, share: float) -> P:
        """One step at `share` (0 to 1) of the run."""
        ...

    def idle(self) -> P:
        """A row without an update, for a validation of its own."""
        ...

    def validate(self, progress: P) -> P:
        """The row with the closed-loop score of the present weights; keeps the best weights."""
        ...


def learning_rate_shape(share: float) -> float:
    """Warm-up over the first hundredth, then a cosine to 2 %."""
    warm = min(1.0, (share + 1e-3) / 0.01)
    return warm * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * min(1.0, share))))


def train(
    trainer: Trainer[P],
    on_progress: Callable[[P], None],
    on_checkpoint: Callable[[], None],
    budget_s: float | None = None,
    patience: int | None = None,
) -> None:
    """Run to the end of the configuration; a budget in seconds that is too short for it shrinks the schedule to fit.

    Validates and checkpoints every `validate_every` updates and at the end. patience: end as soon as so many
    validations in a row have brought no better score.
    """
    started, updates = time.perf_counter(), trainer.updates

    def share_done() -> float:
        counted = trainer.done / updates
        return counted if budget_s is None else max(counted, (time.perf_counter() - started) / budget_s)

    def patient() -> bool:
        return patience is None or trainer.stale < patience

    validated = -1
    while share_done() < 1.0 and trainer.done < updates and patient():
        progress = trainer.update(share_done())
        if trainer.done % trainer.validate_every == 0:
            progress, validated = trainer.validate(progress), trainer.done
            on_checkpoint()
        on_progress(progress)
    if validated != trainer.done:
        on_progress(trainer.validate(trainer.idle()))
        on_checkpoint()
