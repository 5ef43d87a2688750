"""Draws whole flights: airframe, biases, wind, sensor timing, launch and set-point of each drone.

Both engines fly the same draw, so that flight i of a seed is the same flight in PyBullet and in the
batched world. Row i depends on the seed and i alone, not on how many flights are drawn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from envs.airframe import Airframe
from envs.conditions import Conditions, Span

Array: TypeAlias = npt.NDArray[np.float64]

COLUMNS: Final = 64  # uniform numbers set aside for each flight
RELEASE_THRUST: Final = 0.2  # share of full thrust that the motors give when the hand lets go


@dataclass(frozen=True, slots=True)
class Flights:
    """n drawn flights; every array has n rows. Vectors in ENU or body FLU as their use says."""

    mass_kg: Array  # (n,)
    inertia_kg_m2: Array  # (n, 3)
    rotor_thrust_max_n: Array  # (n, 4)
    yaw_scale: Array  # (n,)
    drag_scale: Array  # (n,)
    motor_tau_up_s: Array  # (n,)
    motor_tau_down_s: Array  # (n,)
    gyro_bias_rad_s: Array  # (n, 3)
    accel_bias_m_s2: Array  # (n, 3)
    noise_scale: Array  # (n,)
    texture: Array  # (n,)
    flow_scale: Array  # (n,)
    wind_mean_m_s: Array  # (n, 3) world
    gust_m_s: Array  # (n,) standard deviation
    imu_hz: Array  # (n,)
    flow_hz: Array  # (n,)
    range_hz: Array  # (n,)
    flow_phase: Array  # (n,) of the first period
    range_phase: Array  # (n,)
    flow_dropout: Array  # (n,)
    range_dropout: Array  # (n,)
    flow_latency_s: Array  # (n,)
    range_latency_s: Array  # (n,)
    command_latency_s: Array  # (n,)
    flow_outage_s: Array  # (n, 2) start and end after release
    range_outage_s: Array  # (n, 2)
    attitude_wxyz: Array  # (n, 4) in the hand
    height_m: Array  # (n,)
    launch_velocity_m_s: Array  # (n, 3) world
    launch_rates_rad_s: Array  # (n, 3) body
    setpoint_velocity_m_s: Array  # (n, 2) heading frame
    setpoint_height_m: Array  # (n,)
    setpoint_yaw_rate_rad_s: Array  # (n,)
    position_hz: Array  # (n,) 0 where there is no position sensor
    position_phase: Array  # (n,)
    position_dropout: Array  # (n,)
    position_latency_s: Array  # (n,)
    position_bias_m: Array  # (n, 3) world
    heading_error_rad: Array  # (n,) of the heading that is told beside the position

    def __len__(self) -> int:
        return int(self.mass_kg.shape[0])

    def rows(self, index: slice) -> Flights:
        """A part of the flights."""
        return Flights(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


class _Columns:
    """Hands out the uniform numbers of each flight, column by column."""

    def __init__(self, n: int, rng: np.random.Generator) -> None:
        self._table = rng.random((n, COLUMNS))
        self._next = 0

    def unit(self, width: int) -> Array:
        start, self._next = self._next, self._next + width
        return self._table[:, start : self._next]

    def span(self, span: Span, width: int = 1) -> Array:
        return span[0] + (span[1] - span[0]) * self.unit(width)

    def around(self, spread: float, width: int = 1) -> Array:
        return 1.0 + spread * (2.0 * self.unit(width) - 1.0)

    def one(self, span: Span) -> Array:
        return self.span(span)[:, 0]

    def log(self, span: Span) -> Array:
        low, high = math.log(span[0]), math.log(span[1])
        return np.asarray(np.exp(low + (high - low) * self.unit(1)[:, 0]))

    def normal_like(self, width: int) -> Array:
        """Uniform numbers with the mean and the deviation of a standard normal one."""
        return math.sqrt(3.0) * (2.0 * self.unit(width) - 1.0)

    def direction(self) -> Array:
        """Unit vectors, uniform on the sphere."""
        u = self.unit(2)
        z, azimuth = 2.0 * u[:, 0] - 1.0, 2.0 * math.pi * u[:, 1]
        r = np.sqrt(np.maximum(0.0, 1.0 - z * z))
        return np.stack([r * np.cos(azimuth), r * np.sin(azimuth), z], axis=1)


def _attitude(columns: _Columns, tilt_deg: Span) -> Array:
    """Tilt about a random horizontal axis, after a random heading."""
    tilt = np.deg2rad(columns.one(tilt_deg))
    azimuth, yaw = columns.one((0.0, 2.0 * math.pi)), columns.one((0.0, 2.0 * math.pi))
    c, s = np.cos(tilt / 2), np.sin(tilt / 2)
    tw, tx, ty = c, s * np.cos(azimuth), s * np.sin(azimuth)
    yw, yz = np.cos(yaw / 2), np.sin(yaw / 2)
    return np.stack([tw * yw, tx * yw + ty * yz, ty * yw - tx * yz, tw * yz], axis=1)


def _outage(columns: _Columns, conditions: Conditions, horizon_s: float) -> Array:
    u = columns.unit(3)
    length = conditions.outage_s[0] + (conditions.outage_s[1] - conditions.outage_s[0]) * u[:, 1]
    start = np.where(u[:, 0] < conditions.outage_chance, u[:, 2] * horizon_s, np.inf)
    return np.stack([start, start + length], axis=1)


def draw_flights(
    airframe: Airframe, conditions: Conditions, n: int, rng: np.random.Generator, horizon_s: float = 15.0
) -> Flights:
    """n flights under the conditions. horizon_s: random outages start within this after release."""
    c = _Columns(n, rng)
    spread = conditions.airframe_spread
    limit = airframe.rotor_thrust_max_n * c.around(spread) * c.around(conditions.rotor_spread, 4)
    wind_azimuth, wind_speed = c.one((0.0, 2.0 * math.pi)), c.one(conditions.wind_m_s)
    flow_hz, range_hz = c.log(conditions.flow_hz), c.log(conditions.range_hz)
    setpoint_azimuth, setpoint_speed = c.one((0.0, 2.0 * math.pi)), c.one(conditions.setpoint_speed_m_s)
    place, locates = conditions.sensors.position, conditions.locates
    bias_g, bias_a = conditions.gyro_bias_rad_s, conditions.accel_bias_m_s2
    return Flights(
        mass_kg=airframe.mass_kg * c.around(spread)[:, 0],
        inertia_kg_m2=np.asarray(airframe.inertia_kg_m2) * c.around(spread, 3),
        rotor_thrust_max_n=limit,
        yaw_scale=c.around(spread)[:, 0],
        drag_scale=c.around(spread)[:, 0],
        motor_tau_up_s=c.one(conditions.motor_tau_s),
        motor_tau_down_s=c.one(conditions.motor_tau_s),
        gyro_bias_rad_s=c.span((-bias_g, bias_g), 3),
        accel_bias_m_s2=c.span((-bias_a, bias_a), 3),
        noise_scale=c.one(conditions.noise_scale),
        texture=c.one(conditions.texture),
        flow_scale=c.around(conditions.flow_scale_spread)[:, 0],
        wind_mean_m_s=np.stack(
            [wind_speed * np.cos(wind_azimuth), wind_speed * np.sin(wind_azimuth), 0.0 * wind_speed], axis=1
        ),
        gust_m_s=c.one((0.0, conditions.gust_fraction * conditions.wind_m_s[1])),
        imu_hz=c.log(conditions.imu_hz),
        flow_hz=flow_hz,
        range_hz=range_hz,
        flow_phase=c.one((0.0, 1.0)),
        range_phase=c.one((0.0, 1.0)),
        flow_dropout=c.one(conditions.flow_dropout),
        range_dropout=c.one(conditions.range_dropout),
        flow_latency_s=np.minimum(c.one(conditions.flow_latency_s), 0.9 / flow_hz),
        range_latency_s=np.minimum(c.one(conditions.range_latency_s), 0.9 / range_hz),
        command_latency_s=c.one(conditions.command_latency_s),
        flow_outage_s=_outage(c, conditions, horizon_s),
        range_outage_s=_outage(c, conditions, horizon_s),
        attitude_wxyz=_attitude(c, conditions.tilt_deg),
        height_m=c.one(conditions.launch_height_m),
        launch_velocity_m_s=c.direction() * c.span(conditions.launch_speed_m_s),
        launch_rates_rad_s=c.direction() * c.span(conditions.launch_rate_rad_s),
        setpoint_velocity_m_s=np.stack(
            [setpoint_speed * np.cos(setpoint_azimuth), setpoint_speed * np.sin(setpoint_azimuth)], axis=1
        ),
        setpoint_height_m=c.one(conditions.setpoint_height_m),
        setpoint_yaw_rate_rad_s=c.one(conditions.setpoint_yaw_rate_rad_s),
        position_hz=(position_hz := c.log(conditions.position_hz if locates else (1.0, 1.0)) * locates),
        position_phase=c.one((0.0, 1.0)),
        position_dropout=c.one(conditions.position_dropout),
        position_latency_s=np.minimum(c.one(conditions.position_latency_s), 0.9 / np.maximum(position_hz, 1.0)),
        position_bias_m=c.normal_like(3) * (place.bias_xy_m, place.bias_xy_m, place.bias_z_m),
        heading_error_rad=c.one((-conditions.heading_error_rad, conditions.heading_error_rad)),
    )
