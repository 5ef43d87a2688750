"""What a drone of the compiled world measures, and what its network is shown of that."""

from __future__ import annotations

from typing import Any

from envs.compiled.equation import Arrays, Scalars
from envs.compiled.model import SEEN_ROWS, WorldModel, biases_of, goal_of, machine_of, named
from envs.compiled.tracer import flatten
from envs.physics import Body
from envs.sensors import (
    flow_quality,
    range_returns,
    read_flow,
    read_imu,
    read_place,
    read_range,
    slant_distance,
    specific_force,
)
from envs.task import Goal, turn_of, turned
from liquid_pilot.geometry import heading, multiply, rotation_matrix
from liquid_pilot.observation import Held, assemble, assemble_position, assemble_sight, located
from liquid_pilot.ops import Ops


def _compass_error(ops: Ops, a: Arrays) -> Any:
    return turn_of(ops, named(a["constants"])["heading_error_rad"])


def _told(model: WorldModel, ops: Ops, a: Arrays) -> Goal[Any]:
    """The goal as the network is told it: of a course, by a heading that is wrong."""
    if model.aim.sees is None:
        return goal_of(model, ops, a)
    body, half = machine_of(a["body"])[0], 0.5 * named(a["constants"])["heading_error_rad"]
    zero: Any = 0.0 * half
    attitude = multiply((ops.cos(half), zero, zero, ops.sin(half)), body.attitude_wxyz)
    wrong = Body(body.position_m, body.velocity_m_s, attitude, body.rates_rad_s)
    return model.aim.goal(ops, a["course"], a["since"][0], wrong)


def observe_equation(model: WorldModel, ops: Ops, a: Arrays) -> dict[str, Scalars]:
    """What the network is shown. The goal and the heading are taken as told: only what is seen has a gradient."""
    s, goal = a["seen"], _told(model, ops, a)
    held: Held[Any] = Held(
        dt_s=s[0],
        gyro_rad_s=(s[1], s[2], s[3]),
        accel_m_s2=(s[4], s[5], s[6]),
        accel_fresh=s[7],
        accel_age_s=s[10],
        flow_rate_rad_s=(s[13], s[14]),
        flow_quality=s[15],
        flow_fresh=s[8],
        flow_age_s=s[11],
        range_m=s[16],
        range_fresh=s[9],
        range_age_s=s[12],
        setpoint_velocity_m_s=goal.velocity_m_s,
        setpoint_height_m=goal.height_m,
        setpoint_yaw_rate_rad_s=goal.yaw_rate_rad_s,
    )
    if model.aim.sees is not None:
        return {"observation": (*assemble(held), *assemble_sight(s[SEEN_ROWS], s[SEEN_ROWS + 1]))}
    if not model.aim.locates:
        return {"observation": assemble(held)}
    place, point = s[SEEN_ROWS:], goal.point
    compass = turned(heading(ops, machine_of(a["body"])[0].attitude_wxyz), _compass_error(ops, a))
    position, velocity, fresh, age_s = tuple(place[:3]), tuple(place[3:6]), place[6], place[7]
    told = located(ops, position, velocity, age_s, fresh, point.position_m, point.velocity_m_s, compass)
    return {"observation": (*assemble(held), *assemble_position(told))}


def imu_equation(model: WorldModel, ops: Ops, a: Arrays) -> dict[str, Scalars]:
    """A sample of gyro (rad/s) and specific force (m/s^2)."""
    body, _ = machine_of(a["body"])
    noise = [n * named(a["constants"])["noise_scale"] for n in a["noise"]]
    force = specific_force(rotation_matrix(body.attitude_wxyz), tuple(a["acc"]))
    gyro, accel = read_imu(
        ops, model.sensors.imu, body.rates_rad_s, force, *biases_of(a["drift"]), (tuple(noise[:3]), tuple(noise[3:]))
    )
    return {"gyro": gyro, "accel": accel}


def flow_equation(model: WorldModel, ops: Ops, a: Arrays) -> dict[str, Scalars]:
    """Of a flow window that closes: rate and quality, and the mean gyro that compensates the rate."""
    body, _ = machine_of(a["body"])
    c, count, total, newest = named(a["constants"]), a["count"][0], a["gyro_sum"], a["gyro"]
    distance = slant_distance(ops, body.position_m[2], rotation_matrix(body.attitude_wxyz))
    window = ops.maximum(a["window"][0], 1e-6)
    mean = (a["integral"][0] / window, a["integral"][1] / window)
    quality = flow_quality(ops, model.sensors.flow, c["texture"], distance, mean)
    n = (a["noise"][0] * c["noise_scale"], a["noise"][1] * c["noise_scale"])
    x, y = read_flow(ops, model.sensors.flow, mean, quality, c["flow_scale"], n)
    samples = ops.maximum(count, 1.0)
    wx, wy = (ops.select(count, 0.5, total[i] / samples, newest[i]) for i in range(2))
    return {"reading": [x, y, quality], "turn": [wy, -wx]}


def range_equation(model: WorldModel, ops: Ops, a: Arrays) -> dict[str, Scalars]:
    """A distance (m), and whether anything comes back."""
    body, _ = machine_of(a["body"])
    distance = slant_distance(ops, body.position_m[2], rotation_matrix(body.attitude_wxyz))
    noise = a["noise"][0] * named(a["constants"])["noise_scale"]
    returns = range_returns(ops, model.sensors.range, distance)
    return {"sample": [read_range(model.sensors.range, distance, noise)], "returns": [returns]}


def place_equation(model: WorldModel, ops: Ops, a: Arrays) -> dict[str, Scalars]:
    """Place (m) and velocity (m/s) of a position sensor, in the world."""
    body, n = machine_of(a["body"])[0], a["noise"]
    bias, noise = named(a["constants"])["position_bias_m"], ((n[0], n[1], n[2]), (n[3], n[4], n[5]))
    measured = read_place(model.sensors.position, body.position_m, body.velocity_m_s, bias, noise)
    return {"sample": flatten(measured)}
