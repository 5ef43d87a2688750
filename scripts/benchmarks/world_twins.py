"""How far the engines are apart after the same second of drawn drones, wind and commands."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from envs.airframe import Airframe
from envs.conditions import Conditions
from envs.flights import RELEASE_THRUST, draw_flights
from scripts.benchmarks.world_engines import Array, Experiment, Trajectory

SECONDS: Final = 1.0
HOLD_STEPS: Final = 10  # control steps between two drawn commands
HIGH_M: Final = 5.0  # free flight: no floor, hardly any ground effect
LIMIT_M, LIMIT_DEG = 0.01, 1.0  # 95th percentile of the twins


@dataclass(frozen=True, slots=True)
class Distance:
    """Two engines after a flight: 95th percentile and largest of all drones."""

    p95_m: float
    most_m: float
    p95_deg: float
    most_deg: float


def twin_experiment(airframe: Airframe, drones: int, seed: int) -> Experiment:
    """Drones, attitudes, launches and mean wind as training draws them; a new thrust and new rates every 0.1 s."""
    rng, zero = np.random.default_rng([seed]), np.zeros(drones)
    flights = draw_flights(airframe, Conditions(), drones, rng)
    flights = replace(
        flights,
        height_m=zero + HIGH_M,
        gust_m_s=zero,
        gyro_bias_rad_s=np.zeros((drones, 3)),
        command_latency_s=zero,
    )
    commands = round(SECONDS / 0.01) // HOLD_STEPS
    thrust, rates = rng.uniform(5.0, 18.0, (commands, 1, drones)), rng.uniform(-3.0, 3.0, (commands, 3, drones))
    speeds = np.full((4, drones), math.sqrt(RELEASE_THRUST))
    return Experiment(airframe, flights, speeds, np.concatenate([thrust, rates], axis=1).repeat(HOLD_STEPS, axis=0))


def angle_deg(a: Array, b: Array) -> Array:
    """Angles between attitudes (4, B) and (4, B), quaternions up to their sign; exact for small ones."""
    a, b = a / np.linalg.norm(a, axis=0), b / np.linalg.norm(b, axis=0)
    apart = np.minimum(np.linalg.norm(a - b, axis=0), np.linalg.norm(a + b, axis=0))
    return np.asarray(np.degrees(4.0 * np.arcsin(np.minimum(1.0, apart / 2.0))))


def tilt_deg(attitude_wxyz: Array) -> Array:
    """Angle of body z from the vertical; attitudes (T, 4)."""
    _, x, y, _ = attitude_wxyz.T
    return np.asarray(np.degrees(np.arccos(np.clip(1.0 - 2.0 * (x * x + y * y), -1.0, 1.0))))


def distance(a: Trajectory, b: Trajectory) -> Distance:
    """At the end of both."""
    metres = np.linalg.norm(a.position_m[-1] - b.position_m[-1], axis=0)
    degrees = angle_deg(a.attitude_wxyz[-1], b.attitude_wxyz[-1])
    return Distance(
        float(np.percentile(metres, 95)), float(metres.max()), float(np.percentile(degrees, 95)), float(degrees.max())
    )
