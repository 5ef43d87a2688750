"""What the batched engines note of every flight while it is flown, and the score that comes of it."""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from envs.scoring import HOVER_RULE, TOUCHDOWN_LIMIT_M_S, FlightScore, Rule, out_of_bounds

Ledger: TypeAlias = npt.NDArray[np.float64]
STANDS_WITHIN_M: Final = 0.01  # of where a drone rests

# Of a flight from its release to its end: heights, the lowest where it should be aloft; whether it leant, whether it
# left the finite numbers (also in the hand); errors and time, summed over the time in which errors count; speed of the
# fastest touchdown, that of the event before it; newest height over a standing drone's, and newest speed; of a forest
# the least clearance until it was crossed, and when that was, 0 if not.
LEDGER: Final = (
    "lowest_m",
    "highest_m",
    "tilted",
    "speed_error",
    "height_error",
    "weight",
    "not_finite",
    "speed_square",
    "place_square",
    "touchdown_m_s",
    "clearance_m",
    "speed_m_s",
    "closest_m",
    "crossed_s",
)


def new_ledger(batch: int) -> Ledger:
    """Notes of flights that have not begun, (len(LEDGER), B)."""
    ledger = np.zeros((len(LEDGER), batch))
    ledger[0] = ledger[LEDGER.index("closest_m")] = np.inf
    return ledger


def flight_scores(ledger: Ledger, rule: Rule = HOVER_RULE) -> list[FlightScore]:
    """The score of each flight. ledger: (len(LEDGER), B), of flights that are over and were noted by this rule."""
    return [_score(dict(zip(LEDGER, flight, strict=True)), rule) for flight in ledger.T.tolist()]


def _score(flight: dict[str, Any], rule: Rule) -> FlightScore:
    reason = "not finite" if flight["not_finite"] else out_of_bounds(flight["lowest_m"], flight["highest_m"])
    reason = "touched" if rule.crosses_m and flight["closest_m"] <= 0.0 else reason
    reason = reason or ("tilt" if flight["tilted"] else "")
    reason = reason or ("not crossed" if rule.crosses_m and not flight["crossed_s"] else "")
    touchdown = flight["touchdown_m_s"] if rule.lands else 0.0
    if rule.lands and not reason:
        reason = "hard landing" if touchdown > TOUCHDOWN_LIMIT_M_S else ""
        reason = reason or ("" if flight["clearance_m"] <= STANDS_WITHIN_M else "not landed")
    weight = max(flight["weight"], 1e-9)
    speed = math.sqrt(flight["speed_square"] / weight) if rule.rms else flight["speed_error"] / weight
    reason = reason or ("" if speed <= rule.speed_limit_m_s else "speed error")
    off = math.sqrt(flight["place_square"] / weight) if rule.places else math.nan
    reason = reason or ("place error" if off > rule.place_limit_m else "")
    if reason:
        return FlightScore(False, reason, math.inf, math.inf, math.inf if rule.places else math.nan, touchdown)
    crossing = rule.crosses_m / flight["crossed_s"] if rule.crosses_m else math.nan
    return FlightScore(True, "", speed, flight["height_error"] / weight, off, touchdown, crossing)
