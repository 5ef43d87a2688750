"""Messages between sensors, set-point source and controller.

Frames: world ENU (z up), body FLU (x forward, y left, z up). SI units, times are monotonic seconds.
A constructor raises `MessageError` on a wrong shape or type. Values (NaN, out of range) are judged
in flight by the controller, which must never stop for them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsFloat, TypeAlias, cast

from liquid_pilot.errors import MessageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

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


def _array(message: str, field: str, value: object, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """A copy that cannot be written to, or `MessageError`."""
    import numpy as np  # other messages need none

    try:
        given = np.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise MessageError(f"{message}.{field} is no array of numbers ({error}); give shape {shape}") from error
    if given.dtype.kind not in "fiu":
        raise MessageError(f"{message}.{field} holds {given.dtype} of shape {given.shape}; give numbers, {shape}")
    if given.shape != shape:
        raise MessageError(f"{message}.{field} has shape {given.shape}; give {shape}: rows, rays in a row, components")
    kept = np.array(given, dtype=np.float64)
    kept.flags.writeable = False
    return kept


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


@dataclass(frozen=True, slots=True, eq=False)
class FlowGrid:
    """Forward low-resolution optical flow: mean angular velocities, in rad/s, over the `dt_s` that end at `t_s`.

    Row k looks along elevation_rad[k] (up), in it ray j along azimuth_rad[j] (to the left), both falling, body FLU:
    [0, 0] is upper left. flow_rad_s: (rows, rays, 2), the components to +azimuth and to +elevation; body rotation is
    not removed; NaN = the ray saw nothing. It is kept as an array that nobody can write to.
    """

    t_s: float
    dt_s: float
    azimuth_rad: tuple[float, ...]
    elevation_rad: tuple[float, ...]
    flow_rad_s: npt.NDArray[np.float64] = dataclasses.field(repr=False)

    def __post_init__(self) -> None:
        _convert(self, {"t_s": 0, "dt_s": 0})
        for name in ("azimuth_rad", "elevation_rad"):
            value: Any = getattr(self, name)
            if type(value) is not tuple or not value or set(map(type, value)) != {float}:
                width = len(value) if hasattr(value, "__len__") and not isinstance(value, (str, bytes)) else 0
                object.__setattr__(self, name, _numbers("FlowGrid", name, value, max(width, 1)))
        shape = (len(self.elevation_rad), len(self.azimuth_rad), 2)
        object.__setattr__(self, "flow_rad_s", _array("FlowGrid", "flow_rad_s", self.flow_rad_s, shape))

    def __eq__(self, other: object) -> bool:
        """Equal numbers; NaN is NaN."""
        if not isinstance(other, FlowGrid):
            return NotImplemented
        told, others = ((m.t_s, m.dt_s, m.azimuth_rad, m.elevation_rad) for m in (self, other))
        a, b = self.flow_rad_s, other.flow_rad_s
        return told == others and bool(((a == b) | ((a != a) & (b != b))).all())

    def __hash__(self) -> int:
        return hash((self.t_s, self.dt_s, self.azimuth_rad, self.elevation_rad))


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

    `yaw_rad` is the angle of body x from east, to the left; NaN = any heading. x and y of `position_m` NaN = a course:
    `velocity_m_s` says its direction and speed over ground, z the height, and a yaw of NaN = face the course.
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
Message: TypeAlias = SensorMessage | Attitude | FlowGrid | Setpoint | PositionSetpoint
