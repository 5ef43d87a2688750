"""The same experiment flown by every engine of the world: known drones, known commands, no noise.

Each drone (lane) may be another experiment. `fly_pybullet`, `fly_torch` and `fly_compiled` go through the steps that
training and evaluation go through: rate loop, motors, forces, rigid body.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from envs.airframe import Airframe
from envs.batched_quad import BatchedQuad
from envs.batched_state import BatchedState, vec3
from envs.compiled.relay import RelayWorld
from envs.compiled.tracer import flatten
from envs.conditions import SUBSTEP_S, Conditions
from envs.flights import Flights, draw_flights
from envs.physics import Actuators
from envs.pybullet_quad import PyBulletQuad, flight_params
from policies.flat_state import pack

Array = npt.NDArray[np.float64]

CONTROL_S: Final = 0.010
STUCK_S: Final = 1e9  # lag of a motor that holds its speed
QUIET: Final = Conditions(
    imu_jitter=0.0,
    command_latency_s=(0.0, 0.0),
    wind_m_s=(0.0, 0.0),
    airframe_spread=0.0,
    rotor_spread=0.0,
    gyro_bias_rad_s=0.0,
    gyro_walk_rad_s2=0.0,
    accel_bias_m_s2=0.0,
    noise_scale=(0.0, 0.0),
    hold_s=0.0,
    tilt_deg=(0.0, 0.0),
    launch_speed_m_s=(0.0, 0.0),
    launch_rate_rad_s=(0.0, 0.0),
)


@dataclass(frozen=True, slots=True)
class Experiment:
    """B drones let go at t = 0 with the launch values of `flights`, in its mean wind.

    motor_speed: (4, B) at first, as a fraction of full. commands: (T, 4, B), thrust_m_s2 and rates_rad_s, each held
    for `CONTROL_S`.
    """

    airframe: Airframe
    flights: Flights
    motor_speed: Array
    commands: Array


@dataclass(frozen=True, slots=True)
class Trajectory:
    """True motion of B drones at T + 1 instants `CONTROL_S` apart, the start first; every array (T + 1, k, B)."""

    position_m: Array
    velocity_m_s: Array
    attitude_wxyz: Array
    rates_rad_s: Array
    motor_speed: Array

    @property
    def t_s(self) -> Array:
        """Instants, (T + 1,)."""
        return np.asarray(CONTROL_S * np.arange(len(self.position_m)), dtype=np.float64)

    def lane(self, index: int) -> Trajectory:
        """One drone; every array (T + 1, k)."""
        return Trajectory(
            self.position_m[..., index],
            self.velocity_m_s[..., index],
            self.attitude_wxyz[..., index],
            self.rates_rad_s[..., index],
            self.motor_speed[..., index],
        )


def trajectory(rows: Sequence[Any] | Array) -> Trajectory:
    """Named rows, each (13 + 4 and more, B): position, velocity, attitude, rates, motor speeds."""
    table = np.array(rows, dtype=np.float64)
    return Trajectory(table[:, :3], table[:, 3:6], table[:, 6:10], table[:, 10:13], table[:, 13:17])


def nominal_flights(airframe: Airframe, n: int, **fields: Any) -> Flights:
    """n flights of the airframe as its file has it, level and at rest at 50 m; fields of `Flights` replace those."""
    flights = draw_flights(airframe, QUIET, n, np.random.default_rng(0))
    own = {
        "motor_tau_up_s": np.full(n, airframe.motor_tau_up_s),
        "motor_tau_down_s": np.full(n, airframe.motor_tau_down_s),
        "attitude_wxyz": np.tile([1.0, 0.0, 0.0, 0.0], (n, 1)),
        "height_m": np.full(n, 50.0),
    }
    return replace(flights, **(own | fields))


def fly_pybullet(experiment: Experiment) -> Trajectory:
    """One drone after the other in `PyBulletQuad`."""
    with PyBulletQuad(experiment.airframe) as quad:
        lanes = [_fly_one(quad, experiment, lane) for lane in range(len(experiment.flights))]
    return trajectory(np.stack(lanes, axis=-1))


def _fly_one(quad: PyBulletQuad, experiment: Experiment, lane: int) -> Array:
    flights = experiment.flights.rows(slice(lane, lane + 1))
    q, v, w, wind = (
        tuple(getattr(flights, name)[0].tolist())
        for name in ("attitude_wxyz", "launch_velocity_m_s", "launch_rates_rad_s", "wind_mean_m_s")
    )
    quad.reset(flight_params(flights), (0.0, 0.0, float(flights.height_m[0])), q, v, w)
    speeds = tuple(experiment.motor_speed[:, lane].tolist())
    quad.actuators = Actuators(speeds, quad.actuators.loop)
    rows, substeps = [_row(quad)], round(CONTROL_S / SUBSTEP_S)
    for thrust, x, y, z in experiment.commands[..., lane].tolist():
        for _ in range(substeps):
            quad.substep((thrust, (x, y, z)), wind, CONTROL_S / substeps)
        rows.append(_row(quad))
    return np.array(rows)


def _row(quad: PyBulletQuad) -> list[float]:
    return [*flatten(quad.body), *quad.actuators.motor_speed]


def _launched(world: BatchedQuad, experiment: Experiment) -> BatchedState:
    """The drones of an experiment, already let go."""
    state = world.reset(experiment.flights)
    speed = torch.tensor(experiment.motor_speed, dtype=world.dtype)
    c = state.constants
    body = replace(state.body, velocity_m_s=vec3(c["launch_velocity_m_s"]), rates_rad_s=vec3(c["launch_rates_rad_s"]))
    actuators = Actuators((speed[0], speed[1], speed[2], speed[3]), state.actuators.loop)
    return replace(state, body=body, actuators=actuators, release_s=torch.zeros_like(state.release_s))


def _world(experiment: Experiment) -> BatchedQuad:
    return BatchedQuad(experiment.airframe, QUIET, torch.Generator().manual_seed(0))


def fly_torch(experiment: Experiment) -> Trajectory:
    """All drones at once in `BatchedQuad`, in float32 as in training."""
    world = _world(experiment)
    state = _launched(world, experiment)
    dt_s = torch.full((len(experiment.flights),), CONTROL_S, dtype=torch.float64)

    def row() -> Any:
        return torch.stack([*flatten(state.body), *state.actuators.motor_speed]).numpy()

    rows = [row()]
    with torch.no_grad():
        for command in torch.tensor(experiment.commands, dtype=world.dtype):
            thrust, x, y, z = command.unbind()
            state = world.step(state, (thrust, (x, y, z)), dt_s)
            rows.append(row())
    return trajectory(rows)


def fly_compiled(experiment: Experiment) -> Trajectory:
    """All drones at once in the compiled engine, in float32 as in training. Raises `NativeUnavailable`."""
    relay = RelayWorld(experiment.airframe)
    dt_s = np.full(len(experiment.flights), CONTROL_S)
    world = pack(_launched(_world(experiment), experiment))

    def row() -> Any:
        return np.concatenate([world.value("body"), world.value("actuators")[:4]])

    rows = [row()]
    for command in experiment.commands:
        world = relay.step(world, command, QUIET, dt_s, 0)
        rows.append(row())
    return trajectory(rows)
