"""The conventional rival on a path: the cascaded PID on what a Kalman filter makes of the drone's own sensors."""

from __future__ import annotations

import math
from dataclasses import replace

from envs.airframe import Airframe
from envs.physics import Body
from envs.references import Reference, ReferencePoint
from liquid_pilot.messages import Attitude, Command, Floats3, FlowGrid, Message, Position, PositionSetpoint, Setpoint
from liquid_pilot.observation import GRAVITY_M_S2
from policies.experts.ekf import EkfNoise
from policies.experts.estimator import Estimator
from policies.experts.following import Follower
from policies.experts.pid import PidController, pid_gains
from policies.experts.place import PlaceObserver

STILL = Setpoint(0.0, (0.0, 0.0), 1.0, 0.0)


def _turned(v: Floats3, c: float, s: float) -> Floats3:
    return c * v[0] - s * v[1], s * v[0] + c * v[1], v[2]


class EkfFollower:
    """A pilot, one per flight. From IMU, flow and range alone its place is reckoned from velocity; `Position` helps.

    heading_rad: of the drone at the start, as a compass tells once; it starts above the world's origin. The reference
    is in world axes and begins wait_s after the release.
    """

    def __init__(
        self, airframe: Airframe, reference: Reference, heading_rad: float, wait_s: float, noise: EkfNoise | None = None
    ) -> None:
        self._c, self._s = math.cos(heading_rad), math.sin(heading_rad)
        self._estimator = Estimator(noise, heading_rad)
        self._places = PlaceObserver()
        self._newest_s: float | None = None
        self._reference = reference
        self._follower = Follower(PidController(pid_gains(airframe)), self._seen, airframe, wait_s=wait_s)

    def _seen(self, t_s: float) -> ReferencePoint[float]:
        """The reference in the filter's axes."""
        point, c, s = self._reference(t_s), self._c, -self._s
        place, speed, force = (
            _turned(v, c, s) for v in (point.position_m, point.velocity_m_s, point.acceleration_m_s2)
        )
        return ReferencePoint(place, speed, force)

    def feed(self, message: Message) -> Command | None:
        """Take a message; an accepted IMU sample gives a command."""
        if isinstance(message, (Setpoint, PositionSetpoint, Attitude, FlowGrid)):  # its heading is told once
            return None
        new = self._estimator.feed(message)
        if isinstance(message, Position) and self._estimator.position is message:  # it was accepted
            self._places.correct(replace(message, position_m=_turned(message.position_m, self._c, -self._s)))
        if not new:
            return None
        body = self._estimator.body
        if body is None or self._estimator.release_s is None:
            self._newest_s = message.t_s
            return Command(message.t_s, GRAVITY_M_S2, (0.0, 0.0, 0.0))
        dt = message.t_s - (message.t_s if self._newest_s is None else self._newest_s)
        self._newest_s = message.t_s
        self._places.move(message.t_s, dt, body.velocity_m_s)
        x, y = self._places.place_m
        here = Body((x, y, body.position_m[2]), body.velocity_m_s, body.attitude_wxyz, body.rates_rad_s)
        return self._follower.command(message.t_s, here, STILL)

    def tick(self, now_s: float) -> Command | None:
        """Nothing: it knows nothing between IMU samples."""
        return None
