"""Many drones that cross forests side by side under commands from outside, on the compiled engine, in numpy.

Each flies the one flight that it was given, where `envs.batched_env` draws new ones; what they show at an IMU event is
the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from envs.airframe import Airframe
from envs.batched_moment import Lanes, Tracks, moment_of
from envs.batched_sight import silent
from envs.batched_step import advance, rows, sensed
from envs.compiled.relay import RelayWorld
from envs.compiled.sight import Camera, heard
from envs.conditions import SUBSTEP_S, Conditions, check_sees
from envs.flights import Flights
from envs.forest import COURSE_ROWS
from envs.surroundings import Surroundings
from envs.task import Aim, Course, Moment, crashed
from liquid_pilot.errors import ConfigError
from liquid_pilot.observation import OBS_DIM, SIGHT_DIM
from liquid_pilot.ops import NUMPY_OPS

F32: TypeAlias = npt.NDArray[np.float32]
Array: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]
_TOLD: Final = OBS_DIM + SIGHT_DIM


@dataclass(frozen=True, slots=True)
class Shown:
    """What N drones show at their newest IMU events.

    sensors: (N, OBS_DIM + SIGHT_DIM). grid: (N, numbers), the newest that was heard, as `GridReader` reads it, 0 before
    the first. heard: (N,), a grid is new. blind: (N,), none is shown, for there was none yet, or none for too long.
    dt_s: (N,) since the event before. released: (N,), let go.
    """

    sensors: F32
    grid: F32
    heard: Mask
    blind: Mask
    dt_s: F32
    released: Mask


class ForestFleet:
    """N drones, from the hand on. All random numbers follow from `rng`.

    course: of each flight, (aim.rows, N), see `envs.avoid.avoid_course`. conditions: one IMU rate, or mixed intervals,
    for all. shown: at the newest event. Raises `ConfigError` for conditions without a grid, `NativeUnavailable` without
    a C compiler.
    """

    def __init__(
        self,
        airframe: Airframe,
        aim: Aim,
        flights: Flights,
        course: Course,
        conditions: Conditions,
        rng: np.random.Generator,
        substep_s: float = SUBSTEP_S,
        threads: int = 1,
    ) -> None:
        check_sees(aim.sees is not None, conditions)
        if aim.sees is None:
            raise ConfigError("the aim sees nothing; give that of a task that crosses a forest")
        self._world = RelayWorld(airframe, substep_s=substep_s, threads=threads, aim=aim)
        self._plot, self._aim, self._conditions, self._rng = aim.sees.plot, aim, conditions, rng
        n, state = len(flights), self._world.reset(flights, rng, course)
        nothing, told = np.zeros((0, n)), np.asarray(course, np.float64)
        self._lanes = Lanes(state, told, nothing, Tracks.begin(n), np.zeros((3, n)), self._world.blind(n))
        self._camera = Camera()
        self.shown = self._look()

    def __len__(self) -> int:
        return self._lanes.count

    @property
    def t_s(self) -> Array:
        """Of the newest event, (N,)."""
        return self._lanes.state.clock("t_s")

    @property
    def course(self) -> Course:
        """As it was given."""
        return self._lanes.course

    def forests(self) -> list[Surroundings]:
        """That of every drone."""
        return [Surroundings(self._plot, own) for own in self.course[COURSE_ROWS:].T]

    def bodies(self) -> Array:
        """True motion, (13, N): position, velocity, attitude wxyz, rates, as of `envs.physics.Body`."""
        return np.asarray(self._lanes.state.value("body"), np.float64)

    def lost(self) -> Mask:
        """Drones that were let go and have touched something, left the bounds, tumbled or left the numbers, (N,)."""
        moment = self._moment
        well = (moment.free_m > 0.0) & (np.asarray(crashed(NUMPY_OPS, moment)) < 0.5) & self._lanes.finite
        return np.asarray(self._lanes.released & ~well)

    def step(self, command: Array) -> Shown:
        """Fly to the next event under (4, N), thrust_m_s2 and rates_rad_s; what is shown there.

        Raises `SimulationError` for a command that is not finite.
        """
        self._camera = advance(self._world, self._lanes, self._camera, command, self._conditions, self._rng)
        self.shown = self._look()
        return self.shown

    def _look(self) -> Shown:
        lanes, numbers = self._lanes, self._world.grid
        assert lanes.sight is not None
        self._moment: Moment[Any] = moment_of(lanes, self._aim, self._world.airframe, 0.0)
        told = sensed(self._world, lanes, self._aim, self._moment, self._conditions.faults)[:_TOLD]
        grid, _, fresh = heard(lanes.sight, numbers)
        dt_s = lanes.state.imu.step_s.astype(np.float32)
        shown_grid = np.ascontiguousarray(grid.T, np.float32)
        return Shown(
            rows(told, lanes.count),
            shown_grid,
            fresh > 0.5,
            silent(lanes, numbers, self._conditions.faults),
            dt_s,
            lanes.released,
        )
