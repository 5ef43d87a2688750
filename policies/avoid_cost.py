"""What crossing a forest well costs, as a smooth function of one event: the objective of the trainer of Avoid.

Two penalties say what is in the way. The barrier grows where an obstacle is near, in proportion to how fast the drone
comes nearer. The other looks ahead (velocity obstacles, Fiorini and Shiller, 1998): flying on as it does, how near
would the drone pass, and how soon? It gives a slope across the course long before there is contact. What only weighs
them (speeds, times) is taken as told. Their slope along the course is damped: the drone shall dodge rather than brake.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from envs.forest import NEAR
from envs.physics import Body
from envs.shapes import FAR_M, Obstacle, gap_m, obstacles_of, surface_m
from envs.task import Goal
from liquid_pilot.geometry import rotation_matrix
from liquid_pilot.ops import Ops

COUNTED: Final = 6  # obstacles, of those that are near
STOP_M: Final = 1.5  # before the middle of a wall
SLOWING_M: Final = 3.5  # before that, in which the wanted speed goes down
RETREAT: Final = 0.4  # of the speed, at most, back from a wall: who only stands sees no flow, forgets it, and flies on


@dataclass(frozen=True, slots=True)
class AvoidWeights:
    """Weights of the terms, per second of flight; knees and margins in the unit of their name."""

    along: float = 1.0  # (m/s)^2 of the speed along the course; beyond the knee in proportion
    across: float = 0.15  # (m/s)^2
    across_before_wall: float = 1.0  # in place of that where it shall stop: to the side it sees no tree
    velocity_knee_m_s: float = 0.5
    vertical_velocity: float = 0.5
    height: float = 2.0  # m^2
    rates: float = 0.02  # (rad/s)^2
    yaw_rate: float = 0.1  # (rad/s)^2 off the one that is asked for
    facing: float = 0.6  # squared sine of the angle off the course
    upright: float = 8.0  # of the cosine of the tilt below one half, squared
    action: float = 0.002
    action_change: float = 0.02
    barrier: float = 3.0
    barrier_m: float = 0.7  # clearance of the centre below which it begins
    contact_m: float = 0.15  # clearance of the centre that is contact
    contact_per_m: float = 20.0
    passing: float = 4.0
    passing_m: float = 0.45  # clearance of the centre that an obstacle should be passed with
    soon_s: float = 0.6
    slope_along: float = 0.4  # share of the slope along the course that is kept
    ceiling: float = 30.0  # more than this no event costs, apart from what is in the way


def _bent(ops: Ops, square: Any, knee: float) -> Any:
    """Pseudo-Huber: half of `square` where it is small, knee |error| where it is large."""
    return knee * (ops.sqrt(square + knee * knee) - knee)


def avoid_cost(
    ops: Ops,
    weights: AvoidWeights,
    body: Body[Any],
    goal: Goal[Any],
    action: Sequence[Any],
    previous: Sequence[Any],
    near: Sequence[Any],
    still: Body[Any],
) -> Any:
    """Cost of one drone at one event. near: see `envs.forest.Plot.nearest`; still: the body again, without a slope."""
    stops = _stopping(ops, goal)
    flight = _flight_cost(ops, weights, body, goal, action, previous, stops)
    slope = ops.select(0.5 * FAR_M, goal.blocked_m, 1.0, weights.slope_along)  # before a wall it shall brake
    passing = (1.0 - stops) * weights.passing  # who stands would be told that sliding to the side passes a wall
    forest = _forest_cost(ops, weights, body, near, still, slope, passing)
    return ops.minimum(flight, weights.ceiling) + ops.minimum(forest, weights.ceiling)


def wanted_m_s(ops: Ops, goal: Goal[Any]) -> Any:
    """Speed along the course: that of the goal, but before a wall it goes down to nothing, and then back."""
    slow: Any = ops.clip((goal.blocked_m - STOP_M) * (1.0 / SLOWING_M), -RETREAT, 1.0)
    return goal.point.velocity_m_s[0] * ops.select(goal.blocked_m, 0.0, slow, 1.0)


def _stopping(ops: Ops, goal: Goal[Any]) -> Any:
    """1 where the wanted speed goes down before a wall, 0 elsewhere."""
    near = ops.select(STOP_M + SLOWING_M, goal.blocked_m, 1.0, 0.0)
    return ops.select(goal.blocked_m, 0.0, near, 0.0)


def _flight_cost(
    ops: Ops,
    weights: AvoidWeights,
    body: Body[Any],
    goal: Goal[Any],
    action: Sequence[Any],
    previous: Sequence[Any],
    stops: Any,
) -> Any:
    v, w, matrix, speed = (
        body.velocity_m_s,
        body.rates_rad_s,
        rotation_matrix(body.attitude_wxyz),
        wanted_m_s(ops, goal),
    )
    ex, ez, turn = v[0] - speed, body.position_m[2] - goal.height_m, w[2] - goal.yaw_rate_rad_s
    leaning = ops.maximum(0.5 - matrix[2][2], 0.0)
    cost = weights.along * _bent(ops, ex * ex, weights.velocity_knee_m_s)
    across = weights.across + stops * (weights.across_before_wall - weights.across)
    cost = cost + across * _bent(ops, v[1] * v[1], weights.velocity_knee_m_s)
    cost = cost + weights.vertical_velocity * v[2] * v[2] + weights.height * ez * ez
    cost = cost + weights.rates * (w[0] * w[0] + w[1] * w[1]) + weights.yaw_rate * turn * turn
    cost = cost + weights.facing * matrix[1][0] * matrix[1][0] + weights.upright * leaning * leaning
    cost = cost + weights.action * sum(a * a for a in action)
    return cost + weights.action_change * sum((a - b) * (a - b) for a, b in zip(action, previous, strict=True))


def _forest_cost(
    ops: Ops,
    weights: AvoidWeights,
    body: Body[Any],
    near: Sequence[Any],
    still: Body[Any],
    slope_along: Any,
    passing: Any,
) -> Any:
    (x, y, z), (vx, vy, _), (sx, _, still_z) = body.position_m, body.velocity_m_s, still.position_m
    x = slope_along * x + (1.0 - slope_along) * sx
    speed = ops.sqrt(vx * vx + vy * vy + 1e-6) + 0.3
    ux, uy = vx / speed, vy / speed
    told = _speed(ops, still) + 0.3
    total: Any = 0.0
    for obstacle in obstacles_of(near, NEAR)[:COUNTED]:
        dx, dy = obstacle.x - x, obstacle.y - y
        clear = surface_m(ops, obstacle, (x, y, z))
        closing, ahead = _closing(ops, still, obstacle.x, obstacle.y)
        inside = ops.maximum(weights.barrier_m - clear, 0.0)
        contact = weights.contact_per_m * (weights.contact_m - clear)
        touching = 0.25 * (contact + ops.sqrt(contact * contact + 2.0))
        miss = dx * uy - dy * ux
        half, level = _seen_along(ops, weights, obstacle, (ux, uy), still_z)
        short = ops.maximum(half + weights.passing_m - ops.sqrt(miss * miss + 1e-9), 0.0)
        soon = level * ops.select(ahead, 0.0, ops.exp(ahead * (-1.0 / weights.soon_s) / told), 0.0)
        total = total + weights.barrier * closing * (inside * inside + touching)
        total = total + passing * told * soon * short * short
    return total


def _seen_along(ops: Ops, weights: AvoidWeights, obstacle: Obstacle[Any], way: tuple[Any, Any], z_m: Any) -> Any:
    """Half of its width as one sees it who flies that way, and 1 where it stands in the way: 0 well above or below."""
    if obstacle.plain:
        return obstacle.radius, 1.0
    across, along = (ops.maximum(u, -u) for u in way)
    half = obstacle.radius + obstacle.half_x * along + obstacle.half_y * across
    over = gap_m(ops, obstacle.z - z_m, obstacle.half_z) / (obstacle.radius + weights.barrier_m)
    return half, ops.maximum(1.0 - over, 0.0)


def _speed(ops: Ops, still: Body[Any]) -> Any:
    vx, vy, _ = still.velocity_m_s
    return ops.sqrt(vx * vx + vy * vy + 1e-6)


def _closing(ops: Ops, still: Body[Any], tx: Any, ty: Any) -> tuple[Any, Any]:
    """Speed towards an obstacle, at least 0.3 m/s, and how far ahead it lies in the direction of flight."""
    (x, y, _), (vx, vy, _) = still.position_m, still.velocity_m_s
    dx, dy = tx - x, ty - y
    along: Any = vx * dx + vy * dy
    distance = ops.maximum(ops.sqrt(dx * dx + dy * dy + 1e-9), 0.1)
    return ops.maximum(along / distance, 0.3), along / (_speed(ops, still) + 0.3)
