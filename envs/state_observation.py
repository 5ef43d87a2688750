"""The privileged observation: the true state at an IMU event, its layout declared once.

For teachers, critics and baselines; no drone knows it. All in world axes but the body rates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from envs.task import Moment
from liquid_pilot.ops import S


@dataclass(frozen=True, slots=True)
class StateField:
    """One named part of the observation: `read(moment) / scale`, component by component."""

    name: str
    width: int
    unit: str
    scale: float
    meaning: str
    read: Callable[[Moment[Any]], tuple[Any, ...]]


def _target_offset_m(moment: Moment[Any]) -> tuple[Any, ...]:
    wanted, found = moment.goal.point.position_m, moment.body.position_m
    return tuple(a - b for a, b in zip(wanted, found, strict=True))


STATE_FIELDS: Final[tuple[StateField, ...]] = (
    StateField(
        "target_offset_m",
        3,
        "m",
        1.0,
        "target position less position; Hover asks for no place: z alone",
        _target_offset_m,
    ),
    StateField("height_m", 1, "m", 1.0, "height of the body's centre", lambda m: (m.body.position_m[2],)),
    StateField("velocity_m_s", 3, "m/s", 1.0, "velocity", lambda m: m.body.velocity_m_s),
    StateField(
        "rotation",
        9,
        "1",
        1.0,
        "rotation matrix body -> world, by rows",
        lambda m: (*m.matrix[0], *m.matrix[1], *m.matrix[2]),
    ),
    StateField("rates_rad_s", 3, "rad/s", 3.0, "body rates", lambda m: m.body.rates_rad_s),
    StateField("motor_speed", 4, "1", 1.0, "motor speeds, fractions of full speed", lambda m: m.motor_speed),
    StateField("target_velocity_m_s", 3, "m/s", 1.0, "velocity set-point", lambda m: m.goal.point.velocity_m_s),
    StateField("setpoint_yaw_rate_rad_s", 1, "rad/s", 1.0, "yaw rate set-point", lambda m: (m.goal.yaw_rate_rad_s,)),
    StateField("dt_s", 1, "s", 0.02, "time since the previous step", lambda m: (m.dt_s,)),
)


def _slices() -> dict[str, slice]:
    slices, start = {}, 0
    for field in STATE_FIELDS:
        slices[field.name] = slice(start, start + field.width)
        start += field.width
    return slices


STATE_SLICES: Final[dict[str, slice]] = _slices()
OBS_BOUND: Final = 1000.0  # of what environments show, wider than any scaled reading
STATE_DIM: Final[int] = sum(field.width for field in STATE_FIELDS)


def assemble_state(moment: Moment[S]) -> tuple[S, ...]:
    """STATE_DIM scaled scalars in the order of `STATE_FIELDS`, of one drone or of many."""
    return tuple(value / field.scale for field in STATE_FIELDS for value in field.read(moment))
