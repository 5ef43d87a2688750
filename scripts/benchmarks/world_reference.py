"""A quadrotor integrated apart from the world: its equations written anew, fourth-order Runge-Kutta in numpy.

Newton and Euler's equations; rotor thrust and drag after Forster, "System Identification of the Crazyflie 2.0" (2015),
ground effect after Shi et al., "Neural Lander" (2019), first-order motor lag, the smooth floor and the sampled rate
loop as the project describes them. Figures come from the airframe's TOML file; nothing of `envs.physics`, of the rate
loop or of the geometry is imported, so that a slip there cannot hide here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from envs.airframe import AIRFRAME_DIR
from envs.toml_tables import find_table, read_table
from scripts.benchmarks.world_engines import CONTROL_S, Array, Experiment, Trajectory, trajectory

G_M_S2: Final = 9.81
LOOP_S: Final = 0.002  # period of the autopilot's rate loop
STEP_S: Final = 0.001  # of the integration
FLOOR_RAD_S, FLOOR_DAMPING_PER_S, FLOOR_FRICTION_PER_S, FLOOR_SOFT_M = 45.0, 40.0, 10.0, 0.004
LOWEST_ROTOR_M: Final = 0.0377
YAW_SHARE: Final = 0.15  # of a rotor's thrust, the most that yaw may take


@dataclass(frozen=True, slots=True)
class Loop:
    """What the rate loop remembers between its samples, and the motor speeds it wants."""

    integral: Array  # (3, B)
    filtered: Array  # (3, B)
    wanted: Array  # (4, B)


class Reference:
    """The drones of an experiment, (k, B) arrays throughout."""

    def __init__(self, experiment: Experiment) -> None:
        self.table: dict[str, Any] = read_table(find_table("airframe", experiment.airframe.name, AIRFRAME_DIR))
        flights = experiment.flights
        self.mass, self.inertia = flights.mass_kg, flights.inertia_kg_m2.T
        self.full_n, self.wind = flights.rotor_thrust_max_n.T, flights.wind_mean_m_s.T
        self.yaw_scale, self.drag_scale = flights.yaw_scale, flights.drag_scale
        self.tau_up, self.tau_down = flights.motor_tau_up_s, flights.motor_tau_down_s
        t = self.table
        self.rpm_full = math.sqrt(t["thrust_to_weight"] * t["mass_kg"] * G_M_S2 / 4.0 / t["thrust_coefficient_n_rpm2"])
        self.full_nominal_n = t["thrust_coefficient_n_rpm2"] * self.rpm_full**2
        self.torque_per_n = t["torque_coefficient_nm_rpm2"] / t["thrust_coefficient_n_rpm2"]
        x, y = np.array(t["rotor_xy_m"], dtype=np.float64).T
        spin = np.array(t["spin"], dtype=np.float64)
        self.allocation = np.array([np.ones(4), y, -x, self.torque_per_n * spin])  # rotor thrusts to thrust and torques

    def slope(self, state: Array, wanted: Array) -> Array:
        """Time derivative of position, velocity, attitude (wxyz), body rates, motor speeds; (17, B)."""
        p, v, q, w, s = np.split(state, (3, 6, 10, 13))
        t = self.table
        height = np.maximum(p[2], LOWEST_ROTOR_M)
        gain = 1.0 + t["ground_effect_coefficient"] * (t["propeller_radius_m"] / (4.0 * height)) ** 2
        wrench = self.allocation @ (self.full_n * s**2 * gain)
        torque = wrench[1:] * np.stack([np.ones_like(self.mass), np.ones_like(self.mass), self.yaw_scale])
        air = _turn(_conjugate(q), v - self.wind)
        spin_rad_s = self.rpm_full * 2.0 * math.pi / 60.0 * s.sum(axis=0)
        shape = np.array([[t["drag_coefficient_xy"]], [t["drag_coefficient_xy"]], [t["drag_coefficient_z"]]])
        body_force = -shape * self.drag_scale * spin_rad_s * air
        body_force[2] += wrench[0]
        acceleration = (_turn(q, body_force) + self._floor(p, v)) / self.mass
        acceleration[2] -= G_M_S2
        turning = (torque - np.cross(w, self.inertia * w, axis=0)) / self.inertia
        lag = np.where(wanted > s, self.tau_up, self.tau_down)
        pure = np.concatenate([np.zeros((1, w.shape[1])), w])
        return np.concatenate([v, acceleration, 0.5 * _product(q, pure), turning, (wanted - s) / lag])

    def _floor(self, p: Array, v: Array) -> Array:
        depth = np.maximum(self.table["rest_height_m"] - p[2], 0.0)
        firm = self.mass * depth / (depth + FLOOR_SOFT_M)
        push = np.maximum(FLOOR_RAD_S**2 * depth - FLOOR_DAMPING_PER_S * v[2], 0.0)
        return np.stack([-firm * FLOOR_FRICTION_PER_S * v[0], -firm * FLOOR_FRICTION_PER_S * v[1], firm * push])

    def sample(self, loop: Loop, command: Array, rates: Array) -> Loop:
        """One sample of the rate loop: PID with a filtered derivative, then the allocation turned round."""
        gains, table = self.table["rate_loop"], self.table
        kp, ki, kd, limit = (
            np.array(gains[name])[:, None] for name in ("kp_per_s", "ki_per_s2", "kd", "integral_limit_rad_s2")
        )
        tau = gains["derivative_tau_s"]
        error = command[1:] - rates
        integral = np.clip(loop.integral + ki * error * LOOP_S, -limit, limit)
        slope = (rates - loop.filtered) / tau
        filtered = rates + (loop.filtered - rates) * math.exp(-LOOP_S / tau)
        torque = np.array(table["inertia_kg_m2"])[:, None] * (kp * error + integral - kd * slope)
        most = 4.0 * YAW_SHARE * self.full_nominal_n * self.torque_per_n
        torque[2] = np.clip(torque[2], -most, most)
        demand = np.concatenate([command[:1] * table["mass_kg"], torque])
        share = np.linalg.solve(self.allocation, demand) / self.full_nominal_n
        return Loop(integral, filtered, np.sqrt(np.clip(share, table["idle_speed"] ** 2, 1.0)))


def _conjugate(q: Array) -> Array:
    return np.concatenate([q[:1], -q[1:]])


def _turn(q: Array, v: Array) -> Array:
    """The vectors turned by the quaternions, after Rodrigues."""
    twice = 2.0 * np.cross(q[1:], v, axis=0)
    return np.asarray(v + q[0] * twice + np.cross(q[1:], twice, axis=0))


def _product(a: Array, b: Array) -> Array:
    vector = a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:], axis=0)
    return np.concatenate([a[:1] * b[:1] - (a[1:] * b[1:]).sum(axis=0, keepdims=True), vector])


def fly_reference(experiment: Experiment) -> Trajectory:
    """Fourth-order Runge-Kutta in steps of `STEP_S`, the rate loop sampled and held every `LOOP_S`."""
    drones, flights = Reference(experiment), experiment.flights
    zero = np.zeros((3, len(flights)))
    position = zero.copy()
    position[2] = flights.height_m
    launch = flights.launch_velocity_m_s.T, flights.attitude_wxyz.T, flights.launch_rates_rad_s.T
    state = np.concatenate([position, *launch, experiment.motor_speed])
    loop = Loop(zero, zero, experiment.motor_speed)
    rows = [state]
    for command in experiment.commands:
        for _ in range(round(CONTROL_S / LOOP_S)):
            loop = drones.sample(loop, command, state[10:13])
            for _ in range(round(LOOP_S / STEP_S)):
                state = _step(drones, state, loop.wanted)
        rows.append(state)
    return trajectory(rows)


def _step(drones: Reference, state: Array, wanted: Array) -> Array:
    a = drones.slope(state, wanted)
    b = drones.slope(state + 0.5 * STEP_S * a, wanted)
    c = drones.slope(state + 0.5 * STEP_S * b, wanted)
    d = drones.slope(state + STEP_S * c, wanted)
    after = state + STEP_S / 6.0 * (a + 2.0 * b + 2.0 * c + d)
    after[6:10] /= np.linalg.norm(after[6:10], axis=0)
    return np.asarray(after)
