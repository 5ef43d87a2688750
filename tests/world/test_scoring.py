"""Scoring: every rule of a hover flight alone, and failures that weigh as infinite."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from envs.scoring import FlightScore, landed_safely, score_hover, score_task, summarise
from envs.trace import FlightTrace
from liquid_pilot.errors import SimulationError


def trace(times_s: np.ndarray | None = None) -> FlightTrace:
    """15 s of perfect hover after a release at 0.5 s."""
    t = np.linspace(0.0, 15.5, 1551) if times_s is None else times_s
    n = len(t)
    return FlightTrace(
        release_s=0.5,
        t_s=t,
        position_m=np.tile([0.0, 0.0, 1.0], (n, 1)),
        velocity_m_s=np.zeros((n, 3)),
        attitude_wxyz=np.tile([1.0, 0.0, 0.0, 0.0], (n, 1)),
        rates_rad_s=np.zeros((n, 3)),
        setpoint_velocity_m_s=np.zeros((n, 2)),
        setpoint_height_m=np.ones(n),
        thrust_m_s2=np.full(n, 9.81),
        command_rates_rad_s=np.zeros((n, 3)),
        wind_m_s=np.zeros((n, 3)),
        observation=np.zeros((n, 0)),
        hidden=np.zeros((n, 0)),
        time_constant_s=np.zeros((n, 0)),
        lowest_m=1.0,
        highest_m=1.0,
    )


def leaning(tilt_deg: float, from_s: float) -> FlightTrace:
    flown = trace()
    half = math.radians(tilt_deg) / 2.0
    attitude = flown.attitude_wxyz.copy()
    attitude[flown.t_s >= from_s] = (math.cos(half), math.sin(half), 0.0, 0.0)
    return replace(flown, attitude_wxyz=attitude)


def test_a_perfect_hover_has_no_error() -> None:
    assert score_hover(trace()) == FlightScore(True, "", 0.0, 0.0)


@pytest.mark.parametrize(
    ("flown", "reason"),
    [
        (replace(trace(), lowest_m=0.099), "ground"),
        (replace(trace(), lowest_m=math.nan), "ground"),
        (replace(trace(), highest_m=3.51), "ceiling"),
        (leaning(20.1, 14.0), "tilt"),
        (leaning(20.1, 3.5), "tilt"),
        (trace(np.linspace(0.0, 15.4, 1541)), "ended early"),
        (replace(trace(), release_s=math.inf), "never released"),
        (replace(trace(), velocity_m_s=np.full((1551, 3), np.nan)), "not finite"),
    ],
)
def test_each_rule_fails_a_flight_alone(flown: FlightTrace, reason: str) -> None:
    assert score_hover(flown) == FlightScore(False, reason, math.inf, math.inf)


def test_what_is_still_allowed() -> None:
    assert score_hover(replace(trace(), lowest_m=0.101, highest_m=3.49)).success
    assert score_hover(leaning(19.9, 3.6)).success
    early = leaning(80.0, 0.0)
    attitude = np.where(early.t_s[:, None] < 3.49, early.attitude_wxyz, [1.0, 0.0, 0.0, 0.0])
    assert score_hover(replace(early, attitude_wxyz=attitude)).success


def test_errors_count_from_five_seconds_after_release() -> None:
    flown = trace()
    v = np.zeros((1551, 3))
    v[flown.t_s < 5.499] = (9.0, 9.0, 9.0)  # before: does not count
    v[flown.t_s >= 5.499] = (0.3, -0.4, 9.0)  # vertical speed does not count either
    score = score_hover(replace(flown, velocity_m_s=v))
    assert score.speed_error_m_s == pytest.approx(0.5)
    assert score.height_error_m == 0.0


def test_the_mean_is_over_time_not_over_events() -> None:
    t = np.concatenate([np.arange(0.0, 10.5, 0.01), np.arange(10.5, 15.6, 0.1)])
    flown = trace(t)
    v = np.zeros((len(t), 3))
    v[t > 10.501, 0] = 1.0  # the second half of the judged time, in a tenth of the events
    assert score_hover(replace(flown, velocity_m_s=v)).speed_error_m_s == pytest.approx(0.5, abs=0.01)


def test_the_set_point_turns_with_the_heading() -> None:
    flown = trace()
    q = np.tile([math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5)], (1551, 1))  # facing +y
    v = np.tile([0.0, 1.0, 0.0], (1551, 1))
    want = np.tile([1.0, 0.0], (1551, 1))
    ahead = replace(flown, attitude_wxyz=q, velocity_m_s=v, setpoint_velocity_m_s=want)
    assert score_hover(ahead).speed_error_m_s == pytest.approx(0.0, abs=1e-12)


def scores(good: int, bad: int) -> list[FlightScore]:
    return [FlightScore(True, "", 0.01 * (i + 1), 0.02) for i in range(good)] + [
        FlightScore(False, "ground", math.inf, math.inf) for _ in range(bad)
    ]


def test_failures_are_counted_and_weigh_as_infinite() -> None:
    summary = summarise(scores(9, 1))
    assert summary == {
        "success_rate": 0.9,
        "flights": 10,
        "failures": 1,
        "speed_error_median_m_s": pytest.approx(0.055),
        "speed_error_p90_m_s": pytest.approx(0.09),
        "height_error_median_m": 0.02,
        "reasons": {"ground": 1},
    }
    assert summarise(scores(8, 2))["speed_error_p90_m_s"] is None
    half = summarise(scores(5, 5))
    assert half["speed_error_median_m_s"] is None and half["success_rate"] == 0.5
    assert summarise(scores(10, 0))["reasons"] == {}


def test_the_order_of_flights_does_not_matter() -> None:
    flown = scores(7, 2)
    assert summarise(flown) == summarise(flown[::-1])


def test_no_flights_is_an_error() -> None:
    with pytest.raises(SimulationError, match="no flights"):
        summarise([])


REST_M = 0.02


def coming_down(speed_m_s: float, tilt_deg: float = 0.0, bounce_m_s: float = 0.0) -> FlightTrace:
    """A hover that sinks at a speed from 8 s on, and stands from 12 s on; with a second touch if it bounces."""
    flown = leaning(tilt_deg, 13.0)
    begin_s = 12.0 - 0.97 / speed_m_s
    height = np.clip(1.0 - speed_m_s * (flown.t_s - begin_s), 0.03, 1.0)
    velocity = np.where((flown.t_s >= begin_s) & (flown.t_s < 12.0), -speed_m_s, 0.0)
    if bounce_m_s:
        up = (flown.t_s >= 12.5) & (flown.t_s < 12.7)
        height, velocity = np.where(up, 0.2, height), np.where(up, -bounce_m_s, velocity)
    position, speed = flown.position_m.copy(), flown.velocity_m_s.copy()
    position[:, 2], speed[:, 2] = height, velocity
    return replace(flown, position_m=position, velocity_m_s=speed)


def test_a_landing_is_safe_where_it_is_soft_upright_and_over() -> None:
    assert landed_safely(coming_down(0.4), REST_M) and landed_safely(coming_down(0.4), REST_M, 0.5)
    assert not landed_safely(coming_down(0.6), REST_M, 0.5)
    assert not landed_safely(coming_down(1.6), REST_M)
    assert not landed_safely(coming_down(0.4, tilt_deg=25.0), REST_M)
    assert landed_safely(coming_down(0.4, bounce_m_s=1.0), REST_M) and not landed_safely(
        coming_down(0.4, bounce_m_s=2.0), REST_M
    )
    assert not landed_safely(trace(), REST_M)
    moving = coming_down(0.4)
    moving.velocity_m_s[-1, 0] = 0.5
    assert not landed_safely(moving, REST_M)


def test_errors_in_a_transient_do_not_count() -> None:
    flown = replace(trace(), outcome="success")
    flown.velocity_m_s[(flown.t_s > 8.0) & (flown.t_s < 9.0), 0] = 1.0
    settled = np.where((flown.t_s > 7.9) & (flown.t_s < 9.1), 0.0, 1.0)
    assert score_task(replace(flown, settled=settled), 15.0).speed_error_m_s == 0.0
    assert score_task(flown, 15.0).speed_error_m_s == pytest.approx(math.sqrt(0.1), rel=0.02)
