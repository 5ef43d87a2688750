"""Measured places and velocities in the conventional rival: in whose axes, and what it makes of bad ones."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.airframe import load_airframe
from envs.conditions import Conditions
from envs.faults import parse_fault
from envs.flights import draw_flights
from envs.parts import conditions_with
from envs.pilots import Pilot
from envs.references import ReferencePoint
from envs.rollout import fly
from envs.trace import FlightTrace
from liquid_pilot.messages import Imu, Position
from liquid_pilot.observation import GRAVITY_M_S2
from policies.experts.ekf_follower import EkfFollower
from policies.experts.estimator import Estimator
from policies.experts.pid_ekf import PidEkfPilot

AIRFRAME = load_airframe("cf2x")
MOCAP = conditions_with(Conditions(hold_s=0.3, tilt_deg=(0.0, 20.0)), position="mocap")


def thrown(heading_rad: float | None, velocity_m_s: tuple[float, float, float]) -> Estimator:
    """The filter of a drone that falls with a world velocity, 0.2 s after its release, told it at 50 Hz."""
    estimator = Estimator(heading_rad=heading_rad)
    for k in range(100):
        t, force = 0.01 * k, GRAVITY_M_S2 if k < 80 else 0.0
        estimator.feed(Imu(t, (0.0, 0.0, 0.0), (0.0, 0.0, force)))
        if k > 80 and k % 2:
            x, y, z = velocity_m_s
            fallen = GRAVITY_M_S2 * (t - 0.79)
            estimator.feed(Position(t, (0.0, 0.0, 1.0), (x, y, z - fallen)))
    return estimator


@given(st.floats(-math.pi, math.pi), st.floats(-1.0, 1.0), st.floats(-1.0, 1.0))
def test_a_compass_turns_the_measured_velocity_into_the_axes_of_the_filter(heading: float, x: float, y: float) -> None:
    state = thrown(heading, (x, y, 0.5)).state
    assert state is not None
    c, s = math.cos(heading), math.sin(heading)
    assert state.velocity_m_s[:2] == pytest.approx((c * x + s * y, c * y - s * x), abs=0.05)


def test_without_a_compass_height_and_climb_alone_are_taken() -> None:
    still, moving = thrown(None, (0.0, 0.0, 0.5)).state, thrown(None, (0.7, -0.4, 0.5)).state
    unknown = thrown(None, (0.0, 0.0, -0.5)).state
    assert still is not None and moving is not None and unknown is not None
    assert moving.velocity_m_s.tolist() == still.velocity_m_s.tolist()
    assert still.velocity_m_s[2] - unknown.velocity_m_s[2] == pytest.approx(1.0, abs=0.1)
    assert still.covariance[5, 5] < 0.1 * still.covariance[3, 3]


def test_a_velocity_measured_in_the_hand_says_nothing_of_the_throw() -> None:
    estimator, release_s = Estimator(heading_rad=0.0), 0.5
    for k in range(101):
        t, force = 0.01 * k, GRAVITY_M_S2 if k <= 50 else 0.0
        estimator.feed(Imu(t, (0.0, 0.0, 0.0), (0.0, 0.0, force)))
        if k == 52:
            estimator.feed(Position(release_s, (0.0, 0.0, 1.0), (0.0, 0.0, 0.0)))  # late, stamped at the release
        if k >= 54 and k % 2 == 0:
            estimator.feed(Position(t, (0.0, 0.0, 1.0), (0.8, 0.0, -GRAVITY_M_S2 * (t - release_s))))
    assert estimator.release_s == release_s and estimator.state is not None
    assert estimator.state.velocity_m_s[0] == pytest.approx(0.8, abs=0.05)


def flown(pilot: Pilot, conditions: Conditions, seed: int, seconds: float = 5.0) -> FlightTrace:
    flights = draw_flights(AIRFRAME, conditions, 1, np.random.default_rng(seed))
    return fly(pilot, AIRFRAME, flights, conditions, np.random.default_rng([seed, 1]), seconds)


def test_whatever_the_heading_motion_capture_makes_hovering_no_worse() -> None:
    def speed(conditions: Conditions) -> float:
        traces = [flown(PidEkfPilot(AIRFRAME), conditions, seed) for seed in range(5)]
        return float(np.mean([np.hypot(*t.velocity_m_s[-200:, :2].T).mean() for t in traces]))

    assert speed(MOCAP) < 1.3 * speed(replace(MOCAP, position_hz=(0.0, 0.0)))


@pytest.mark.parametrize("fault", ["nan", "off"])
def test_without_a_measured_place_it_flies_on(fault: str) -> None:
    conditions = replace(MOCAP, faults=(parse_fault(f"position:{fault}@1s"),))
    row = draw_flights(AIRFRAME, conditions, 1, np.random.default_rng(0))
    w, x, y, z = row.attitude_wxyz[0].tolist()
    heading = math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    zero = (0.0, 0.0, 0.0)
    pilot = EkfFollower(AIRFRAME, lambda t_s: ReferencePoint((0.0, 0.0, 1.2), zero, zero), heading, 0.0)
    trace = flown(pilot, conditions, 0, 3.0)
    assert trace.t_s[-1] >= trace.release_s + 3.0
    assert np.isfinite(trace.thrust_m_s2).all() and np.isfinite(trace.position_m).all()
