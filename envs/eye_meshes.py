"""Obstacles as textured meshes, for a camera's pictures: corners, triangles, and where on a texture each corner is."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from envs.shapes import ENDLESS_M, Obstacle
from liquid_pilot.ops import Vec2, Vec3

SIDES: Final = 12  # of a trunk, and of a ball
TRUNK_M: Final = 8.0  # its height
BARK_M: Final = 1.0  # a texture repeats after this
RINGS: Final = 8  # of a ball, from pole to pole


class Mesh(NamedTuple):
    """indices: three corners a triangle; uvs: of each corner, in repetitions of the texture."""

    corners: list[Vec3[float]]
    indices: list[int]
    uvs: list[Vec2[float]]


def obstacle_mesh(obstacle: Obstacle[float], number: int) -> Mesh:
    """number: shifts the texture, so that no two obstacles look alike."""
    shift = 0.37 * number
    if obstacle.half_x > 0.0:
        return _box(obstacle, shift)
    if obstacle.half_z >= ENDLESS_M:
        return _sheet(obstacle, shift, [(0.0, obstacle.radius), (TRUNK_M, obstacle.radius)])
    angles = [math.pi * k / RINGS for k in range(RINGS + 1)]
    r = obstacle.radius
    return _sheet(obstacle, shift, [(obstacle.z - r * math.cos(a), max(r * math.sin(a), 1e-3)) for a in angles])


def _sheet(obstacle: Obstacle[float], shift: float, rings: list[tuple[float, float]]) -> Mesh:
    """Around the vertical through its middle. rings: heights and radii, from below."""
    corners: list[Vec3[float]] = []
    uvs: list[Vec2[float]] = []
    for k in range(SIDES + 1):
        angle = 2.0 * math.pi * k / SIDES
        for z, radius in rings:
            corners.append((obstacle.x + radius * math.cos(angle), obstacle.y + radius * math.sin(angle), z))
            uvs.append((shift + obstacle.radius * angle / BARK_M, z / BARK_M))
    count = len(rings)
    indices = [
        side * count + ring + step
        for side in range(SIDES)
        for ring in range(count - 1)
        for step in (0, count, 1, 1, count, count + 1)
    ]
    return Mesh(corners, indices, uvs)


def _box(obstacle: Obstacle[float], shift: float) -> Mesh:
    """Six faces, each with corners of its own."""
    middle, half = (obstacle.x, obstacle.y, obstacle.z), (obstacle.half_x, obstacle.half_y, obstacle.half_z)
    mesh = Mesh([], [], [])
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        for side in (-1.0, 1.0):
            first = len(mesh.corners)
            for a, b in ((-1.0, -1.0), (1.0, -1.0), (-1.0, 1.0), (1.0, 1.0)):
                corner = list(middle)
                corner[axis] += side * half[axis]
                corner[u] += a * half[u]
                corner[v] += b * half[v]
                mesh.corners.append((corner[0], corner[1], corner[2]))
                mesh.uvs.append((shift + (0.21 * side + a * half[u]) / BARK_M, (0.33 * axis + b * half[v]) / BARK_M))
            mesh.indices.extend(first + k for k in (0, 1, 2, 2, 1, 3))
    return mesh
