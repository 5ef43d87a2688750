"""RAPTOR as a rival: the axes and the scale of what it sees and commands, its own clock, known answers in flight."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.airframe import load_airframe
from envs.conditions import Conditions
from envs.flights import draw_flights
from envs.physics import Body
from envs.references import ReferencePoint
from envs.rollout import fly_privileged
from envs.trace import FlightTrace
from liquid_pilot.errors import ConfigError, MissingExtraError
from liquid_pilot.geometry import multiply, rotation_matrix
from liquid_pilot.messages import Setpoint
from policies.experts.raptor import OBSERVED, PERIOD_S, PLACE_LIMIT_M, SPEED_LIMIT_M_S, Raptor, load_raptor, observe
from scripts.benchmarks.eights import BY_NAME, NOMINAL, fly_eight, rmse_m
from scripts.benchmarks.tracking import PUBLISHED

AIRFRAME = load_airframe("cf2x")
REST = (0.0, 0.0, 0.0)
ZERO = (0.0, 0.0, 0.0, 0.0)
LEVEL = Body((0.0, 0.0, 1.0), REST, (1.0, 0.0, 0.0, 0.0), REST)
HOLD = Setpoint(0.0, (0.0, 0.0), 1.0, 0.0)
small = st.floats(-0.3, 0.3)
angle = st.floats(-3.1, 3.1)


@dataclass
class Steady:
    """A policy that always says the same, and remembers what it saw."""

    action: tuple[float, float, float, float] = ZERO
    seen: list[npt.NDArray[np.float64]] = field(default_factory=list)
    resets: int = 0

    def reset(self) -> None:
        self.resets += 1

    def evaluate_step(self, observation: npt.NDArray[np.float64], /) -> npt.NDArray[np.float64]:
        self.seen.append(observation)
        return np.array([self.action])


def turned(yaw: float) -> tuple[float, float, float, float]:
    return math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)


def at_rest(position_m: tuple[float, float, float]) -> ReferencePoint[float]:
    return ReferencePoint(position_m, REST, REST)


def test_at_the_point_it_sees_no_error_and_its_previous_action_last() -> None:
    seen = observe(LEVEL, at_rest(LEVEL.position_m), 0.0, (0.1, 0.2, 0.3, 0.4))
    assert seen.tolist() == [*REST, 1, 0, 0, 0, 1, 0, 0, 0, 1, *REST, *REST, 0.1, 0.2, 0.3, 0.4]


def test_each_number_stands_where_the_package_reads_it() -> None:
    """Error = drone less point; velocity in the world, rates in the body, the rotation body -> world by rows."""
    q = multiply(turned(0.2), (math.cos(0.1), math.sin(0.1), 0.0, 0.0))
    body = Body((0.1, 0.2, 1.3), (0.4, 0.5, 0.6), q, (0.7, 0.8, 0.9))
    point = ReferencePoint((0.0, 0.0, 1.0), (0.1, 0.1, 0.1), (9.0, 9.0, 9.0))
    seen = observe(body, point, 0.0, ZERO)
    assert seen.shape == (OBSERVED,)
    assert seen[:3] == pytest.approx((0.1, 0.2, 0.3))
    assert seen[3:12] == pytest.approx(np.array(rotation_matrix(q)).ravel())
    assert seen[12:15] == pytest.approx((0.3, 0.4, 0.5))
    assert seen[15:18].tolist() == [0.7, 0.8, 0.9]


@given(angle, angle, st.lists(small, min_size=8, max_size=8))
def test_turning_the_world_with_the_wanted_heading_changes_nothing(yaw: float, turn: float, x: list[float]) -> None:
    c, s = math.cos(turn), math.sin(turn)

    def around(v: tuple[float, float, float]) -> tuple[float, float, float]:
        return c * v[0] - s * v[1], s * v[0] + c * v[1], v[2]

    tilt = (math.sqrt(1.0 - x[0] ** 2), x[0], 0.0, 0.0)
    place, speed = (x[1], x[2], 1.0 + x[3]), (x[4], x[5], x[6])
    body = Body(place, speed, multiply(turned(yaw), tilt), (0.1, 0.2, x[7]))
    there = replace(
        body, position_m=around(place), velocity_m_s=around(speed), attitude_wxyz=multiply(turned(yaw + turn), tilt)
    )
    point = at_rest((0.0, 0.0, 1.0))
    assert observe(there, point, yaw + turn, ZERO) == pytest.approx(observe(body, point, yaw, ZERO), abs=1e-9)


@given(angle, st.lists(st.floats(-9.0, 9.0), min_size=6, max_size=6))
def test_errors_are_cut_to_what_it_was_trained_on(yaw: float, x: list[float]) -> None:
    seen = observe(Body((x[0], x[1], x[2]), (x[3], x[4], x[5]), turned(0.3), REST), at_rest(REST), yaw, ZERO)
    assert np.abs(seen[:3]).max() <= PLACE_LIMIT_M and np.abs(seen[12:15]).max() <= SPEED_LIMIT_M_S


def test_actions_are_motor_speeds_cut_to_what_motors_can_and_seen_again() -> None:
    policy = Steady((-1.0, 0.0, 1.0, 3.0))
    raptor = Raptor(AIRFRAME, policy=policy)
    assert raptor.motors(0.0, LEVEL, HOLD) == (0.0, 0.5, 1.0, 1.0)
    raptor.motors(PERIOD_S, LEVEL, HOLD)
    assert policy.resets == 1
    assert [seen[0, 18:].tolist() for seen in policy.seen] == [[0.0] * 4, [-1.0, 0.0, 1.0, 1.0]]


def test_it_holds_the_place_and_the_heading_it_had_and_moves_both_as_commanded() -> None:
    policy = Steady()
    raptor = Raptor(AIRFRAME, policy=policy)
    body = Body((3.0, -2.0, 1.0), REST, turned(1.0), REST)
    told = Setpoint(0.0, (0.2, 0.0), 1.0, 0.5)
    for step in range(101):
        raptor.motors(step * PERIOD_S, body, told)
    first, last = policy.seen[0][0], policy.seen[-1][0]
    assert first[:12] == pytest.approx([*REST, 1, 0, 0, 0, 1, 0, 0, 0, 1], abs=1e-12)
    assert first[12:15] == pytest.approx((-0.2, 0.0, 0.0), abs=1e-12)
    # a second on: 0.2 m behind along its own x, and 0.5 rad to the right of the wanted heading
    c, s = math.cos(0.5), math.sin(0.5)
    assert last[:3] == pytest.approx((-0.2 * c, 0.2 * s, 0.0), abs=1e-9)
    assert last[3:7] == pytest.approx((c, s, 0.0, -s), abs=1e-9)


@dataclass
class Counting:
    """A `MotorExpert` that hovers blindly and writes down when it was asked."""

    at_once: bool = True
    period_s: float = PERIOD_S
    asked_s: list[float] = field(default_factory=list)

    def motors(self, t_s: float, body: Body[float], setpoint: Setpoint) -> tuple[float, float, float, float]:
        self.asked_s.append(t_s)
        speed = AIRFRAME.hover_speed
        return speed, speed, speed, speed


def flown(expert: Any, conditions: Conditions, seconds: float) -> FlightTrace:
    flights = draw_flights(AIRFRAME, conditions, 1, np.random.default_rng(0))
    return fly_privileged(expert, AIRFRAME, flights, conditions, np.random.default_rng(1), seconds)


@pytest.mark.parametrize("imu_hz", [25.0, 100.0, 400.0])
def test_its_clock_is_its_own_at_any_imu_rate(imu_hz: float) -> None:
    expert = Counting()
    trace = flown(expert, replace(NOMINAL, imu_hz=(imu_hz, imu_hz), imu_jitter=0.1), 1.0)
    late = np.array(expert.asked_s) - trace.release_s - PERIOD_S * np.arange(len(expert.asked_s))
    assert len(expert.asked_s) >= 100
    assert late.min() > -1e-6 and late.max() <= 0.002 + 1e-6  # a substep of physics at most
    assert np.isnan(trace.thrust_m_s2[-1])  # nothing goes to the rate loop


def test_commands_at_once_go_before_the_latency() -> None:
    """Released at three quarters of hover thrust, a drone sinks until its command has effect."""
    conditions = replace(NOMINAL, command_latency_s=(0.1, 0.1))
    now, late = (flown(Counting(at_once=at_once), conditions, 0.4) for at_once in (True, False))
    assert now.velocity_m_s[-1, 2] > late.velocity_m_s[-1, 2] + 0.05


def test_mirrored_rotors_are_refused() -> None:
    with pytest.raises(ConfigError, match="spin"):
        Raptor(replace(AIRFRAME, spin=(1, -1, 1, -1)), policy=Steady())


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"liquid-pilot\[rivals\]"):
        load_raptor()


def test_it_hovers_within_two_centimetres_whatever_its_heading() -> None:
    pytest.importorskip("foundation_policy")
    trace = flown(Raptor(AIRFRAME), replace(NOMINAL, imu_hz=(50.0, 50.0)), 4.0)
    start, late = trace.position_m[0, :2], trace.t_s > trace.release_s + 3.0
    assert np.abs(trace.position_m[late] - [*start, 1.0]).max() < 0.02
    assert trace.tilt_rad[late].max() < 0.02


def test_it_flies_the_eight_as_published() -> None:
    pytest.importorskip("foundation_policy")
    nominal = replace(NOMINAL, motor_tau_s=(AIRFRAME.motor_tau_up_s,) * 2)
    published = PUBLISHED["RAPTOR (published)"][1]
    assert rmse_m(fly_eight(BY_NAME["raptor"], AIRFRAME, 5.5, nominal, 0)) == pytest.approx(published, abs=0.02)
