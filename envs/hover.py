"""The task Hover (`liquid_pilot/Hover-v0`): recover from a throw, then hold velocity and height."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from envs.actions import read_action
from envs.conditions import Conditions
from envs.flights import Flights
from envs.physics import Body
from envs.quad_env import CRASH_REWARD, Action, Observation, QuadEnv, make_conditions
from envs.scoring import TILT_AFTER_S, TILT_LIMIT_DEG, out_of_bounds
from envs.task import TUMBLE_COS, Moment, Outcome, Plan, Task, following_reward_per_s, from_hand, setpoint_goal
from liquid_pilot.messages import Setpoint

__all__ = [
    "CRASH_REWARD",
    "HOVER",
    "Action",
    "HoverEnv",
    "Observation",
    "hover_reward_per_s",
    "make_conditions",
    "read_action",
]


def hover_reward_per_s(body: Body[float], setpoint: Setpoint) -> float:
    """`following_reward_per_s` towards a set-point: 1 for a perfect hover, never below -1."""
    return following_reward_per_s(body, setpoint_goal(setpoint, body).point)


def drawn_setpoint(flights: Flights) -> Setpoint:
    """The set-point of the first of the flights."""
    vx, vy = flights.setpoint_velocity_m_s[0].tolist()
    height, yaw_rate = float(flights.setpoint_height_m[0]), float(flights.setpoint_yaw_rate_rad_s[0])
    return Setpoint(0.0, (vx, vy), height, yaw_rate)


def _plan(flights: Flights, duration_s: float, rng: np.random.Generator) -> Plan:
    setpoint = drawn_setpoint(flights)
    return lambda t_s, body: setpoint_goal(setpoint, body)


def _judge(leant: bool, moment: Moment) -> tuple[bool, Outcome]:
    """What is remembered: whether the drone has leant too far once it had time to recover."""
    late = moment.since_release_s >= TILT_AFTER_S
    leant = leant or (late and moment.upright <= math.cos(math.radians(TILT_LIMIT_DEG)))
    lost = out_of_bounds(moment.lowest_m, moment.highest_m) is not None or moment.upright < TUMBLE_COS
    return leant, Outcome.LOST if lost else Outcome.FLYING


HOVER: Final = Task(
    conditions=Conditions(),
    duration_s=15.0,
    launch=from_hand,
    plan=_plan,
    reward_per_s=lambda moment: following_reward_per_s(moment.body, moment.goal.point),
    begin=False,
    judge=_judge,
    succeeded=lambda leant: not leant,
    describe=lambda leant, moment: {},
)


class HoverEnv(QuadEnv[bool]):
    """Terminated: nearer than 0.1 m to the ground, above 3.5 m, tilt past 90 degrees. Options: `QuadEnv`'s."""

    def __init__(self, **options: Any) -> None:
        super().__init__(HOVER, **options)
