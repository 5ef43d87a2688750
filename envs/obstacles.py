"""Obstacles as bodies of PyBullet that stand still: cylinders, balls and boxes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import pybullet

from envs.flights import Array
from envs.shapes import ENDLESS_M, Obstacle

TREE_HEIGHT_M: Final = 5.0  # higher than any flight
AT_ONCE: Final = 16  # shapes of one body; PyBullet takes no more
_LEVEL: Final = (0.0, 0.0, 0.0, 1.0)


def plant(client: int, obstacles: Array) -> list[int]:
    """Put obstacles (n, 7), see `envs.shapes.Obstacle`, into a client. Returns their bodies, which are fewer.

    A step of physics costs time for each body, so that many obstacles are one. Nothing of them can be seen: PyBullet
    would draw a mesh of each, which takes most of the time.
    """
    found = [Obstacle(*row) for row in obstacles.tolist()]
    trunks = [o for o in found if o.half_z >= ENDLESS_M]
    balls = [o for o in found if o.half_z == 0.0]
    boxes = [o for o in found if 0.0 < o.half_z < ENDLESS_M]
    bodies = [
        _body(client, part, pybullet.GEOM_CYLINDER, radii=[o.radius for o in part], lengths=[TREE_HEIGHT_M] * len(part))
        for part in _parts(trunks)
    ]
    bodies += [_body(client, part, pybullet.GEOM_SPHERE, radii=[o.radius for o in part]) for part in _parts(balls)]
    bodies += [
        _body(client, part, pybullet.GEOM_BOX, halfExtents=[[o.half_x, o.half_y, o.half_z] for o in part])
        for part in _parts(boxes)
    ]
    return bodies


def _parts(obstacles: Sequence[Obstacle[float]]) -> list[Sequence[Obstacle[float]]]:
    return [obstacles[begin : begin + AT_ONCE] for begin in range(0, len(obstacles), AT_ONCE)]


def _body(client: int, part: Sequence[Obstacle[float]], geometry: int, **sizes: Any) -> int:
    """One body of shapes of one geometry. sizes: a list for each size of it."""
    middles = [(o.x, o.y, 0.5 * TREE_HEIGHT_M if o.half_z >= ENDLESS_M else o.z) for o in part]
    shape = pybullet.createCollisionShapeArray(
        shapeTypes=[geometry] * len(part),
        collisionFramePositions=middles,
        collisionFrameOrientations=[_LEVEL] * len(part),
        physicsClientId=client,
        **sizes,
    )
    unseen = pybullet.createVisualShape(pybullet.GEOM_SPHERE, radius=1e-3, physicsClientId=client)
    return int(pybullet.createMultiBody(0.0, shape, unseen, physicsClientId=client))
