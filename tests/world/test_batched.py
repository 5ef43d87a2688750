"""Laws of the batched world: parity with plain floats, gradients, hold and release, sensing, determinism."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor

from envs.airframe import load_airframe
from envs.batched_ops import TORCH_OPS
from envs.batched_quad import BatchedQuad
from envs.batched_state import BatchedState, choose, from_dict, map_tensors, to_dict
from envs.conditions import Conditions
from envs.faults import Fault
from envs.flights import draw_flights
from envs.physics import Actuators, Body, FlightParams, accelerations, actuate, forces, integrate
from liquid_pilot.errors import ConfigError, SimulationError
from liquid_pilot.geometry import rotation_matrix
from liquid_pilot.observation import GRAVITY_M_S2
from liquid_pilot.ops import FLOAT_OPS, Ops
from liquid_pilot.rate_loop import RateLoopState

AIRFRAME = load_airframe("cf2x")
LANES = 6


def make_world(conditions: Conditions | None = None, seed: int = 0, n: int = LANES) -> tuple[BatchedQuad, BatchedState]:
    conditions = conditions or Conditions()
    world = BatchedQuad(AIRFRAME, conditions, torch.Generator().manual_seed(seed), dtype=torch.float64)
    return world, world.reset(draw_flights(AIRFRAME, conditions, n, np.random.default_rng(seed)))


def hover(world: BatchedQuad, state: BatchedState) -> BatchedState:
    zero = torch.zeros_like(state.constants["mass_kg"])
    return world.step(state, (zero + GRAVITY_M_S2, (zero, zero, zero)), world.intervals(state))


def one_substep(ops: Ops, s: list[Any], command: list[Any], wind: list[Any], h: Any) -> list[Any]:
    """The whole chain on scalars: 26 state numbers in, 13 + 10 numbers out."""

    def cut(values: list[Any], start: int, width: int) -> Any:
        return tuple(values[start : start + width])

    body: Body[Any] = Body(cut(s, 0, 3), cut(s, 3, 3), cut(s, 6, 4), cut(s, 10, 3))
    act: Actuators[Any] = Actuators(cut(s, 13, 4), RateLoopState(cut(s, 17, 3), cut(s, 20, 3)))
    limit = AIRFRAME.rotor_thrust_max_n
    params: FlightParams[Any] = FlightParams(
        mass_kg=0.03,
        inertia_kg_m2=(1.3e-5, 1.5e-5, 2.0e-5),
        rotor_thrust_max_n=(limit, 0.9 * limit, 1.1 * limit, limit),
        yaw_scale=1.1,
        drag_scale=0.9,
        motor_tau_up_s=0.05,
        motor_tau_down_s=0.07,
        gyro_bias_rad_s=cut(s, 23, 3),
    )
    act = actuate(ops, AIRFRAME, params, act, (command[0], cut(command, 1, 3)), body.rates_rad_s, h)
    matrix = rotation_matrix(body.attitude_wxyz)
    force = forces(ops, AIRFRAME, params, body, matrix, act.motor_speed, cut(wind, 0, 3))
    linear, angular = accelerations(AIRFRAME, params, body, matrix, force)
    moved = integrate(ops, body, linear, angular, h)
    return [
        *moved.position_m,
        *moved.velocity_m_s,
        *moved.attitude_wxyz,
        *moved.rates_rad_s,
        *act.motor_speed,
        *act.loop.integral_rad_s2,
        *act.loop.filtered_rates_rad_s,
    ]


def test_whole_substep_is_the_same_on_floats_and_tensors() -> None:
    rng = np.random.default_rng(3)
    states = rng.normal(size=(26, 40))
    states[2] = rng.uniform(-0.02, 2.0, 40)  # some drones press into the floor
    states[6:10] /= np.linalg.norm(states[6:10], axis=0)
    states[13:17] = rng.uniform(0.15, 1.0, (4, 40))
    commands, winds = rng.normal(size=(4, 40)) * 5 + 5, rng.normal(size=(3, 40))
    tensors = one_substep(
        TORCH_OPS,
        list(torch.tensor(states)),
        list(torch.tensor(commands)),
        list(torch.tensor(winds)),
        torch.full((40,), 0.002, dtype=torch.float64),
    )
    for lane in range(40):
        floats = one_substep(
            FLOAT_OPS, states[:, lane].tolist(), commands[:, lane].tolist(), winds[:, lane].tolist(), 0.002
        )
        assert_allclose([float(t[lane]) for t in tensors], floats, rtol=1e-12, atol=1e-12)


def test_gradient_of_a_flight_equals_finite_differences() -> None:
    conditions = Conditions(hold_s=0.0, imu_jitter=0.0, command_latency_s=(0.0, 0.0))

    def height_and_drift(thrust: Tensor, roll: Tensor) -> Tensor:
        world, state = make_world(conditions, seed=5, n=3)
        zero = torch.zeros_like(thrust)
        for _ in range(12):
            state = world.step(state, (thrust, (roll, zero, zero)), world.intervals(state))
        flow = state.sensors.flow.held[1].sum()
        return sum(state.body.position_m, zero).sum() + state.body.velocity_m_s[1].sum() + 0.1 * flow

    thrust = torch.tensor([9.0, 10.0, 11.0], dtype=torch.float64, requires_grad=True)
    roll = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64, requires_grad=True)
    height_and_drift(thrust, roll).backward()
    step = 1e-6
    for tensor, other, first in ((thrust, roll, True), (roll, thrust, False)):
        assert tensor.grad is not None
        for lane in range(3):
            bump = torch.zeros(3, dtype=torch.float64)
            bump[lane] = step
            pair = [
                height_and_drift(
                    *(
                        (tensor.detach() + s * bump, other.detach())
                        if first
                        else (other.detach(), tensor.detach() + s * bump)
                    )
                )
                for s in (1, -1)
            ]
            numeric = float(pair[0] - pair[1]) / (2 * step)
            assert_allclose(float(tensor.grad[lane]), numeric, rtol=1e-5, atol=1e-7)
    assert float(thrust.grad.abs().min()) > 1e-3  # type: ignore[union-attr]


def test_held_drones_stand_still_and_feel_gravity_then_fly_off_with_the_launch_values() -> None:
    world, state = make_world(Conditions(imu_jitter=0.0))
    start = torch.stack(state.body.position_m)
    while bool((state.t_s < 0.49).all()):
        state = hover(world, state)
        assert torch.equal(torch.stack(state.body.position_m), start)
        assert not torch.isfinite(state.release_s).any()
    quiet = replace(world.imu, accel_noise_m_s2=0.0, gyro_noise_rad_s=0.0)
    world = replace(world, imu=quiet)
    state = hover(world, state)  # the event at 0.5 s: still the held sample, then the launch
    matrix = rotation_matrix(state.body.attitude_wxyz)
    bias = torch.stack(state.accel_bias_m_s2)
    gravity = torch.stack([row * GRAVITY_M_S2 for row in matrix[2]])
    assert_allclose(torch.stack(state.sensors.accel_m_s2) - bias, gravity, atol=1e-9)
    assert_allclose(state.release_s, 0.5, atol=1e-9)
    assert_allclose(torch.stack(state.body.velocity_m_s), state.constants["launch_velocity_m_s"])
    assert_allclose(torch.stack(state.body.rates_rad_s), state.constants["launch_rates_rad_s"])


def test_command_takes_effect_after_its_latency() -> None:
    conditions = Conditions(hold_s=0.01, imu_jitter=0.0, command_latency_s=(0.03, 0.03), motor_tau_s=(0.03, 0.03))
    world, state = make_world(conditions, n=2)
    state = hover(world, state)  # released at 0.01
    speeds = []
    for _ in range(6):
        zero = torch.zeros(2, dtype=torch.float64)
        state = world.step(state, (zero + 19.0, (zero, zero, zero)), world.intervals(state))
        speeds.append(float(torch.stack(state.actuators.motor_speed).mean()))
    assert max(speeds[:3]) < speeds[3] - 0.05  # full thrust asked for at 0.01 s is felt after 0.04 s


def test_same_seed_same_flight_bit_for_bit() -> None:
    def run() -> Tensor:
        world, state = make_world(Conditions(flow_dropout=(0.3, 0.3)), seed=11)
        for _ in range(80):
            state = hover(world, state)
        return world.observe(state)

    assert torch.equal(run(), run())


def test_outage_and_fault_silence_the_flow() -> None:
    conditions = Conditions(hold_s=0.05, imu_jitter=0.0, faults=(Fault("flow", 0.2, 0.6), Fault("accel", 0.2, 0.6)))
    world, state = make_world(conditions)
    ages, accel = [], []
    for _ in range(75):
        state = hover(world, state)
        ages.append(float(world.held(state).flow_age_s.max()))
        accel.append(float(world.held(state).accel_age_s.max()))
    assert max(ages[10:20]) < 0.1 < 0.35 < max(ages[10:])
    assert max(accel[:20]) == 0.0 and max(accel) == pytest.approx(0.4, abs=0.02)


def test_trees_round_trip_and_choose_lane_by_lane() -> None:
    world, state = make_world()
    moved = hover(world, state)
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            to_dict(moved, "s").values(), to_dict(from_dict(state, to_dict(moved, "s"), "s"), "s").values(), strict=True
        )
    )
    mask = torch.arange(LANES) < 2
    mixed = choose(mask, moved, state)
    assert torch.equal(mixed.t_s, torch.where(mask, moved.t_s, state.t_s))
    assert map_tensors(lambda a: a * 0, state.body).position_m[0].abs().sum() == 0


def test_bad_use_is_refused_with_a_reason() -> None:
    with pytest.raises(ConfigError, match="command_latency_s"):
        make_world(Conditions(command_latency_s=(0.0, 0.2)))
    with pytest.raises(ConfigError, match="520 Hz"):  # its delay line would be shorter than the latency
        make_world(Conditions(imu_hz=(600.0, 600.0)))
    world, state = make_world()
    zero = torch.zeros(LANES, dtype=torch.float64)
    with pytest.raises(SimulationError, match="lane 2"):
        bad = zero.clone()
        bad[2] = torch.nan
        world.step(state, (bad, (zero, zero, zero)), world.intervals(state))
    with pytest.raises(SimulationError, match="dt_s"):
        world.step(state, (zero, (zero, zero, zero)), zero)
