"""How long the IMU has been silent, by the runtime's ticks."""

from __future__ import annotations


class TickWatch:
    """Ticks since the newest IMU sample."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """An IMU sample came."""
        self.blind_s: float | None = None  # first command without an IMU
        self._first_s: float | None = None  # earliest tick since the IMU
        self._told_s: float | None = None

    def age_s(self, now_s: float, imu_t_s: float) -> float:
        """Age of the IMU at a tick; by the ticks alone where the two clocks have come apart."""
        if self._first_s is None or now_s < self._first_s:
            self._first_s = now_s
        return max(now_s - imu_t_s, now_s - self._first_s)

    def blind_for_s(self, now_s: float) -> float:
        """Time since the first command without an IMU, which this may be."""
        if self.blind_s is None:
            self.blind_s = now_s
        return now_s - self.blind_s

    def to_log(self, now_s: float) -> list[float]:
        """Ticks that a replay needs, at one that acts: those before it did nothing but say which was the earliest."""
        first_s, told_s = self._first_s, self._told_s
        self._told_s = first_s
        return [t for t in (first_s,) if t is not None and t not in (told_s, now_s)] + [now_s]
