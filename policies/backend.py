"""Who flies the chunks of the analytic trainer: torch, the reference, or the compiled rollout, the fast one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import torch
from torch import Tensor

from envs.airframe import Airframe
from envs.batched_quad import BatchedQuad
from envs.batched_state import BatchedState, detach
from envs.conditions import Conditions
from envs.scoring import FlightScore
from liquid_pilot.cells import CellSpec
from liquid_pilot.command import DEFAULT_LIMITS, from_action
from liquid_pilot.errors import ConfigError, unknown_name
from policies.batched_evaluation import evaluate_network
from policies.cost import CostWeights, hover_cost
from policies.network import PolicyNetwork

BACKENDS: Final = ("torch", "compiled")


@dataclass(slots=True)
class Carry:
    """What one update hands to the next. h (B, units), action (B, 4)."""

    world: BatchedState
    h: Tensor
    action: Tensor


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a chunk's loss is made of, beside the flights.

    Events until early_s after the release count `early_weight` only: nobody can hover there yet.
    """

    airframe: Airframe
    cost: CostWeights
    substep_s: float
    early_s: float
    early_weight: float


class Backend(Protocol):
    """Flies chunks with gradients and scores flights."""

    @property
    def name(self) -> str:
        """One of `BACKENDS`."""
        ...

    def gradient(self, network: PolicyNetwork, carry: Carry, conditions: Conditions, steps: int) -> tuple[float, Carry]:
        """Fly `steps` events on from the carry. Returns the mean cost per second of flight and the new carry.

        Leaves the gradient of that cost in `.grad` of the network's parameters.
        """
        ...

    def evaluate(
        self, network: PolicyNetwork, conditions: Conditions, flights: int, seed: int, duration_s: float
    ) -> list[FlightScore]:
        """Score flights of `duration_s` after release; the draw of flights depends on the seed alone."""
        ...


class TorchBackend:
    """Autograd through `BatchedQuad`; random numbers come from `generator`."""

    name: Final = "torch"

    def __init__(self, recipe: Recipe, generator: torch.Generator) -> None:
        self.recipe, self.generator = recipe, generator

    def gradient(self, network: PolicyNetwork, carry: Carry, conditions: Conditions, steps: int) -> tuple[float, Carry]:
        """See `Backend.gradient`."""
        recipe = self.recipe
        world = BatchedQuad(recipe.airframe, conditions, self.generator, substep_s=recipe.substep_s)
        state, h, previous = carry.world, carry.h, carry.action
        total, weight = torch.zeros(()), torch.zeros(())
        for _ in range(steps):
            action, h = network.step(world.observe(state), h, state.dt_s)
            command = from_action(DEFAULT_LIMITS, (action[:, 0], action[:, 1], action[:, 2], action[:, 3]))
            state = world.step(state, command, world.intervals(state))
            since = state.t_s - state.release_s
            share = torch.where(since < recipe.early_s, recipe.early_weight, 1.0) * (since > 0)
            share = (share * state.dt_s).to(action.dtype)
            total = total + (hover_cost(recipe.cost, state, action, previous) * share).sum()
            weight = weight + share.sum()
            previous = action
        loss = total / torch.clamp(weight, min=1e-3)
        network.zero_grad()
        if loss.requires_grad:
            loss.backward()
        return float(loss.detach()), Carry(detach(state), h.detach(), previous.detach())

    def evaluate(
        self, network: PolicyNetwork, conditions: Conditions, flights: int, seed: int, duration_s: float
    ) -> list[FlightScore]:
        """See `Backend.evaluate`."""
        recipe = self.recipe
        return evaluate_network(
            network, recipe.airframe, conditions, flights, seed, duration_s, substep_s=recipe.substep_s
        )


def make_backend(
    name: str, recipe: Recipe, spec: CellSpec, generator: torch.Generator, rng: np.random.Generator
) -> Backend:
    """The backend of that name. torch draws from `generator`, the compiled one from `rng`.

    Raises `ConfigError` for another name, `NativeUnavailable` or `NativeBuildError` where C cannot be compiled.
    """
    if name == "torch":
        return TorchBackend(recipe, generator)
    if name == "compiled":
        from policies.compiled_trainer import CompiledBackend  # builds nothing until it is asked for

        return CompiledBackend(recipe, spec, rng)
    raise ConfigError(unknown_name("backend", name, list(BACKENDS)))
