"""What an environment shows of a forward flow grid, and of a course: as the controller on board would."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from envs.task import Goal
from liquid_pilot.course import told_course
from liquid_pilot.flow_grid import GridLayout, GridReader
from liquid_pilot.fusion import SensorMemory
from liquid_pilot.messages import Floats2, FlowGrid, Setpoint
from liquid_pilot.observation import INITIAL_AGE_S, SIGHT_DIM, assemble_sight
from liquid_pilot.ops import FLOAT_OPS
from liquid_pilot.supervisor_limits import SupervisorLimits

SILENT_S: Final = SupervisorLimits().grid_s  # after which a controller forgets what it saw


class GridMemory:
    """The newest grid, as `GridReader` reads it. Before the first, and in a silence of `SILENT_S`, all is 0.

    So it is where the clock has jumped, until the next grid.
    """

    def __init__(self, layout: GridLayout) -> None:
        self._reader = GridReader(layout)
        self.reset()

    @property
    def width(self) -> int:
        """Numbers that are shown: `SIGHT_FIELDS`, then the grid."""
        return SIGHT_DIM + self._reader.layout.numbers

    def reset(self) -> None:
        """As before the first grid."""
        self._read = np.zeros(self._reader.layout.numbers, np.float32)
        self._newest: FlowGrid | None = None
        self._fresh = False
        self._jumps = 0  # of the clock

    def accept(self, grid: FlowGrid) -> None:
        """Take one over, if it is newer than what is held."""
        if self._newest is None or grid.t_s > self._newest.t_s:
            self._newest, self._fresh = grid, True

    def show(self, memory: SensorMemory, silent_s: float) -> tuple[float, ...]:
        """What follows the observation at the newest IMU sample; freshness is spent by it, but in a silence of it.

        memory: whose gyro takes the rotation away.
        """
        if memory.clock_jumps != self._jumps:  # stamps of another clock mean nothing
            self._newest, self._fresh, self._jumps = None, False, memory.clock_jumps
        grid, now_s = self._newest, (memory.imu_t_s or 0.0) + silent_s
        fresh = self._fresh and silent_s == 0.0
        if grid is not None and fresh:
            self._read = self._reader.read(grid.flow_rad_s, memory.mean_gyro(grid.t_s - grid.dt_s, grid.t_s))
            self._fresh = False
        if grid is None or now_s - grid.t_s > SILENT_S:
            return assemble_sight(0.0, INITIAL_AGE_S) + (0.0,) * len(self._read)
        return assemble_sight(float(fresh), max(now_s - grid.t_s, 0.0)) + tuple(self._read.tolist())


def told_setpoint(t_s: float, goal: Goal[float], compass: Floats2 | None) -> Setpoint:
    """A course as a drone is told it that has this heading, as cosine and sine, for its own; none before it has one."""
    vx, vy, _ = goal.point.velocity_m_s
    speed = math.hypot(vx, vy)
    if compass is None or speed == 0.0:
        return Setpoint(t_s, (0.0, 0.0), goal.height_m, 0.0)
    velocity, yaw_rate = told_course(FLOAT_OPS, compass, (vx, vy), (vx / speed, vy / speed))
    return Setpoint(t_s, velocity, goal.height_m, yaw_rate)
