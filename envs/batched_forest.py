"""Many drones that cross forests side by side under commands from outside, on the compiled engine, in numpy.

What each shows at an IMU event is what a network on board would be shown: the observation of the compiled engine, by
the same equation, and the newest flow grid, by the rules of `liquid_pilot.sight`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from envs.airframe import Airframe
from envs.batched_moment import held_of
from envs.compiled.model import MACHINE_ROWS
from envs.compiled.relay import RelayWorld
from envs.compiled.sensing import observe_equation
from envs.compiled.sight import ARRIVES, Camera, looks
from envs.compiled.state import CONSTANTS, RolloutState, intervals
from envs.conditions import SUBSTEP_S, Conditions, check_sees
from envs.flights import Flights
from envs.forest import COURSE_ROWS, NEAR
from envs.grid_observation import SILENT_S
from envs.physics import Body
from envs.scoring import CEILING_M, FLOOR_M
from envs.shapes import clearance_m, obstacles_of
from envs.surroundings import Surroundings
from envs.task import TUMBLE_COS, Aim, Course
from liquid_pilot.geometry import rotation_matrix
from liquid_pilot.observation import INITIAL_AGE_S, OBS_DIM, SIGHT_DIM
from liquid_pilot.ops import NUMPY_OPS

F32: TypeAlias = npt.NDArray[np.float32]
Array: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]
OBS_BOUND: Final = 1000.0  # a lost simulation shows numbers too
_STAMP: Final = -3  # row of what is remembered of a grid, see `envs.compiled.sight`


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
        assert aim.sees is not None
        check_sees(True, conditions)
        self._world = RelayWorld(airframe, substep_s=substep_s, threads=threads, aim=aim)
        self._plot, self._aim, self._rng = aim.sees.plot, aim, rng
        self._lost = conditions.grid_dropout[1]
        self._conditions = replace(conditions, grid_dropout=(0.0, 0.0))  # losses are drawn here
        self._state: RolloutState = self._world.reset(flights, rng, course)
        self._course = np.asarray(course, np.float64)
        self._sight, self._camera = self._world.blind(len(flights)), Camera()
        self._grid = np.zeros((len(flights), aim.sees.model.layout.numbers), np.float32)
        self._stamp_s = np.full(len(flights), -INITIAL_AGE_S)
        self.shown = self._listen()

    def __len__(self) -> int:
        return len(self._state)

    @property
    def t_s(self) -> Array:
        """Of the newest event, (N,)."""
        return self._state.clock("t_s")

    @property
    def course(self) -> Course:
        """As it was given."""
        return self._course

    def forests(self) -> list[Surroundings]:
        """That of every drone."""
        return [Surroundings(self._plot, rows) for rows in self._course[COURSE_ROWS:].T]

    def bodies(self) -> Array:
        """True motion, (13, N): position, velocity, attitude wxyz, rates, as of `envs.physics.Body`."""
        return np.asarray(self._state.value("body"), np.float64)

    def lost(self) -> Mask:
        """Drones that were let go and have touched something, left the bounds, tumbled or left the numbers, (N,)."""
        x, y, z, _, _, _, qw, qx, qy, qz = body = self.bodies()[:10]
        near = self._plot.nearest(self._course[COURSE_ROWS:], x, y)
        free_m = clearance_m(NUMPY_OPS, obstacles_of(list(near), NEAR), (x, y, z))
        upright = rotation_matrix((qw, qx, qy, qz))[2][2]
        well = (free_m > 0.0) & (z > FLOOR_M) & (z < CEILING_M) & (upright > TUMBLE_COS)
        return np.asarray(self.shown.released & ~(well & np.isfinite(body).all(axis=0)))

    def step(self, command: Array) -> Shown:
        """Fly to the next event under (4, N), thrust_m_s2 and rates_rad_s; what is shown there.

        Raises `SimulationError` for a command that is not finite.
        """
        seed = int(self._rng.integers(2**63))
        self._state, self._sight = self._world.step_seeing(
            self._state, self._sight, command, self._conditions, self._dt_s, seed, self._looks
        )
        self.shown = self._listen()
        return self.shown

    def _listen(self) -> Shown:
        """Draw when the next event comes; hear the grid that has arrived by now."""
        imu_hz = self._state.constants[CONSTANTS["imu_hz"]][0]
        dt_s = intervals(self._conditions, imu_hz, 1, self._rng)
        self._dt_s = dt_s[0]
        self._looks, self._camera = looks(self._camera, dt_s, self._conditions, self._rng)
        heard = np.zeros(len(self), np.bool_)
        if self._looks[0] & ARRIVES:
            taken_s = self._sight[_STAMP].astype(np.float64)
            heard = (self._rng.random(len(self)) >= self._lost) & (taken_s > self._stamp_s)
            self._grid = np.where(heard[:, None], self._sight[: self._grid.shape[1]].T, self._grid)
            self._stamp_s = np.where(heard, taken_s, self._stamp_s)
        age_s = np.clip(self.t_s - self._stamp_s, 0.0, INITIAL_AGE_S)
        silent = age_s > SILENT_S
        sensors = self._observation(heard & ~silent, np.where(silent, INITIAL_AGE_S, age_s))
        released = np.isfinite(self._state.clock("release_s"))
        dt = self._state.imu.step_s.astype(np.float32)
        return Shown(sensors, self._grid, heard, silent, dt, released)

    def _observation(self, fresh: Mask, age_s: Array) -> F32:
        """(N, OBS_DIM + SIGHT_DIM), by the equation of the compiled engine."""
        state, since_s = self._state, np.maximum(self.t_s - self._state.clock("release_s"), 0.0)
        body: Body[Any] = Body(*(tuple(part) for part in np.split(self.bodies(), (3, 6, 10))))
        held = held_of(state, self._aim.goal(NUMPY_OPS, list(self._course), since_s, body))
        seen = [
            held.dt_s, *held.gyro_rad_s, *held.accel_m_s2, held.accel_fresh, held.flow_fresh, held.range_fresh,
            held.accel_age_s, held.flow_age_s, held.range_age_s, *held.flow_rate_rad_s, held.flow_quality, held.range_m,
            fresh.astype(np.float64), age_s,
        ]  # fmt: skip
        given = {
            "seen": seen,
            "body": list(state.values[:MACHINE_ROWS].astype(np.float64)),
            "course": list(self._course),
            "since": [since_s],
            "constants": list(state.constants.astype(np.float64)),
        }
        told = observe_equation(self._world.model, NUMPY_OPS, given)["observation"]
        found = np.empty((len(self), OBS_DIM + SIGHT_DIM), np.float32)
        for column, value in enumerate(told):
            found[:, column] = value
        return np.clip(np.nan_to_num(found), -OBS_BOUND, OBS_BOUND)
