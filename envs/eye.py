"""What a forward camera sees of a forest: low-resolution grey pictures by PyBullet's renderer on the processor.

Obstacles and floor are textured, the sky is not. The world that is drawn is a client of its own: seeing changes no
flight.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
import pybullet

from envs.eye_meshes import Mesh, obstacle_mesh
from envs.flights import Array
from envs.physics import Body
from envs.shapes import Obstacle
from envs.vision import import_cv2
from liquid_pilot.errors import SimulationError
from liquid_pilot.geometry import rotation_matrix, to_world
from liquid_pilot.ops import Vec2, Vec3

Grey: TypeAlias = npt.NDArray[np.uint8]  # (rows, columns)

FINER: Final = 2  # pixels of the renderer a pixel of the picture, each way
FLOOR_M: Final = 4.0
FLOOR_HALF_M: Final = 80.0
CELLS: Final = (4, 8, 16, 32, 64)  # of the noise that textures are made of
TEXELS: Final = 256
_NEAR_M, _FAR_M = 0.05, 25.0


@dataclass(frozen=True, slots=True)
class Lens:
    """A pinhole that looks along body x. half_width: tangent of half the angle from the left to the right edge."""

    columns: int = 160
    rows: int = 64
    half_width: float = math.tan(math.radians(50.0))

    @property
    def focal_px(self) -> float:
        """Distance of the picture's plane from the pinhole, in pixels."""
        return 0.5 * self.columns / self.half_width

    def pixels(self, rays: Array) -> Array:
        """(n, 2), column and row, of directions (n, 3) in the body frame; pixel middles are whole numbers."""
        middle = 0.5 * np.array([self.columns - 1, self.rows - 1])
        return np.asarray(middle - self.focal_px * rays[:, 1:] / rays[:, :1])

    def rays(self, pixels: Array) -> Array:
        """Unit vectors (n, 3) of the body frame to pixels (n, 2)."""
        across = (0.5 * np.array([self.columns - 1, self.rows - 1]) - pixels) / self.focal_px
        ahead = np.concatenate([np.ones((len(pixels), 1)), across], axis=1)
        return np.asarray(ahead / np.linalg.norm(ahead, axis=1, keepdims=True))


class Eye:
    """A camera in the middle of the drone, and the forest before it. Close it after use."""

    def __init__(self, lens: Lens | None = None) -> None:
        self.lens = lens or Lens()
        self._cv2 = import_cv2()
        self._client = pybullet.connect(pybullet.DIRECT)
        if self._client < 0:
            raise SimulationError("PyBullet gave no client for a camera; close environments that are not used any more")

    def plant(self, obstacles: Array) -> None:
        """Nothing but the floor and these obstacles, (n, 7), see `envs.shapes.Obstacle`."""
        client = self._client
        pybullet.resetSimulation(physicsClientId=client)
        bark, floor = (pybullet.loadTexture(str(path), physicsClientId=client) for path in _textures())
        half, end = FLOOR_HALF_M, 2.0 * FLOOR_HALF_M / FLOOR_M
        ground: list[Vec3[float]] = [(-half, -half, 0.0), (half, -half, 0.0), (half, half, 0.0), (-half, half, 0.0)]
        uvs: list[Vec2[float]] = [(0.0, 0.0), (end, 0.0), (end, end), (0.0, end)]
        self._show(Mesh(ground, [0, 1, 2, 0, 2, 3], uvs), floor)
        for number, row in enumerate(obstacles.tolist()):
            self._show(obstacle_mesh(Obstacle(*row), number), bark)

    def _show(self, mesh: Mesh, texture: int) -> None:
        """A body that is seen and nothing else; light comes from everywhere, so that normals do not matter."""
        shape = pybullet.createVisualShape(
            pybullet.GEOM_MESH,
            vertices=mesh.corners,
            indices=mesh.indices,
            uvs=mesh.uvs,
            normals=[(0.0, 0.0, 1.0)] * len(mesh.corners),
            physicsClientId=self._client,
        )
        body = pybullet.createMultiBody(baseVisualShapeIndex=shape, physicsClientId=self._client)
        pybullet.changeVisualShape(body, -1, textureUniqueId=texture, physicsClientId=self._client)

    def picture(self, body: Body[float]) -> Grey:
        """What it sees from there, (rows, columns)."""
        lens, matrix = self.lens, rotation_matrix(body.attitude_wxyz)
        ahead, up = to_world(matrix, (1.0, 0.0, 0.0)), to_world(matrix, (0.0, 0.0, 1.0))
        right, top = _NEAR_M * lens.half_width, _NEAR_M * lens.half_width * lens.rows / lens.columns
        columns, rows = FINER * lens.columns, FINER * lens.rows
        image = pybullet.getCameraImage(
            columns,
            rows,
            pybullet.computeViewMatrix(body.position_m, np.add(body.position_m, ahead).tolist(), up),
            pybullet.computeProjectionMatrix(-right, right, -top, top, _NEAR_M, _FAR_M),
            shadow=0,
            lightAmbientCoeff=1.0,
            lightDiffuseCoeff=0.0,
            lightSpecularCoeff=0.0,
            flags=pybullet.ER_NO_SEGMENTATION_MASK,
            renderer=pybullet.ER_TINY_RENDERER,
            physicsClientId=self._client,
        )
        grey = np.reshape(np.asarray(image[2], np.uint8), (rows, columns, 4))[:, :, 0]
        size = (lens.columns, lens.rows)
        return np.asarray(self._cv2.resize(np.ascontiguousarray(grey), size, interpolation=self._cv2.INTER_AREA))

    def close(self) -> None:
        """Free the client; closing twice is fine."""
        if self._client >= 0:
            client, self._client = self._client, -1
            pybullet.disconnect(physicsClientId=client)


@lru_cache(maxsize=1)
def _textures() -> tuple[Path, Path]:
    """Of bark and floor: PyBullet reads files alone."""
    cv2, folder = import_cv2(), Path(tempfile.mkdtemp(prefix="liquid_pilot_"))
    paths = folder / "bark.png", folder / "floor.png"
    for seed, path in enumerate(paths):
        rng, grey = np.random.default_rng(seed), np.zeros((TEXELS, TEXELS))
        for cells in CELLS:
            noise = np.tile(rng.standard_normal((cells, cells)), (3, 3))  # repeats without a seam
            fine = cv2.resize(noise, (3 * TEXELS, 3 * TEXELS), interpolation=cv2.INTER_CUBIC)
            grey += fine[TEXELS : 2 * TEXELS, TEXELS : 2 * TEXELS] * cells**-0.25
        grey = 125.0 + 55.0 * grey / grey.std()
        cv2.imwrite(str(path), np.clip(grey, 0.0, 250.0).astype(np.uint8))
    return paths
