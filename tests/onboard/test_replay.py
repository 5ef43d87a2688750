"""A flight that was logged, told again, gives the same commands: with ticks, silences, reports and resets."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liquid_pilot.controller import Controller
from liquid_pilot.errors import LiquidPilotError, MessageError
from liquid_pilot.logs import SCHEMA, CsvLog, Event, McapLog, Record, Report, read_log
from liquid_pilot.logs.replay import difference, logged_commands, replay
from liquid_pilot.logs.setup import FlightSetup, setup_of
from liquid_pilot.messages import Attitude, Command, FlowGrid, Imu, Position, PositionSetpoint, Setpoint
from liquid_pilot.supervisor import State, SupervisorLimits
from tests.onboard.flying import METADATA, after, fly, small_bundle, stream

LIMITS = SupervisorLimits(imu_s=0.08, link_s=math.inf)


class Recorder:
    """A log in memory."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def write(self, record: Record) -> None:
        self.records.append(record)

    def close(self) -> None:
        """Nothing to close."""


def eventful(log: Any, bundle: Any) -> set[State]:
    """A flight with all that a runtime can tell; the states that it went through."""
    controller = Controller(bundle, log=log, limits=LIMITS, setpoint_timeout_s=3.0)
    seen: set[State] = set()

    def go(start_s: float, end_s: float, silent: bool = False, clock_s: float = 0.0) -> None:
        for message in after(start_s, end_s - start_s):
            if not silent or not isinstance(message, Imu):
                controller.feed(message)
            controller.tick(message.t_s + clock_s)
            seen.add(controller.state)

    for message in stream(1.0):
        controller.feed(message)
    controller.feed(Position(0.99, (500.0, -20.0, 1.0), (0.0, 0.0, 0.0)))
    controller.feed(Attitude(0.99, (0.8, 0.0, 0.0, 0.6)))
    controller.feed(FlowGrid(0.99, 0.05, (0.0,), (0.0,), np.zeros((1, 1, 2))))  # unused
    controller.feed(PositionSetpoint(0.99, (1.0, 2.0, 1.0), (0.0, 0.0, 0.0), 0.0))  # refused: it flies velocities
    go(1.0, 2.0)
    go(2.0, 2.4, silent=True)
    go(2.4, 2.9, silent=True, clock_s=-100.0)
    go(2.9, 3.5)
    controller.report_link(False, 3.5)
    controller.report_battery(0.5, 3.5)
    controller.report_battery(-1.0, 3.5)
    go(3.5, 4.0)
    controller.report_link(True, 4.0)
    controller.feed(Setpoint(4.0, (0.3, -0.2), 1.2, 0.1))
    for k in range(5):
        controller.report_missed_deadline(4.0 + 0.01 * k)
    go(4.0, 5.0)
    controller.stop()
    go(5.0, 6.0)
    controller.kill()
    go(6.0, 6.2)
    controller.reset()
    fly(controller, stream(1.0, start_s=7.0))
    seen.add(controller.state)
    return seen


@pytest.mark.parametrize("make", [CsvLog, McapLog])
def test_the_same_policy_gives_the_same_log(make: Any, tmp_path: Path) -> None:
    log = make(tmp_path / "flight")
    assert eventful(log, small_bundle()) >= {State.ACTIVE, State.DEGRADED, State.LAND, State.KILLED}
    log.close()
    first = read_log(log.path).records
    setup = setup_of(first)
    assert setup is not None and setup.limits == LIMITS and setup.setpoint_timeout_s == 3.0
    recorder = Recorder()
    again = Controller(small_bundle(), log=recorder, limits=setup.limits, setpoint_timeout_s=setup.setpoint_timeout_s)
    replayed = replay(again, first)
    assert list(map(repr, recorder.records)) == list(map(repr, first))
    assert {type(record) for record in first} == {row[0] for row in SCHEMA.values()}
    found = difference(logged_commands(first), replayed.commands)
    assert found.identical and found.largest == (0.0,) * 4 and len(found.t_s) > 500
    assert {r.what for r in first if isinstance(r, Report)} == {
        "tick",
        "link",
        "battery",
        "missed_deadline",
        "stop",
        "kill",
        "reset",
    }


def test_ticks_that_did_nothing_are_not_in_the_log() -> None:
    recorder = Recorder()
    controller = Controller(small_bundle(), log=recorder)
    for message in stream(1.0):
        controller.feed(message)
        controller.tick(message.t_s + 0.01)
    assert not [r for r in recorder.records if isinstance(r, Report)]
    assert controller.tick(1.2) is not None
    assert [r.what for r in recorder.records if isinstance(r, Report)] == ["tick", "tick"]


def test_another_policy_gives_another_flight() -> None:
    recorder = Recorder()
    eventful(recorder, small_bundle())
    other = replay(Controller(small_bundle(seed=1), limits=LIMITS, setpoint_timeout_s=3.0), recorder.records)
    found = difference(logged_commands(recorder.records), other.commands)
    assert not found.identical and all(0.0 < r <= m for r, m in zip(found.rms, found.largest, strict=True))
    assert found.a.shape == found.b.shape == (len(found.t_s), 4)


def test_differences_are_those_of_commands_at_the_same_time() -> None:
    a = [Command(0.1 * k, 9.0, (0.0, 0.0, 0.0)) for k in range(5)]
    b = [replace(c, thrust_m_s2=10.0, rates_rad_s=(0.3, 0.0, -0.4)) for c in a[1:]] + [Command(9.0, 1.0, (0, 0, 0))]
    found = difference(a, b)
    assert (found.only_a, found.only_b, found.identical) == (1, 1, False)
    assert found.rms == pytest.approx((1.0, 0.3, 0.0, 0.4)) and found.largest == pytest.approx(found.rms)
    twice = [a[0], replace(a[0], thrust_m_s2=5.0)]
    assert difference(twice, twice).identical and not difference(twice, twice[::-1]).identical
    empty = difference([], a)
    assert empty.only_b == 5 and np.isnan(empty.rms).all() and empty.a.shape == (0, 4)


def test_reports_of_a_newer_program_are_refused() -> None:
    with pytest.raises(MessageError, match="'dance'"):
        replay(Controller(small_bundle()), [Report(0.0, "dance")])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"limits": {"imu_s": -1}, "setpoint_timeout_s": null, "policy": "", "sha256": ""}',
        '{"limits": {}, "setpoint_timeout_s": 0, "policy": "", "sha256": ""}',
        "[" * 5000,
        '{"limits": [], "setpoint_timeout_s": 1, "policy": "", "sha256": ""}',
    ],
)
def test_a_set_up_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(LiquidPilotError):
        setup_of([Event(0.0, "setup", text)])


def test_set_ups_come_back_and_may_be_missing() -> None:
    setup = FlightSetup("hover", "ab", 0.5, LIMITS)
    assert setup_of([setup.event()]) == setup and setup_of([]) is None
    recorder = Recorder()
    Controller(small_bundle(), log=recorder)
    told = setup_of(recorder.records)
    assert told is not None and told.limits.flow_s == METADATA["sensor_limits_s"]["flow"]


def test_what_the_runtime_reports_is_acted_on() -> None:
    def flown(report: Any, seconds: float) -> Controller:
        controller = Controller(small_bundle(), limits=SupervisorLimits(radius_m=50.0))
        fly(controller, stream(1.0))
        report(controller)
        fly(controller, after(1.0, seconds))
        return controller

    assert flown(lambda c: c.report_link(True, 1.0), 1.0).state is State.ACTIVE
    assert flown(lambda c: c.report_link(False, 1.0), 1.0).state is State.DEGRADED
    assert flown(lambda c: c.report_link(False, 1.0), 5.5).state is State.LAND
    assert flown(lambda c: c.report_battery(0.9, 1.0), 3.0).state is State.ACTIVE
    assert flown(lambda c: c.report_battery(0.1, 1.0), 3.0).state is State.LAND
    for nonsense in (-1.0, math.nan, math.inf, None, "full", True):
        controller = flown(lambda c, value=nonsense: c.report_battery(value, 1.0), 3.0)
        assert controller.state is State.ACTIVE and controller.counters["rejected_battery"] == 1

    def leave(controller: Controller) -> None:
        for k in range(40):
            controller.feed(Position(0.5 + 0.01 * k, (0.0, 0.0, 1.0), (0.0, 0.0, 0.0)))
            controller.feed(Imu(1.0 + 0.01 * k, (0.0, 0.0, 0.0), (0.0, 0.0, 9.81)))
        for k in range(80):
            controller.feed(Position(1.41 + 0.01 * k, (60.0, 0.0, 1.0), (0.0, 0.0, 0.0)))
            controller.feed(Imu(1.41 + 0.01 * k, (0.0, 0.0, 0.0), (0.0, 0.0, 9.81)))

    controller = flown(leave, 0.0)
    assert controller.state is State.LAND and any("GEOFENCE" in event.text for event in controller.events)
