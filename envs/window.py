"""PyBullet's window as a place to watch a drone: the scene of `envs.scene` in a client of its own, in real time."""

from __future__ import annotations

import ctypes
import math
import os
import sys
import time
from typing import Final

import pybullet

from envs.airframe import Airframe
from envs.scene import LEVEL, add_body, place
from envs.scene_backdrop import DARK_TILE, HAZE, LIGHT_TILE, TILE_M
from envs.scene_camera import PITCH_RAD, Chase, yaw_rad
from envs.scene_shapes import (
    airframe_meshes,
    drone_radius_m,
    floor_meshes,
    propeller_meshes,
    shadow_mesh,
    target_mesh,
)
from liquid_pilot.errors import SimulationError
from liquid_pilot.ops import Vec3, Vec4

FRAME_S: Final = 1.0 / 60.0  # of flight, between two pictures
SKIP_S: Final = 0.1  # the same on a machine that cannot keep up
LATE_S: Final = 0.3  # further behind than that, time is not made up for
CLOSER: Final = 0.65  # the camera of PyBullet's window takes in more than that of the pictures
FLOOR_HALF_M: Final = 6.0  # of the floor that is carried along under the drone
HORIZON_M: Final = 60.0
GROUND: Final = (0.88, 0.91, 0.92)  # beyond it, nearly the haze
INSTEAD: Final = "use render_mode='rgb_array', or python -m scripts.evaluate ... --video flight.mp4"
# draws at this call only: else each call waits for a picture that its own thread draws meanwhile
_DRAW_NOW: Final = pybullet.COV_ENABLE_SINGLE_STEP_RENDERING
_GLX_RGBA, _GLX_DOUBLEBUFFER = 4, 5  # of GL/glx.h
_SIZE: Final = "--width=960 --height=720"
_HIDDEN: Final = (
    pybullet.COV_ENABLE_GUI,
    pybullet.COV_ENABLE_SHADOWS,
    pybullet.COV_ENABLE_KEYBOARD_SHORTCUTS,
    pybullet.COV_ENABLE_MOUSE_PICKING,
)


class Window:
    """A window on one drone. PyBullet has one a process; close it before another is opened.

    Raises `SimulationError` where no window can be opened, or one is open already.
    """

    def __init__(self, airframe: Airframe) -> None:
        self._client = _connect()
        client, radius_m = self._client, drone_radius_m(airframe)
        self._chase = Chase(radius_m, CLOSER)
        for option in _HIDDEN:
            pybullet.configureDebugVisualizer(option, 0, physicsClientId=client)
        pybullet.configureDebugVisualizer(_DRAW_NOW, 1, physicsClientId=client)
        floor = floor_meshes(FLOOR_HALF_M, TILE_M, DARK_TILE, LIGHT_TILE)
        self._floor = [add_body(client, mesh) for mesh in floor]
        self._ground = [add_body(client, mesh) for mesh in floor_meshes(HORIZON_M, HORIZON_M, GROUND, GROUND)]
        self._shadow = [add_body(client, shadow_mesh(airframe))]
        self._target = [add_body(client, target_mesh(radius_m))]
        self._drone = [add_body(client, mesh) for mesh in (*airframe_meshes(airframe), *propeller_meshes(airframe))]
        self._begun = (math.inf, 0.0)  # time of flight, time of the clock
        self._shown_s = math.inf

    def show(
        self, position_m: Vec3[float], attitude_wxyz: Vec4[float], target_m: Vec3[float] | None, t_s: float
    ) -> None:
        """The drone there at t_s; waits until that is now. A time before the one before begins a new flight.

        A drone that has left the finite numbers stays where it was. Raises `SimulationError` when the window has been
        closed by hand.
        """
        if not all(map(math.isfinite, (*position_m, *attitude_wxyz))):
            return
        if t_s < self._shown_s:
            self._begun = (t_s, time.monotonic())
        elif t_s < self._shown_s + (FRAME_S if self._late_s(t_s) <= FRAME_S else SKIP_S):
            return
        self._shown_s = t_s
        try:
            self._draw(position_m, attitude_wxyz, target_m, t_s)
        except pybullet.error as error:
            self._client = -1
            raise SimulationError("the window was closed; close the environment, or make a new one") from error
        late_s = self._late_s(t_s)
        if late_s > LATE_S:
            self._begun = (t_s, time.monotonic())
        elif late_s < 0.0:
            time.sleep(-late_s)

    def close(self) -> None:
        """Close the window; closing twice is fine."""
        if self._client >= 0:
            client, self._client = self._client, -1
            if pybullet.isConnected(client):
                pybullet.disconnect(client)

    def __del__(self) -> None:
        if getattr(self, "_client", -1) >= 0 and pybullet is not None:  # the module may be gone at exit
            self.close()

    def _draw(
        self, position_m: Vec3[float], attitude_wxyz: Vec4[float], target_m: Vec3[float] | None, t_s: float
    ) -> None:
        client, (x, y, _) = self._client, position_m
        yaw = yaw_rad(attitude_wxyz)
        turned = (math.cos(0.5 * yaw), 0.0, 0.0, math.sin(0.5 * yaw))
        pair = 2.0 * TILE_M
        place(client, self._floor, (pair * round(x / pair), pair * round(y / pair), 0.0), LEVEL)
        place(client, self._ground, (x, y, -0.002), LEVEL)
        place(client, self._shadow, (x, y, 0.002), turned)
        place(client, self._target, target_m, LEVEL)
        place(client, self._drone, position_m, attitude_wxyz)
        camera = self._chase.follow(position_m, yaw, t_s)
        ahead = [e + a for e, a in zip(camera.eye_m, camera.axes[0], strict=True)]
        yaw_deg = math.degrees(camera.heading_rad) - 90.0  # theirs looks along y at 0
        pybullet.resetDebugVisualizerCamera(1.0, yaw_deg, -math.degrees(PITCH_RAD), ahead, physicsClientId=client)
        pybullet.configureDebugVisualizer(_DRAW_NOW, 1, physicsClientId=client)

    def _late_s(self, t_s: float) -> float:
        """By how much the clock is ahead of the flight."""
        flight_s, clock_s = self._begun
        return time.monotonic() - clock_s - (t_s - flight_s)


def has_display() -> bool:
    """Whether a screen is to be expected here; `why_no_window` looks closer and takes longer."""
    return sys.platform != "linux" or bool(os.environ.get("DISPLAY"))


def why_no_window() -> str | None:
    """What keeps a window from opening here, or None. PyBullet would end the process, without a word or with one."""
    if not has_display():
        return "there is no display (DISPLAY is not set)"
    if sys.platform != "linux":
        return None
    name = os.environ["DISPLAY"]
    try:
        x11, gl = ctypes.CDLL("libX11.so.6"), ctypes.CDLL("libGL.so.1")
    except OSError as error:
        return f"a library is missing ({error})"
    x11.XOpenDisplay.argtypes, x11.XOpenDisplay.restype = [ctypes.c_char_p], ctypes.c_void_p
    display = x11.XOpenDisplay(None)
    if not display:
        return f"the display {name} cannot be opened"
    gl.glXChooseVisual.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_int)]
    gl.glXChooseVisual.restype = ctypes.c_void_p
    visual = gl.glXChooseVisual(display, 0, (ctypes.c_int * 3)(_GLX_RGBA, _GLX_DOUBLEBUFFER, 0))
    x11.XFree.argtypes = x11.XCloseDisplay.argtypes = [ctypes.c_void_p]
    if visual:
        x11.XFree(visual)
    x11.XCloseDisplay(display)
    return None if visual else f"the display {name} has no OpenGL"


def _connect() -> int:
    problem = why_no_window()
    if problem is not None:
        raise SimulationError(f"no window can be opened: {problem}; {INSTEAD}")
    red, green, blue = HAZE
    colours = f"--background_color_red={red} --background_color_green={green} --background_color_blue={blue}"
    try:
        client = int(pybullet.connect(pybullet.GUI, options=f"{_SIZE} {colours}"))
    except pybullet.error as error:
        raise SimulationError(
            f"PyBullet shows one window a process, and one is open; close that environment first, or {INSTEAD}"
        ) from error
    if client < 0:
        raise SimulationError(f"PyBullet opened no window; {INSTEAD}")
    return client
