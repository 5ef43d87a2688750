"""Where a drone is, from the velocity of the Kalman filter and, where they come, from measured places."""

from __future__ import annotations

from collections import deque
from typing import Final

from liquid_pilot.messages import Floats3, Position

GAIN: Final = 0.4  # of a measured place; what is left of an error after n of them is 0.6^n
HISTORY_S: Final = 0.5  # the longest latency of a place


class PlaceObserver:
    """Integrates a velocity from the start at (0, 0) on and corrects it by places as old as their stamps say.

    All in the axes of the filter, whose x is the heading at the start. Without places it drifts.
    """

    def __init__(self) -> None:
        self._x = self._y = 0.0
        self._past: deque[tuple[float, float, float]] = deque()

    @property
    def place_m(self) -> tuple[float, float]:
        """Now."""
        return self._x, self._y

    def move(self, t_s: float, dt_s: float, velocity_m_s: Floats3) -> None:
        """Bring it to t_s."""
        self._x += velocity_m_s[0] * dt_s
        self._y += velocity_m_s[1] * dt_s
        self._past.append((t_s, self._x, self._y))
        while self._past[0][0] < t_s - HISTORY_S:
            self._past.popleft()

    def correct(self, position: Position) -> None:
        """Take in a measured place."""
        then = next((past for past in reversed(self._past) if past[0] <= position.t_s), None)
        if then is None:
            return
        dx, dy = (GAIN * (position.position_m[i] - then[i + 1]) for i in (0, 1))
        self._x, self._y = self._x + dx, self._y + dy
        self._past = deque((t, x + dx, y + dy) for t, x, y in self._past)
