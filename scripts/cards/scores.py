"""What a card's scores are: for each task the conditions under which its policies are evaluated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.progress import Progress

from envs.airframe import load_airframe
from envs.obstacle_kinds import OBSTACLES
from liquid_pilot.bundle import Bundle
from liquid_pilot.errors import ConfigError, unknown_name
from liquid_pilot.half_cheetah import TASK as CHEETAH
from scripts.case import Case
from scripts.cheetah import (
    RETURN_HEADER,
    USUAL_EPISODES,
    CheetahJob,
    CheetahRhythm,
    evaluate_cheetah,
    return_cells,
)
from scripts.evaluation import cautions, evaluate
from scripts.flying import FlightPool
from scripts.tables import CROSSING_HEADER, HEADER, PLACE_HEADER, cells, crosses, places

USUAL_FLIGHTS: Final = 100
ALONE: Final = {"engine": "batched"}  # a hundred times quicker; the two engines are tested against each other


@dataclass(frozen=True, slots=True)
class TaskCard:
    """What all cards of a task say. does: of the policy; rule: what a success and an error are.

    conditions: by the name of a row, options of `Case` (of half-cheetah `CheetahRhythm`) that are not the usual ones.
    """

    does: str
    rule: str
    conditions: Mapping[str, Mapping[str, Any]]


_FLOWN: Final[dict[str, dict[str, Any]]] = {
    "IMU 100 Hz": {},
    "flow silent for 1 s": {"fault": ("flow:off@6s+1s",)},
}
_HOVER: Final[dict[str, dict[str, Any]]] = {
    **_FLOWN,
    "wind to 3 m/s, network alone": {"wind": 3.0, **ALONE},
    **{f"IMU {hz} Hz, network alone": {"imu_hz": hz, **ALONE} for hz in ("25", "50", "200", "400")},
    "IMU mixed, network alone": {"imu_hz": "mixed", **ALONE},
}
_STEPS: Final = {"reference": "steps", "track_m_s": 2.0}
_TRACK: Final[dict[str, dict[str, Any]]] = {
    "steps, 2 m/s": _STEPS,
    "sinusoid, 2 m/s": {"reference": "sinusoid", "track_m_s": 2.0},
    "steps, 1 m/s, network alone": {"reference": "steps", "track_m_s": 1.0, **ALONE},
    "sinusoid, 1 m/s, network alone": {"reference": "sinusoid", "track_m_s": 1.0, **ALONE},
    **{
        f"steps, 2 m/s, IMU {hz}, network alone": {**_STEPS, "imu_hz": hz.split()[0], **ALONE}
        for hz in ("25 Hz", "50 Hz", "400 Hz", "mixed")
    },
    "steps, 2 m/s, wind to 3 m/s, network alone": {**_STEPS, "wind": 3.0, **ALONE},
}
_EIGHT: Final = {"reference": "figure_eight", "track_m_s": 2.5}
_PLACES: Final[dict[str, dict[str, Any]]] = {
    "figure-eight, 2.5 m/s": _EIGHT,
    "all references, 2 m/s": {"track_m_s": 2.0},
    "figure-eight, 1 m/s, network alone": {"reference": "figure_eight", "track_m_s": 1.0, **ALONE},
    **{
        f"figure-eight, 2.5 m/s, IMU {hz}, network alone": {**_EIGHT, "imu_hz": hz.split()[0], **ALONE}
        for hz in ("25 Hz", "50 Hz", "400 Hz", "mixed")
    },
    "figure-eight, 2.5 m/s, wind to 3 m/s, network alone": {**_EIGHT, "wind": 3.0, **ALONE},
}
_AVOID: Final[dict[str, dict[str, Any]]] = {
    **{f"{speed} m/s": {"speed": speed} for speed in ("2", "4")},
    **{f"{speed} m/s, network alone": {"speed": speed, **ALONE} for speed in ("1", "2", "3", "4", "6")},
    "3 m/s, a tree on each 8 m^2, network alone": {"speed": "3", "density": "0.125", **ALONE},
    **{f"3 m/s, grid {hz} Hz, network alone": {"speed": "3", "grid_hz": hz, **ALONE} for hz in ("10", "40")},
    **{f"3 m/s, IMU {hz} Hz, network alone": {"speed": "3", "imu_hz": hz, **ALONE} for hz in ("50", "400")},
    "3 m/s, IMU mixed, network alone": {"speed": "3", "imu_hz": "mixed", **ALONE},
    "3 m/s, 30 % of grids lost, network alone": {"speed": "3", "dropout": ("grid:0.3",), **ALONE},
    "3 m/s, wind to 3 m/s, network alone": {"speed": "3", "wind": 3.0, **ALONE},
    "3 m/s, mixed obstacles": {"speed": "3", "obstacles": "mixed"},
    "2 m/s, no way through": {"speed": "2", "walled": True},
    **{f"3 m/s, {kind}, network alone": {"speed": "3", "obstacles": kind, **ALONE} for kind in OBSTACLES[1:]},
    **{f"{v} m/s, no way through, network alone": {"speed": v, "walled": True, **ALONE} for v in ("1", "2", "3")},
}
_CHEETAH: Final[dict[str, dict[str, Any]]] = {
    "regular": {},
    "every 1 to 6 frames": {"frames": "1-6"},
    "every 1 to 6 frames, 30 % lost": {"frames": "1-6", "dropped": 0.3},
}
_THROWN: Final = (
    "A flight begins with a throw out of a hand and is flown well if it stays 0.1 to 3.5 m above the ground"
)
_ERRORS: Final = "A failed flight's errors are infinite; median and 90th percentile are over flights."
CARDS: Final[dict[str, TaskCard]] = {
    "hover": TaskCard(
        "Recovers from a throw out of a hand, then holds a velocity and a height.",
        f"{_THROWN}, with a tilt under 20 degrees from 3 s on. Errors are means from 5 s after the "
        f"release on. {_ERRORS}",
        _HOVER,
    ),
    "track": TaskCard(
        "Recovers from a throw out of a hand, then follows a velocity that changes, at a height.",
        f"{_THROWN}, with a speed error of at most 0.5 m/s: a root mean square from 5 s after the release on, with all "
        f"that is made while a step is taken. {_ERRORS}",
        _TRACK,
    ),
    "track-position": TaskCard(
        "Recovers from a throw out of a hand, then follows a place that moves, by IMU, position sensor and the "
        "autopilot's attitude, without flow and range.",
        f"{_THROWN}, and within 0.5 m of the place, root mean square from 5 s after the release on. Places come at "
        f"20 to 50 Hz, 20 % of them lost, attitudes at 10 to 50 Hz, with a heading off by up to 3 degrees. {_ERRORS}",
        _PLACES,
    ),
    "mission": TaskCard(
        "Takes off from the floor, hovers, follows a velocity, lands softly and stops its motors.",
        f"A flight is flown well if it touches down at under 0.5 m/s, upright, motors off in time. {_ERRORS}",
        _FLOWN,
    ),
    "avoid": TaskCard(
        "Crosses a forest along a course, at a speed and height, by a forward flow grid.",
        "A flight is flown well if it comes 30 m along its course, in the time that 60 % of the speed would need and "
        "4 s more, never nearer to an obstacle than 0.12 m, within 0.1 to 3.5 m of height. Trees, or other obstacles: "
        "one on each 10 m^2 where not said otherwise; grids of 32 x 5 rays at 20 to 30 Hz. Where there is no way "
        "through, a drone that stops has not crossed, and has done the best there is. The crossing speed is the mean "
        "over flights that crossed.",
        _AVOID,
    ),
    CHEETAH: TaskCard(
        "Runs in HalfCheetah.",
        "The return is that of the original environment over an episode, mean and deviation over episodes, each from a "
        "start of its own; lost: simulations that broke down.",
        _CHEETAH,
    ),
}


@dataclass(frozen=True, slots=True)
class Plan:
    """Whose scores, and from how many flights or episodes a row. airframe: that flies; "" where none does."""

    policy: str
    task: str
    flights: int
    seed: int
    airframe: str


@dataclass(frozen=True, slots=True)
class Scores:
    """A table. told: what stands above it."""

    told: str
    header: Sequence[str]
    body: Sequence[Sequence[str]]


def plan_of(policy: str, bundle: Bundle, flights: int | None, seed: int, airframe: str | None) -> Plan:
    """Where not given, the usual number of flights and the policy's own airframe.

    Raises `LiquidPilotError` for what could not be flown, before any flight.
    """
    card = task_card(bundle.task)
    if bundle.task == CHEETAH:
        if airframe is not None:
            raise ConfigError(f"policy {bundle.name} flies no drone; leave --airframe out")
        plan = Plan(policy, CHEETAH, USUAL_EPISODES if flights is None else flights, seed, "")
        for changes in card.conditions.values():
            _episodes(plan, changes)
        return plan
    own = str(bundle.metadata["airframe"])
    plan = Plan(policy, bundle.task, USUAL_FLIGHTS if flights is None else flights, seed, airframe or own)
    for changes in card.conditions.values():
        _case(plan, changes).check()
    return plan


def task_card(task: str) -> TaskCard:
    """Of a task by name. Raises `ConfigError`."""
    if task not in CARDS:
        raise ConfigError(f"{unknown_name('task of a card', task, list(CARDS))}; or add it to scripts/cards/scores.py")
    return CARDS[task]


def score(plan: Plan, pool: FlightPool, progress: Progress) -> Scores:
    """Evaluate a policy under all conditions of its task. Raises `LiquidPilotError`."""
    conditions = task_card(plan.task).conditions
    whole = progress.add_task("conditions", total=len(conditions))
    rows = []
    for changes in conditions.values():
        if plan.task == CHEETAH:
            rows.append(evaluate_cheetah(_episodes(plan, changes), pool))
        else:
            rows.append(evaluate(_case(plan, changes), pool, progress))
        progress.advance(whole)
    if plan.task == CHEETAH:
        told = f"{plan.flights} episodes a row, seed {plan.seed}, in {rows[0]['simulator']}. {task_card(CHEETAH).rule}"
        body = [[name, *return_cells(row)] for name, row in zip(conditions, rows, strict=True)]
        return Scores(told, ["rhythm", *RETURN_HEADER], body)
    body = [[name, *cells(row)[1:]] for name, row in zip(conditions, rows, strict=True)]
    header = PLACE_HEADER if places(rows[0]) else CROSSING_HEADER if crosses(rows[0]) else HEADER
    return Scores(_flown(plan, rows[0]["duration_s"]), ["conditions", *header[1:]], body)


def _episodes(plan: Plan, changes: Mapping[str, Any]) -> CheetahJob:
    return CheetahJob(plan.policy, CheetahRhythm(**changes).rhythm(), plan.flights, plan.seed)


def _case(plan: Plan, changes: Mapping[str, Any]) -> Case:
    return Case(plan.policy, plan.task, flights=plan.flights, seed=plan.seed, airframe=plan.airframe, **changes)


def _flown(plan: Plan, duration_s: float) -> str:
    usual = _case(plan, {})
    downward = "" if plan.task == "track-position" else f"flow {usual.flow_hz:g} Hz, range {usual.range_hz:g} Hz, "
    lasting = "" if plan.task == "avoid" else f" of {duration_s:g} s"
    return " ".join(
        (
            f"{plan.flights} flights{lasting} a row, seed {plan.seed}, in PyBullet through the onboard "
            "controller; where said, the network alone in the batched engine.",
            f"Airframe {load_airframe(plan.airframe).name}, each drone's mass, inertia, thrust and drag drawn within "
            f"{usual.spread:.0%} of it.",
            *(f"Note: {note}." for note in cautions(usual)),
            f"Where not said otherwise: IMU {usual.imu_hz} Hz (mixed: every interval drawn between 1/400 and 1/25 s), "
            f"{downward}wind to {usual.wind:g} m/s with gusts.",
            task_card(plan.task).rule,
        )
    )
