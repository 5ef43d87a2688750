"""Closed-loop validation during training: three conditions inside the trained ones, one score for all methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from envs.avoid import sighted
from envs.conditions import Conditions
from envs.faults import Fault
from envs.scoring import FlightScore, summarise
from envs.track import placed
from policies.curriculum import SILENT, Curriculum

FAILED_FLIGHT_M_S: Final = 2.0  # a failed flight counts as this speed error in the validation score
FIRST_SEED: Final = 10_000  # of the flights; no training flight has it

VALIDATION: Final = (
    Conditions(imu_hz=(50.0, 50.0)),
    Conditions(imu_hz=(200.0, 200.0), flow_hz=(25.0, 25.0)),
    Conditions(imu_hz=(100.0, 100.0), flow_dropout=(0.3, 0.3), faults=(Fault("flow", 5.5, 6.5),)),
)


@dataclass(frozen=True, slots=True)
class Validation:
    """Means over the conditions. score: of a flight, capped; lower is better.

    That is speed error (m/s) and height error (m), of goals that are places distance (m) and height error.
    """

    success_rate: float
    speed_error_median_m_s: float
    height_error_median_m: float
    score: float


def validation(curriculum: Curriculum) -> tuple[Conditions, ...]:
    """`VALIDATION` with its IMU rates inside the trained ones, so that no other rate helps to choose the weights."""
    low, high = curriculum.imu_hz
    found = []
    for conditions in VALIDATION:
        hz = min(max(conditions.imu_hz[0], low), high)
        conditions = replace(conditions, imu_hz=(hz, hz))
        if curriculum.sees:
            blind = curriculum.grid_lost == SILENT
            conditions = sighted(replace(conditions, flow_dropout=(0.0, 0.0), faults=()))
            conditions = replace(conditions, grid_dropout=SILENT) if blind else conditions
        found.append(placed(conditions) if curriculum.locates else conditions)
    return tuple(found)


def validate(evaluate: Callable[[Conditions, int], list[FlightScore]], curriculum: Curriculum) -> Validation:
    """Score weights. evaluate: flies them under conditions, the flights drawn from a seed."""
    flown = [evaluate(conditions, FIRST_SEED + number) for number, conditions in enumerate(validation(curriculum))]
    capped = [
        min(s.place_error_m if s.places else s.speed_error_m_s, FAILED_FLIGHT_M_S)
        + min(s.height_error_m, FAILED_FLIGHT_M_S)
        for scores in flown
        for s in scores
    ]
    summaries = [summarise(scores) for scores in flown]

    def mean(key: str) -> float:
        return float(np.mean([FAILED_FLIGHT_M_S if s[key] is None else s[key] for s in summaries]))

    return Validation(
        mean("success_rate"), mean("speed_error_median_m_s"), mean("height_error_median_m"), float(np.mean(capped))
    )
