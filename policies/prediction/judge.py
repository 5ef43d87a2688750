"""Figures of a prediction on test windows: clean, with noise, with samples lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor

from policies.prediction.fit import predictions, squared_error
from policies.prediction.models import Predictor
from policies.prediction.trivial import Predict
from policies.prediction.windows import Windows, held, noisy, thinned

NOISE_SEED: Final = 11
LOST_SEED: Final = 12


def judge(
    model: Predictor | Predict, test: Windows, unit: Tensor, noise: Sequence[float], lost: Sequence[float]
) -> dict[str, Any]:
    """Mean squared errors, plain numbers. unit: (width,), of noise.

    clean, normalised (each number's over its variance; those that never change left out), per_dimension; noise: by
    level, in units. By share of lost samples: given, withheld: of the step after each kept sample, with the gap's
    length given, and withheld; whole: of those same steps where nothing is lost (a window's first step, of which
    little can be known, is always kept, and weighs the more the more is lost); bridged: of every step, where the
    model's own predictions stand in for lost samples; across, across_untold: of the next kept sample beyond the gap,
    where the gap's length is told beforehand (its own predictions lead to it), and where it is not (what was said to
    follow the newest kept sample stands).
    """

    def predicted(given: Windows) -> Tensor:
        return predictions(model, given) if isinstance(model, Predictor) else model(given)

    def noised(level: float) -> Windows:
        return noisy(test, level * unit, torch.Generator().manual_seed(NOISE_SEED))

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
        "whole": {f"{share:g}": float(squared_error(clean, lossy(share))) for share in lost},
    }
    if isinstance(model, Predictor):
        found |= {"bridged": {}, "across": {}, "across_untold": {}}
        for share in lost:
            given, key = lossy(share), f"{share:g}"
            with torch.no_grad():
                bridged = model.bridge(given)
            found["bridged"][key] = float((bridged - test.y).square().mean())
            found["across"][key] = across(bridged, given)
            found["across_untold"][key] = across(held(replace(given, x=predicted(given))), given)
    return found


def across(said: Tensor, given: Windows) -> float:
    """Error at samples that are kept. said: (N, T, width), what was expected after each step, kept or lost."""
    error = (said - given.y).square().mean(dim=2)[:, :-1]
    arrives = given.kept[:, 1:]
    return float((error * arrives).sum() / arrives.sum())
