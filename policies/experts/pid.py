"""A cascaded PID: position, velocity, attitude, then body rates and collective thrust for the rate loop.

The conventional controller, in roll, pitch and yaw. No gain is tuned by hand: each loop sees an integrator behind a
lag, and gets the gains of Skogestad's rules for that ("Simple analytic rules for model reduction and PID controller
tuning", 2003). The loop outside it sees the closed loop as its lag. What the rate loop of the airframe lets through
so decides everything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from envs.airframe import Airframe
from envs.physics import Body
from envs.references import ReferencePoint
from liquid_pilot.command import DEFAULT_LIMITS, CommandLimits
from liquid_pilot.errors import ConfigError
from liquid_pilot.geometry import rotation_matrix
from liquid_pilot.messages import Command, Floats3, Setpoint
from liquid_pilot.observation import GRAVITY_M_S2
from policies.experts.following import setpoint_point, within

SPREAD: Final = 0.2  # how much heavier, or weaker, than its airframe file a drone may be
LATENCY_S: Final = 0.015  # of a command, mean
PERIOD_S: Final = 0.010  # between commands


@dataclass(frozen=True, slots=True)
class PidGains:
    """Gains of each loop and the bounds of what it may ask for; see `pid_gains`.

    Pairs are (horizontal, vertical).
    """

    position_per_s: tuple[float, float]
    velocity_per_s: tuple[float, float]
    integral_per_s2: tuple[float, float]
    integral_limit_m_s2: tuple[float, float]
    speed_limit_m_s: tuple[float, float]
    sink_limit_m_s2: float
    tilt_limit_rad: float
    attitude_per_s: float
    yaw_per_s: float


def pid_gains(
    airframe: Airframe,
    limits: CommandLimits = DEFAULT_LIMITS,
    period_s: float = PERIOD_S,
    latency_s: float = LATENCY_S,
) -> PidGains:
    """Gains for an airframe behind its rate loop, commanded every period_s with latency_s. Raises `ConfigError`.

    The tilt limit leaves a drone that is `SPREAD` heavier and weaker enough thrust to stay up, whatever
    `limits` allow; the other bounds follow from the accelerations that it leaves.
    """
    if not (0.0 < period_s < math.inf and 0.0 <= latency_s < math.inf):
        raise ConfigError(f"period_s is {period_s}, latency_s {latency_s}; give seconds, a period above 0")
    loop, wait = airframe.rate_loop, latency_s + 0.5 * period_s
    rate_lag = [wait + (1.0 + loop.kd[axis]) / loop.kp_per_s[axis] for axis in (0, 1, 2)]  # mean delay of the rate loop
    thrust_lag = wait + max(airframe.motor_tau_up_s, airframe.motor_tau_down_s)
    attitude, speed_lag = _loop(max(rate_lag[:2]))
    velocity_xy, position_lag = _loop(speed_lag)
    position_xy, _ = _loop(position_lag)
    velocity_z, climb_lag = _loop(thrust_lag)
    position_z, _ = _loop(climb_lag)
    weakest = min(limits.thrust_m_s2[1] / GRAVITY_M_S2, airframe.thrust_to_weight) * (1.0 - SPREAD) / (1.0 + SPREAD)
    if weakest <= 1.0:
        raise ConfigError(
            f"airframe {airframe.name!r} under a thrust of {limits.thrust_m_s2[1]:g} m/s^2 cannot stay up once it is "
            f"{SPREAD:.0%} heavier and weaker; give more thrust_to_weight or wider limits"
        )
    tilt = math.acos(1.0 / weakest)
    across, sink = GRAVITY_M_S2 * math.tan(tilt), 0.6 * GRAVITY_M_S2  # thrust must never point down
    return PidGains(
        position_per_s=(position_xy, position_z),
        velocity_per_s=(velocity_xy, velocity_z),
        integral_per_s2=(velocity_xy / (8.0 * speed_lag), velocity_z / (8.0 * thrust_lag)),
        integral_limit_m_s2=(0.25 * across, GRAVITY_M_S2 * ((1.0 + SPREAD) / (1.0 - SPREAD) - 1.0)),
        speed_limit_m_s=(across / velocity_xy, sink / velocity_z),
        sink_limit_m_s2=sink,
        tilt_limit_rad=tilt,
        attitude_per_s=attitude,
        yaw_per_s=_loop(rate_lag[2])[0],
    )


class PidController:
    """One per flight; `reset` before the next. Feed it every IMU event after the release.

    As an `Expert` it flies set-points; `track` follows a point of a path. The heading is held where it was at the
    first command, turned by the commanded yaw rate.
    """

    def __init__(self, gains: PidGains, limits: CommandLimits = DEFAULT_LIMITS) -> None:
        self.gains, self.limits = gains, limits
        self.reset()

    @property
    def lag_s(self) -> float:
        """Mean delay of the attitude loop."""
        return 1.0 / self.gains.attitude_per_s

    def reset(self) -> None:
        """Forget the flight."""
        self._newest_s: float | None = None
        self._integral_m_s2 = [0.0, 0.0, 0.0]
        self._heading_rad = 0.0

    def command(self, t_s: float, body: Body[float], setpoint: Setpoint) -> Command:
        """The command for the state at t_s. Velocity set-points are in the heading frame."""
        point = setpoint_point(setpoint, body, rotation_matrix(body.attitude_wxyz))
        return self.track(t_s, body, point, setpoint.yaw_rate_rad_s)

    def track(
        self, t_s: float, body: Body[float], point: ReferencePoint[float], yaw_rate_rad_s: float = 0.0
    ) -> Command:
        """The command towards a point of a path, for the state at t_s; its acceleration is fed forward."""
        g = self.gains
        roll, pitch, yaw = _euler(body.attitude_wxyz)
        dt = 0.0 if self._newest_s is None else max(0.0, t_s - self._newest_s)
        self._heading_rad = yaw if self._newest_s is None else self._heading_rad + yaw_rate_rad_s * dt
        self._newest_s = t_s
        ax, ay, az = self._acceleration(body, point, dt)
        c, s = math.cos(yaw), math.sin(yaw)
        forward, left, up = c * ax + s * ay, c * ay - s * ax, GRAVITY_M_S2 + az
        roll_rate = g.attitude_per_s * (math.atan2(-left, math.hypot(forward, up)) - roll)
        pitch_rate = g.attitude_per_s * (math.atan2(forward, up) - pitch)
        yaw_rate = yaw_rate_rad_s + g.yaw_per_s * math.remainder(self._heading_rad - yaw, 2.0 * math.pi)
        upright = math.cos(roll) * math.cos(pitch)
        low, high = self.limits.thrust_m_s2
        thrust = min(max(up / max(upright, math.cos(g.tilt_limit_rad)), low, 0.25 * GRAVITY_M_S2), high)
        return Command(t_s, thrust, self._body_rates(roll, pitch, (roll_rate, pitch_rate, yaw_rate)))

    def _acceleration(self, body: Body[float], point: ReferencePoint[float], dt_s: float) -> Floats3:
        """Wanted acceleration (world, gravity not included) of the position and velocity loops."""
        g, wanted = self.gains, [0.0, 0.0, 0.0]
        for i in range(3):
            kind = i // 2  # horizontal, horizontal, vertical
            ask = within(g.position_per_s[kind] * (point.position_m[i] - body.position_m[i]), g.speed_limit_m_s[kind])
            error = point.velocity_m_s[i] + ask - body.velocity_m_s[i]
            limit = g.integral_limit_m_s2[kind]
            self._integral_m_s2[i] = within(self._integral_m_s2[i] + error * g.integral_per_s2[kind] * dt_s, limit)
            wanted[i] = point.acceleration_m_s2[i] + error * g.velocity_per_s[kind] + self._integral_m_s2[i]
        ax, ay, az = wanted
        az = max(az, -g.sink_limit_m_s2)
        reach = (GRAVITY_M_S2 + az) * math.tan(g.tilt_limit_rad)
        share = min(1.0, reach / max(math.hypot(ax, ay), 1e-9))
        return ax * share, ay * share, az

    def _body_rates(self, roll: float, pitch: float, euler_rates: Floats3) -> Floats3:
        """Body rates (rad/s, within the limits) of roll, pitch and yaw rates, which turn about other axes."""
        (p, q, r), (wx, wy, wz) = euler_rates, self.limits.rates_rad_s
        s, c = math.sin(roll), math.cos(roll)
        level = math.cos(pitch) * r
        return within(p - math.sin(pitch) * r, wx), within(c * q + s * level, wy), within(c * level - s * q, wz)


def _euler(attitude_wxyz: tuple[float, float, float, float]) -> Floats3:
    """(roll, pitch, yaw) in rad of a body that was turned by yaw, then pitch, then roll."""
    (r00, _, _), (r10, _, _), (r20, r21, r22) = rotation_matrix(attitude_wxyz)
    return math.atan2(r21, r22), math.asin(within(-r20, 1.0)), math.atan2(r10, r00)


def _loop(lag_s: float) -> tuple[float, float]:
    """Gain of a loop around an integrator behind a lag, closed as fast as the lag; and its own lag from outside."""
    gain = 0.5 / lag_s
    return gain, 2.0 * lag_s
