"""A geometric controller that is told the true state: the upper row of the tables, and a teacher.

Velocity and height errors give a wanted acceleration, that a wanted thrust direction; the body is
turned towards it on the shortest way on the sphere (after Lee, Leok and McClamroch, "Geometric
tracking control of a quadrotor UAV on SE(3)", 2010), here down to body rates and collective thrust.
It knows the nominal airframe only; integral terms carry what differs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from envs.physics import Body
from liquid_pilot.command import DEFAULT_LIMITS, CommandLimits
from liquid_pilot.geometry import rotation_matrix, to_body
from liquid_pilot.messages import Command, Setpoint
from liquid_pilot.observation import GRAVITY_M_S2


@dataclass(frozen=True, slots=True)
class GeometricGains:
    """Loop gains; the limits bound what is wanted, and the integral terms.

    sink_limit_m_s2 stays well under gravity: the wanted thrust must never point down.
    """

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


class GeometricController:
    """One per flight; `reset` before the next. Feed it every IMU event after the release."""

    def __init__(self, gains: GeometricGains | None = None, limits: CommandLimits = DEFAULT_LIMITS) -> None:
        self.gains = gains or GeometricGains()
        self.limits = limits
        self.reset()

    def reset(self) -> None:
        """Forget the flight."""
        self._newest_s: float | None = None
        self._integral = (0.0, 0.0, 0.0)  # m/s^2, world

    def command(self, t_s: float, body: Body[float], setpoint: Setpoint) -> Command:
        """The command for the true state at t_s. Velocity set-points are in the heading frame."""
        dt = 0.0 if self._newest_s is None else max(0.0, t_s - self._newest_s)
        self._newest_s = t_s
        matrix = rotation_matrix(body.attitude_wxyz)
        yaw = math.atan2(matrix[1][0], matrix[0][0])
        c, s = math.cos(yaw), math.sin(yaw)
        sx, sy = setpoint.velocity_m_s
        vx, vy, turn = c * sx - s * sy, s * sx + c * sy, setpoint.yaw_rate_rad_s
        error = (vx - body.velocity_m_s[0], vy - body.velocity_m_s[1])
        ax, ay, az = self._acceleration(error, setpoint.height_m - body.position_m[2], body.velocity_m_s[2], dt)
        up = (ax - turn * vy, ay + turn * vx, GRAVITY_M_S2 + az)  # the set-point turns with the heading
        wanted = to_body(matrix, up)
        low, high = self.limits.thrust_m_s2
        # along the body's present axis: thrust that points elsewhere is not spent; never less than is
        # needed to keep authority over attitude
        thrust = min(max(wanted[2], low, 0.25 * GRAVITY_M_S2), high)
        return Command(t_s, thrust, self._rates(wanted, setpoint.yaw_rate_rad_s))

    def _acceleration(
        self, velocity_error: tuple[float, float], height_error: float, climb_m_s: float, dt_s: float
    ) -> tuple[float, float, float]:
        """Wanted acceleration (world, gravity not included)."""
        g = self.gains
        ix, iy, iz = self._integral
        xy_limit, z_limit = g.velocity_integral_limit_m_s2, g.height_integral_limit_m_s2
        step = g.velocity_integral_per_s2 * dt_s
        ix = _within(ix + _within(velocity_error[0], 0.5) * step, xy_limit)
        iy = _within(iy + _within(velocity_error[1], 0.5) * step, xy_limit)
        slow = _within(height_error - 0.4 * climb_m_s, 0.5)  # the error in a moment: less overshoot
        iz = _within(iz + slow * g.height_integral_per_s3 * dt_s, z_limit)
        self._integral = (ix, iy, iz)
        ax, ay = velocity_error[0] * g.velocity_per_s + ix, velocity_error[1] * g.velocity_per_s + iy
        az = height_error * g.height_per_s2 - climb_m_s * g.climb_per_s + iz
        az = min(max(az, -g.sink_limit_m_s2), g.climb_limit_m_s2)
        reach = (GRAVITY_M_S2 + az) * math.tan(math.radians(g.tilt_limit_deg))
        scale = min(1.0, reach / max(math.hypot(ax, ay), 1e-9))
        return ax * scale, ay * scale, az

    def _rates(self, wanted: tuple[float, float, float], yaw_rate_rad_s: float) -> tuple[float, float, float]:
        """Body rates that turn body z towards the wanted direction (body frame)."""
        x, y, z = wanted
        across = math.hypot(x, y)
        angle = math.atan2(across, z)
        gain = self.gains.attitude_per_s * angle / max(across, 1e-9)
        wx, wy, wz = self.limits.rates_rad_s
        return _within(-y * gain, wx), _within(x * gain, wy), _within(yaw_rate_rad_s, wz)


def _within(value: float, limit: float) -> float:
    return min(max(value, -limit), limit)
