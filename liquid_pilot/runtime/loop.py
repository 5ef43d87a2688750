"""The control loop: waits for bytes, feeds the pilot, sends its command at once. One thread, and nothing that blocks.

Every command that goes out was computed in the same pass of this loop. Nothing is repeated: a pilot, a loop or a
computer that hangs is silent, heartbeats included, and the autopilot's own failsafe acts.
"""

from __future__ import annotations

import select
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, Protocol

from liquid_pilot.links.link import Link
from liquid_pilot.messages import Command, Imu, Message, PositionSetpoint, Setpoint
from liquid_pilot.runtime.histogram import Histogram
from liquid_pilot.runtime.watch import Watch

TICK_S: Final = 0.010  # between looks at the pilot's age checks
DEADLINE_S: Final = 0.020  # a pass or a pause longer than this is a missed deadline
REPORT_S: Final = 0.1  # between what the pilot is told of link and battery


class Pilot(Protocol):
    """What flies: `liquid_pilot.Controller`, or anything like it.

    Used where present: `report_missed_deadline(t_s)`, `report_link(alive, t_s)`, `report_battery(fraction, t_s)`.
    """

    def feed(self, message: Message, /) -> Command | None:
        """Take a message; an accepted IMU sample gives a command."""
        ...

    def tick(self, now_s: float, /) -> Command | None:
        """Age checks; a fallback command where no IMU arrives."""
        ...


class ControlLoop:
    """One pilot on one link.

    sends: whether commands go out (a dry run does not send). idles: whether a command of no thrust goes out for every
    IMU sample at which the pilot has none: before the start an autopilot wants to see that somebody is there.
    clock: monotonic seconds; the stamps of the link are on it.
    """

    def __init__(
        self, link: Link, pilot: Pilot, *, sends: bool = True, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.link, self.pilot, self.sends = link, pilot, sends
        self.idles = False
        self.watch = Watch()
        self.counters: Counter[str] = Counter()
        self.step = Histogram()  # from waking up to the command being sent
        self.age = Histogram()  # from the stamp of the IMU sample to its command being sent
        self.command: Command | None = None  # newest that was computed
        self.on_imu: Callable[[Imu, Command | None], None] | None = None
        self._clock = clock
        self._poll = select.poll()
        self._registered = -1
        self._tick_s = self._pass_s = self._reported_s = clock()
        self._report_miss = getattr(pilot, "report_missed_deadline", None)
        self._report_link = getattr(pilot, "report_link", None)
        self._report_battery = getattr(pilot, "report_battery", None)

    def set(self, setpoint: Setpoint | PositionSetpoint) -> None:
        """What to fly from now on."""
        self.pilot.feed(setpoint)

    def run_once(self, longest_s: float = TICK_S) -> None:
        """Wait for bytes, at most until the next tick, and do what they bring. Raises `LinkError`."""
        self._wait(min(longest_s, max(0.0, self._tick_s + TICK_S - self._clock())))
        woke_s = self._clock()
        if woke_s - self._pass_s > DEADLINE_S + TICK_S:
            self._missed(woke_s, "late_passes")
        self._pass_s = woke_s
        messages = self.link.receive(woke_s)
        if messages:
            self._feed(messages, woke_s)
        now_s = self._clock()
        if now_s - self._tick_s >= TICK_S or now_s < self._tick_s:
            self._tick_s = now_s
            command = self.pilot.tick(now_s)
            if command is not None:
                self.counters["fallback_ticks"] += 1
                self._send(command)
        self.link.beat(now_s)
        if now_s - self._reported_s >= REPORT_S or now_s < self._reported_s:
            self._reported_s = now_s
            self._report(now_s)

    def _wait(self, longest_s: float) -> None:
        number = self.link.fileno()
        if number < 0:
            return  # in simulated time
        if number != self._registered:
            self._poll.register(number, select.POLLIN)
            self._registered = number
        self._poll.poll(longest_s * 1e3)

    def _feed(self, messages: list[Message], woke_s: float) -> None:
        """All messages to the pilot; of several commands in one pass only the newest is worth sending."""
        command: Command | None = None
        imu: Imu | None = None
        for message in messages:
            self.watch.saw(message, woke_s)
            found = self.pilot.feed(message)
            if isinstance(message, Imu):
                imu = message
                if self.on_imu is not None:
                    self.on_imu(message, found)
                if found is None and self.idles:
                    found = Command(message.t_s, 0.0, (0.0, 0.0, 0.0))
            if found is not None:
                if command is not None:
                    self.counters["superseded"] += 1
                command = found
        if command is None or imu is None:
            return
        self._send(command)
        sent_s = self._clock()
        self.step.add(sent_s - woke_s)
        self.age.add(max(0.0, sent_s - imu.t_s))
        if sent_s - woke_s > DEADLINE_S:
            self._missed(sent_s, "late_steps")

    def _send(self, command: Command) -> None:
        self.command = command
        self.counters["commands"] += 1
        if self.sends:
            sent = self.link.send(command, self._clock())
            self.counters["sent" if sent else "not_sent"] += 1

    def _missed(self, t_s: float, counter: str) -> None:
        self.counters[counter] += 1
        if self._report_miss is not None:
            self._report_miss(t_s)

    def _report(self, now_s: float) -> None:
        if self._report_link is None and self._report_battery is None:
            return
        status = self.link.status(now_s)
        if self._report_link is not None:
            self._report_link(status.alive, now_s)
        if self._report_battery is not None and status.battery is not None:
            self._report_battery(status.battery, now_s)
