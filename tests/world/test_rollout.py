"""Flights of a pilot: order of messages, the failsafe, faults, traces; and the expert that knows the truth."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import gymnasium.utils.seeding
import numpy as np
import pytest

from envs.airframe import load_airframe
from envs.conditions import Conditions
from envs.faults import Fault
from envs.flights import Flights, draw_flights
from envs.hover import HoverEnv
from envs.pilots import FAILSAFE_S, TICK_S
from envs.pybullet_quad import PyBulletQuad
from envs.rollout import fly, fly_privileged
from envs.scoring import score_hover, summarise
from envs.trace import FlightTrace
from liquid_pilot import Controller
from liquid_pilot.command import to_action
from liquid_pilot.errors import ConfigError
from liquid_pilot.messages import Command, Flow, Imu, Message, Range, Setpoint
from liquid_pilot.observation import GRAVITY_M_S2, OBS_DIM
from policies.experts.geometric import GeometricController
from tests.onboard.flying import small_bundle

AIRFRAME = load_airframe("cf2x")
EASY = Conditions(
    tilt_deg=(0.0, 0.0), launch_speed_m_s=(0.0, 0.0), launch_rate_rad_s=(0.0, 0.0), wind_m_s=(0.0, 0.0),
    launch_height_m=(2.0, 2.0),
)  # fmt: skip


def drawn(conditions: Conditions, n: int = 1, seed: int = 0) -> Flights:
    return draw_flights(AIRFRAME, conditions, n, np.random.default_rng(seed))


@dataclass
class Recorder:
    """Commands level hover at each IMU until it falls silent; remembers what it was told."""

    silent_from_s: float = math.inf
    fallback: bool = False
    fed: list[Message] = field(default_factory=list)
    ticks: list[float] = field(default_factory=list)
    newest_imu_s: float = 0.0

    @property
    def hidden(self) -> np.ndarray:
        return np.full(19, self.newest_imu_s, dtype=np.float32)

    @property
    def state(self) -> str:
        return "ACTIVE" if self.newest_imu_s > 0.0 else "READY"

    def feed(self, message: Message) -> Command | None:
        self.fed.append(message)
        if not isinstance(message, Imu):
            return None
        self.newest_imu_s = message.t_s
        return self.hover(message.t_s) if message.t_s < self.silent_from_s else None

    def tick(self, now_s: float) -> Command | None:
        self.ticks.append(now_s)
        return self.hover(now_s) if self.fallback and now_s - self.newest_imu_s > 0.1 else None

    @staticmethod
    def hover(t_s: float) -> Command:
        return Command(t_s, GRAVITY_M_S2, (0.0, 0.0, 0.0))


def flown(pilot: Recorder, conditions: Conditions = EASY, duration_s: float = 1.0) -> FlightTrace:
    return fly(pilot, AIRFRAME, drawn(conditions), conditions, np.random.default_rng(1), duration_s)


def test_a_pilot_hears_the_set_point_first_and_everything_once_in_order() -> None:
    pilot = Recorder()
    trace = flown(pilot)
    assert isinstance(pilot.fed[0], Setpoint) and pilot.fed[0].t_s == 0.0
    assert isinstance(pilot.fed[1], Imu) and pilot.fed[1].t_s == 0.0
    for kind, name in ((Imu, "imu"), (Flow, "flow"), (Range, "range")):
        stamps = [m.t_s for m in pilot.fed if isinstance(m, kind)]
        assert stamps == sorted(set(stamps)) and len(stamps) == len(trace.arrivals_s[name])
    imu = [m.t_s for m in pilot.fed if isinstance(m, Imu)]
    assert imu == trace.t_s.tolist()
    newest = 0.0
    for message in pilot.fed:
        if isinstance(message, Imu):
            newest = message.t_s
        elif not isinstance(message, Setpoint):
            assert newest - 0.05 < message.t_s <= newest + 0.012  # heard before the IMU event that follows it


def test_the_trace_is_the_flight() -> None:
    trace = flown(Recorder())
    n = len(trace.t_s)
    assert 0.5 <= trace.release_s < 0.512
    assert trace.release_s in trace.t_s
    assert trace.t_s[-1] == pytest.approx(trace.release_s + 1.0, abs=0.012)
    assert trace.hidden.shape == (n, 19) and trace.observation.shape == (n, 0) and trace.time_constant_s.shape == (n, 0)
    np.testing.assert_allclose(trace.hidden[:, 0], trace.t_s, rtol=1e-6)
    assert [state for _, state in trace.supervisor] == ["READY", "ACTIVE"]
    assert [t for t, _ in trace.supervisor] == pytest.approx([0.0, 0.01], abs=0.002)
    assert trace.lowest_m <= trace.position_m[:, 2].min() <= trace.highest_m
    after = trace.t_s > trace.release_s + 0.02
    assert (trace.thrust_m_s2[after] == GRAVITY_M_S2).all()
    step = np.diff(trace.position_m[:, 2])[after[1:]]
    np.testing.assert_allclose(step, (trace.velocity_m_s[1:, 2] * np.diff(trace.t_s))[after[1:]], atol=2e-3)


def test_the_clock_of_the_pilot_ticks_at_50_hz_at_least() -> None:
    pilot = Recorder()
    flown(pilot, replace(EASY, imu_hz=(25.0, 25.0)))
    assert np.diff([0.0, *pilot.ticks]).max() <= 0.02 and np.diff(pilot.ticks).min() >= TICK_S - 1e-6


def test_without_commands_the_motors_stop() -> None:
    trace = flown(Recorder(silent_from_s=1.0), duration_s=1.4)
    stopped = trace.t_s[np.argmax(trace.thrust_m_s2 == 0.0)]
    assert stopped == pytest.approx(1.0 + FAILSAFE_S, abs=0.03)
    assert trace.velocity_m_s[-1, 2] < -1.0


def test_a_pilot_that_never_commands_falls_and_the_flight_ends_early() -> None:
    trace = flown(Recorder(silent_from_s=0.0), duration_s=5.0)
    assert trace.t_s[-1] < 3.0 and trace.lowest_m < 0.1
    assert score_hover(trace, 5.0).reason == "ground"


@pytest.mark.parametrize("fallback", [False, True])
def test_a_lost_imu_leaves_the_fallback_to_the_tick(fallback: bool) -> None:
    conditions = replace(EASY, faults=(Fault("imu", 0.2, 0.9),))
    pilot = Recorder(fallback=fallback)
    trace = flown(pilot, conditions)
    since = np.array([m.t_s for m in pilot.fed if isinstance(m, Imu)]) - trace.release_s
    assert not ((since >= 0.2) & (since < 0.9)).any() and (since >= 0.9).any()
    assert len(trace.t_s) > len(since)  # the physics went on
    assert bool((trace.thrust_m_s2 == 0.0).any()) is not fallback
    assert [m for m in pilot.fed if isinstance(m, Flow) and m.t_s - trace.release_s > 0.4]


def test_the_task_shows_what_the_controller_sees() -> None:
    """One draw, the same commands: `HoverEnv` and the controller assemble the same observations."""
    env = HoverEnv(conditions=Conditions(flow_dropout=(0.3, 0.3)), duration_s=2.0)
    rng = gymnasium.utils.seeding.np_random(9)[0]
    flights = draw_flights(AIRFRAME, env.conditions, 1, rng, env.duration_s)
    controller = Controller(small_bundle())
    trace = fly(controller, AIRFRAME, flights, env.conditions, rng, env.duration_s)
    assert trace.observation.shape == (len(trace.t_s), OBS_DIM)
    assert trace.hidden.shape == trace.time_constant_s.shape == (len(trace.t_s), 19)
    assert trace.release_s < trace.t_s[-2] and np.ptp(trace.thrust_m_s2) > 0.0
    assert trace.supervisor[0][0] == 0.0 and trace.supervisor[-1][1].isupper()
    observation, _ = env.reset(seed=9)
    compared, over = 0, False
    for row, thrust, rates in zip(trace.observation, trace.thrust_m_s2, trace.command_rates_rad_s, strict=True):
        np.testing.assert_allclose(observation, row, atol=1e-6)
        compared += 1
        if over:  # the task also ends past 90 degrees of tilt
            break
        action = np.array(to_action(controller.bundle.limits, thrust, tuple(rates)))
        observation, _, terminated, truncated, _ = env.step(action)
        over = terminated or truncated
    assert compared > 70
    env.close()


def test_the_same_seed_is_the_same_flight_with_a_fresh_or_a_used_quad() -> None:
    first, second = flown(Recorder()), flown(Recorder())
    np.testing.assert_array_equal(first.position_m, second.position_m)
    with PyBulletQuad(AIRFRAME) as quad:
        for _ in range(2):
            again = fly(Recorder(), AIRFRAME, drawn(EASY), EASY, np.random.default_rng(1), 1.0, quad)
            np.testing.assert_array_equal(again.position_m, first.position_m)
        quad.push((0.0, 0.0, 0.0), 0.001)  # still open


@pytest.mark.parametrize("duration_s", [0.0, -1.0, math.nan, math.inf])
def test_a_flight_needs_a_duration(duration_s: float) -> None:
    with pytest.raises(ConfigError, match="duration_s"):
        flown(Recorder(), duration_s=duration_s)


def test_the_expert_that_knows_the_truth_keeps_what_is_thrown() -> None:
    conditions = Conditions(command_latency_s=(0.02, 0.03))
    flights = drawn(conditions, n=8, seed=4)
    with PyBulletQuad(AIRFRAME) as quad:
        scores = [
            score_hover(
                fly_privileged(
                    GeometricController(), AIRFRAME, flights.rows(slice(i, i + 1)), conditions,
                    np.random.default_rng([4, i]), 4.5, quad,
                ),
                4.5,
            )
            for i in range(len(flights))
        ]  # fmt: skip
    summary = summarise(scores)
    assert summary["failures"] == 0
    assert summary["speed_error_median_m_s"] < 0.1 and summary["height_error_median_m"] < 0.05


def test_the_expert_follows_a_velocity_in_the_heading_frame() -> None:
    conditions = replace(EASY, setpoint_speed_m_s=(0.8, 0.8), setpoint_yaw_rate_rad_s=(0.5, 0.5))
    trace = fly_privileged(
        GeometricController(), AIRFRAME, drawn(conditions), conditions, np.random.default_rng(0), 6.0
    )
    assert trace.speed_error_m_s[-100:].mean() < 0.08
    assert trace.rates_rad_s[-100:, 2].mean() == pytest.approx(0.5, abs=0.06)
    assert trace.hidden.shape == (len(trace.t_s), 0)
