"""Flight paths to follow: pure functions of time that give position, velocity and acceleration.

Every path starts at rest and gathers speed smoothly: its own clock starts with rate 0 and reaches rate 1 after
`ramp_s` along the quintic smoothstep, so that velocity, acceleration and jerk have no steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from liquid_pilot.errors import ConfigError
from liquid_pilot.messages import Floats3

RAMP_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class ReferencePoint:
    """Where to be at one time, in world axes."""

    position_m: Floats3
    velocity_m_s: Floats3
    acceleration_m_s2: Floats3


Reference: TypeAlias = Callable[[float], ReferencePoint]


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

    def at(t_s: float) -> ReferencePoint:
        s, rate, change = _clock(t_s, ramp_s)
        axes = []
        for a, period, start, middle in zip(amplitude, period_s, phase, center, strict=True):
            w = 2.0 * math.pi / period
            sine, cosine = math.sin(w * s + start), math.cos(w * s + start)
            speed = a * w * cosine  # per second of the path's clock; the chain rule does the rest
            axes.append((middle + a * sine, speed * rate, speed * change - a * w * w * sine * rate * rate))
        return _point(axes)

    return at


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
    steps: Sequence[tuple[float, Floats3]], start_m: Floats3 = (0.0, 0.0, 1.0), ramp_s: float = 0.5
) -> Reference:
    """From each (time, velocity) on that velocity, reached ramp_s later; at rest before the first.

    Raises `ConfigError` unless times rise.
    """
    times = [t for t, _ in steps]
    if not steps or not all(map(math.isfinite, times)) or times != sorted(set(times)):
        raise ConfigError(f"the steps are at {times} s; give at least one (time, velocity), times finite and rising")
    _check_ramp(ramp_s)
    velocities = [_finite("velocity", velocity) for _, velocity in steps]
    jumps = [
        (t, tuple(new - old for new, old in zip(to, previous, strict=True)))
        for t, to, previous in zip(times, velocities, [(0.0, 0.0, 0.0), *velocities], strict=False)
    ]
    start = _finite("start_m", start_m)

    def at(t_s: float) -> ReferencePoint:
        clocks = [(_clock(t_s - begin, ramp_s), jump) for begin, jump in jumps]
        axes = []
        for axis in range(3):
            x, v, a = (sum(jump[axis] * clock[order] for clock, jump in clocks) for order in range(3))
            axes.append((start[axis] + x, v, a))
        return _point(axes)

    return at


def _clock(t_s: float, ramp_s: float) -> tuple[float, float, float]:
    """(time, rate, change of rate) of a clock that starts at 0 and runs at full rate from ramp_s on."""
    if t_s <= 0.0:
        return 0.0, 0.0, 0.0
    if t_s >= ramp_s:
        return t_s - 0.5 * ramp_s, 1.0, 0.0
    u = t_s / ramp_s
    time = ramp_s * u**4 * (2.5 + u * (u - 3.0))
    return time, u**3 * (10.0 + u * (6.0 * u - 15.0)), 30.0 * (u * (1.0 - u)) ** 2 / ramp_s


def _point(axes: Sequence[tuple[float, float, float]]) -> ReferencePoint:
    (x, vx, ax), (y, vy, ay), (z, vz, az) = axes
    return ReferencePoint((x, y, z), (vx, vy, vz), (ax, ay, az))


def _finite(name: str, value: Floats3) -> Floats3:
    if len(value) != 3 or not all(map(math.isfinite, value)):
        raise ConfigError(f"{name} is {value!r}; give three finite numbers")
    return value


def _check_ramp(ramp_s: float) -> None:
    if not 0.0 < ramp_s < math.inf:
        raise ConfigError(f"ramp_s is {ramp_s}; a path needs a positive time to gather speed")
