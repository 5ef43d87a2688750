"""The task Mission (`liquid_pilot/Mission-v0`): take off from the floor, hover, follow, land softly, motors off.

Phases follow a timetable that is drawn with the flight; the set-point says what each asks for. Near the floor the
downward sensors are blind: what is left is the IMU, and memory.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Final

import numpy as np

from envs.airframe import Airframe
from envs.conditions import Conditions
from envs.flights import Flights
from envs.quad_env import QuadEnv
from envs.references import velocity_steps
from envs.scoring import CEILING_M, FLOOR_M, TILT_LIMIT_DEG
from envs.sensors import RangeModel, SensorModels
from envs.task import TUMBLE_COS, Moment, Outcome, Plan, Task, following_reward_per_s, reference_goal
from liquid_pilot.messages import Floats3

CLIMB_M_S: Final = 0.5
SINK_M_S: Final = 0.3
HOVER_S: Final = 3.0  # the drone catches up with the climb in its first third
FOLLOW_S: Final = 4.0  # half of it in one direction, half to the left of that
FOLLOW_M_S: Final = 0.4
GROUND_DEPTH_M: Final = 0.05  # the landing is asked to end this far below the floor, so that the drone sits down
TOUCHDOWN_LIMIT_M_S: Final = 0.5
MOTORS_OFF_LIFT: Final = 0.1  # of the weight; idling propellers give less
BLIND_BELOW_M: Final = 0.08


def from_floor(flights: Flights, airframe: Airframe) -> Flights:
    """Standing level on the floor at rest, with the drawn heading."""
    w, x, y, z = flights.attitude_wxyz.T
    half = 0.5 * np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    still = np.zeros_like(flights.launch_velocity_m_s)
    return replace(
        flights,
        attitude_wxyz=np.stack([np.cos(half), 0.0 * half, 0.0 * half, np.sin(half)], axis=1),
        height_m=np.full_like(flights.height_m, airframe.rest_height_m),
        launch_velocity_m_s=still,
        launch_rates_rad_s=still,
    )


def _plan(flights: Flights, duration_s: float, rng: np.random.Generator) -> Plan:
    height, angle = float(flights.setpoint_height_m[0]), rng.uniform(0.0, 2.0 * math.pi)
    x, y = FOLLOW_M_S * math.cos(angle), FOLLOW_M_S * math.sin(angle)
    times = np.cumsum([height / CLIMB_M_S, HOVER_S, FOLLOW_S / 2.0, FOLLOW_S / 2.0]).tolist()
    hover_s, follow_s, turn_s, land_s = times
    legs: list[tuple[float, Floats3]] = [
        (0.0, (0.0, 0.0, CLIMB_M_S)),
        (hover_s, (0.0, 0.0, 0.0)),
        (follow_s, (x, y, 0.0)),
        (turn_s, (-y, x, 0.0)),
        (land_s, (0.0, 0.0, -SINK_M_S)),
        (land_s + (height + GROUND_DEPTH_M) / SINK_M_S, (0.0, 0.0, 0.0)),
    ]
    path = velocity_steps(legs, (0.0, 0.0, 0.0))
    begins = ((land_s, "land"), (follow_s, "follow"), (hover_s + HOVER_S / 3.0, "hover"), (0.0, "take off"))
    return lambda t_s, body: reference_goal(path, t_s, body, next(phase for start, phase in begins if t_s >= start))


def _judge(nothing: None, moment: Moment) -> tuple[None, Outcome]:
    """Lost: over the ceiling, tumbled, touched down too hard, or near the floor when it should hover or follow."""
    phase, height = moment.goal.phase, moment.body.position_m[2]
    low = phase in ("hover", "follow") and height < FLOOR_M
    hard = moment.touchdown_m_s > TOUCHDOWN_LIMIT_M_S
    if low or hard or moment.highest_m > CEILING_M or moment.upright < TUMBLE_COS:
        return None, Outcome.LOST
    stands = moment.clearance_m <= 0.0 and moment.upright >= math.cos(math.radians(TILT_LIMIT_DEG))
    landed = phase == "land" and stands and moment.lift <= MOTORS_OFF_LIFT
    return None, Outcome.DONE if landed else Outcome.FLYING


MISSION: Final = Task(
    conditions=Conditions(sensors=SensorModels(range=RangeModel(near_m=BLIND_BELOW_M))),
    duration_s=25.0,
    launch=from_floor,
    plan=_plan,
    reward_per_s=lambda moment: following_reward_per_s(moment.body, moment.goal.point),
    begin=None,
    judge=_judge,
    succeeded=lambda nothing: False,  # up in the air when the time is up is no landing
    describe=lambda nothing, moment: {"phase": moment.goal.phase, "touchdown_m_s": moment.touchdown_m_s},
)


class MissionEnv(QuadEnv[None]):
    """Terminated: lost, or landed, which is success. Options: `QuadEnv`'s; `info` adds phase and touchdown_m_s."""

    def __init__(self, **options: Any) -> None:
        super().__init__(MISSION, **options)
