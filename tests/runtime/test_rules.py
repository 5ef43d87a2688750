"""The autopilot's rules are PX4's: proof of life, offboard loss, arming, masks, disarming."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.autopilot.rules import LOWEST_BATTERY, OFFBOARD_LOSS_S, Mode, Rules

MASK = 128


def stream(rules: Rules, begin_s: float, end_s: float, hz: float = 50.0) -> float:
    """Set-points at a rate; the time of the newest."""
    count = round((end_s - begin_s) * hz)
    for i in range(count + 1):
        t_s = begin_s + i / hz
        assert rules.setpoint(MASK, t_s)
        rules.update(t_s, rules.landed)
    return begin_s + count / hz


def armed(rules: Rules) -> bool:
    """A call, because type checkers take an attribute for a constant."""
    return rules.armed


def flying() -> tuple[Rules, float]:
    rules = Rules()
    t_s = stream(rules, 0.0, 2.0)
    assert rules.switch(Mode.OFFBOARD, t_s) and rules.arm(t_s, True, 0.0)
    rules.update(t_s, landed=False)
    return rules, t_s


@pytest.mark.parametrize(
    ("hz", "seconds", "accepted"), [(50.0, 1.1, True), (2.1, 2.0, True), (1.9, 5.0, False), (50.0, 0.9, False)]
)
def test_offboard_needs_two_hertz_for_a_second(hz: float, seconds: float, accepted: bool) -> None:
    rules = Rules()
    t_s = stream(rules, 0.0, seconds, hz)
    assert rules.switch(Mode.OFFBOARD, t_s) is accepted
    assert bool(rules.denials) is not accepted


def test_a_stream_that_stopped_is_no_proof() -> None:
    rules = Rules()
    t_s = stream(rules, 0.0, 3.0)
    assert not rules.switch(Mode.OFFBOARD, t_s + 0.6)
    rules.setpoint(MASK, t_s + 0.7)
    assert not rules.switch(Mode.OFFBOARD, t_s + 0.7)  # it starts anew


def test_silence_for_a_second_is_a_failsafe_and_not_earlier() -> None:
    rules, t_s = flying()
    rules.update(t_s + OFFBOARD_LOSS_S - 0.01, landed=False)
    assert rules.mode is Mode.OFFBOARD and rules.failsafes == 0
    rules.update(t_s + OFFBOARD_LOSS_S + 0.01, landed=False)
    assert (rules.mode, rules.failsafes, rules.armed) == (Mode.LAND, 1, True)


@given(st.integers(0, 255).filter(lambda mask: mask != MASK))
def test_other_masks_are_no_set_points(mask: int) -> None:
    rules = Rules()
    assert not rules.setpoint(mask, 1.0)
    assert (rules.masks_refused, rules.setpoints) == (1, 0)


@pytest.mark.parametrize(
    ("still", "throttle", "battery", "why"),
    [(False, 0.0, 1.0, "moves"), (True, 0.4, 1.0, "throttle"), (True, 0.0, LOWEST_BATTERY - 0.01, "battery")],
)
def test_arming_is_denied_with_a_reason(still: bool, throttle: float, battery: float, why: str) -> None:
    rules = Rules(battery=battery)
    assert not rules.arm(1.0, still, throttle)
    assert why in rules.denials[0] and not rules.armed


def test_in_the_air_only_force_disarms() -> None:
    rules, t_s = flying()
    assert not rules.disarm(t_s, force=False) and armed(rules)
    assert rules.disarm(t_s, force=True) and not armed(rules)


def test_it_disarms_after_landing_and_when_it_does_not_take_off() -> None:
    rules, t_s = flying()
    rules.switch(Mode.LAND, t_s)
    rules.update(t_s + 5.0, landed=True)
    assert armed(rules)
    rules.update(t_s + 6.1, landed=True)
    assert not armed(rules)
    idle = Rules()
    assert idle.arm(0.0, True, 0.0)
    idle.update(9.9, landed=True)
    assert armed(idle)
    idle.update(10.1, landed=True)
    assert not armed(idle)
