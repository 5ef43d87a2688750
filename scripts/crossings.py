"""What the task avoid adds to a case: speeds and densities, of which each pair is a cell, and the grid's rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from envs.avoid import check_speed
from envs.conditions import Conditions, Span
from envs.forest import check_density
from liquid_pilot.errors import ConfigError

AVOID: Final = "avoid"
FLOWS: Final = ("analytic", "camera")  # where grids come from
OF_AVOID: Final = ("speed", "density", "obstacles", "size", "walled", "grid_hz", "flow")


def numbers(name: str, text: str) -> tuple[float, ...]:
    """`1,2.5,4`. Raises `ConfigError`."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--{name} {text!r} is not understood; give numbers, as in 1,2,3") from None


def pairs(speed: str, density: str) -> list[tuple[float, float]]:
    """Every speed in forests of every density. Raises `ConfigError`."""
    speeds = [check_speed(value) for value in numbers("speed", speed)]
    densities = [check_density(value) for value in numbers("density", density)]
    return [(v, d) for d in densities for v in speeds]


def grid_span(text: str) -> Span:
    """`25` or `20-30`, in Hz. Raises `ConfigError`."""
    low, _, high = text.partition("-")
    try:
        span = float(low), float(high or low)
    except ValueError:
        raise ConfigError(
            f"--grid-hz {text!r} is not understood; give a rate, as in 25, or a span, as in 20-30"
        ) from None
    if not 1.0 <= span[0] <= span[1]:
        raise ConfigError(f"--grid-hz is {text}; a drone that avoids needs a grid of at least 1 Hz")
    Conditions(grid_hz=span)  # refuses what no camera does
    return span


def crossing_row(conditions: Conditions, speed_m_s: float, density_per_m2: float, walled: bool) -> Mapping[str, Any]:
    """The conditions of a crossing, flat."""
    low, high = conditions.grid_hz
    return {
        "speed_m_s": speed_m_s,
        "density_per_m2": density_per_m2,
        "walled": walled,
        "grid_hz": low if low == high else f"{low:g}-{high:g}",
        "grid_dropout": conditions.grid_dropout[1],
    }
