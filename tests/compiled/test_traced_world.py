"""The world's own equations, traced and compiled in double precision, equal floats and torch, derivatives included."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from envs.airframe import Airframe, load_airframe
from envs.compiled.tracer import flatten, unflatten
from envs.physics import Actuators, Body, accelerations, actuate, forces, integrate, nominal_params
from envs.sensors import (
    FlowModel,
    ImuModel,
    RangeModel,
    flow_quality,
    range_returns,
    read_flow,
    read_imu,
    read_range,
    slant_distance,
    specific_force,
    true_flow,
)
from envs.task import place_goal
from envs.wind import gust_m_s, step_gusts
from liquid_pilot.command import DEFAULT_LIMITS, from_action
from liquid_pilot.geometry import rotation_matrix, to_body
from liquid_pilot.observation import OBS_DIM, Held, assemble
from liquid_pilot.ops import Ops
from liquid_pilot.rate_loop import RateLoopState
from policies.cost import CostWeights, event_cost
from tests.compiled.running import compiled, compiled_vjp, error, in_torch, needs_compiler, on_floats

pytestmark = needs_compiler

LANES = 64
ZERO3 = (0.0, 0.0, 0.0)
BODY = Body(ZERO3, ZERO3, (0.0, 0.0, 0.0, 0.0), ZERO3)
ACTUATORS = Actuators((0.0, 0.0, 0.0, 0.0), RateLoopState(ZERO3, ZERO3))
AIRFRAME: Airframe = load_airframe("cf2x")
PARAMS = nominal_params(AIRFRAME)
ZERO2 = (0.0, 0.0)
HELD = Held(0.0, ZERO3, ZERO3, 0.0, 0.0, ZERO2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, ZERO2, 0.0, 0.0)
MOVING = (BODY, ACTUATORS, PARAMS, ((0.0, ZERO3), ZERO3, 0.0))  # then the command, the wind and the substep

JUDGED = (BODY, CostWeights(), (ZERO2, 0.0, 0.0), (0.0,) * 4, (0.0,) * 4)


def substep(ops: Ops, x: Sequence[Any]) -> list[Any]:
    """One physics substep: the new body, actuators and the specific force."""
    body, actuators, params, (command, wind, dt) = unflatten(MOVING, x)
    actuators = actuate(ops, AIRFRAME, params, actuators, command, body.rates_rad_s, dt)
    matrix = rotation_matrix(body.attitude_wxyz)
    force = forces(ops, AIRFRAME, params, body, matrix, actuators.motor_speed, wind)
    linear, angular = accelerations(AIRFRAME, params, body, matrix, force)
    return flatten((integrate(ops, body, linear, angular, dt), actuators, specific_force(matrix, linear)))


def two_substeps(ops: Ops, x: Sequence[Any]) -> list[Any]:
    state = len(flatten((BODY, ACTUATORS)))
    return substep(ops, [*substep(ops, x)[:state], *x[state:]])


def downward(ops: Ops, x: Sequence[Any]) -> list[Any]:
    """Flow and range: body, texture, scale, mean rate, noise."""
    body = unflatten(BODY, x[:13])
    texture, scale, n0, n1, n2 = x[13:18]
    matrix = rotation_matrix(body.attitude_wxyz)
    distance = slant_distance(ops, body.position_m[2], matrix)
    rate = true_flow(to_body(matrix, body.velocity_m_s), body.rates_rad_s, distance)
    model, laser = FlowModel(), RangeModel()
    quality = flow_quality(ops, model, texture, distance, rate)
    measured = read_flow(ops, model, rate, quality, scale, (n0, n1))
    return [*rate, quality, *measured, read_range(laser, distance, n2), range_returns(ops, laser, distance)]


def imu(ops: Ops, x: Sequence[Any]) -> list[Any]:
    rates, force, gyro_bias, accel_bias, gyro_noise, accel_noise = unflatten((ZERO3,) * 6, x)
    return flatten(read_imu(ops, ImuModel(), rates, force, gyro_bias, accel_bias, (gyro_noise, accel_noise)))


def gusts(ops: Ops, x: Sequence[Any]) -> list[Any]:
    state = step_gusts(ops, (x[0], x[1], x[2], x[3], x[4]), x[5], (x[6], x[7], x[8]))
    return [*state, *gust_m_s(state, x[9])]


def command(ops: Ops, x: Sequence[Any]) -> list[Any]:
    return flatten(from_action(DEFAULT_LIMITS, (ops.tanh(x[0]), ops.tanh(x[1]), ops.tanh(x[2]), ops.tanh(x[3]))))


def observe(ops: Ops, x: Sequence[Any]) -> list[Any]:
    return list(assemble(unflatten(HELD, x)))


def cost(ops: Ops, x: Sequence[Any]) -> list[Any]:
    """Body, weights, set-point, action, previous action."""
    body, weights, (velocity, height, yaw_rate), action, previous = unflatten(JUDGED, x)
    goal = place_goal(ops, body, velocity, height, yaw_rate)
    return [event_cost(ops, weights, body, goal, action, previous)]


def bodies(rng: np.random.Generator) -> Any:
    """(13, LANES): from on the floor to 2 m up, at any attitude."""
    attitude = rng.normal(size=(4, LANES))
    return np.concatenate(
        [
            rng.normal(size=(2, LANES)),
            rng.uniform(0.0, 0.1, (1, LANES)) + 2.0 * rng.integers(0, 2, (1, LANES)),
            rng.normal(size=(3, LANES)),
            attitude / np.linalg.norm(attitude, axis=0),
            2.0 * rng.normal(size=(3, LANES)),
        ]
    )


def moving(rng: np.random.Generator) -> Any:
    nominal = np.array(flatten(PARAMS))[:, None]
    params = nominal * rng.uniform(0.8, 1.2, (len(nominal), LANES))
    params[-3:] = 0.02 * rng.normal(size=(3, LANES))
    return np.concatenate(
        [
            bodies(rng),
            rng.uniform(0.2, 1.0, (4, LANES)),
            rng.normal(size=(6, LANES)),
            params,
            9.81 + 3.0 * rng.normal(size=(1, LANES)),
            2.0 * rng.normal(size=(3, LANES)),
            rng.normal(size=(3, LANES)),
            rng.uniform(0.001, 0.002, (1, LANES)),
        ]
    )


def looking_down(rng: np.random.Generator) -> Any:
    rest = [rng.uniform(0.5, 1.0, (1, LANES)), rng.uniform(0.9, 1.1, (1, LANES)), rng.normal(size=(3, LANES))]
    return np.concatenate([bodies(rng), *rest])


def judged(rng: np.random.Generator) -> Any:
    weights = np.array(flatten(CostWeights()))[:, None] * rng.uniform(0.5, 2.0, (len(flatten(CostWeights())), LANES))
    goal = np.concatenate([rng.normal(size=(2, LANES)), rng.uniform(0.5, 1.5, (1, LANES)), rng.normal(size=(1, LANES))])
    return np.concatenate([bodies(rng), weights, goal, rng.uniform(-1.0, 1.0, (8, LANES))])


def near_the_limits(rng: np.random.Generator) -> Any:
    return rng.normal(size=(18, LANES)) * np.repeat([20.0, 100.0, 1.0, 1.0, 1.0, 1.0], 3)[:, None]


EQUATIONS = {
    "substep": (substep, moving),
    "two substeps": (two_substeps, moving),
    "flow and range": (downward, looking_down),
    "imu": (imu, near_the_limits),
    "gusts": (gusts, lambda rng: rng.uniform(0.005, 1.0, (10, LANES))),
    "command": (command, lambda rng: rng.normal(size=(4, LANES))),
    "cost": (cost, judged),
    "observation": (observe, lambda rng: rng.uniform(0.0, 1.0, (len(flatten(HELD)), LANES))),
}


@pytest.mark.parametrize("name", EQUATIONS)
def test_compiled_equations_equal_floats_and_torch(name: str) -> None:
    function, draw = EQUATIONS[name]
    rng = np.random.default_rng(5)
    x = draw(rng)
    run = compiled(function, len(x))
    seed = rng.normal(size=(run.outputs, LANES))
    value, gradient = in_torch(function, x, seed)
    found = run(x)
    assert error(found, on_floats(function, x)) <= 1e-10
    assert error(found, value) <= 1e-10
    assert error(compiled_vjp(function, len(x))(np.concatenate([x, seed])), gradient) <= 1e-10


def test_a_substep_in_float_keeps_its_digits() -> None:
    x = moving(np.random.default_rng(6)).astype(np.float32).astype(np.float64)
    found = compiled(substep, len(x), real="float")(x)
    assert error(found, on_floats(substep, x)) <= 3e-6


def test_the_observation_has_its_declared_width() -> None:
    assert compiled(observe, len(flatten(HELD))).outputs == OBS_DIM
