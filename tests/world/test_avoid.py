"""The task Avoid in PyBullet: trees are bodies, what ends a flight, what an environment shows of a forest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pybullet
import pytest
from gymnasium.utils.env_checker import check_env

import envs
from envs.airframe import load_airframe
from envs.avoid import CROSSING_M, crossing_s
from envs.avoid_task import avoid_task
from envs.conditions import Conditions
from envs.flights import draw_flights
from envs.forest import COURSE_ROWS, CROSSING_PLOT
from envs.launch import HandLaunch
from envs.obstacle_kinds import NO_TREE
from envs.physics import Body
from envs.pybullet_quad import PyBulletQuad
from envs.quad_env import CRASH_REWARD, OBS_MODES, QuadEnv
from envs.rollout import fly_task
from envs.scoring import score_task
from envs.shapes import DRONE_RADIUS_M, trunks
from envs.task import Task
from envs.trace import FlightTrace
from liquid_pilot.errors import ConfigError
from liquid_pilot.flow_grid import DEFAULT_GRID
from liquid_pilot.messages import Attitude, Command, FlowGrid, PositionSetpoint, Setpoint
from liquid_pilot.observation import OBS_DIM, OBS_SLICES, SIGHT_DIM

assert envs.__doc__  # imported for its registration
AIRFRAME = load_airframe("cf2x")
AVOID = "liquid_pilot/Avoid-v0"
CALM: dict[str, Any] = {
    "tilt_deg": (0.0, 0.0),
    "launch_speed_m_s": (0.0, 0.0),
    "launch_rate_rad_s": (0.0, 0.0),
    "wind_m_s": (0.0, 0.0),
    "airframe_spread": 0.0,
}


def with_trees(task: Task, trees: Sequence[tuple[float, float, float]]) -> Task:
    """The task in a forest of these trees, x, y and radius, and no others."""
    rows = np.full((CROSSING_PLOT.places, 3), (0.0, 0.0, NO_TREE))
    rows[: len(trees)] = np.reshape(trees, (-1, 3))

    def course(flights: Any, duration_s: float, rng: np.random.Generator) -> Any:
        return np.concatenate([task.course(flights, duration_s, rng)[:COURSE_ROWS], rows.reshape(-1, 1)])

    return replace(task, course=course)


class Runner:
    """Flies along x as if nothing stood there; at no speed, it stays."""

    def __init__(self, share: float = 1.0) -> None:
        from policies.experts.geometric import GeometricController

        self._share, self._expert = share, GeometricController()

    def command(self, t_s: float, body: Body[float], setpoint: Setpoint) -> Command:
        vx, vy = setpoint.velocity_m_s
        return self._expert.command(t_s, body, replace(setpoint, velocity_m_s=(self._share * vx, self._share * vy)))


def flown(task: Task, pilot: Any, duration_s: float | None = None, seed: int = 0) -> FlightTrace:
    rng = np.random.default_rng(seed)
    conditions = replace(task.conditions, **CALM)
    flights = draw_flights(AIRFRAME, conditions, 1, rng)
    return fly_task(pilot, task, AIRFRAME, flights, conditions, rng, duration_s)


def made(**options: Any) -> QuadEnv:
    env = gymnasium.make(AVOID, disable_env_checker=True, **options).unwrapped
    assert isinstance(env, QuadEnv)
    return env


def test_trees_are_bodies_where_they_are_said_to_stand_until_the_next_reset() -> None:
    trees = np.random.default_rng(0).uniform((-5.0, -5.0, 0.15), (5.0, 5.0, 0.35), (40, 3))
    with PyBulletQuad(AIRFRAME) as quad:
        assert not quad.touches_obstacles
        quad.plant(trunks(trees))
        assert pybullet.getNumBodies(physicsClientId=quad.client) == 1 + 3  # sixteen trees are one
        for x, y, _ in trees.tolist():
            top = pybullet.rayTest((x, y, 6.0), (x, y, 0.5), physicsClientId=quad.client)[0]
            assert top[3][2] == pytest.approx(5.0, abs=0.02)
        x, y, radius = trees[0].tolist()
        for angle in np.linspace(0.0, 2.0 * math.pi, 9):
            c, s = math.cos(angle), math.sin(angle)
            begin = (x + (radius + 0.05) * c, y + (radius + 0.05) * s, 1.0)
            hit = pybullet.rayTest(begin, (x, y, 1.0), physicsClientId=quad.client)[0]
            assert math.hypot(hit[3][0] - x, hit[3][1] - y) == pytest.approx(radius, abs=0.02)
        quad.reset(quad.params, (0.0, 0.0, 1.0), (1.0, 0.0, 0.0, 0.0))
        assert pybullet.getNumBodies(physicsClientId=quad.client) == 1


def test_flights_after_trees_are_as_those_of_a_new_world() -> None:
    def fall(quad: PyBulletQuad) -> Body[float]:
        quad.reset(quad.params, (0.0, 0.0, 1.5), (1.0, 0.0, 0.0, 0.0))
        for _ in range(50):
            quad.substep((5.0, (0.1, 0.2, 0.3)), (0.5, 0.0, 0.0), 0.002)
        return quad.body

    with PyBulletQuad(AIRFRAME) as fresh, PyBulletQuad(AIRFRAME) as used:
        used.plant(np.array([[3.0, 0.0, 0.3]]))
        fall(used)
        used.plant(np.array([[3.0, 0.0, 0.3]]))
        assert fall(used) == fall(fresh)


def test_a_drone_that_meets_a_trunk_is_stopped_by_it_and_knows() -> None:
    with PyBulletQuad(AIRFRAME) as quad:
        quad.reset(quad.params, (0.0, 0.0, 1.0), (1.0, 0.0, 0.0, 0.0))
        quad.plant(np.array([[0.5, 0.0, 0.2]]))
        quad.throw((2.0, 0.0, 0.0), (0.0, 0.0, 0.0))
        touched = []
        for _ in range(200):
            quad.substep((9.81, (0.0, 0.0, 0.0)), (0.0, 0.0, 0.0), 0.002)
            touched.append(quad.touches_obstacles)
        assert any(touched) and not touched[0]
        assert quad.body.position_m[0] < 0.5 - 0.2


def test_touching_ends_a_flight_where_the_trunk_stands() -> None:
    trace = flown(with_trees(avoid_task(3.0, 0.0), [(6.0, 0.05, 0.3)]), Runner())
    score = score_task(trace, crossing_s(3.0))
    assert (score.success, score.reason) == (False, "touched") and math.isnan(score.crossing_m_s)
    away = math.hypot(trace.position_m[-1, 0] - 6.0, trace.position_m[-1, 1] - 0.05) - 0.3
    assert 0.05 < away <= DRONE_RADIUS_M  # at most 3 cm in a step
    assert trace.obstacles is not None and trace.obstacles.tolist()[0][:3] == [6.0, pytest.approx(0.05 - 16.0), 0.3]


def test_a_crossing_is_done_after_30_m_at_the_speed_that_was_flown() -> None:
    trace = flown(with_trees(avoid_task(4.0, 0.0), [(6.0, 1.0, 0.3)]), Runner())
    score = score_task(trace, crossing_s(4.0))
    assert score.success and trace.position_m[-1, 0] == pytest.approx(CROSSING_M, abs=0.05)
    assert score.crossing_m_s == pytest.approx(CROSSING_M / (trace.t_s[-1] - trace.release_s))
    assert 3.0 < score.crossing_m_s < 4.2 and score.speed_error_m_s < 1.0 and not score.places


def test_who_stops_before_a_wall_has_not_crossed_and_touched_nothing() -> None:
    walled = avoid_task(2.0, 0.0, walled=True)
    assert score_task(flown(walled, Runner(0.0), 4.0), 4.0).reason == "not crossed"
    assert score_task(flown(walled, Runner()), crossing_s(2.0)).reason == "touched"


def test_a_pilot_is_told_a_course_and_a_heading_and_shown_grids() -> None:
    heard: list[Any] = []

    class Listener:
        def feed(self, message: Any) -> None:
            heard.append(message)

        def tick(self, now_s: float) -> None:
            return None

    flown(avoid_task(2.5), Listener(), 0.6)
    courses = [m for m in heard if isinstance(m, PositionSetpoint)]
    assert courses and not any(isinstance(m, Setpoint) for m in heard)
    for course in courses:
        assert math.isnan(course.position_m[0]) and math.isnan(course.position_m[1]) and math.isnan(course.yaw_rad)
        assert course.velocity_m_s == (2.5, 0.0, 0.0) and 0.5 < course.position_m[2] < 2.0
    assert sum(isinstance(m, Attitude) for m in heard) > 5
    grids = [m for m in heard if isinstance(m, FlowGrid)]
    assert 0.5 * 20.0 < len(grids) < 1.3 * 30.0 and all(g.flow_rad_s.shape == (5, 32, 2) for g in grids)


@pytest.mark.parametrize("lost", [0.0, 0.5])
def test_grids_come_at_their_rate_late_and_as_often_as_they_are_not_lost(lost: float) -> None:
    conditions = Conditions(hold_s=100.0, grid_hz=(25.0, 25.0), grid_dropout=(lost, lost), grid_latency_s=(0.01, 0.02))
    rng, late, task = np.random.default_rng(3), [], avoid_task()
    assert task.sees is not None
    with PyBulletQuad(AIRFRAME) as quad:
        flights = draw_flights(AIRFRAME, conditions, 1, rng)
        launch = HandLaunch(quad, flights, conditions, rng)
        launch.plant(task.sees, task.course(flights, 10.0, rng)[COURSE_ROWS:, 0])
        messages: list[Any] = [*launch.first_messages()]
        while launch.t_s < 20.0:
            late += [launch.t_s - m.t_s for m in messages if isinstance(m, FlowGrid)]
            messages = launch.advance()
    assert len(late) == pytest.approx(20.0 * 25.0 * (1.0 - lost), rel=0.1)
    assert min(late) >= 0.01 and max(late) <= 0.02 + 0.0115  # and to the next IMU event


@pytest.mark.parametrize("obs", OBS_MODES)
def test_both_checks_pass(obs: str) -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    env = made(obs=obs, duration_s=0.2, hold_s=0.1)
    check_env(env, skip_render_check=True)
    checker.check_env(env)
    env.close()


def test_the_observation_goes_on_to_the_grid() -> None:
    env = made(speed_m_s=2.0, hold_s=0.4)
    width = OBS_DIM + SIGHT_DIM + DEFAULT_GRID.numbers
    observation, _ = env.reset(seed=4)
    assert observation.shape == (width,) and not observation[OBS_DIM + SIGHT_DIM :].any()
    rows = [env.step(np.zeros(4, np.float32))[0] for _ in range(36)]
    fresh = np.array([row[OBS_DIM] for row in rows])
    assert set(fresh.tolist()) == {0.0, 1.0} and 5 < fresh.sum() < 16
    grids = np.array([row[OBS_DIM + SIGHT_DIM :] for row in rows])
    changed = (np.diff(grids, axis=0) != 0.0).any(axis=1)
    assert (changed == (fresh[1:] == 1.0)).all()  # held between
    asked = rows[-1][OBS_SLICES["setpoint_velocity_m_s"]]
    assert np.hypot(*asked) == pytest.approx(2.0, rel=1e-5) and asked[0] > 1.8
    assert made(grid_hz=(0.0, 0.0)).observation_space.shape == (OBS_DIM,)
    env.close()


def test_an_episode_ends_when_something_is_touched() -> None:
    env = made(speed_m_s=3.0, action="velocity", **CALM)
    env.task = with_trees(env.task, [(3.0, 0.0, 0.35)])
    env.reset(seed=0)
    over, terminated, info, reward = False, False, dict[str, Any](), 0.0
    while not over:
        _, reward, terminated, truncated, info = env.step(np.array([0.8, 0.0, 0.0, 0.0], np.float32))
        over = terminated or truncated
    assert terminated and info["success"] is False and reward < 0.5 * CRASH_REWARD
    assert info["closest_m"] <= 0.0 and info["crossed_s"] == 0.0
    env.close()


@pytest.mark.parametrize("options", [{"speed_m_s": 0.0}, {"speed_m_s": "fast"}, {"density_per_m2": 1.0}])
def test_what_cannot_be_asked_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="give"):
        made(**options)
