"""The task Track (`liquid_pilot/Track-v0`): recover from a throw, then follow a velocity that changes.

The path begins to move at the release. Success: within bounds to the end, and root mean square horizontal speed error
of at most 0.5 m/s, from 5 s after the release on (half of a shorter flight), by time and not by event. A step
of the velocity takes 1 s; its first transient_s may be left out, to measure how well is followed once it is over.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np

from envs.batched_env import BatchedQuadEnv
from envs.conditions import Conditions, Span
from envs.flights import Array, Flights
from envs.physics import Body
from envs.quad_env import QuadEnv
from envs.references import LEG_ROWS, PATH_ROWS, RAMP_S, Path, legs_of, path_of, path_rows, still
from envs.scoring import MEASURE_AFTER_S, Rule
from envs.task import (
    TUMBLE_COS,
    Course,
    Goal,
    Memory,
    Moment,
    Task,
    crashed,
    exceeds,
    following_reward_per_s,
    from_hand,
    path_goal,
    with_own,
)
from liquid_pilot.errors import ConfigError, unknown_name
from liquid_pilot.ops import Ops

SPEED_RMSE_LIMIT_M_S: Final = 0.5
TRACK_RULE: Final = Rule(
    tilt_limit_deg=math.degrees(math.acos(TUMBLE_COS)), tilt_after_s=0.0, rms=True, speed_limit_m_s=SPEED_RMSE_LIMIT_M_S
)
PLACE_RMSE_LIMIT_M: Final = 0.5
PLACE_RULE: Final = replace(TRACK_RULE, speed_limit_m_s=math.inf, places=True, place_limit_m=PLACE_RMSE_LIMIT_M)
PLACE_HZ: Final = (20.0, 50.0)  # of the position sensor
PLACE_LOST: Final = (0.2, 0.2)  # share of its samples
STEP_S: Final = 3.0  # between the steps of a velocity
STEP_RAMP_S: Final = 1.0
FASTEST_M_S: Final = 3.0
LEAST_LEGS: Final = 7  # that a course has room for, so that flights of up to 21 s have equal ones

Draw: TypeAlias = Callable[[np.random.Generator, Array, Array, float], Path[Any]]  # rng, height, speed, duration


def _steps(rng: np.random.Generator, height_m: Array, speed_m_s: Array, duration_s: float) -> Path[Any]:
    """Another direction every STEP_S, taken within a second."""
    legs, zero = [], np.zeros_like(height_m)
    for begin_s in STEP_S * np.arange(_legs(duration_s)):
        x, y = _directions(rng, len(height_m))
        legs.append((zero + begin_s, (speed_m_s * x, speed_m_s * y, zero)))
    return still((zero, zero, height_m), legs_of(legs), STEP_RAMP_S)


def _sinusoid(rng: np.random.Generator, height_m: Array, speed_m_s: Array, duration_s: float) -> Path[Any]:
    """To and fro in one direction, within 4 to 8 s."""
    x, y = _directions(rng, len(height_m))
    w, zero = 2.0 * math.pi / rng.uniform(4.0, 8.0, len(height_m)), np.zeros_like(height_m)
    ax, ay, back = speed_m_s * x / w, speed_m_s * y / w, zero - math.pi / 2.0  # it starts at the lowest point of a sine
    return Path((ax, ay, height_m), (ax, ay, zero), (w, w, w), (back, back, back), zero + RAMP_S)


def _figure_eight(rng: np.random.Generator, height_m: Array, speed_m_s: Array, duration_s: float) -> Path[Any]:
    """The eight of 1.0 x 0.5 m, fastest where it crosses itself."""
    w, zero = speed_m_s / math.sqrt(2.0), np.zeros_like(height_m)
    return Path(
        (zero, zero, height_m), (zero + 1.0, zero + 0.5, zero), (w, 2.0 * w, w), (zero, zero, zero), zero + RAMP_S
    )


def _lissajous(rng: np.random.Generator, height_m: Array, speed_m_s: Array, duration_s: float) -> Path[Any]:
    """Frequencies as 2 to 3 across, and up and down by 0.2 m; never faster than the speed."""
    amplitude, ratio, zero = (1.0, 1.0, 0.2), (2.0, 3.0, 1.0), np.zeros_like(height_m)
    w = speed_m_s / math.hypot(*(a * r for a, r in zip(amplitude, ratio, strict=True)))
    a, b, c = (zero + size for size in amplitude)
    rates = (w * ratio[0], w * ratio[1], w * ratio[2])
    start = rng.uniform(0.0, 2.0 * math.pi, len(height_m))
    return Path((zero, zero, height_m), (a, b, c), rates, (start, zero, zero), zero + RAMP_S)


REFERENCES: Final[dict[str, Draw]] = {
    "steps": _steps,
    "sinusoid": _sinusoid,
    "figure_eight": _figure_eight,
    "lissajous": _lissajous,
}


def _legs(duration_s: float) -> int:
    return max(1, math.ceil(duration_s / STEP_S))


def _directions(rng: np.random.Generator, n: int) -> tuple[Array, Array]:
    angle = rng.uniform(0.0, 2.0 * math.pi, n)
    return np.cos(angle), np.sin(angle)


def track_course(
    reference: str, speed_m_s: float | Array, flights: Flights, duration_s: float, rng: np.random.Generator
) -> Course:
    """The number of the reference, and its path, flown at 0.75 to 1 times the speed. speed_m_s: of all, or (n,)."""
    n, legs, names = len(flights), max(LEAST_LEGS, _legs(duration_s)), list(REFERENCES)
    kind = rng.integers(len(names), size=n) if reference == "any" else np.full(n, names.index(reference))
    height, speed = flights.setpoint_height_m, speed_m_s * rng.uniform(0.75, 1.0, n)
    rows = None
    for number in np.unique(kind).tolist():
        path = path_rows(REFERENCES[names[number]](rng, height, speed, duration_s), legs, n)
        rows = path if rows is None else np.where(kind == number, path, rows)
    assert rows is not None  # there is at least one flight
    return np.concatenate([kind[None].astype(np.float64), rows])


def track_rows(duration_s: float) -> int:
    """Numbers of a course of so many seconds."""
    return 1 + PATH_ROWS + max(LEAST_LEGS, _legs(duration_s)) * LEG_ROWS


def track_goal(ops: Ops, course: Sequence[Any], t_s: Any, body: Body[Any], transient_s: float = 0.0) -> Goal[Any]:
    """See `envs.task.Task`. transient_s: from the beginning of a step on, in which errors do not count."""
    path, settled = path_of(course[1:]), 1.0
    for leg in path.legs:
        since_s = t_s - leg.begin_s
        settled = settled * (1.0 - exceeds(ops, since_s, 0.0) * exceeds(ops, transient_s, since_s))
    return path_goal(ops, path, t_s, body, course[0], settled)


def _judge(ops: Ops, memory: Memory, moment: Moment[Any]) -> tuple[Memory, Any, Any]:
    """What is remembered: squared horizontal speed error (m^2/s^2) times seconds, and seconds."""
    (vx, vy, _), (wx, wy, _) = moment.body.velocity_m_s, moment.goal.point.velocity_m_s
    begin_s = min(MEASURE_AFTER_S, 0.5 * moment.duration_s)
    counted = exceeds(ops, moment.since_release_s, begin_s) * moment.goal.settled * moment.dt_s
    square = (vx - wx) * (vx - wx) + (vy - wy) * (vy - wy)
    return (memory[0] + square * counted, memory[1] + counted), crashed(ops, moment), 0.0 * counted


def _judge_place(ops: Ops, memory: Memory, moment: Moment[Any]) -> tuple[Memory, Any, Any]:
    """What is remembered: squared distance from the goal (m^2) times seconds, and seconds."""
    begin_s = min(MEASURE_AFTER_S, 0.5 * moment.duration_s)
    counted = exceeds(ops, moment.since_release_s, begin_s) * moment.dt_s
    pairs = zip(moment.body.position_m, moment.goal.point.position_m, strict=True)
    square = sum((here - there) * (here - there) for here, there in pairs)
    return (memory[0] + square * counted, memory[1] + counted), crashed(ops, moment), 0.0 * counted


def rmse(ops: Ops, memory: Memory) -> Any:
    """Root mean square of what was remembered; infinite before anything was measured."""
    square, time_s = memory
    return ops.select(time_s, 0.0, ops.sqrt(square / ops.maximum(time_s, 1e-9)), math.inf)


def track_task(reference: str = "any", speed_m_s: float = 1.0, transient_s: float = 0.0) -> Task:
    """reference: a name in `REFERENCES`, or "any" for one drawn each flight; speed_m_s: the fastest that is drawn.

    transient_s: see `track_goal`. Raises `ConfigError`.
    """
    if reference not in ["any", *REFERENCES]:
        raise ConfigError(unknown_name("reference", reference, ["any", *REFERENCES]))
    if not isinstance(speed_m_s, (int, float)) or not 0.0 < speed_m_s <= FASTEST_M_S:
        raise ConfigError(f"speed_m_s is {speed_m_s!r}; give metres per second, above 0 to {FASTEST_M_S:g}")
    if not isinstance(transient_s, (int, float)) or not 0.0 <= transient_s < STEP_S:
        raise ConfigError(
            f"transient_s is {transient_s!r}; give seconds, 0 to less than the {STEP_S:g} between two steps"
        )
    return Task(
        conditions=Conditions(),
        duration_s=15.0,
        launch=from_hand,
        course=partial(track_course, reference, speed_m_s),
        goal=partial(track_goal, transient_s=transient_s),
        reward_per_s=lambda ops, moment: following_reward_per_s(ops, moment.body, moment.goal.point),
        begin=(0.0, 0.0),
        judge=_judge,
        succeeded=lambda ops, memory: 1.0 - exceeds(ops, rmse(ops, memory), SPEED_RMSE_LIMIT_M_S),
        describe=lambda ops, memory, moment: {"speed_rmse_m_s": rmse(ops, memory)},
        unmet="speed error",
        phases=tuple(REFERENCES),
        phase_name="reference",
    )


def placed(conditions: Conditions, position_hz: Span = PLACE_HZ, lost: Span = PLACE_LOST) -> Conditions:
    """The conditions with a position sensor in place of flow and range."""
    none = (1.0, 1.0)
    return replace(
        conditions,
        position_hz=position_hz,
        position_dropout=lost,
        flow_dropout=none,
        range_dropout=none,
        faults=tuple(fault for fault in conditions.faults if fault.part not in ("flow", "range")),
    )


def track_position_task(reference: str = "any", speed_m_s: float = 1.0) -> Task:
    """Track, of places: the goal is the path's point itself, which a position sensor helps to find.

    Success: within bounds, and root mean square distance of at most 0.5 m, from when errors count on. Raises
    `ConfigError`.
    """
    return replace(
        track_task(reference, speed_m_s),
        conditions=placed(Conditions()),
        judge=_judge_place,
        succeeded=lambda ops, memory: 1.0 - exceeds(ops, rmse(ops, memory), PLACE_RMSE_LIMIT_M),
        describe=lambda ops, memory, moment: {"place_rmse_m": rmse(ops, memory)},
        unmet="place error",
        places=True,
    )


class TrackEnv(QuadEnv):
    """Terminated as in Hover. Options: those of `track_task` and `QuadEnv`; `info` adds reference, speed_rmse_m_s."""

    def __init__(self, **options: Any) -> None:
        task, others = with_own(track_task, options)
        super().__init__(task, **others)


class TrackVectorEnv(BatchedQuadEnv):
    """Many drones at once. Options: those of `track_task` and `BatchedQuadEnv`."""

    def __init__(self, num_envs: int = 1, **options: Any) -> None:
        task, others = with_own(track_task, options)
        super().__init__(task, num_envs, **others)
