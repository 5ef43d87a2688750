"""What hovering well costs, as a smooth function of one event: the objective of the analytic trainer."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from envs.batched_state import BatchedState
from liquid_pilot.geometry import rotation_matrix


@dataclass(frozen=True, slots=True)
class CostWeights:
    """Weights of the squared terms, per second of flight. Names say what is squared."""

    horizontal_velocity: float = 1.0  # (m/s)^2
    vertical_velocity: float = 0.5
    height: float = 2.0  # m^2
    low_height: float = 30.0  # m^2 below `low_height_m`
    low_height_m: float = 0.35
    roll_pitch_rate: float = 0.02  # (rad/s)^2
    yaw_rate: float = 0.1
    action: float = 0.002
    action_change: float = 0.02
    ceiling: float = 20.0  # a drone that is lost costs no more than this


def hover_cost(weights: CostWeights, state: BatchedState, action: Tensor, previous: Tensor) -> Tensor:
    """Cost of each lane at one event, (B,). action, previous: (B, 4) in [-1, 1].

    The velocity set-point is in the heading frame; heading is the direction of body x over ground.
    """
    c, body = state.constants, state.body
    matrix = rotation_matrix(body.attitude_wxyz)
    hx, hy = matrix[0][0], matrix[1][0]
    norm = torch.rsqrt(hx * hx + hy * hy + 1e-6)
    hx, hy = hx * norm, hy * norm
    want = c["setpoint_velocity_m_s"]
    v, w = body.velocity_m_s, body.rates_rad_s
    ex = v[0] - (hx * want[0] - hy * want[1])
    ey = v[1] - (hy * want[0] + hx * want[1])
    ez = body.position_m[2] - c["setpoint_height_m"]
    low = torch.clamp(weights.low_height_m - body.position_m[2], min=0.0)
    yaw = w[2] - c["setpoint_yaw_rate_rad_s"]
    cost = (
        weights.horizontal_velocity * (ex * ex + ey * ey)
        + weights.vertical_velocity * v[2] * v[2]
        + weights.height * ez * ez
        + weights.low_height * low * low
        + weights.roll_pitch_rate * (w[0] * w[0] + w[1] * w[1])
        + weights.yaw_rate * yaw * yaw
        + weights.action * (action * action).sum(dim=1)
        + weights.action_change * ((action - previous) ** 2).sum(dim=1)
    )
    return torch.clamp(cost, max=weights.ceiling)
