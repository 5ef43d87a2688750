"""Statistics of durations in fixed memory."""

from __future__ import annotations

import math
from typing import Final

LOWEST_S: Final = 1e-6
PER_OCTAVE: Final = 16  # bins are 4.4 % wide
OCTAVES: Final = 24  # up to 16 s
_BINS: Final = PER_OCTAVE * OCTAVES


class Histogram:
    """Durations in bins of equal ratio; the largest is kept exactly."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """As new."""
        self._bins = [0] * _BINS
        self.count = 0
        self.largest_s = 0.0

    def add(self, duration_s: float) -> None:
        """One duration; what is shorter than 1 us counts as that."""
        self.count += 1
        if duration_s > self.largest_s:
            self.largest_s = duration_s
        octaves = 0.0 if duration_s <= LOWEST_S else math.log2(duration_s / LOWEST_S)
        self._bins[int(PER_OCTAVE * min(octaves, OCTAVES - 0.5 / PER_OCTAVE))] += 1

    def quantile_s(self, share: float) -> float:
        """Duration that this share of all stays below, to 5 %; NaN without any."""
        if self.count == 0:
            return math.nan
        wanted, seen = share * self.count, 0
        for place, count in enumerate(self._bins):
            seen += count
            if seen >= wanted and count:
                return min(LOWEST_S * math.pow(2.0, (place + 0.5) / PER_OCTAVE), self.largest_s)
        return self.largest_s
