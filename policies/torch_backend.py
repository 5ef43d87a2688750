"""The torch backend of the analytic trainer: autograd through the batched world, the reference."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from envs.batched_quad import BatchedQuad
from envs.batched_state import BatchedState, choose, detach
from envs.conditions import Conditions
from envs.flights import Flights
from envs.scoring import FlightScore
from envs.task import Course
from liquid_pilot.cells import CellSpec
from liquid_pilot.command import DEFAULT_LIMITS, from_action
from policies.backend import Carry, Mask, Recipe, worth_keeping
from policies.batched_evaluation import evaluate_network, step_network
from policies.cost import CostWeights, flight_cost
from policies.network import PolicyNetwork


@dataclass(frozen=True, slots=True)
class TorchCarry:
    """A `Carry` of tensors."""

    world: BatchedState
    h: Tensor
    action: Tensor


class TorchBackend:
    """Autograd through `BatchedQuad`; random numbers come from `generator`."""

    name: str = "torch"

    def __init__(self, recipe: Recipe, spec: CellSpec, generator: torch.Generator) -> None:
        self.recipe, self.spec, self.generator = recipe, spec, generator

    def launch(self, flights: Flights, course: Course, conditions: Conditions, old: Carry | None, keep: Mask) -> Carry:
        """See `Backend.launch`."""
        fresh = self._world(conditions).reset(flights, course)
        h, action = torch.zeros(len(flights), self.spec.state_width), torch.zeros(len(flights), self.spec.outputs)
        if old is None:
            return TorchCarry(fresh, h, action)
        body, age_s = old.world.body, old.world.t_s - old.world.release_s
        seen = (old.world.course, body.position_m[2], *body.attitude_wxyz[1:3], age_s)
        told, height_m, x, y, age = (part.numpy() for part in seen)
        good = torch.as_tensor(worth_keeping(self.recipe, told, height_m, (x, y), age) & keep)
        good &= torch.isfinite(old.h).all(dim=1)
        merged = choose(good, old.world, fresh)
        merged.constants["imu_hz"] = fresh.constants["imu_hz"]
        rows = good[:, None]
        return TorchCarry(merged, torch.where(rows, old.h, h), torch.where(rows, old.action, action))

    def _world(self, conditions: Conditions) -> BatchedQuad:
        recipe = self.recipe
        aim = recipe.drill.aim(recipe.course_s)
        return BatchedQuad(recipe.airframe, conditions, self.generator, substep_s=recipe.substep_s, aim=aim)

    def gradient(self, network: PolicyNetwork, carry: Carry, conditions: Conditions, steps: int) -> tuple[float, Carry]:
        """See `Backend.gradient`."""
        recipe = self.recipe
        world = self._world(conditions)
        state, h, previous = carry.world, carry.h, carry.action
        total, weight = torch.zeros(()), torch.zeros(())
        for _ in range(steps):
            action, h = step_network(network, world, state, previous, h)
            command = from_action(DEFAULT_LIMITS, (action[:, 0], action[:, 1], action[:, 2], action[:, 3]))
            state = world.step(state, command, world.intervals(state))
            since = state.t_s - state.release_s
            share = torch.where(since < recipe.early_s, recipe.early_weight, 1.0) * (since > 0)
            share = (share * state.dt_s).to(action.dtype)
            assert isinstance(recipe.cost, CostWeights)  # `make_backend` refuses the others
            cost = flight_cost(recipe.cost, state.body, world.goal(state), action, previous, world.aim.locates)
            total = total + (cost * share).sum()
            weight = weight + share.sum()
            previous = action
        loss = total / torch.clamp(weight, min=1e-3)
        network.zero_grad()
        if loss.requires_grad:
            loss.backward()
        return float(loss.detach()), TorchCarry(detach(state), h.detach(), previous.detach())

    def evaluate(
        self, network: PolicyNetwork, conditions: Conditions, flights: int, seed: int, duration_s: float
    ) -> list[FlightScore]:
        """See `Backend.evaluate`."""
        recipe = self.recipe
        given = (network, recipe.airframe, conditions, flights, seed, duration_s)
        return evaluate_network(*given, substep_s=recipe.substep_s, drill=recipe.drill)
