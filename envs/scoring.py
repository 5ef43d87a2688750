"""When a flight counts as flown, and how well. Pure functions of traces; failures are counted, never left out."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from envs.trace import Array, FlightTrace
from liquid_pilot.errors import SimulationError

FLOOR_M: Final = 0.1  # nearer to the ground after release is a crash
CEILING_M: Final = 3.5
TILT_LIMIT_DEG: Final = 20.0
TILT_AFTER_S: Final = 3.0  # time after release in which any tilt is allowed
TOUCHDOWN_LIMIT_M_S: Final = 0.5  # of a landing
ROUGH_LIMIT_M_S: Final = 1.5  # of one that the supervisor has to make without its sensors
STANDING_MARGIN_M: Final = 0.04  # a drone this near to where it rests stands
TRANSIENT_S: Final = 1.5  # of a step of the velocity, left out where errors after transients are asked for
MEASURE_AFTER_S: Final = 5.0  # errors count from here after release


@dataclass(frozen=True, slots=True)
class Rule:
    """What the batched engines judge a flight by, beside the bounds.

    Tilt must stay below tilt_limit_deg from tilt_after_s after the release on. A flight's speed error is its mean over
    time or, with `rms`, the root of the mean square, and more than speed_limit_m_s of it fails. places: the goal is a
    place; the root mean square distance from it is scored too, and more than place_limit_m of it fails. lands: it
    must end standing on the floor, and touch it no faster than TOUCHDOWN_LIMIT_M_S. crosses_m: so far it must come
    along x in its time, touching nothing on the way; 0 = there is nothing to cross.
    """

    tilt_limit_deg: float = TILT_LIMIT_DEG
    tilt_after_s: float = TILT_AFTER_S
    rms: bool = False
    speed_limit_m_s: float = math.inf
    places: bool = False
    place_limit_m: float = math.inf
    lands: bool = False
    crosses_m: float = 0.0


HOVER_RULE: Final = Rule()


Summary: TypeAlias = dict[str, Any]  # flat and ready for JSON; see `summarise`


@dataclass(frozen=True, slots=True)
class FlightScore:
    """One flight. reason: why it failed, empty for a success; a failed flight's errors are infinite.

    place_error_m: root mean square distance from the goal, where that is a place, else NaN.
    touchdown_m_s: speed of its fastest touchdown where touchdowns are looked at, however it ended; 0 without one.
    crossing_m_s: mean speed of a crossing, where there is something to cross; NaN of one that failed.
    """

    success: bool
    reason: str
    speed_error_m_s: float
    height_error_m: float
    place_error_m: float = math.nan
    touchdown_m_s: float = 0.0
    crossing_m_s: float = math.nan

    @property
    def places(self) -> bool:
        """Whether the goal was a place."""
        return not math.isnan(self.place_error_m)


def out_of_bounds(lowest_m: float, highest_m: float) -> str | None:
    """Why heights since the release end a flight, or None. NaN is out of bounds."""
    if not lowest_m >= FLOOR_M:
        return "ground"
    if not highest_m <= CEILING_M:
        return "ceiling"
    return None


def score_hover(trace: FlightTrace, duration_s: float = 15.0) -> FlightScore:
    """Hover: within bounds, tilt under 20 degrees from 3 s after release on, up at the end.

    duration_s counts from the release. Tilt is judged at the IMU events.
    """
    reason = _failure(trace, duration_s)
    if reason is not None:
        return FlightScore(False, reason, math.inf, math.inf)
    return FlightScore(
        True,
        "",
        _time_mean(trace, trace.speed_error_m_s, duration_s),
        _time_mean(trace, trace.height_error_m, duration_s),
    )


def score_task(trace: FlightTrace, duration_s: float) -> FlightScore:
    """A flight under a task, which has judged it. The speed error is the root of the mean square over the time."""
    places = trace.target_m is not None
    if trace.outcome != "success":
        return FlightScore(
            False, trace.outcome, math.inf, math.inf, math.inf if places else math.nan, trace.touchdown_m_s
        )
    speed_m_s = math.sqrt(_time_mean(trace, trace.speed_error_m_s**2, duration_s))
    off_m = math.sqrt(_time_mean(trace, trace.place_error_m**2, duration_s)) if places else math.nan
    height_m = _time_mean(trace, trace.height_error_m, duration_s)
    crossing_m_s = trace.crosses_m / float(trace.t_s[-1] - trace.release_s) if trace.crosses_m else math.nan
    return FlightScore(True, "", speed_m_s, height_m, off_m, trace.touchdown_m_s, crossing_m_s)


def landed_safely(trace: FlightTrace, rest_height_m: float, limit_m_s: float = ROUGH_LIMIT_M_S) -> bool:
    """Whether a flight ended on the ground, upright and at rest, and came down no faster than the limit.

    rest_height_m: of the airframe. The speed is that of the last IMU event before the first touch; every later touch
    must be as soft.
    """
    height, tilt, speed = trace.position_m[:, 2], trace.tilt_rad, np.linalg.norm(trace.velocity_m_s, axis=1)
    flown = trace.t_s > trace.release_s
    down = (height < rest_height_m + STANDING_MARGIN_M) & flown
    touches = np.flatnonzero(down[1:] & ~down[:-1])  # the event before each
    at_rest = bool(down[-1]) and speed[-1] < 0.1 and tilt[-1] < math.radians(TILT_LIMIT_DEG)
    return bool(at_rest and len(touches) and speed[touches].max() <= limit_m_s)


def _time_mean(trace: FlightTrace, error: Array, duration_s: float) -> float:
    """Mean over time, not over events, from MEASURE_AFTER_S (half of a shorter flight) after release on."""
    weight = np.diff(trace.t_s, prepend=trace.t_s[0])
    if trace.settled is not None:
        weight = weight * trace.settled
    weight = weight * (trace.t_s >= trace.release_s + min(MEASURE_AFTER_S, duration_s / 2.0))
    return float(np.sum(error * weight) / max(np.sum(weight), 1e-9))  # a crossing may be over before errors count


def _failure(trace: FlightTrace, duration_s: float) -> str | None:
    if not math.isfinite(trace.release_s):
        return "never released"
    if not (np.isfinite(trace.position_m).all() and np.isfinite(trace.velocity_m_s).all()):
        return "not finite"
    bounds = out_of_bounds(trace.lowest_m, trace.highest_m)
    if bounds is not None:
        return bounds
    late = trace.t_s >= trace.release_s + TILT_AFTER_S
    if bool((trace.tilt_rad[late] >= math.radians(TILT_LIMIT_DEG)).any()):
        return "tilt"
    if trace.t_s[-1] < trace.release_s + duration_s - 1e-6:
        return "ended early"
    return None


def summarise(scores: Sequence[FlightScore]) -> Summary:
    """Success rate, errors over flights (failed ones infinite) and, in `reasons`, why how many failed.

    Keys: success_rate, flights, failures, speed_error_median_m_s, speed_error_p90_m_s,
    height_error_median_m, reasons; of goals that are places also place_error_median_m and place_error_p90_m.
    An error that is infinite, because too many flights failed, is None. The 90th percentile is the smallest error that
    at least 90 % of the flights do not exceed. Where flights have touched the floor, touchdown_median_m_s and
    touchdown_p90_m_s are over these, failed ones with their speed. Where something was crossed,
    crossing_mean_m_s is over the flights that did.
    Raises `SimulationError` without flights.
    """
    if not scores:
        raise SimulationError("there are no flights to summarise; fly at least one")
    speed = sorted(score.speed_error_m_s for score in scores)
    failures = sum(not score.success for score in scores)
    off = sorted(score.place_error_m for score in scores) if scores[0].places else []
    touched = sorted(score.touchdown_m_s for score in scores if score.touchdown_m_s > 0.0)
    crossed = [score.crossing_m_s for score in scores if not math.isnan(score.crossing_m_s)]
    return {
        "success_rate": (len(scores) - failures) / len(scores),
        "flights": len(scores),
        "failures": failures,
        "speed_error_median_m_s": _finite(statistics.median(speed)),
        "speed_error_p90_m_s": _finite(_p90(speed)),
        "height_error_median_m": _finite(statistics.median(score.height_error_m for score in scores)),
        **({"place_error_median_m": _finite(statistics.median(off))} if off else {}),
        **({"place_error_p90_m": _finite(_p90(off))} if off else {}),
        **({"touchdown_median_m_s": statistics.median(touched)} if touched else {}),
        **({"touchdown_p90_m_s": _p90(touched)} if touched else {}),
        **({"crossing_mean_m_s": statistics.fmean(crossed)} if crossed else {}),
        "reasons": dict(sorted(Counter(score.reason for score in scores if not score.success).items())),
    }


def _p90(rising: Sequence[float]) -> float:
    return rising[math.ceil(0.9 * len(rising)) - 1]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
