"""Whole flights over a link in simulated time: they end as they should, whatever happens on the way."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from envs.autopilot.channel import ChannelFaults
from envs.autopilot.companion import Companion, autopilot_conditions, simulated_autopilot
from envs.autopilot.rules import Mode
from envs.faults import parse_fault
from liquid_pilot.bundle import load_bundle
from liquid_pilot.errors import LiquidPilotError
from liquid_pilot.links.mavlink_frames import dialect
from liquid_pilot.logs import Record
from liquid_pilot.messages import Setpoint
from liquid_pilot.runtime.flight import Outcome, Plan, Stage
from liquid_pilot.supervisor import State

HOVER = Plan(Setpoint(0.0, (0.0, 0.0), 1.0, 0.0), duration_s=3.0, imu_hz=200.0, patience_s=6.0)
BUNDLE = load_bundle("hover")


@contextmanager
def companion(
    plan: Plan = HOVER,
    faults: str = "",
    channel: ChannelFaults | None = None,
    airframe: str = "companion",
    battery: float = 0.9,
    seed: int = 0,
) -> Iterator[Companion]:
    parsed = tuple(parse_fault(text) for text in faults.split())
    autopilot = simulated_autopilot(airframe, autopilot_conditions(200.0, parsed), seed, battery)
    try:
        yield Companion(BUNDLE, autopilot, plan, channel=channel, seed=seed, imu_hz=200.0)
    finally:
        autopilot.vehicle.close()


def summary(one: Companion) -> dict[str, Any]:
    return one.world.record.summary(one.world.autopilot)


def stage_of(one: Companion) -> Stage:
    """A call, because type checkers take an attribute for a constant."""
    return one.flight.stage


def state_of(one: Companion) -> State:
    """As `stage_of`."""
    return one.controller.state


@pytest.mark.parametrize(
    ("airframe", "seed", "channel", "steepest_deg"),
    [
        ("companion", 0, ChannelFaults(), 20.0),
        ("cf2x", 1, ChannelFaults(), 20.0),  # its range is blind on the floor, and where it lands
        ("companion", 2, ChannelFaults(loss=0.01, duplicates=0.05, jitter_s=0.02), 21.0),
    ],
)
def test_a_flight_takes_off_hovers_lands_and_disarms(
    airframe: str, seed: int, channel: ChannelFaults, steepest_deg: float
) -> None:
    with companion(replace(HOVER, duration_s=5.0), airframe=airframe, seed=seed, channel=channel) as one:
        one.run(40.0)
        found = summary(one)
    assert (one.flight.outcome, found["armed"], found["aloft"]) == (Outcome.LANDED, False, False)
    assert found["landed_softly"] and found["masks_refused"] == found["failsafes"] == 0 and found["denials"] == []
    assert found["speed_median_m_s"] < 0.3 and abs(found["height_median_m"] - 1.0) < 0.25
    assert found["steepest_deg"] < steepest_deg


def test_ctrl_c_in_flight_lands() -> None:
    with companion(replace(HOVER, duration_s=math.inf)) as one:
        one.run(20.0, lambda: stage_of(one) is Stage.FLYING)
        one.run(1.0)
        one.flight.land()
        one.run(20.0)
        assert one.flight.outcome is Outcome.LANDED and summary(one)["landed_softly"]


def test_ctrl_c_before_the_take_off_turns_nothing() -> None:
    with companion() as one:
        one.run(20.0, lambda: stage_of(one) is Stage.ENGAGING)
        one.run(0.3)
        one.flight.land()
        one.run(10.0)
        assert one.flight.outcome is Outcome.CANCELLED and not summary(one)["armed"]
        assert summary(one)["flown_s"] == 0.0


def test_ctrl_c_in_the_take_off_lands_too() -> None:
    with companion() as one:
        one.run(20.0, lambda: one.world.autopilot.vehicle.height_m > 0.25)
        assert stage_of(one) is Stage.TAKEOFF
        one.flight.land()
        one.run(20.0)
        found = summary(one)
        assert one.flight.outcome is Outcome.LANDED and found["mode"] == "LAND" and not found["armed"]
        assert found["landed_softly"]


def test_killing_stops_the_motors_in_the_air() -> None:
    with companion() as one:
        one.run(20.0, lambda: stage_of(one) is Stage.FLYING)
        one.flight.kill()
        took_s = one.run(10.0)
        assert one.flight.outcome is Outcome.LOST and took_s < 0.5
        assert not one.world.autopilot.rules.armed and one.controller.state is State.KILLED


class FullDisk:
    """A log whose disk is full."""

    def write(self, record: Record) -> None:
        raise LiquidPilotError("no space left on the disk")

    def close(self) -> None:
        pass


def test_a_log_that_cannot_be_written_is_found_before_the_motors_turn() -> None:
    autopilot = simulated_autopilot("companion", autopilot_conditions(200.0, ()), 0)
    try:
        one = Companion(BUNDLE, autopilot, HOVER, imu_hz=200.0, log=FullDisk())
        one.run(20.0)
    finally:
        autopilot.vehicle.close()
    assert one.flight.outcome is Outcome.REFUSED and "no space left" in one.flight.reason
    assert not one.world.autopilot.rules.armed and summary(one)["changes"] == []


def test_a_dry_run_computes_and_sends_nothing_but_what_sensors_need() -> None:
    with companion(replace(HOVER, dry=True)) as one:
        one.run(20.0)
        heard, computed = one.world.autopilot.heard, one.loop.counters["commands"]
        commands = one.controller.counters["commands"]
    assert one.flight.outcome is Outcome.REHEARSED
    assert computed > 500 and commands > 500
    assert set(heard) == {"HEARTBEAT", "TIMESYNC", "COMMAND_LONG"}
    assert summary(one)["changes"] == []


def test_a_dry_run_asks_only_for_message_intervals() -> None:
    with companion(replace(HOVER, dry=True)) as one:
        wire, numbers = dialect().MAVLink(None), set()
        while not one.flight.done:
            one.world.step(one.act)
            for data in one.world.sent:
                m = wire.decode(bytearray(data))
                if m.get_type() == "COMMAND_LONG":
                    numbers.add(m.command)
        assert numbers == {511}


def test_a_pilot_that_hangs_is_silent_and_the_autopilot_saves_itself() -> None:
    with companion() as one:
        one.run(20.0, lambda: stage_of(one) is Stage.FLYING)
        one.run(1.0)
        heard = sum(one.world.autopilot.heard.values())
        begin_s = one.world.now_s
        while one.world.autopilot.rules.failsafes == 0 and one.world.now_s - begin_s < 5.0:
            one.world.step(lambda: None)  # nothing runs any more
        assert 0.9 < one.world.now_s - begin_s < 1.1
        assert sum(one.world.autopilot.heard.values()) == heard  # not a heartbeat
        while one.world.autopilot.rules.armed and one.world.now_s - begin_s < 20.0:
            one.world.step(lambda: None)
        for _ in range(200):
            one.world.step(lambda: None)
        found = summary(one)
        assert (found["armed"], found["aloft"], found["mode"]) == (False, False, "LAND")
        assert found["steepest_deg"] < 60.0


@pytest.mark.parametrize(
    ("fault", "seconds"), [("imu:off@4s+0.4s", 0.13), ("gyro:off@4s+0.4s", 0.13), ("flow:off@4s+3s", 2.1)]
)
def test_a_silent_sensor_is_answered_in_time_and_forgiven(fault: str, seconds: float) -> None:
    with companion(replace(HOVER, duration_s=9.0), faults=fault) as one:
        release_s = one.run(20.0, lambda: one.world.autopilot.vehicle.aloft)
        assert release_s < 20.0
        one.run(3.9, lambda: False)
        assert state_of(one) is State.ACTIVE
        took_s = one.run(5.0, lambda: one.controller.state is not State.ACTIVE)
        assert took_s < 0.1 + seconds + 0.01
        assert state_of(one) is State.DEGRADED
        one.run(4.0, lambda: one.controller.state is State.ACTIVE)
        assert state_of(one) is State.ACTIVE
        one.run(20.0)
        assert one.flight.outcome is Outcome.LANDED and summary(one)["landed_softly"]


def test_when_the_pilot_takes_over_it_is_his() -> None:
    with companion() as one:
        one.run(20.0, lambda: stage_of(one) is Stage.FLYING)
        one.world.autopilot.rules.switch(Mode.LAND, one.world.autopilot.t_s)
        one.run(3.0)
        assert one.flight.outcome is Outcome.LOST and "AUTO.LAND" in one.flight.reason


def test_an_autopilot_that_falls_silent_ends_the_flight() -> None:
    with companion() as one:
        one.run(20.0, lambda: stage_of(one) is Stage.FLYING)
        one.world.autopilot.advance = list  # type: ignore[method-assign]  # it says nothing any more
        begin_s = now_s = one.world.now_s
        while not one.flight.done and now_s - begin_s < 10.0:
            now_s += 0.01
            one.loop.run_once()
            one.flight.update(now_s)
        assert one.flight.outcome is Outcome.LOST and "silent" in one.flight.reason and now_s - begin_s < 4.0


def test_a_battery_that_is_low_is_refused_with_the_fix() -> None:
    with companion(battery=0.2) as one:
        one.run(20.0)
        assert one.flight.outcome is Outcome.REFUSED and "battery: 20%" in one.flight.reason
        assert "charge" in one.flight.reason and summary(one)["setpoints"] == 0


def test_an_autopilot_that_does_not_go_offboard_is_told_with_its_own_words() -> None:
    with companion() as one:
        one.world.autopilot._attitude_target = lambda m, t_s: None  # type: ignore[method-assign]
        one.run(30.0)
        assert one.flight.outcome is Outcome.REFUSED and not summary(one)["armed"]
        assert "does not arm in offboard mode" in one.flight.reason and "no set-points" in one.flight.reason


def test_a_drone_that_sinks_to_the_floor_for_want_of_a_sensor_is_disarmed() -> None:
    with companion(replace(HOVER, duration_s=60.0), faults="flow:off@4s") as one:
        took_s = one.run(40.0)
        found = summary(one)
        assert one.flight.outcome is Outcome.LANDED and took_s < 20.0
        assert found["landed_softly"] and not found["armed"]


def test_two_autopilots_are_refused_by_name() -> None:
    with companion() as one:
        stranger = dialect().MAVLink(None, srcSystem=2, srcComponent=1)
        hello = bytes(dialect().MAVLink_heartbeat_message(2, 12, 0, 0, 4, 3).pack(stranger))

        def act() -> None:
            one.world.transport.put(hello, "elsewhere")
            one.act()

        while not one.flight.done:
            one.world.step(act)
        assert one.flight.outcome is Outcome.REFUSED and summary(one)["setpoints"] == 0
        assert "system 1 component 1" in one.flight.reason and "system 2 component 1" in one.flight.reason


def test_a_take_off_without_flow_is_given_up_and_the_autopilot_lands() -> None:
    with companion(faults="flow:off@0s") as one:
        one.run(40.0)
        found = summary(one)
        assert one.flight.outcome is Outcome.LOST and "flow is not heard" in one.flight.reason
        assert found["landed_softly"] and not found["armed"] and found["highest_m"] < 1.8


def test_nobody_there_is_refused_with_the_fix() -> None:
    with companion(channel=ChannelFaults(loss=1.0)) as one:
        one.run(20.0)
        assert one.flight.outcome is Outcome.REFUSED and "no autopilot was heard" in one.flight.reason


def test_a_reboot_on_the_floor_is_ridden_out() -> None:
    with companion() as one:
        one.run(20.0, lambda: stage_of(one) is Stage.PREFLIGHT)
        one.run(0.5)
        one.world.autopilot.reboot()
        one.run(60.0)
        assert one.flight.outcome is Outcome.LANDED and summary(one)["landed_softly"]
        assert one.link.clock.jumps == 1


def test_by_hand_nothing_is_asked_and_the_policy_takes_over_in_the_air() -> None:
    with companion(replace(HOVER, arms=False, duration_s=3.0)) as one:
        autopilot = one.world.autopilot
        one.run(4.0)
        assert one.flight.stage is Stage.ENGAGING and not autopilot.rules.armed and autopilot.rules.setpoints > 0
        assert autopilot.rules.arm(autopilot.t_s, True, 0.0)
        # the pilot's own take-off: what an autopilot's take-off mode does
        while autopilot.vehicle.height_m < 0.9:
            autopilot.vehicle.obey(1.08 * one.throttle.hover_throttle, (0.0, 0.0, 0.0))
            autopilot._drive = lambda: None  # type: ignore[method-assign]
            one.world.step(one.act)
        del autopilot._drive
        assert autopilot.rules.switch(Mode.OFFBOARD, autopilot.t_s)
        one.run(3.0)
        assert stage_of(one) is Stage.FLYING and autopilot.vehicle.height_m > 0.4
        one.run(30.0)
        assert one.flight.outcome is Outcome.LANDED
        commands = {m for m in autopilot.heard if m.startswith("COMMAND")}
        assert commands == {"COMMAND_LONG"} and [what for _, what in autopilot.rules.changes[:2]] == [
            "armed",
            "OFFBOARD",
        ]
