"""Messages between sensors, set-point source and controller.

Frames: world ENU (z up), body FLU (x forward, y left, z up). SI units, times are monotonic seconds.
A constructor raises `MessageError` on a wrong shape or type. Values (NaN, out of range) are judged
in flight by the controller, which must never stop for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import SupportsFloat, TypeAlias, cast

from liquid_pilot.errors import MessageError

Floats2: TypeAlias = tuple[float, float]
Floats3: TypeAlias = tuple[float, float, float]
Floats4: TypeAlias = tuple[float, float, float, float]


def _number(message: str, field: str, value: object) -> float:
    if type(value) is float:
        return value
    kind = getattr(getattr(value, "dtype", None), "kind", "f")  # of numpy: no truth values, no complex numbers
    shape = getattr(value, "shape", ())
    if isinstance(value, (bool, str, bytes)) or not hasattr(value, "__float__") or kind not in "fiu" or shape != ():
        raise MessageError(
            f"{message}.{field} is {value!r} of type {type(value).__name__}; give one real number in that unit"
        )
    try:
        return float(cast(SupportsFloat, value))  # hasattr above is the check
    except (TypeError, ValueError, OverflowError) as error:
        raise MessageError(f"{message}.{field} cannot be read as one real number ({error})") from error


def _numbers(message: str, field: str, value: object, width: int) -> tuple[float, ...]:
    if type(value) is tuple and len(value) == width and set(map(type, value)) == {float}:
        return value  # what simulators and drivers send at every sample
    if isinstance(value, (str, bytes, dict, set, frozenset)) or not isinstance(value, Iterable):
        raise MessageError(
            f"{message}.{field} is {value!r} of type {type(value).__name__}; give a sequence of {width} numbers"
        )
    try:
        items = list(value)
    except TypeError as error:  # a zero-dimensional array claims to be iterable
        raise MessageError(f"{message}.{field} is a scalar; give a sequence of {width} numbers") from error
    if len(items) != width:
        raise MessageError(f"{message}.{field} has {len(items)} numbers; give exactly {width}")
    return tuple(_number(message, field, item) for item in items)


def _convert(message: object, widths: dict[str, int]) -> None:
    """Store every field as float (width 0) or tuple of floats, or raise `MessageError`."""
    name = type(message).__name__
    for field, width in widths.items():
        value = getattr(message, field)
        converted = _numbers(name, field, value, width) if width else _number(name, field, value)
        object.__setattr__(message, field, converted)


@dataclass(frozen=True, slots=True)
class Imu:
    """One inertial sample. `accel_m_s2` is specific force: at rest and level it reads (0, 0, +9.81).

    An accelerometer that is absent is three NaN; a NaN gyro makes the whole message invalid.
    """

    t_s: float
    gyro_rad_s: Floats3
    accel_m_s2: Floats3

    def __post_init__(self) -> None:
        _convert(self, {"t_s": 0, "gyro_rad_s": 3, "accel_m_s2": 3})


@dataclass(frozen=True, slots=True)
class Flow:
    """Downward optical flow: angles integrated over the `dt_s` that end at `t_s`.

    Body rotation is not removed: `((v_x/d - w_y) dt, (v_y/d + w_x) dt)` with body velocity v, body
    rates w and distance d along body -z. From MAVLink: `(integrated_y, integrated_x)`.
    `quality` is 0 (blind) to 1.
    """

    t_s: float
    dt_s: float
    flow_rad: Floats2
    quality: float

    def __post_init__(self) -> None:
        _convert(self, {"t_s": 0, "dt_s": 0, "flow_rad": 2, "quality": 0})


@dataclass(frozen=True, slots=True)
class Range:
    """Distance along body -z in metres. NaN means no return."""

    t_s: float
    distance_m: float

    def __post_init__(self) -> None:
        _convert(self, {"t_s": 0, "distance_m": 0})


@dataclass(frozen=True, slots=True)
class Position:
    """Place and velocity in the world (ENU), of motion capture or GPS: optional, at a low and irregular rate."""

    t_s: float
    position_m: Floats3
    velocity_m_s: Floats3

    def __post_init__(self) -> None:
        _convert(self, {"t_s": 0, "position_m": 3, "velocity_m_s": 3})


@dataclass(frozen=True, slots=True)
class Attitude:
    """How the body is turned, body FLU -> world ENU (wxyz): the autopilot's own estimate, or motion capture's."""

    t_s: float
    quaternion_wxyz: Floats4

    def __post_init__(self) -> None:
        _convert(self, {"t_s": 0, "quaternion_wxyz": 4})


@dataclass(frozen=True, slots=True)
class Setpoint:
    """What to fly: horizontal velocity in the heading frame, height, yaw rate. Holds until replaced."""

    t_s: float
    velocity_m_s: Floats2
    height_m: float
    yaw_rate_rad_s: float

    def __post_init__(self) -> None:
        _convert(self, {"t_s": 0, "velocity_m_s": 2, "height_m": 0, "yaw_rate_rad_s": 0})


@dataclass(frozen=True, slots=True)
class PositionSetpoint:
    """Where to be in the world (ENU), how fast that place moves, and the yaw there. Holds until replaced.

    `yaw_rad` is the angle of body x from east, to the left; NaN = any heading.
    """

    t_s: float
    position_m: Floats3
    velocity_m_s: Floats3
    yaw_rad: float

    def __post_init__(self) -> None:
        _convert(self, {"t_s": 0, "position_m": 3, "velocity_m_s": 3, "yaw_rad": 0})


@dataclass(frozen=True, slots=True)
class Command:
    """Collective specific thrust along body +z, and body rates (CTBR), for the autopilot's rate loop."""

    t_s: float
    thrust_m_s2: float
    rates_rad_s: Floats3


SensorMessage: TypeAlias = Imu | Flow | Range | Position
Message: TypeAlias = SensorMessage | Attitude | Setpoint | PositionSetpoint
