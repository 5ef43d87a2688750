"""RAPTOR, a published recurrent policy that flies quadrotors of any size, as a rival that is told the true state.

Eschmann, Albani and Loianno, "RAPTOR: A Foundation Policy for Quadrotor Control" (2025); its 2,084 parameters come with
the package `foundation-policy`. It commands motors, 100 times a second, and finds out in flight what drone it flies.
Body and world axes are those of this project (FLU, z up), and so are the order and the spin of the rotors.
"""

from __future__ import annotations

import importlib
import math
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from envs.actions import motor_speeds
from envs.airframe import Airframe
from envs.physics import Body
from envs.references import Reference, ReferencePoint
from envs.task import turned
from liquid_pilot.errors import ConfigError, MissingExtraError
from liquid_pilot.geometry import heading, rotation_matrix
from liquid_pilot.messages import Floats3, Setpoint
from liquid_pilot.ops import FLOAT_OPS, Vec2, Vec4
from policies.experts.following import within

OBSERVED: Final = 22  # error of place, rotation, error of velocity, body rates, its previous action
PERIOD_S: Final = 0.010
PLACE_LIMIT_M: Final = 0.5  # of each component: it was trained to come back from so far away
SPEED_LIMIT_M_S: Final = 2.0
SPIN: Final = (-1, 1, -1, 1)


class RaptorPolicy(Protocol):
    """What the package gives."""

    def reset(self) -> None:
        """Forget the flight."""
        ...

    def evaluate_step(self, observation: npt.NDArray[np.float64], /) -> npt.NDArray[np.float64]:
        """Actions (B, 4), about -1 to 1, of observations (B, 22)."""
        ...


def load_raptor() -> RaptorPolicy:
    """The published policy, proved by the package's own example. Raises `MissingExtraError`."""
    try:
        package: Any = importlib.import_module("foundation_policy")
    except ImportError as error:
        raise MissingExtraError(
            f"RAPTOR's package foundation-policy cannot be imported ({error}); pip install 'liquid-pilot[rivals]'"
        ) from error
    policy: RaptorPolicy = package.Raptor()
    return policy


def check_spin(airframe: Airframe) -> None:
    """Raise `ConfigError` unless rotors turn as RAPTOR's do; their order is the same in every airframe."""
    if airframe.spin != SPIN:
        raise ConfigError(
            f"airframe {airframe.name!r} has spin {list(airframe.spin)}; RAPTOR flies {list(SPIN)} alone: "
            "mirrored, its yaw commands would do the opposite"
        )


def observe(
    body: Body[float], point: ReferencePoint[float], heading_rad: float, action: Vec4[float]
) -> npt.NDArray[np.float64]:
    """What RAPTOR sees, (22,): motion against the point, in axes whose x is the wanted heading.

    Place (m) and velocity (m/s) are those of the drone less those of the point, cut to what it was trained on; the
    rotation is body -> those axes, row by row; action is its previous one.
    """
    c, s = math.cos(heading_rad), math.sin(heading_rad)
    place = _difference(body.position_m, point.position_m, (c, s), PLACE_LIMIT_M)
    speed = _difference(body.velocity_m_s, point.velocity_m_s, (c, s), SPEED_LIMIT_M_S)
    x, y, z = rotation_matrix(body.attitude_wxyz)
    forward = [c * a + s * b for a, b in zip(x, y, strict=True)]
    left = [c * b - s * a for a, b in zip(x, y, strict=True)]
    return np.array([*place, *forward, *left, *z, *speed, *body.rates_rad_s, *action])


def _difference(a: Floats3, b: Floats3, ahead: Vec2[float], limit: float) -> Floats3:
    x, y = turned((a[0] - b[0], a[1] - b[1]), (ahead[0], -ahead[1]))
    return within(x, limit), within(y, limit), within(a[2] - b[2], limit)


class Raptor:
    """A `MotorExpert`, one per flight.

    It flies to a place: that of a reference, which begins wait_s after the first call, or else where the first call
    found it, moved on with the set-point's velocity, at the set-point's height. The heading is held where it was at the
    first call, turned by the commanded yaw rate. at_once: see `envs.pilots.MotorExpert`.
    """

    period_s = PERIOD_S

    def __init__(
        self,
        airframe: Airframe,
        reference: Reference | None = None,
        *,
        wait_s: float = 0.0,
        at_once: bool = True,
        policy: RaptorPolicy | None = None,
    ) -> None:
        check_spin(airframe)
        self.at_once = at_once
        self._policy = policy or load_raptor()
        self._policy.reset()
        self._reference, self._wait_s = reference, wait_s
        self._action: Vec4[float] = (0.0, 0.0, 0.0, 0.0)
        self._start_s: float | None = None
        self._place_m: Vec2[float] = (0.0, 0.0)
        self._heading_rad = 0.0

    def motors(self, t_s: float, body: Body[float], setpoint: Setpoint) -> Vec4[float]:
        """Speed of each motor, fractions of full."""
        if self._start_s is None:
            c, s = heading(FLOAT_OPS, body.attitude_wxyz)
            self._start_s, self._heading_rad = t_s + self._wait_s, math.atan2(s, c)
            self._place_m = (body.position_m[0], body.position_m[1])
        point = self._point(setpoint, body) if self._reference is None else self._reference(t_s - self._start_s)
        seen = observe(body, point, self._heading_rad, self._action)
        a, b, c, d = np.clip(self._policy.evaluate_step(seen[None])[0], -1.0, 1.0).tolist()
        self._heading_rad += setpoint.yaw_rate_rad_s * PERIOD_S
        self._action = (a, b, c, d)
        return motor_speeds(self._action)

    def _point(self, setpoint: Setpoint, body: Body[float]) -> ReferencePoint[float]:
        """Where the set-point has led so far."""
        vx, vy = turned(setpoint.velocity_m_s, heading(FLOAT_OPS, body.attitude_wxyz))
        x, y = self._place_m
        self._place_m = (x + vx * PERIOD_S, y + vy * PERIOD_S)
        return ReferencePoint((x, y, setpoint.height_m), (vx, vy, 0.0), (0.0, 0.0, 0.0))
