"""The world of the compiled rollout: every equation of one drone traced to C, with its derivative.

The loop in forward.c and backward.c owns clocks, delay lines and sensor windows; what a drone, a sensor,
the observation or the cost computes comes from here, and from nowhere else: a new term in `envs.physics`
is a change of Python alone. C names and the order of their arrays are those that the loop calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from envs.compiled.equation import Arrays, Equation, Scalars
from envs.compiled.model import (
    MACHINE_ROWS,
    NORMAL_ROWS,
    UNIFORM_ROWS,
    WorldModel,
    biases_of,
    goal_of,
    machine_of,
    named,
    noise_rows,
    seen_rows,
)
from envs.compiled.sensing import flow_equation, imu_equation, observe_equation, place_equation, range_equation
from envs.compiled.sight import sight_equations, sight_macros
from envs.compiled.state import (
    CLOCK_COUNT,
    CONSTANT_COUNT,
    CONSTANT_ROWS,
    CONSTANTS,
    DELAY_COUNT,
    DRIFT_ROWS,
    PLACE_ROWS,
    VALUE_COUNT,
)
from envs.compiled.tracer import flatten
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
    slant_distance,
    true_flow,
)
from envs.shapes import clearance_m, obstacles_of
from envs.wind import gust_m_s, step_gusts
from liquid_pilot.command import from_action
from liquid_pilot.geometry import rotation_matrix, to_body
from liquid_pilot.observation import (
    INITIAL_AGE_S,
    OBS_DIM,
    POSITION_DIM,
    SIGHT_DIM,
)
from liquid_pilot.ops import Ops


def _drift(ops: Ops, a: Arrays) -> dict[str, Scalars]:
    """Gusts and bias walk, once a control step, and the wind that follows."""
    old, c, noise, dt = a["drift"], named(a["constants"]), a["noise"], a["dt"][0]
    u, v1, v2, w1, w2 = old[:5]
    gusts = step_gusts(ops, (u, v1, v2, w1, w2), dt, (noise[0], noise[1], noise[2]))
    walk = a["walk"][0] * ops.sqrt(dt)
    gyro, accel = biases_of(old)
    biases = [b + walk * n for b, n in zip(gyro, noise[3:6], strict=True)]
    biases += [b + (ACCEL_WALK_RATIO * walk) * n for b, n in zip(accel, noise[6:9], strict=True)]
    gust, mean = gust_m_s(gusts, c["gust_m_s"]), c["wind_mean_m_s"]
    return {"drift": [*gusts, *biases], "wind": [m + g for m, g in zip(mean, gust, strict=True)]}


def _release(ops: Ops, a: Arrays) -> dict[str, Scalars]:
    """The hand lets go where `now` is 1: velocity and rates of the launch."""
    body, actuators = machine_of(a["body"])
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
    body, goal = machine_of(a["body"])[0], goal_of(model, ops, a)
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
    body, actuators = machine_of(a["body"])
    (h, h_moving), params = a["h_both"], _params(a["constants"], biases_of(a["drift"])[0])
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


def _cost(model: WorldModel, ops: Ops, a: Arrays) -> dict[str, Scalars]:
    body, goal = machine_of(a["body"])[0], goal_of(model, ops, a)
    forest = () if model.aim.sees is None else (a["near"], machine_of(a["still"])[0])
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
        Equation("observe", observe_in, bound(observe_equation), ("seen",), ("observation",), ("seen",)),
        Equation("command_of", {"action": 4}, command, ("action",), ("command",)),
        Equation("drift", drift_in, _drift),
        Equation(
            "substep", substep_in, bound(_substep), ("body", "command"), ("body", "acc", "flow"), ("body", "command")
        ),
        Equation("imu_sample", imu_in, bound(imu_equation), ("body", "acc"), ("gyro", "accel"), ("acc",)),
        Equation(
            "flow_sample", flow_in, bound(flow_equation), ("body", "integral", "gyro_sum", "gyro"), ("reading", "turn")
        ),
        Equation("range_sample", {**machine, **constants, "noise": 1}, bound(range_equation), ("body",), ("sample",)),
        Equation("place_sample", {**machine, **constants, "noise": 6}, bound(place_equation), ("body",), ("sample",)),
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
