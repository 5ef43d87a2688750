"""What a drone earns while it learns: the task's reward, without its floor."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from envs.task import Moment, Task
from liquid_pilot.ops import Ops


def bent(ops: Ops, error: Any) -> Any:
    """error where it is small, with a slope that falls as 1 / sqrt(1 + 2 error) and never ends."""
    return ops.sqrt(1.0 + 2.0 * error) - 1.0


def learning_reward_per_s(ops: Ops, moment: Moment[Any]) -> Any:
    """As `envs.task.following_reward_per_s` near the set-point, but better is always told from worse.

    That reward is -1 for every error from 2 m/s on, where a policy that has just learnt to stay up still is.
    """
    body, point = moment.body, moment.goal.point
    (vx, vy, vz), (wx, wy, wz), (p, q, r) = body.velocity_m_s, point.velocity_m_s, body.rates_rad_s
    across = ops.sqrt((vx - wx) ** 2 + (vy - wy) ** 2)
    height, climb = (ops.maximum(e, -e) for e in (body.position_m[2] - point.position_m[2], vz - wz))
    spin = ops.sqrt(p * p + q * q + r * r)
    return 1.0 - bent(ops, across) - bent(ops, height) - 0.2 * bent(ops, climb) - 0.05 * bent(ops, spin)


def learning(task: Task) -> Task:
    """The task with that reward."""
    return replace(task, reward_per_s=learning_reward_per_s)
