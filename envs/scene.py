"""A drawn scene: the drone over a chequered floor, in a PyBullet client of its own.

It is told where things are and never touches the physics: pictures change no flight, and cost nothing where nobody
looks. The drone is drawn by PyBullet's renderer on the processor, the rest by `envs.scene_backdrop`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pybullet

from envs.airframe import Airframe
from envs.scene_backdrop import Image, draw_backdrop
from envs.scene_camera import Camera, Chase, Window, focal_px, yaw_rad
from envs.scene_obstacles import draw_obstacles, split
from envs.scene_shapes import DISC_ALPHA, Mesh, airframe_meshes, drone_radius_m, propeller_meshes, target_mesh
from liquid_pilot.errors import SimulationError
from liquid_pilot.geometry import rotation_matrix, to_world
from liquid_pilot.ops import Vec3, Vec4

WIDTH: Final = 640
HEIGHT: Final = 480
FINER: Final = 2  # pixels of the renderer a pixel of the picture, each way
LEVEL: Final = (1.0, 0.0, 0.0, 0.0)
_AWAY: Final = (0.0, 0.0, -1e4)
_NEAR_M, _FAR_M = 0.02, 60.0


class Scene:
    """What there is to see. Close it after use."""

    def __init__(self, airframe: Airframe, obstacles: npt.NDArray[np.float64] | None = None) -> None:
        """obstacles: (n, 7), see `envs.shapes.Obstacle`."""
        self._client = pybullet.connect(pybullet.DIRECT)
        if self._client < 0:
            raise SimulationError("PyBullet gave no client for pictures; close environments that are not used any more")
        self.airframe = airframe
        self._obstacles = obstacles
        self._radius_m = drone_radius_m(airframe)
        self._chase = Chase(self._radius_m)
        self._frame = [add_body(self._client, mesh) for mesh in airframe_meshes(airframe)]
        self._discs = [add_body(self._client, mesh) for mesh in propeller_meshes(airframe)]
        self._target = [add_body(self._client, target_mesh(self._radius_m))]

    def picture(
        self,
        position_m: Vec3[float],
        attitude_wxyz: Vec4[float],
        target_m: Vec3[float] | None = None,
        t_s: float | None = None,
        width: int = WIDTH,
        height: int = HEIGHT,
    ) -> npt.NDArray[np.uint8]:
        """The drone there, (height, width, 3).

        target_m: where it should be, marked by a ring. t_s: time of the picture, for a camera that follows smoothly
        from the picture before; without it, it depends on the arguments alone. A drone that has left the finite numbers
        is not drawn.
        """
        if not all(map(math.isfinite, (*position_m, *attitude_wxyz))):
            camera = Camera((0.0, 0.0, 1.0), 0.0)
            return _bytes(draw_backdrop(camera, width, height, ()))
        camera = self._chase.follow(position_m, yaw_rad(attitude_wxyz), t_s)
        matrix = rotation_matrix(attitude_wxyz)
        rotors = [to_world(matrix, (rx, ry, 0.0)) for rx, ry in self.airframe.rotor_xy_m]
        px, py, pz = position_m
        shadows = [((px + rx, py + ry, pz + rz), self.airframe.propeller_radius_m) for rx, ry, rz in rotors]
        shadows.append((position_m, 0.45 * self._radius_m))
        picture = draw_backdrop(camera, width, height, shadows)
        before = None
        if self._obstacles is not None:
            behind, before = split(camera, self._obstacles, (px, py))
            draw_obstacles(picture, camera, behind)
        place(self._client, self._frame, position_m, attitude_wxyz)
        place(self._client, self._target, target_m, LEVEL)
        balls = [(position_m, 1.1 * self._radius_m)]
        if target_m is not None:
            balls.append((target_m, 1.5 * self._radius_m))
        window = _around([camera.window(*ball, width, height) for ball in balls])
        self._draw(picture, camera, window, position_m, attitude_wxyz)
        if before is not None:
            draw_obstacles(picture, camera, before)
        return _bytes(picture)

    def _draw(
        self, picture: Image, camera: Camera, window: Window, position_m: Vec3[float], attitude_wxyz: Vec4[float]
    ) -> None:
        """Drone and target over the backdrop; the propellers last, for one sees through them."""
        if window[0].start == window[0].stop or window[1].start == window[1].stop:
            return
        place(self._client, self._discs, None, LEVEL)
        solid, hit = self._render(camera, window, picture.shape)
        under = _finer(picture[window])
        under = np.where((hit >= 0)[:, :, None], solid, under)
        place(self._client, self._discs, position_m, attitude_wxyz)
        above, hit = self._render(camera, window, picture.shape)
        disc = np.isin(hit, self._discs)[:, :, None]
        picture[window] = _coarser(np.where(disc, DISC_ALPHA * above + (1.0 - DISC_ALPHA) * under, under))

    def _render(self, camera: Camera, window: Window, shape: Sequence[int]) -> tuple[Image, npt.NDArray[np.int64]]:
        """Colours and the bodies hit (-1 = none) in the window, `FINER` pixels a pixel each way."""
        rows, columns = window
        scale = _NEAR_M / focal_px(shape[0])
        left, right = ((column - 0.5 * shape[1]) * scale for column in (columns.start, columns.stop))
        bottom, top = ((0.5 * shape[0] - row) * scale for row in (rows.stop, rows.start))
        lens = pybullet.computeProjectionMatrix(left, right, bottom, top, _NEAR_M, _FAR_M)
        eye, (forward, _, up) = camera.eye_m, camera.axes
        ahead = [e + f for e, f in zip(eye, forward, strict=True)]
        view = pybullet.computeViewMatrix(eye, ahead, up)
        width, height = FINER * (columns.stop - columns.start), FINER * (rows.stop - rows.start)
        image = pybullet.getCameraImage(
            width,
            height,
            view,
            lens,
            lightDirection=(-0.5, 0.6, 1.6),
            shadow=0,
            lightAmbientCoeff=0.62,
            lightDiffuseCoeff=0.45,
            lightSpecularCoeff=0.08,
            renderer=pybullet.ER_TINY_RENDERER,
            physicsClientId=self._client,
        )
        colours = np.reshape(np.asarray(image[2], dtype=np.float32), (height, width, 4))[:, :, :3]
        return np.asarray(colours / 255.0, dtype=np.float32), np.reshape(
            np.asarray(image[4], dtype=np.int64), (height, width)
        )

    def close(self) -> None:
        """Free the client; closing twice is fine."""
        if self._client >= 0:
            client, self._client = self._client, -1
            pybullet.disconnect(physicsClientId=client)


def add_body(client: int, mesh: Mesh) -> int:
    """A body that is seen and nothing else."""
    shape = pybullet.createVisualShape(
        pybullet.GEOM_MESH,
        vertices=mesh.corners_m,
        indices=mesh.indices,
        normals=mesh.normals,
        rgbaColor=mesh.colour,
        physicsClientId=client,
    )
    return int(pybullet.createMultiBody(baseVisualShapeIndex=shape, physicsClientId=client))


def place(client: int, bodies: Sequence[int], position_m: Vec3[float] | None, attitude_wxyz: Vec4[float]) -> None:
    """Move bodies there, or out of sight."""
    w, x, y, z = attitude_wxyz
    where = _AWAY if position_m is None else position_m
    for body in bodies:
        pybullet.resetBasePositionAndOrientation(body, where, (x, y, z, w), physicsClientId=client)


def _around(windows: Sequence[Window]) -> Window:
    """The smallest window that holds all of them; empty ones do not count."""
    seen = [window for window in windows if all(part.stop > part.start for part in window)]
    if not seen:
        return slice(0, 0), slice(0, 0)
    rows, columns = (slice(min(w[k].start for w in seen), max(w[k].stop for w in seen)) for k in (0, 1))
    return rows, columns


def _bytes(picture: Image) -> npt.NDArray[np.uint8]:
    return np.asarray(picture * np.float32(255.0) + np.float32(0.5), dtype=np.uint8)


def _finer(picture: Image) -> Image:
    return np.repeat(np.repeat(picture, FINER, axis=0), FINER, axis=1)


def _coarser(picture: Image) -> Image:
    rows, columns, _ = picture.shape
    blocks = picture.reshape(rows // FINER, FINER, columns // FINER, FINER, 3)
    return np.asarray(np.einsum("iajbc->ijc", blocks) / (FINER * FINER), dtype=np.float32)
