"""What every expert is asked to follow: a set-point as a point of a path, and a whole path over time."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Protocol

from envs.airframe import Airframe
from envs.physics import Body
from envs.references import Reference, ReferencePoint
from liquid_pilot.errors import ConfigError
from liquid_pilot.geometry import Matrix3
from liquid_pilot.messages import Command, Floats3, Setpoint


class Tracker(Protocol):
    """A controller that follows a moving point. `lag_s`: how late it answers a wanted acceleration."""

    @property
    def lag_s(self) -> float:
        """Mean delay from a wanted acceleration to the drone's, without latencies of the commands."""
        ...

    def track(
        self, t_s: float, body: Body[float], point: ReferencePoint[float], yaw_rate_rad_s: float = 0.0
    ) -> Command:
        """The command towards the point, for the state at t_s."""
        ...


class Follower:
    """Flies a reference, which begins wait_s after the first command; an `Expert`.

    With feed_forward, the tracker is told the path's velocity, and its acceleration as far ahead as the tracker answers
    late, with what the air takes from the airframe on top; without, positions alone.
    """

    def __init__(
        self,
        tracker: Tracker,
        reference: Reference,
        airframe: Airframe,
        *,
        wait_s: float = 0.0,
        feed_forward: bool = True,
    ) -> None:
        if not 0.0 <= wait_s < math.inf:
            raise ConfigError(f"wait_s is {wait_s}; give seconds, 0 or more")
        self._tracker, self._reference = tracker, reference
        self._wait_s, self._feed_forward = wait_s, feed_forward
        self._drag_per_s = drag_per_s(airframe)
        self._start_s: float | None = None

    def command(self, t_s: float, body: Body[float], setpoint: Setpoint) -> Command:
        """The command at an IMU event; `setpoint` gives the yaw rate alone."""
        if self._start_s is None:
            self._start_s = t_s + self._wait_s
        point, rest = self._reference(t_s - self._start_s), (0.0, 0.0, 0.0)
        if self._feed_forward:
            ahead = self._reference(t_s - self._start_s + self._tracker.lag_s)
            ax, ay, az = (
                a + drag * v
                for a, v, drag in zip(ahead.acceleration_m_s2, ahead.velocity_m_s, self._drag_per_s, strict=True)
            )
            point = replace(point, acceleration_m_s2=(ax, ay, az))
        else:
            point = ReferencePoint(point.position_m, rest, rest)
        return self._tracker.track(t_s, body, point, setpoint.yaw_rate_rad_s)


def drag_per_s(airframe: Airframe) -> Floats3:
    """Air drag of the nominal airframe at hover thrust, per mass and speed along each axis of a level body."""
    air = 4.0 * airframe.speed_max_rad_s * airframe.hover_speed / airframe.mass_kg
    across = airframe.drag_coefficient_xy * air
    return across, across, airframe.drag_coefficient_z * air


def setpoint_point(setpoint: Setpoint, body: Body[float], matrix: Matrix3[float]) -> ReferencePoint[float]:
    """A set-point as the point that moves with the drone: no error across, velocity turned by the heading.

    matrix: rotation of the body's attitude. The velocity turns with the commanded yaw rate, which accelerates it.
    """
    x, y, _ = body.position_m
    across = (matrix[0][0] ** 2 + matrix[1][0] ** 2) ** 0.5
    c, s = (matrix[0][0] / across, matrix[1][0] / across) if across > 0.0 else (1.0, 0.0)
    (sx, sy), turn = setpoint.velocity_m_s, setpoint.yaw_rate_rad_s
    vx, vy = c * sx - s * sy, s * sx + c * sy
    return ReferencePoint((x, y, setpoint.height_m), (vx, vy, 0.0), (-turn * vy, turn * vx, 0.0))


def within(value: float, limit: float) -> float:
    """The value cut to +-limit."""
    return min(max(value, -limit), limit)
