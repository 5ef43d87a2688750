"""AviaryQuad: one drone in gym-pybullet-drones, with the interface of `PyBulletQuad`, so that everything here flies it.

Theirs: the rigid body of `CtrlAviary` with its contacts, its gravity of 9.8 m/s^2 and PyBullet's default damping, which
takes 0.04 (1 + |v|) v a second from the velocity v and the same from the body rates; thrust and yaw torque of a rotor
from its RPM (no more than their MAX_RPM), drag, and a ground effect of each rotor. Ours: everything up to the RPM, that
is the rate loop and the motor lag which they lack, the spread of the drawn airframe, and the wind, as the force of the
moving air beside their drag. Physics advance in the substeps of the flight, 500 Hz or more.
"""

from __future__ import annotations

import importlib
import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from typing import Any, Final

import numpy as np
import pybullet

from envs.airframe import Airframe, load_airframe
from envs.conditions import SUBSTEP_S
from envs.flights import RELEASE_THRUST
from envs.physics import FlightParams, forces
from envs.pybullet_quad import ZERO3, PyBulletQuad
from liquid_pilot.errors import ConfigError, MissingExtraError, unknown_name
from liquid_pilot.ops import FLOAT_OPS, Vec3, Vec4

AIRFRAME: Final = "cf2x"  # theirs is the same Crazyflie
INSTALL: Final = "pip install 'setuptools<82' git+https://github.com/utiasDSL/gym-pybullet-drones"
PHYSICS: Final = ("pyb", "pyb_drag", "pyb_gnd", "pyb_gnd_drag_dw")  # those of theirs that PyBullet integrates
_BUILT_IN: Final = (  # what a file of theirs says about the drone and cannot be changed in flight
    "rotor_xy_m",
    "spin",
    "thrust_coefficient_n_rpm2",
    "torque_coefficient_nm_rpm2",
    "propeller_radius_m",
    "ground_effect_coefficient",
    "drag_coefficient_xy",
    "drag_coefficient_z",
)


def import_aviary(module: str) -> Any:
    """A module of gym-pybullet-drones, by its name inside the package. Raises `MissingExtraError` without it."""
    try:
        with _quiet():
            return importlib.import_module(f"gym_pybullet_drones.{module}")
    except ImportError as error:
        raise MissingExtraError(f"gym-pybullet-drones cannot be imported ({error}); run {INSTALL}") from error


def make_aviary(name: str, **options: Any) -> Any:
    """An environment of gym-pybullet-drones by the name of its class. Raises `MissingExtraError`."""
    make = getattr(import_aviary("envs"), name)
    with _quiet():
        return make(**options)


def check_airframe(airframe: Airframe) -> None:
    """Raise `ConfigError` for an airframe that is not built like the Crazyflie of gym-pybullet-drones."""
    theirs = load_airframe(AIRFRAME)
    other = [name for name in _BUILT_IN if getattr(airframe, name) != getattr(theirs, name)]
    if other:
        raise ConfigError(
            f"airframe {airframe.name} differs from {AIRFRAME} in {', '.join(other)}; gym-pybullet-drones flies "
            f"{AIRFRAME} here, of which mass, inertia, thrust, motor lag and rate loop may differ"
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what theirs prints, and warns of, about itself."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


class AviaryQuad(PyBulletQuad):
    """One drone in a `CtrlAviary` of its own.

    physics: one of `PHYSICS`; theirs is "pyb" where nothing is said, which has neither drag nor ground effect. Raises
    `ConfigError` for another airframe than theirs, and `MissingExtraError`.
    """

    def __init__(self, airframe: Airframe, physics: str = "pyb_gnd_drag_dw") -> None:
        if physics not in PHYSICS:
            raise ConfigError(unknown_name("physics of gym-pybullet-drones", physics, list(PHYSICS)))
        check_airframe(airframe)
        self._physics = physics
        super().__init__(airframe)

    def _load(self) -> tuple[int, int]:
        kinds, hz = import_aviary("utils.enums"), round(1.0 / SUBSTEP_S)
        self._aviary = make_aviary(
            "CtrlAviary",
            drone_model=kinds.DroneModel.CF2X,
            physics=kinds.Physics(self._physics),
            pyb_freq=hz,
            ctrl_freq=hz,
        )
        return self._aviary.getPyBulletClient(), int(self._aviary.getDroneIds()[0])

    def reset(
        self,
        params: FlightParams[float],
        position_m: Vec3[float],
        attitude_wxyz: Vec4[float],
        velocity_m_s: Vec3[float] = ZERO3,
        rates_rad_s: Vec3[float] = ZERO3,
        motor_speed: float = math.sqrt(RELEASE_THRUST),
    ) -> None:
        """As of `PyBulletQuad`. Theirs is loaded anew, so that no flight knows of the one before."""
        _ = self.client  # refuses once closed
        self._aviary.reset()
        self._body_id, self._h_s = int(self._aviary.getDroneIds()[0]), 0.0  # their step size is set back as well
        self._obstacles = frozenset()
        super().reset(params, position_m, attitude_wxyz, velocity_m_s, rates_rad_s, motor_speed)

    def change(self, params: FlightParams[float]) -> None:
        """Another mass, inertia, thrust ... from now on; position and velocity go on."""
        super().change(params)
        airframe, aviary = self.airframe, self._aviary
        aviary.KM = airframe.torque_coefficient_nm_rpm2 * params.yaw_scale
        xy, z = (c * params.drag_scale for c in (airframe.drag_coefficient_xy, airframe.drag_coefficient_z))
        aviary.DRAG_COEFF = np.array([xy, xy, z])

    @property
    def rpm(self) -> Vec4[float]:
        """Motor speeds as theirs counts them, in the same order: those that give the drawn rotors' thrust."""
        one_n = 1.0 / self.airframe.thrust_coefficient_n_rpm2
        a, b, c, d = (
            speed * math.sqrt(limit * one_n)
            for speed, limit in zip(self.actuators.motor_speed, self.params.rotor_thrust_max_n, strict=True)
        )
        return a, b, c, d

    def push(self, wind_m_s: Vec3[float], h_s: float) -> None:
        """Rigid-body physics for h_s seconds at the present motor speeds."""
        client = self.client
        if h_s != self._h_s:
            pybullet.setTimeStep(h_s, physicsClientId=client)
            self._h_s = h_s
        if wind_m_s != ZERO3:
            still, speed = replace(self.body, velocity_m_s=ZERO3), self.actuators.motor_speed
            air = forces(FLOAT_OPS, self.airframe, self.params, still, self.matrix, speed, wind_m_s).drag_n
            pybullet.applyExternalForce(self._body_id, -1, air, ZERO3, pybullet.LINK_FRAME, physicsClientId=client)
        before, inverse = self.body.velocity_m_s, 1.0 / h_s
        self._aviary.step(np.array([self.rpm]))
        self._read()
        u, v, w = (inverse * (now - then) for now, then in zip(self.body.velocity_m_s, before, strict=True))
        self.acceleration_m_s2 = (u, v, w)
