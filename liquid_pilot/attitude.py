"""The autopilot's attitude, which comes rarely and late, carried on by the gyro."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

from liquid_pilot.geometry import heading, rotate_by_rates
from liquid_pilot.messages import Floats2, Floats4
from liquid_pilot.ops import FLOAT_OPS

LONGEST_S: Final = 1.0  # a sample's rates stand for no more than so long


class CarriedAttitude:
    """Newest attitude, and until when the gyro has carried it."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """As before the first one."""
        self._quaternion: Floats4 | None = None
        self._until_s = math.inf

    def forget_time(self) -> None:
        """Stamps of another clock come: it stays as it is until the next one."""
        self._until_s = math.inf

    def set(self, quaternion_wxyz: Floats4, t_s: float) -> None:
        """A new one, of unit length."""
        self._quaternion, self._until_s = quaternion_wxyz, t_s

    def heading(self, newest_first: Iterable[tuple[float, float, float, float]]) -> Floats2 | None:
        """Cosine and sine of the yaw at the newest gyro sample (t_s, x, y, z rad/s), None before the first attitude.

        The rates of a sample are those since the sample before it, or since the attitude where that is later.
        """
        if self._quaternion is None:
            return None
        later = []
        for sample in newest_first:
            if sample[0] <= self._until_s:
                break
            later.append(sample)
        for t, gx, gy, gz in reversed(later):
            step = min(t - self._until_s, LONGEST_S)
            self._quaternion = rotate_by_rates(FLOAT_OPS, self._quaternion, (gx, gy, gz), step)
            self._until_s = t
        return heading(FLOAT_OPS, self._quaternion)
