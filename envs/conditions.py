"""Under which conditions flights are flown: rates, losses, wind, spread of the airframe, launch."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any, Final, TypeAlias

from envs.faults import Fault
from envs.sensors import DEFAULT_SENSORS, SensorModels
from liquid_pilot.errors import ConfigError, unknown_name

Span: TypeAlias = tuple[float, float]  # lowest and highest of a uniform draw

MIXED_IMU_HZ: Final[Span] = (25.0, 400.0)
SUBSTEP_S: Final = 0.002  # physics never takes a longer substep in evaluation
SLOWEST_S: Final = 0.2  # longest IMU interval that is simulated
MAX_TILT_DEG: Final = 45.0  # in the hand, where nothing else is said
TILT_BOUND_DEG: Final = 90.0  # leaning further, flow and range see the sky, and a tilt beyond 180 would wrap around
ACCEL_WALK_RATIO: Final = 10.0  # accelerometer bias walk over gyro bias walk, in SI units
LONGEST_LATENCY_S: Final = 0.030  # of a command, in the batched engines
FASTEST_IMU_HZ: Final = 520.0  # shortest interval of a 440 Hz IMU with 15 % jitter
HISTORY: Final = math.ceil(LONGEST_LATENCY_S * FASTEST_IMU_HZ) + 2  # commands that a batched engine keeps


@dataclass(frozen=True, slots=True)
class Conditions:
    """One row of an evaluation, or the spread that training draws from.

    Spans are drawn once a flight. imu_hz with `imu_mixed` = every interval drawn log-uniform between
    the two; without, one rate a flight (log-uniform) and `imu_jitter` around it. Latencies are cut to
    0.9 of the sensor's period. Relative spreads are +- around nominal. tilt_deg: in the hand, 0 to 90.
    """

    imu_hz: Span = (100.0, 100.0)
    imu_mixed: bool = False
    imu_jitter: float = 0.1
    flow_hz: Span = (40.0, 40.0)
    range_hz: Span = (30.0, 30.0)
    position_hz: Span = (0.0, 0.0)  # of a position sensor; 0 = there is none
    attitude_hz: Span = (10.0, 50.0)  # of the attitude that comes with positions, in PyBullet
    heading_error_rad: float = 0.05  # +-, of that attitude and of the heading that the batched engines tell
    grid_hz: Span = (0.0, 0.0)  # of a forward flow grid; 0 = there is none
    grid_dropout: Span = (0.0, 0.0)
    grid_latency_s: Span = (0.005, 0.030)
    sensor_jitter: float = 0.1
    flow_dropout: Span = (0.0, 0.0)
    range_dropout: Span = (0.0, 0.0)
    position_dropout: Span = (0.0, 0.0)
    flow_latency_s: Span = (0.004, 0.020)
    range_latency_s: Span = (0.004, 0.020)
    position_latency_s: Span = (0.005, 0.020)
    command_latency_s: Span = (0.0, 0.030)
    wind_m_s: Span = (0.0, 1.0)
    gust_fraction: float = 0.3  # standard deviation of gusts over the highest mean wind
    airframe_spread: float = 0.2  # mass, inertia, thrust, drag
    rotor_spread: float = 0.03  # between the rotors of one drone
    motor_tau_s: Span = (0.03, 0.10)
    gyro_bias_rad_s: float = 0.01  # +-, about 0.5 deg/s
    gyro_walk_rad_s2: float = 0.001  # per square root of a second
    accel_bias_m_s2: float = 0.4  # +-, about 40 mg
    noise_scale: Span = (0.5, 1.5)
    texture: Span = (0.6, 1.0)
    flow_scale_spread: float = 0.05
    hold_s: float = 0.5
    tilt_deg: Span = (0.0, MAX_TILT_DEG)
    launch_speed_m_s: Span = (0.0, 1.5)
    launch_rate_rad_s: Span = (0.0, 2.0)
    launch_height_m: Span = (0.8, 2.0)
    setpoint_height_m: Span = (0.8, 1.5)
    setpoint_speed_m_s: Span = (0.0, 0.0)
    setpoint_yaw_rate_rad_s: Span = (0.0, 0.0)
    outage_chance: float = 0.0  # of one random silence of flow (and, apart, of range) in a flight
    outage_s: Span = (0.2, 1.2)
    faults: tuple[Fault, ...] = ()
    sensors: SensorModels = DEFAULT_SENSORS

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_type(field.name, str(field.type), getattr(self, field.name))
        for name in ("imu_hz", "flow_hz", "range_hz"):
            low, high = getattr(self, name)
            if not 1.0 <= low <= high <= 1000.0:
                raise ConfigError(f"{name} is {low:g} to {high:g}; rates must rise and lie in 1 to 1000 Hz")
        low, high = self.position_hz
        if high > 0.0 and not 0.2 <= low <= high <= 1000.0:
            raise ConfigError(f"position_hz is {low:g} to {high:g}; give 0.2 to 1000 Hz, or 0 for no position sensor")
        low, high = self.grid_hz
        if high > 0.0 and not 1.0 <= low <= high <= 200.0:
            raise ConfigError(f"grid_hz is {low:g} to {high:g}; give 1 to 200 Hz, or 0 for no flow grid")
        if 1.0 / self.imu_hz[0] > SLOWEST_S:
            raise ConfigError(
                f"imu_hz is {self.imu_hz[0]:g}; the slowest IMU that is simulated has {1 / SLOWEST_S:g} Hz"
            )
        low, high = self.tilt_deg
        if not 0.0 <= low <= high <= TILT_BOUND_DEG:
            raise ConfigError(
                f"tilt_deg is {low:g} to {high:g}; a drone in the hand may lean 0 to {TILT_BOUND_DEG:g} degrees, "
                "for upside down its downward sensors see nothing"
            )
        for name in ("flow_dropout", "range_dropout", "position_dropout", "grid_dropout"):
            low, high = getattr(self, name)
            if not 0.0 <= low <= high <= 1.0:
                raise ConfigError(f"{name} is {low:g} to {high:g}; a share must lie in 0 to 1")
        if not 0.0 <= self.wind_m_s[0] <= self.wind_m_s[1] <= 15.0:
            raise ConfigError(f"wind_m_s is {self.wind_m_s}; mean wind must lie in 0 to 15 m/s")
        if not (0.0 <= self.imu_jitter < 0.9 and 0.0 <= self.sensor_jitter < 0.9):
            raise ConfigError("jitter is a share of the period and must lie in 0 to 0.9")
        if not max(self.airframe_spread, self.rotor_spread, self.flow_scale_spread) < 1.0:
            raise ConfigError("a spread is relative to nominal and must lie below 1")
        if not self.motor_tau_s[0] > 0.0:
            raise ConfigError(f"motor_tau_s is {self.motor_tau_s}; a motor's lag must be above 0 s")

    @property
    def locates(self) -> bool:
        """Whether there is a position sensor."""
        return self.position_hz[1] > 0.0

    @property
    def sees(self) -> bool:
        """Whether there is a flow grid."""
        return self.grid_hz[1] > 0.0

    @property
    def mean_imu_hz(self) -> float:
        """IMU events per second over many flights: one over the mean of intervals that are spread log-uniformly."""
        low, high = self.imu_hz
        return low if low == high else math.log(high / low) / (1.0 / low - 1.0 / high)


def _check_type(name: str, kind: str, value: Any) -> None:
    """Raise `ConfigError` unless the value is of its field's kind, finite, and, if a span, rising."""
    if kind == "Span":
        pair = isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(x, Real) for x in value)
        if not pair or not -math.inf < value[0] <= value[1] < math.inf:
            raise ConfigError(f"{name} is {value!r}; give (lowest, highest), two finite numbers that rise")
    elif kind == "float":
        if not isinstance(value, Real) or not 0.0 <= float(value) < math.inf:
            raise ConfigError(f"{name} is {value!r}; give one finite number, 0 or more")
    elif name == "faults" and not (isinstance(value, tuple) and all(isinstance(x, Fault) for x in value)):
        raise ConfigError(f"faults is {value!r}; give a tuple of Fault, as parse_fault makes them")
    elif name == "sensors" and not isinstance(value, SensorModels):
        raise ConfigError(f"sensors is {value!r}; give a SensorModels, or use envs.parts.conditions_with")


def check_batched(conditions: Conditions) -> None:
    """Raise `ConfigError` for conditions that only PyBullet flies."""
    if conditions.command_latency_s[1] > LONGEST_LATENCY_S:
        raise ConfigError(
            f"command_latency_s goes to {conditions.command_latency_s[1]:g} s; "
            f"the batched engines keep commands for {LONGEST_LATENCY_S:g} s"
        )
    fastest = conditions.imu_hz[1] / (1.0 - conditions.imu_jitter)
    if fastest > FASTEST_IMU_HZ:
        raise ConfigError(
            f"imu_hz goes to {fastest:g} with its jitter; the batched engines keep commands for IMUs of up to "
            f"{FASTEST_IMU_HZ:g} Hz; use --engine pybullet"
        )


def check_locates(locates: bool, conditions: Conditions) -> None:
    """Raise `ConfigError` unless a goal that is a place, and no other, comes with a position sensor."""
    if locates != conditions.locates:
        raise ConfigError(
            f"position_hz is {conditions.position_hz}, and the goal is {'a' if locates else 'no'} place; in the "
            "batched engines a place needs a position sensor, such as position_hz=(20, 50), and any other goal (0, 0)"
        )


def check_sees(sees: bool, conditions: Conditions) -> None:
    """Raise `ConfigError` unless a forest to cross, and nothing else, comes with a flow grid of one share of losses."""
    if sees != conditions.sees:
        raise ConfigError(
            f"grid_hz is {conditions.grid_hz}, and there is {'a' if sees else 'no'} forest; in the compiled engine a "
            "forest needs a flow grid, such as grid_hz=(20, 30), and any other task (0, 0)"
        )
    low, high = conditions.grid_dropout
    if low != high:
        raise ConfigError(f"grid_dropout is {low:g} to {high:g}; the compiled engine loses one share: give it twice")


def parse_dropout(text: str) -> tuple[str, float]:
    """`flow:0.3` = 30 % of the flow samples are lost. Returns (sensor, share)."""
    sensor, _, share = text.partition(":")
    if sensor not in ("flow", "range", "grid"):
        raise ConfigError(unknown_name("sensor in a dropout", sensor, ["flow", "range", "grid"]))
    try:
        value = float(share)
    except ValueError:
        raise ConfigError(f"dropout {text!r} is not understood; write SENSOR:SHARE, for example flow:0.3") from None
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"dropout {text!r}: the share must lie in 0 to 1")
    return sensor, value


def parse_imu_hz(text: str) -> tuple[Span, bool]:
    """`200` or `mixed`. Returns the span of rates and whether every interval is drawn anew."""
    if text == "mixed":
        return MIXED_IMU_HZ, True
    try:
        return (float(text), float(text)), False
    except ValueError:
        raise ConfigError(f"IMU rate {text!r} is not understood; give a number in Hz, or mixed") from None
