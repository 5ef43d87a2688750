"""What a bad link does to frames: loses, doubles, delays and so reorders them."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from liquid_pilot.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ChannelFaults:
    """loss, duplicates: shares of frames. jitter_s: each is late by a uniform draw up to this."""

    loss: float = 0.0
    duplicates: float = 0.0
    jitter_s: float = 0.0

    def __post_init__(self) -> None:
        for name, highest in (("loss", 1.0), ("duplicates", 1.0), ("jitter_s", 1.0)):
            if not 0.0 <= getattr(self, name) <= highest:
                raise ConfigError(f"{name} is {getattr(self, name)}; give a number from 0 to {highest:g}")


class Channel:
    """One direction of a link, in the time of who calls it."""

    def __init__(self, faults: ChannelFaults, rng: np.random.Generator) -> None:
        self.faults = faults
        self._rng = rng
        self._sent = 0
        self._under_way: list[tuple[float, int, bytes]] = []

    def send(self, data: bytes, t_s: float) -> None:
        """A frame goes in."""
        faults = self.faults
        if faults.loss and self._rng.random() < faults.loss:
            return
        copies = 2 if faults.duplicates and self._rng.random() < faults.duplicates else 1
        for _ in range(copies):
            late_s = faults.jitter_s * self._rng.random() if faults.jitter_s else 0.0
            self._sent += 1
            heapq.heappush(self._under_way, (t_s + late_s, self._sent, data))

    def due(self, t_s: float) -> list[bytes]:
        """Frames that come out by now."""
        out = []
        while self._under_way and self._under_way[0][0] <= t_s:
            out.append(heapq.heappop(self._under_way)[2])
        return out

    @property
    def next_s(self) -> float | None:
        """When the next one comes out."""
        return self._under_way[0][0] if self._under_way else None
