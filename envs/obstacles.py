"""Trees as bodies of PyBullet: upright cylinders that stand still."""

from __future__ import annotations

from typing import Final

import pybullet

from envs.flights import Array

TREE_HEIGHT_M: Final = 5.0  # higher than any flight
AT_ONCE: Final = 16  # shapes of one body; PyBullet takes no more
_LEVEL: Final = (0.0, 0.0, 0.0, 1.0)


def plant(client: int, trees: Array) -> list[int]:
    """Put trees (n, 3), x, y and radius, into a client. Returns their bodies, which are fewer.

    A step of physics costs time for each body, so that many trees are one. Nothing of them can be seen: PyBullet would
    draw a mesh of each, which takes most of the time.
    """
    bodies = []
    for begin in range(0, len(trees), AT_ONCE):
        part = trees[begin : begin + AT_ONCE].tolist()
        shape = pybullet.createCollisionShapeArray(
            shapeTypes=[pybullet.GEOM_CYLINDER] * len(part),
            radii=[radius for _, _, radius in part],
            lengths=[TREE_HEIGHT_M] * len(part),
            collisionFramePositions=[(x, y, 0.5 * TREE_HEIGHT_M) for x, y, _ in part],
            collisionFrameOrientations=[_LEVEL] * len(part),
            physicsClientId=client,
        )
        unseen = pybullet.createVisualShape(pybullet.GEOM_SPHERE, radius=1e-3, physicsClientId=client)
        body = pybullet.createMultiBody(0.0, shape, unseen, physicsClientId=client)
        bodies.append(int(body))
    return bodies
