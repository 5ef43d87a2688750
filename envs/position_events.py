"""The optional position sensor of one drone in PyBullet, motion capture or GPS, and the attitude that comes with it."""

from __future__ import annotations

import math

import numpy as np

from envs.conditions import Conditions
from envs.flights import Flights
from envs.sample_clock import SampleClock
from envs.sensors import read_place
from liquid_pilot.geometry import multiply
from liquid_pilot.messages import Attitude, Position
from liquid_pilot.ops import Vec3, Vec4

TILT_NOISE_RAD: float = 0.005  # of the attitude, from sample to sample, about each axis


class PositionSensor:
    """Of the first of `flights`, which hold its rate, phase and bias; the noise of its samples comes from `rng`."""

    def __init__(self, flights: Flights, conditions: Conditions, rng: np.random.Generator) -> None:
        self._model, self._rng = conditions.sensors.position, rng
        hz, phase = float(flights.position_hz[0]), float(flights.position_phase[0])
        self._clock = SampleClock(hz, phase, conditions.sensor_jitter)
        x, y, z = flights.position_bias_m[0].tolist()
        self._bias_m = (x, y, z)

    def sample(self, t_s: float, position_m: Vec3[float], velocity_m_s: Vec3[float]) -> Position | None:
        """What it measures at t_s, or None while its period runs. World axes."""
        if not self._clock.due(t_s):
            return None
        self._clock.restart(t_s, self._rng)
        a, b, c, d, e, f = self._rng.standard_normal(6).tolist()
        return Position(t_s, *read_place(self._model, position_m, velocity_m_s, self._bias_m, ((a, b, c), (d, e, f))))


class AttitudeSensor:
    """An autopilot's estimate: right but for noise and a heading that is off by the same angle all flight long."""

    def __init__(self, flights: Flights, conditions: Conditions, rng: np.random.Generator) -> None:
        low, high = (math.log(hz) for hz in conditions.attitude_hz)
        self._rng = rng
        self._clock = SampleClock(math.exp(rng.uniform(low, high)), rng.random(), conditions.sensor_jitter)
        half = 0.5 * float(flights.heading_error_rad[0])
        self._turn: Vec4[float] = (math.cos(half), 0.0, 0.0, math.sin(half))

    def sample(self, t_s: float, attitude_wxyz: Vec4[float]) -> Attitude | None:
        """What it tells at t_s, or None while its period runs."""
        if not self._clock.due(t_s):
            return None
        self._clock.restart(t_s, self._rng)
        x, y, z = (0.5 * TILT_NOISE_RAD * self._rng.standard_normal(3)).tolist()
        small = (math.sqrt(1.0 - x * x - y * y - z * z), x, y, z)
        return Attitude(t_s, multiply(multiply(self._turn, attitude_wxyz), small))
