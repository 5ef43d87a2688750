"""How a flight ends when it is stopped, or taken over, at an awkward moment."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from envs.autopilot.companion import Companion
from envs.autopilot.rules import Mode
from liquid_pilot.fallback import Fallback
from liquid_pilot.runtime.flight import LAND_S, Outcome, Stage
from liquid_pilot.supervisor import State
from tests.runtime.test_flight import HOVER, companion, stage_of, state_of, summary

UNTIL_TOLD = replace(HOVER, duration_s=math.inf)


def test_killing_stops_the_motors_after_a_long_flight() -> None:
    with companion(UNTIL_TOLD) as one:
        one.run(20.0, lambda: stage_of(one) is Stage.FLYING)
        one.flight._entered_s -= 2.0 * LAND_S  # as if it had flown for so long
        one.flight.kill()
        took_s = one.run(10.0)
        rules = one.world.autopilot.rules
        assert one.flight.outcome is Outcome.LOST and took_s < 0.5
        assert not rules.armed and rules.changes[-1][1] == "disarmed by force"


def test_killing_stops_the_motors_in_a_landing_that_does_not_end() -> None:
    with companion(UNTIL_TOLD) as one:
        one.run(20.0, lambda: stage_of(one) is Stage.FLYING)
        one.flight.land()
        one.run(20.0, lambda: stage_of(one) is Stage.LANDING)
        one.flight._entered_s -= 1.1 * LAND_S
        one.flight.kill()
        one.run(0.5)
        assert not one.world.autopilot.rules.armed


def test_cancelling_the_checks_commands_nothing_of_a_drone_that_others_fly() -> None:
    with companion() as one:
        rules = one.world.autopilot.rules
        rules.armed = True
        one.run(20.0, lambda: stage_of(one) is Stage.PREFLIGHT)
        one.run(0.5)
        assert stage_of(one) is Stage.PREFLIGHT and one.flight.link.armed
        one.flight.land()
        one.run(2.0)
        assert one.flight.outcome is Outcome.CANCELLED and rules.setpoints == 0 and rules.armed


def armed_before_it_is_told(one: Companion) -> None:
    """The autopilot has armed; its next heartbeat, one a second, is still to come."""
    autopilot = one.world.autopilot
    one.run(20.0, lambda: autopilot.rules.armed)
    autopilot._due_s["HEARTBEAT"] = autopilot.boot_s(autopilot.t_s) + 0.9
    one.run(0.3, lambda: False)
    assert stage_of(one) is Stage.ENGAGING and autopilot.rules.armed and not one.flight.link.armed


def test_cancelling_just_after_arming_disarms() -> None:
    with companion() as one:
        armed_before_it_is_told(one)
        one.flight.land()
        one.run(10.0)
        assert one.flight.outcome is Outcome.CANCELLED and not one.world.autopilot.rules.armed


def test_killing_just_after_arming_stops_the_motors() -> None:
    with companion() as one:
        armed_before_it_is_told(one)
        one.flight.kill()
        one.run(10.0)
        assert one.flight.outcome is Outcome.LOST and not one.world.autopilot.rules.armed


def test_a_landing_that_a_pilot_takes_over_is_left_to_him() -> None:
    with companion(UNTIL_TOLD) as one:
        autopilot = one.world.autopilot
        one.run(20.0, lambda: stage_of(one) is Stage.FLYING)
        one.flight.land()
        one.run(20.0, lambda: stage_of(one) is Stage.LANDING)
        assert autopilot.rules.switch(Mode.HOLD, autopilot.t_s)
        autopilot._drive = lambda: None  # type: ignore[method-assign]  # his sticks
        autopilot.vehicle.obey(one.throttle.hover_throttle, (0.0, 0.0, 0.0))
        one.run(3.0)
        assert one.flight.outcome is Outcome.LOST and "not ours" in one.flight.reason
        assert autopilot.rules.mode is Mode.HOLD


def test_a_landing_mode_that_a_pilot_leaves_is_not_asked_for_again() -> None:
    with companion(UNTIL_TOLD) as one:
        autopilot = one.world.autopilot
        one.run(20.0, lambda: autopilot.vehicle.height_m > 0.3)
        assert stage_of(one) is Stage.TAKEOFF
        one.flight.land()
        one.run(20.0, lambda: one.flight.link.mode == "AUTO.LAND")
        assert autopilot.rules.switch(Mode.HOLD, autopilot.t_s)
        autopilot._drive = lambda: None  # type: ignore[method-assign]
        autopilot.vehicle.obey(one.throttle.hover_throttle, (0.0, 0.0, 0.0))
        one.run(3.0)
        assert one.flight.outcome is Outcome.LOST


def test_told_to_land_before_the_supervisor_flies_the_motors_go_on() -> None:
    with companion(UNTIL_TOLD) as one:
        one.run(20.0, lambda: stage_of(one) is Stage.TAKEOFF)
        one.controller._supervisor.limits = replace(one.controller._supervisor.limits, battery_s=0.1)
        one.world.autopilot.rules.battery = 0.05  # keeps the policy from taking over
        one.run(20.0, lambda: stage_of(one) is Stage.FLYING)
        assert state_of(one) is State.READY
        one.flight.land()
        one.run(20.0)
        found = summary(one)
        assert state_of(one) is not State.KILLED
        assert found["landed_softly"] and not found["armed"]


def test_by_hand_a_supervisor_that_wants_the_motors_off_ends_it_before_they_are_ours() -> None:
    with companion(replace(HOVER, arms=False)) as one:
        one.run(4.0)
        assert stage_of(one) is Stage.ENGAGING
        one.controller._supervisor.state = State.KILLED  # carried head down, for example
        one.run(1.0)
        assert one.flight.outcome is Outcome.LOST and "KILLED" in one.flight.reason


@pytest.mark.parametrize("arms", [True, False])
def test_a_tumble_while_landing_stops_the_motors(arms: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with companion(UNTIL_TOLD) as one:
        one.run(20.0, lambda: stage_of(one) is Stage.FLYING)
        one.flight.land()
        one.run(20.0, lambda: stage_of(one) is Stage.LANDING)
        one.flight.plan = replace(one.flight.plan, arms=arms)
        monkeypatch.setattr(Fallback, "tilt_rad", 2.0)
        one.run(1.6)
        assert state_of(one) is State.KILLED and one.world.autopilot.vehicle.height_m > 0.1
        one.run(2.0)
        assert one.world.autopilot.rules.changes[-1][1] == "disarmed by force"
        assert one.flight.outcome is Outcome.LOST
