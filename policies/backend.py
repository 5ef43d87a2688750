"""Who flies the chunks of the analytic trainer: torch, the reference, or the compiled rollout, the fast one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from torch import Tensor

from envs.airframe import Airframe
from envs.batched_state import BatchedState
from envs.conditions import Conditions
from envs.flights import Flights
from envs.scoring import FlightScore
from envs.task import Course
from policies.avoid_cost import AvoidWeights
from policies.cost import CostWeights
from policies.drills import HOVER_DRILL, Drill
from policies.network import PolicyNetwork

BACKENDS: Final = ("torch", "compiled")
Mask: TypeAlias = npt.NDArray[np.bool_]
Reals: TypeAlias = npt.NDArray[np.floating[Any]]


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
class Recipe:
    """What a chunk's loss is made of, beside the flights.

    Events until early_s after the release count `early_weight` only: nobody can hover there yet. Drones older
    than oldest_s are launched anew; courses last course_s.
    """

    airframe: Airframe
    cost: CostWeights | AvoidWeights
    substep_s: float
    early_s: float
    early_weight: float
    oldest_s: float
    drill: Drill = HOVER_DRILL

    @property
    def course_s(self) -> float:
        """Seconds for which a lane is told what to fly; the few that are older fly on with the newest velocity."""
        return self.oldest_s + 1.0


def worth_keeping(
    recipe: Recipe, course: Reals, height_m: Reals, attitude_xy: tuple[Reals, Reals], age_s: Reals
) -> Mask:
    """Lanes that are not lost, not too old and not over, (B,). attitude_xy: of the quaternion; age_s: since release."""
    x, y = attitude_xy
    upright = 1.0 - 2.0 * (x * x + y * y)
    good = recipe.drill.goes_on(course, age_s, height_m)
    kept: Mask = good & (height_m < 4.0) & (upright > 0.2) & (age_s < recipe.oldest_s)
    return kept


class Backend(Protocol):
    """Flies chunks with gradients and scores flights."""

    name: str  # one of `BACKENDS`

    def launch(self, flights: Flights, course: Course, conditions: Conditions, old: Carry | None, keep: Mask) -> Carry:
        """Lanes of the next chunk: those of `old` that are wanted (keep, (B,)) and `worth_keeping`, else `flights`.

        course: of those flights, (k, B).
        """
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
