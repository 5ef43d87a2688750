"""The task Hover (`liquid_pilot/Hover-v0`): recover from a throw, then hold velocity and height."""

from __future__ import annotations

import math
from typing import Any, Final

from envs.batched_env import BatchedQuadEnv
from envs.conditions import Conditions
from envs.quad_env import QuadEnv
from envs.scoring import TILT_AFTER_S, TILT_LIMIT_DEG
from envs.task import (
    Memory,
    Moment,
    Task,
    any_of,
    crashed,
    exceeds,
    following_reward_per_s,
    from_hand,
    setpoint_course,
    setpoint_goal,
)
from liquid_pilot.ops import Ops


def _judge(ops: Ops, memory: Memory, moment: Moment[Any]) -> tuple[Memory, Any, Any]:
    """What is remembered: whether the drone has leant too far once it had time to recover."""
    late = exceeds(ops, moment.since_release_s, TILT_AFTER_S)
    upright = exceeds(ops, moment.upright, math.cos(math.radians(TILT_LIMIT_DEG)))
    return (any_of(ops, memory[0], late * (1.0 - upright)),), crashed(ops, moment), 0.0 * late


HOVER: Final = Task(
    conditions=Conditions(),
    duration_s=15.0,
    launch=from_hand,
    course=lambda flights, duration_s, rng: setpoint_course(flights),
    goal=setpoint_goal,
    reward_per_s=lambda ops, moment: following_reward_per_s(ops, moment.body, moment.goal.point),
    begin=(0.0,),
    judge=_judge,
    succeeded=lambda ops, memory: 1.0 - memory[0],
    describe=lambda ops, memory, moment: {},
    unmet="tilt",
)


class HoverEnv(QuadEnv):
    """Terminated: nearer than 0.1 m to the ground, above 3.5 m, tilt past 90 degrees. Options: `QuadEnv`'s."""

    def __init__(self, **options: Any) -> None:
        super().__init__(HOVER, **options)


class HoverVectorEnv(BatchedQuadEnv):
    """Many drones at once. Options: `BatchedQuadEnv`'s."""

    def __init__(self, num_envs: int = 1, **options: Any) -> None:
        super().__init__(HOVER, num_envs, **options)
