"""Where the trunks of a flight truly were: how near, and where in the drone's view."""

from __future__ import annotations

from typing import Final

import numpy as np

from envs.trace import Array, FlightTrace
from liquid_pilot.geometry import rotation_matrix

TOP_M: Final = 8.0  # trunks are drawn from the floor to here
PLACES: Final = 24  # along each side
LEAST_AHEAD: Final = 0.05  # of a unit vector along body x: what lies to the side is beyond the view


def clearances_m(trace: FlightTrace, radius_m: float) -> Array:
    """(T,) free space between the nearest trunk and a drone of this radius; below 0 they touch."""
    trees = np.zeros((0, 3)) if trace.trees is None else trace.trees
    nearest = np.full(len(trace.t_s), np.inf)
    for x, y, trunk_m in trees.tolist():
        away = np.hypot(trace.position_m[:, 0] - x, trace.position_m[:, 1] - y) - trunk_m
        nearest = np.minimum(nearest, away)
    return np.asarray(nearest - radius_m)


def outlines_deg(trace: FlightTrace, at: int, reach_m: float) -> list[tuple[float, Array]]:
    """The trunks ahead and within reach, the farthest first: distance (m), outline in the view of event `at`.

    Outlines are (2 `PLACES`, 2), azimuth (to the left) and elevation (up) in degrees, body FLU.
    """
    w, i, j, k = trace.attitude_wxyz[at].tolist()
    matrix = np.array(rotation_matrix((w, i, j, k)))  # body to world
    px, py, pz = trace.position_m[at].tolist()
    found = list[tuple[float, Array]]()
    for x, y, trunk_m in [] if trace.trees is None else trace.trees.tolist():
        away = float(np.hypot(x - px, y - py))
        if not trunk_m < away < reach_m:
            continue
        middle, half = np.arctan2(y - py, x - px), np.arcsin(trunk_m / away)
        side_m, heights = np.sqrt(away**2 - trunk_m**2), np.linspace(-pz, TOP_M - pz, PLACES)
        places = [
            (side_m * np.cos(angle), side_m * np.sin(angle), z)
            for angle, zs in ((middle + half, heights), (middle - half, heights[::-1]))
            for z in zs.tolist()
        ]
        rays = np.array(places) @ matrix  # world to body
        rays /= np.linalg.norm(rays, axis=1, keepdims=True)
        if (rays[:, 0] > LEAST_AHEAD).all():
            angles = np.arctan2(rays[:, 1], rays[:, 0]), np.arcsin(np.clip(rays[:, 2], -1.0, 1.0))
            found.append((away, np.rad2deg(np.stack(angles, axis=1))))
    return sorted(found, key=lambda pair: -pair[0])
