"""Tasks as the batched engines train and score them: what is to be flown, and what a flight is judged by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np

from envs.flights import Flights
from envs.physics import Body
from envs.scoring import HOVER_RULE, TRANSIENT_S, Rule
from envs.task import SETPOINT_AIM, Aim, Course, Goal, setpoint_course
from envs.track import PLACE_RULE, TRACK_RULE, track_course, track_position_task, track_rows, track_task
from liquid_pilot.errors import ConfigError, unknown_name
from liquid_pilot.ops import Ops
from policies.cost import CostWeights
from policies.curriculum import Curriculum

Lessons: TypeAlias = Callable[[Flights, Curriculum, float, np.random.Generator], Course]
TRACK_M_S: Final = 2.0  # fastest that a track policy is made for
PLACE_M_S: Final = 2.6  # of a policy that flies to places: a figure-eight of 1.0 x 0.5 m within 3.5 s


@dataclass(frozen=True, slots=True)
class Drill:
    """A task for many drones. rows: numbers of the courses of flights that last so many seconds; goal: see `Aim`.

    course: of flights that are scored, of so many seconds; lessons: of flights to learn from. updates, batch: that
    training needs; validation_s: length of the flights that choose the weights; locates: see `Aim`.
    """

    name: str
    rows: Callable[[float], int]
    goal: Callable[[Ops, Any, Any, Body[Any]], Goal[Any]]
    course: Callable[[Flights, float, np.random.Generator], Course]
    lessons: Lessons
    rule: Rule
    curriculum: Curriculum
    cost: CostWeights
    updates: int
    batch: int
    validation_s: float
    locates: bool = False

    def aim(self, duration_s: float) -> Aim:
        """What an engine must know to fly courses of so many seconds."""
        return Aim(self.rows(duration_s), self.goal, self.locates)


def _hover_lessons(flights: Flights, curriculum: Curriculum, seconds: float, rng: np.random.Generator) -> Course:
    """Set-points that stand; most of them ask for no speed."""
    moving = rng.random(len(flights)) >= curriculum.hover_chance
    return setpoint_course(
        replace(
            flights,
            setpoint_velocity_m_s=flights.setpoint_velocity_m_s * moving[:, None],
            setpoint_yaw_rate_rad_s=flights.setpoint_yaw_rate_rad_s * moving,
        )
    )


def _track_lessons(flights: Flights, curriculum: Curriculum, seconds: float, rng: np.random.Generator) -> Course:
    """Every reference, at every speed up to the curriculum's."""
    return track_course("any", curriculum.setpoint_speed_m_s * rng.random(len(flights)), flights, seconds, rng)


HOVER_DRILL: Final = Drill(
    name="hover",
    rows=lambda seconds: SETPOINT_AIM.rows,
    goal=SETPOINT_AIM.goal,
    course=lambda flights, seconds, rng: setpoint_course(flights),
    lessons=_hover_lessons,
    rule=HOVER_RULE,
    curriculum=Curriculum(),
    cost=CostWeights(),
    updates=1000,
    batch=48,
    validation_s=8.0,
)


def track_drill(reference: str = "any", speed_m_s: float = TRACK_M_S, transient_s: float = 0.0) -> Drill:
    """The task track at a speed. Arguments and errors as of `envs.track.track_task`."""
    task = track_task(reference, speed_m_s, transient_s)
    return Drill(
        name="track",
        rows=track_rows,
        goal=task.goal,
        course=task.course,
        lessons=_track_lessons,
        rule=TRACK_RULE,
        curriculum=Curriculum(setpoint_speed_m_s=1.1 * TRACK_M_S, setpoint_yaw_rate_rad_s=0.0),
        cost=CostWeights(roll_pitch_rate=0.006, action_change=0.01),  # quick turns are what is asked for
        updates=12000,
        batch=64,
        validation_s=15.0,
    )


def _place_lessons(flights: Flights, curriculum: Curriculum, seconds: float, rng: np.random.Generator) -> Course:
    """Every reference, half of them figure-eights."""
    speed = curriculum.setpoint_speed_m_s * rng.random(len(flights))
    eights = rng.random(len(flights)) < 0.5
    courses = [track_course(name, speed, flights, seconds, rng) for name in ("figure_eight", "any")]
    return np.where(eights, *courses)


def track_position_drill(reference: str = "any", speed_m_s: float = PLACE_M_S) -> Drill:
    """The task track-position at a speed. Arguments and errors as of `envs.track.track_position_task`."""
    task = track_position_task(reference, speed_m_s)
    return replace(
        track_drill(reference, speed_m_s),
        name="track-position",
        goal=task.goal,
        course=task.course,
        lessons=_place_lessons,
        rule=PLACE_RULE,
        curriculum=Curriculum(setpoint_speed_m_s=1.1 * PLACE_M_S, setpoint_yaw_rate_rad_s=0.0, locates=True),
        cost=CostWeights(
            horizontal_velocity=0.3, place=4.0, height_knee_m=0.1, roll_pitch_rate=0.004, action_change=0.01
        ),
        locates=True,
    )


DRILLS: Final = {
    "hover": HOVER_DRILL,
    "track": track_drill(transient_s=TRANSIENT_S),
    "track-position": track_position_drill(),
}


def drill_of(task: str) -> Drill:
    """The drill of a task by name. Raises `ConfigError` for an unknown one."""
    if task not in DRILLS:
        raise ConfigError(unknown_name("task", task, list(DRILLS)))
    return DRILLS[task]
