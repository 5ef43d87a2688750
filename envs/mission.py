"""The task Mission (`liquid_pilot/Mission-v0`): take off from the floor, hover, follow, land softly, motors off.

Phases follow a timetable that is drawn with the flight; the set-point says what each asks for. Near the floor the
downward sensors are blind: what is left is the IMU, and memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from envs.airframe import Airframe
from envs.batched_env import BatchedQuadEnv
from envs.conditions import Conditions
from envs.flights import Array, Flights
from envs.physics import Body
from envs.quad_env import QuadEnv
from envs.references import LEG_RAMP_S, LEG_ROWS, PATH_ROWS, legs_of, path_of, path_point, path_rows, still
from envs.scoring import CEILING_M, FLOOR_M, TILT_LIMIT_DEG, TOUCHDOWN_LIMIT_M_S, Rule
from envs.sensors import RangeModel, SensorModels
from envs.task import (
    TUMBLE_COS,
    Course,
    Goal,
    Memory,
    Moment,
    Task,
    any_of,
    exceeds,
    following_reward_per_s,
    path_goal,
)
from liquid_pilot.ops import NUMPY_OPS, Ops

CLIMB_M_S: Final = 0.5
SINK_M_S: Final = 0.3
HOVER_S: Final = 3.0  # the drone catches up with the climb in its first third
FOLLOW_S: Final = 4.0  # half of it in one direction, half to the left of that
FOLLOW_M_S: Final = 0.4
GROUND_DEPTH_M: Final = 0.05  # the landing is asked to end this far below the floor, so that the drone sits down
MOTORS_OFF_LIFT: Final = 0.1  # of the weight; idling propellers give less
BLIND_BELOW_M: Final = 0.08
STANDS_S: Final = 2.0  # of a lesson, from when it asks for less than the floor
LEGS: Final = 6  # of the path
PHASES: Final = ("take off", "hover", "follow", "land")
LAND: Final = float(PHASES.index("land"))
LAND_ROW: Final = len(PHASES) - 2  # of a course: when the landing begins; then comes the path
MISSION_ROWS: Final = LAND_ROW + 1 + PATH_ROWS + LEGS * LEG_ROWS
MISSION_RULE: Final = Rule(tilt_limit_deg=math.degrees(math.acos(TUMBLE_COS)), tilt_after_s=0.0, rms=True, lands=True)


def from_floor(flights: Flights, airframe: Airframe) -> Flights:
    """Standing level on the floor at rest, with the drawn heading."""
    w, x, y, z = flights.attitude_wxyz.T
    half = 0.5 * np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    rest = np.zeros_like(flights.launch_velocity_m_s)
    return replace(
        flights,
        attitude_wxyz=np.stack([np.cos(half), 0.0 * half, 0.0 * half, np.sin(half)], axis=1),
        height_m=np.full_like(flights.height_m, airframe.rest_height_m),
        launch_velocity_m_s=rest,
        launch_rates_rad_s=rest,
    )


@dataclass(frozen=True, slots=True)
class Timetable:
    """How long is hovered and followed, and how fast, of all flights or (n,). in_air: 1 = it begins with the hover."""

    hover_s: float | Array = HOVER_S
    follow_s: float | Array = FOLLOW_S
    follow_m_s: float | Array = FOLLOW_M_S
    in_air: float | Array = 0.0


def mission_course(flights: Flights, timetable: Timetable, rng: np.random.Generator) -> Course:
    """When hover, follow and land begin, and the path, (MISSION_ROWS, n)."""
    height, n = flights.setpoint_height_m, len(flights)
    angle, zero = rng.uniform(0.0, 2.0 * math.pi, n), np.zeros(n)
    x, y = timetable.follow_m_s * np.cos(angle), timetable.follow_m_s * np.sin(angle)
    climb_s = height / CLIMB_M_S
    begin_s = -(climb_s + LEG_RAMP_S) * timetable.in_air
    hover_s = begin_s + climb_s
    follow_s = hover_s + timetable.hover_s
    turn_s, land_s = follow_s + timetable.follow_s / 2.0, follow_s + timetable.follow_s
    legs = legs_of(
        [
            (zero + begin_s, (zero, zero, zero + CLIMB_M_S)),
            (hover_s, (zero, zero, zero)),
            (follow_s, (x, y, zero)),
            (turn_s, (-y, x, zero)),
            (land_s, (zero, zero, zero - SINK_M_S)),
            (land_s + (height + GROUND_DEPTH_M) / SINK_M_S, (zero, zero, zero)),
        ]
    )
    begins = np.stack([hover_s + timetable.hover_s / 3.0, follow_s, land_s])
    return np.concatenate([begins, path_rows(still((zero, zero, zero), legs), LEGS, n)])


def mission_goes_on(course: Course, since_s: Array, height_m: Array) -> npt.NDArray[np.bool_]:
    """Flights, (n,), that are not on the floor where they should be aloft, nor long since landed."""
    aloft = (since_s > course[0]) & (since_s <= course[LAND_ROW])
    point = path_point(NUMPY_OPS, path_of(list(course[LAND_ROW + 1 :])), since_s - STANDS_S)
    going: npt.NDArray[np.bool_] = (point.position_m[2] > -0.5 * GROUND_DEPTH_M) & ((height_m > FLOOR_M) | ~aloft)
    return going


def _goal(ops: Ops, course: Sequence[Any], t_s: Any, body: Body[Any]) -> Goal[Any]:
    begun = [1.0 - exceeds(ops, begin_s, t_s) for begin_s in course[: LAND_ROW + 1]]
    goal = path_goal(ops, path_of(course[LAND_ROW + 1 :]), t_s, body, sum(begun))
    return replace(goal, aloft=begun[0] * (1.0 - begun[-1]))


def _judge(ops: Ops, memory: Memory, moment: Moment[Any]) -> tuple[Memory, Any, Any]:
    """Lost: over the ceiling, tumbled, touched down too hard, or near the floor when it should hover or follow."""
    phase, height = moment.goal.phase, moment.body.position_m[2]
    landing = exceeds(ops, phase, LAND - 0.5)
    low = moment.goal.aloft * (1.0 - exceeds(ops, height, FLOOR_M))
    hard = exceeds(ops, moment.touchdown_m_s, TOUCHDOWN_LIMIT_M_S)
    high = 1.0 - exceeds(ops, CEILING_M, moment.highest_m)
    lost = any_of(ops, low, hard, high, 1.0 - exceeds(ops, moment.upright, TUMBLE_COS))
    stands = exceeds(ops, 0.0, moment.clearance_m) * exceeds(
        ops, moment.upright, math.cos(math.radians(TILT_LIMIT_DEG))
    )
    landed = landing * stands * exceeds(ops, MOTORS_OFF_LIFT, moment.lift)
    return memory, lost, landed * (1.0 - lost)


MISSION: Final = Task(
    conditions=Conditions(sensors=SensorModels(range=RangeModel(near_m=BLIND_BELOW_M))),
    duration_s=25.0,
    launch=from_floor,
    course=lambda flights, duration_s, rng: mission_course(flights, Timetable(), rng),
    goal=_goal,
    reward_per_s=lambda ops, moment: following_reward_per_s(ops, moment.body, moment.goal.point),
    begin=(),
    judge=_judge,
    succeeded=lambda ops, memory: 0.0,  # up in the air when the time is up is no landing
    describe=lambda ops, memory, moment: {"touchdown_m_s": moment.touchdown_m_s},
    unmet="not landed",
    phases=PHASES,
)


class MissionEnv(QuadEnv):
    """Terminated: lost, or landed, which is success. Options: `QuadEnv`'s; `info` adds phase and touchdown_m_s."""

    def __init__(self, **options: Any) -> None:
        super().__init__(MISSION, **options)


class MissionVectorEnv(BatchedQuadEnv):
    """Many drones at once. Options: `BatchedQuadEnv`'s."""

    def __init__(self, num_envs: int = 1, **options: Any) -> None:
        super().__init__(MISSION, num_envs, **options)
