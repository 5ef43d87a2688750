"""What each update trains on: horizon and disturbances grow, sensor rates are drawn anew."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from envs.conditions import MIXED_IMU_HZ, Conditions, Span

TRAINED_IMU_HZ: Span = (22.0, 440.0)
TRAINED_FLOW_HZ: Span = (8.0, 60.0)
TRAINED_RANGE_HZ: Span = (12.0, 50.0)
TRAINED_HEIGHT_M: Span = (0.6, 1.6)


@dataclass(frozen=True, slots=True)
class Curriculum:
    """Horizons in seconds; shares are of the run (0 to 1), within which horizon and disturbances grow to the last.

    A share of 0: there from the first update on. Steps an update are capped for speed.
    """

    first_horizon_s: float = 0.9
    last_horizon_s: float = 3.2
    horizon_share: float = 0.5
    disturbance_share: float = 0.25
    imu_hz: Span = TRAINED_IMU_HZ  # of the lessons at one rate
    mixed_chance: float = 0.2  # of a lesson whose every interval is drawn anew
    most_steps: int = 640
    hover_chance: float = 0.7  # of a lane with velocity set-point zero
    setpoint_speed_m_s: float = 0.5
    setpoint_yaw_rate_rad_s: float = 0.5


@dataclass(frozen=True, slots=True)
class Lesson:
    """One update: the world's conditions and the number of events to back-propagate through."""

    conditions: Conditions
    steps: int
    horizon_s: float


def training_conditions(curriculum: Curriculum, strength: float) -> Conditions:
    """The spread of flights at a disturbance strength from 0 to 1; a little wider than evaluation."""
    return Conditions(
        imu_hz=curriculum.imu_hz,
        imu_jitter=0.15,
        flow_hz=TRAINED_FLOW_HZ,
        range_hz=TRAINED_RANGE_HZ,
        flow_dropout=(0.0, 0.4),
        range_dropout=(0.0, 0.3),
        wind_m_s=(0.0, 0.2 + 1.1 * strength),
        airframe_spread=0.05 + 0.17 * strength,
        tilt_deg=(0.0, 15.0 + 35.0 * strength),
        launch_speed_m_s=(0.0, 0.5 + 1.2 * strength),
        launch_rate_rad_s=(0.0, 0.5 + 1.7 * strength),
        setpoint_height_m=TRAINED_HEIGHT_M,
        setpoint_speed_m_s=(0.0, curriculum.setpoint_speed_m_s),
        setpoint_yaw_rate_rad_s=(-curriculum.setpoint_yaw_rate_rad_s, curriculum.setpoint_yaw_rate_rad_s),
        outage_chance=0.5 * strength,
        outage_s=(0.2, 1.3),
    )


def _grown(share: float, until: float) -> float:
    """From 0 at the start of a run to 1 at `until`."""
    return 1.0 if share >= until else share / until


def lesson(curriculum: Curriculum, share: float, rng: np.random.Generator) -> Lesson:
    """The lesson at `share` (0 to 1) of the run: one IMU rate, or mixed intervals, for all lanes."""
    strength = _grown(share, curriculum.disturbance_share)
    grown = _grown(share, curriculum.horizon_share)
    horizon = curriculum.first_horizon_s + grown * (curriculum.last_horizon_s - curriculum.first_horizon_s)
    base = training_conditions(curriculum, strength)
    if rng.random() < curriculum.mixed_chance:
        mean_s = (1 / MIXED_IMU_HZ[0] - 1 / MIXED_IMU_HZ[1]) / math.log(MIXED_IMU_HZ[1] / MIXED_IMU_HZ[0])
        conditions, hz = replace(base, imu_hz=MIXED_IMU_HZ, imu_mixed=True), 1.0 / mean_s
    else:
        low, high = math.log(curriculum.imu_hz[0]), math.log(curriculum.imu_hz[1])
        hz = math.exp(low + (high - low) * rng.random())
        conditions = replace(base, imu_hz=(hz, hz))
    steps = min(curriculum.most_steps, math.ceil(horizon * hz))
    return Lesson(conditions, steps, steps / hz)
