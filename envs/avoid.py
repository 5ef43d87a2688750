"""The task Avoid: fly a course through a forest, told a speed, a height and a heading, and cross 30 m of it.

The course is the world's x. Success: 30 m crossed within `crossing_s`, at no time nearer to an obstacle than
`envs.shapes.DRONE_RADIUS_M`, within the bounds of every flight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np

from envs.airframe import Airframe
from envs.conditions import Conditions, Span
from envs.flights import Array, Flights
from envs.forest import COURSE_ROWS, CROSSING_PLOT, SHAPES_PLOT, Plot, check_density
from envs.obstacle_kinds import OBSTACLES, TREES, check_size
from envs.physics import Body
from envs.references import ReferencePoint
from envs.scoring import Rule
from envs.shapes import FAR_M
from envs.task import TUMBLE_COS, Course, Goal
from liquid_pilot.course import told_course
from liquid_pilot.errors import ConfigError, unknown_name
from liquid_pilot.geometry import heading, multiply
from liquid_pilot.ops import Ops

CROSSING_M: Final = 30.0
FASTEST_M_S: Final = 8.0
SLOWEST_SHARE: Final = 0.6  # of the speed that is asked for, at which a crossing takes all of its time
START_S: Final = 4.0  # to get going
GRID_HZ: Final[Span] = (20.0, 30.0)
WALL_M: Final = 10.0  # along the course, where there is no way through
START_YAW_RAD: Final = 0.3  # +-, off the course, in the hand
GENTLE: Final = 0.3  # of the usual throw
AVOID_RULE: Final = Rule(
    tilt_limit_deg=math.degrees(math.acos(TUMBLE_COS)), tilt_after_s=0.0, rms=True, crosses_m=CROSSING_M
)


def crossing_s(speed_m_s: float) -> float:
    """Seconds that a crossing may take."""
    return CROSSING_M / (SLOWEST_SHARE * speed_m_s) + START_S


def avoid_goal(ops: Ops, course: Sequence[Any], t_s: Any, body: Body[Any]) -> Goal[Any]:
    """Along x, at a speed and height, facing that way; of a wall on the way no pilot is told."""
    speed, height, wall_x = course[:COURSE_ROWS]
    zero: Any = 0.0 * speed
    velocity, yaw_rate = told_course(ops, heading(ops, body.attitude_wxyz), (speed, zero), (1.0, 0.0))
    x, y, _ = body.position_m
    point = ReferencePoint((x, y, height), (speed, zero, zero), (zero, zero, zero))
    return Goal(velocity, height, yaw_rate, point, blocked_m=wall_x - x)


def plot_of(obstacles: str) -> Plot:
    """The plot of a crossing among such obstacles. Raises `ConfigError`."""
    if obstacles not in OBSTACLES:
        raise ConfigError(unknown_name("obstacles", obstacles, list(OBSTACLES)))
    return CROSSING_PLOT if obstacles == TREES else SHAPES_PLOT


def avoid_course(
    plot: Plot,
    speed_m_s: float | Array,
    density_per_m2: float | Array,
    flights: Flights,
    rng: np.random.Generator,
    obstacles: str = TREES,
    size: float = 1.0,
) -> Course:
    """Speed, height, no wall, and forest of each flight, (COURSE_ROWS + plot.rows, n).

    obstacles, size: see `Plot.draw`.
    """
    n = len(flights)
    speed = np.broadcast_to(np.asarray(speed_m_s, np.float64), (n,))
    told = np.stack([speed, flights.setpoint_height_m, np.full(n, FAR_M)])
    return np.concatenate([told, plot.draw(density_per_m2, n, rng, obstacles, size)])


def wall_in(course: Course, plot: Plot, x_m: Array) -> Course:
    """The courses with a wall across at x_m (n,): there is no way through."""
    return np.concatenate([course[: COURSE_ROWS - 1], x_m[None], plot.walled(course[COURSE_ROWS:], x_m)])


def crossing_course(
    speed_m_s: float,
    density_per_m2: float,
    walled: bool,
    obstacles: str,
    size: float,
    plot: Plot,
    flights: Flights,
    duration_s: float,
    rng: np.random.Generator,
) -> Course:
    """As `envs.task.Task.course`: a crossing."""
    course = avoid_course(plot, speed_m_s, density_per_m2, flights, rng, obstacles, size)
    return wall_in(course, plot, np.full(len(flights), WALL_M)) if walled else course


def facing_course(flights: Flights, airframe: Airframe) -> Flights:
    """Let go gently, looking along x but for `START_YAW_RAD`."""
    w, x, y, z = flights.attitude_wxyz.T
    yaw = np.arctan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    back = START_YAW_RAD * yaw / math.pi - yaw
    zero = 0.0 * yaw
    turned: Any = multiply((np.cos(back / 2.0), zero, zero, np.sin(back / 2.0)), (w, x, y, z))
    return replace(
        flights,
        attitude_wxyz=np.stack(turned, axis=1),
        launch_velocity_m_s=GENTLE * flights.launch_velocity_m_s,
        launch_rates_rad_s=GENTLE * flights.launch_rates_rad_s,
    )


def sighted(conditions: Conditions, grid_hz: Span = GRID_HZ) -> Conditions:
    """The conditions with a flow grid."""
    return replace(conditions, grid_hz=grid_hz, tilt_deg=(0.0, min(15.0, conditions.tilt_deg[1])))


def check_speed(speed_m_s: float) -> float:
    """The speed. Raises `ConfigError`."""
    if not isinstance(speed_m_s, (int, float)) or not 0.0 < speed_m_s <= FASTEST_M_S:
        raise ConfigError(f"speed is {speed_m_s!r}; give metres per second, above 0 to {FASTEST_M_S:g}")
    return float(speed_m_s)


def crossing(
    speed_m_s: float,
    density_per_m2: float,
    walled: bool = False,
    obstacles: str = TREES,
    plot: Plot | None = None,
    size: float = 1.0,
) -> partial[Course]:
    """`crossing_course` at a speed and a density. walled: there is no way through.

    obstacles: see `envs.obstacle_kinds.OBSTACLES`; size: factor on how thick they are; plot: that has room for them,
    `plot_of` them if not given. Raises `ConfigError`.
    """
    room = plot_of(obstacles) if plot is None else plot
    speed, density = check_speed(speed_m_s), check_density(density_per_m2)
    return partial(crossing_course, speed, density, walled, obstacles, check_size(size), room)
