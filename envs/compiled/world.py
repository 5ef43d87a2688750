"""The world of the compiled rollout: every equation of one drone traced to C, with its derivative.

The loop in forward.c and backward.c owns clocks, delay lines and sensor windows; what a drone, a sensor,
the observation or the cost computes comes from here, and from nowhere else: a new term in `envs.physics`
is a change of Python alone. C names and the order of their arrays are those that the loop calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Final

from envs.airframe import Airframe
from envs.compiled.equation import Arrays, Equation, Scalars
from envs.compiled.sight import sight_equations, sight_macros
from envs.compiled.state import (
    ACTUATORS,
    BODY,
    BODY_ROWS,
    CLOCK_COUNT,
    CONSTANT_COUNT,
    CONSTANT_ROWS,
    CONSTANTS,
    DELAY_COUNT,
    DRIFT_ROWS,
    PLACE_ROWS,
    VALUE_COUNT,
)
from envs.compiled.tracer import flatten, unflatten
from envs.conditions import ACCEL_WALK_RATIO, HISTORY
from envs.fault_effects import LOAD_ROW, ONBOARD, Disturbance, disturbed, flow_spike, range_spike
from envs.forest import NEAR
from envs.physics import (
    Actuators,
    Body,
    FlightParams,
    accelerations,
    actuate,
    forces,
    held_level,
    integrate,
    lag_motors,
)
from envs.sensors import (
    DEFAULT_SENSORS,
    SensorModels,
    flow_quality,
    range_returns,
    read_flow,
    read_imu,
    read_place,
    read_range,
    slant_distance,
    specific_force,
    true_flow,
)
from envs.shapes import clearance_m, obstacles_of
from envs.task import SETPOINT_AIM, Aim, Goal, turn_of, turned
from envs.wind import gust_m_s, step_gusts
from liquid_pilot.command import CommandLimits, from_action
from liquid_pilot.geometry import heading, multiply, rotation_matrix, to_body
from liquid_pilot.observation import (
    INITIAL_AGE_S,
    OBS_DIM,
    POSITION_DIM,
    SIGHT_DIM,
    Held,
    assemble,
    assemble_position,
    assemble_sight,
    located,
)
from liquid_pilot.ops import Ops

MACHINE_ROWS: Final = BODY_ROWS + len(flatten(ACTUATORS))  # body and actuators
SEEN_ROWS: Final = 17  # what `observe` is given of IMU, flow and range, see `_observe`
SEEN_PLACE_ROWS: Final = PLACE_ROWS + 2  # and, behind it, of a position sensor
NORMAL_ROWS: Final = {"DRIFT": 0, "GYRO": 9, "FLOW": 15, "RANGE": 17, "PLACE": 18}  # of standard normal numbers
UNIFORM_ROWS: Final = ("FLOW_LOSS", "FLOW_JITTER", "RANGE_LOSS", "RANGE_JITTER", "PLACE_LOSS", "PLACE_JITTER")


def noise_rows(locates: bool) -> tuple[int, int]:
    """How many standard normal and uniform numbers a control step takes; those of a position sensor come last."""
    return (NORMAL_ROWS["PLACE"] + PLACE_ROWS, len(UNIFORM_ROWS)) if locates else (NORMAL_ROWS["PLACE"], 4)


@dataclass(frozen=True, slots=True)
class EventCost:
    """Cost of one event: `function(ops, weights, body, goal, action, previous)`; so many weights, set at run time.

    Where a forest is crossed, it is given two arguments more: the obstacles nearby (see `envs.forest.Plot.nearest`),
    and the body once more, in which it has no slope.
    """

    weights: int
    function: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class WorldModel:
    """What is compiled in; all else is set at run time.

    sensors: at first; a rollout compiles those of its conditions where they differ. motors: the four numbers of a
    command are motor speeds, fractions of full, which pass the rate loop by.
    """

    airframe: Airframe
    limits: CommandLimits
    cost: EventCost
    sensors: SensorModels = DEFAULT_SENSORS
    motors: bool = False
    aim: Aim = SETPOINT_AIM


def seen_rows(model: WorldModel) -> int:
    """How many numbers `observe` is given of the sensors."""
    return SEEN_ROWS + SEEN_PLACE_ROWS * model.aim.locates + SIGHT_DIM * (model.aim.sees is not None)


def named(constants: Scalars) -> dict[str, Any]:
    """The drawn values of a flight by name: a scalar, or a tuple of them."""
    return {
        name: constants[CONSTANTS[name].start] if width == 1 else tuple(constants[CONSTANTS[name]])
        for name, width in CONSTANT_ROWS
    }


def _machine(rows: Scalars) -> tuple[Body[Any], Actuators[Any]]:
    return unflatten(BODY, rows[:BODY_ROWS]), unflatten(ACTUATORS, rows[BODY_ROWS:])


def _biases(drift: Scalars) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    return tuple(drift[5:8]), tuple(drift[8:11])


def _goal(model: WorldModel, ops: Ops, a: Arrays) -> Goal[Any]:
    return model.aim.goal(ops, a["course"], a["since"][0], _machine(a["body"])[0])


def _compass_error(ops: Ops, a: Arrays) -> Any:
    return turn_of(ops, named(a["constants"])["heading_error_rad"])


def _told(model: WorldModel, ops: Ops, a: Arrays) -> Goal[Any]:
    """The goal as the network is told it: of a course, by a heading that is wrong."""
    if model.aim.sees is None:
        return _goal(model, ops, a)
    body, half = _machine(a["body"])[0], 0.5 * named(a["constants"])["heading_error_rad"]
    zero: Any = 0.0 * half
    attitude = multiply((ops.cos(half), zero, zero, ops.sin(half)), body.attitude_wxyz)
    wrong = Body(body.position_m, body.velocity_m_s, attitude, body.rates_rad_s)
    return model.aim.goal(ops, a["course"], a["since"][0], wrong)


def _observe(model: WorldModel, ops: Ops, a: Arrays) -> dict[str, Scalars]:
    """Where the goal is, and the heading, are taken as told: they have no gradient, only what is seen has."""
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
    compass = turned(heading(ops, _machine(a["body"])[0].attitude_wxyz), _compass_error(ops, a))
    position, velocity, fresh, age_s = tuple(place[:3]), tuple(place[3:6]), place[6], place[7]
    told = located(ops, position, velocity, age_s, fresh, point.position_m, point.velocity_m_s, compass)
    return {"observation": (*assemble(held), *assemble_position(told))}


def _drift(ops: Ops, a: Arrays) -> dict[str, Scalars]:
    """Gusts and bias walk, once a control step, and the wind that follows."""
    old, c, noise, dt = a["drift"], named(a["constants"]), a["noise"], a["dt"][0]
    u, v1, v2, w1, w2 = old[:5]
    gusts = step_gusts(ops, (u, v1, v2, w1, w2), dt, (noise[0], noise[1], noise[2]))
    walk = a["walk"][0] * ops.sqrt(dt)
    gyro, accel = _biases(old)
    biases = [b + walk * n for b, n in zip(gyro, noise[3:6], strict=True)]
    biases += [b + (ACCEL_WALK_RATIO * walk) * n for b, n in zip(accel, noise[6:9], strict=True)]
    gust, mean = gust_m_s(gusts, c["gust_m_s"]), c["wind_mean_m_s"]
    return {"drift": [*gusts, *biases], "wind": [m + g for m, g in zip(mean, gust, strict=True)]}


def _release(ops: Ops, a: Arrays) -> dict[str, Scalars]:
    """The hand lets go where `now` is 1: velocity and rates of the launch."""
    body, actuators = _machine(a["body"])
    c, now = named(a["constants"]), a["now"][0]

    def launched(old: Scalars, new: Scalars) -> Any:
        return tuple(ops.select(now, 0.5, n, o) for o, n in zip(old, new, strict=True))

    velocity = launched(body.velocity_m_s, c["launch_velocity_m_s"])
    rates = launched(body.rates_rad_s, c["launch_rates_rad_s"])
    return {"body": flatten((Body(body.position_m, velocity, body.attitude_wxyz, rates), actuators))}


def _measure(model: WorldModel, ops: Ops, a: Arrays) -> dict[str, Scalars]:
    """Height, cosine of the tilt, errors of horizontal speed and height, and more, as keep_score in forward.c reads it.

    The rest: whether errors count, whether it should be aloft, height over a standing drone's, speed, square of the
    distance from the goal's point; where there is a forest, clearance and progress in it.
    """
    body, goal = _machine(a["body"])[0], _goal(model, ops, a)
    point = goal.point
    matrix, v, want = rotation_matrix(body.attitude_wxyz), body.velocity_m_s, point.velocity_m_s
    ex, ey, dz = v[0] - want[0], v[1] - want[1], body.position_m[2] - point.position_m[2]
    off = sum((p - q) * (p - q) for p, q in zip(body.position_m, point.position_m, strict=True))
    z, upright, speed = body.position_m[2], matrix[2][2], ops.sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2])
    figures = [z, upright, ops.sqrt(ex * ex + ey * ey), ops.maximum(dz, -dz), goal.settled, goal.aloft]
    figures += [z - model.airframe.rest_height_m, speed, off]
    if model.aim.sees is not None:
        figures += [clearance_m(ops, obstacles_of(a["near"], NEAR), body.position_m), body.position_m[0]]
    return {"figures": figures}


def _params(constants: Scalars, gyro_bias_rad_s: Scalars) -> FlightParams[Any]:
    drawn, names = named(constants), {f.name for f in fields(FlightParams)} - {"gyro_bias_rad_s"}
    return FlightParams(**{name: drawn[name] for name in names}, gyro_bias_rad_s=tuple(gyro_bias_rad_s))


def _disturb(ops: Ops, a: Arrays) -> dict[str, Scalars]:
    """The constants of a flight as faults have changed its drone. share: of the rotors' thrust, of the load."""
    drawn, share = named(a["constants"]), a["share"]
    by = Disturbance((share[0], share[1], share[2], share[3]), share[LOAD_ROW], 0.0)
    params = disturbed(_params(a["constants"], drawn["gyro_bias_rad_s"]), by)
    return {"constants": flatten([getattr(params, name, drawn[name]) for name, _ in CONSTANT_ROWS])}


def _spike_of(a: Arrays) -> tuple[Any, Any]:
    return a["unit"][0], a["size"][0]


def _substep(model: WorldModel, ops: Ops, a: Arrays) -> dict[str, Scalars]:
    """Rate loop, motors, forces, rigid body over h, and the flow (rad) seen meanwhile."""
    body, actuators = _machine(a["body"])
    (h, h_moving), params = a["h_both"], _params(a["constants"], _biases(a["drift"])[0])
    if model.motors:
        speed = lag_motors(ops, params, actuators.motor_speed, tuple(a["command"]), h_moving)
        actuators = Actuators(speed, actuators.loop)
    else:
        command = (a["command"][0], tuple(a["command"][1:]))
        actuators = actuate(ops, model.airframe, params, actuators, command, body.rates_rad_s, h_moving)
    matrix = rotation_matrix(body.attitude_wxyz)
    force = forces(ops, model.airframe, params, body, matrix, actuators.motor_speed, tuple(a["wind"]))
    linear, angular = accelerations(model.airframe, params, body, matrix, force)
    if model.aim.feet:
        angular = held_level(ops, model.airframe, body, matrix, angular)
    body = integrate(ops, body, linear, angular, h_moving)
    matrix = rotation_matrix(body.attitude_wxyz)
    distance = slant_distance(ops, body.position_m[2], matrix)
    flow = true_flow(to_body(matrix, body.velocity_m_s), body.rates_rad_s, distance)
    return {"body": flatten((body, actuators)), "acc": linear, "flow": [flow[0] * h, flow[1] * h]}


def _imu(model: WorldModel, ops: Ops, a: Arrays) -> dict[str, Scalars]:
    body, _ = _machine(a["body"])
    noise = [n * named(a["constants"])["noise_scale"] for n in a["noise"]]
    force = specific_force(rotation_matrix(body.attitude_wxyz), tuple(a["acc"]))
    gyro, accel = read_imu(
        ops, model.sensors.imu, body.rates_rad_s, force, *_biases(a["drift"]), (tuple(noise[:3]), tuple(noise[3:]))
    )
    return {"gyro": gyro, "accel": accel}


def _flow(model: WorldModel, ops: Ops, a: Arrays) -> dict[str, Scalars]:
    """Of a flow window that closes: rate and quality, and the mean gyro that compensates the rate."""
    body, _ = _machine(a["body"])
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


def _range(model: WorldModel, ops: Ops, a: Arrays) -> dict[str, Scalars]:
    body, _ = _machine(a["body"])
    distance = slant_distance(ops, body.position_m[2], rotation_matrix(body.attitude_wxyz))
    noise = a["noise"][0] * named(a["constants"])["noise_scale"]
    returns = range_returns(ops, model.sensors.range, distance)
    return {"sample": [read_range(model.sensors.range, distance, noise)], "returns": [returns]}


def _place(model: WorldModel, ops: Ops, a: Arrays) -> dict[str, Scalars]:
    body, n = _machine(a["body"])[0], a["noise"]
    bias, noise = named(a["constants"])["position_bias_m"], ((n[0], n[1], n[2]), (n[3], n[4], n[5]))
    measured = read_place(model.sensors.position, body.position_m, body.velocity_m_s, bias, noise)
    return {"sample": flatten(measured)}


def _cost(model: WorldModel, ops: Ops, a: Arrays) -> dict[str, Scalars]:
    body, goal = _machine(a["body"])[0], _goal(model, ops, a)
    forest = () if model.aim.sees is None else (a["near"], _machine(a["still"])[0])
    return {"cost": [model.cost.function(ops, a["weights"], body, goal, a["action"], a["previous"], *forest)]}


def equations(model: WorldModel) -> list[Equation]:
    """All functions that the loop calls."""
    machine, constants = {"body": MACHINE_ROWS}, {"constants": CONSTANT_COUNT}
    aimed = {**machine, "course": model.aim.rows, "since": 1}

    def bound(function: Callable[[WorldModel, Ops, Arrays], dict[str, Scalars]]) -> Any:
        return lambda ops, arrays: function(model, ops, arrays)

    def command(ops: Ops, a: Arrays) -> dict[str, Scalars]:
        return {"command": flatten(from_action(model.limits, tuple(a["action"])))}

    substep_in = {**machine, "drift": DRIFT_ROWS, **constants, "command": 4, "wind": 3, "h_both": 2}
    imu_in = {**machine, "acc": 3, "drift": DRIFT_ROWS, **constants, "noise": 6}
    flow_in = {**machine, **constants, "integral": 2, "window": 1, "gyro_sum": 3, "count": 1, "gyro": 3, "noise": 2}
    near = {} if model.aim.sees is None else {"near": model.aim.sees.plot.near_rows}
    still = near and {"still": MACHINE_ROWS}
    cost_in = {**aimed, "weights": model.cost.weights, "action": 4, "previous": 4, **near, **still}
    observe_in = {"seen": seen_rows(model), **aimed, **constants}
    drift_in = {"drift": DRIFT_ROWS, **constants, "dt": 1, "noise": 9, "walk": 1}
    return [
        Equation("observe", observe_in, bound(_observe), ("seen",), ("observation",), ("seen",)),
        Equation("command_of", {"action": 4}, command, ("action",), ("command",)),
        Equation("drift", drift_in, _drift),
        Equation(
            "substep", substep_in, bound(_substep), ("body", "command"), ("body", "acc", "flow"), ("body", "command")
        ),
        Equation("imu_sample", imu_in, bound(_imu), ("body", "acc"), ("gyro", "accel"), ("acc",)),
        Equation("flow_sample", flow_in, bound(_flow), ("body", "integral", "gyro_sum", "gyro"), ("reading", "turn")),
        Equation("range_sample", {**machine, **constants, "noise": 1}, bound(_range), ("body",), ("sample",)),
        Equation("place_sample", {**machine, **constants, "noise": 6}, bound(_place), ("body",), ("sample",)),
        Equation("disturb", {**constants, "share": LOAD_ROW + 1}, _disturb),
        Equation("flow_spike", {"unit": 1, "size": 1}, lambda ops, a: {"wrong": flow_spike(ops, *_spike_of(a))}),
        Equation("range_spike", {"unit": 1, "size": 1}, lambda ops, a: {"wrong": [range_spike(ops, *_spike_of(a))]}),
        Equation("release", {**machine, **constants, "now": 1}, _release, ("body",), ("body",), ("body",)),
        Equation("event_cost", cost_in, bound(_cost), ("body", "action", "previous"), ("cost",), ("previous",)),
        Equation("measure", {**aimed, **near}, bound(_measure)),
        *([] if model.aim.sees is None else sight_equations(model.aim.sees, CONSTANT_COUNT, MACHINE_ROWS)),
    ]


def macros(model: WorldModel) -> str:
    """Sizes and places that the loop needs, as C text."""
    normals, uniforms = noise_rows(model.aim.locates)
    uniform_rows = {name: normals + row for row, name in enumerate(UNIFORM_ROWS)}
    sizes = {
        "BODY": MACHINE_ROWS,
        "CONSTANTS": CONSTANT_COUNT,
        "COURSE": model.aim.rows,
        "COST_WEIGHTS": model.cost.weights,
        "DRIFT": DRIFT_ROWS,
        "PLACE": PLACE_ROWS,
        "LOCATES": int(model.aim.locates),
        "SEEN": seen_rows(model),
        "OBS": OBS_DIM + POSITION_DIM * model.aim.locates + SIGHT_DIM * (model.aim.sees is not None),
        "SEES": int(model.aim.sees is not None),
        "NORMALS": normals,
        "NOISE": normals + uniforms,
        "HISTORY": HISTORY,
        "INITIAL_AGE_S": INITIAL_AGE_S,
        "AHEAD_S": ONBOARD.ahead_s,
        "LATE_S": ONBOARD.late_s,
        "STATE": VALUE_COUNT,
        "CLOCKS": CLOCK_COUNT,
        "DELAYS": DELAY_COUNT,
        **{f"N_{name}": row for name, row in (NORMAL_ROWS | uniform_rows).items()},
        **{f"AT_{name}": rows.start for name, rows in CONSTANTS.items()},
    }
    defines = "".join(f"#define LP_{name} {value}\n" for name, value in sizes.items())
    return defines + ("" if model.aim.sees is None else sight_macros(model.aim.sees))


def world_source(model: WorldModel) -> str:
    """C text of the world: sizes, functions and their derivatives."""
    return macros(model) + "\n".join(equation.emit() for equation in equations(model))
