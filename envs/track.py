"""The task Track (`liquid_pilot/Track-v0`): recover from a throw, then follow a velocity that changes.

The path begins to move at the release. Success: within bounds to the end, and root mean square horizontal speed error
of at most 0.5 m/s, from 5 s after the release on (half of a shorter flight), by time and not by event.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np

from envs.conditions import Conditions
from envs.flights import Flights
from envs.quad_env import QuadEnv
from envs.references import Reference, figure_eight, lissajous, velocity_sinusoid, velocity_steps
from envs.scoring import MEASURE_AFTER_S, out_of_bounds
from envs.task import (
    TUMBLE_COS,
    Moment,
    Outcome,
    Plan,
    Task,
    following_reward_per_s,
    from_hand,
    reference_goal,
)
from liquid_pilot.errors import ConfigError, unknown_name
from liquid_pilot.messages import Floats3

SPEED_RMSE_LIMIT_M_S: Final = 0.5
STEP_S: Final = 3.0  # between the steps of a velocity
FASTEST_M_S: Final = 3.0

Draw: TypeAlias = Callable[[np.random.Generator, float, float, float], Reference]


def _steps(rng: np.random.Generator, height_m: float, speed_m_s: float, duration_s: float) -> Reference:
    """Another direction every STEP_S, taken within a second."""
    steps = []
    for i in range(max(1, math.ceil(duration_s / STEP_S))):
        x, y = _direction(rng)
        steps.append((i * STEP_S, (speed_m_s * x, speed_m_s * y, 0.0)))
    return velocity_steps(steps, (0.0, 0.0, height_m), ramp_s=1.0)


def _sinusoid(rng: np.random.Generator, height_m: float, speed_m_s: float, duration_s: float) -> Reference:
    """To and fro in one direction, within 4 to 8 s."""
    x, y = _direction(rng)
    return velocity_sinusoid((speed_m_s * x, speed_m_s * y, 0.0), rng.uniform(4.0, 8.0), (0.0, 0.0, height_m))


def _figure_eight(rng: np.random.Generator, height_m: float, speed_m_s: float, duration_s: float) -> Reference:
    """The eight of 1.0 x 0.5 m, fastest where it crosses itself."""
    return figure_eight(2.0 * math.pi * math.sqrt(2.0) / speed_m_s, center_m=(0.0, 0.0, height_m))


def _lissajous(rng: np.random.Generator, height_m: float, speed_m_s: float, duration_s: float) -> Reference:
    """Frequencies as 2 to 3 across, and up and down by 0.2 m; never faster than the speed."""
    amplitude: Floats3 = (1.0, 1.0, 0.2)
    ratio: Floats3 = (2.0, 3.0, 1.0)
    w = speed_m_s / math.hypot(*(a * r for a, r in zip(amplitude, ratio, strict=True)))
    x, y, z = (2.0 * math.pi / (w * r) for r in ratio)
    return lissajous(amplitude, (x, y, z), (rng.uniform(0.0, 2.0 * math.pi), 0.0, 0.0), (0.0, 0.0, height_m))


REFERENCES: Final[dict[str, Draw]] = {
    "steps": _steps,
    "sinusoid": _sinusoid,
    "figure_eight": _figure_eight,
    "lissajous": _lissajous,
}


@dataclass(frozen=True, slots=True)
class SpeedErrors:
    """Squared horizontal speed error, integrated over the measured time."""

    square_m2_s: float = 0.0
    time_s: float = 0.0

    @property
    def rmse_m_s(self) -> float:
        """Root mean square; infinite before anything was measured."""
        return math.sqrt(self.square_m2_s / self.time_s) if self.time_s > 0.0 else math.inf


def _direction(rng: np.random.Generator) -> tuple[float, float]:
    angle = rng.uniform(0.0, 2.0 * math.pi)
    return math.cos(angle), math.sin(angle)


def _judge(errors: SpeedErrors, moment: Moment) -> tuple[SpeedErrors, Outcome]:
    if moment.since_release_s >= min(MEASURE_AFTER_S, 0.5 * moment.duration_s):
        (vx, vy, _), (wx, wy, _) = moment.body.velocity_m_s, moment.goal.point.velocity_m_s
        square = (vx - wx) ** 2 + (vy - wy) ** 2
        errors = SpeedErrors(errors.square_m2_s + square * moment.dt_s, errors.time_s + moment.dt_s)
    lost = out_of_bounds(moment.lowest_m, moment.highest_m) is not None or moment.upright < TUMBLE_COS
    return errors, Outcome.LOST if lost else Outcome.FLYING


def _plan(reference: str, speed_m_s: float, flights: Flights, duration_s: float, rng: np.random.Generator) -> Plan:
    name = str(rng.choice(list(REFERENCES))) if reference == "any" else reference
    height, speed = float(flights.setpoint_height_m[0]), speed_m_s * rng.uniform(0.75, 1.0)
    path = REFERENCES[name](rng, height, speed, duration_s)
    return lambda t_s, body: reference_goal(path, t_s, body, name)


def track_task(reference: str = "any", speed_m_s: float = 1.0) -> Task[SpeedErrors]:
    """reference: a name in `REFERENCES`, or "any" for one drawn each flight; speed_m_s: the fastest that is drawn.

    Raises `ConfigError`.
    """
    if reference not in ["any", *REFERENCES]:
        raise ConfigError(unknown_name("reference", reference, ["any", *REFERENCES]))
    if not isinstance(speed_m_s, (int, float)) or not 0.0 < speed_m_s <= FASTEST_M_S:
        raise ConfigError(f"speed_m_s is {speed_m_s!r}; give metres per second, above 0 to {FASTEST_M_S:g}")
    return Task(
        conditions=Conditions(),
        duration_s=15.0,
        launch=from_hand,
        plan=partial(_plan, reference, speed_m_s),
        reward_per_s=lambda moment: following_reward_per_s(moment.body, moment.goal.point),
        begin=SpeedErrors(),
        judge=_judge,
        succeeded=lambda errors: errors.rmse_m_s <= SPEED_RMSE_LIMIT_M_S,
        describe=lambda errors, moment: {"reference": moment.goal.phase, "speed_rmse_m_s": errors.rmse_m_s},
    )


class TrackEnv(QuadEnv[SpeedErrors]):
    """Terminated as in Hover. Options: those of `track_task` and `QuadEnv`; `info` adds reference, speed_rmse_m_s."""

    def __init__(self, *, reference: str = "any", speed_m_s: float = 1.0, **options: Any) -> None:
        super().__init__(track_task(reference, speed_m_s), **options)
