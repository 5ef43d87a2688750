"""Who flies the chunks of the analytic trainer: torch, the reference, or the compiled rollout, the fast one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from envs.airframe import Airframe
from envs.batched_quad import BatchedQuad
from envs.batched_state import BatchedState, choose, detach
from envs.conditions import Conditions
from envs.flights import Flights
from envs.scoring import FlightScore
from liquid_pilot.cells import CellSpec
from liquid_pilot.command import DEFAULT_LIMITS, from_action
from liquid_pilot.errors import ConfigError, unknown_name
from policies.batched_evaluation import evaluate_network
from policies.cost import CostWeights, hover_cost
from policies.network import PolicyNetwork

BACKENDS: Final = ("torch", "compiled")
Mask: TypeAlias = npt.NDArray[np.bool_]


class Carry(Protocol):
    """What one update hands to the next. h (B, units), action (B, 4)."""

    @property
    def world(self) -> BatchedState:
        """The drones."""
        ...

    @property
    def h(self) -> Tensor:
        """State of the network, (B, units)."""
        ...

    @property
    def action(self) -> Tensor:
        """Newest action, (B, 4)."""
        ...


@dataclass(frozen=True, slots=True)
class TorchCarry:
    """A `Carry` of tensors."""

    world: BatchedState
    h: Tensor
    action: Tensor


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a chunk's loss is made of, beside the flights.

    Events until early_s after the release count `early_weight` only: nobody can hover there yet. Drones older
    than oldest_s are launched anew.
    """

    airframe: Airframe
    cost: CostWeights
    substep_s: float
    early_s: float
    early_weight: float
    oldest_s: float


def worth_keeping(height_m: Any, attitude_xy: tuple[Any, Any], age_s: Any, oldest_s: float) -> Any:
    """Lanes that are not lost and not too old, (B,), of arrays or tensors. attitude_xy: of the quaternion."""
    x, y = attitude_xy
    upright = 1.0 - 2.0 * (x * x + y * y)
    return (height_m > 0.1) & (height_m < 4.0) & (upright > 0.2) & (age_s < oldest_s)


class Backend(Protocol):
    """Flies chunks with gradients and scores flights."""

    name: str  # one of `BACKENDS`

    def launch(self, flights: Flights, conditions: Conditions, old: Carry | None, keep: Mask) -> Carry:
        """Lanes of the next chunk: those of `old` that are wanted (keep, (B,)) and `worth_keeping`, else `flights`."""
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

    name: str = "torch"

    def __init__(self, recipe: Recipe, spec: CellSpec, generator: torch.Generator) -> None:
        self.recipe, self.spec, self.generator = recipe, spec, generator

    def launch(self, flights: Flights, conditions: Conditions, old: Carry | None, keep: Mask) -> Carry:
        """See `Backend.launch`."""
        fresh = self._world(conditions).reset(flights)
        h, action = torch.zeros(len(flights), self.spec.units), torch.zeros(len(flights), self.spec.outputs)
        if old is None:
            return TorchCarry(fresh, h, action)
        body, age_s = old.world.body, old.world.t_s - old.world.release_s
        _, x, y, _ = body.attitude_wxyz
        good = worth_keeping(body.position_m[2], (x, y), age_s, self.recipe.oldest_s) & torch.as_tensor(keep)
        good &= torch.isfinite(old.h).all(dim=1)
        merged = choose(good, old.world, fresh)
        merged.constants["imu_hz"] = fresh.constants["imu_hz"]
        rows = good[:, None]
        return TorchCarry(merged, torch.where(rows, old.h, h), torch.where(rows, old.action, action))

    def _world(self, conditions: Conditions) -> BatchedQuad:
        return BatchedQuad(self.recipe.airframe, conditions, self.generator, substep_s=self.recipe.substep_s)

    def gradient(self, network: PolicyNetwork, carry: Carry, conditions: Conditions, steps: int) -> tuple[float, Carry]:
        """See `Backend.gradient`."""
        recipe = self.recipe
        world = self._world(conditions)
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
        return float(loss.detach()), TorchCarry(detach(state), h.detach(), previous.detach())

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
        return TorchBackend(recipe, spec, generator)
    if name == "compiled":
        from policies.compiled_trainer import CompiledBackend  # builds nothing until it is asked for

        return CompiledBackend(recipe, spec, rng)
    raise ConfigError(unknown_name("backend", name, list(BACKENDS)))
