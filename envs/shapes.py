"""Obstacles: how near one is, and where a ray meets it, written once over `ops`.

An obstacle is a box with rounded edges: the middle, half of each side of its core, and a radius around the core. So a
trunk is a core without width as high as anything flies, a ball one without any size, a box one without a radius; a
gate is three boxes. Boxes stand along the world's axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Generic, NamedTuple

import numpy as np

from envs.flights import Array
from liquid_pilot.ops import Ops, S, Vec3

FAR_M: Final = 1e4
ENDLESS_M: Final = 1e3  # half the height of a trunk's core
DRONE_RADIUS_M: Final = 0.12  # a centre nearer to a surface touches it: a drone of 0.1 kg and its guards
TREE_ROWS: Final = 3  # x, y, radius
SHAPE_ROWS: Final = 7  # and z, half_x, half_y, half_z
TARGET_ROWS: Final = 8  # of `target_numbers`, where there is more than trees
TRUNK: Final = (0.0, 0.0, 0.0, ENDLESS_M)  # what a tree has in the rows that are not told of trees alone


class Obstacle(NamedTuple, Generic[S]):
    """In metres; x, y, z is the middle. plain: a trunk in a forest where nothing else stands."""

    x: S
    y: S
    radius: S
    z: Any = TRUNK[0]
    half_x: Any = TRUNK[1]
    half_y: Any = TRUNK[2]
    half_z: Any = TRUNK[3]
    plain: bool = False


def trunks(trees: Array) -> Array:
    """Obstacles (n, `SHAPE_ROWS`) of trees (n, `TREE_ROWS`)."""
    return np.concatenate([np.asarray(trees, np.float64), np.tile(TRUNK, (len(trees), 1))], axis=1)


def obstacles_of(near: Sequence[S], count: int) -> list[Obstacle[S]]:
    """So many of them, from the numbers of `envs.forest.Plot.nearest`: `TREE_ROWS` or `SHAPE_ROWS` of each."""
    width = len(near) // count
    found = []
    for k in range(0, len(near), width):
        x, y, radius, *rest = near[k : k + width]
        z, half_x, half_y, half_z = rest or TRUNK
        found.append(Obstacle(x, y, radius, z, half_x, half_y, half_z, plain=not rest))
    return found


def gap_m(ops: Ops, distance_m: Any, half_m: Any) -> Any:
    """How far beyond a core's end, along one axis; 0 between its ends."""
    return ops.maximum(ops.maximum(distance_m, -distance_m) - half_m, 0.0)


def surface_m(ops: Ops, obstacle: Obstacle[Any], place_m: Vec3[Any]) -> Any:
    """From a place to the surface; negative inside, but for a box, whose inside is all 0."""
    dx, dy = obstacle.x - place_m[0], obstacle.y - place_m[1]
    if obstacle.plain:
        return ops.sqrt(dx * dx + dy * dy + 1e-9) - obstacle.radius
    gx, gy = gap_m(ops, dx, obstacle.half_x), gap_m(ops, dy, obstacle.half_y)
    gz = gap_m(ops, obstacle.z - place_m[2], obstacle.half_z)
    return ops.sqrt(gx * gx + gy * gy + gz * gz + 1e-9) - obstacle.radius


def clearance_m(ops: Ops, obstacles: Sequence[Obstacle[Any]], place_m: Vec3[Any]) -> Any:
    """Free space between the nearest obstacle and a drone: `DRONE_RADIUS_M` less than from its centre."""
    least: Any = FAR_M
    for obstacle in obstacles:
        least = ops.minimum(surface_m(ops, obstacle, place_m), least)
    return least - DRONE_RADIUS_M


class Target(NamedTuple, Generic[S]):
    """An obstacle as rays from one place see it. offset: from there; outside_m2: its square less that of the radius.

    upright: 1 where height counts, as for a ball, 0 for a trunk; half: of the core, None of a plain trunk.
    """

    offset: Vec3[S]
    outside_m2: S
    upright: Any
    half: Vec3[S] | None


def target(ops: Ops, obstacle: Obstacle[Any], place_m: Vec3[Any]) -> Target[Any]:
    """An obstacle seen from a place."""
    ox, oy, radius = obstacle.x - place_m[0], obstacle.y - place_m[1], obstacle.radius
    flat = ox * ox + oy * oy - radius * radius
    if obstacle.plain:
        return Target((ox, oy, 0.0), flat, 0.0, None)
    oz, ball = obstacle.z - place_m[2], ops.select(0.5 * ENDLESS_M, obstacle.half_z, 1.0, 0.0)
    half = (obstacle.half_x, obstacle.half_y, obstacle.half_z)
    return Target((ox, oy, oz), flat + ball * oz * oz, ball, half)


def target_numbers(seen: Target[Any]) -> tuple[Any, ...]:
    """Flat: as `targets_of` reads it."""
    (ox, oy, oz), half = seen.offset, seen.half
    return (ox, oy, seen.outside_m2) if half is None else (ox, oy, seen.outside_m2, oz, seen.upright, *half)


def targets_of(numbers: Sequence[Any], count: int) -> list[Target[Any]]:
    """So many targets from their numbers, one behind the other."""
    width, found = len(numbers) // count, []
    for k in range(0, len(numbers), width):
        (ox, oy, outside), rest = numbers[k : k + TREE_ROWS], numbers[k + TREE_ROWS : k + width]
        oz, upright, half = (rest[0], rest[1], tuple(rest[2:])) if rest else (0.0, 0.0, None)
        found.append(Target((ox, oy, oz), outside, upright, half))
    return found


def per_metre(ops: Ops, ray: Vec3[Any], height_m: Any, targets: Sequence[Target[Any]], reach_m: float) -> Any:
    """One over the distance at which a ray (unit vector, world) meets an obstacle or the floor, 0 beyond reach_m."""
    rx, ry, rz = ray
    flat: Any = ops.maximum(rx * rx + ry * ry, 1e-4)
    nearest: Any = ops.select(-1e-3, rz, height_m / ops.maximum(-rz, 1e-3), FAR_M)
    inverse = None if all(t.half is None for t in targets) else tuple(_inverse(ops, r) for r in ray)
    for seen in targets:
        met = _round(ops, ray, flat, seen)
        if seen.half is not None and inverse is not None:
            met = ops.select(seen.half[0], 0.0, _slab(ops, inverse, seen.offset, seen.half), met)
        nearest = ops.minimum(met, nearest)
    nearest = ops.maximum(nearest, 0.05)
    return ops.select(reach_m, nearest, 1.0 / nearest, 0.0)


def _round(ops: Ops, ray: Vec3[Any], flat: Any, seen: Target[Any]) -> Any:
    """Where a ray meets a trunk or a ball. flat: square of its part along the floor."""
    (rx, ry, rz), (ox, oy, oz) = ray, seen.offset
    ahead: Any = rx * ox + ry * oy
    if seen.half is not None:
        ahead, flat = ahead + seen.upright * (rz * oz), flat + seen.upright * (rz * rz)
    root: Any = ahead * ahead - flat * seen.outside_m2
    met = (ahead - ops.sqrt(ops.maximum(root, 1e-9))) / flat
    return ops.select(root, 0.0, ops.select(ahead, 0.0, met, FAR_M), FAR_M)


def _inverse(ops: Ops, r: Any) -> Any:
    """1 / r, of a direction that is nearly along the faces too."""
    return 1.0 / ops.select(r, 0.0, ops.maximum(r, 1e-6), ops.minimum(r, -1e-6))


def _slab(ops: Ops, inverse: Sequence[Any], offset: Vec3[Any], half: Vec3[Any]) -> Any:
    """Where a ray meets a box (Kay and Kajiya, 1986): it is within all three pairs of faces at once."""
    enters: Any = 0.0
    leaves: Any = FAR_M
    for one_over, middle, side in zip(inverse, offset, half, strict=True):
        centre, spread = middle * one_over, side * ops.maximum(one_over, -one_over)
        enters, leaves = ops.maximum(enters, centre - spread), ops.minimum(leaves, centre + spread)
    return ops.select(leaves, enters, ops.select(enters, 0.0, enters, FAR_M), FAR_M)
