"""What faults make of the messages of one drone's sensors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TypeAlias, TypeVar

from envs.fault_effects import clock_ahead_s, flow_spike, range_spike, total_change
from envs.faults import Fault
from liquid_pilot.messages import Attitude, Floats3, Flow, FlowGrid, Imu, Position, Range
from liquid_pilot.ops import FLOAT_OPS

ABSENT: Final = (math.nan, math.nan, math.nan)
Sample: TypeAlias = Flow | Range | Position | Attitude | FlowGrid
Sensed: TypeAlias = Imu | Sample
AnyMessage = TypeVar("AnyMessage", bound=Sensed)


class FailingSensors:
    """Passes messages on as their sensors' faults leave them; remembers what a frozen part repeats.

    Messages come in with true stamps, times count from the release (negative infinity in the hand).
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        self._faults = tuple(faults)
        self._vectors: dict[str, Floats3] = {}  # newest that were sent
        self._sent: dict[str, Sample] = {}

    def imu(self, message: Imu, since_s: float) -> Imu | None:
        """The IMU sample, or None while it is off."""
        if not self._faults:
            return message
        if self._has("imu", "off", since_s):
            return None
        gyro = self._vector("gyro", message.gyro_rad_s, since_s)
        accel = self._vector("accel", message.accel_m_s2, since_s)
        return self._stamped(Imu(message.t_s, gyro, accel), since_s)

    def sample(self, name: str, message: Sample, since_s: float, unit: float) -> Sample | None:
        """A sample of the sensor `name`, or None while it is off. unit: uniform in 0..1, decides on spikes."""
        if not self._faults:
            return message
        if self._has(name, "off", since_s):
            return None
        if self._has(name, "nan", since_s):
            return self._stamped(_without_numbers(message), since_s)
        size = total_change(FLOAT_OPS, self._faults, name, ("spike",), since_s)
        message = _spiked(message, unit, float(size))
        if self._has(name, "freeze", since_s):
            message = replace(self._sent.get(name, message), t_s=message.t_s)
        if _says_something(message):
            self._sent[name] = message
        return self._stamped(message, since_s)

    def _vector(self, part: str, reading: Floats3, since_s: float) -> Floats3:
        """What the part of an IMU sends in place of its reading."""
        if self._has(part, "off", since_s):
            return ABSENT
        if self._has(part, "freeze", since_s):
            reading = self._vectors.get(part, reading)
        self._vectors[part] = reading
        return reading

    def _has(self, part: str, mode: str, since_s: float) -> bool:
        return any(f.part == part and f.mode == mode and f.start_s <= since_s < f.end_s for f in self._faults)

    def _stamped(self, message: AnyMessage, since_s: float) -> AnyMessage:
        return replace(message, t_s=message.t_s + clock_ahead_s(self._faults, since_s))


def _says_something(message: Sample) -> bool:
    if isinstance(message, Flow):
        return message.quality > 0.0
    return not isinstance(message, Range) or math.isfinite(message.distance_m)


def _without_numbers(message: Sample) -> Sample:
    if isinstance(message, Flow):
        return replace(message, flow_rad=(math.nan, math.nan))
    if isinstance(message, Position):
        return replace(message, position_m=ABSENT, velocity_m_s=ABSENT)
    return replace(message, distance_m=math.nan) if isinstance(message, Range) else message


def _spiked(message: Sample, unit: float, size: float) -> Sample:
    if isinstance(message, Flow):
        (x, y), (fx, fy) = flow_spike(FLOAT_OPS, unit, size), message.flow_rad
        return replace(message, flow_rad=(fx + x * message.dt_s, fy + y * message.dt_s))
    if isinstance(message, Position):
        (px, py, pz), (wrong, _) = message.position_m, flow_spike(FLOAT_OPS, unit, size)
        return replace(message, position_m=(px + wrong, py, pz))
    if isinstance(message, Range):
        return replace(message, distance_m=message.distance_m + range_spike(FLOAT_OPS, unit, size))
    return message
