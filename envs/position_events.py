"""The optional position sensor of one drone in PyBullet: motion capture or GPS, at a low, jittered rate."""

from __future__ import annotations

import math

import numpy as np

from envs.conditions import Conditions
from envs.sample_clock import SampleClock
from liquid_pilot.messages import Position
from liquid_pilot.ops import Vec3


class PositionSensor:
    """Rate, phase, latency, loss and bias are drawn once a flight from `rng`, samples' noise from it as they come."""

    def __init__(self, conditions: Conditions, rng: np.random.Generator) -> None:
        low, high = (math.log(hz) for hz in conditions.position_hz)
        hz = math.exp(rng.uniform(low, high))
        self._model, self._rng = conditions.sensors.position, rng
        self._clock = SampleClock(hz, rng.random(), conditions.sensor_jitter)
        self.latency_s = rng.uniform(*conditions.position_latency_s)
        self.dropout = rng.uniform(*conditions.position_dropout)
        spread = (self._model.bias_xy_m, self._model.bias_xy_m, self._model.bias_z_m)
        self._bias_m = rng.standard_normal(3) * spread

    def sample(self, t_s: float, position_m: Vec3[float], velocity_m_s: Vec3[float]) -> Position | None:
        """What it measures at t_s, or None while its period runs. World axes."""
        if not self._clock.due(t_s):
            return None
        self._clock.restart(t_s, self._rng)
        model, noise = self._model, self._rng.standard_normal(6)
        spread = (model.noise_xy_m, model.noise_xy_m, model.noise_z_m)
        x, y, z = (position_m + self._bias_m + noise[:3] * spread).tolist()
        vx, vy, vz = (velocity_m_s + noise[3:] * model.noise_velocity_m_s).tolist()
        return Position(t_s, (x, y, z), (vx, vy, vz))
