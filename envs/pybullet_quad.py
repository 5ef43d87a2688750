"""PyBulletQuad: one quadrotor as a rigid body in PyBullet, headless; the twin of `BatchedQuad`.

PyBullet integrates the rigid body and resolves contacts with obstacles. Rotor, drag, floor and rate
loop equations are those of `envs.physics`; the floor is their smooth one, not a PyBullet plane.
"""

from __future__ import annotations

import math
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pybullet

from envs.airframe import Airframe
from envs.flights import RELEASE_THRUST, Array, Flights
from envs.obstacles import plant
from envs.physics import Actuators, Body, FlightParams, actuate, forces, lag_motors, net_load, nominal_params
from envs.scene import HEIGHT, WIDTH, Scene
from liquid_pilot.errors import SimulationError
from liquid_pilot.geometry import Matrix3, rotation_matrix, to_world
from liquid_pilot.observation import GRAVITY_M_S2
from liquid_pilot.ops import FLOAT_OPS, Vec3, Vec4
from liquid_pilot.rate_loop import RateLoopState

if TYPE_CHECKING:
    from envs.eye import Eye

ZERO3: Final = (0.0, 0.0, 0.0)
BODY_HALF_HEIGHT_M: Final = 0.012
_LOOP_AT_REST: Final = RateLoopState(ZERO3, ZERO3)


def flight_params(flights: Flights) -> FlightParams[float]:
    """The airframe that flies in the first of the drawn flights, as plain floats."""

    def three(array: Any) -> Vec3[float]:
        a, b, c = (float(x) for x in array[0])
        return a, b, c

    f0, f1, f2, f3 = (float(x) for x in flights.rotor_thrust_max_n[0])
    return FlightParams(
        mass_kg=float(flights.mass_kg[0]),
        inertia_kg_m2=three(flights.inertia_kg_m2),
        rotor_thrust_max_n=(f0, f1, f2, f3),
        yaw_scale=float(flights.yaw_scale[0]),
        drag_scale=float(flights.drag_scale[0]),
        motor_tau_up_s=float(flights.motor_tau_up_s[0]),
        motor_tau_down_s=float(flights.motor_tau_down_s[0]),
        gyro_bias_rad_s=three(flights.gyro_bias_rad_s),
    )


class PyBulletQuad:
    """One drone in a PyBullet client of its own; instances never touch each other.

    `body`, `matrix` (its rotation, body -> world), `actuators` and `acceleration_m_s2` (world, mean
    over the newest substep) are the state after the newest call. Close it, or use it in a `with`.
    """

    def __init__(self, airframe: Airframe) -> None:
        self.airframe = airframe
        self.params = nominal_params(airframe)
        self._h_s = 0.0
        self._scene: Scene | None = None
        self._obstacles: frozenset[int] = frozenset()  # bodies
        self._eye: Eye | None = None
        self._client, self._body_id = self._load()
        self.reset(self.params, (0.0, 0.0, 1.0), (1.0, 0.0, 0.0, 0.0))

    def _load(self) -> tuple[int, int]:
        """A client and the drone's body in it."""
        client = pybullet.connect(pybullet.DIRECT)
        if client < 0:
            raise SimulationError("PyBullet gave no client; close quads that are not used any more (1024 at most)")
        return client, self._build(client)

    def _build(self, client: int) -> int:
        """The drone's body in an empty world."""
        airframe = self.airframe
        reach = max(max(abs(x), abs(y)) for x, y in airframe.rotor_xy_m) + airframe.propeller_radius_m
        pybullet.setGravity(0.0, 0.0, -GRAVITY_M_S2, physicsClientId=client)
        half = [reach, reach, BODY_HALF_HEIGHT_M]
        shape = pybullet.createCollisionShape(pybullet.GEOM_BOX, halfExtents=half, physicsClientId=client)
        body_id: int = pybullet.createMultiBody(
            baseMass=airframe.mass_kg,
            baseCollisionShapeIndex=shape,
            basePosition=[0.0, 0.0, 1.0],
            physicsClientId=client,
        )
        # a resting drone must not fall asleep, and PyBullet's default damping of 0.04 is no physics
        pybullet.changeDynamics(
            body_id,
            -1,
            linearDamping=0.0,
            angularDamping=0.0,
            activationState=pybullet.ACTIVATION_STATE_DISABLE_SLEEPING,
            physicsClientId=client,
        )
        return body_id

    @property
    def client(self) -> int:
        """PyBullet's client number, for cameras and obstacles. Raises `SimulationError` once closed."""
        if self._client < 0:
            raise SimulationError("this PyBulletQuad is closed; make a new one")
        return self._client

    def reset(
        self,
        params: FlightParams[float],
        position_m: Vec3[float],
        attitude_wxyz: Vec4[float],
        velocity_m_s: Vec3[float] = ZERO3,
        rates_rad_s: Vec3[float] = ZERO3,
        motor_speed: float = math.sqrt(RELEASE_THRUST),
    ) -> None:
        """Place the drone. Velocity in the world, rates in the body, motor speed as a fraction of full."""
        client, (w, x, y, z) = self.client, attitude_wxyz
        norm = math.sqrt(w * w + x * x + y * y + z * z)
        if not (math.isfinite(norm) and abs(norm - 1.0) < 1e-3):
            raise SimulationError(f"attitude_wxyz has norm {norm:g}; give a unit quaternion (wxyz, body to world)")
        self._clear()
        self.change(params)
        pybullet.resetBasePositionAndOrientation(self._body_id, position_m, (x, y, z, w), physicsClientId=client)
        self.actuators = Actuators((motor_speed, motor_speed, motor_speed, motor_speed), _LOOP_AT_REST)
        self.acceleration_m_s2: Vec3[float] = ZERO3
        self.matrix: Matrix3[float] = rotation_matrix(attitude_wxyz)
        self.body: Body[float] = Body(position_m, ZERO3, attitude_wxyz, ZERO3)
        self.throw(velocity_m_s, rates_rad_s)

    def _clear(self) -> None:
        """Take away the obstacles. A new world: PyBullet keeps memory of bodies removed one by one."""
        if self._obstacles:
            self._obstacles = frozenset()
            pybullet.resetSimulation(physicsClientId=self.client)
            self._body_id, self._h_s = self._build(self.client), 0.0

    def plant(self, obstacles: Array) -> None:
        """Obstacles (n, 7), see `envs.shapes.Obstacle`, stand there until the next `reset`."""
        self._obstacles |= frozenset(plant(self.client, obstacles))

    def look_at(self, obstacles: Array) -> Eye:
        """Its forward camera, before these obstacles. Raises `MissingExtraError` without OpenCV."""
        if self._eye is None:
            from envs.eye import Eye  # needs OpenCV

            self._eye = Eye()
        self._eye.plant(obstacles)
        return self._eye

    @property
    def touches_obstacles(self) -> bool:
        """Whether PyBullet found contact with one in the newest substep."""
        if not self._obstacles:
            return False
        found = pybullet.getContactPoints(self._body_id, physicsClientId=self.client)
        return any(contact[2] in self._obstacles for contact in found)

    def change(self, params: FlightParams[float]) -> None:
        """Another mass, inertia, thrust ... from now on; position and velocity go on."""
        self.params = params
        pybullet.changeDynamics(
            self._body_id,
            -1,
            mass=params.mass_kg,
            localInertiaDiagonal=params.inertia_kg_m2,
            physicsClientId=self.client,
        )

    def throw(self, velocity_m_s: Vec3[float], rates_rad_s: Vec3[float]) -> None:
        """Give the drone a velocity (world) and body rates where it is."""
        spin = to_world(self.matrix, rates_rad_s)
        pybullet.resetBaseVelocity(self._body_id, velocity_m_s, spin, physicsClientId=self.client)
        self.body = replace(self.body, velocity_m_s=velocity_m_s, rates_rad_s=rates_rad_s)

    def set_gyro_bias(self, bias_rad_s: Vec3[float]) -> None:
        """What the gyro adds to the true rates from now on; the rate loop feels it."""
        self.params = replace(self.params, gyro_bias_rad_s=bias_rad_s)

    def substep(self, command: tuple[float, Vec3[float]] | Vec4[float], wind_m_s: Vec3[float], h_s: float) -> None:
        """Physics for h_s seconds under a command: (thrust_m_s2, rates_rad_s), or motor speeds past the rate loop."""
        old, rates = self.actuators, self.body.rates_rad_s
        if len(command) == 2:
            self.actuators = actuate(FLOAT_OPS, self.airframe, self.params, old, command, rates, h_s)
        else:
            speed = lag_motors(FLOAT_OPS, self.params, old.motor_speed, command, h_s)
            self.actuators = Actuators(speed, old.loop)
        self.push(wind_m_s, h_s)

    def push(self, wind_m_s: Vec3[float], h_s: float) -> None:
        """Rigid-body physics for h_s seconds at the present motor speeds."""
        client, body_id, old = self.client, self._body_id, self.body
        if h_s != self._h_s:
            pybullet.setTimeStep(h_s, physicsClientId=client)
            self._h_s = h_s
        force = forces(FLOAT_OPS, self.airframe, self.params, old, self.matrix, self.actuators.motor_speed, wind_m_s)
        force_n, torque_nm = net_load(self.airframe, force)  # a call for each rotor would do the same, slower
        pybullet.applyExternalForce(body_id, -1, force_n, ZERO3, pybullet.LINK_FRAME, client)
        pybullet.applyExternalTorque(body_id, -1, torque_nm, pybullet.LINK_FRAME, client)
        if any(force.floor_n):
            pybullet.applyExternalForce(body_id, -1, force.floor_n, old.position_m, pybullet.WORLD_FRAME, client)
        pybullet.stepSimulation(client)
        self._read()
        inverse, before, after = 1.0 / h_s, old.velocity_m_s, self.body.velocity_m_s
        self.acceleration_m_s2 = (
            (after[0] - before[0]) * inverse,
            (after[1] - before[1]) * inverse,
            (after[2] - before[2]) * inverse,
        )

    def picture(
        self,
        width: int = WIDTH,
        height: int = HEIGHT,
        target_m: Vec3[float] | None = None,
        t_s: float | None = None,
    ) -> npt.NDArray[np.uint8]:
        """The drone from behind and above, (height, width, 3); the arguments are those of `Scene.picture`."""
        _ = self.client  # refuses once closed
        if self._scene is None:
            self._scene = Scene(self.airframe)
        return self._scene.picture(self.body.position_m, self.body.attitude_wxyz, target_m, t_s, width, height)

    def close(self) -> None:
        """Free the client; closing twice is fine."""
        if self._client >= 0:
            client, self._client = self._client, -1
            pybullet.disconnect(physicsClientId=client)
            for drawn in (self._scene, self._eye):
                if drawn is not None:
                    drawn.close()

    def __enter__(self) -> PyBulletQuad:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_client", -1) >= 0 and pybullet is not None:  # the module may be gone at exit
            try:
                self.close()
            except pybullet.error:
                self._client = -1

    def _read(self) -> None:
        position, (x, y, z, w) = pybullet.getBasePositionAndOrientation(self._body_id, self._client)
        velocity, (sx, sy, sz) = pybullet.getBaseVelocity(self._body_id, self._client)
        attitude = (w, x, y, z)
        matrix = rotation_matrix(attitude)
        (a, b, c), (d, e, f), (g, h, i) = matrix
        rates = (a * sx + d * sy + g * sz, b * sx + e * sy + h * sz, c * sx + f * sy + i * sz)
        self.matrix = matrix
        self.body = Body(position, velocity, attitude, rates)
