"""Imitation of the planner that knows the forest: lessons of the analytic training, flown and explained by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch import Tensor

from envs.airframe import load_airframe
from envs.batched_forest import ForestFleet
from envs.conditions import Conditions
from envs.flights import draw_flights
from envs.scoring import FlightScore
from liquid_pilot.errors import ConfigError
from policies.checkpoint_file import read_checkpoint, restoring, write_checkpoint
from policies.compiled_trainer import flight_rollout, fly_and_score
from policies.curriculum import lesson
from policies.drills import drill_of
from policies.fragments import flatten_weights
from policies.imitation.crossings import Crossings, PlannerTeacher, joined_crossings, record_crossings
from policies.imitation.demonstrations import Demonstrations
from policies.imitation.flying import Mixture
from policies.imitation.windows import cloning_loss, draw_rows, windows_of
from policies.network import PolicyNetwork, avoid_spec

if TYPE_CHECKING:
    from policies.imitation.trainer import ImitationConfig

SCHEMA: Final = 1  # of a round's file
_FLIGHTS: Final = tuple(field.name for field in fields(Demonstrations) if field.name != "state")


def load_planner(expert: str) -> PlannerTeacher:
    """Who teaches avoid. Raises `ConfigError` for another one than the planner."""
    if expert != PlannerTeacher.name:
        raise ConfigError(
            f"expert is {expert!r}; avoid is taught by {PlannerTeacher.name} alone, which is told where the obstacles "
            "stand: leave --expert out"
        )
    return PlannerTeacher()


class ForestSchool:
    """Of avoid: see `policies.imitation.school.School`. Lessons are those that the analytic training ends with."""

    def __init__(self, config: ImitationConfig, teacher: PlannerTeacher, threads: int) -> None:
        if config.wiring is not None:
            raise ConfigError("wiring is given; avoid is flown by one layer with a backbone: leave it out")
        self._config, self._teacher, self._threads = config, teacher, threads
        self._drill, self._airframe = drill_of(config.task), load_airframe(config.airframe)
        sees = self._drill.sees
        assert sees is not None
        self.spec = avoid_spec(config.cell, sees.model.layout, config.time_unit_s)
        self._rollout = flight_rollout(
            self._airframe,
            self.spec,
            substep_s=config.substep_s,
            threads=threads,
            aim=self._drill.aim(config.validation_s),
            sensors=self._drill.sensors,
        )

    def record(self, drones: int, mixture: Mixture, seed: int) -> Crossings:
        """See `School.record`."""
        config, drill, rng = self._config, self._drill, np.random.default_rng([seed, 3])
        conditions = replace(lesson(config.curriculum, 1.0, rng).conditions, sensors=drill.sensors)
        flights = draw_flights(self._airframe, conditions, drones, rng, config.flight_s)
        begun, course = drill.lessons(flights, self._airframe, config.curriculum, config.flight_s, rng)
        aim, how = drill.aim(config.flight_s), (config.substep_s, self._threads)
        fleet = ForestFleet(self._airframe, aim, begun, course, conditions, rng, *how)
        return record_crossings(fleet, self._teacher, config.flight_s, mixture, np.random.default_rng([seed, 2]))

    def joined(self, parts: Sequence[Crossings]) -> Crossings:
        """See `School.joined`."""
        return joined_crossings(parts)

    def count(self, flights: Crossings) -> tuple[int, int]:
        """See `School.count`."""
        return flights.flights.flights, flights.flights.events

    def loss(self, network: PolicyNetwork, flights: Crossings, rng: np.random.Generator) -> Tensor:
        """See `School.loss`; the slope reaches the encoder by the events after the warm-up."""
        config, told = self._config, flights.flights
        rows = draw_rows(told, config.batch, config.warm_up, config.steps, rng)
        return cloning_loss(network, replace(windows_of(told, rows), x=flights.shown(network, rows.events)))

    def evaluate(self, network: PolicyNetwork, conditions: Conditions, seed: int) -> list[FlightScore]:
        """See `School.evaluate`."""
        config, drill = self._config, self._drill
        weights, flown = flatten_weights(network.spec, network.weights()), replace(conditions, sensors=drill.sensors)
        given = (self._rollout, weights, flown, config.validation_flights, seed, config.validation_s)
        return fly_and_score(*given, drill=drill)

    def save(self, path: Path, flights: Crossings, teacher_share: float) -> None:
        """See `School.save`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {name: torch.from_numpy(getattr(flights.flights, name)) for name in _FLIGHTS}
        tensors |= {"grids": torch.from_numpy(flights.grids), "seen": torch.from_numpy(flights.seen)}
        write_checkpoint(path, tensors, {"schema": SCHEMA, "config": asdict(self._config), "share": teacher_share})

    def load(self, path: Path) -> Crossings:
        """See `School.load`."""
        tensors, _ = read_checkpoint(path, SCHEMA, self._config)
        with restoring(path):
            parts: dict[str, Any] = {name: tensors[name].numpy() for name in _FLIGHTS}
            return Crossings(Demonstrations(**parts), tensors["grids"].numpy(), tensors["seen"].numpy())
