"""The quadrotor, written once over `ops` scalars of one drone.

World ENU, body FLU, quaternion wxyz body -> world. Both engines call `actuate` (rate loop, motor lag)
and `forces` (rotors, ground effect, drag, floor); the batched engine integrates the rigid body with
`integrate`, the PyBullet engine leaves that to PyBullet. Motor speeds are fractions of full speed.
Rotor and drag coefficients: Forster, "System Identification of the Crazyflie 2.0" (2015); ground
effect: Shi et al., "Neural Lander" (2019), both as used by the open cf2x model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Generic

from envs.airframe import Airframe
from liquid_pilot.geometry import Matrix3, rotate_by_rates, to_body, to_world
from liquid_pilot.observation import GRAVITY_M_S2
from liquid_pilot.ops import Ops, S, Vec3, Vec4
from liquid_pilot.rate_loop import RateLoopState, rate_loop

FLOOR_NATURAL_RAD_S: Final = 45.0  # stiffness per mass of the floor = this squared
FLOOR_DAMPING_PER_S: Final = 40.0
FLOOR_FRICTION_PER_S: Final = 10.0
FLOOR_SOFTNESS_M: Final = 0.004  # the contact fades in over this depth
FEET_NATURAL_RAD_S: Final = 15.0  # gentle, for gradients that go through many touches of stiff feet explode
FEET_DAMPING_PER_S: Final = 20.0
FEET_SOFTNESS_M: Final = 0.01
GROUND_EFFECT_FLOOR_M: Final = 0.0377  # rotors never act closer to the ground than this


@dataclass(frozen=True, slots=True)
class Body(Generic[S]):
    """Rigid body: position and velocity in the world, rates in the body."""

    position_m: Vec3[S]
    velocity_m_s: Vec3[S]
    attitude_wxyz: Vec4[S]
    rates_rad_s: Vec3[S]


@dataclass(frozen=True, slots=True)
class Actuators(Generic[S]):
    """Motor speeds (fraction of full) and the state of the rate loop."""

    motor_speed: Vec4[S]
    loop: RateLoopState[S]


@dataclass(frozen=True, slots=True)
class FlightParams(Generic[S]):
    """The airframe that really flies, drawn once a flight around the nominal one."""

    mass_kg: S
    inertia_kg_m2: Vec3[S]
    rotor_thrust_max_n: Vec4[S]
    yaw_scale: S
    drag_scale: S
    motor_tau_up_s: S
    motor_tau_down_s: S
    gyro_bias_rad_s: Vec3[S]


@dataclass(slots=True)  # not frozen, which takes four times as long to make: it lives for one step
class Forces(Generic[S]):
    """Everything that acts on the body but gravity.

    rotor_n: thrust of each rotor along body z; yaw_nm: their torque about body z;
    drag_n: air drag in the body; floor_n: contact force in the world.
    """

    rotor_n: Vec4[S]
    yaw_nm: S
    drag_n: Vec3[S]
    floor_n: Vec3[S]


def actuate(
    ops: Ops,
    airframe: Airframe,
    params: FlightParams[S],
    actuators: Actuators[S],
    command: tuple[S, Vec3[S]],
    rates_rad_s: Vec3[S],
    dt_s: S,
) -> Actuators[S]:
    """Rate loop on measured rates (true + gyro bias), then first-order motor lag, exact over dt."""
    bias = params.gyro_bias_rad_s
    measured: Vec3[Any] = (rates_rad_s[0] + bias[0], rates_rad_s[1] + bias[1], rates_rad_s[2] + bias[2])
    wanted, loop = rate_loop(ops, airframe.rate_loop, airframe.mixer, actuators.loop, command, measured, dt_s)
    return Actuators(lag_motors(ops, params, actuators.motor_speed, wanted, dt_s), loop)


def lag_motors(ops: Ops, params: FlightParams[S], speed: Vec4[S], wanted: Vec4[S], dt_s: S) -> Vec4[S]:
    """Motor speeds after dt of first-order lag towards the wanted speeds."""
    up: Any = 1.0 - ops.exp(-dt_s / params.motor_tau_up_s)
    down: Any = 1.0 - ops.exp(-dt_s / params.motor_tau_down_s)
    select, (a, b, c, d), (wa, wb, wc, wd) = ops.select, speed, wanted
    return (
        a + select(wa, a, up, down) * (wa - a),
        b + select(wb, b, up, down) * (wb - b),
        c + select(wc, c, up, down) * (wc - c),
        d + select(wd, d, up, down) * (wd - d),
    )


def forces(
    ops: Ops,
    airframe: Airframe,
    params: FlightParams[S],
    body: Body[S],
    matrix: Matrix3[S],
    motor_speed: Vec4[S],
    wind_m_s: Vec3[S],
) -> Forces[S]:
    """All forces but gravity at one instant. matrix: rotation of the body's attitude.

    Ground effect takes the height of the body's centre for all rotors. Drag is linear in air speed
    and in the sum of the rotor speeds.
    """
    height: Any = ops.maximum(body.position_m[2], GROUND_EFFECT_FLOOR_M)
    ratio: Any = (0.25 * airframe.propeller_radius_m) / height
    lift = 1.0 + airframe.ground_effect_coefficient * ratio * ratio
    (a, b, c, d), (la, lb, lc, ld) = motor_speed, params.rotor_thrust_max_n
    fa, fb, fc, fd = la * a * a * lift, lb * b * b * lift, lc * c * c * lift, ld * d * d * lift
    ya, yb, yc, yd = airframe.yaw_m
    v, wind = body.velocity_m_s, wind_m_s
    air = to_body(matrix, (v[0] - wind[0], v[1] - wind[1], v[2] - wind[2]))
    spin: Any = -params.drag_scale * ((a + b + c + d) * airframe.speed_max_rad_s)
    xy, z = spin * airframe.drag_coefficient_xy, spin * airframe.drag_coefficient_z
    return Forces(
        rotor_n=(fa, fb, fc, fd),
        yaw_nm=(fa * ya + fb * yb + fc * yc + fd * yd) * params.yaw_scale,
        drag_n=(air[0] * xy, air[1] * xy, air[2] * z),
        floor_n=floor_force(ops, airframe, params.mass_kg, body),
    )


def floor_force(ops: Ops, airframe: Airframe, mass_kg: S, body: Body[S]) -> Vec3[S]:
    """Smooth spring-damper floor with viscous friction; it pushes, never pulls."""
    depth: Any = ops.maximum(airframe.rest_height_m - body.position_m[2], 0.0)
    fade = depth / (depth + FLOOR_SOFTNESS_M)
    v = body.velocity_m_s
    spring = depth * (FLOOR_NATURAL_RAD_S * FLOOR_NATURAL_RAD_S) - v[2] * FLOOR_DAMPING_PER_S
    push: Any = ops.maximum(spring, 0.0) * (fade * mass_kg)
    grip: Any = fade * mass_kg * -FLOOR_FRICTION_PER_S
    return v[0] * grip, v[1] * grip, push


def held_level(ops: Ops, airframe: Airframe, body: Body[S], matrix: Matrix3[S], angular_rad_s2: Vec3[S]) -> Vec3[S]:
    """Angular acceleration on feet: the floor turns a drone that presses on it upright, and stops its turning.

    Without it a point touches the floor, and a drone may fall over where it stands, as one that learns will.
    """
    depth: Any = ops.maximum(airframe.rest_height_m - body.position_m[2], 0.0)
    fade = depth / (depth + FEET_SOFTNESS_M)
    (ux, uy, _), (p, q, r) = matrix[2], body.rates_rad_s
    stiff, (x, y, z) = FEET_NATURAL_RAD_S * FEET_NATURAL_RAD_S, angular_rad_s2
    return (
        x - fade * (stiff * uy + FEET_DAMPING_PER_S * p),
        y + fade * (stiff * ux - FEET_DAMPING_PER_S * q),
        z - fade * FEET_DAMPING_PER_S * r,
    )


def net_load(airframe: Airframe, force: Forces[S]) -> tuple[Vec3[S], Vec3[S]]:
    """Force but the floor's, and torque about the centre of mass, both in the body."""
    f0, f1, f2, f3 = force.rotor_n
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = airframe.rotor_xy_m
    drag = force.drag_n
    roll = f0 * y0 + f1 * y1 + f2 * y2 + f3 * y3
    pitch = -(f0 * x0 + f1 * x1 + f2 * x2 + f3 * x3)
    return (drag[0], drag[1], drag[2] + (f0 + f1 + f2 + f3)), (roll, pitch, force.yaw_nm)


def accelerations(
    airframe: Airframe,
    params: FlightParams[S],
    body: Body[S],
    matrix: Matrix3[S],
    force: Forces[S],
) -> tuple[Vec3[S], Vec3[S]]:
    """World acceleration (m/s^2, gravity included) and body angular acceleration (rad/s^2)."""
    force_n, (roll, pitch, yaw) = net_load(airframe, force)
    lift, floor = to_world(matrix, force_n), force.floor_n
    inverse: Any = 1.0 / params.mass_kg
    linear = (
        (lift[0] + floor[0]) * inverse,
        (lift[1] + floor[1]) * inverse,
        (lift[2] + floor[2]) * inverse - GRAVITY_M_S2,
    )
    jx, jy, jz = params.inertia_kg_m2
    wx, wy, wz = body.rates_rad_s
    angular = (
        (roll - (jz - jy) * wy * wz) / jx,
        (pitch - (jx - jz) * wz * wx) / jy,
        (yaw - (jy - jx) * wx * wy) / jz,
    )
    return linear, angular


def integrate(ops: Ops, body: Body[S], linear_m_s2: Vec3[S], angular_rad_s2: Vec3[S], dt_s: S) -> Body[S]:
    """Semi-implicit Euler, the order of PyBullet: velocities first, then poses with the new ones."""
    v, w, p = body.velocity_m_s, body.rates_rad_s, body.position_m
    velocity = (v[0] + linear_m_s2[0] * dt_s, v[1] + linear_m_s2[1] * dt_s, v[2] + linear_m_s2[2] * dt_s)
    rates = (
        w[0] + angular_rad_s2[0] * dt_s,
        w[1] + angular_rad_s2[1] * dt_s,
        w[2] + angular_rad_s2[2] * dt_s,
    )
    position = (p[0] + velocity[0] * dt_s, p[1] + velocity[1] * dt_s, p[2] + velocity[2] * dt_s)
    return Body(position, velocity, rotate_by_rates(ops, body.attitude_wxyz, rates, dt_s), rates)


def nominal_params(airframe: Airframe) -> FlightParams[float]:
    """Parameters of a flight without randomisation."""
    limit = airframe.rotor_thrust_max_n
    return FlightParams(
        mass_kg=airframe.mass_kg,
        inertia_kg_m2=airframe.inertia_kg_m2,
        rotor_thrust_max_n=(limit, limit, limit, limit),
        yaw_scale=1.0,
        drag_scale=1.0,
        motor_tau_up_s=airframe.motor_tau_up_s,
        motor_tau_down_s=airframe.motor_tau_down_s,
        gyro_bias_rad_s=(0.0, 0.0, 0.0),
    )
