"""A geometric controller that is told the true state: the upper row of the tables, and a teacher.

Velocity and height errors give a wanted acceleration, that a wanted thrust direction; the body is
turned towards it on the shortest way on the sphere (after Lee, Leok and McClamroch, "Geometric
tracking control of a quadrotor UAV on SE(3)", 2010), here down to body rates and collective thrust.
It knows the nominal airframe only; integral terms carry what differs. Along a path its velocity and
acceleration are fed forward.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from envs.physics import Body
from envs.references import ReferencePoint
from liquid_pilot.command import DEFAULT_LIMITS, CommandLimits
from liquid_pilot.geometry import rotation_matrix, to_body
from liquid_pilot.messages import Command, Floats3, Setpoint
from liquid_pilot.observation import GRAVITY_M_S2
from policies.experts.following import setpoint_point, within


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
        ax, ay, az = self._acceleration(body, point, dt)
        wanted = to_body(rotation_matrix(body.attitude_wxyz), (ax, ay, GRAVITY_M_S2 + az))
        low, high = self.limits.thrust_m_s2
        # along the body's present axis: thrust that points elsewhere is not spent; never less than is
        # needed to keep authority over attitude
        thrust = min(max(wanted[2], low, 0.25 * GRAVITY_M_S2), high)
        return Command(t_s, thrust, self._rates(wanted, yaw_rate_rad_s))

    def _acceleration(self, body: Body[float], point: ReferencePoint[float], dt_s: float) -> Floats3:
        """Wanted acceleration (world, gravity not included)."""
        g, step = self.gains, self.gains.velocity_integral_per_s2 * dt_s
        ahead, faster = (
            tuple(wanted - found for wanted, found in zip(of_point, of_body, strict=True))
            for of_point, of_body in (
                (point.position_m, body.position_m),
                (point.velocity_m_s, body.velocity_m_s),
            )
        )
        ix, iy, iz = self._integral
        ix = within(ix + within(faster[0], 0.5) * step, g.velocity_integral_limit_m_s2)
        iy = within(iy + within(faster[1], 0.5) * step, g.velocity_integral_limit_m_s2)
        slow = within(ahead[2] + 0.4 * faster[2], 0.5)  # the error in a moment: less overshoot
        iz = within(iz + slow * g.height_integral_per_s3 * dt_s, g.height_integral_limit_m_s2)
        self._integral = (ix, iy, iz)
        ax, ay = (
            faster[i] * g.velocity_per_s + self._integral[i] + ahead[i] * g.position_per_s2 + point.acceleration_m_s2[i]
            for i in (0, 1)
        )
        az = ahead[2] * g.height_per_s2 + faster[2] * g.climb_per_s + iz + point.acceleration_m_s2[2]
        az = min(max(az, -g.sink_limit_m_s2), g.climb_limit_m_s2)
        reach = (GRAVITY_M_S2 + az) * math.tan(math.radians(g.tilt_limit_deg))
        scale = min(1.0, reach / max(math.hypot(ax, ay), 1e-9))
        return ax * scale, ay * scale, az

    def _rates(self, wanted: Floats3, yaw_rate_rad_s: float) -> Floats3:
        """Body rates that turn body z towards the wanted direction (body frame)."""
        x, y, z = wanted
        across = math.hypot(x, y)
        angle = math.atan2(across, z)
        gain = self.gains.attitude_per_s * angle / max(across, 1e-9)
        wx, wy, wz = self.limits.rates_rad_s
        return within(-y * gain, wx), within(x * gain, wy), within(yaw_rate_rad_s, wz)
