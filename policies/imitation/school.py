"""What imitation needs to know of a task: flights to learn from, their loss and files, and flights that are scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from torch import Tensor

from envs.airframe import Airframe, load_airframe
from envs.conditions import Conditions
from envs.scoring import FlightScore
from liquid_pilot.cells import CellSpec
from liquid_pilot.errors import TrainingError, unknown_name
from policies.compiled_trainer import flight_rollout, fly_and_score
from policies.fragments import flatten_weights
from policies.imitation.crossings import PlannerTeacher
from policies.imitation.demonstrations import Demonstrations, joined
from policies.imitation.files import Origin, load_flights, save_flights
from policies.imitation.flying import Lessons, Mixture
from policies.imitation.forest_school import ForestSchool, load_planner
from policies.imitation.teachers import Teacher, load_teacher
from policies.imitation.windows import cloning_loss, draw_windows
from policies.network import PolicyNetwork, hover_spec

if TYPE_CHECKING:
    from policies.imitation.trainer import ImitationConfig


class School(Protocol):
    """A task as imitation flies it. Recorded flights are of a type of its own."""

    @property
    def spec(self) -> CellSpec:
        """Of the network that learns."""
        ...

    def record(self, drones: int, mixture: Mixture, seed: int) -> Any:
        """Flights of a fleet."""
        ...

    def joined(self, parts: Sequence[Any]) -> Any:
        """All flights, in order."""
        ...

    def count(self, flights: Any) -> tuple[int, int]:
        """(flights, events)."""
        ...

    def loss(self, network: PolicyNetwork, flights: Any, rng: np.random.Generator) -> Tensor:
        """Of windows that are drawn from the flights."""
        ...

    def evaluate(self, network: PolicyNetwork, conditions: Conditions, seed: int) -> list[FlightScore]:
        """Flights in closed loop."""
        ...

    def save(self, path: Path, flights: Any, teacher_share: float) -> None:
        """One round. Raises `TrainingError`."""
        ...

    def load(self, path: Path) -> Any:
        """One round. Raises `TrainingError`."""
        ...


class HoverSchool:
    """Of hover: see `School`."""

    def __init__(self, config: ImitationConfig, teacher: Teacher, threads: int) -> None:
        self._config, self._teacher = config, teacher
        self.spec = hover_spec(config.cell, config.time_unit_s, config.wiring, config.wiring_seed)
        self._lessons = Lessons(config.airframe, config.curriculum, config.flight_s, config.substep_s, threads)
        airframe = load_airframe(config.airframe)
        self._rollout = flight_rollout(airframe, self.spec, substep_s=config.substep_s, threads=threads)

    def record(self, drones: int, mixture: Mixture, seed: int) -> Demonstrations:
        """See `School.record`."""
        return self._lessons.record(drones, self._teacher, mixture, seed)

    def joined(self, parts: Sequence[Demonstrations]) -> Demonstrations:
        """See `School.joined`."""
        return joined(parts)

    def count(self, flights: Demonstrations) -> tuple[int, int]:
        """See `School.count`."""
        return flights.flights, flights.events

    def loss(self, network: PolicyNetwork, flights: Demonstrations, rng: np.random.Generator) -> Tensor:
        """See `School.loss`."""
        config = self._config
        return cloning_loss(network, draw_windows(flights, config.batch, config.warm_up, config.steps, rng))

    def evaluate(self, network: PolicyNetwork, conditions: Conditions, seed: int) -> list[FlightScore]:
        """See `School.evaluate`."""
        config, weights = self._config, flatten_weights(network.spec, network.weights())
        return fly_and_score(self._rollout, weights, conditions, config.validation_flights, seed, config.validation_s)

    def save(self, path: Path, flights: Demonstrations, teacher_share: float) -> None:
        """See `School.save`."""
        config = self._config
        conditions = {"curriculum": asdict(config.curriculum), "teacher_share": teacher_share}
        origin = Origin(config.task, config.airframe, config.expert, config.expert_sha256, config.seed, conditions)
        save_flights(path, flights, origin)

    def load(self, path: Path) -> Demonstrations:
        """See `School.load`."""
        return load_flights(path)[0]


def teacher_of(task: str, expert: str, airframe: Airframe) -> Teacher | PlannerTeacher:
    """Who teaches a task, by name or path. Raises as `load_teacher` and `load_planner`."""
    return load_planner(expert) if task == "avoid" else load_teacher(expert, airframe)


def school_of(config: ImitationConfig, teacher: Any, threads: int) -> School:
    """Of a configuration's task. teacher: of hover a `Teacher`, of avoid a `PlannerTeacher`.

    Raises `TrainingError` for a task that is not imitated, `ConfigError` for what the task has not,
    `NativeUnavailable` where C cannot be compiled.
    """
    if config.task == "hover":
        return HoverSchool(config, teacher, threads)
    if config.task == "avoid":
        return ForestSchool(config, teacher, threads)
    raise TrainingError(unknown_name("task", config.task, ["avoid", "hover"]))
