"""Tasks as the batched engines train and score them: what is to be flown, and what a flight is judged by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from envs.airframe import Airframe
from envs.avoid import (
    AVOID_RULE,
    avoid_course,
    avoid_goal,
    crossing,
    crossing_s,
    facing_course,
    plot_of,
    wall_in,
)
from envs.conditions import Conditions
from envs.flights import Flights
from envs.flow_grid import Sight
from envs.forest import COURSE_ROWS, SHAPES_PLOT, Plot
from envs.mission import (
    FOLLOW_S,
    GROUND_DEPTH_M,
    HOVER_S,
    MISSION,
    MISSION_ROWS,
    MISSION_RULE,
    Timetable,
    from_floor,
    mission_course,
    mission_goes_on,
)
from envs.obstacle_kinds import TREES
from envs.physics import Body
from envs.scoring import FLOOR_M, HOVER_RULE, TRANSIENT_S, Rule
from envs.sensors import DEFAULT_SENSORS, SensorModels
from envs.task import SETPOINT_AIM, Aim, Course, Goal, from_hand, setpoint_course
from envs.track import PLACE_RULE, TRACK_RULE, track_course, track_position_task, track_rows, track_task
from liquid_pilot.course import YAW_LIMIT_RAD_S
from liquid_pilot.errors import ConfigError, unknown_name
from liquid_pilot.ops import Ops
from policies.avoid_cost import AvoidWeights
from policies.cost import CostWeights
from policies.curriculum import SILENT, SLOWEST_COURSE_M_S, TRAINED_HEIGHT_M, Curriculum

Lessons: TypeAlias = Callable[[Flights, Airframe, Curriculum, float, np.random.Generator], tuple[Flights, Course]]
TRACK_M_S: Final = 2.0  # fastest that a track policy is made for
AVOID_M_S: Final = 4.0  # of the crossings that choose the weights
AVOID_DENSITY_PER_M2: Final = 0.1
LESSON_DENSITY_PER_M2: Final = (1.0 / 12.0, 1.0 / 8.0)
WALLED: Final = 0.2  # share of the forests without a way through
WALL_AWAY_M: Final = (4.0, 20.0)  # from where lessons begin
OTHER_SPEED: Final = 0.1  # chance of a drone that flies on to be told another speed
STAYING: Final = 0.05  # share of the drones in a lesson
SIGHT: Final = Sight()
MIXED: Final = 0.4  # share of the forests in which balls, boxes and gates stand between the trees
PLACE_M_S: Final = 2.6  # of a policy that flies to places: a figure-eight of 1.0 x 0.5 m within 3.5 s


@dataclass(frozen=True, slots=True)
class Drill:
    """A task for many drones. rows: numbers of the courses of flights that last so many seconds; goal: see `Aim`.

    course: of flights that are scored, of so many seconds, launch: how these begin; lessons: flights to learn from as
    they begin, and their courses. updates, batch: that training needs; validation_s: length of the flights that choose
    the weights; sensors: of all flights; early_weight: of the first second of a lesson; goes_on: (B,), of courses,
    seconds since the release and heights, where there is more to learn from a flight; locates, sees: see `Aim`.

    onward: the courses with which flights of the lesson before go on, of these, of new ones, of the conditions of now
    and of random numbers. learning_rate: at first; oldest_s: age at which a flight is over for lessons.
    """

    name: str
    rows: Callable[[float], int]
    goal: Callable[[Ops, Any, Any, Body[Any]], Goal[Any]]
    course: Callable[[Flights, float, np.random.Generator], Course]
    lessons: Lessons
    rule: Rule
    curriculum: Curriculum
    cost: CostWeights | AvoidWeights
    updates: int
    batch: int
    validation_s: float
    launch: Callable[[Flights, Airframe], Flights] = from_hand
    sensors: SensorModels = DEFAULT_SENSORS
    early_weight: float = 0.3
    goes_on: Callable[[Any, Any, Any], Any] = lambda course, since_s, height_m: height_m > FLOOR_M
    locates: bool = False
    sees: Sight | None = None
    onward: Callable[[Any, Any, Conditions, np.random.Generator], Any] = lambda course, *_: course
    learning_rate: float = 5e-3
    oldest_s: float = 20.0

    def aim(self, duration_s: float) -> Aim:
        """What an engine must know to fly courses of so many seconds."""
        return Aim(self.rows(duration_s), self.goal, self.locates, self.rule.lands, self.sees)


def _hover_lessons(
    flights: Flights, airframe: Airframe, curriculum: Curriculum, seconds: float, rng: np.random.Generator
) -> tuple[Flights, Course]:
    """Set-points that stand; most of them ask for no speed."""
    moving = rng.random(len(flights)) >= curriculum.hover_chance
    return flights, setpoint_course(
        replace(
            flights,
            setpoint_velocity_m_s=flights.setpoint_velocity_m_s * moving[:, None],
            setpoint_yaw_rate_rad_s=flights.setpoint_yaw_rate_rad_s * moving,
        )
    )


def _track_lessons(
    flights: Flights, airframe: Airframe, curriculum: Curriculum, seconds: float, rng: np.random.Generator
) -> tuple[Flights, Course]:
    """Every reference, at every speed up to the curriculum's, fast ones more often."""
    speed_m_s = curriculum.setpoint_speed_m_s * rng.random(len(flights)) ** 0.5
    return flights, track_course("any", speed_m_s, flights, seconds, rng)


def _mission_lessons(
    flights: Flights, airframe: Airframe, curriculum: Curriculum, seconds: float, rng: np.random.Generator
) -> tuple[Flights, Course]:
    """Half of them from the floor, half thrown into the middle of the mission; times and speeds are drawn."""
    n = len(flights)
    thrown = rng.random(n) < 0.5
    begun = _mixed(thrown, flights, from_floor(flights, airframe))
    timetable = Timetable(
        hover_s=rng.uniform(1.0, HOVER_S, n),
        follow_s=rng.uniform(0.0, FOLLOW_S, n),
        follow_m_s=curriculum.setpoint_speed_m_s * rng.random(n),
        in_air=thrown.astype(np.float64),
    )
    return begun, mission_course(flights, timetable, rng)


def _mixed(mask: npt.NDArray[np.bool_], chosen: Flights, otherwise: Flights) -> Flights:
    """Flight by flight: `chosen` where mask (n,) is true."""
    pairs = {f.name: (getattr(chosen, f.name), getattr(otherwise, f.name)) for f in fields(Flights)}
    return Flights(**{name: np.where(mask if a.ndim == 1 else mask[:, None], a, b) for name, (a, b) in pairs.items()})


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
        cost=CostWeights(roll_pitch_rate=0.003, action_change=0.01, velocity_knee_m_s=0.6),  # quick turns are asked for
        updates=20000,
        batch=64,
        validation_s=15.0,
    )


def _place_lessons(
    flights: Flights, airframe: Airframe, curriculum: Curriculum, seconds: float, rng: np.random.Generator
) -> tuple[Flights, Course]:
    """Every reference, half of them figure-eights."""
    speed = curriculum.setpoint_speed_m_s * rng.random(len(flights))
    eights = rng.random(len(flights)) < 0.5
    courses = [track_course(name, speed, flights, seconds, rng) for name in ("figure_eight", "any")]
    return flights, np.where(eights, *courses)


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
        updates=12000,
        locates=True,
    )


MISSION_DRILL: Final = Drill(
    name="mission",
    rows=lambda seconds: MISSION_ROWS,
    goal=MISSION.goal,
    course=MISSION.course,
    lessons=_mission_lessons,
    rule=MISSION_RULE,
    curriculum=Curriculum(
        first_horizon_s=2.0,  # a take-off, from the hand's letting go on
        horizon_share=0.3,
        setpoint_yaw_rate_rad_s=0.0,
        outage_s=(0.1, 0.4),  # a longer silence of both sensors means that the floor is near
        asked_height_m=(-GROUND_DEPTH_M, TRAINED_HEIGHT_M[1]),
    ),
    cost=CostWeights(vertical_velocity=2.0, thrust_on_floor=1.0),
    updates=5000,
    batch=64,
    validation_s=20.0,
    launch=MISSION.launch,
    sensors=MISSION.conditions.sensors,
    early_weight=1.0,
    goes_on=mission_goes_on,
)


def _avoid_lessons(
    plot: Plot, flights: Flights, airframe: Airframe, curriculum: Curriculum, seconds: float, rng: np.random.Generator
) -> tuple[Flights, Course]:
    """Forests of every density; half of the drones are thrown along the course, as fast as they shall fly.

    Some shall stay where they are, as on a course that is held; some meet a wall.
    """
    n = len(flights)
    begun = facing_course(flights, airframe)
    fastest = np.hypot(*flights.setpoint_velocity_m_s.T).max(initial=SLOWEST_COURSE_M_S)
    speed = SLOWEST_COURSE_M_S * (fastest / SLOWEST_COURSE_M_S) ** rng.random(n)  # as many slow ones as fast ones
    speed *= (rng.random(n) >= STAYING) & (flights.setpoint_velocity_m_s != 0.0).any(axis=1)
    ahead = np.stack([speed, 0.0 * speed, 0.0 * speed], axis=1)
    thrown = rng.random((n, 1)) < 0.5
    begun = replace(begun, launch_velocity_m_s=begun.launch_velocity_m_s + thrown * ahead)
    density = rng.uniform(*LESSON_DENSITY_PER_M2, n)
    course = avoid_course(plot, speed, density, flights, rng)
    if plot.shapes:
        course = np.where(rng.random(n) < MIXED, avoid_course(plot, speed, density, flights, rng, "mixed"), course)
    side = np.where(rng.random(n) < 0.5, -1.0, 1.0)
    wall = wall_in(course, plot, side * rng.uniform(*WALL_AWAY_M, n))
    return begun, np.where(rng.random(n) < WALLED, wall, course)


def _avoid_onward(course: Course, new: Course, conditions: Conditions, rng: np.random.Generator) -> Course:
    """Another speed now and then; none where the grid is silent, when the onboard controller holds the course."""
    speed = np.where(rng.random(course.shape[1]) < OTHER_SPEED, new[0], course[0])
    return np.concatenate([speed[None] * (conditions.grid_dropout != SILENT), course[1:]])


def avoid_drill(
    speed_m_s: float = AVOID_M_S,
    density_per_m2: float = AVOID_DENSITY_PER_M2,
    walled: bool = False,
    obstacles: str = TREES,
    plot: Plot | None = None,
    size: float = 1.0,
) -> Drill:
    """The task avoid at a speed, in forests of a density. walled: without a way through. Raises `ConfigError`.

    obstacles, plot, size: see `envs.avoid.crossing`; lessons have more than trees where the plot has room for it.
    """
    room = plot_of(obstacles) if plot is None else plot
    return Drill(
        name="avoid",
        rows=lambda seconds: COURSE_ROWS + room.rows,
        goal=avoid_goal,
        course=crossing(speed_m_s, density_per_m2, walled, obstacles, room, size),
        lessons=partial(_avoid_lessons, room),
        rule=AVOID_RULE,
        curriculum=Curriculum(
            first_horizon_s=0.8,
            last_horizon_s=1.8,
            horizon_share=0.3,
            disturbance_share=0.1,
            imu_hz=(45.0, 220.0),
            setpoint_speed_m_s=6.3,
            speed_share=0.5,
            setpoint_yaw_rate_rad_s=YAW_LIMIT_RAD_S,
            outage_s=(0.1, 0.3),
            sees=True,
        ),
        cost=AvoidWeights(),
        updates=12000,
        batch=128,
        validation_s=crossing_s(speed_m_s),
        launch=facing_course,
        sees=Sight(plot=room),
        onward=_avoid_onward,
        learning_rate=3e-3,
        oldest_s=12.0,
    )


DRILLS: Final = {
    "hover": HOVER_DRILL,
    "track": track_drill(transient_s=TRANSIENT_S),
    "track-position": track_position_drill(),
    "mission": MISSION_DRILL,
    "avoid": avoid_drill(plot=SHAPES_PLOT),
}


def drill_of(task: str) -> Drill:
    """The drill of a task by name. Raises `ConfigError` for an unknown one."""
    if task not in DRILLS:
        raise ConfigError(unknown_name("task", task, list(DRILLS)))
    return DRILLS[task]
