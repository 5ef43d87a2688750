"""The autopilot by the clock on a socket: an IMU event is sent when it is due, answers are timed by the kernel."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections import deque
from typing import Any, Final

import numpy as np

from envs.autopilot.autopilot import Autopilot
from envs.autopilot.channel import Channel, ChannelFaults
from envs.autopilot.flight_record import FlightRecord
from liquid_pilot.runtime.histogram import Histogram

SO_TIMESTAMPNS: Final = 35  # of Linux: arrival by the kernel's clock, whatever this process does meanwhile
SPARE_S: Final = 0.0008  # so long before an event its physics is computed
BEHIND_S: Final = 0.05  # further behind the clock, time that was lost is let go
MATCH_MS: Final = 1
_TIMESPEC: Final = struct.Struct("@qq")
_CONTROL_SPACE: Final = 64


class RealTime:
    """own: a connected UDP socket. Latency is from sending an IMU sample to the arrival of the command answering it."""

    def __init__(self, autopilot: Autopilot, own: socket.socket, faults: ChannelFaults, seed: int) -> None:
        self.autopilot, self.record, self.latency = autopilot, FlightRecord(), Histogram()
        self.overruns = 0
        self._socket = own
        own.setblocking(False)
        self._timed = hasattr(socket, "SO_TIMESTAMPNS") or struct.calcsize("l") == 8
        if self._timed:
            try:
                own.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            except OSError:
                self._timed = False
        rng = np.random.default_rng([seed, 2])
        self._out, self._in = Channel(faults, rng), Channel(faults, rng)
        self._sent: deque[tuple[int, float]] = deque(maxlen=64)  # (boot ms, clock) of IMU samples under way
        self._start_s = 0.0
        self._stopped = False

    def stop(self) -> None:
        """At the next event."""
        self._stopped = True

    def run(self, seconds: float | None, reboot_s: float | None) -> None:
        """Until `stop`, the end of the seconds, or, without them, until it has flown and is disarmed."""
        autopilot = self.autopilot
        self._start_s = time.monotonic() - autopilot.t_s
        while not self._stopped:
            if reboot_s is not None and autopilot.t_s >= reboot_s:
                autopilot.reboot()
                reboot_s = None
            frames = autopilot.advance()
            self.record.look(autopilot)
            self._wait(self._start_s + autopilot.t_s)
            self._send(frames)
            if seconds is not None and autopilot.t_s >= seconds:
                break
            if seconds is None and self.record.landed_s is not None and not autopilot.rules.armed:
                self._linger(2.0)
                break
            self._wait(self._start_s + autopilot.t_s + autopilot.vehicle.launch.dt_s - SPARE_S)

    def summary(self) -> dict[str, Any]:
        """Of the flight and of the link's timing."""
        timing = self.latency
        return {
            **self.record.summary(self.autopilot),
            "latency_median_ms": 1e3 * timing.quantile_s(0.5) if timing.count else None,
            "latency_p99_ms": 1e3 * timing.quantile_s(0.99) if timing.count else None,
            "latency_largest_ms": 1e3 * timing.largest_s if timing.count else None,
            "latency_count": timing.count,
            "overruns": self.overruns,
        }

    def _linger(self, seconds: float) -> None:
        """Go on a little, so that the companion hears how it ended."""
        until = self.autopilot.t_s + seconds
        while self.autopilot.t_s < until and not self._stopped:
            frames = self.autopilot.advance()
            self._wait(self._start_s + self.autopilot.t_s)
            self._send(frames)

    def _wait(self, until_s: float) -> None:
        """Let the time come, and take what arrives meanwhile."""
        if time.monotonic() - until_s > BEHIND_S:
            self.overruns += 1
            self._start_s += time.monotonic() - until_s
        while True:
            left_s = until_s - time.monotonic()
            late_s = self._out.next_s
            if late_s is not None:
                left_s = min(left_s, late_s - time.monotonic())
            if select.select([self._socket], [], [], max(0.0, left_s))[0]:
                self._take()
            self._pass_on()
            if time.monotonic() >= until_s:
                return

    def _send(self, frames: list[bytes]) -> None:
        now_s = time.monotonic()
        for frame in frames:
            if frame[7] == 105 and frame[8] == 0:  # HIGHRES_IMU
                self._sent.append((round(self.autopilot.boot_s(self.autopilot.t_s) * 1e3), time.time()))
            self._out.send(frame, now_s)
        self._pass_on()

    def _pass_on(self) -> None:
        """What comes out of both channels by now."""
        now_s = time.monotonic()
        for frame in self._out.due(now_s):
            try:
                self._socket.send(frame)
            except (BlockingIOError, ConnectionRefusedError):  # nobody listens yet
                continue
        for data in self._in.due(now_s):
            for answer in self.autopilot.receive(data, now_s - self._start_s):
                self._out.send(answer, now_s)

    def _take(self) -> None:
        while True:
            try:
                data, control, _, _ = self._socket.recvmsg(65536, _CONTROL_SPACE)
            except (BlockingIOError, ConnectionRefusedError):
                return
            self._time(data, control)
            self._in.send(data, time.monotonic())

    def _time(self, data: bytes, control: list[tuple[int, int, bytes]]) -> None:
        """Latency of a command in flight: its time field holds the boot time of the sample that it answers."""
        if not self.autopilot.vehicle.aloft or len(data) < 16 or data[0] != 0xFD or data[7] != 82 or data[8] != 0:
            return
        boot_ms = int.from_bytes(data[10:14], "little")
        arrived_s = time.time()
        for level, kind, value in control:
            if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(value) >= _TIMESPEC.size:
                seconds, nanoseconds = _TIMESPEC.unpack(value[: _TIMESPEC.size])
                arrived_s = seconds + 1e-9 * nanoseconds
        for ms, sent_s in self._sent:
            if abs(ms - boot_ms) <= MATCH_MS:
                self.latency.add(max(0.0, arrived_s - sent_s))
                return
