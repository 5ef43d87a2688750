"""The compiled rollout for the analytic trainer and for scoring: loss, gradient and flights without torch's graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, fields
from typing import Any, Final

import numpy as np
import torch

from envs.airframe import Airframe
from envs.compiled.engine import CompiledRollout, Draw, Lanes, Objective, draw_noise, new_ledger
from envs.compiled.state import CONSTANTS, intervals, reset
from envs.compiled.world import EventCost, Goal, WorldModel
from envs.conditions import SUBSTEP_S, Conditions
from envs.flights import draw_flights
from envs.physics import Body
from envs.scoring import TILT_AFTER_S, FlightScore, out_of_bounds
from liquid_pilot.bundle import Bundle
from liquid_pilot.cells import CellSpec
from liquid_pilot.command import DEFAULT_LIMITS, CommandLimits
from liquid_pilot.ops import Ops
from policies.backend import Carry, Recipe
from policies.cost import CostWeights, event_cost
from policies.flat_state import pack, unpack
from policies.fragments import flatten_weights, network_source, split_weights
from policies.network import PolicyNetwork

CHUNK_STEPS: Final = 64  # events that are flown before asking whether every flight is over
LANES_AT_ONCE: Final = 2048  # drones whose random numbers are held in memory at once


def _traced_cost(
    ops: Ops, weights: Sequence[Any], body: Body[Any], goal: Goal, action: Sequence[Any], previous: Sequence[Any]
) -> Any:
    setpoint = (goal.velocity_m_s, goal.height_m, goal.yaw_rate_rad_s)
    return event_cost(ops, CostWeights(*weights), body, setpoint, action, previous)


HOVER_COST: Final = EventCost(len(fields(CostWeights)), _traced_cost)


def hover_rollout(
    airframe: Airframe,
    spec: CellSpec,
    limits: CommandLimits = DEFAULT_LIMITS,
    substep_s: float = SUBSTEP_S,
    dtype: type[np.floating[Any]] = np.float32,
    threads: int = 1,
) -> CompiledRollout:
    """The hover task compiled for an airframe and a network."""
    model = WorldModel(airframe, limits, HOVER_COST)
    return CompiledRollout(model, network_source(spec), dtype, substep_s=substep_s, threads=threads)


class CompiledBackend:
    """`policies.backend.Backend` on the compiled rollout; random numbers come from `rng`."""

    name: Final = "compiled"

    def __init__(self, recipe: Recipe, spec: CellSpec, rng: np.random.Generator) -> None:
        self.recipe, self.rng = recipe, rng
        self.rollout = hover_rollout(recipe.airframe, spec, substep_s=recipe.substep_s)
        self.objective = Objective(astuple(recipe.cost), recipe.early_s, recipe.early_weight)

    def gradient(self, network: PolicyNetwork, carry: Carry, conditions: Conditions, steps: int) -> tuple[float, Carry]:
        """See `policies.backend.Backend.gradient`."""
        world, batch = pack(carry.world), len(carry.h)
        dt_s = intervals(conditions, world.constants[CONSTANTS["imu_hz"]][0], steps, self.rng)
        draw = Draw(dt_s, *draw_noise(self.rng, steps, batch))
        lanes = Lanes(world, carry.h.numpy().T, carry.action.numpy().T)
        weights = flatten_weights(network.spec, network.weights())
        result = self.rollout.run(lanes, weights, draw, conditions, self.objective)
        assert result.gradient is not None
        slopes = split_weights(network.spec, result.gradient.astype(np.float32))
        for name, parameter in network.named_parameters():
            parameter.grad = torch.from_numpy(slopes[name.removeprefix("cell.")].copy())
        h, action = (torch.from_numpy(np.ascontiguousarray(a.T)) for a in (result.lanes.h, result.lanes.action))
        return result.loss, Carry(unpack(result.lanes.world, carry.world.constants), h, action)

    def evaluate(
        self, network: PolicyNetwork, conditions: Conditions, flights: int, seed: int, duration_s: float
    ) -> list[FlightScore]:
        """See `policies.backend.Backend.evaluate`."""
        weights = flatten_weights(network.spec, network.weights())
        return fly_and_score(self.rollout, weights, conditions, flights, seed, duration_s)


def fly_and_score(
    rollout: CompiledRollout,
    weights: Any,
    conditions: Conditions,
    flights: int,
    seed: int,
    duration_s: float = 15.0,
) -> list[FlightScore]:
    """Score `flights` flights of `duration_s` after release. The same draw of flights as the other engines fly.

    Noise and intervals depend on the seed and the number of flights.
    """
    drawn = draw_flights(rollout.model.airframe, conditions, flights, np.random.default_rng([seed]))
    scores: list[FlightScore] = []
    for part, start in enumerate(range(0, flights, LANES_AT_ONCE)):
        rng = np.random.default_rng([seed, 1 + part])
        rows = drawn.rows(slice(start, start + LANES_AT_ONCE))
        scores += _fly_part(rollout, weights, conditions, rows, rng, duration_s)
    return scores


def _fly_part(
    rollout: CompiledRollout,
    weights: Any,
    conditions: Conditions,
    rows: Any,
    rng: np.random.Generator,
    duration_s: float,
) -> list[FlightScore]:
    batch, real = len(rows), rollout.dtype.type
    world = reset(rollout.model.airframe, rows, rng, real)
    shapes = ((rollout.network.units, batch), (rollout.network.outputs, batch))
    lanes = Lanes(world, np.zeros(shapes[0], real), np.zeros(shapes[1], real))
    ledger = new_ledger(batch)
    while bool((lanes.world.clock("t_s") < lanes.world.clock("release_s") + duration_s).any()):
        dt_s = intervals(conditions, rows.imu_hz, CHUNK_STEPS, rng)
        draw = Draw(dt_s, *draw_noise(rng, CHUNK_STEPS, batch, real))
        lanes = rollout.score(lanes, weights, draw, conditions, ledger, duration_s)
    return [_score(*column, duration_s=duration_s) for column in ledger.T.tolist()]


def _score(
    lowest_m: float, highest_m: float, tilted: float, speed: float, height: float, weight: float, duration_s: float
) -> FlightScore:
    reason = out_of_bounds(lowest_m, highest_m) or ("tilt" if tilted and duration_s > TILT_AFTER_S else "")
    if reason:
        return FlightScore(False, reason, math.inf, math.inf)
    return FlightScore(True, "", speed / max(weight, 1e-9), height / max(weight, 1e-9))


def evaluate_compiled(
    bundle: Bundle,
    airframe: Airframe,
    conditions: Conditions,
    flights: int,
    seed: int,
    duration_s: float = 15.0,
    threads: int = 1,
) -> list[FlightScore]:
    """`fly_and_score` for a policy file."""
    rollout = hover_rollout(airframe, bundle.spec, bundle.limits, threads=threads)
    return fly_and_score(rollout, flatten_weights(bundle.spec, bundle.weights), conditions, flights, seed, duration_s)
