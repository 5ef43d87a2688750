"""Conventional controllers: gains that follow from the airframe, known commands, flights that stay up, paths."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.airframe import load_airframe
from envs.conditions import Conditions
from envs.flights import draw_flights
from envs.physics import Body, forces, nominal_params
from envs.references import ReferencePoint, hover
from envs.rollout import fly, fly_privileged
from envs.scoring import score_hover
from liquid_pilot.command import DEFAULT_LIMITS, CommandLimits
from liquid_pilot.errors import ConfigError
from liquid_pilot.geometry import multiply, rotation_matrix
from liquid_pilot.messages import Setpoint
from liquid_pilot.observation import GRAVITY_M_S2
from liquid_pilot.ops import FLOAT_OPS
from policies.experts.following import Follower, Tracker, drag_per_s
from policies.experts.geometric import GeometricController
from policies.experts.pid import PidController, pid_gains
from policies.experts.pid_ekf import PidEkfPilot
from scripts.benchmarks.eights import NOMINAL, fly_eight, rmse_m
from scripts.benchmarks.tracking import CONTENDERS, PUBLISHED

AIRFRAME = load_airframe("cf2x")
GAINS = pid_gains(AIRFRAME)
REST = (0.0, 0.0, 0.0)
LEVEL = Body((0.0, 0.0, 1.0), REST, (1.0, 0.0, 0.0, 0.0), REST)
TRACKERS: list[Callable[[], Tracker]] = [GeometricController, lambda: PidController(GAINS)]


def turned(roll: float, pitch: float, yaw: float) -> tuple[float, float, float, float]:
    q = (math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2))
    q = multiply(q, (math.cos(pitch / 2), 0.0, math.sin(pitch / 2), 0.0))
    return multiply(q, (math.cos(roll / 2), math.sin(roll / 2), 0.0, 0.0))


@pytest.mark.parametrize("make", TRACKERS)
@pytest.mark.parametrize("yaw", [0.0, 2.0, -3.1])
def test_hovering_where_it_should_be_asks_for_gravity_alone(make: Callable[[], Tracker], yaw: float) -> None:
    body = replace(LEVEL, attitude_wxyz=turned(0.0, 0.0, yaw))
    command = make().track(0.0, body, hover(body.position_m)(0.0))
    assert command.thrust_m_s2 == pytest.approx(GRAVITY_M_S2, abs=1e-12)
    assert command.rates_rad_s == pytest.approx(REST, abs=1e-12)


@pytest.mark.parametrize("make", TRACKERS)
@given(st.floats(-0.6, 0.6), st.floats(-0.6, 0.6), st.floats(-3.0, 3.0))
def test_the_attitude_that_flies_the_acceleration_is_at_rest(
    make: Callable[[], Tracker], roll: float, pitch: float, yaw: float
) -> None:
    """Where the body's z already points along a + g, no rate is asked for, and the thrust is |a + g|."""
    q = turned(roll, pitch, yaw)
    w, x, y, z = q
    up = np.array([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)])
    ax, ay, az = (up / up[2] * GRAVITY_M_S2 - [0.0, 0.0, GRAVITY_M_S2]).tolist()  # level acceleration
    if math.acos(up[2]) > math.radians(34.0):  # past the tilt limits
        return
    body = replace(LEVEL, attitude_wxyz=q)
    command = make().track(0.0, body, ReferencePoint(body.position_m, REST, (ax, ay, az)))
    assert command.rates_rad_s == pytest.approx(REST, abs=1e-9)
    assert command.thrust_m_s2 == pytest.approx(GRAVITY_M_S2 / up[2], rel=1e-9)


@pytest.mark.parametrize("make", TRACKERS)
@given(st.floats(-1.5, 1.5), st.floats(-1.2, 1.2), st.lists(st.floats(-30.0, 30.0), min_size=9, max_size=9))
def test_commands_stay_within_their_limits(
    make: Callable[[], Tracker], roll: float, pitch: float, x: list[float]
) -> None:
    body = Body((x[0], x[1], x[2]), (x[3], x[4], x[5]), turned(roll, pitch, 0.3), REST)
    tracker, (low, high) = make(), DEFAULT_LIMITS.thrust_m_s2
    for t in (0.0, 0.01):
        command = tracker.track(t, body, ReferencePoint(REST, REST, (x[6], x[7], x[8])))
        assert low < command.thrust_m_s2 <= high
        assert all(abs(w) <= limit for w, limit in zip(command.rates_rad_s, DEFAULT_LIMITS.rates_rad_s, strict=True))


def test_gains_follow_the_lag_of_the_airframe() -> None:
    loop = AIRFRAME.rate_loop
    faster = replace(AIRFRAME, rate_loop=replace(loop, kp_per_s=(50.0, 50.0, 24.0)))
    quick = pid_gains(faster)
    assert quick.attitude_per_s > GAINS.attitude_per_s and quick.velocity_per_s[0] > GAINS.velocity_per_s[0]
    assert quick.position_per_s[1] == GAINS.position_per_s[1]  # the climb goes by the motors
    late = pid_gains(AIRFRAME, latency_s=0.1)
    assert late.attitude_per_s < GAINS.attitude_per_s and late.velocity_per_s[1] < GAINS.velocity_per_s[1]
    # every loop is twice as slow as the one within
    assert GAINS.attitude_per_s == pytest.approx(2.0 * GAINS.velocity_per_s[0])
    assert GAINS.velocity_per_s == pytest.approx([2.0 * p for p in GAINS.position_per_s])
    # at the tilt limit a drone a fifth heavier and weaker has just the thrust to stay up
    share = min(2.0, AIRFRAME.thrust_to_weight) * 0.8 / 1.2
    assert share * math.cos(GAINS.tilt_limit_rad) == pytest.approx(1.0)


def test_drag_is_what_the_world_takes() -> None:
    body = replace(LEVEL, position_m=(0.0, 0.0, 9.0), velocity_m_s=(2.0, -1.0, 0.5))
    speed = AIRFRAME.hover_speed
    drag = forces(
        FLOAT_OPS,
        AIRFRAME,
        nominal_params(AIRFRAME),
        body,
        rotation_matrix(body.attitude_wxyz),
        (speed, speed, speed, speed),
        REST,
    ).drag_n
    taken = [-d * v * AIRFRAME.mass_kg for d, v in zip(drag_per_s(AIRFRAME), body.velocity_m_s, strict=True)]
    assert drag == pytest.approx(taken)


def test_the_heading_is_held_and_turns_as_commanded() -> None:
    controller, setpoint = PidController(GAINS), Setpoint(0.0, (0.0, 0.0), 1.0, 0.5)
    start = replace(LEVEL, attitude_wxyz=turned(0.0, 0.0, 1.0))
    assert controller.command(0.0, start, setpoint).rates_rad_s[2] == pytest.approx(0.5)
    late = controller.command(0.2, start, setpoint)  # 0.1 rad behind
    assert late.rates_rad_s[2] == pytest.approx(0.5 + 0.1 * GAINS.yaw_per_s)


@pytest.mark.parametrize("name", ["cf2x", "racer", "companion"])
@pytest.mark.parametrize("ekf", [False, True])
def test_a_throw_is_caught_by_every_airframe(name: str, ekf: bool) -> None:
    airframe, conditions = load_airframe(name), Conditions()
    flights, rng = draw_flights(airframe, conditions, 1, np.random.default_rng(3)), np.random.default_rng(4)
    if ekf:
        trace = fly(PidEkfPilot(airframe), airframe, flights, conditions, rng, 6.0)
    else:
        trace = fly_privileged(PidController(pid_gains(airframe)), airframe, flights, conditions, rng, 6.0)
    score = score_hover(trace, 6.0)
    assert score.success and score.speed_error_m_s < (0.2 if ekf else 0.1)


@pytest.mark.parametrize(("imu_hz", "mixed"), [((25.0, 25.0), False), ((400.0, 400.0), False), ((25.0, 400.0), True)])
def test_pid_and_filter_fly_at_any_rate(imu_hz: tuple[float, float], mixed: bool) -> None:
    conditions = Conditions(imu_hz=imu_hz, imu_mixed=mixed)
    flights = draw_flights(AIRFRAME, conditions, 1, np.random.default_rng(5))
    trace = fly(PidEkfPilot(AIRFRAME), AIRFRAME, flights, conditions, np.random.default_rng(6), 4.0)
    assert score_hover(trace, 4.0).success


def test_the_eight_is_followed_closer_than_published_and_late_without_feed_forward() -> None:
    nominal = replace(NOMINAL, motor_tau_s=(AIRFRAME.motor_tau_up_s,) * 2)
    found = {c.name: rmse_m(fly_eight(c, AIRFRAME, 5.5, nominal, 0)) for c in CONTENDERS}
    best = PUBLISHED["PID with velocity feed-forward (published)"][1]
    assert best is not None and found["geometric"] < best and found["PID, feed-forward"] < best
    assert found["PID, positions alone"] > 10.0 * found["PID, feed-forward"]


def test_the_fastest_eight_that_others_lose_is_flown() -> None:
    nominal = replace(NOMINAL, motor_tau_s=(AIRFRAME.motor_tau_up_s,) * 2)
    for contender in CONTENDERS[:2]:
        assert rmse_m(fly_eight(contender, AIRFRAME, 3.5, nominal, 0)) < 0.1


def test_what_makes_no_controller_is_refused() -> None:
    with pytest.raises(ConfigError, match="period"):
        pid_gains(AIRFRAME, period_s=0.0)
    with pytest.raises(ConfigError, match="latency"):
        pid_gains(AIRFRAME, latency_s=math.nan)
    with pytest.raises(ConfigError, match="thrust"):
        pid_gains(AIRFRAME, CommandLimits((0.0, 12.0), (6.0, 6.0, 3.0)))
    with pytest.raises(ConfigError, match="wait_s"):
        Follower(PidController(GAINS), hover(REST), AIRFRAME, wait_s=-1.0)
