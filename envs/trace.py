"""A flight as it truly was, for scoring and for pictures: arrays over the IMU events of one flight."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FlightTrace:
    """T events. World ENU, body FLU, wxyz. Times count from the start; release at `release_s`."""

    release_s: float
    t_s: Array  # (T,)
    position_m: Array  # (T, 3) true
    velocity_m_s: Array  # (T, 3) true, world
    attitude_wxyz: Array  # (T, 4) true
    rates_rad_s: Array  # (T, 3) true, body
    setpoint_velocity_m_s: Array  # (T, 2) heading frame
    setpoint_height_m: Array  # (T,)
    thrust_m_s2: Array  # (T,) commanded; NaN, as the rates, where motor speeds are
    command_rates_rad_s: Array  # (T, 3) commanded
    wind_m_s: Array  # (T, 3) world
    observation: Array  # (T, OBS_DIM) what the network saw; zero columns where there is no network
    hidden: Array  # (T, units) state of each neuron; (T, 0) for controllers without one
    time_constant_s: Array  # (T, units) of each neuron where the cell has one; (T, 0) otherwise
    lowest_m: float  # lowest height after release, over every substep
    highest_m: float  # highest height after release
    arrivals_s: dict[str, Array] = field(default_factory=dict)  # by sensor, "imu", "flow" and so on: delivery times
    supervisor: tuple[tuple[float, str], ...] = ()  # (time, state) at every change
    settled: Array | None = None  # (T,) 0 in a transient, whose errors do not count, else 1; None: all count
    target_m: Array | None = None  # (T, 3) where the goal was, if it was a place
    outcome: str = ""  # under a task: "success", or why the flight failed
    touchdown_m_s: float = 0.0  # under a task: speed of the fastest touchdown
    crosses_m: float = 0.0  # under a task: how far along x was to be crossed, if there was something to cross
    obstacles: Array | None = None  # (n, 7) of what stood there, see `envs.shapes.Obstacle`

    @property
    def tilt_rad(self) -> Array:
        """Angle between body z and world z, (T,)."""
        q = self.attitude_wxyz
        return np.arccos(np.clip(1.0 - 2.0 * (q[:, 1] ** 2 + q[:, 2] ** 2), -1.0, 1.0))

    @property
    def speed_error_m_s(self) -> Array:
        """Horizontal speed error against the set-point turned by the true heading, (T,)."""
        q = self.attitude_wxyz
        yaw = np.arctan2(2 * (q[:, 0] * q[:, 3] + q[:, 1] * q[:, 2]), 1 - 2 * (q[:, 2] ** 2 + q[:, 3] ** 2))
        sx, sy = self.setpoint_velocity_m_s.T
        ex = self.velocity_m_s[:, 0] - (np.cos(yaw) * sx - np.sin(yaw) * sy)
        ey = self.velocity_m_s[:, 1] - (np.sin(yaw) * sx + np.cos(yaw) * sy)
        return np.asarray(np.hypot(ex, ey))

    @property
    def place_error_m(self) -> Array:
        """Distance from the goal, (T,); zeros where that is no place."""
        target = self.position_m if self.target_m is None else self.target_m
        return np.asarray(np.linalg.norm(self.position_m - target, axis=1))

    @property
    def height_error_m(self) -> Array:
        """Absolute height error, (T,)."""
        return np.asarray(np.abs(self.position_m[:, 2] - self.setpoint_height_m))
