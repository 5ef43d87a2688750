"""One flight of one drone in PyBullet, from the hand: timing, delays, wind and bias walk.

At t = 0 a hand holds the drone still at its drawn attitude; the sensors run. It lets go at the first
IMU event after `hold_s`. `advance` runs from one IMU event to the next in substeps of 2 ms at most.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Final, TypeAlias

import numpy as np

from envs.conditions import ACCEL_WALK_RATIO, SUBSTEP_S, Conditions
from envs.fault_effects import disturbance, disturbed, disturbing
from envs.fault_messages import Sensed
from envs.flights import RELEASE_THRUST, Array, Flights
from envs.flow_grid import Sight
from envs.physics import Body
from envs.pybullet_quad import ZERO3, PyBulletQuad, flight_params
from envs.sample_clock import EPS_S, around
from envs.sensor_events import SensorSuite
from envs.surroundings import Surroundings
from envs.wind import GustState, gust_m_s, step_gusts
from liquid_pilot.errors import SimulationError
from liquid_pilot.messages import PositionSetpoint, Setpoint
from liquid_pilot.observation import GRAVITY_M_S2
from liquid_pilot.ops import FLOAT_OPS, Vec3, Vec4

CommandValues: TypeAlias = tuple[float, Vec3[float]]  # (thrust_m_s2, rates_rad_s)
FOREST_X_M: Final = (-6.0, 42.0)  # where obstacles are bodies: farther than a crossing goes
FOREST_Y_M: Final = (-24.0, 24.0)
_NO_COMMAND: Final[CommandValues] = (math.nan, (math.nan, math.nan, math.nan))  # to the rate loop


def _three(row: np.ndarray) -> Vec3[float]:
    a, b, c = row.tolist()
    return a, b, c


class HandLaunch:
    """The first drawn flight of `flights`, on a quad that nobody else uses meanwhile.

    `t_s` is the newest IMU event, `dt_s` the interval before it, `release_s` infinity while held.
    Random numbers (sensor noise, losses, gusts, intervals) come from `rng`.
    """

    def __init__(self, quad: PyBulletQuad, flights: Flights, conditions: Conditions, rng: np.random.Generator) -> None:
        if len(flights) < 1:
            raise SimulationError("no flight was drawn; draw_flights(..., n=1) gives one")
        self.quad = quad
        self.conditions = conditions
        self._rng = rng
        self._throw = (_three(flights.launch_velocity_m_s[0]), _three(flights.launch_rates_rad_s[0]))
        self._imu_period_s = 1.0 / float(flights.imu_hz[0])
        self._latency_s = float(flights.command_latency_s[0])
        self._delayed: deque[tuple[float, CommandValues | Vec4[float]]] = deque()  # (time of effect, command)
        thrust = RELEASE_THRUST * quad.airframe.thrust_to_weight * GRAVITY_M_S2
        self.issued: CommandValues = (thrust, ZERO3)
        self._in_effect: CommandValues | Vec4[float] = self.issued
        self.sensors = SensorSuite(flights, conditions, rng)
        self._located = conditions.locates or conditions.sees
        self.forest: Surroundings | None = None
        self._gyro_bias = _three(flights.gyro_bias_rad_s[0])
        self._accel_bias = _three(flights.accel_bias_m_s2[0])
        self._wind_mean = _three(flights.wind_mean_m_s[0])
        self._step_wind_m_s = 0.0  # along world x, by faults
        self._disturbing = disturbing(conditions.faults)
        self._gust_strength = float(flights.gust_m_s[0])
        u, v, w = rng.standard_normal(3).tolist()
        self._gusts: GustState[float] = (u, v, 0.0, w, 0.0)
        vx, vy = flights.setpoint_velocity_m_s[0].tolist()
        self.setpoint = Setpoint(
            0.0, (vx, vy), float(flights.setpoint_height_m[0]), float(flights.setpoint_yaw_rate_rad_s[0])
        )
        self.target: PositionSetpoint | None = None  # the goal, if it is a place or a course
        self.t_s = self.dt_s = 0.0
        self.release_s = math.inf
        self.lowest_m, self.highest_m = math.inf, -math.inf
        qw, qx, qy, qz = flights.attitude_wxyz[0].tolist()
        self._params = flight_params(flights)
        quad.reset(self._params, (0.0, 0.0, float(flights.height_m[0])), (qw, qx, qy, qz))

    @property
    def body(self) -> Body[float]:
        """True motion now."""
        return self.quad.body

    @property
    def released(self) -> bool:
        """Whether the hand has let go."""
        return self.release_s < math.inf

    @property
    def flight_time_s(self) -> float:
        """Seconds since the release; negative infinity while held."""
        return self.t_s - self.release_s

    @property
    def wind_m_s(self) -> Vec3[float]:
        """Mean wind and gusts, world."""
        mean, gust = self._wind_mean, gust_m_s(self._gusts, self._gust_strength)
        return mean[0] + gust[0] + self._step_wind_m_s, mean[1] + gust[1], mean[2] + gust[2]

    @property
    def finite(self) -> bool:
        """False once the simulation has left the finite numbers."""
        b = self.body
        return math.isfinite(sum(b.position_m) + sum(b.velocity_m_s) + sum(b.rates_rad_s))

    @property
    def free_m(self) -> float:
        """Free space around the drone, 0 where it touches something; infinite without a forest."""
        if self.forest is None:
            return math.inf
        if self.quad.touches_obstacles:
            return 0.0
        return self.forest.free_m(self.body.position_m)

    def plant(self, sight: Sight, rows: Array, camera: bool = False) -> None:
        """Put the drone into a forest, rows as of `Plot.draw`, (plot.rows,). Call it before `first_messages`.

        camera: its grids come of a camera's pictures; else they are computed from what is true.
        """
        self.forest = Surroundings(sight.plot, rows)
        obstacles = self.forest.within(FOREST_X_M, FOREST_Y_M)
        self.quad.plant(obstacles)
        if self.conditions.sees:
            self.sensors.see(sight.model, self.forest, self.quad.look_at(obstacles) if camera else None)

    def first_messages(self) -> list[Sensed]:
        """What the sensors say at t = 0, in the hand. Call it once, before `advance`."""
        return self._messages()

    def issue(self, command: CommandValues, t_s: float) -> None:
        """A command leaves the controller at t_s; it takes effect after the latency. Held: ignored.

        Raises `SimulationError` for a command that is not finite.
        """
        thrust, rates = command
        if not math.isfinite(thrust + rates[0] + rates[1] + rates[2]):
            raise SimulationError(f"the command {command} is not finite; the controller or its state has diverged")
        if self.released:
            self.issued = command
            self._delayed.append((t_s + self._latency_s, command))

    def issue_speeds(self, motor_speed: Vec4[float], t_s: float, at_once: bool = False) -> None:
        """As `issue`, for four motor speeds (0 to 1, fractions of full) that pass the rate loop by.

        at_once: without the latency, as of what runs where the rate loop runs.
        """
        if not all(0.0 <= speed <= 1.0 for speed in motor_speed):
            raise SimulationError(f"the motor speeds are {motor_speed}; give fractions of full speed, 0 to 1")
        if self.released:
            self.issued = _NO_COMMAND
            self._delayed.append((t_s if at_once else t_s + self._latency_s, motor_speed))

    def keep_motors(self) -> None:
        """Until the first command takes effect the motors keep their speed, past the rate loop."""
        self._in_effect = self.quad.actuators.motor_speed

    def advance(self, on_substep: Callable[[float], None] | None = None) -> list[Sensed]:
        """Run to the next IMU event and return what has arrived by then, the `Imu` last (none if it is off).

        on_substep is called with the time after every substep; it may issue commands.
        """
        dt = self._interval()
        n = math.ceil(dt / SUBSTEP_S - 1e-9)
        start, h = self.t_s, dt / n
        if self._disturbing:
            self._disturb()
        self._drift(dt)
        wind = self.wind_m_s
        for i in range(n):
            self._substep(start + i * h, start + (i + 1) * h, h, wind)
            if on_substep is not None:
                on_substep(start + (i + 1) * h)
        self.t_s, self.dt_s = start + n * h, dt
        messages = self._messages()
        if not self.released and self.t_s >= self.conditions.hold_s - EPS_S:
            self.quad.throw(*self._throw)  # after the IMU sample, which still is the held one
            self.release_s = self.t_s
        return messages

    def _interval(self) -> float:
        conditions = self.conditions
        if conditions.imu_mixed:
            low, high = math.log(conditions.imu_hz[0]), math.log(conditions.imu_hz[1])
            return math.exp(-self._rng.uniform(low, high))
        return self._imu_period_s * around(conditions.imu_jitter, self._rng)

    def _disturb(self) -> None:
        """What faults change in the drone and the air, once a control step."""
        by = disturbance(FLOAT_OPS, self._disturbing, self.flight_time_s)
        self.quad.change(disturbed(self._params, by))
        self._step_wind_m_s = by.wind_m_s

    def _drift(self, dt_s: float) -> None:
        """Gusts and bias walk, once a control step."""
        n = self._rng.standard_normal(9).tolist()
        self._gusts = step_gusts(FLOAT_OPS, self._gusts, dt_s, (n[0], n[1], n[2]))
        walk = self.conditions.gyro_walk_rad_s2 * math.sqrt(dt_s)
        slow = walk * ACCEL_WALK_RATIO
        g, a = self._gyro_bias, self._accel_bias
        self._gyro_bias = (g[0] + walk * n[3], g[1] + walk * n[4], g[2] + walk * n[5])
        self._accel_bias = (a[0] + slow * n[6], a[1] + slow * n[7], a[2] + slow * n[8])
        self.quad.set_gyro_bias(self._gyro_bias)

    def _substep(self, begin_s: float, end_s: float, h_s: float, wind_m_s: Vec3[float]) -> None:
        quad = self.quad
        if self.released:
            while self._delayed and self._delayed[0][0] <= begin_s + EPS_S:
                self._in_effect = self._delayed.popleft()[1]
            quad.substep(self._in_effect, wind_m_s, h_s)
            height = quad.body.position_m[2]
            if height < self.lowest_m:
                self.lowest_m = height
            if height > self.highest_m:
                self.highest_m = height
        body = quad.body
        self.sensors.sense(
            end_s, end_s - self.release_s, body.position_m[2], quad.matrix, body.velocity_m_s, body.rates_rad_s, h_s
        )
        if self._located:
            self.sensors.locate(end_s, end_s - self.release_s, body, h_s)

    def _messages(self) -> list[Sensed]:
        quad = self.quad
        messages: list[Sensed] = [*self.sensors.due(self.t_s)]
        imu = self.sensors.read_imu(
            self.t_s,
            self.flight_time_s,
            quad.matrix,
            quad.body.rates_rad_s,
            quad.acceleration_m_s2,
            (self._gyro_bias, self._accel_bias),
        )
        if imu is not None:
            messages.append(imu)
        return messages
