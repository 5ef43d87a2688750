"""What the controller does when a sensor, or the whole IMU, says nothing."""

from __future__ import annotations

import math

import pytest

from liquid_pilot.controller import Controller
from liquid_pilot.messages import Command
from liquid_pilot.observation import GRAVITY_M_S2
from liquid_pilot.supervisor import State
from tests.onboard.flying import BUNDLE, STILL, after, changes, fly, started, state_of, stream


def test_two_seconds_without_flow_bring_the_leveller_and_flow_brings_the_network_back() -> None:
    controller = started(1.0)
    commands = fly(controller, [*after(1.0, 3.0, flow_hz=0.0), *after(4.0, 0.5)])
    assert len(commands) == 350  # never a gap
    (lost, text), (back, returned) = changes(controller)[2:]
    assert (text, returned) == ("ACTIVE -> DEGRADED: FLOW_SILENT", "DEGRADED -> ACTIVE: data are good")
    assert 2.98 < lost < 3.01 and 4.0 < back < 4.04
    degraded = [c for c in commands if lost <= c.t_s < back]
    assert controller.counters["fallback_commands"] == len(degraded)
    assert max(abs(w) for c in degraded for w in c.rates_rad_s) < 0.1  # it stands level: nothing to turn


@pytest.mark.parametrize("missing", ["flow", "range"])
def test_shorter_silences_are_the_networks_business(missing: str) -> None:
    controller = started(1.0)
    silent = {f"{missing}_hz": 0.0}
    assert len(fly(controller, [*after(1.0, 1.9, **silent), *after(2.9, 0.5)])) == 240
    assert state_of(controller) is State.ACTIVE and len(changes(controller)) == 2


def test_all_causes_of_a_change_are_named() -> None:
    controller = started(1.0)
    fly(controller, after(1.0, 2.2, flow_hz=0.0, range_hz=0.0))
    causes = {name for _, text in changes(controller)[2:] for name in text.partition(": ")[2].split("|")}
    assert causes and causes <= {"FLOW_SILENT", "RANGE_SILENT"}


def ticks(controller: Controller, start_s: float, duration_s: float) -> list[tuple[float, Command | None]]:
    times_s = [start_s + 0.02 * k for k in range(round(duration_s / 0.02))]
    return [(t, controller.tick(t)) for t in times_s]


def test_without_an_imu_it_glides_for_half_a_second_and_then_says_nothing() -> None:
    controller = started(1.0)  # the newest IMU is of 0.99 s
    said = ticks(controller, 1.0, 5.0)
    speaking = [(t, command) for t, command in said if command is not None]
    assert speaking[0][0] == pytest.approx(1.10, abs=0.021) and speaking[-1][0] == pytest.approx(1.60, abs=0.041)
    assert len(speaking) == len([t for t, _ in said if speaking[0][0] <= t <= speaking[-1][0]])
    for t, command in speaking:
        assert command is not None and (command.t_s, command.rates_rad_s) == (t, STILL)
        assert command.thrust_m_s2 == pytest.approx(0.9 * GRAVITY_M_S2)
    assert state_of(controller) is State.DEGRADED
    before = controller.counters["steps"]
    assert controller.tick(50.0) is None and controller.counters["steps"] == before
    commands = fly(controller, after(6.0, 0.5))
    assert state_of(controller) is State.ACTIVE and len(commands) >= 47
    assert ticks(controller, 6.5, 0.08)[-1][1] is None  # and again the IMU has its time


def test_ticks_say_nothing_while_the_imu_speaks_and_before_it_flies() -> None:
    controller = Controller(BUNDLE)
    assert controller.tick(100.0) is None
    for message in stream(0.5)[1:]:
        controller.feed(message)
        assert controller.tick(message.t_s + 0.02) is None
    assert controller.tick(9.0) is None and state_of(controller) is State.INIT
    flown, ticked = Controller(BUNDLE), Controller(BUNDLE)
    commands = fly(flown, stream(1.0))
    again = []
    for message in stream(1.0):
        command = ticked.feed(message)
        again += [command] if command else []
        assert ticked.tick(message.t_s + 0.015) is None
    assert again == commands and ticked.tick(math.nan) is None


def test_a_tick_on_a_clock_that_fell_behind_still_notices_silence() -> None:
    controller = started(1.0)
    assert controller.tick(-500.0) is None
    assert controller.tick(-499.85) is not None
