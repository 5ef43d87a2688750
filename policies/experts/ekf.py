"""Error-state Kalman filter for a drone with gyro, accelerometer, downward flow and range: pure functions.

World ENU whose heading is the body's at the start (nothing measures north), body FLU, SI units. The 13 errors are, in
order: attitude (rad, in the body: R = R_estimated exp[e]), velocity (m/s, world), height (m), gyro bias (rad/s) and
accelerometer bias (m/s^2). Equations after Sola, "Quaternion kinematics for the error-state Kalman filter" (2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from envs.sensors import FlowModel, ImuModel, PositionModel, RangeModel
from liquid_pilot.errors import ConfigError
from liquid_pilot.geometry import multiply, rotate_by_rates, rotation_matrix
from liquid_pilot.messages import Floats2, Floats3
from liquid_pilot.observation import GRAVITY_M_S2, INITIAL_RANGE_M
from liquid_pilot.ops import FLOAT_OPS, Vec4

Array: TypeAlias = npt.NDArray[np.float64]

ERRORS: Final = 13
ATTITUDE: Final = slice(0, 3)
VELOCITY: Final = slice(3, 6)
HEIGHT: Final = 6
GYRO_BIAS: Final = slice(7, 10)
ACCEL_BIAS: Final = slice(10, 13)

GATE: Final = 6.0  # standard deviations; a measurement further off is a fault of the sensor
MANOEUVRE_S: Final = 0.2  # how long a guess of the thrust stays wrong in the same way
LEAST_UPRIGHT: Final = 0.2  # cosine of the tilt from which on the floor is not below any more
LEAST_HEIGHT_M: Final = 0.03
_IDENTITY: Final = np.eye(ERRORS)
_GRAVITY: Final = np.array([0.0, 0.0, GRAVITY_M_S2])
_IMU, _FLOW, _RANGE, _POSITION = ImuModel(), FlowModel(), RangeModel(), PositionModel()
_UNIFORM: Final = 1.0 / math.sqrt(3.0)  # standard deviation of a uniform draw within +-1


@dataclass(frozen=True, slots=True)
class EkfNoise:
    """Standard deviations of what the sensors do (per sample) and of what is not known at the start.

    Walks are per square root of a second. absent_accel_m_s2: of guessing that the thrust carries the weight, where the
    accelerometer says nothing. flow_scale: of the lens, twice what lenses differ by, since its error is in every
    sample alike and does not average out. launch_speed_m_s: of each component of a throw.
    """

    gyro_rad_s: float = _IMU.gyro_noise_rad_s
    accel_m_s2: float = _IMU.accel_noise_m_s2
    absent_accel_m_s2: float = 3.0
    flow_rad_s: float = _FLOW.noise_rad_s
    flow_scale: float = 0.10
    range_m: float = _RANGE.noise_m
    position_z_m: float = _POSITION.noise_z_m + _POSITION.bias_z_m
    position_velocity_m_s: float = _POSITION.noise_velocity_m_s
    gyro_walk_rad_s2: float = 0.001
    accel_walk_m_s3: float = 0.01
    gyro_bias_rad_s: float = 0.01 * _UNIFORM
    accel_bias_m_s2: float = 0.4 * _UNIFORM
    tilt_rad: float = 0.5
    heading_rad: float = 0.002  # levelling in small steps turns it by about the square of the tilt's error
    height_m: float = 1.0
    launch_speed_m_s: float = 0.5

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not 0.0 < value < math.inf:
                raise ConfigError(f"{name} is {value}; a standard deviation is positive and finite")


@dataclass(frozen=True, slots=True, eq=False)
class EkfState:
    """Estimate at t_s. covariance: (13, 13), of the errors in the order above."""

    t_s: float
    attitude_wxyz: Vec4[float]
    velocity_m_s: Array  # (3,) world
    height_m: float
    gyro_bias_rad_s: Array  # (3,)
    accel_bias_m_s2: Array  # (3,)
    covariance: Array


@dataclass(frozen=True, slots=True)
class Inertial:
    """What the IMU says about the period_s up to t_s, during which both are held. specific_force None: absent.

    Doubts: standard deviations, on top of the sensors' noise, of having seen the ends of the period alone.
    """

    t_s: float
    period_s: float
    rates_rad_s: Floats3
    specific_force_m_s2: Floats3 | None
    rates_doubt_rad_s: float = 0.0
    force_doubt_m_s2: float = 0.0


def at_rest(noise: EkfNoise, t_s: float, specific_force_m_s2: Floats3 | None) -> EkfState:
    """A drone that lies still, levelled by its first accelerometer sample (level if there is none)."""
    fx, fy, fz = specific_force_m_s2 or (0.0, 0.0, 1.0)
    # shortest turn that brings the measured up to the world's: by its angle about f x z
    angle, across = math.atan2(math.hypot(fx, fy), fz), max(math.hypot(fx, fy), 1e-12)
    attitude = rotate_by_rates(FLOAT_OPS, (1.0, 0.0, 0.0, 0.0), (fy / across, -fx / across, 0.0), angle)
    up = _matrix(attitude)[2]
    covariance = np.zeros((ERRORS, ERRORS))
    covariance[ATTITUDE, ATTITUDE] = noise.tilt_rad**2 * np.eye(3) + (
        noise.heading_rad**2 - noise.tilt_rad**2
    ) * np.outer(up, up)
    covariance[HEIGHT, HEIGHT] = noise.height_m**2
    covariance[GYRO_BIAS, GYRO_BIAS] = noise.gyro_bias_rad_s**2 * np.eye(3)
    covariance[ACCEL_BIAS, ACCEL_BIAS] = noise.accel_bias_m_s2**2 * np.eye(3)
    zero = np.zeros(3)
    return EkfState(t_s, attitude, zero, INITIAL_RANGE_M, zero, zero, covariance)


def rest(noise: EkfNoise, state: EkfState, inertial: Inertial) -> EkfState:
    """Up to the IMU sample without having moved: the gyro reads its bias, the accelerometer gravity and its bias."""
    state = replace(state, t_s=inertial.t_s, covariance=_walked(noise, state.covariance, inertial.t_s - state.t_s))
    jacobian = np.zeros((3, ERRORS))
    jacobian[:, GYRO_BIAS] = np.eye(3)
    state = update(state, inertial.rates_rad_s - state.gyro_bias_rad_s, jacobian, noise.gyro_rad_s**2)
    if inertial.specific_force_m_s2 is None:
        return state
    expected, jacobian = _expected_rest_force(state)
    return update(state, inertial.specific_force_m_s2 - expected, jacobian, noise.accel_m_s2**2)


def moves(noise: EkfNoise, state: EkfState, inertial: Inertial, margin: float = 1.5) -> bool:
    """Whether an IMU sample is none of a drone at rest, by 5 deviations of an IMU `margin` times as noisy."""
    turning = float(np.linalg.norm(inertial.rates_rad_s - state.gyro_bias_rad_s))
    if turning > 5.0 * margin * noise.gyro_rad_s + 3.0 * noise.gyro_bias_rad_s:
        return True
    if inertial.specific_force_m_s2 is None:
        return False
    off = float(np.linalg.norm(inertial.specific_force_m_s2 - _expected_rest_force(state)[0]))
    return off > 5.0 * margin * noise.accel_m_s2 + 3.0 * noise.accel_bias_m_s2


def let_go(noise: EkfNoise, state: EkfState) -> EkfState:
    """The same drone thrown with a speed that nobody knows."""
    covariance = state.covariance.copy()
    covariance[VELOCITY, VELOCITY] += noise.launch_speed_m_s**2 * np.eye(3)
    return replace(state, covariance=covariance)


def predict(noise: EkfNoise, state: EkfState, inertial: Inertial, t_s: float) -> EkfState:
    """The state at t_s, reached with the rates and specific force held. At or before the state's time: unchanged."""
    dt = t_s - state.t_s
    if dt <= 0.0:
        return state
    matrix = _matrix(state.attitude_wxyz)
    wx, wy, wz = np.subtract(inertial.rates_rad_s, state.gyro_bias_rad_s).tolist()
    absent = inertial.specific_force_m_s2 is None
    force = _GRAVITY if inertial.specific_force_m_s2 is None else inertial.specific_force_m_s2 - state.accel_bias_m_s2
    attitude = rotate_by_rates(FLOAT_OPS, state.attitude_wxyz, (wx, wy, wz), dt)
    middle = _matrix(rotate_by_rates(FLOAT_OPS, state.attitude_wxyz, (wx, wy, wz), 0.5 * dt))
    acceleration = middle @ force - _GRAVITY
    transition = _IDENTITY.copy()
    transition[ATTITUDE, ATTITUDE] = _matrix(attitude).T @ matrix
    transition[ATTITUDE, GYRO_BIAS] = -dt * np.eye(3)
    transition[VELOCITY, ATTITUDE] = -dt * (middle @ _cross(force))
    if not absent:
        transition[VELOCITY, ACCEL_BIAS] = -dt * middle
    transition[HEIGHT] += 0.5 * dt * transition[5]  # by the mean of the climb at both ends
    transition[HEIGHT, 5] = dt
    covariance = transition @ state.covariance @ transition.T
    sampled = inertial.period_s * dt  # noise is held as long as its sample
    accel = (noise.accel_m_s2**2 + inertial.force_doubt_m_s2**2) * sampled
    if absent:
        accel = noise.absent_accel_m_s2**2 * MANOEUVRE_S * dt
    covariance[range(3), range(3)] += (noise.gyro_rad_s**2 + inertial.rates_doubt_rad_s**2) * sampled
    covariance[range(3, 6), range(3, 6)] += accel
    return EkfState(
        t_s,
        attitude,
        state.velocity_m_s + acceleration * dt,
        state.height_m + float(state.velocity_m_s[2] + 0.5 * acceleration[2] * dt) * dt,
        state.gyro_bias_rad_s,
        state.accel_bias_m_s2,
        _walked(noise, covariance, dt),
    )


def fuse_flow(
    noise: EkfNoise, state: EkfState, rate_rad_s: Floats2, rates_rad_s: Floats3, quality: float, share: float
) -> EkfState:
    """Flow rate measured around the state's time, with the gyro's mean rates over its window.

    quality: 0 to 1. share: of an IMU period in the window, at most 1; the noise that is left of the gyro's.
    """
    matrix = _matrix(state.attitude_wxyz)
    upright = float(matrix[2, 2])
    if quality <= 0.0 or upright < LEAST_UPRIGHT:
        return state
    height = max(state.height_m, LEAST_HEIGHT_M)
    body, per_m = matrix.T @ state.velocity_m_s, upright / height
    wx, wy, _ = (w - float(b) for w, b in zip(rates_rad_s, state.gyro_bias_rad_s, strict=True))
    residual = np.array([rate_rad_s[0] + wy, rate_rad_s[1] - wx]) - body[:2] * per_m
    jacobian = np.zeros((2, ERRORS))
    jacobian[:, ATTITUDE] = per_m * _cross(body)[:2] + np.outer(body[:2], _upright_slope(matrix)) / height
    jacobian[:, VELOCITY] = per_m * matrix.T[:2]
    jacobian[:, HEIGHT] = -body[:2] * (per_m / height)
    jacobian[0, GYRO_BIAS.start + 1], jacobian[1, GYRO_BIAS.start] = 1.0, -1.0  # a bias too high counts as flow
    lens = noise.flow_scale * max(abs(rate_rad_s[0]), abs(rate_rad_s[1]))
    variance = (noise.flow_rad_s / max(quality, 0.2)) ** 2 + lens**2 + share * noise.gyro_rad_s**2
    return update(state, residual, jacobian, variance)


def fuse_range(noise: EkfNoise, state: EkfState, distance_m: float) -> EkfState:
    """Distance along body -z at the state's time, over a flat floor. NaN: no return, no news."""
    matrix = _matrix(state.attitude_wxyz)
    upright = float(matrix[2, 2])
    if not math.isfinite(distance_m) or upright < LEAST_UPRIGHT:
        return state
    jacobian = np.zeros((1, ERRORS))
    jacobian[0, ATTITUDE] = -state.height_m / upright**2 * _upright_slope(matrix)
    jacobian[0, HEIGHT] = 1.0 / upright
    return update(state, np.array([distance_m - state.height_m / upright]), jacobian, noise.range_m**2)


def fuse_motion(noise: EkfNoise, state: EkfState, height_m: float, velocity_m_s: tuple[float, ...]) -> EkfState:
    """Height and velocity as a position sensor measures them at the state's time.

    velocity_m_s: (3,) in the filter's axes, or (1,), the climb alone, where nobody knows how these lie in the world.
    """
    state = update(state, np.array([height_m - state.height_m]), _IDENTITY[[HEIGHT]], noise.position_z_m**2)
    axes = VELOCITY.stop - len(velocity_m_s)
    residual = np.array(velocity_m_s) - state.velocity_m_s[axes - VELOCITY.start :]
    return update(state, residual, _IDENTITY[axes : VELOCITY.stop], noise.position_velocity_m_s**2)


def update(state: EkfState, residual: Array, jacobian: Array, variance: float) -> EkfState:
    """Kalman update in Joseph's form. residual: (m,), jacobian: (m, 13), variance: of each. Beyond the gate: none."""
    p = state.covariance
    cross = p @ jacobian.T
    spread = jacobian @ cross + variance * np.eye(len(residual))
    inverse = np.linalg.inv(spread)
    if float(residual @ inverse @ residual) > GATE**2:
        return state
    gain = cross @ inverse
    error = gain @ residual
    left = _IDENTITY - gain @ jacobian
    covariance = left @ p @ left.T + variance * (gain @ gain.T)
    turn = _IDENTITY.copy()
    turn[ATTITUDE, ATTITUDE] -= 0.5 * _cross(error[ATTITUDE])  # errors are about the corrected attitude now
    covariance = turn @ covariance @ turn.T
    ex, ey, ez = error[ATTITUDE].tolist()
    return EkfState(
        state.t_s,
        _normalised(rotate_by_rates(FLOAT_OPS, state.attitude_wxyz, (ex, ey, ez), 1.0)),
        state.velocity_m_s + error[VELOCITY],
        state.height_m + float(error[HEIGHT]),
        state.gyro_bias_rad_s + error[GYRO_BIAS],
        state.accel_bias_m_s2 + error[ACCEL_BIAS],
        0.5 * (covariance + covariance.T),
    )


def error_of(state: EkfState, attitude_wxyz: Vec4[float], velocity_m_s: Array, height_m: float) -> Array:
    """The seven errors (attitude, velocity, height) of an estimate, (7,): what it would take to correct it."""
    w, x, y, z = state.attitude_wxyz
    dw, dx, dy, dz = multiply((w, -x, -y, -z), attitude_wxyz)
    turn = 2.0 * math.copysign(1.0, dw) * np.array([dx, dy, dz])  # small angles
    return np.concatenate([turn, velocity_m_s - state.velocity_m_s, [height_m - state.height_m]])


def _walked(noise: EkfNoise, covariance: Array, dt_s: float) -> Array:
    """The covariance after the biases have walked, symmetric to the last digit."""
    walked: Array = 0.5 * (covariance + covariance.T)
    walked[range(7, 10), range(7, 10)] += noise.gyro_walk_rad_s2**2 * dt_s
    walked[range(10, 13), range(10, 13)] += noise.accel_walk_m_s3**2 * dt_s
    return walked


def _expected_rest_force(state: EkfState) -> tuple[Array, Array]:
    """What the accelerometer reads at rest, (3,), and its slope in the errors, (3, 13)."""
    gravity = _matrix(state.attitude_wxyz).T @ _GRAVITY
    jacobian = np.zeros((3, ERRORS))
    jacobian[:, ATTITUDE] = _cross(gravity)
    jacobian[:, ACCEL_BIAS] = np.eye(3)
    return gravity + state.accel_bias_m_s2, jacobian


def _upright_slope(matrix: Array) -> Array:
    """Slope of the cosine of the tilt in the attitude error."""
    return np.array([-matrix[2, 1], matrix[2, 0], 0.0])


def _matrix(attitude_wxyz: Vec4[float]) -> Array:
    return np.array(rotation_matrix(attitude_wxyz))


def _cross(v: Array | Floats3) -> Array:
    """The matrix [v]x with [v]x u = v x u."""
    x, y, z = (float(c) for c in v)
    return np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])


def _normalised(q: Vec4[float]) -> Vec4[float]:
    norm = math.hypot(*q)
    w, x, y, z = (c / norm for c in q)
    return w, x, y, z
