"""Autopilot and companion in simulated time, in one process: the same bytes as over a socket, and no clock to race.

The companion's clock starts elsewhere than the autopilot's, as in life. Frames take the channel's delays; what was
under way for less than an IMU period arrives with the next event.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from envs.autopilot.autopilot import Autopilot
from envs.autopilot.channel import Channel, ChannelFaults
from envs.autopilot.flight_record import FlightRecord
from liquid_pilot.links.transport import Memory

COMPANION_S: Final = 1000.0  # its clock when the simulation begins


class LockStep:
    """transport: for the companion's link. clock: its monotonic clock. Call `step` for every IMU event."""

    def __init__(
        self, autopilot: Autopilot, faults: ChannelFaults | None = None, seed: int = 0, start_s: float = COMPANION_S
    ) -> None:
        self.autopilot, self.record = autopilot, FlightRecord()
        self.transport, self._end = Memory.pair()
        self.sent: list[bytes] = []  # by the companion, since the newest `step`
        rng = np.random.default_rng([seed, 2])
        faults = faults or ChannelFaults()
        self._out, self._in = Channel(faults, rng), Channel(faults, rng)
        self._start_s = start_s - autopilot.t_s

    @property
    def now_s(self) -> float:
        """The companion's time."""
        return self._start_s + self.autopilot.t_s

    def clock(self) -> float:
        """As `time.monotonic`."""
        return self.now_s

    def replace(self, autopilot: Autopilot) -> None:
        """Another autopilot at the other end, or this one started anew; the companion's time goes on."""
        now_s = self.now_s
        self.autopilot, self.record = autopilot, FlightRecord()
        self._start_s = now_s - autopilot.t_s

    def step(self, companion: Callable[[], object]) -> None:
        """One IMU event: frames to the companion, which `companion` lets act, and its answers back."""
        autopilot, transport = self.autopilot, self.transport
        for frame in autopilot.advance():
            self._out.send(frame, self.now_s)
        self.record.look(autopilot)
        for frame in self._out.due(self.now_s):
            transport.put(frame, self._end.name)
        companion()
        self.sent = [data for data, _ in self._end.read()]
        for data in self.sent:
            self._in.send(data, self.now_s)
        for data in self._in.due(self.now_s):
            for answer in autopilot.receive(data, autopilot.t_s):
                self._out.send(answer, self.now_s)
