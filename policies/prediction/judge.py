"""Figures of a prediction on test windows: clean, with noise, with samples lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor

from policies.prediction.fit import predictions, squared_error
from policies.prediction.models import Predictor
from policies.prediction.trivial import Predict
from policies.prediction.windows import Windows, noisy, thinned

NOISE_SEED: Final = 11
LOST_SEED: Final = 12


def judge(
    model: Predictor | Predict, test: Windows, deviation: Tensor, noise: Sequence[float], lost: Sequence[float]
) -> dict[str, Any]:
    """Mean squared errors, plain numbers.

    clean, normalised (each number's over its variance; those that never change left out), per_dimension; noise: by
    level in deviations; lost: by share, with the gap's length given, and withheld; bridged: by share, where the model's
    own predictions stand in for lost samples and every physical step is judged.
    """

    def predicted(given: Windows) -> Tensor:
        return predictions(model, given) if isinstance(model, Predictor) else model(given)

    def noised(level: float) -> Windows:
        return noisy(test, level * deviation, torch.Generator().manual_seed(NOISE_SEED))

    def lossy(share: float) -> Windows:
        return thinned(test, share, torch.Generator().manual_seed(LOST_SEED))

    clean = predicted(test)
    each = (clean - test.y).square().mean(dim=(0, 1))
    variance = test.y.flatten(0, 1).var(dim=0)
    varies = variance > 1e-10
    found: dict[str, Any] = {
        "clean": float(squared_error(clean, test)),
        "normalised": float((each[varies] / variance[varies]).mean()),
        "per_dimension": each.tolist(),
        "noise": {f"{level:g}": float(squared_error(predicted(noised(level)), test)) for level in noise},
        "given": {f"{share:g}": float(squared_error(predicted(lossy(share)), lossy(share))) for share in lost},
        "withheld": {
            f"{share:g}": float(squared_error(predicted(lossy(share).withheld()), lossy(share))) for share in lost
        },
    }
    if isinstance(model, Predictor):
        with torch.no_grad():
            found["bridged"] = {
                f"{share:g}": float((model.bridge(lossy(share)) - test.y).square().mean()) for share in lost
            }
    return found
