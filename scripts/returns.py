"""Returns in the hover task of gym-pybullet-drones, beside the returns from which it calls a policy learned."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from scripts.flying import Job, fly_one
from scripts.tables import number, rich_table, short_name


def return_one(job: Job, index: int) -> float:
    """Return of flight `index` in `HoverAviary`."""
    trace = fly_one(job, index)
    from envs.hover_aviary import hover_aviary_episode  # here, so that --help and errors need no simulator

    return hover_aviary_episode(trace).total


def return_figures(returns: Sequence[float]) -> dict[str, Any]:
    """Flat figures of a row. Learned: the share of flights at the threshold of four motors, and of one RPM for all."""
    from envs.hover_aviary import LEARNED_RETURN, LEARNED_RETURN_ONE_D

    return {
        "flights": len(returns),
        "return_mean": statistics.fmean(returns),
        "return_lowest": min(returns),
        "learned_rate": sum(total >= LEARNED_RETURN for total in returns) / len(returns),
        "learned_rate_one_d": sum(total >= LEARNED_RETURN_ONE_D for total in returns) / len(returns),
    }


def return_table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Policies with their returns."""
    header = ("policy", "flights", "mean return", "lowest", "at least 467", "at least 474")
    body = [
        [
            short_name(str(row["policy"])),
            str(row["flights"]),
            number(row["return_mean"], 1),
            number(row["return_lowest"], 1),
            f"{row['learned_rate']:.1%}",
            f"{row['learned_rate_one_d']:.1%}",
        ]
        for row in rows
    ]
    return rich_table(title, header, body)
