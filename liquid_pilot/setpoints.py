"""The set-point that is in force: checked, limited, aged."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final, Generic, TypeVar

from liquid_pilot.errors import ConfigError, LiquidPilotError, MessageError
from liquid_pilot.messages import PositionSetpoint, Setpoint

AHEAD_S: Final = 1.0  # how far a set-point's stamp may be ahead of the IMU
WIDEST: Final = {"speed_m_s": 50.0, "height_m": (0.0, 1000.0), "yaw_rate_rad_s": 20.0}  # where a policy names none

T = TypeVar("T", Setpoint, PositionSetpoint)


class Holder(Generic[T]):
    """Newest accepted set-point of one kind. timeout_s None = it holds until it is replaced.

    limits: {"speed_m_s": x, "height_m": [low, high], "yaw_rate_rad_s": x}, as in a policy's bundle; a
    set-point outside is cut to them.
    """

    def __init__(self, limits: Mapping[str, Any], timeout_s: float | None) -> None:
        known = {**WIDEST, **{name: value for name, value in limits.items() if name in WIDEST}}
        try:
            self._speed, self._yaw = float(known["speed_m_s"]), float(known["yaw_rate_rad_s"])
            self._low, self._high = (float(value) for value in known["height_m"])
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"setpoint_limits are {dict(limits)!r} ({error}); give speed_m_s and yaw_rate_rad_s as numbers "
                "and height_m as [low, high]"
            ) from error
        try:
            usable = timeout_s is None or timeout_s > 0.0
        except TypeError:
            usable = False
        if not usable:
            raise ConfigError(f"setpoint_timeout_s is {timeout_s!r}; give seconds above 0, or None to hold for ever")
        self.timeout_s = timeout_s
        self.reset()

    def reset(self) -> None:
        """As before the first set-point."""
        self._given: T | None = None
        self._hover: T | None = None
        self._stamp_s = -math.inf

    @property
    def given(self) -> bool:
        """Whether there is one."""
        return self._given is not None

    def restart_clock(self, now_s: float) -> None:
        """The IMU's clock starts, or has changed: a set-point cannot come from its future."""
        self._stamp_s = min(self._stamp_s, now_s)

    def age_s(self, now_s: float) -> float | None:
        """Age of the set-point, None where there is none."""
        return max(now_s - self._stamp_s, 0.0) if self._given is not None else None

    def in_force(self, now_s: float) -> T | None:
        """What to fly; past the timeout: stay, velocity zero."""
        if self.timeout_s is not None and now_s - self._stamp_s > self.timeout_s:
            return self._hover
        return self._given

    def _fault(self, setpoint: T, values: Iterable[float], now_s: float | None) -> LiquidPilotError | None:
        """What is wrong with values that must be finite, or with the stamp. now_s: newest IMU stamp, None before."""
        name, t = type(setpoint).__name__, setpoint.t_s
        if not math.isfinite(t) or not all(map(math.isfinite, values)):
            return MessageError(f"{name} dropped: {setpoint} has a value that is not finite; give numbers")
        if t < self._stamp_s:
            return MessageError(f"{name} dropped: its time {t} s is before the newest, {self._stamp_s} s")
        if now_s is not None and t > now_s + AHEAD_S:
            return MessageError(f"{name} dropped: it is {t - now_s:.3f} s ahead of the IMU; at most {AHEAD_S:g} s")
        return None

    def _hold(self, cut: T, hover: T) -> None:
        """Take over a set-point, and what is flown once it has aged."""
        self._given, self._hover, self._stamp_s = cut, hover, cut.t_s


class SetpointHolder(Holder[Setpoint]):
    """Of a policy that flies velocities."""

    def accept(
        self, setpoint: Setpoint | PositionSetpoint, now_s: float | None
    ) -> tuple[LiquidPilotError | None, str | None]:
        """(why it was rejected, how it was cut), each None where not. now_s: newest IMU stamp, None before."""
        if not isinstance(setpoint, Setpoint):
            return MessageError("PositionSetpoint dropped: this policy flies velocities; feed Setpoint"), None
        vx, vy = setpoint.velocity_m_s
        height, yaw, t = setpoint.height_m, setpoint.yaw_rate_rad_s, setpoint.t_s
        error = self._fault(setpoint, (vx, vy, height, yaw), now_s)
        if error is not None:
            return error, None
        speed = math.hypot(vx, vy)
        if speed > self._speed:
            vx, vy = vx * (self._speed / speed), vy * (self._speed / speed)
        cut = Setpoint(t, (vx, vy), max(self._low, min(self._high, height)), max(-self._yaw, min(self._yaw, yaw)))
        self._hold(cut, Setpoint(t, (0.0, 0.0), cut.height_m, 0.0))
        return None, None if cut == setpoint else f"{setpoint} is outside the policy's limits; flying {cut}"
