"""What a drone earns while it learns: the task's reward, without its floor, weighed as the run's configuration says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from envs.task import Moment, Task
from liquid_pilot.ops import Ops


@dataclass(frozen=True, slots=True)
class RewardWeights:
    """Of the errors, per second of flight. early: of all that is earned until early_s after the release.

    Climb and body rates count less than in the task's reward: beside the noise of exploration they would outweigh the
    precision that is asked for.
    """

    across: float = 1.0  # of the horizontal speed error in m/s
    height: float = 1.0  # m
    climb: float = 0.1  # m/s
    spin: float = 0.01  # rad/s
    early: float = 1.0
    early_s: float = 3.0


def bent(ops: Ops, error: Any) -> Any:
    """error where it is small, with a slope that falls as 1 / sqrt(1 + 2 error) and never ends."""
    return ops.sqrt(1.0 + 2.0 * error) - 1.0


def learning_reward_per_s(ops: Ops, moment: Moment[Any], weights: RewardWeights) -> Any:
    """As `envs.task.following_reward_per_s` near the set-point, but better is always told from worse.

    The task's reward is -1 for every error from 2 m/s on, where a policy that has just learnt to stay up still is.
    """
    body, point = moment.body, moment.goal.point
    (vx, vy, vz), (wx, wy, wz), (p, q, r) = body.velocity_m_s, point.velocity_m_s, body.rates_rad_s
    across = ops.sqrt((vx - wx) ** 2 + (vy - wy) ** 2)
    height, climb = (ops.maximum(e, -e) for e in (body.position_m[2] - point.position_m[2], vz - wz))
    spin = ops.sqrt(p * p + q * q + r * r)
    errors = (across, weights.across), (height, weights.height), (climb, weights.climb), (spin, weights.spin)
    lost: Any = sum(weight * bent(ops, error) for error, weight in errors)
    return ops.select(moment.since_release_s, weights.early_s, 1.0, weights.early) * (1.0 - lost)


def learning(task: Task, weights: RewardWeights) -> Task:
    """The task with that reward."""
    return replace(task, reward_per_s=lambda ops, moment: learning_reward_per_s(ops, moment, weights))
