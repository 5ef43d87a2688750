"""Many drones in forests: what they see and are judged by is what the equations say; snapshots go on bit for bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import envs
from envs.avoid import CROSSING_M
from envs.avoid_task import AvoidVectorEnv, avoid_task
from envs.batched_env import BatchedQuadEnv
from envs.faults import parse_fault
from envs.flow_grid import GridModel, Sight, ray_flow, view
from envs.forest import COURSE_ROWS, NEAR
from envs.obstacle_kinds import TREES
from envs.quad_env import CRASH_REWARD, DONE_REWARD, QuadEnv
from envs.shapes import clearance_m, obstacles_of
from liquid_pilot import native
from liquid_pilot.command import DEFAULT_LIMITS, to_action
from liquid_pilot.errors import ConfigError
from liquid_pilot.flow_grid import even_grid, shown, turning_flow
from liquid_pilot.observation import INITIAL_AGE_S, OBS_DIM, OBS_SLICES, SIGHT_DIM, assemble_sight
from liquid_pilot.ops import NUMPY_OPS
from policies.experts.geometric import GeometricController

assert envs.__doc__  # imported for its registration
pytestmark = pytest.mark.skipif(not native.available(), reason="no C compiler")

AVOID = "liquid_pilot/Avoid-v0"
LAYOUT = even_grid(6, 3, 80.0, 40.0)
QUIET: dict[str, Any] = {"noise_scale": (0.0, 0.0), "hold_s": 0.05, "sensor_jitter": 0.0}


def many(n: int, **options: Any) -> AvoidVectorEnv:
    env = gymnasium.make_vec(AVOID, num_envs=n, **options)
    assert isinstance(env, AvoidVectorEnv)
    return env


def small(kind: str, n: int, **options: Any) -> BatchedQuadEnv:
    """With a grid of few rays, none of them lost."""
    task = avoid_task(3.0, obstacles=kind)
    assert task.sees is not None
    return BatchedQuadEnv(replace(task, sees=Sight(GridModel(LAYOUT, rays_lost=0.0), task.sees.plot)), n, **options)


def test_the_space_is_that_of_one_drone() -> None:
    one, env = gymnasium.make(AVOID), many(2)
    assert env.single_observation_space == one.observation_space
    assert env.reset(seed=0)[0].shape == (2, *(one.observation_space.shape or ()))
    one.close()


@pytest.mark.parametrize("kind", [TREES, "mixed"])
def test_grids_are_those_of_the_rays_where_they_were_taken(kind: str) -> None:
    n, rng = 3, np.random.default_rng(2)
    env = small(kind, n, heading_error_rad=0.0, grid_latency_s=(0.01, 0.03), **QUIET)
    sees = env.task.sees
    assert sees is not None
    observation, _ = env.reset(seed=3)
    unseen = [float(v) for v in assemble_sight(0.0, INITIAL_AGE_S)] + [0.0] * LAYOUT.numbers
    assert_allclose(observation[:, OBS_DIM:], np.tile(unseen, (n, 1)))
    taken: dict[int, Any] = {}
    compared = 0
    for _ in range(90):
        observation, _, terminated, truncated, _ = env.step(0.1 * rng.uniform(-1, 1, (n, 4)))
        if (terminated | truncated).any():
            break
        lanes, moment = env._flying(), env.moment
        t_s = lanes.state.clock("t_s")
        x, y, _ = moment.body.position_m
        near = list(sees.plot.nearest(lanes.course[-sees.plot.rows :], x, y))
        assert_allclose(moment.free_m, clearance_m(NUMPY_OPS, obstacles_of(near, NEAR), moment.body.position_m))
        gyro: Any = tuple(lanes.state.value("gyro_rad_s").astype(np.float64))
        taken[round(1e4 * t_s.mean())] = (moment.body, near, gyro)
        fresh = observation[:, OBS_DIM]
        assert fresh.min() == fresh.max()  # all look at once
        if fresh[0] == 0.0:
            continue
        assert lanes.sight is not None
        stamp = 1e4 * float(lanes.sight[-2].mean())
        body, near, gyro = taken[min(taken, key=lambda t: abs(t - stamp))]
        flows = []
        for axes in LAYOUT.axes():
            flow = ray_flow(NUMPY_OPS, sees.model, axes, view(NUMPY_OPS, body, near), body.rates_rad_s, (0.0, 0.0), 0.0)
            flows.append([f - turning_flow(axis, axes[0], gyro) for f, axis in zip(flow, axes[1:], strict=True)])
        wanted = [shown(NUMPY_OPS, np.broadcast_to(f[k], n)) for k in range(2) for f in flows]
        assert_allclose(observation[:, OBS_DIM + SIGHT_DIM :].T, wanted, atol=2e-4)
        compared += 1
    assert compared >= 8


def test_a_silent_grid_is_forgotten() -> None:
    env = many(2, **QUIET, tilt_deg=(0.0, 0.0))
    observation, _ = env.reset(seed=0)
    for _ in range(20):
        observation, *_ = env.step(np.zeros((2, 4)))
    assert np.abs(observation[:, OBS_DIM + SIGHT_DIM :]).max() > 0.0
    env.set_conditions(replace(env.conditions, grid_dropout=(1.0, 1.0)))
    for _ in range(90):
        observation, *_ = env.step(np.zeros((2, 4)))
    assert (observation[:, OBS_DIM + SIGHT_DIM :] == 0.0).all() and (observation[:, OBS_DIM] == 0.0).all()


def test_the_course_is_told_by_the_heading_that_is_known_on_board() -> None:
    right, wrong = (many(64, heading_error_rad=error, **QUIET) for error in (0.0, 0.3))
    told = OBS_SLICES["setpoint_velocity_m_s"]
    a, b = (env.reset(seed=1)[0][:, told] for env in (right, wrong))
    turned = np.arctan2(b[:, 1], b[:, 0]) - np.arctan2(a[:, 1], a[:, 0])
    assert_allclose(np.hypot(*b.T), np.hypot(*a.T), rtol=1e-5)
    assert 0.1 < np.abs(np.angle(np.exp(1j * turned))).max() < 1.5
    assert_array_equal(right.moment.goal.yaw_rate_rad_s, wrong.moment.goal.yaw_rate_rad_s)  # the truth is as it was


def test_flights_end_where_something_is_touched_and_where_the_forest_is_crossed() -> None:
    """Straight on: through few trees the geometric controller gets, into a wall it flies."""
    for walled, reward_of_end in ((False, DONE_REWARD), (True, CRASH_REWARD)):
        density = 0.0 if not walled else 0.1
        env = many(2, speed_m_s=4.0, density_per_m2=density, walled=walled, wind_m_s=(0.0, 0.0), **QUIET)
        env.reset(seed=5)
        ended = np.zeros(2, np.bool_)
        pilots = [GeometricController(), GeometricController()]
        for _ in range(1500):
            moment, rows = env.moment, []
            for i, pilot in enumerate(pilots):
                rows.append(steered(pilot, moment, i))
            _, reward, terminated, _, info = env.step(np.array(rows))
            for i in np.flatnonzero(terminated & ~ended).tolist():
                ended[i] = True
                assert info["final_info"]["success"][i] == (not walled)
                assert reward[i] == pytest.approx(reward_of_end, abs=0.2)
                assert (info["final_info"]["closest_m"][i] <= 0.0) == walled
                assert (info["final_info"]["crossed_s"][i] > CROSSING_M / 6.0) == (not walled)
            if ended.all():
                break
        assert ended.all()


def steered(pilot: GeometricController, moment: Any, i: int) -> Any:
    from envs.compiled.tracer import flatten, unflatten
    from liquid_pilot.messages import Setpoint

    body = unflatten(moment.body, [float(x[i]) for x in flatten(moment.body)])
    velocity = tuple(float(v[i]) for v in moment.goal.velocity_m_s)
    told = Setpoint(
        0.0, (velocity[0], velocity[1]), float(moment.goal.height_m[i]), float(moment.goal.yaw_rate_rad_s[i])
    )
    command = pilot.command(max(0.0, float(moment.since_release_s[i])), body, told)
    return np.clip(to_action(DEFAULT_LIMITS, command.thrust_m_s2, command.rates_rad_s), -1.0, 1.0)


def test_it_goes_on_from_a_snapshot_bit_for_bit() -> None:
    def flown(env: AvoidVectorEnv, steps: int) -> list[Any]:
        rng = np.random.default_rng(9)
        return [env.step(rng.uniform(-0.3, 0.3, (5, 4)))[:2] for _ in range(steps)]

    env, other = many(5), many(5)
    env.reset(seed=1)
    for _ in range(30):
        env.step(np.zeros((5, 4)))
    tables, generator = env.snapshot()
    env.set_conditions(env.conditions)
    other.reset(seed=2)
    other.restore(tables, generator)
    for a, b in zip(flown(env, 40), flown(other, 40), strict=True):
        assert_array_equal(a[0], b[0])
        assert_array_equal(a[1], b[1])


def test_without_a_grid_it_is_the_twin_of_one_drone() -> None:
    options: dict[str, Any] = {
        **QUIET, "grid_hz": (0.0, 0.0), "gyro_walk_rad_s2": 0.0, "gust_fraction": 0.0, "imu_jitter": 0.0, "obs": "both",
    }  # fmt: skip
    one, env = gymnasium.make(AVOID, disable_env_checker=True, **options).unwrapped, many(3, **options)
    assert isinstance(one, QuadEnv)
    a, _ = one.reset(seed=4)
    env.reset(seed=4)
    assert one._flight is not None and env._lanes is not None
    env._lanes.course[:, 0] = one._flight._course
    rng = np.random.default_rng(0)
    for step in range(60):
        action = 0.15 * rng.uniform(-1.0, 1.0, 4)
        a, reward, *_, told = one.step(action.astype(np.float32))
        b, rewards, *_ = env.step(np.tile(action, (3, 1)))
        assert_allclose(b["sensors"][0], a["sensors"], atol=1e-2, err_msg=f"step {step}")
        assert rewards[0] == pytest.approx(float(reward), abs=1e-4)
        if told["released"]:
            assert env._lanes.memory[0, 0] == pytest.approx(told["closest_m"], abs=2e-3)
    assert env._lanes.course.shape[0] > COURSE_ROWS
    one.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"camera": True}, "camera"),
        ({"grid_dropout": (0.0, 0.5)}, "grid_dropout"),
        ({"size": 5.0}, "size"),
        ({"density_per_m2": 3.0}, "density"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        AvoidVectorEnv(2, **options)


def test_another_environments_snapshot_is_refused_and_flights_go_on() -> None:
    trees, mixed, blind = many(2), many(2, obstacles="mixed"), many(2, grid_hz=(0.0, 0.0))
    kept = {}
    for env in (trees, mixed, blind):
        env.reset(seed=0)
        kept[env] = env.snapshot()
    for env, other, said in ((mixed, trees, "shape"), (trees, blind, "camera"), (blind, trees, "shape")):
        before, generator = env.snapshot()
        with pytest.raises(ConfigError, match=said):
            env.restore(*kept[other])
        assert all((env.snapshot()[0][name] == table).all() for name, table in before.items())
        assert env.snapshot()[1] == generator
        env.step(np.zeros((2, 4)))
    tables, generator = trees.snapshot()
    for name in ("sight", "course", "state.clocks", "memory"):  # cut off
        with pytest.raises(ConfigError, match=r"shape|drones"):
            trees.restore(tables | {name: tables[name][..., :1]}, generator)
    with pytest.raises(ConfigError, match="grid_hz"):
        trees.set_conditions(blind.conditions)


@pytest.mark.parametrize("text", ["clock:jump=2@0.25", "clock:jump=-1@0.25", "imu:off@0.3+0.1"])
def test_ages_of_grids_are_told_by_the_clock_on_board(text: str) -> None:
    """As to one drone, whose camera looks at other times: fresh grids, no older than their interval and their way."""
    options: dict[str, Any] = {**QUIET, "faults": (parse_fault(text),), "tilt_deg": (0.0, 0.0)}
    one, env = gymnasium.make(AVOID, disable_env_checker=True, **options).unwrapped, many(3, **options)
    seen: list[list[Any]] = [[one.reset(seed=1)[0]], [env.reset(seed=1)[0][0]]]
    for _ in range(75):
        seen[0].append(one.step(np.zeros(4, np.float32))[0])
        seen[1].append(env.step(np.zeros((3, 4)))[0][0])
    ages = np.array(seen)[:, :, OBS_DIM + 1]
    later = ages[:, 50:]  # all of it is over
    assert (later.max(axis=1) < float(assemble_sight(0.0, 0.15)[1])).all(), later.max(axis=1)
    assert abs(later.mean(axis=1) @ [1.0, -1.0]) < 0.1
    assert (np.array(seen)[:, 50:, OBS_DIM] == 1.0).sum(axis=1).min() >= 3
    one.close()


def test_a_new_flight_sees_nothing_of_the_one_before() -> None:
    env = many(3, **QUIET, tilt_deg=(0.0, 0.0))
    observation, _ = env.reset(seed=0)
    for _ in range(20):
        observation, *_ = env.step(np.zeros((3, 4)))
    assert np.abs(observation[:, OBS_DIM + SIGHT_DIM :]).max(axis=1).min() > 0.0
    observation = env.relaunch(np.array([1]))
    assert (observation[1, OBS_DIM + SIGHT_DIM :] == 0.0).all() and observation[0, OBS_DIM + SIGHT_DIM :].any()
    started = None
    for k in range(12):  # a grid that was under way is not heard by it
        observation, *_ = env.step(np.zeros((3, 4)))
        if observation[1, OBS_DIM + SIGHT_DIM :].any() and started is None:
            started = k
            age = float(observation[1, OBS_DIM + 1])
            assert age <= float(assemble_sight(0.0, 0.01 * (k + 2))[1])
    assert started is not None
