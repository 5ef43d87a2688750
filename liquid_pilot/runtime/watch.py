"""What the runtime watches of each sensor: how often it speaks, how old its newest sample is, what it says at rest."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from liquid_pilot.messages import Floats3, Imu, Message, Range

ARRIVALS: Final = 128  # that a rate is taken over
SENSORS: Final = ("imu", "flow", "range", "position", "attitude")
REST_SAMPLES: Final = 200


@dataclass(frozen=True, slots=True)
class SensorState:
    """rate_hz: of the newest arrivals, 0 when it is silent. age_s: of the newest stamp, None before any."""

    rate_hz: float
    age_s: float | None
    count: int


class SensorWatch:
    """One sensor."""

    def __init__(self) -> None:
        self._arrivals: deque[float] = deque(maxlen=ARRIVALS)
        self._stamp_s: float | None = None
        self._count = 0

    def saw(self, stamp_s: float, now_s: float) -> None:
        """A message with this stamp arrived."""
        self._arrivals.append(now_s)
        self._stamp_s = stamp_s
        self._count += 1

    def state(self, now_s: float) -> SensorState:
        """How it is doing."""
        rate, arrivals = 0.0, self._arrivals
        if len(arrivals) > 1 and arrivals[-1] > arrivals[0]:
            rate = (len(arrivals) - 1) / (max(now_s - 0.5, arrivals[-1]) - arrivals[0])  # sinks once it is silent
        return SensorState(rate, None if self._stamp_s is None else now_s - self._stamp_s, self._count)


@dataclass(frozen=True, slots=True)
class Rest:
    """What the sensors said lately. Means of accelerometer (m/s^2) and gyro (rad/s), body FLU; largest gyro axis."""

    samples: int
    accel_m_s2: Floats3
    gyro_rad_s: Floats3
    largest_gyro_rad_s: float
    range_m: float  # newest return; NaN for none


class Watch:
    """All sensors of one drone, in fixed memory."""

    def __init__(self) -> None:
        self.sensors = {name: SensorWatch() for name in SENSORS}
        self._imus: deque[Imu] = deque(maxlen=REST_SAMPLES)
        self._return = (math.inf, -math.inf)  # newest return, and when
        self._range_m = math.nan  # newest return, NaN once there is none any more

    def saw(self, message: Message, now_s: float) -> None:
        """A message arrived."""
        name = type(message).__name__.lower()
        if name in self.sensors:
            self.sensors[name].saw(message.t_s, now_s)
        if isinstance(message, Imu):
            self._imus.append(message)
        elif isinstance(message, Range):
            if not math.isnan(message.distance_m):
                self._return = (message.distance_m, now_s)
                self._range_m = message.distance_m
            elif now_s - self._return[1] > 0.5:
                self._range_m = math.nan

    def last_return(self, now_s: float) -> tuple[float, float]:
        """(distance of the newest return in metres, seconds since then); infinite before any."""
        return self._return[0], now_s - self._return[1]

    def rest(self) -> Rest:
        """Means over the newest samples."""
        n = max(1, len(self._imus))
        gyros = [imu.gyro_rad_s for imu in self._imus]
        accels = [imu.accel_m_s2 for imu in self._imus if not math.isnan(imu.accel_m_s2[0])]
        m = max(1, len(accels))
        ax, ay, az = (sum(accel[axis] for accel in accels) / m for axis in range(3))
        gx, gy, gz = (sum(gyro[axis] for gyro in gyros) / n for axis in range(3))
        largest = max((abs(value) for gyro in gyros for value in gyro), default=0.0)
        return Rest(len(self._imus), (ax, ay, az), (gx, gy, gz), largest, self._range_m)
