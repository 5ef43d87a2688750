"""Closed-loop scoring of a network in the batched world: many flights at once, without gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from envs.airframe import Airframe
from envs.batched_quad import BatchedQuad
from envs.batched_state import BatchedState
from envs.conditions import SUBSTEP_S, Conditions
from envs.flights import draw_flights
from envs.ledger import LEDGER, flight_scores
from envs.scoring import MEASURE_AFTER_S, FlightScore, Rule
from envs.task import Goal
from liquid_pilot.bundle import Bundle
from liquid_pilot.command import DEFAULT_LIMITS, CommandLimits, from_action
from policies.drills import HOVER_DRILL, Drill
from policies.network import PolicyNetwork


@dataclass(slots=True)
class _Ledger:
    """The rows of `envs.ledger.LEDGER` as tensors, (B,)."""

    lowest_m: Tensor
    highest_m: Tensor
    tilted: Tensor
    speed_error: Tensor
    height_error: Tensor
    weight: Tensor
    not_finite: Tensor
    speed_square: Tensor
    place_square: Tensor
    touchdown_m_s: Tensor
    clearance_m: Tensor
    speed_m_s: Tensor
    closest_m: Tensor
    crossed_s: Tensor

    def scores(self, rule: Rule) -> list[FlightScore]:
        return flight_scores(np.stack([getattr(self, name).double().numpy() for name in LEDGER]), rule)


def _new_ledger(batch: int) -> _Ledger:
    zero, never = torch.zeros(batch), torch.zeros(batch, dtype=torch.bool)
    never_near = zero + torch.inf
    return _Ledger(never_near, zero, never, zero, zero, zero, never, zero, zero, zero, zero, zero, never_near, zero)


def _measure(
    ledger: _Ledger, state: BatchedState, goal: Goal[Tensor], duration_s: float, rule: Rule, rest_height_m: float
) -> None:
    """Add one event to the ledger; lanes past their end no longer count."""
    since = state.t_s - state.release_s
    flying = (since >= 0) & (since <= duration_s)
    z = state.body.position_m[2]
    aloft = flying & (torch.as_tensor(goal.aloft) > 0.5)
    ledger.lowest_m = torch.where(aloft, torch.minimum(ledger.lowest_m, z), ledger.lowest_m)
    ledger.highest_m = torch.where(flying, torch.maximum(ledger.highest_m, z), ledger.highest_m)
    q = state.body.attitude_wxyz
    cosine = 1.0 - 2.0 * (q[1] ** 2 + q[2] ** 2)
    tilt = torch.rad2deg(torch.acos(cosine.clamp(-1.0, 1.0)))
    ledger.tilted = ledger.tilted | (flying & (since >= rule.tilt_after_s) & (tilt >= rule.tilt_limit_deg))
    want, v = goal.point.velocity_m_s, state.body.velocity_m_s
    speed_error, height_error = torch.hypot(v[0] - want[0], v[1] - want[1]), (z - goal.point.position_m[2]).abs()
    clearance, speed = z - rest_height_m, torch.sqrt(v[0] ** 2 + v[1] ** 2 + v[2] ** 2)
    down = flying & (ledger.clearance_m > 0) & (clearance <= 0)
    faster = torch.maximum(ledger.touchdown_m_s, ledger.speed_m_s)
    ledger.touchdown_m_s = torch.where(down, faster, ledger.touchdown_m_s)
    ledger.clearance_m = torch.where(flying, clearance, ledger.clearance_m)
    ledger.speed_m_s = torch.where(flying, speed, ledger.speed_m_s)
    finite = torch.isfinite(z + cosine + speed_error)
    ledger.not_finite = ledger.not_finite | ((since <= duration_s) & ~finite)
    measured = flying & finite & (since >= min(MEASURE_AFTER_S, duration_s / 2.0))
    weight = torch.where(measured, state.dt_s, 0.0).to(z.dtype) * goal.settled
    ledger.speed_error = ledger.speed_error + torch.where(measured, speed_error * weight, 0.0)
    ledger.speed_square = ledger.speed_square + torch.where(measured, speed_error**2 * weight, 0.0)
    pairs = zip(state.body.position_m, goal.point.position_m, strict=True)
    off = torch.stack([(here - there) ** 2 for here, there in pairs]).sum(dim=0)
    ledger.place_square = ledger.place_square + torch.where(measured, off * weight, 0.0)
    ledger.height_error = ledger.height_error + torch.where(measured, height_error * weight, 0.0)
    ledger.weight = ledger.weight + weight


def step_network(
    network: PolicyNetwork, world: BatchedQuad, state: BatchedState, action: Tensor, h: Tensor
) -> tuple[Tensor, Tensor]:
    """Action (B, 4) and state (B, state_width) at this IMU event; those of before where its sample was refused."""
    new, new_h = network.step(world.observe(state), h, state.imu.step_s)
    refused = (state.imu.silent_s > 0.0)[:, None]
    if not bool(refused.any()):
        return new, new_h
    return torch.where(refused, action, new), torch.where(refused, h, new_h)


def evaluate_network(
    network: PolicyNetwork,
    airframe: Airframe,
    conditions: Conditions,
    flights: int,
    seed: int,
    duration_s: float = 15.0,
    limits: CommandLimits = DEFAULT_LIMITS,
    substep_s: float = SUBSTEP_S,
    on_progress: Callable[[int], None] = lambda done: None,
    drill: Drill = HOVER_DRILL,
) -> list[FlightScore]:
    """Score `flights` flights of `duration_s` after release. The same draw of flights as in PyBullet.

    A flight whose command or motion is not finite fails. on_progress: told the number of flights done; as all are
    flown at once, that is the share of the time simulated.
    """
    world = BatchedQuad(
        airframe, conditions, torch.Generator().manual_seed(seed), substep_s=substep_s, aim=drill.aim(duration_s)
    )
    drawn = draw_flights(airframe, conditions, flights, np.random.default_rng([seed]), duration_s)
    course = drill.course(drawn, duration_s, np.random.default_rng([seed, 0]))
    state = world.reset(drill.launch(drawn, airframe), course)
    action, h = torch.zeros((flights, network.spec.outputs)), network.initial_state(flights)
    ledger, told = _new_ledger(flights), 0
    with torch.no_grad():
        while bool((state.t_s < state.release_s + duration_s).any()):
            action, h = step_network(network, world, state, action, h)
            thrust, rates = from_action(limits, (action[:, 0], action[:, 1], action[:, 2], action[:, 3]))
            command = torch.stack([thrust, *rates])
            lost = ~torch.isfinite(command).all(dim=0)
            ledger.not_finite = ledger.not_finite | (lost & (state.t_s - state.release_s <= duration_s))
            command = torch.where(lost, state.commands[:, -1], command)  # as good as any; the flight has failed
            state = world.step(state, (command[0], (command[1], command[2], command[3])), world.intervals(state))
            _measure(ledger, state, world.goal(state), duration_s, drill.rule, airframe.rest_height_m)
            done = int(flights * min(1.0, float(state.t_s.min()) / (conditions.hold_s + duration_s)))
            if done > told:
                on_progress(done)
                told = done
    if told < flights:
        on_progress(flights)
    return ledger.scores(drill.rule)


def evaluate_batched(
    bundle: Bundle,
    airframe: Airframe,
    conditions: Conditions,
    flights: int,
    seed: int,
    duration_s: float = 15.0,
    on_progress: Callable[[int], None] = lambda done: None,
    drill: Drill = HOVER_DRILL,
) -> list[FlightScore]:
    """`evaluate_network` for a policy file."""
    network, limits = PolicyNetwork.from_bundle(bundle), bundle.limits
    given = (network, airframe, conditions, flights, seed, duration_s, limits)
    return evaluate_network(*given, on_progress=on_progress, drill=drill)
