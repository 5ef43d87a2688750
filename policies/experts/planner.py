"""A planner that knows where the obstacles stand: the upper row of the tables of Avoid.

Every 40 ms it samples velocities around the course, predicts where each would take the
drone, and chooses by progress and by the free space on the way (dynamic window, Fox, Burgard and Thrun, 1997). The
geometric controller flies what was chosen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from envs.flights import Array
from envs.forest import NEAR, NOBODY
from envs.physics import Body
from envs.references import ReferencePoint
from envs.shapes import DRONE_RADIUS_M, Obstacle, gap_m, obstacles_of
from liquid_pilot.course import told_course
from liquid_pilot.geometry import heading
from liquid_pilot.messages import Command, PositionSetpoint
from liquid_pilot.ops import FLOAT_OPS, NUMPY_OPS
from policies.experts.geometric import GeometricController, GeometricGains

if TYPE_CHECKING:
    from envs.surroundings import Surroundings

GAINS: Final = GeometricGains(velocity_per_s=3.0, tilt_limit_deg=40.0, attitude_per_s=9.0)


OVER_M: Final = 0.4  # what ends so far above or below the drone is not in its way


def surface_height_m(obstacle: Obstacle[float], z_m: float) -> float:
    """From a height up or down to an obstacle's; 0 or less within."""
    return float(gap_m(FLOAT_OPS, obstacle.z - z_m, obstacle.half_z)) - obstacle.radius


@dataclass(frozen=True, slots=True)
class Search:
    """What is looked at, and what it is worth. Progress is counted in shares of the speed that is asked for."""

    period_s: float = 0.04
    horizon_s: float = 1.6
    steps: int = 20
    lag_s: float = 0.4  # of the velocity behind what is commanded
    widest_deg: float = 80.0
    directions: int = 33
    shares: tuple[float, ...] = (1.0, 0.7, 0.4, 0.15, 0.0, -0.2)  # of the speed
    wanted_m: float = 0.35  # free space
    nearness: float = 3.0  # worth of the wanted free space, all of it lost for a second
    touching: float = 30.0  # the same where there is none left
    fading_s: float = 1.0  # nearness that lies so far ahead counts less, by e
    change: float = 0.15  # worth of a full change of mind


class Planner:
    """One per flight."""

    def __init__(self, search: Search | None = None) -> None:
        self._search = s = search or Search()
        angles = np.radians(np.linspace(-s.widest_deg, s.widest_deg, s.directions))
        shares, angles = (part.ravel() for part in np.meshgrid(s.shares, angles, indexing="ij"))
        self._wanted = np.stack([shares * np.cos(angles), shares * np.sin(angles)], axis=1)  # (C, 2) along, left
        self._times = s.horizon_s * np.arange(1, s.steps + 1) / s.steps
        self._chosen = np.array([1.0, 0.0])
        self._next_s = -math.inf
        self._controller = GeometricController(GAINS)

    def cross(self, t_s: float, body: Body[float], course: PositionSetpoint, forest: Surroundings) -> Command:
        """The command for the true state at t_s."""
        along_x, along_y, _ = course.velocity_m_s
        speed = math.hypot(along_x, along_y)
        c, s = (along_x / speed, along_y / speed) if speed > 0.0 else (1.0, 0.0)
        (x, y, z), (vx, vy, _) = body.position_m, body.velocity_m_s
        if t_s >= self._next_s and speed > 0.0:
            self._next_s = t_s + self._search.period_s
            level = [o for o in obstacles_of(forest.near(x, y), NEAR) if surface_height_m(o, z) < OVER_M]
            seen = np.array([(o.x - x, o.y - y, o.radius, o.half_x, o.half_y) for o in level] or [NOBODY[:5]])
            velocity_m_s = np.array([c * vx + s * vy, c * vy - s * vx])
            self._choose(velocity_m_s, (c, s), speed, seen[self._reached(seen, max(speed, math.hypot(vx, vy)))])
        along, left = (speed * self._chosen).tolist()
        velocity = (c * along - s * left, s * along + c * left, 0.0)
        _, yaw_rate = told_course(FLOAT_OPS, heading(FLOAT_OPS, body.attitude_wxyz), velocity[:2], (c, s))
        point = ReferencePoint((x, y, course.position_m[2]), velocity, (0.0, 0.0, 0.0))
        return self._controller.track(t_s, body, point, yaw_rate)

    def _reached(self, obstacles: Array, speed_m_s: float) -> npt.NDArray[np.bool_]:
        """Which of them can matter within the horizon, (n,): the nearest at least; others change no choice."""
        x, y, radius, half_x, half_y = obstacles.T
        away = np.hypot(gap_m(NUMPY_OPS, x, half_x), gap_m(NUMPY_OPS, y, half_y)) - radius
        reach = speed_m_s * self._search.horizon_s + self._search.wanted_m + DRONE_RADIUS_M
        return np.asarray(away <= max(reach + 1e-6, float(away.min())))

    def _choose(self, velocity: Array, way: tuple[float, float], speed_m_s: float, obstacles: Array) -> None:
        """velocity (2,) along the course and to its left; obstacles (n, 5), x, y from the drone, radius and half sides.

        way: the course's direction, by which its axes are turned into the world's.
        """
        search, t = self._search, self._times
        late = search.lag_s * -np.expm1(-t / search.lag_s)  # (T,) seconds by which the new velocity is behind
        wanted = speed_m_s * self._wanted
        path = wanted[:, None] * (t - late)[:, None] + velocity * late[:, None]  # (C, T, 2)
        (c, s), (along, left) = way, (path[:, :, k] for k in range(2))
        ahead, aside = c * along - s * left, s * along + c * left  # (C, T) in the world's axes
        free = np.full(ahead.shape, math.inf)
        for x, y, radius, half_x, half_y in obstacles.tolist():  # one by one they stay in the cache
            gx, gy = gap_m(NUMPY_OPS, ahead - x, half_x), gap_m(NUMPY_OPS, aside - y, half_y)
            np.minimum(free, np.sqrt(gx * gx + gy * gy) - radius, out=free)  # `hypot` takes ten times as long
        free -= DRONE_RADIUS_M
        short = np.clip(1.0 - free / search.wanted_m, 0.0, 1.0)
        cost = search.nearness * short**2 + search.touching * (free < 0.0)
        lost = (cost * np.exp(-t / search.fading_s)).sum(axis=1) * (search.horizon_s / search.steps)
        progress = path[:, -1, 0] / (speed_m_s * search.horizon_s) - 0.1 * np.abs(self._wanted[:, 1])
        change = np.hypot(*(self._wanted - self._chosen).T)
        self._chosen = self._wanted[int(np.argmax(progress - lost - search.change * change))]
