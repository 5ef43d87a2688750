"""Where the obstacles of a flight truly were: how near, and where in the drone's view."""

from __future__ import annotations

from itertools import product
from typing import Final

import numpy as np

from envs.shapes import ENDLESS_M, Obstacle, surface_m
from envs.trace import Array, FlightTrace
from liquid_pilot.geometry import rotation_matrix
from liquid_pilot.ops import NUMPY_OPS

TOP_M: Final = 8.0  # trunks are drawn from the floor to here
PLACES: Final = 24  # along each side
LEAST_AHEAD: Final = 0.05  # of a unit vector along body x: what lies to the side is beyond the view


def clearances_m(trace: FlightTrace, radius_m: float) -> Array:
    """(T,) free space between the nearest obstacle and a drone of this radius; below 0 they touch."""
    nearest = np.full(len(trace.t_s), np.inf)
    x, y, z = trace.position_m.T
    for obstacle in _obstacles(trace):
        nearest = np.minimum(nearest, surface_m(NUMPY_OPS, obstacle, (x, y, z)))
    return np.asarray(nearest - radius_m)


def outlines_deg(trace: FlightTrace, at: int, reach_m: float) -> list[tuple[float, Array]]:
    """The obstacles ahead and within reach, the farthest first: distance (m), outline in the view of event `at`.

    Outlines are (n, 2), azimuth (to the left) and elevation (up) in degrees, body FLU.
    """
    w, i, j, k = trace.attitude_wxyz[at].tolist()
    matrix = np.array(rotation_matrix((w, i, j, k)))  # body to world
    found = list[tuple[float, Array]]()
    for obstacle in _obstacles(trace):
        offset = np.array([obstacle.x, obstacle.y, obstacle.z]) - trace.position_m[at]
        away, size = float(np.hypot(*offset[:2])), obstacle.radius + float(np.hypot(obstacle.half_x, obstacle.half_y))
        if not size < away < reach_m:
            continue
        rays = _edge(obstacle, offset) @ matrix  # world to body
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        if (rays[:, 0] > LEAST_AHEAD).all():
            angles = np.arctan2(rays[:, 1], rays[:, 0]), np.arcsin(np.clip(rays[:, 2], -1.0, 1.0))
            seen = np.rad2deg(np.stack(angles, axis=1))
            found.append((away, _hull(seen) if obstacle.half_x > 0.0 else seen))
    return sorted(found, key=lambda pair: -pair[0])


def _obstacles(trace: FlightTrace) -> list[Obstacle[float]]:
    return [] if trace.obstacles is None else [Obstacle(*row) for row in trace.obstacles.tolist()]


def _edge(obstacle: Obstacle[float], offset: Array) -> Array:
    """(n, 3) places of what is seen of its edge, from the drone, world axes: in order but for a box's corners."""
    x, y, z = offset.tolist()
    if obstacle.half_x > 0.0:
        half = (obstacle.half_x, obstacle.half_y, obstacle.half_z)
        return np.asarray(offset + np.array(list(product((-1.0, 1.0), repeat=3))) * half)
    if obstacle.half_z < ENDLESS_M:
        return _rim(offset, obstacle.radius)
    away = float(np.hypot(x, y))
    middle, half_angle = np.arctan2(y, x), np.arcsin(obstacle.radius / away)
    side_m, heights = np.sqrt(away**2 - obstacle.radius**2), np.linspace(z, z + TOP_M, PLACES)
    return np.array(
        [
            (side_m * np.cos(angle), side_m * np.sin(angle), height)
            for angle, heights_m in ((middle + half_angle, heights), (middle - half_angle, heights[::-1]))
            for height in heights_m.tolist()
        ]
    )


def _rim(offset: Array, radius_m: float) -> Array:
    """Of a ball: the circle where rays from the drone touch it."""
    away = float(np.linalg.norm(offset))
    towards = offset / away
    across = np.cross(towards, (0.0, 0.0, 1.0))
    across /= np.linalg.norm(across)
    half_angle, turn = np.arcsin(min(radius_m / away, 1.0)), np.linspace(0.0, 2.0 * np.pi, 2 * PLACES, endpoint=False)
    around = np.cos(turn)[:, None] * across + np.sin(turn)[:, None] * np.cross(towards, across)
    return np.asarray(np.cos(half_angle) * towards + np.sin(half_angle) * around)


def _hull(points: Array) -> Array:
    """The convex hull of points (n, 2), in order (monotone chain, Andrew, 1979)."""
    ordered = sorted(map(tuple, points.tolist()))

    def chain(places: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
        kept: list[tuple[float, ...]] = []
        for x, y in places:
            while len(kept) > 1:
                (ax, ay), (bx, by) = kept[-2], kept[-1]
                if (bx - ax) * (y - ay) > (by - ay) * (x - ax):
                    break
                kept.pop()
            kept.append((x, y))
        return kept[:-1]

    return np.array(chain(ordered) + chain(ordered[::-1]))
