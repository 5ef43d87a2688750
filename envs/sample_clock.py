"""When a slow sensor samples."""

from __future__ import annotations

from typing import Final

import numpy as np

EPS_S: Final = 1e-9


def around(spread: float, rng: np.random.Generator) -> float:
    """A factor, uniform in 1 - spread to 1 + spread; one number of rng.random, a quarter of the cost of rng.uniform."""
    return 1.0 + spread * (2.0 * rng.random() - 1.0)


class SampleClock:
    """When a slow sensor samples: a nominal period with jitter, from a random phase on."""

    def __init__(self, hz: float, phase: float, jitter: float) -> None:
        self._period_s = 1.0 / hz
        self._jitter = jitter
        self.start_s = 0.0
        self.next_s = phase * self._period_s

    def due(self, t_s: float) -> bool:
        """Whether the present window ends at t."""
        return t_s >= self.next_s - EPS_S

    def restart(self, t_s: float, rng: np.random.Generator) -> None:
        """Begin the next window at t."""
        period_s = self._period_s * around(self._jitter, rng)
        self.start_s = t_s
        self.next_s += period_s
        if self.next_s <= t_s:
            self.next_s = t_s + period_s
