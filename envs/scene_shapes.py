"""What a quadrotor looks like, from its airframe: meshes of prisms and rings, a colour each, in the body frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from envs.airframe import Airframe
from liquid_pilot.ops import Vec3, Vec4

Point2: TypeAlias = tuple[float, float]

CARBON: Final = (0.16, 0.18, 0.22, 1.0)
SHELL: Final = (0.93, 0.94, 0.96, 1.0)
STEEL: Final = (0.50, 0.54, 0.60, 1.0)
FRONT: Final = (0.90, 0.30, 0.05, 1.0)
REAR: Final = (0.10, 0.36, 0.66, 1.0)
TARGET: Final = (0.05, 0.62, 0.42, 1.0)
DISC_ALPHA: Final = 0.5  # of a turning propeller


@dataclass(frozen=True, slots=True)
class Mesh:
    """Triangles of one colour (red, green, blue, alpha). Corners are not shared, so that edges stay sharp."""

    colour: Vec4[float]
    corners_m: list[Vec3[float]]
    normals: list[Vec3[float]]

    @property
    def indices(self) -> list[int]:
        """Three corners a triangle, in order."""
        return list(range(len(self.corners_m)))


def drone_radius_m(airframe: Airframe) -> float:
    """Of the ball around the drone, propellers included."""
    return max(math.hypot(x, y) for x, y in airframe.rotor_xy_m) + airframe.propeller_radius_m


def airframe_meshes(airframe: Airframe) -> list[Mesh]:
    """Body, arms, motors and legs; front arms and nose in `FRONT`. It stands at `rest_height_m`."""
    arm = min(math.hypot(x, y) for x, y in airframe.rotor_xy_m)
    hub = [(0.44 * arm * x, 0.32 * arm * y) for x, y in ((1, -0.55), (1, 0.55), (0.55, 1), (-0.75, 1), (-1, 0.6))]
    hub += [(x, -y) for x, y in reversed(hub[2:])]
    parts = [
        _prism(CARBON, hub, -0.05 * arm, 0.10 * arm),
        _prism(SHELL, [(0.78 * x - 0.03 * arm, 0.72 * y) for x, y in hub], 0.10 * arm, 0.26 * arm),
        _prism(FRONT, _box((0.44 * arm, 0.0), 0.16 * arm, 0.22 * arm), -0.01 * arm, 0.17 * arm),
    ]
    motor_m = min(0.15 * arm, 0.4 * airframe.propeller_radius_m)
    for x, y in airframe.rotor_xy_m:
        beam = _beam((0.2 * x, 0.2 * y), (x, y), 0.13 * arm)
        parts += [
            _prism(FRONT if x > 0.0 else CARBON, beam, -0.03 * arm, 0.06 * arm),
            _prism(STEEL, _circle((x, y), motor_m, 14), -0.04 * arm, 0.20 * arm),
            _prism(CARBON, _circle((x, y), 0.3 * motor_m, 8), 0.20 * arm, 0.27 * arm),
            _prism(CARBON, _box((0.8 * x, 0.8 * y), 0.06 * arm, 0.06 * arm), -airframe.rest_height_m, 0.0),
        ]
    return _by_colour(parts)


def propeller_meshes(airframe: Airframe) -> list[Mesh]:
    """Discs that turning propellers sweep, with a rim; front ones in `FRONT`, rear ones in `REAR`."""
    arm, radius = min(math.hypot(x, y) for x, y in airframe.rotor_xy_m), airframe.propeller_radius_m
    z, parts = 0.24 * arm, list[Mesh]()
    for x, y in airframe.rotor_xy_m:
        red, green, blue, _ = FRONT if x > 0.0 else REAR
        parts.append(_prism((red, green, blue, DISC_ALPHA), _circle((x, y), radius, 32), z - 0.005 * arm, z))
    return _by_colour(parts)


def target_mesh(radius_m: float) -> Mesh:
    """The ring that marks where the drone should be."""
    return _ring(TARGET, 1.28 * radius_m, 1.38 * radius_m, 0.06 * radius_m)


def floor_meshes(half_m: float, tile_m: float, dark: Vec3[float], pale: Vec3[float]) -> list[Mesh]:
    """A chequered square around the origin at height 0; dark where floor(x / tile) + floor(y / tile) is odd."""
    meshes, n = [Mesh((*pale, 1.0), [], []), Mesh((*dark, 1.0), [], [])], round(half_m / tile_m)
    for i in range(-n, n):
        for j in range(-n, n):
            (ax, ay), (bx, by) = (i * tile_m, j * tile_m), ((i + 1) * tile_m, (j + 1) * tile_m)
            _quad(meshes[(i + j) % 2], (ax, ay, 0.0), (bx, ay, 0.0), (bx, by, 0.0), (ax, by, 0.0))
    return meshes


def shadow_mesh(airframe: Airframe) -> Mesh:
    """What the drone's shadow covers, level, at height 0; in a renderer that blends."""
    mesh = Mesh((0.1, 0.1, 0.12, 0.45), [], [])
    for centre in (*airframe.rotor_xy_m, (0.0, 0.0)):
        disc = _circle(centre, airframe.propeller_radius_m, 24)
        for k in range(1, len(disc) - 1):
            a, b, c = ((x, y, 0.0) for x, y in (disc[0], disc[k], disc[k + 1]))
            _triangle(mesh, a, b, c)
    return mesh


def _by_colour(parts: Sequence[Mesh]) -> list[Mesh]:
    """The same with one mesh a colour: fewer bodies to move."""
    merged: dict[Vec4[float], Mesh] = {}
    for part in parts:
        whole = merged.setdefault(part.colour, Mesh(part.colour, [], []))
        whole.corners_m.extend(part.corners_m)
        whole.normals.extend(part.normals)
    return list(merged.values())


def _circle(centre: Point2, radius: float, sides: int) -> list[Point2]:
    turns = [2.0 * math.pi * k / sides for k in range(sides)]
    return [(centre[0] + radius * math.cos(turn), centre[1] + radius * math.sin(turn)) for turn in turns]


def _box(centre: Point2, length: float, width: float) -> list[Point2]:
    x, y = centre
    return [(x + 0.5 * a * length, y + 0.5 * b * width) for a, b in ((1, -1), (1, 1), (-1, 1), (-1, -1))]


def _beam(start: Point2, end: Point2, width: float) -> list[Point2]:
    dx, dy = end[0] - start[0], end[1] - start[1]
    across = 0.5 * width / math.hypot(dx, dy)
    u, v = -dy * across, dx * across
    return [
        (start[0] - u, start[1] - v),
        (end[0] - u, end[1] - v),
        (end[0] + u, end[1] + v),
        (start[0] + u, start[1] + v),
    ]


def _prism(colour: Vec4[float], outline: Sequence[Point2], low: float, high: float) -> Mesh:
    """A convex outline (counter-clockwise seen from above) between two heights."""
    mesh, n = Mesh(colour, [], []), len(outline)
    for k in range(1, n - 1):
        (ax, ay), (bx, by), (cx, cy) = outline[0], outline[k], outline[k + 1]
        _triangle(mesh, (ax, ay, high), (bx, by, high), (cx, cy, high))
        _triangle(mesh, (ax, ay, low), (cx, cy, low), (bx, by, low))
    for k in range(n):
        (ax, ay), (bx, by) = outline[k], outline[(k + 1) % n]
        _quad(mesh, (ax, ay, low), (bx, by, low), (bx, by, high), (ax, ay, high))
    return mesh


def _ring(colour: Vec4[float], inner: float, outer: float, thick: float, sides: int = 64) -> Mesh:
    """A flat ring around z, its middle at height 0."""
    mesh, half = Mesh(colour, [], []), 0.5 * thick
    inside, outside = _circle((0.0, 0.0), inner, sides), _circle((0.0, 0.0), outer, sides)
    for k in range(sides):
        (ax, ay), (bx, by), (cx, cy), (dx, dy) = inside[k - 1], outside[k - 1], outside[k], inside[k]
        _quad(mesh, (ax, ay, half), (bx, by, half), (cx, cy, half), (dx, dy, half))
        _quad(mesh, (dx, dy, -half), (cx, cy, -half), (bx, by, -half), (ax, ay, -half))
        _quad(mesh, (bx, by, -half), (cx, cy, -half), (cx, cy, half), (bx, by, half))
        _quad(mesh, (dx, dy, -half), (ax, ay, -half), (ax, ay, half), (dx, dy, half))
    return mesh


def _quad(mesh: Mesh, a: Vec3[float], b: Vec3[float], c: Vec3[float], d: Vec3[float]) -> None:
    _triangle(mesh, a, b, c)
    _triangle(mesh, a, c, d)


def _triangle(mesh: Mesh, a: Vec3[float], b: Vec3[float], c: Vec3[float]) -> None:
    ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    vx, vy, vz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
    norm = math.sqrt(nx * nx + ny * ny + nz * nz)
    mesh.corners_m.extend((a, b, c))
    mesh.normals.extend(((nx / norm, ny / norm, nz / norm),) * 3)
