"""Closed-loop scoring of a network in the batched world: many flights at once, without gradients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from envs.airframe import Airframe
from envs.batched_quad import BatchedQuad
from envs.batched_state import BatchedState
from envs.conditions import SUBSTEP_S, Conditions
from envs.flights import draw_flights
from envs.scoring import (
    MEASURE_AFTER_S,
    TILT_AFTER_S,
    TILT_LIMIT_DEG,
    FlightScore,
    out_of_bounds,
)
from liquid_pilot.bundle import Bundle
from liquid_pilot.command import DEFAULT_LIMITS, CommandLimits, from_action
from policies.network import PolicyNetwork


@dataclass(slots=True)
class _Ledger:
    """Running measures of every lane, (B,)."""

    lowest_m: Tensor
    highest_m: Tensor
    tilted: Tensor
    speed_error: Tensor
    height_error: Tensor
    weight: Tensor


def _measure(ledger: _Ledger, state: BatchedState, duration_s: float) -> None:
    """Add one event to the ledger; lanes past their end no longer count."""
    since = state.t_s - state.release_s
    flying = (since >= 0) & (since <= duration_s)
    z = state.body.position_m[2]
    ledger.lowest_m = torch.where(flying, torch.minimum(ledger.lowest_m, z), ledger.lowest_m)
    ledger.highest_m = torch.where(flying, torch.maximum(ledger.highest_m, z), ledger.highest_m)
    q = state.body.attitude_wxyz
    tilt = torch.rad2deg(torch.acos((1.0 - 2.0 * (q[1] ** 2 + q[2] ** 2)).clamp(-1.0, 1.0)))
    ledger.tilted |= flying & (since >= TILT_AFTER_S) & (tilt >= TILT_LIMIT_DEG)
    measured = (flying & (since >= min(MEASURE_AFTER_S, duration_s / 2.0))).to(z.dtype)
    yaw = torch.atan2(2 * (q[0] * q[3] + q[1] * q[2]), 1 - 2 * (q[2] ** 2 + q[3] ** 2))
    want, v = state.constants["setpoint_velocity_m_s"], state.body.velocity_m_s
    ex = v[0] - (torch.cos(yaw) * want[0] - torch.sin(yaw) * want[1])
    ey = v[1] - (torch.sin(yaw) * want[0] + torch.cos(yaw) * want[1])
    error = torch.nan_to_num(torch.hypot(ex, ey), nan=1e3)
    weight = measured * state.dt_s.to(z.dtype)
    ledger.speed_error += error * weight
    ledger.height_error += (z - state.constants["setpoint_height_m"]).abs() * weight
    ledger.weight += weight


def evaluate_network(
    network: PolicyNetwork,
    airframe: Airframe,
    conditions: Conditions,
    flights: int,
    seed: int,
    duration_s: float = 15.0,
    limits: CommandLimits = DEFAULT_LIMITS,
    substep_s: float = SUBSTEP_S,
) -> list[FlightScore]:
    """Score `flights` flights of `duration_s` after release. The same draw of flights as in PyBullet."""
    world = BatchedQuad(airframe, conditions, torch.Generator().manual_seed(seed), substep_s=substep_s)
    state = world.reset(draw_flights(airframe, conditions, flights, np.random.default_rng([seed]), duration_s))
    h = network.initial_state(flights)
    zero = torch.zeros(flights)
    ledger = _Ledger(zero + torch.inf, zero.clone(), zero > 1, zero.clone(), zero.clone(), zero.clone())
    with torch.no_grad():
        while bool((state.t_s < state.release_s + duration_s).any()):
            action, h = network.step(world.observe(state), h, state.dt_s)
            command = from_action(limits, (action[:, 0], action[:, 1], action[:, 2], action[:, 3]))
            state = world.step(state, command, world.intervals(state))
            _measure(ledger, state, duration_s)
    return [_score(ledger, lane) for lane in range(flights)]


def _score(ledger: _Ledger, lane: int) -> FlightScore:
    weight = max(float(ledger.weight[lane]), 1e-9)
    reason = out_of_bounds(float(ledger.lowest_m[lane]), float(ledger.highest_m[lane]))
    reason = reason or ("tilt" if bool(ledger.tilted[lane]) else "")
    if reason:
        return FlightScore(False, reason, float("inf"), float("inf"))
    return FlightScore(True, "", float(ledger.speed_error[lane]) / weight, float(ledger.height_error[lane]) / weight)


def evaluate_batched(
    bundle: Bundle, airframe: Airframe, conditions: Conditions, flights: int, seed: int, duration_s: float = 15.0
) -> list[FlightScore]:
    """`evaluate_network` for a policy file."""
    network = PolicyNetwork.from_bundle(bundle)
    return evaluate_network(network, airframe, conditions, flights, seed, duration_s, bundle.limits)
