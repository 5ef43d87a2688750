"""Flights that are recorded: a teacher says what to do at every event, and it or a pilot of ours flies."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
import numpy.typing as npt
import torch

from envs.conditions import SUBSTEP_S, Conditions
from envs.flights import Flights
from envs.task import Task
from policies.curriculum import Curriculum, lesson
from policies.imitation.demonstrations import Demonstrations
from policies.imitation.teachers import F32, Mask, Sight, Teacher, asked
from policies.network import PolicyNetwork

if TYPE_CHECKING:
    from envs.quad_env import QuadEnv

SHIFT_S: Final = 0.5  # mean time for which teacher or pilot keeps the controls of a drone
NOISE_S: Final = 0.2  # for which noise on a teacher's actions stays about the same, at any IMU rate


class Fleet(Protocol):
    """N drones that fly side by side, each until its flight is over."""

    def reset(self, conditions: Conditions, seed: int) -> Sight:
        """New flights, in the hand."""
        ...

    def step(self, actions: F32) -> tuple[Sight, Mask]:
        """To the next IMU event of each; True (N,) where a flight has ended, and once it has what it shows is idle."""
        ...


class ManyDrones:
    """A `Fleet` on the compiled engine, all drones at one IMU rate. Raises `NativeUnavailable` without a C compiler."""

    def __init__(
        self,
        drones: int,
        airframe: str,
        duration_s: float,
        task: Task,
        threads: int = 1,
        substep_s: float = SUBSTEP_S,
    ) -> None:
        from envs.batched_env import BatchedQuadEnv  # here, for it loads PyBullet, which writes to the terminal

        self._env = BatchedQuadEnv(
            task, drones, obs="both", airframe=airframe, duration_s=duration_s, substep_s=substep_s, threads=threads
        )

    def reset(self, conditions: Conditions, seed: int) -> Sight:
        """See `Fleet.reset`."""
        self._env.set_conditions(conditions)
        return _sight(*self._env.reset(seed=seed))

    def step(self, actions: F32) -> tuple[Sight, Mask]:
        """See `Fleet.step`."""
        seen, _, terminated, truncated, info = self._env.step(actions)
        return _sight(seen, info), terminated | truncated


def _sight(seen: Any, info: dict[str, Any]) -> Sight:
    return Sight(seen["sensors"], seen["state"], info["dt_s"], info["released"])


class OneDrone:
    """A `Fleet` of one, in PyBullet."""

    def __init__(self, airframe: str, duration_s: float, task: Task) -> None:
        self._task, self._airframe, self._duration_s = task, airframe, duration_s
        self._env: QuadEnv | None = None

    def reset(self, conditions: Conditions, seed: int) -> Sight:
        """See `Fleet.reset`."""
        from envs.quad_env import QuadEnv

        self.close()
        self._env = QuadEnv(
            self._task, obs="both", airframe=self._airframe, duration_s=self._duration_s, conditions=conditions
        )
        return self._alone(*self._env.reset(seed=seed))

    def step(self, actions: F32) -> tuple[Sight, Mask]:
        """See `Fleet.step`."""
        assert self._env is not None
        seen, _, terminated, truncated, info = self._env.step(actions[0])
        return self._alone(seen, info), np.array([terminated or truncated])

    def close(self) -> None:
        """Free PyBullet's client."""
        if self._env is not None:
            self._env.close()
            self._env = None

    def _alone(self, seen: Any, info: dict[str, Any]) -> Sight:
        released = np.array([info["released"]], np.bool_)
        return Sight(seen["sensors"][None], seen["state"][None], np.array([info["dt_s"]]), released)


@dataclass(frozen=True, slots=True)
class Mixture:
    """Who flies: at every moment the teacher with probability `share`, else the pilot, in shifts of `SHIFT_S` or so.

    noise: standard deviation of what is added to the teacher's actions as they are flown, not to those recorded, so
    that the flights also show how to come back (after Laskey et al., "DART: noise injection for robust imitation
    learning", 2017); an Ornstein-Uhlenbeck process with time constant `NOISE_S`.
    """

    pilot: PolicyNetwork | None = None
    share: float = 1.0
    noise: float = 0.0


class Controls:
    """Who has the controls of N drones, event by event, and the noise on what the teacher flies; see `Mixture`."""

    def __init__(self, mixture: Mixture, drones: int, rng: np.random.Generator) -> None:
        self._mixture, self._rng = mixture, rng
        self._noise = rng.standard_normal((drones, 4))
        self._taught = rng.random(drones) < mixture.share

    def flown(self, taught: F32, own: F32 | None, dt_s: npt.NDArray[np.floating[Any]]) -> F32:
        """The actions that are flown, (N, 4). taught: the teacher's; own: the pilot's, None without one."""
        mixture, rng, flown = self._mixture, self._rng, taught
        if mixture.noise:
            kept = np.exp(-dt_s / NOISE_S)[:, None]
            self._noise = kept * self._noise + np.sqrt(1.0 - kept * kept) * rng.standard_normal(taught.shape)
            flown = flown + (mixture.noise * self._noise).astype(np.float32)
        if own is not None:
            changes = rng.random(len(taught)) < dt_s / SHIFT_S
            self._taught = np.where(changes, rng.random(len(taught)) < mixture.share, self._taught)
            flown = np.where(self._taught[:, None], flown, own)
        return np.nan_to_num(np.clip(flown, -1.0, 1.0))


def record_flights(
    fleet: Fleet,
    teacher: Teacher,
    conditions: Conditions,
    seed: int,
    mixture: Mixture,
    keep_state: bool = False,
    on_event: Callable[[float], None] = lambda t_s: None,
) -> Demonstrations:
    """One flight of every drone of the fleet; random numbers follow from the seed.

    on_event: told the seconds flown. Raises `TrainingError` for a teacher that answers nonsense.
    """
    rng = np.random.default_rng([seed, 2])
    sight = fleet.reset(conditions, seed)
    n, pilot = len(sight), mixture.pilot
    teacher.reset(n)
    h = None if pilot is None else pilot.initial_state(n)
    controls, alive, length = Controls(mixture, n, rng), np.ones(n, np.bool_), np.zeros(n, np.int64)
    rows: list[tuple[F32, F32, F32, Mask, F32 | None]] = []
    while alive.any():
        action = asked(teacher, sight)
        rows.append(
            (sight.sensors, action, sight.dt_s.astype(np.float32), ~sight.released, sight.state if keep_state else None)
        )
        length += alive
        own = None
        if pilot is not None and h is not None:
            with torch.no_grad():
                told, h = pilot.step(torch.from_numpy(sight.sensors), h, torch.from_numpy(sight.dt_s))
            own = told.numpy()
        sight, over = fleet.step(controls.flown(action, own, sight.dt_s))
        alive = alive & ~over
        on_event(float(rows[-1][2].max()))
    return _by_flight(rows, length)


def _by_flight(rows: list[tuple[F32, F32, F32, Mask, F32 | None]], length: npt.NDArray[np.int64]) -> Demonstrations:
    """Events of all drones, in order of time, to flights one after the other."""
    inside = (np.arange(len(rows))[:, None] < length).T  # (N, T)
    columns = list(zip(*rows, strict=True))

    def flat(column: int) -> Any:
        return np.stack(columns[column], axis=1)[inside]

    state = None if rows[0][4] is None else flat(4)
    return Demonstrations(flat(0), flat(1), flat(2), flat(3), length, state)


@dataclass(frozen=True, slots=True)
class Lessons:
    """What recorded flights are like: conditions drawn as in the last part of the curriculum, one IMU rate a fleet.

    substep_s, threads: of the compiled engine.
    """

    airframe: str
    curriculum: Curriculum
    flight_s: float
    substep_s: float = SUBSTEP_S
    threads: int = 1

    def record(
        self,
        drones: int,
        teacher: Teacher,
        mixture: Mixture,
        seed: int,
        keep_state: bool = False,
        pybullet: bool = False,
        on_event: Callable[[float], None] = lambda t_s: None,
    ) -> Demonstrations:
        """Flights of one fleet. pybullet: of one drone, there. Raises as `record_flights`."""
        rng = np.random.default_rng([seed, 3])
        conditions = lesson(self.curriculum, 1.0, rng).conditions
        task = _hovering(self.curriculum.hover_chance, rng)
        if pybullet:
            with closing(OneDrone(self.airframe, self.flight_s, task)) as one:
                return record_flights(one, teacher, conditions, seed, mixture, keep_state, on_event)
        fleet = ManyDrones(drones, self.airframe, self.flight_s, task, self.threads, self.substep_s)
        return record_flights(fleet, teacher, conditions, seed, mixture, keep_state, on_event)


def _hovering(chance: float, rng: np.random.Generator) -> Task:
    """Hover, a share of whose flights asks for velocity zero and no turning, as in the analytic trainer."""
    from envs.hover import HOVER

    def launch(flights: Flights, airframe: Any) -> Flights:
        moving = rng.random(len(flights)) >= chance
        return replace(
            flights,
            setpoint_velocity_m_s=flights.setpoint_velocity_m_s * moving[:, None],
            setpoint_yaw_rate_rad_s=flights.setpoint_yaw_rate_rad_s * moving,
        )

    return replace(HOVER, launch=launch)
