"""AviaryQuad: the same flights in gym-pybullet-drones, its hover task, and what is said where it is not installed."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from envs.airframe import load_airframe
from envs.aviary import AviaryQuad, check_airframe, import_aviary, make_aviary
from envs.conditions import SUBSTEP_S, Conditions
from envs.flights import draw_flights
from envs.hover_aviary import (
    DURATION_S,
    LEARNED_RETURN,
    START_HEIGHT_M,
    hover_aviary_conditions,
    hover_aviary_episode,
)
from envs.physics import Actuators, nominal_params
from envs.pybullet_quad import ZERO3, PyBulletQuad, flight_params
from envs.rollout import fly
from envs.trace import FlightTrace
from liquid_pilot import Controller
from liquid_pilot.errors import ConfigError, MissingExtraError, SimulationError
from liquid_pilot.observation import GRAVITY_M_S2
from liquid_pilot.ops import Vec4
from liquid_pilot.rate_loop import RateLoopState
from scripts import evaluate as script
from scripts.case import Case
from scripts.flying import score_one
from scripts.returns import return_figures, return_one

AIRFRAME = load_airframe("cf2x")
LEVEL = (1.0, 0.0, 0.0, 0.0)
THEIR_GRAVITY_M_S2 = 9.8
THEIR_DAMPING = 0.04
SIM = ("--sim", "gym-pybullet-drones")


def installed() -> bool:
    try:
        import_aviary("envs")
    except MissingExtraError:
        return False
    return True


needs_it = pytest.mark.skipif(not installed(), reason="gym-pybullet-drones is not installed")


@pytest.fixture(scope="module", name="quad")
def shared_quad() -> Iterator[AviaryQuad]:
    quad = AviaryQuad(AIRFRAME)
    yield quad
    quad.close()


def set_motors(quad: PyBulletQuad, speeds: Vec4[float]) -> None:
    quad.actuators = Actuators(speeds, RateLoopState(ZERO3, ZERO3))


def test_without_the_package_the_error_has_the_install_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.startswith("gym_pybullet_drones.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gym_pybullet_drones", None)
    line = "pip install 'setuptools<82' git+https://github.com/utiasDSL/gym-pybullet-drones"
    with pytest.raises(MissingExtraError) as caught:
        AviaryQuad(AIRFRAME)
    assert line in str(caught.value)
    assert script.main(["hover", *SIM]) == 2
    assert line in capsys.readouterr().err


@pytest.mark.parametrize(
    ("case", "says"),
    [
        (Case("hover", sim="gazebo"), "gym-pybullet-drones, liquid-pilot"),
        (Case("hover", score="beauty"), "errors, hover-aviary"),
        (Case("hover", score="hover-aviary"), "--sim gym-pybullet-drones"),
        (Case("track", task="track", sim="gym-pybullet-drones", score="hover-aviary"), "leave --score or --task track"),
        (Case("hover", sim="gym-pybullet-drones", engine="batched"), "leave --engine batched out"),
    ],
)
def test_what_cannot_be_flown_is_refused_before_the_first_flight(case: Case, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        case.check()


def test_only_drones_built_like_theirs_are_accepted() -> None:
    check_airframe(replace(AIRFRAME, name="loaded", mass_kg=0.03, motor_tau_up_s=0.08))
    with pytest.raises(ConfigError, match="yours differs from cf2x in propeller_radius_m"):
        check_airframe(replace(AIRFRAME, name="yours", propeller_radius_m=0.03))
    with pytest.raises(ConfigError, match="unknown physics of gym-pybullet-drones 'dyn'"):
        AviaryQuad(AIRFRAME, "dyn")


def test_the_hover_task_starts_where_theirs_does() -> None:
    flights = draw_flights(AIRFRAME, hover_aviary_conditions(Conditions()), 5, np.random.default_rng(1))
    assert (flights.height_m == START_HEIGHT_M).all()
    for still in (flights.launch_velocity_m_s, flights.launch_rates_rad_s, flights.wind_mean_m_s, flights.gust_m_s):
        assert not still.any()
    assert np.allclose(flights.attitude_wxyz[:, 1:3], 0.0)
    assert np.allclose(flights.mass_kg, AIRFRAME.mass_kg)
    assert np.allclose(flights.setpoint_height_m, 1.0)


@needs_it
def test_one_step_is_that_of_our_own_drone(quad: AviaryQuad) -> None:
    """Rotor order, spin, drag, wind, ground effect: same forces, plus their own gravity and damping."""
    flights = draw_flights(AIRFRAME, Conditions(wind_m_s=(0.0, 8.0)), 12, np.random.default_rng(3))
    motors = np.random.default_rng(4).uniform(0.3, 0.8, (12, 4)).tolist()
    with PyBulletQuad(AIRFRAME) as own:
        for i in range(len(flights)):
            row = flights.rows(slice(i, i + 1))
            q, v, w, wind = (
                tuple(a[0].tolist())
                for a in (row.attitude_wxyz, row.launch_velocity_m_s, row.launch_rates_rad_s, row.wind_mean_m_s)
            )
            quad.reset(flight_params(row), (0.0, 0.0, float(row.height_m[0])), q, v, w)
            a, b, c, d = motors[i]
            set_motors(quad, (a, b, c, d))
            quad.push(wind, SUBSTEP_S)  # their drag takes the rotors of the step before, at first stopped ones
            before = quad.body
            quad.push(wind, SUBSTEP_S)
            own.reset(
                flight_params(row), before.position_m, before.attitude_wxyz, before.velocity_m_s, before.rates_rad_s
            )
            own.actuators = quad.actuators
            own.push(wind, SUBSTEP_S)
            spin = np.array(own.body.rates_rad_s) + damping(before.rates_rad_s) * SUBSTEP_S
            acceleration = np.array(own.acceleration_m_s2) + damping(before.velocity_m_s)
            acceleration[2] += GRAVITY_M_S2 - THEIR_GRAVITY_M_S2
            # left: two ways to integrate a tumble, and drag coefficients that theirs takes along world axes
            assert np.abs(np.array(quad.body.rates_rad_s) - spin).max() < 5e-3
            assert np.abs(np.array(quad.acceleration_m_s2) - acceleration).max() < 0.05


def damping(speed: tuple[float, float, float]) -> np.ndarray:
    """What PyBullet takes from every body of several links, per second: a part that grows with the square of speed."""
    return -THEIR_DAMPING * (1.0 + math.hypot(*speed)) * np.array(speed)


@needs_it
@pytest.mark.parametrize("velocity_m_s", [(3.0, 0.0, 4.0), (-1.0, 2.0, -2.0)])
def test_gravity_and_damping_are_theirs(velocity_m_s: tuple[float, float, float]) -> None:
    with AviaryQuad(AIRFRAME, "pyb") as quad:
        quad.reset(nominal_params(AIRFRAME), (0.0, 0.0, 50.0), LEVEL, velocity_m_s, (0.0, 6.0, 0.0), motor_speed=0.0)
        quad.push(ZERO3, SUBSTEP_S)
        falling = damping(velocity_m_s) - (0.0, 0.0, THEIR_GRAVITY_M_S2)
        assert quad.acceleration_m_s2 == pytest.approx(falling, abs=1e-5)
        assert quad.body.rates_rad_s[1] == pytest.approx(6.0 + damping((0.0, 6.0, 0.0))[1] * SUBSTEP_S, abs=1e-6)


@needs_it
def test_a_flight_does_not_know_of_the_one_before(quad: AviaryQuad) -> None:
    conditions = Conditions()
    flights = draw_flights(AIRFRAME, conditions, 2, np.random.default_rng(5))

    def flown(index: int) -> FlightTrace:
        controller = Controller.load("hover")
        rng = np.random.default_rng(6)
        return fly(controller, AIRFRAME, flights.rows(slice(index, index + 1)), conditions, rng, 1.0, quad)

    first, other, again = flown(0), flown(1), flown(0)
    for name in ("t_s", "position_m", "attitude_wxyz", "rates_rad_s", "hidden"):
        assert np.array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.position_m, other.position_m)


@needs_it
def test_a_closed_quad_says_so() -> None:
    quad = AviaryQuad(AIRFRAME)
    quad.close()
    quad.close()
    with pytest.raises(SimulationError, match="closed"):
        quad.push(ZERO3, SUBSTEP_S)
    with pytest.raises(SimulationError, match="closed"):
        quad.reset(quad.params, (0.0, 0.0, 1.0), LEVEL)


@needs_it
@pytest.mark.parametrize(("policy", "flights"), [("geometric", 4), ("hover", 20)])
def test_they_stay_up(policy: str, flights: int) -> None:
    job = Case(policy, flights=flights, seconds=5.0, sim="gym-pybullet-drones").job()
    scores = [score_one(job, index) for index in range(flights)]
    assert sum(score.success for score in scores) >= 0.95 * flights


@needs_it
@pytest.mark.parametrize(("policy", "task"), [("track", "track"), ("geometric", "mission")])
def test_other_tasks_end_there_as_here(policy: str, task: str) -> None:
    """A mission lands on their floor, which is a hard plane."""
    here = Case(policy, task=task, flights=1).job()
    ours, theirs = score_one(here, 0), score_one(replace(here, sim="gym-pybullet-drones"), 0)
    assert theirs.reason == ours.reason
    assert theirs.speed_error_m_s == pytest.approx(ours.speed_error_m_s, rel=0.2)


@needs_it
def test_a_flight_of_theirs_is_judged_as_they_do() -> None:
    """Their agent with constant action: observation and reward of every step, as told from its trace."""
    env = make_aviary("HoverAviary")
    observation, _ = env.reset()
    action = np.array([[0.12, 0.1, 0.12, 0.1]])
    rows, rewards, over = [observation[0, :12]], [], False
    states = [env._getDroneStateVector(0)]
    while not over:
        observation, reward, terminated, truncated, _ = env.step(action)
        rows.append(observation[0, :12])
        rewards.append(reward)
        states.append(env._getDroneStateVector(0))
        over = terminated or truncated
    env.close()
    episode = hover_aviary_episode(traced(np.array(states)))
    assert episode.reward == pytest.approx(np.array(rewards), abs=1e-6)
    assert episode.observation == pytest.approx(np.array(rows[1:]), abs=1e-5)
    assert episode.early == (len(rewards) < 242)
    assert 10 < len(rewards)


def traced(states: np.ndarray) -> FlightTrace:
    """States of theirs at 30 Hz as a trace, released at its start."""
    n = len(states)
    x, y, z, w = states[:, 3:7].T
    matrices = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
    nothing = np.zeros((n, 0))
    return FlightTrace(
        release_s=0.0,
        t_s=np.arange(n) / 30.0,
        position_m=states[:, 0:3],
        velocity_m_s=states[:, 10:13],
        attitude_wxyz=np.stack([w, x, y, z], axis=1),
        rates_rad_s=np.einsum("ijn,ni->nj", matrices, states[:, 13:16]),
        setpoint_velocity_m_s=np.zeros((n, 2)),
        setpoint_height_m=np.ones(n),
        thrust_m_s2=np.zeros(n),
        command_rates_rad_s=np.zeros((n, 3)),
        wind_m_s=np.zeros((n, 3)),
        observation=nothing,
        hidden=nothing,
        time_constant_s=nothing,
        lowest_m=0.0,
        highest_m=1.0,
    )


@needs_it
@pytest.mark.parametrize(("away_m", "steps", "total"), [(0.5, 242, 242 * (2.0 - 0.5**4)), (1.6, 1, 0.0)])
def test_the_return_of_standing_still(away_m: float, steps: int, total: float) -> None:
    states = np.zeros((243, 20))
    states[:, 0], states[:, 2], states[:, 6] = away_m, 1.0, 1.0
    episode = hover_aviary_episode(traced(states))
    assert len(episode.reward) == steps
    assert episode.total == pytest.approx(total)
    assert episode.early == (steps < 242)


@needs_it
@pytest.mark.parametrize("policy", ["geometric", "hover"])
def test_returns_reach_their_threshold(policy: str) -> None:
    job = Case(policy, flights=3, sim="gym-pybullet-drones", score="hover-aviary").job()
    returns = [return_one(job, index) for index in range(3)]
    assert job.duration_s == DURATION_S
    assert return_figures(returns)["learned_rate"] == 1.0
    assert min(returns) >= LEARNED_RETURN


@needs_it
def test_the_command_line_flies_it(capsys: pytest.CaptureFixture[str]) -> None:
    flight = ("--flights", "1", "--seconds", "1", "--workers", "1")
    assert script.main(["geometric", *SIM, *flight]) == 0
    assert "gym-pybullet-drones" in capsys.readouterr().out
    assert script.main(["geometric", *SIM, "--score", "hover-aviary", *flight]) == 0
    assert "at least 467" in capsys.readouterr().out
