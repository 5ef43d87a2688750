"""A geometric controller that is told the true state: the upper row of the tables, and a teacher.

Velocity and height errors give a wanted acceleration, that a wanted thrust direction; the body is
turned towards it on the shortest way on the sphere (after Lee, Leok and McClamroch, "Geometric
tracking control of a quadrotor UAV on SE(3)", 2010), here down to body rates and collective thrust.
It knows the nominal airframe only; integral terms carry what differs. Along a path its velocity and
acceleration are fed forward.

`geometric_command` is the control law, written over `ops`: `GeometricController` flies one drone with it, on floats,
a teacher many, on arrays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np

from envs.physics import Body
from envs.references import ReferencePoint
from liquid_pilot.command import DEFAULT_LIMITS, CommandLimits
from liquid_pilot.geometry import Matrix3, rotation_matrix, to_body
from liquid_pilot.messages import Command, Setpoint
from liquid_pilot.observation import GRAVITY_M_S2
from liquid_pilot.ops import FloatOps, NumpyOps, Ops, S, Vec3
from policies.experts.following import setpoint_point


@dataclass(frozen=True, slots=True)
class GeometricGains:
    """Loop gains; the limits bound what is wanted, and the integral terms.

    sink_limit_m_s2 stays well under gravity: the wanted thrust must never point down.
    """

    position_per_s2: float = 2.0  # along a path only; with velocity_per_s a damping of 0.7
    velocity_per_s: float = 2.0
    velocity_integral_per_s2: float = 0.5
    velocity_integral_limit_m_s2: float = 2.0
    height_per_s2: float = 10.0
    climb_per_s: float = 7.0
    height_integral_per_s3: float = 12.0
    height_integral_limit_m_s2: float = 6.0
    climb_limit_m_s2: float = 12.0
    sink_limit_m_s2: float = 6.0
    tilt_limit_deg: float = 35.0
    attitude_per_s: float = 7.0


class AngleOps(Ops, Protocol):
    """`Ops`, and the angle of a vector; equations that need it are not traced."""

    def atan2(self, y: Any, x: Any, /) -> Any: ...  # noqa: D102


class _FloatAngles(FloatOps):
    atan2 = staticmethod(math.atan2)


class _NumpyAngles(NumpyOps):
    atan2 = staticmethod(np.arctan2)


FLOAT_ANGLES: Final[AngleOps] = _FloatAngles()
NUMPY_ANGLES: Final[AngleOps] = _NumpyAngles()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is followed, in world axes: how far ahead and how much faster it is, its acceleration; and a yaw rate."""

    ahead_m: Vec3[Any]
    faster_m_s: Vec3[Any]
    acceleration_m_s2: Vec3[Any]
    yaw_rate_rad_s: Any


def geometric_command(
    ops: AngleOps,
    gains: GeometricGains,
    limits: CommandLimits,
    matrix: Matrix3[S],
    wanted: Wanted,
    integral_m_s2: Vec3[S],
    dt_s: Any,
) -> tuple[tuple[S, Vec3[S]], Vec3[S]]:
    """((thrust_m_s2, rates_rad_s), integral_m_s2 after dt) of one drone, or of many. matrix: body -> world."""
    integral = _integrated(ops, gains, wanted, integral_m_s2, dt_s)
    ax, ay, az = _acceleration(ops, gains, wanted, integral)
    x, y, z = to_body(matrix, (ax, ay, GRAVITY_M_S2 + az))
    low, high = limits.thrust_m_s2
    # along the body's present axis: thrust that points elsewhere is not spent; never less than is
    # needed to keep authority over attitude
    thrust = ops.clip(z, max(low, 0.25 * GRAVITY_M_S2), high)
    across = _length(ops, x, y)
    gain = gains.attitude_per_s * ops.atan2(across, z) / ops.maximum(across, 1e-9)
    wx, wy, wz = limits.rates_rad_s
    yaw_rate = _within(ops, wanted.yaw_rate_rad_s, wz)
    return (thrust, (_within(ops, -y * gain, wx), _within(ops, x * gain, wy), yaw_rate)), integral


def _integrated(ops: Ops, g: GeometricGains, wanted: Wanted, old: Vec3[Any], dt_s: Any) -> Vec3[Any]:
    (_, _, up), (fx, fy, fz) = wanted.ahead_m, wanted.faster_m_s
    step = g.velocity_integral_per_s2 * dt_s
    ix = _within(ops, old[0] + _within(ops, fx, 0.5) * step, g.velocity_integral_limit_m_s2)
    iy = _within(ops, old[1] + _within(ops, fy, 0.5) * step, g.velocity_integral_limit_m_s2)
    slow = _within(ops, up + 0.4 * fz, 0.5)  # the error in a moment: less overshoot
    iz = _within(ops, old[2] + slow * g.height_integral_per_s3 * dt_s, g.height_integral_limit_m_s2)
    return ix, iy, iz


def _acceleration(ops: Ops, g: GeometricGains, wanted: Wanted, integral: Vec3[Any]) -> Vec3[Any]:
    """Wanted acceleration (world, gravity not included)."""
    ahead, faster, forward = wanted.ahead_m, wanted.faster_m_s, wanted.acceleration_m_s2
    ax, ay = (faster[i] * g.velocity_per_s + integral[i] + ahead[i] * g.position_per_s2 + forward[i] for i in (0, 1))
    az = ahead[2] * g.height_per_s2 + faster[2] * g.climb_per_s + integral[2] + forward[2]
    az = ops.clip(az, -g.sink_limit_m_s2, g.climb_limit_m_s2)
    reach = (GRAVITY_M_S2 + az) * math.tan(math.radians(g.tilt_limit_deg))
    scale = ops.minimum(1.0, reach / ops.maximum(_length(ops, ax, ay), 1e-9))
    return ax * scale, ay * scale, az


def _length(ops: Ops, x: Any, y: Any) -> Any:
    return ops.sqrt(x * x + y * y)


def _within(ops: Ops, value: Any, limit: float) -> Any:
    return ops.clip(value, -limit, limit)


class GeometricController:
    """One per flight; `reset` before the next. Feed it every IMU event after the release."""

    def __init__(self, gains: GeometricGains | None = None, limits: CommandLimits = DEFAULT_LIMITS) -> None:
        self.gains = gains or GeometricGains()
        self.limits = limits
        self.reset()

    def reset(self) -> None:
        """Forget the flight."""
        self._newest_s: float | None = None
        self._integral: Vec3[float] = (0.0, 0.0, 0.0)  # m/s^2, world

    @property
    def lag_s(self) -> float:
        """Mean delay of the attitude loop."""
        return 1.0 / self.gains.attitude_per_s

    def command(self, t_s: float, body: Body[float], setpoint: Setpoint) -> Command:
        """The command for the true state at t_s. Velocity set-points are in the heading frame."""
        point = setpoint_point(setpoint, body, rotation_matrix(body.attitude_wxyz))
        return self.track(t_s, body, point, setpoint.yaw_rate_rad_s)

    def track(
        self, t_s: float, body: Body[float], point: ReferencePoint[float], yaw_rate_rad_s: float = 0.0
    ) -> Command:
        """The command towards a point of a path, for the true state at t_s; its acceleration is fed forward."""
        dt = 0.0 if self._newest_s is None else max(0.0, t_s - self._newest_s)
        self._newest_s = t_s
        (px, py, pz), (x, y, z) = point.position_m, body.position_m
        (ux, uy, uz), (vx, vy, vz) = point.velocity_m_s, body.velocity_m_s
        wanted = Wanted((px - x, py - y, pz - z), (ux - vx, uy - vy, uz - vz), point.acceleration_m_s2, yaw_rate_rad_s)
        (thrust, rates), self._integral = geometric_command(
            FLOAT_ANGLES, self.gains, self.limits, rotation_matrix(body.attitude_wxyz), wanted, self._integral, dt
        )
        return Command(t_s, thrust, rates)
