"""Sensor equations, written once over `ops` scalars of one drone: what each part would read.

The schedulers (`sensor_events` for one drone, `batched_sensors` for many) decide when; these say what.
Noise arguments are standard normal numbers drawn by the caller.
Figures: common MEMS IMU with airframe vibration, PMW3901-like flow, VL53L1X-like range.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from liquid_pilot.geometry import Matrix3, to_body
from liquid_pilot.observation import GRAVITY_M_S2
from liquid_pilot.ops import Ops, S, Vec2, Vec3


@dataclass(frozen=True, slots=True)
class ImuModel:
    """Noise is per sample, vibration included; biases are drawn per flight and then walk."""

    gyro_noise_rad_s: float = 0.02
    accel_noise_m_s2: float = 0.3
    gyro_limit_rad_s: float = 34.9  # 2000 deg/s
    accel_limit_m_s2: float = 156.9  # 16 g


@dataclass(frozen=True, slots=True)
class FlowModel:
    """Downward flow: noise of the rate at full quality; blind below `near_m`, fading out to `far_m`."""

    noise_rad_s: float = 0.10
    limit_rad_s: float = 7.4
    near_m: float = 0.08
    far_m: float = 6.0


@dataclass(frozen=True, slots=True)
class RangeModel:
    """Time-of-flight range along body -z."""

    noise_m: float = 0.015
    near_m: float = 0.03
    far_m: float = 4.0


@dataclass(frozen=True, slots=True)
class PositionModel:
    """Place and velocity in the world. Noise from sample to sample, bias over a flight: one standard deviation."""

    noise_xy_m: float = 0.002
    noise_z_m: float = 0.002
    bias_xy_m: float = 0.001
    bias_z_m: float = 0.001
    noise_velocity_m_s: float = 0.02


@dataclass(frozen=True, slots=True)
class SensorModels:
    """What a drone senses with; `envs.parts` makes them of parts by name."""

    imu: ImuModel = ImuModel()
    flow: FlowModel = FlowModel()
    range: RangeModel = RangeModel()
    position: PositionModel = PositionModel()


DEFAULT_SENSORS: Final = SensorModels()


def specific_force(matrix: Matrix3[S], acceleration_m_s2: Vec3[S]) -> Vec3[S]:
    """What an ideal accelerometer reads in the body: R^T (a + g)."""
    a = acceleration_m_s2
    return to_body(matrix, (a[0], a[1], a[2] + GRAVITY_M_S2))


def read_imu(
    ops: Ops,
    model: ImuModel,
    rates_rad_s: Vec3[S],
    specific_force_m_s2: Vec3[S],
    gyro_bias_rad_s: Vec3[S],
    accel_bias_m_s2: Vec3[S],
    noise: tuple[Vec3[S], Vec3[S]],
) -> tuple[Vec3[S], Vec3[S]]:
    """(gyro_rad_s, accel_m_s2) with bias, noise and saturation. noise: three and three normal numbers."""
    gyro = [
        ops.clip(w + b + n * model.gyro_noise_rad_s, -model.gyro_limit_rad_s, model.gyro_limit_rad_s)
        for w, b, n in zip(rates_rad_s, gyro_bias_rad_s, noise[0], strict=True)
    ]
    accel = [
        ops.clip(f + b + n * model.accel_noise_m_s2, -model.accel_limit_m_s2, model.accel_limit_m_s2)
        for f, b, n in zip(specific_force_m_s2, accel_bias_m_s2, noise[1], strict=True)
    ]
    return (gyro[0], gyro[1], gyro[2]), (accel[0], accel[1], accel[2])


def slant_distance(ops: Ops, height_m: S, matrix: Matrix3[S]) -> S:
    """Distance along body -z to a flat floor; a drone past 85 degrees of tilt sees it no nearer than there."""
    down: Any = ops.maximum(matrix[2][2], 0.0872)
    distance: S = ops.maximum(height_m, 0.02) / down
    return distance


def true_flow(body_velocity_m_s: Vec3[S], rates_rad_s: Vec3[S], distance_m: S) -> Vec2[S]:
    """Flow rate of a point below (rad/s), rotation included: (v_x/d - w_y, v_y/d + w_x)."""
    v, w = body_velocity_m_s, rates_rad_s
    return v[0] / distance_m - w[1], v[1] / distance_m + w[0]


def flow_quality(ops: Ops, model: FlowModel, texture: S, distance_m: S, rate_rad_s: Vec2[S]) -> S:
    """Quality 0..1: falls with distance and poor texture; 0 when blind, too near or saturated."""
    fade: Any = distance_m * (1.0 / model.far_m)
    quality: Any = ops.clip(texture * (1.0 - fade * fade), 0.0, 1.0)
    quality = ops.select(distance_m, model.near_m, quality, 0.0 * quality)
    fastest = ops.maximum(ops.maximum(rate_rad_s[0], -rate_rad_s[0]), ops.maximum(rate_rad_s[1], -rate_rad_s[1]))
    chosen: S = ops.select(fastest, model.limit_rad_s, 0.0 * quality, quality)
    return chosen


def read_flow(ops: Ops, model: FlowModel, mean_rate_rad_s: Vec2[S], quality: S, scale: S, noise: Vec2[S]) -> Vec2[S]:
    """Measured mean flow rate (rad/s). Noise grows as quality falls; scale is the lens error (1 = none)."""
    spread: Any = model.noise_rad_s / ops.maximum(quality, 0.2)
    x, y = (
        ops.clip(rate * scale + n * spread, -model.limit_rad_s, model.limit_rad_s)
        for rate, n in zip(mean_rate_rad_s, noise, strict=True)
    )
    return x, y


def read_range(model: RangeModel, distance_m: S, noise: S) -> S:
    """Measured distance before the no-return rule (see `range_returns`)."""
    measured: S = distance_m + noise * model.noise_m
    return measured


def read_place(
    model: PositionModel, position_m: Vec3[S], velocity_m_s: Vec3[S], bias_m: Vec3[S], noise: tuple[Vec3[S], Vec3[S]]
) -> tuple[Vec3[S], Vec3[S]]:
    """Measured position (m) and velocity (m/s) in the world. noise: three and three normal numbers."""
    spread = (model.noise_xy_m, model.noise_xy_m, model.noise_z_m)
    x, y, z = (p + b + n * s for p, b, n, s in zip(position_m, bias_m, noise[0], spread, strict=True))
    vx, vy, vz = (v + n * model.noise_velocity_m_s for v, n in zip(velocity_m_s, noise[1], strict=True))
    return (x, y, z), (vx, vy, vz)


def range_returns(ops: Ops, model: RangeModel, distance_m: S) -> S:
    """1 where the range finder gets a return, 0 where it is too near or too far."""
    near: Any = ops.select(distance_m, model.near_m, 1.0, 0.0)
    returns: S = ops.select(distance_m, model.far_m, 0.0 * near, near)
    return returns
