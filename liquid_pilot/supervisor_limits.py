"""When the supervisor acts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from liquid_pilot.errors import ConfigError, unknown_name


@dataclass(frozen=True, slots=True)
class SupervisorLimits:
    """When to act; infinity = never. A sensor that has not spoken at all is silent this long after the first IMU.

    imu_s, imu_periods: an IMU is silent after the longer of the two. flow_s, range_s count for a policy that flies by
    them, position_s, attitude_s for one that locates. One that sees flies by flow and range, and at speed zero while
    its flow grid is older than grid_s, or its attitude than attitude_s. tumble_s: tilt lasts this long = lost.
    height_m, radius_m, speed_m_s: no flight above, beyond or faster, for fence_s; the last two are only known where
    there are `Position` messages. setpoint_lost_s: after the set-point timeout the drone first holds its place, and
    after this much more it comes down. recover_s: how long a bad output or missed deadlines count. battery: share, 0
    to 1, below which it lands (0 = never), once that was so for battery_s: a burst of thrust makes it sag. link_s: how
    long the autopilot may be unheard before the flight is over; longer than the autopilot's own limit (PX4: 1 s).
    """

    imu_s: float = 0.1
    imu_periods: float = 4.0
    flow_s: float = 2.0
    range_s: float = 2.0
    position_s: float = 1.0
    attitude_s: float = 2.0
    grid_s: float = 0.5
    rejected_in_a_row: int = 20
    tilt_rad: float = math.radians(75.0)
    tilt_s: float = 0.3
    tumble_s: float = 1.5
    height_m: float = 8.0
    radius_m: float = 100.0
    speed_m_s: float = 10.0
    fence_s: float = 0.5
    landed_m: float = 0.10
    landed_s: float = 0.5
    setpoint_lost_s: float = 2.0
    deadlines: int = 5
    recover_s: float = 0.5
    battery: float = 0.15
    battery_s: float = 2.0
    link_s: float = 5.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            number = not isinstance(value, bool) and isinstance(value, (int, float))
            if name == "battery":
                if not number or not 0.0 <= value < 1.0:
                    raise ConfigError(f"supervisor limit battery is {value!r}; it must be 0 (never) to below 1 (full)")
            elif not number or not value > 0.0:
                raise ConfigError(f"supervisor limit {name} is {value!r}; it must be a number above 0")
        if not isinstance(self.deadlines, int) or self.deadlines > 10_000:
            raise ConfigError(f"supervisor limit deadlines is {self.deadlines!r}; it must be a whole number to 10000")


def limits_of_sensors(sensor_limits_s: Mapping[str, Any]) -> SupervisorLimits:
    """Limits with the silences that a policy's bundle names, in seconds, of the sensors that it flies by."""
    known = {sensor: f"{sensor}_s" for sensor in ("imu", "flow", "range", "position", "attitude", "grid")}
    chosen: dict[str, Any] = {}
    for sensor, limit_s in sensor_limits_s.items():
        if sensor not in known:
            raise ConfigError(unknown_name("sensor in sensor_limits_s", sensor, list(known)))
        if isinstance(limit_s, bool) or not isinstance(limit_s, (int, float)):
            raise ConfigError(f"sensor_limits_s of {sensor} is {limit_s!r}; give seconds above 0")
        chosen[known[sensor]] = float(limit_s)
    return SupervisorLimits(**chosen)
