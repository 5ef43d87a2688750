"""What flying well costs, as a smooth function of one event: the objective of the analytic trainer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from envs.batched_ops import TORCH_OPS
from envs.physics import Body
from envs.task import Goal
from liquid_pilot.geometry import rotation_matrix
from liquid_pilot.ops import Ops, S


@dataclass(frozen=True, slots=True)
class CostWeights:
    """Weights of the squared terms, per second of flight. Names say what is squared."""

    horizontal_velocity: float = 1.0  # (m/s)^2
    vertical_velocity: float = 0.5
    height: float = 2.0  # m^2
    low_height: float = 30.0  # m^2 below `low_height_m`, or below the set-point where that is lower
    low_height_m: float = 0.35
    roll_pitch_rate: float = 0.02  # (rad/s)^2
    yaw_rate: float = 0.1
    action: float = 0.002
    action_change: float = 0.02
    velocity_knee_m_s: float = 0.25  # beyond these an error costs in proportion, not in its square:
    height_knee_m: float = 0.25  # precision in hover then counts beside the recovery from a throw
    place: float = 0.0  # m^2, horizontally, where the goal is a place
    place_knee_m: float = 0.1
    ceiling: float = 20.0  # a drone that is lost costs no more than this
    thrust_on_floor: float = 0.0  # of a drone no higher than standing_m, whose set-point is on the other side of the
    standing_m: float = 0.02  # floor (thrust above none)^2, on its own side (thrust below lift_action)^2: there, height
    lift_action: float = 0.5  # says nothing of thrust, and in action units -1 is none, 0 the middle


def _bent(ops: Ops, square: Any, knee: float) -> Any:
    """Pseudo-Huber: `square` where it is small, 2 knee |error| where it is large."""
    return (2.0 * knee) * (ops.sqrt(square + knee * knee) - knee)


def event_cost(
    ops: Ops,
    weights: CostWeights,
    body: Body[S],
    goal: Goal[S],
    action: Sequence[S],
    previous: Sequence[S],
    places: bool = False,
) -> S:
    """Cost of one drone at one event, over `ops` scalars. action, previous: four each, in [-1, 1].

    The velocity is asked for in the heading frame; heading is the direction of body x over ground. places: the goal is
    a place, at its `point`.
    """
    velocity, climb = goal.velocity_m_s, goal.point.velocity_m_s[2]
    matrix = rotation_matrix(body.attitude_wxyz)
    hx: Any = matrix[0][0]
    hy: Any = matrix[1][0]
    norm = 1.0 / ops.sqrt(hx * hx + hy * hy + 1e-6)
    hx, hy = hx * norm, hy * norm
    v, w = body.velocity_m_s, body.rates_rad_s
    ex = v[0] - (hx * velocity[0] - hy * velocity[1])
    ey = v[1] - (hy * velocity[0] + hx * velocity[1])
    ez, vz = body.position_m[2] - goal.height_m, v[2] - climb
    low = ops.maximum(ops.minimum(goal.height_m, weights.low_height_m) - body.position_m[2], 0.0)
    yaw = w[2] - goal.yaw_rate_rad_s
    changes = [a - b for a, b in zip(action, previous, strict=True)]
    excess, lack = action[0] + 1.0, ops.maximum(weights.lift_action - action[0], 0.0)
    wrong: Any = ops.select(goal.height_m, 2.0 * weights.standing_m, lack * lack, 0.0 * excess)
    wrong = ops.select(0.0, goal.height_m, excess * excess, wrong)
    wrong = ops.select(weights.standing_m, body.position_m[2], wrong, 0.0 * excess)
    cost: Any = (
        weights.horizontal_velocity * _bent(ops, ex * ex + ey * ey, weights.velocity_knee_m_s)
        + weights.vertical_velocity * vz * vz
        + weights.height * _bent(ops, ez * ez, weights.height_knee_m)
        + weights.low_height * low * low
        + weights.roll_pitch_rate * (w[0] * w[0] + w[1] * w[1])
        + weights.yaw_rate * yaw * yaw
        + weights.action * sum((a * a for a in action[1:]), action[0] * action[0])
        + weights.action_change * sum((c * c for c in changes[1:]), changes[0] * changes[0])
        + weights.thrust_on_floor * wrong
    )
    if places:
        (x, y, _), (px, py, _) = body.position_m, goal.point.position_m
        dx, dy = x - px, y - py
        cost = cost + weights.place * _bent(ops, dx * dx + dy * dy, weights.place_knee_m)
    limited: S = ops.minimum(cost, weights.ceiling)
    return limited


def flight_cost(
    weights: CostWeights, body: Body[Tensor], goal: Goal[Tensor], action: Tensor, previous: Tensor, places: bool = False
) -> Tensor:
    """`event_cost` of each lane, (B,). action, previous: (B, 4)."""
    return event_cost(TORCH_OPS, weights, body, goal, action.unbind(dim=1), previous.unbind(dim=1), places)
