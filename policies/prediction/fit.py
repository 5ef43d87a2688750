"""Fits a model to windows by Adam and keeps the weights of its best epoch in validation."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from policies.prediction.models import Predictor, plain
from policies.prediction.windows import Windows, noisy, thinned
from policies.schedule import learning_rate_shape

CLIP_NORM: Final = 1.0
MOST_NOISE: Final = 0.5  # of augmentation, in deviations
MOST_LOST: Final = 0.9
CHUNK: Final = 512


@dataclass(frozen=True, slots=True)
class FitConfig:
    """augmented: windows of a training get noise up to `MOST_NOISE` and lose up to `MOST_LOST` of their samples."""

    epochs: int = 40
    batch: int = 32
    learning_rate: float = 3e-3
    seed: int = 0
    augmented: bool = False


@dataclass(frozen=True, slots=True)
class Fit:
    """valid: loss of the best epoch, in raw units; seconds: of one epoch, without validation."""

    valid: float
    epoch: int
    seconds: float


def squared_error(predicted: Tensor, given: Windows) -> Tensor:
    """Mean over all kept samples and numbers, in raw units."""
    error = (predicted - given.y).square().mean(dim=2)
    return (error * given.kept).sum() / given.kept.sum()


def predictions(model: Predictor, given: Windows) -> Tensor:
    """Of all windows, without a gradient."""
    with torch.no_grad():
        parts = [given.rows(index) for index in torch.arange(len(given)).split(CHUNK)]
        return torch.cat([model(part.x, part.gap, part.kept) for part in parts])


def fit(
    model: Predictor,
    train: Windows,
    valid: Windows,
    config: FitConfig,
    on_epoch: Callable[[int], None] = lambda n: None,
) -> Fit:
    """Train; the model ends with the weights of its best epoch. All random numbers follow from the seed."""
    generator = torch.Generator().manual_seed(config.seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    if config.augmented:
        valid = _augmented(valid, model, torch.Generator().manual_seed(1))
    best, best_epoch, kept, spent = math.inf, 0, plain(model), 0.0
    batches = math.ceil(len(train) / config.batch)
    for epoch in range(config.epochs):
        started = time.perf_counter()
        seen = _augmented(train, model, generator) if config.augmented else train
        for number, index in enumerate(torch.randperm(len(train), generator=generator).split(config.batch)):
            share = (epoch + number / batches) / config.epochs
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * learning_rate_shape(share)
            part = seen.rows(index)
            mask = None if bool(part.kept.all()) else part.kept
            optimizer.zero_grad()
            loss = squared_error(model(part.x, part.gap, mask), part)
            loss.backward()
            norm = float(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP_NORM))
            if math.isfinite(norm):
                optimizer.step()
        spent += time.perf_counter() - started
        found = float(squared_error(predictions(model, valid), valid))
        if found < best:
            best, best_epoch, kept = found, epoch, plain(model)
        on_epoch(epoch + 1)
    model.load_state_dict(kept)
    return Fit(best, best_epoch, spent / config.epochs)


def _augmented(given: Windows, model: Predictor, generator: torch.Generator) -> Windows:
    level = torch.rand((len(given), 1, 1), generator=generator) * MOST_NOISE
    lost = torch.rand((len(given), 1), generator=generator) * MOST_LOST
    return thinned(noisy(given, level * model.noise, generator), lost, generator)
