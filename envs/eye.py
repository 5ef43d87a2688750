"""What a forward camera sees of a forest: low-resolution grey pictures by PyBullet's renderer on the processor.

Trunks and floor are textured, the sky is not. The world that is drawn is a client of its own: seeing changes no flight.
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

from envs.flights import Array
from envs.physics import Body
from envs.vision import import_cv2
from liquid_pilot.errors import SimulationError
from liquid_pilot.geometry import rotation_matrix, to_world

Grey: TypeAlias = npt.NDArray[np.uint8]  # (rows, columns)

FINER: Final = 2  # pixels of the renderer a pixel of the picture, each way
SIDES: Final = 12  # of a trunk
TRUNK_M: Final = 8.0  # its height
BARK_M: Final = 1.0  # a texture repeats after this
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

    def plant(self, trees: Array) -> None:
        """Nothing but the floor and these trees, (n, 3), x, y and radius."""
        client = self._client
        pybullet.resetSimulation(physicsClientId=client)
        bark, floor = (pybullet.loadTexture(str(path), physicsClientId=client) for path in _textures())
        half, end = FLOOR_HALF_M, 2.0 * FLOOR_HALF_M / FLOOR_M
        self._show(
            [(-half, -half, 0.0), (half, -half, 0.0), (half, half, 0.0), (-half, half, 0.0)],
            [0, 1, 2, 0, 2, 3],
            [(0.0, 0.0), (end, 0.0), (end, end), (0.0, end)],
            floor,
        )
        for number, (x, y, radius) in enumerate(trees.tolist()):
            corners, uvs = [], []
            for k in range(SIDES + 1):
                angle = 2.0 * math.pi * k / SIDES
                for z in (0.0, TRUNK_M):
                    corners.append((x + radius * math.cos(angle), y + radius * math.sin(angle), z))
                    uvs.append((0.37 * number + radius * angle / BARK_M, z / BARK_M))
            indices = [a + b for a in range(0, 2 * SIDES, 2) for b in (0, 2, 1, 1, 2, 3)]
            self._show(corners, indices, uvs, bark)

    def _show(
        self,
        corners: list[tuple[float, float, float]],
        indices: list[int],
        uvs: list[tuple[float, float]],
        texture: int,
    ) -> None:
        """A body that is seen and nothing else; light comes from everywhere, so that normals do not matter."""
        shape = pybullet.createVisualShape(
            pybullet.GEOM_MESH,
            vertices=corners,
            indices=indices,
            uvs=uvs,
            normals=[(0.0, 0.0, 1.0)] * len(corners),
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
