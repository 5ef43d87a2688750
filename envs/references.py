"""Flight paths to follow: position, velocity and acceleration as pure functions of time.

Every path starts at rest and gathers speed smoothly: its own clock starts with rate 0 and reaches rate 1 after
`ramp_s` along the quintic smoothstep, so that velocity, acceleration and jerk have no steps. One form holds them all, a
Lissajous figure plus steps of the velocity, written over `ops`: of one drone, or of many at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Generic, TypeAlias

import numpy as np
import numpy.typing as npt

from envs.compiled.tracer import flatten, unflatten
from liquid_pilot.errors import ConfigError
from liquid_pilot.messages import Floats3
from liquid_pilot.ops import FLOAT_OPS, Ops, S, Vec3

RAMP_S: Final = 2.0
LEG_RAMP_S: Final = 0.5
EIGHT_PERIODS_S: Final = (10.0, 5.5, 3.5)  # seconds a lap of the figure-eight for which others' errors are known


@dataclass(frozen=True, slots=True)
class ReferencePoint(Generic[S]):
    """Where to be at one time, in world axes."""

    position_m: Vec3[S]
    velocity_m_s: Vec3[S]
    acceleration_m_s2: Vec3[S]


@dataclass(frozen=True, slots=True)
class Leg(Generic[S]):
    """A step of the velocity (m/s), which begins at a time."""

    begin_s: S
    step_m_s: Vec3[S]


@dataclass(frozen=True, slots=True)
class Path(Generic[S]):
    """Each axis is center + amplitude sin(rate s + phase), s the clock of the figure, plus the way of the legs."""

    center_m: Vec3[S]
    amplitude_m: Vec3[S]
    rate_rad_s: Vec3[S]
    phase_rad: Vec3[S]
    ramp_s: S
    legs: tuple[Leg[S], ...] = ()
    leg_ramp_s: Any = LEG_RAMP_S


_NO_LEG: Final[Leg[float]] = Leg(0.0, (0.0, 0.0, 0.0))
Reference: TypeAlias = Callable[[float], ReferencePoint[float]]


def path_point(ops: Ops, path: Path[S], t_s: S) -> ReferencePoint[S]:
    """Where the path is at t_s; before 0 it stands at its start."""
    s, rate, change = _clock(ops, t_s, path.ramp_s)
    clocks = [_clock(ops, t_s - leg.begin_s, path.leg_ramp_s) for leg in path.legs]
    axes: list[tuple[Any, Any, Any]] = []
    for i in range(3):
        a, w, start = path.amplitude_m[i], path.rate_rad_s[i], path.phase_rad[i]
        angle: Any = w * s + start
        sine = ops.sin(angle)
        speed: Any = a * w * ops.cos(angle)  # per second of the path's clock; the chain rule does the rest
        x, v, c = path.center_m[i] + a * sine, speed * rate, speed * change - a * w * w * sine * rate * rate
        for leg, clock in zip(path.legs, clocks, strict=True):
            step: Any = leg.step_m_s[i]
            x, v, c = x + step * clock[0], v + step * clock[1], c + step * clock[2]
        axes.append((x, v, c))
    (x, vx, ax), (y, vy, ay), (z, vz, az) = axes
    return ReferencePoint((x, y, z), (vx, vy, vz), (ax, ay, az))


def _clock(ops: Ops, t_s: Any, ramp_s: Any) -> tuple[Any, Any, Any]:
    """(time, rate, change of rate) of a clock that starts at 0 and runs at full rate from ramp_s on."""
    u = ops.clip(t_s / ramp_s, 0.0, 1.0)
    square = u * u
    time = ramp_s * square * square * (2.5 + u * (u - 3.0)) + ops.maximum(t_s - ramp_s, 0.0)
    bump = u * (1.0 - u)
    return time, square * u * (10.0 + u * (6.0 * u - 15.0)), 30.0 * bump * bump / ramp_s


def flown(path: Path[float]) -> Reference:
    """The path of one drone as a function of time."""
    return partial(path_point, FLOAT_OPS, path)


def hover(position_m: Floats3) -> Reference:
    """Stay where that is."""
    point = ReferencePoint(_finite("position_m", position_m), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
    return lambda t_s: point


def lissajous(
    amplitude_m: Floats3,
    period_s: Floats3,
    phase_rad: Floats3 = (0.0, 0.0, 0.0),
    center_m: Floats3 = (0.0, 0.0, 1.0),
    ramp_s: float = RAMP_S,
) -> Reference:
    """Each axis is center + amplitude sin(2 pi s / period + phase), s the path's clock. Raises `ConfigError`."""
    amplitude, phase, center = (
        _finite(name, value)
        for name, value in (("amplitude_m", amplitude_m), ("phase_rad", phase_rad), ("center_m", center_m))
    )
    if not all(0.0 < period < math.inf for period in period_s):
        raise ConfigError(f"period_s is {period_s}; give positive, finite seconds for each axis")
    _check_ramp(ramp_s)
    x, y, z = (2.0 * math.pi / period for period in period_s)
    return flown(Path(center, amplitude, (x, y, z), phase, ramp_s))


def figure_eight(
    period_s: float,
    amplitude_m: tuple[float, float] = (1.0, 0.5),
    center_m: Floats3 = (0.0, 0.0, 1.0),
    ramp_s: float = RAMP_S,
) -> Reference:
    """x = a sin(w s), y = b sin(2 w s), level, one lap in period_s: the field's usual 1.0 x 0.5 m eight."""
    a, b = amplitude_m
    return lissajous((a, b, 0.0), (period_s, period_s / 2.0, period_s), center_m=center_m, ramp_s=ramp_s)


def lap_s(period_s: float, lap: int, ramp_s: float = RAMP_S) -> tuple[float, float]:
    """When the lap (from 1 on) of a periodic path begins and ends; the first one holds the start."""
    if lap < 1 or not period_s >= ramp_s > 0.0:
        raise ConfigError(f"lap is {lap} of {period_s:g} s after a ramp of {ramp_s:g} s; count from 1, with ramp < lap")
    late = ramp_s / 2.0  # what the clock loses on the ramp
    return (0.0 if lap == 1 else late + (lap - 1) * period_s), late + lap * period_s


def velocity_sinusoid(
    amplitude_m_s: Floats3, period_s: float, start_m: Floats3 = (0.0, 0.0, 1.0), ramp_s: float = RAMP_S
) -> Reference:
    """Velocity amplitude sin(2 pi s / period) on each axis, from start_m on. Raises `ConfigError`."""
    ax, ay, az = (v * period_s / (2.0 * math.pi) for v in amplitude_m_s)
    (x, y, z), period = start_m, (period_s, period_s, period_s)
    back = (-math.pi / 2.0, -math.pi / 2.0, -math.pi / 2.0)  # the lowest point of each sine is the start
    return lissajous((ax, ay, az), period, back, (x + ax, y + ay, z + az), ramp_s)


def velocity_steps(
    steps: Sequence[tuple[float, Floats3]], start_m: Floats3 = (0.0, 0.0, 1.0), ramp_s: float = LEG_RAMP_S
) -> Reference:
    """From each (time, velocity) on that velocity, reached ramp_s later; at rest before the first.

    Raises `ConfigError` unless times rise.
    """
    times = [t for t, _ in steps]
    if not steps or not all(map(math.isfinite, times)) or times != sorted(set(times)):
        raise ConfigError(f"the steps are at {times} s; give at least one (time, velocity), times finite and rising")
    _check_ramp(ramp_s)
    legs = legs_of([(t, _finite("velocity", velocity)) for t, velocity in steps])
    return flown(still(_finite("start_m", start_m), legs, ramp_s))


def legs_of(steps: Sequence[tuple[S, Vec3[S]]]) -> tuple[Leg[S], ...]:
    """(time, velocity from then on) as steps of the velocity."""
    found, before = list[Leg[S]](), None
    for begin_s, velocity in steps:
        x, y, z = velocity if before is None else (new - old for new, old in zip(velocity, before, strict=True))
        found.append(Leg(begin_s, (x, y, z)))
        before = velocity
    return tuple(found)


def still(center_m: Vec3[Any], legs: tuple[Leg[Any], ...] = (), leg_ramp_s: Any = LEG_RAMP_S) -> Path[Any]:
    """A path without a figure: it stands at the center but for its legs. Scalars like those of the center."""
    zero: Any = 0.0 * center_m[0]
    nothing = (zero, zero, zero)
    return Path(center_m, nothing, nothing, nothing, zero + RAMP_S, legs, zero + leg_ramp_s)


def path_rows(path: Path[Any], legs: int, n: int) -> npt.NDArray[np.float64]:
    """The numbers of a path, (k, n) for n drones, with so many legs; those that it does not have are no steps."""
    padded = (*path.legs, *(_NO_LEG,) * (legs - len(path.legs)))
    rows = flatten(replace(path, legs=padded))
    return np.stack([np.broadcast_to(np.asarray(row, dtype=np.float64), (n,)) for row in rows])


LEG_ROWS: Final = len(flatten(_NO_LEG))
PATH_ROWS: Final = len(flatten(still((0.0, 0.0, 0.0))))  # without legs


def path_of(rows: Sequence[S]) -> Path[S]:
    """The path that `path_rows` has told."""
    plain = still((0.0, 0.0, 0.0))
    legs = (len(rows) - PATH_ROWS) // LEG_ROWS
    path: Path[Any] = unflatten(replace(plain, legs=(_NO_LEG,) * legs), rows)
    return path


def _finite(name: str, value: Floats3) -> Floats3:
    if len(value) != 3 or not all(map(math.isfinite, value)):
        raise ConfigError(f"{name} is {value!r}; give three finite numbers")
    return value


def _check_ramp(ramp_s: float) -> None:
    if not 0.0 < ramp_s < math.inf:
        raise ConfigError(f"ramp_s is {ramp_s}; a path needs a positive time to gather speed")
