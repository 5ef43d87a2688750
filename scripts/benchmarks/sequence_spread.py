"""Figures of several seeds as means and standard deviations."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, Final

_BY_LEVEL: Final = ("noise", "given", "withheld", "bridged", "across", "across_untold")


def spread(judged: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and sd over seeds of each figure, and of the relative rises over each seed's own clean figure.

    rise_same: over its error on whole windows at the very steps that are judged where samples are lost.
    """

    def both(values: Sequence[float]) -> dict[str, float | None]:
        return {
            "mean": statistics.fmean(values),
            "sd": statistics.stdev(values) if len(values) > 1 else None,
        }

    def table(name: str) -> dict[str, Any]:
        return {key: both([one[name][key] for one in judged]) for key in judged[0].get(name, {})}

    def rises(name: str, same: bool = False) -> dict[str, Any]:
        return {
            key: both([one[name][key] / (one["whole"][key] if same else one["clean"]) - 1.0 for one in judged])
            for key in judged[0].get(name, {})
        }

    return {
        "clean": both([one["clean"] for one in judged]),
        "normalised": both([one["normalised"] for one in judged]),
        "per_dimension": [
            statistics.fmean(each) for each in zip(*(one["per_dimension"] for one in judged), strict=True)
        ],
        **{name: table(name) for name in _BY_LEVEL},
        "rise": rises("given"),
        "rise_same": rises("given", same=True),
        "rise_withheld": rises("withheld"),
    }
