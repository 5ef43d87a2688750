"""What needs no training: without it nobody can tell what a figure of the benchmark is worth."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from torch import Tensor

from policies.prediction.models import scaling, seen
from policies.prediction.windows import Windows, held

Predict = Callable[[Windows], Tensor]

RIDGE: Final = 1e-3  # of the linear maps
FEATURE_RIDGE: Final = 1e-3  # of the random features, times the number of rows
FEATURES: Final = 600


def trivial(train: Windows, seed: int = 0) -> dict[str, Predict]:
    """Predictions (N, T, width) by name; linear and random-feature maps are fitted to the training windows.

    cut: what is seen is cut as that of the models is.
    """
    mean = train.x.mean(dim=(0, 1))
    return {
        "zero": lambda given: torch.zeros_like(given.x),
        "training mean": lambda given: mean.expand_as(given.x),
        "persistence": held,
        "linear AR(1)": _linear(train, 1),
        "linear AR(8)": _linear(train, 8),
        "random features": _random_features(train, seed, cut=False),
        "random features, cut": _random_features(train, seed, cut=True),
    }


def _history(given: Windows, steps: int) -> Tensor:
    """The newest `steps` samples of each step, (N, T, steps * width); before the window its first one."""
    x = held(given)
    return torch.cat([torch.cat([x[:, :1]] * k + [x[:, : x.shape[1] - k]], dim=1) for k in range(steps)], dim=2)


def _ridge(z: Tensor, y: Tensor, ridge: float = RIDGE) -> Tensor:
    """Weights of least squares with a constant, (features + 1, width), in double precision."""
    rows = torch.cat([z, torch.ones_like(z[..., :1])], dim=-1).flatten(0, 1).double()
    gram = rows.T @ rows + ridge * torch.eye(rows.shape[1], dtype=torch.float64)
    weights: Tensor = torch.linalg.solve(gram, rows.T @ y.flatten(0, 1).double())
    return weights


def _apply(z: Tensor, weights: Tensor) -> Tensor:
    rows = torch.cat([z, torch.ones_like(z[..., :1])], dim=-1).double()
    return (rows @ weights).float()


def _linear(train: Windows, steps: int) -> Predict:
    weights = _ridge(_history(train, steps), train.y)
    return lambda given: _apply(_history(given, steps), weights)


def _random_features(train: Windows, seed: int, cut: bool) -> Predict:
    given, rng = scaling(train), np.random.default_rng([seed, 7])
    width = train.x.shape[2]
    inner = torch.from_numpy((rng.normal(size=(width, FEATURES)) / np.sqrt(width)).astype(np.float32))
    shift = torch.from_numpy(rng.uniform(-1.0, 1.0, FEATURES).astype(np.float32))

    def features(windows: Windows) -> Tensor:
        x = held(windows)
        z = seen(x, given.mean, given.deviation) if cut else (x - given.mean) / given.deviation
        return torch.cat([torch.tanh(z @ inner + shift), z], dim=2)

    weights = _ridge(features(train), train.y, FEATURE_RIDGE * train.x.shape[0] * train.x.shape[1])
    return lambda windows: _apply(features(windows), weights)
