"""The velocity over the ground: learnt from flow, carried on without it, held by drag."""

from __future__ import annotations

import math

import pytest

from liquid_pilot.drift import BRAKE_M_S2, DRAG_PER_S, FORGOTTEN_S, Drift, Floats2
from liquid_pilot.messages import Floats3
from liquid_pilot.observation import GRAVITY_M_S2

STILL = (0.0, 0.0, 0.0)
UP = (0.0, 0.0, 1.0)
DT_S = 0.01


def felt(x: float, y: float) -> Floats3:
    return (x, y, GRAVITY_M_S2)


def flown(drift: Drift, seconds: float, velocity_m_s: Floats2, bias_m_s2: Floats2 = (0.0, 0.0)) -> Drift:
    """A constant velocity through calm air, 1 m above the floor, flow at 50 Hz: thrust makes up for drag by a lean."""
    (vx, vy), (bx, by) = velocity_m_s, bias_m_s2
    up = (-DRAG_PER_S * vx / GRAVITY_M_S2, -DRAG_PER_S * vy / GRAVITY_M_S2, 1.0)
    for k in range(round(seconds / DT_S)):
        drift.carry(DT_S, STILL, felt(bx - DRAG_PER_S * vx, by - DRAG_PER_S * vy), up, 0.0)
        if k % 2:
            drift.see(velocity_m_s, 1.0)
    return drift


def test_velocity_and_bias_are_learnt_from_flow() -> None:
    drift = flown(Drift(), 8.0, (0.8, -0.3), (0.3, -0.2))
    assert drift.velocity_m_s == pytest.approx((0.8, -0.3), abs=0.02)
    assert drift.bias_m_s2 == pytest.approx((0.3, -0.2), abs=0.02)


def test_without_flow_a_lean_changes_the_velocity_as_it_does() -> None:
    drift, speed, lean = flown(Drift(), 8.0, (0.0, 0.0), (0.3, 0.0)), 0.0, 0.1
    for _ in range(100):
        drag = -DRAG_PER_S * speed
        speed += (GRAVITY_M_S2 * lean + drag) * DT_S  # body x points up by the negative of its acceleration
        drift.carry(DT_S, STILL, felt(0.3 + drag, 0.0), (-lean, 0.0, math.sqrt(1.0 - lean**2)), 0.0)
    assert speed > 0.8
    assert drift.velocity_m_s == pytest.approx((speed, 0.0), abs=0.05)


def test_a_turn_turns_the_velocity() -> None:
    drift = flown(Drift(), 4.0, (1.0, 0.0))
    for _ in range(25):
        drift.carry(DT_S, (0.0, 0.0, 1.0), None, UP, 0.0)
    assert drift.velocity_m_s[1] == pytest.approx(-math.sin(0.25), abs=0.06)


def test_drag_holds_an_attitude_that_drifts() -> None:
    """A gyro's bias turns the estimate by 0.005 rad/s: the speed that it makes up grows for ever but for drag."""
    drift = flown(Drift(), 6.0, (0.0, 0.0))
    alone = 0.0
    for k in range(1000):
        lean = 0.005 * k * DT_S
        alone += GRAVITY_M_S2 * lean * DT_S
        drift.carry(DT_S, STILL, felt(0.0, 0.0), (-lean, 0.0, 1.0), 0.0)
    assert alone > 2.4 and 0.0 < drift.velocity_m_s[0] < 0.8


def test_one_wild_sample_is_not_believed() -> None:
    drift = flown(Drift(), 4.0, (0.2, 0.0))
    drift.carry(DT_S, STILL, felt(-0.2 * DRAG_PER_S, 0.0), UP, 0.0)
    drift.see((7.0, -7.0), 1.0)
    assert math.dist(drift.velocity_m_s, (0.2, 0.0)) < 0.1


def test_it_leans_against_the_velocity_within_bounds_and_lets_go_of_what_is_old() -> None:
    drift = Drift()
    assert drift.wanted_up() == UP  # nothing was heard
    flown(drift, 6.0, (0.4, 0.0))
    slow = drift.wanted_up()[0]
    # the specific force to come tilts back by this much against that of level flight
    assert slow * GRAVITY_M_S2 == pytest.approx(1.5 * 0.4 - DRAG_PER_S * 0.4, abs=0.03)
    flown(drift, 6.0, (5.0, 0.0))
    x, y, z = drift.wanted_up()
    assert 0.0 < x * GRAVITY_M_S2 <= BRAKE_M_S2 and math.hypot(x, y, z) == pytest.approx(1.0)
    for _ in range(round(FORGOTTEN_S / DT_S) + 1):
        drift.carry(DT_S, STILL, felt(0.0, 0.0), UP, 0.0)
    assert drift.wanted_up() == UP
