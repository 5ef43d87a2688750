"""The control loop: every command is sent once, by the pass that computed it, and time is watched in fixed memory."""

from __future__ import annotations

import gc
import math
import sys
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from liquid_pilot.links.link import LinkStatus
from liquid_pilot.messages import Attitude, Command, Imu, Message, Position, PositionSetpoint, Range
from liquid_pilot.runtime.histogram import Histogram
from liquid_pilot.runtime.loop import DEADLINE_S, TICK_S, ControlLoop
from liquid_pilot.runtime.realtime import punctual
from liquid_pilot.runtime.watch import ARRIVALS, Watch


class FakeLink:
    """Messages that were put, and commands that were sent."""

    def __init__(self) -> None:
        self.waiting: list[Message] = []
        self.sent: list[Command] = []
        self.beats: list[float] = []
        self.full = False

    def open(self, now_s: float) -> None: ...

    def fileno(self) -> int:
        return -1

    def receive(self, now_s: float) -> list[Message]:
        waiting, self.waiting = self.waiting, []
        return waiting

    def send(self, command: Command, now_s: float) -> bool:
        if not self.full:
            self.sent.append(command)
        return not self.full

    def beat(self, now_s: float) -> None:
        self.beats.append(now_s)

    def request(self, what: Any, now_s: float) -> None: ...

    def status(self, now_s: float) -> LinkStatus:
        return LinkStatus("fake", alive=True, battery=0.5)

    def close(self) -> None: ...


class Echo:
    """Commands what the gyro says; counts."""

    def __init__(self) -> None:
        self.fed: list[Message] = []
        self.ticks: list[float] = []
        self.missed: list[float] = []
        self.told: list[Any] = []
        self.blind = False
        self.commands = True

    def feed(self, message: Message) -> Command | None:
        self.fed.append(message)
        if isinstance(message, Imu) and self.commands:
            return Command(message.t_s, 9.0, message.gyro_rad_s)
        return None

    def tick(self, now_s: float) -> Command | None:
        self.ticks.append(now_s)
        return Command(now_s, 8.0, (0.0, 0.0, 0.0)) if self.blind else None

    def report_missed_deadline(self, t_s: float) -> None:
        self.missed.append(t_s)

    def report_link(self, alive: bool, t_s: float) -> None:
        self.told.append(alive)

    def report_battery(self, fraction: float, t_s: float) -> None:
        self.told.append(fraction)


class World:
    """A loop with a clock that stands still until it is told."""

    def __init__(self, sends: bool = True) -> None:
        self.now_s = 50.0
        self.link, self.pilot = FakeLink(), Echo()
        self.loop = ControlLoop(self.link, self.pilot, sends=sends, clock=lambda: self.now_s)

    def run(self, *messages: Message, after_s: float = 0.0025) -> None:
        self.now_s += after_s
        self.link.waiting = list(messages)
        self.loop.run_once()


def imu(t_s: float, x: float = 0.0) -> Imu:
    return Imu(t_s, (x, 0.0, 0.0), (0.0, 0.0, 9.81))


def test_what_else_the_autopilot_knows_reaches_the_pilot_in_order() -> None:
    world = World()
    messages = (Attitude(50.0, (1.0, 0.0, 0.0, 0.0)), Position(50.0, (1.0, 2.0, 3.0), (0.0, 0.0, 0.0)), imu(50.001))
    world.run(*messages)
    assert world.pilot.fed == list(messages) and len(world.link.sent) == 1
    target = PositionSetpoint(50.0, (1.0, 2.0, 3.0), (0.0, 0.0, 0.0), 0.0)
    world.loop.set(target)
    assert world.pilot.fed[-1] is target


def test_a_command_goes_out_once_in_the_pass_that_computed_it() -> None:
    world = World()
    for i in range(100):
        world.run(imu(50.0 + 0.0025 * i, float(i)), Range(50.0 + 0.0025 * i, 1.0))
        assert len(world.link.sent) == i + 1 and world.link.sent[-1].rates_rad_s[0] == i
    for _ in range(50):
        world.run()
    assert len(world.link.sent) == 100  # nothing is repeated
    assert len(world.pilot.fed) == 200


def test_of_a_backlog_every_message_is_fed_and_only_the_newest_command_sent() -> None:
    world = World()
    world.run(*[imu(50.0 + 0.0025 * i, float(i)) for i in range(5)])
    assert [command.rates_rad_s[0] for command in world.link.sent] == [4.0]
    assert len(world.pilot.fed) == 5 and world.loop.counters["superseded"] == 4


def test_a_full_socket_is_counted_and_the_command_is_gone() -> None:
    world = World()
    world.link.full = True
    world.run(imu(50.0))
    world.link.full = False
    world.run()
    assert world.link.sent == [] and world.loop.counters["not_sent"] == 1


def test_a_dry_run_sends_no_command_and_still_computes_and_beats() -> None:
    world = World(sends=False)
    world.run(imu(50.0))
    assert world.link.sent == [] and world.loop.counters["commands"] == 1 and world.link.beats


def test_ticks_come_every_ten_milliseconds_and_their_commands_go_out() -> None:
    world = World()
    for _ in range(400):
        world.run(after_s=0.001)
    assert 36 <= len(world.pilot.ticks) <= 41
    assert np.diff(world.pilot.ticks).min() >= TICK_S - 1e-9
    world.pilot.blind = True
    for _ in range(100):
        world.run(after_s=0.001)
    assert 9 <= len(world.link.sent) <= 11


def test_idle_commands_have_no_thrust_and_end_when_the_pilot_commands() -> None:
    world = World()
    world.pilot.commands = False
    world.run(imu(50.0))
    assert world.link.sent == []
    world.loop.idles = True
    world.run(imu(50.1), after_s=0.01)
    assert [command.thrust_m_s2 for command in world.link.sent] == [0.0]
    world.run(after_s=0.01)
    assert len(world.link.sent) == 1  # one for a sample, none of its own accord
    world.pilot.commands = True
    world.run(imu(50.2), after_s=0.01)
    assert world.link.sent[-1].thrust_m_s2 == 9.0


def test_a_late_pass_is_a_missed_deadline() -> None:
    world = World()
    world.run(imu(50.0))
    world.run(imu(50.01), after_s=0.01)
    assert world.pilot.missed == []
    world.run(imu(50.2), after_s=DEADLINE_S + TICK_S + 0.005)
    assert len(world.pilot.missed) == 1 and world.loop.counters["late_passes"] == 1


def test_the_pilot_hears_of_link_and_battery() -> None:
    world = World()
    for _ in range(100):
        world.run(after_s=0.01)
    assert set(world.pilot.told) == {True, 0.5} and len(world.pilot.told) <= 22


@given(st.lists(st.floats(1e-6, 10.0), min_size=1, max_size=300), st.floats(0.01, 0.99))
def test_quantiles_are_good_to_a_bin(durations: list[float], share: float) -> None:
    histogram = Histogram()
    for duration in durations:
        histogram.add(duration)
    exact = float(np.quantile(durations, share, method="inverted_cdf"))
    assert math.isclose(histogram.quantile_s(share), exact, rel_tol=0.05)
    assert histogram.largest_s == max(durations) and histogram.count == len(durations)


def test_a_histogram_takes_everything_and_does_not_grow() -> None:
    histogram = Histogram()
    size = sys.getsizeof(histogram._bins)
    for duration in (-1.0, 0.0, 1e-12, 1e9, math.inf):
        histogram.add(duration)
    assert sys.getsizeof(histogram._bins) == size and histogram.quantile_s(0.5) > 0.0
    assert math.isnan(Histogram().quantile_s(0.5))


def test_rates_and_ages_of_a_steady_sensor_that_falls_silent() -> None:
    watch = Watch()
    for i in range(1000):
        watch.saw(Range(10.0 + 0.02 * i, 1.0), 10.005 + 0.02 * i)
    state = watch.sensors["range"].state(30.0)
    assert math.isclose(state.rate_hz, 50.0, rel_tol=0.01) and state.age_s is not None
    assert math.isclose(state.age_s, 0.02) and state.count == 1000
    assert watch.sensors["range"].state(40.0).rate_hz < 15.0
    assert len(watch.sensors["range"]._arrivals) == ARRIVALS
    assert watch.sensors["flow"].state(40.0) == type(state)(0.0, None, 0)


def test_rest_is_the_mean_of_what_came() -> None:
    watch = Watch()
    for i in range(300):
        watch.saw(Imu(0.01 * i, (0.1 * (-1) ** i, 0.02, 0.0), (0.0, 0.1, 9.8)), 0.01 * i)
    watch.saw(Imu(4.0, (0.0, 0.02, 0.0), (math.nan, math.nan, math.nan)), 4.0)
    rest = watch.rest()
    assert math.isclose(rest.accel_m_s2[2], 9.8) and math.isclose(rest.gyro_rad_s[1], 0.02)
    assert rest.largest_gyro_rad_s == 0.1 and math.isnan(rest.range_m)


def test_in_flight_nothing_is_collected_and_afterwards_all_is_as_before() -> None:
    interval_s = sys.getswitchinterval()
    assert gc.isenabled()
    with punctual():
        assert not gc.isenabled() and gc.get_freeze_count() > 0
        assert sys.getswitchinterval() < interval_s
    assert gc.isenabled() and gc.get_freeze_count() == 0 and sys.getswitchinterval() == interval_s
