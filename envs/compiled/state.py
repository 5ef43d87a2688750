"""The state of many drones as flat arrays, as the compiled rollout takes it: rows by name, lanes last.

The same content as `envs.batched_state.BatchedState`, in the order in which `exchange` in records.c visits it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from envs.airframe import Airframe
from envs.compiled.tracer import flatten
from envs.conditions import HISTORY, Conditions
from envs.fault_effects import ImuTimes
from envs.flights import RELEASE_THRUST, Flights
from envs.physics import Actuators, Body
from envs.sensors import ImuModel, read_imu, specific_force
from envs.task import Course, setpoint_course
from liquid_pilot.geometry import Matrix3, rotation_matrix
from liquid_pilot.observation import GRAVITY_M_S2, INITIAL_AGE_S, INITIAL_RANGE_M
from liquid_pilot.ops import NUMPY_OPS
from liquid_pilot.rate_loop import RateLoopState

Reals: TypeAlias = npt.NDArray[np.floating[Any]]
Clocks: TypeAlias = npt.NDArray[np.float64]

_TRIPLE: Final = (0.0, 0.0, 0.0)
BODY: Final[Body[float]] = Body(_TRIPLE, _TRIPLE, (1.0, 0.0, 0.0, 0.0), _TRIPLE)
ACTUATORS: Final[Actuators[float]] = Actuators((0.0, 0.0, 0.0, 0.0), RateLoopState(_TRIPLE, _TRIPLE))
BODY_ROWS: Final = len(flatten(BODY))
ACTUATOR_ROWS: Final = len(flatten(ACTUATORS))
GUST_ROWS: Final = 5
PLACE_ROWS: Final = 6  # position and velocity
DRIFT_ROWS: Final = GUST_ROWS + 6  # gusts, gyro bias, accelerometer bias

VALUE_ROWS: Final[tuple[tuple[str, int], ...]] = (
    ("body", BODY_ROWS),
    ("actuators", ACTUATOR_ROWS),
    ("acceleration_m_s2", 3),
    ("gusts", GUST_ROWS),
    ("gyro_bias_rad_s", 3),
    ("accel_bias_m_s2", 3),
    ("gyro_rad_s", 3),
    ("accel_m_s2", 3),
    ("accel_fresh", 1),
    ("gyro_sum", 3),
    ("gyro_count", 1),
    ("flow_integral_rad", 2),
    ("flow_reading", 3),
    ("flow.pending", 3),
    ("flow.held", 3),
    ("flow.fresh", 1),
    ("range.pending", 1),
    ("range.held", 1),
    ("range.fresh", 1),
    ("place.pending", PLACE_ROWS),
    ("place.held", PLACE_ROWS),
    ("place.fresh", 1),
    ("commands", 4 * HISTORY),
)
_CHANNEL: Final = ("next_s", "window_start_s", "pending_stamp_s", "deliver_s", "held_stamp_s")
CLOCK_ROWS: Final[tuple[tuple[str, int], ...]] = (
    ("t_s", 1),
    ("dt_s", 1),
    ("release_s", 1),
    ("accel_stamp_s", 1),
    *((f"flow.{name}", 1) for name in _CHANNEL),
    *((f"range.{name}", 1) for name in _CHANNEL),
    *((f"place.{name}", 1) for name in _CHANNEL),
    ("command_times_s", HISTORY),
    ("imu", len(fields(ImuTimes))),  # of no concern to C, see envs.compiled.faults
)
DELAY_ROWS: Final[tuple[tuple[str, int], ...]] = (
    ("flow_latency_s", 1),
    ("range_latency_s", 1),
    ("command_latency_s", 1),
    ("flow_outage_s", 2),
    ("range_outage_s", 2),
    ("position_latency_s", 1),
)
_TIMES: Final = ("latency", "outage", "phase")
_WIDTHS: Final = {  # of the drawn values that are vectors
    "inertia_kg_m2": 3,
    "rotor_thrust_max_n": 4,
    "gyro_bias_rad_s": 3,
    "accel_bias_m_s2": 3,
    "wind_mean_m_s": 3,
    "attitude_wxyz": 4,
    "launch_velocity_m_s": 3,
    "launch_rates_rad_s": 3,
    "setpoint_velocity_m_s": 2,
    "position_bias_m": 3,
}
CONSTANT_ROWS: Final[tuple[tuple[str, int], ...]] = tuple(
    (f.name, _WIDTHS.get(f.name, 1)) for f in fields(Flights) if not any(word in f.name for word in _TIMES)
)


def slices(rows: Sequence[tuple[str, int]]) -> dict[str, slice]:
    """Where each name stands."""
    found, start = {}, 0
    for name, width in rows:
        found[name] = slice(start, start + width)
        start += width
    return found


VALUES: Final = slices(VALUE_ROWS)
CLOCKS: Final = slices(CLOCK_ROWS)
CONSTANTS: Final = slices(CONSTANT_ROWS)
VALUE_COUNT: Final = sum(width for _, width in VALUE_ROWS)
CLOCK_COUNT: Final = sum(width for _, width in CLOCK_ROWS)
CONSTANT_COUNT: Final = sum(width for _, width in CONSTANT_ROWS)
DELAY_COUNT: Final = sum(width for _, width in DELAY_ROWS)


@dataclass(frozen=True, slots=True)
class RolloutState:
    """One moment of B drones, at an IMU event.

    constants (CONSTANT_COUNT, B), delays (DELAY_COUNT, B) and course (k, B), see `envs.task.Aim`, of the flights;
    values (VALUE_COUNT, B) and clocks (CLOCK_COUNT, B), rows as `VALUES` and `CLOCKS` name them. Delays and clocks in
    float64 seconds.
    """

    constants: Reals
    delays: Clocks
    course: Reals
    values: Reals
    clocks: Clocks

    def __len__(self) -> int:
        return int(self.values.shape[1])

    def value(self, name: str) -> Reals:
        """Rows of a value, (k, B)."""
        rows: Reals = self.values[VALUES[name]]
        return rows

    def clock(self, name: str) -> Clocks:
        """One clock, (B,)."""
        row: Clocks = self.clocks[CLOCKS[name]][0]
        return row

    @property
    def imu(self) -> ImuTimes[Clocks]:
        """What the onboard memory knows of IMU times."""
        return ImuTimes(*self.clocks[CLOCKS["imu"]])


def choose(mask: npt.NDArray[np.bool_], chosen: RolloutState, otherwise: RolloutState) -> RolloutState:
    """Lane by lane: `chosen` where mask (B,) is true, `otherwise` elsewhere."""
    return RolloutState(
        *(np.where(mask, getattr(chosen, f.name), getattr(otherwise, f.name)) for f in fields(RolloutState))
    )


def reset(
    airframe: Airframe,
    flights: Flights,
    rng: np.random.Generator,
    dtype: type[np.floating[Any]] = np.float32,
    course: Course | None = None,
) -> RolloutState:
    """Every drone in the hand at t = 0, with its first IMU sample read. course: the drawn set-points if not given."""
    n = len(flights)
    constants = np.concatenate([getattr(flights, name).T.reshape(width, n) for name, width in CONSTANT_ROWS])
    delays = np.concatenate([np.atleast_2d(getattr(flights, name).T) for name, _ in DELAY_ROWS])
    values, clocks = np.zeros((VALUE_COUNT, n)), np.zeros((CLOCK_COUNT, n))
    body = values[VALUES["body"]]
    body[2], body[6:10] = flights.height_m, flights.attitude_wxyz.T
    values[VALUES["actuators"]][:4] = math.sqrt(RELEASE_THRUST)
    values[VALUES["gusts"]][[0, 1, 3]] = rng.standard_normal((3, n))
    values[VALUES["gyro_bias_rad_s"]] = flights.gyro_bias_rad_s.T
    values[VALUES["accel_bias_m_s2"]] = flights.accel_bias_m_s2.T
    gyro, accel = _first_imu(flights, rng)
    values[VALUES["gyro_rad_s"]], values[VALUES["accel_m_s2"]], values[VALUES["accel_fresh"]] = gyro, accel, 1.0
    values[VALUES["range.pending"]] = values[VALUES["range.held"]] = INITIAL_RANGE_M
    values[VALUES["commands"]][:HISTORY] = RELEASE_THRUST * airframe.thrust_to_weight * GRAVITY_M_S2
    clocks[CLOCKS["release_s"]] = np.inf
    clocks[CLOCKS["command_times_s"]] = -1e6
    for name in ("flow", "range"):
        hz = getattr(flights, f"{name}_hz").astype(dtype)  # as the rollout sees it
        clocks[CLOCKS[f"{name}.next_s"]] = getattr(flights, f"{name}_phase") / hz.astype(np.float64)
        clocks[CLOCKS[f"{name}.deliver_s"]] = np.inf
        clocks[CLOCKS[f"{name}.held_stamp_s"]] = -INITIAL_AGE_S
    clocks[CLOCKS["place.next_s"]] = first_place_s(flights, dtype)
    clocks[CLOCKS["place.deliver_s"]], clocks[CLOCKS["place.held_stamp_s"]] = np.inf, -INITIAL_AGE_S
    course = setpoint_course(flights) if course is None else course
    return RolloutState(constants.astype(dtype), delays, course.astype(dtype), values.astype(dtype), clocks)


def first_place_s(flights: Flights, dtype: type[np.floating[Any]]) -> Clocks:
    """When the position sensor speaks first, (n,); infinite where there is none."""
    hz = flights.position_hz.astype(dtype).astype(np.float64)
    return np.where(hz > 0.0, flights.position_phase / np.maximum(hz, 1e-9), np.inf)


def _first_imu(flights: Flights, rng: np.random.Generator) -> tuple[Any, Any]:
    """(gyro, accel), each (3, n), of drones that stand still."""
    zero = np.zeros(len(flights))
    noise = rng.standard_normal((6, len(flights))) * flights.noise_scale
    w, x, y, z = flights.attitude_wxyz.T
    matrix: Matrix3[Any] = rotation_matrix((w, x, y, z))
    return read_imu(
        NUMPY_OPS,
        ImuModel(),
        (zero, zero, zero),
        specific_force(matrix, (zero, zero, zero)),
        tuple(flights.gyro_bias_rad_s.T),
        tuple(flights.accel_bias_m_s2.T),
        (tuple(noise[:3]), tuple(noise[3:])),
    )


def intervals(conditions: Conditions, imu_hz: Reals, steps: int, rng: np.random.Generator) -> Clocks:
    """IMU intervals of `steps` control steps, (steps, B). Mixed rates draw one interval for all lanes and jitter it."""
    unit = rng.random((steps, len(imu_hz)))
    if conditions.imu_mixed:
        low, high = (math.log(1.0 / hz) for hz in reversed(conditions.imu_hz))
        base = np.exp(low + (high - low) * rng.random((steps, 1)))
    else:
        base = 1.0 / imu_hz.astype(np.float64)[None, :]
    found: Clocks = base * (1.0 + conditions.imu_jitter * (2.0 * unit - 1.0))
    return found
