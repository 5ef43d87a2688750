"""What each update trains on: horizon and disturbances grow, sensor rates are drawn anew."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from envs.avoid import sighted
from envs.conditions import MIXED_IMU_HZ, Conditions, Span
from envs.faults import MOTORS, Fault
from envs.track import placed
from liquid_pilot.errors import ConfigError

TRAINED_IMU_HZ: Span = (22.0, 440.0)
TRAINED_FLOW_HZ: Span = (8.0, 60.0)
TRAINED_RANGE_HZ: Span = (12.0, 50.0)
TRAINED_POSITION_HZ: Span = (15.0, 60.0)
TRAINED_ATTITUDE_HZ: Span = (10.0, 50.0)
TRAINED_GRID_HZ: Span = (9.0, 45.0)
SLOWEST_COURSE_M_S: Final = 0.8
SILENT: Final[Span] = (1.0, 1.0)  # share of the grids that are lost
HELD_CHANCE: Final = 0.04  # of a lesson in which a course is held, for no grid is heard
TRAINED_HEIGHT_M: Span = (0.6, 1.6)
FAULT_START_S: Final[Span] = (0.0, 8.0)  # after the release, of a fault in a lesson; it lasts to the end
TRAINED_FAULTS: Final[tuple[tuple[tuple[str, ...], str, Span | None], ...]] = (  # parts, mode, values
    (MOTORS, "share", (0.55, 1.0)),
    (MOTORS, "share", (0.55, 1.0)),  # twice as often as the others: it is the hardest
    (("accel",), "off", None),
    (("wind",), "step", (-4.0, 4.0)),
    (("payload",), "add", (0.0, 30.0)),
    (("battery",), "share", (0.8, 1.0)),
)


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
    outage_s: Span = (0.2, 1.3)  # of a sensor that falls silent once in a flight
    asked_height_m: Span = TRAINED_HEIGHT_M  # of all set-points; lessons begin with those of TRAINED_HEIGHT_M
    locates: bool = False  # with a position sensor, without flow and range
    sees: bool = False  # with a flow grid; the speed that is asked for grows
    first_speed_m_s: float = 1.5  # of those that see, at first: the fastest
    speed_share: float = 0.4  # of the run, in which it grows to setpoint_speed_m_s
    grid_lost: Span = (0.0, 0.4)  # share of the flow grids; (1, 1) = the drone is blind
    fault_chance: float = 0.0  # of a lesson in which something fails, at full disturbances

    def __post_init__(self) -> None:
        if not 0.0 <= self.fault_chance <= 1.0:
            raise ConfigError(f"fault_chance is {self.fault_chance:g}; give a share of the lessons, 0 to 1")


@dataclass(frozen=True, slots=True)
class Lesson:
    """One update: the world's conditions and the number of events to back-propagate through."""

    conditions: Conditions
    steps: int
    horizon_s: float


def training_conditions(curriculum: Curriculum, strength: float) -> Conditions:
    """The spread of flights at a disturbance strength from 0 to 1; a little wider than evaluation."""
    found = Conditions(
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
        outage_s=curriculum.outage_s,
    )
    if curriculum.sees:
        return sighted(replace(found, outage_chance=0.2 * strength, flow_dropout=(0.0, 0.2), range_dropout=(0.0, 0.2)))
    return placed(found, TRAINED_POSITION_HZ, (0.0, 0.4)) if curriculum.locates else found


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
    if curriculum.sees:
        conditions = _seeing(conditions, curriculum, share, rng)
    if curriculum.fault_chance and rng.random() < curriculum.fault_chance * strength:
        conditions = replace(conditions, faults=(_fault(rng),))
    steps = min(curriculum.most_steps, math.ceil(horizon * hz))
    return Lesson(conditions, steps, steps / hz)


def _seeing(conditions: Conditions, curriculum: Curriculum, share: float, rng: np.random.Generator) -> Conditions:
    """One rate of the camera, some of its grids lost, and the speeds of now; or no grid, and speed zero.

    The onboard controller holds a course where no grid comes, and forgets what it saw, see `liquid_pilot.sight`.
    """
    if rng.random() < HELD_CHANCE:
        return replace(conditions, grid_hz=TRAINED_GRID_HZ, grid_dropout=SILENT, setpoint_speed_m_s=(0.0, 0.0))
    grown = _grown(share, curriculum.speed_share)
    fastest = curriculum.first_speed_m_s + grown * (curriculum.setpoint_speed_m_s - curriculum.first_speed_m_s)
    low, high = (math.log(hz) for hz in TRAINED_GRID_HZ)
    hz = math.exp(low + (high - low) * rng.random())
    lost = rng.uniform(*curriculum.grid_lost)
    return replace(
        conditions,
        grid_hz=(hz, hz),
        grid_dropout=(lost, lost),
        setpoint_speed_m_s=(min(SLOWEST_COURSE_M_S, fastest), fastest),
    )


def _fault(rng: np.random.Generator) -> Fault:
    """One of `TRAINED_FAULTS`, the same for all drones of a lesson; whom it meets, and when, follows from their age."""
    parts, mode, values = TRAINED_FAULTS[rng.integers(len(TRAINED_FAULTS))]
    part, start_s = parts[rng.integers(len(parts))], rng.uniform(*FAULT_START_S)
    return Fault(part, start_s, math.inf, mode, None if values is None else rng.uniform(*values))
