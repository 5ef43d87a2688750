"""BatchedQuad: many drones at once in torch, differentiable; the twin of `PyBulletQuad`.

The same physics and sensor equations on tensors with one element a lane. One `step` runs to the next
IMU event of every lane. Held drones stand still because their physics runs with dt = 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from envs.airframe import Airframe
from envs.batched_commands import command_at, issue
from envs.batched_onboard import fits_of, forget, held_of, located_of
from envs.batched_ops import TORCH_OPS
from envs.batched_sensors import (
    EPS_S,
    Motion,
    StepNoise,
    deliver,
    hold_imu,
    initial_sensors,
    sense_substep,
    step_noise,
)
from envs.batched_state import BatchedState, detach, lane_constants, vec3
from envs.compiled.model import noise_rows
from envs.conditions import ACCEL_WALK_RATIO, HISTORY, SUBSTEP_S, Conditions, check_batched, check_locates
from envs.fault_effects import (
    Disturbance,
    ImuTimes,
    disturbance,
    disturbed,
    disturbing,
    hear_imu,
    unheard,
)
from envs.flights import RELEASE_THRUST, Flights
from envs.physics import Actuators, Body, FlightParams, accelerations, actuate, forces, held_level, integrate
from envs.sensors import DEFAULT_SENSORS, FlowModel, ImuModel, RangeModel, SensorModels, read_imu, specific_force
from envs.task import SETPOINT_AIM, Aim, Course, Goal, setpoint_course
from envs.wind import gust_m_s, step_gusts
from liquid_pilot.errors import ConfigError, SimulationError
from liquid_pilot.geometry import Matrix3, rotation_matrix, to_body
from liquid_pilot.observation import GRAVITY_M_S2, Held, assemble, assemble_position
from liquid_pilot.ops import Vec3, Vec4
from liquid_pilot.rate_loop import RateLoopState


@dataclass(frozen=True, slots=True)
class BatchedQuad:
    """The world of many drones. Pure: every method returns a new state; random numbers come from `generator`.

    Where `state.imu.silent_s` is not 0, the newest IMU sample was refused, and commands issued then are ignored: step
    no network there. substep_s: longest physics substep. Raises `ConfigError` for conditions that only PyBullet flies.
    """

    airframe: Airframe
    conditions: Conditions
    generator: torch.Generator
    substep_s: float = SUBSTEP_S
    dtype: torch.dtype = torch.float32
    imu: ImuModel = field(default_factory=ImuModel)
    flow: FlowModel = field(default_factory=FlowModel)
    range: RangeModel = field(default_factory=RangeModel)
    aim: Aim = SETPOINT_AIM

    def __post_init__(self) -> None:
        check_batched(self.conditions)
        check_locates(self.aim.locates, self.conditions)

    @property
    def sensors(self) -> SensorModels:
        """The sensors of the conditions, but for those that were given to this world itself."""
        given: dict[str, Any] = {"imu": self.imu, "flow": self.flow, "range": self.range}
        special = {name: model for name, model in given.items() if model != getattr(DEFAULT_SENSORS, name)}
        return replace(self.conditions.sensors, **special)

    def reset(self, flights: Flights, course: Course | None = None) -> BatchedState:
        """Every drone in the hand at t = 0, with its first IMU sample read.

        course: (k, n) numbers for the goal of `aim`; the drawn set-points if not given. Raises `ConfigError` for
        another shape.
        """
        course = setpoint_course(flights) if course is None else course
        wanted = (self.aim.rows, len(flights))
        if course.shape != wanted:
            raise ConfigError(f"course has shape {course.shape}; {wanted} is needed for this aim and these flights")
        c = lane_constants(flights, self.dtype)
        zero = torch.zeros_like(c["mass_kg"])
        t = torch.zeros_like(c["flow_phase"])
        q = c["attitude_wxyz"]
        body = Body((zero, zero, c["height_m"]), (zero, zero, zero), (q[0], q[1], q[2], q[3]), (zero, zero, zero))
        speed = zero + math.sqrt(RELEASE_THRUST)
        loop = RateLoopState((zero, zero, zero), (zero, zero, zero))
        gust_start = torch.randn((3, len(flights)), generator=self.generator, dtype=self.dtype)
        default = torch.stack([zero + self.release_thrust_m_s2, zero, zero, zero])
        state = BatchedState(
            constants=c,
            course=torch.as_tensor(course, dtype=self.dtype),
            t_s=t,
            dt_s=t,
            release_s=t + torch.inf,
            body=body,
            actuators=Actuators((speed, speed, speed, speed), loop),
            acceleration_m_s2=(zero, zero, zero),
            gusts=(gust_start[0], gust_start[1], zero, gust_start[2], zero),
            gyro_bias_rad_s=vec3(c["gyro_bias_rad_s"]),
            accel_bias_m_s2=vec3(c["accel_bias_m_s2"]),
            commands=default[:, None, :].expand(4, HISTORY, -1),
            command_times_s=t.expand(HISTORY, -1) - 1e6,
            sensors=initial_sensors(c, (zero, zero, zero), (zero, zero, zero)),
            imu=ImuTimes(t, t, t, t, t),
        )
        gyro, accel = self._read_imu(state, rotation_matrix(body.attitude_wxyz), self.noise(len(flights)))
        return replace(state, sensors=initial_sensors(c, gyro, accel))

    @property
    def release_thrust_m_s2(self) -> float:
        """Thrust that the motors hold until the first command takes effect."""
        return RELEASE_THRUST * self.airframe.thrust_to_weight * GRAVITY_M_S2

    def intervals(self, state: BatchedState) -> Tensor:
        """Next IMU interval of every lane, (B,) float64.

        Mixed rates draw one interval for the whole lane group and jitter it, so that all lanes share a
        number of substeps.
        """
        unit = torch.rand(state.t_s.shape, generator=self.generator, dtype=torch.float64)
        if self.conditions.imu_mixed:
            low, high = (math.log(1.0 / hz) for hz in reversed(self.conditions.imu_hz))
            u = torch.rand((), generator=self.generator, dtype=torch.float64)
            base = torch.exp(low + (high - low) * u).expand_as(unit)
        else:
            base = 1.0 / state.constants["imu_hz"].double()
        return base * (1.0 + self.conditions.imu_jitter * (2.0 * unit - 1.0))

    def noise(self, batch: int) -> StepNoise:
        """Random numbers of one control step."""
        normals, uniforms = noise_rows(self.aim.locates)
        normal = torch.randn((normals, batch), generator=self.generator, dtype=self.dtype)
        return step_noise(normal, torch.rand((uniforms, batch), generator=self.generator, dtype=self.dtype))

    def step(
        self,
        state: BatchedState,
        command: tuple[Tensor, Vec3[Tensor]],
        dt_s: Tensor,
        noise: StepNoise | None = None,
    ) -> BatchedState:
        """Run to the next IMU event, dt later. command: (thrust_m_s2, rates_rad_s), issued at state.t_s.

        noise: of `noise()`; drawn here if not given. Raises `SimulationError` for a command or dt that cannot be.
        """
        if not bool((dt_s > 0).all()):
            raise SimulationError("dt_s holds a value that is not positive; IMU intervals must be positive and finite")
        noise = noise or self.noise(len(dt_s))
        faults, heard = self.conditions.faults, state.imu
        by = self._disturbance(state) if disturbing(faults) else None
        lossy, event, unread = bool(unheard(faults)), None, heard.silent_s > 0.0
        state = self._drift(issue(state, command), dt_s, noise)
        n = math.ceil(float(dt_s.max()) / self.substep_s - 1e-9)
        h64 = dt_s / n
        h = h64.to(self.dtype)
        moving = torch.isfinite(state.release_s)
        h_moving = h * moving.to(self.dtype)
        params = disturbed(self._params(state), by) if by else self._params(state)
        matrix = rotation_matrix(state.body.attitude_wxyz)
        body, actuators, sensors = state.body, state.actuators, state.sensors
        sensors = replace(
            sensors,
            flow=replace(sensors.flow, fresh=sensors.flow.fresh & unread),
            range=replace(sensors.range, fresh=sensors.range.fresh & unread),
            place=replace(sensors.place, fresh=sensors.place.fresh & unread),
        )
        wind = self._wind(state)
        if by:
            wind = (wind[0] + by.wind_m_s, wind[1], wind[2])
        due_s = state.command_times_s + state.constants["command_latency_s"]
        linear: Vec3[Tensor] = state.acceleration_m_s2
        fits = fits_of(state, faults) if lossy else None
        for i in range(n):
            in_effect = command_at(state.commands, due_s, state.t_s + i * h64)
            actuators = actuate(TORCH_OPS, self.airframe, params, actuators, in_effect, body.rates_rad_s, h_moving)
            force = forces(TORCH_OPS, self.airframe, params, body, matrix, actuators.motor_speed, wind)
            linear, angular = accelerations(self.airframe, params, body, matrix, force)
            if self.aim.feet:
                angular = held_level(TORCH_OPS, self.airframe, body, matrix, angular)
            body = integrate(TORCH_OPS, body, linear, angular, h_moving)
            matrix = rotation_matrix(body.attitude_wxyz)
            t = state.t_s + (i + 1) * h64
            if i == n - 1:
                mask = moving.to(self.dtype)
                state = replace(
                    state,
                    t_s=t,
                    dt_s=dt_s,
                    body=body,
                    actuators=actuators,
                    acceleration_m_s2=(linear[0] * mask, linear[1] * mask, linear[2] * mask),
                )
                reading = self._read_imu(state, matrix, noise)
                event = hear_imu(TORCH_OPS, faults, heard, dt_s, t, state.release_s) if lossy else None
                state = replace(state, imu=event.times if event else replace(heard, step_s=dt_s))
                sensors = hold_imu(sensors, self.conditions, reading, t, t - state.release_s, event)
            velocity = to_body(matrix, body.velocity_m_s)
            motion = Motion(
                t, t - state.release_s, body.position_m, body.velocity_m_s, matrix, velocity, body.rates_rad_s, fits
            )
            sensors = sense_substep(sensors, state.constants, self.conditions, self.sensors, motion, h, noise)
        channels = [deliver(channel, state.t_s, fits) for channel in (sensors.flow, sensors.range, sensors.place)]
        if event:
            channels = [forget(channel, event.moved) for channel in channels]
        sensors = replace(sensors, flow=channels[0], range=channels[1], place=channels[2])
        return self._release(replace(state, sensors=sensors))

    def observe(self, state: BatchedState) -> Tensor:
        """The network's input at this IMU event, (B, OBS_DIM), and POSITION_DIM more where the goal is a place."""
        seen = assemble(self.held(state))
        if self.aim.locates:
            seen += assemble_position(located_of(state, self._told(state), self.conditions.faults))
        return torch.stack(torch.broadcast_tensors(*seen), dim=1)

    def held(self, state: BatchedState) -> Held[Tensor]:
        """Newest sensor values with freshness and age, as the onboard controller would hold them.

        The set-point is taken as told: that it is told in the frame of the true heading has no gradient.
        """
        return held_of(state, self._told(state), self.conditions.faults)

    def _told(self, state: BatchedState) -> Goal[Tensor]:
        """The goal without a gradient."""
        return self.goal(replace(state, body=detach(state.body)))

    def goal(self, state: BatchedState) -> Goal[Tensor]:
        """What is asked of every drone now."""
        flown_s = torch.where(torch.isfinite(state.release_s), state.t_s - state.release_s, 0.0).to(self.dtype)
        return self.aim.goal(TORCH_OPS, state.course.unbind(), flown_s, state.body)

    def _drift(self, state: BatchedState, dt_s: Tensor, noise: StepNoise) -> BatchedState:
        """Gusts and bias walk, once a control step."""
        dt = dt_s.to(self.dtype)
        walk = self.conditions.gyro_walk_rad_s2 * torch.sqrt(dt)
        g, a = state.gyro_bias_rad_s, state.accel_bias_m_s2
        slow = ACCEL_WALK_RATIO * walk
        n, m = noise.gyro_walk, noise.accel_walk
        return replace(
            state,
            gusts=step_gusts(TORCH_OPS, state.gusts, dt, noise.gust),
            gyro_bias_rad_s=(g[0] + walk * n[0], g[1] + walk * n[1], g[2] + walk * n[2]),
            accel_bias_m_s2=(a[0] + slow * m[0], a[1] + slow * m[1], a[2] + slow * m[2]),
        )

    def _wind(self, state: BatchedState) -> Vec3[Tensor]:
        mean = state.constants["wind_mean_m_s"]
        gust = gust_m_s(state.gusts, state.constants["gust_m_s"])
        return mean[0] + gust[0], mean[1] + gust[1], mean[2] + gust[2]

    def _params(self, state: BatchedState) -> FlightParams[Tensor]:
        c = state.constants
        limit = c["rotor_thrust_max_n"]
        thrust: Vec4[Tensor] = (limit[0], limit[1], limit[2], limit[3])
        return FlightParams(
            mass_kg=c["mass_kg"],
            inertia_kg_m2=vec3(c["inertia_kg_m2"]),
            rotor_thrust_max_n=thrust,
            yaw_scale=c["yaw_scale"],
            drag_scale=c["drag_scale"],
            motor_tau_up_s=c["motor_tau_up_s"],
            motor_tau_down_s=c["motor_tau_down_s"],
            gyro_bias_rad_s=state.gyro_bias_rad_s,
        )

    def _read_imu(
        self, state: BatchedState, matrix: Matrix3[Tensor], noise: StepNoise
    ) -> tuple[Vec3[Tensor], Vec3[Tensor]]:
        scale = state.constants["noise_scale"]
        n, m = noise.gyro, noise.accel
        return read_imu(
            TORCH_OPS,
            self.sensors.imu,
            state.body.rates_rad_s,
            specific_force(matrix, state.acceleration_m_s2),
            state.gyro_bias_rad_s,
            state.accel_bias_m_s2,
            ((n[0] * scale, n[1] * scale, n[2] * scale), (m[0] * scale, m[1] * scale, m[2] * scale)),
        )

    def _disturbance(self, state: BatchedState) -> Disturbance[Any]:
        """What faults have changed by now."""
        by = disturbance(TORCH_OPS, self.conditions.faults, state.t_s - state.release_s)

        def real(value: Any) -> Any:
            return value.to(self.dtype) if isinstance(value, Tensor) else value

        a, b, c, d = (real(share) for share in by.thrust_share)
        return Disturbance((a, b, c, d), real(by.load_share), real(by.wind_m_s))

    def _release(self, state: BatchedState) -> BatchedState:
        """Let go of the drones whose hold is over: they get their launch velocity and rates."""
        held = torch.isinf(state.release_s)
        now = held & (state.t_s >= self.conditions.hold_s - EPS_S)
        if not bool(now.any()):
            return state
        v, w = state.constants["launch_velocity_m_s"], state.constants["launch_rates_rad_s"]
        b = state.body
        body = replace(
            b,
            velocity_m_s=vec3(torch.where(now, v, torch.stack(b.velocity_m_s))),
            rates_rad_s=vec3(torch.where(now, w, torch.stack(b.rates_rad_s))),
        )
        return replace(state, body=body, release_s=torch.where(now, state.t_s, state.release_s))
