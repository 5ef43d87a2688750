"""Recorded crossings: a planner that knows the forest says what to do at every event, and it or a policy flies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from envs.batched_forest import ForestFleet, Shown
from envs.forest import COURSE_ROWS
from envs.physics import Body
from envs.surroundings import Surroundings
from liquid_pilot.command import DEFAULT_LIMITS, from_action, to_action
from liquid_pilot.errors import TrainingError
from liquid_pilot.flow_grid import SPEED_SCALE_M_S
from liquid_pilot.messages import PositionSetpoint
from policies.experts.planner import Planner
from policies.imitation.demonstrations import Demonstrations, joined
from policies.imitation.flying import Controls, Mixture
from policies.imitation.teachers import F32, Array, Mask, checked_actions
from policies.network import PolicyNetwork

NOTHING: Final = -1  # index of the grid where none is shown


@dataclass(frozen=True, slots=True)
class Crossings:
    """F flights of E events, as `Demonstrations`, whose observation is (E, OBS_DIM + SIGHT_DIM), and their grids.

    grids: (G, encoder inputs) float32, every grid that was heard, once, as `GridReader` reads it, and behind it the
    speed commanded then, as an encoder takes both. seen: (E,), which of them is shown at an event, or `NOTHING`.
    Raises `TrainingError` for arrays that do not fit.
    """

    flights: Demonstrations
    grids: F32
    seen: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.seen.shape != (self.flights.events,) or self.grids.ndim != 2:
            raise TrainingError(
                f"seen has shape {self.seen.shape} and grids {self.grids.shape}; ({self.flights.events},) and "
                "(grids, inputs) are needed"
            )
        if int(self.seen.min()) < NOTHING or int(self.seen.max()) >= len(self.grids):
            raise TrainingError(
                f"events show the grids {self.seen.min()} to {self.seen.max()}; there are {len(self.grids)}"
            )
        if not np.isfinite(self.grids).all():
            raise TrainingError("grids hold NaN or infinity; record these flights again")

    def shown(self, network: PolicyNetwork, events: npt.NDArray[np.int64]) -> Tensor:
        """What a network that sees takes at events of any shape, (..., inputs), by its own encoder, with its slope."""
        assert network.encoder is not None and network.spec.encoder is not None
        index, seen = self.seen[events], torch.from_numpy(self.flights.observation[events])
        wanted, place = np.unique(index, return_inverse=True)  # each grid once; NOTHING, if it is there, comes first
        blank = int(wanted[0] == NOTHING)
        features = torch.zeros((blank, network.spec.encoder.features))
        if len(wanted) > blank:
            told = network.encoder(torch.from_numpy(self.grids[wanted[blank:]]))
            features = torch.cat([features.to(told.dtype), told])
        return torch.cat([seen, features[torch.from_numpy(place.reshape(index.shape))]], dim=-1)


def joined_crossings(parts: Sequence[Crossings]) -> Crossings:
    """All flights of the parts, in order."""
    flights = joined([part.flights for part in parts])
    before = np.cumsum([0, *(len(part.grids) for part in parts)])
    seen = [
        np.where(part.seen == NOTHING, NOTHING, part.seen + shift)
        for part, shift in zip(parts, before[:-1].tolist(), strict=True)
    ]
    return Crossings(flights, np.concatenate([part.grids for part in parts]), np.concatenate(seen))


class PlannerTeacher:
    """`policies.experts.planner`, one a drone, told the true state and the forest."""

    name, sha256 = "planner", ""

    def __init__(self) -> None:
        self._planners: list[Planner] = []
        self._forests: list[Surroundings] = []
        self._courses: list[PositionSetpoint] = []

    def reset(self, fleet: ForestFleet) -> None:
        """New flights: those of the fleet."""
        self._planners = [Planner() for _ in range(len(fleet))]
        self._forests = fleet.forests()
        speeds, heights = fleet.course[: COURSE_ROWS - 1].tolist()
        nan = float("nan")
        self._courses = [
            PositionSetpoint(0.0, (nan, nan, height), (speed, 0.0, 0.0), nan)
            for speed, height in zip(speeds, heights, strict=True)
        ]

    def act(self, fleet: ForestFleet, flying: Mask) -> Array:
        """Actions (N, 4) under `DEFAULT_LIMITS`; 0 where a drone does not fly (N,)."""
        found, bodies, t_s = np.zeros((len(fleet), 4)), fleet.bodies().T, fleet.t_s
        for i in np.flatnonzero(flying).tolist():
            x, y, z, vx, vy, vz, qw, qx, qy, qz, p, q, r = bodies[i].tolist()
            body = Body((x, y, z), (vx, vy, vz), (qw, qx, qy, qz), (p, q, r))
            command = self._planners[i].cross(float(t_s[i]), body, self._courses[i], self._forests[i])
            found[i] = to_action(DEFAULT_LIMITS, command.thrust_m_s2, command.rates_rad_s)
        return found


class Student:
    """A network that flies a fleet: its features are held between grids, as those of a controller on board."""

    def __init__(self, network: PolicyNetwork, fleet: ForestFleet) -> None:
        assert network.encoder is not None and network.spec.encoder is not None
        self._network, self._encoder = network, network.encoder
        self.h = network.initial_state(len(fleet))
        self.features = torch.zeros((len(fleet), network.spec.encoder.features))

    def act(self, shown: Shown, inputs: F32) -> F32:
        """Actions (N, 4). inputs: of the encoder, (N, numbers + 1)."""
        with torch.no_grad():
            if shown.heard.any():
                heard = torch.from_numpy(shown.heard)
                self.features[heard] = self._encoder(torch.from_numpy(inputs[shown.heard]))
            told = self.features * torch.from_numpy(~shown.blind)[:, None]
            x = torch.cat([torch.from_numpy(shown.sensors), told], dim=1)
            action, self.h = self._network.step(x, self.h, torch.from_numpy(shown.dt_s))
        found: F32 = action.numpy()
        return found


def commands(action: F32) -> Array:
    """What a fleet flies by, (4, N), for actions (N, 4) under `DEFAULT_LIMITS`."""
    a, b, c, d = action.T
    thrust, rates = from_action(DEFAULT_LIMITS, (a, b, c, d))
    return np.stack([thrust, *rates])


def record_crossings(
    fleet: ForestFleet, teacher: PlannerTeacher, flight_s: float, mixture: Mixture, rng: np.random.Generator
) -> Crossings:
    """A flight of every drone of the fleet: flight_s after the release, or until it is lost.

    Raises `TrainingError` for a teacher that answers nonsense.
    """
    n, shown = len(fleet), fleet.shown
    teacher.reset(fleet)
    student = None if mixture.pilot is None else Student(mixture.pilot, fleet)
    controls, record = Controls(mixture, n, rng), _Record(fleet.course[0])
    alive, flown_s = np.ones(n, np.bool_), np.zeros(n)
    while alive.any():
        inputs = record.inputs(shown)
        action = checked_actions(teacher.name, teacher.act(fleet, alive & shown.released), n)
        record.add(shown, inputs, action, alive)
        own = None if student is None else student.act(shown, inputs)
        released, shown = shown.released, fleet.step(commands(controls.flown(action, own, shown.dt_s)))
        flown_s = flown_s + released * shown.dt_s
        alive = alive & ~fleet.lost() & (flown_s < flight_s)
    return record.crossings()


class _Record:
    """Events of N drones as they come, and every grid that one of them hears."""

    def __init__(self, speed_m_s: Array) -> None:
        self._told = (speed_m_s / SPEED_SCALE_M_S).astype(np.float32)
        self._events: list[tuple[F32, F32, F32, Mask, npt.NDArray[np.int64]]] = []
        self._grids: list[F32] = []
        self._count = 0
        self._newest = np.full(len(speed_m_s), NOTHING, np.int64)
        self._length = np.zeros(len(speed_m_s), np.int64)

    def inputs(self, shown: Shown) -> F32:
        """Of an encoder, (N, numbers + 1)."""
        return np.concatenate([shown.grid, self._told[:, None]], axis=1)

    def add(self, shown: Shown, inputs: F32, action: F32, alive: Mask) -> None:
        """One event of those that are alive."""
        new = shown.heard & alive
        self._newest = np.where(new, self._count + np.cumsum(new) - 1, self._newest)
        self._count += int(new.sum())
        self._grids.append(inputs[new])
        seen = np.where(shown.blind, NOTHING, self._newest)
        self._events.append((shown.sensors, action, shown.dt_s, ~shown.released, seen))
        self._length += alive

    def crossings(self) -> Crossings:
        """Flights one after the other."""
        inside = (np.arange(len(self._events))[:, None] < self._length).T  # (N, T)
        sensors, action, dt_s, held, seen = (
            np.stack(column, axis=1)[inside] for column in zip(*self._events, strict=True)
        )
        return Crossings(Demonstrations(sensors, action, dt_s, held, self._length), np.concatenate(self._grids), seen)
