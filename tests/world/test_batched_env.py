"""Many drones under a task: the twin of the environment with one, the vector contract, repeatability, refusals."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import product
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import envs
from envs.actions import ACTION_MODES, VELOCITY_LIMITS_M_S
from envs.batched_env import BatchedQuadEnv
from envs.compiled.tracer import flatten, unflatten
from envs.conditions import Conditions
from envs.faults import fault_names, parse_fault
from envs.physics import Body
from envs.quad_env import CRASH_REWARD, DONE_REWARD, OBS_DIMS, OBS_MODES, QuadEnv
from envs.state_observation import STATE_DIM
from liquid_pilot import native
from liquid_pilot.command import DEFAULT_LIMITS, to_action
from liquid_pilot.errors import ConfigError, SimulationError
from liquid_pilot.messages import Setpoint
from liquid_pilot.observation import OBS_DIM, OBS_SLICES
from policies.experts.geometric import GeometricController

assert envs.__doc__  # imported for its registration
pytestmark = pytest.mark.skipif(not native.available(), reason="no C compiler")

IDS = [f"liquid_pilot/{name}-v0" for name in ("Hover", "Track", "Mission")]
NOISELESS: dict[str, Any] = {
    "noise_scale": (0.0, 0.0),
    "gyro_walk_rad_s2": 0.0,
    "gust_fraction": 0.0,
    "imu_jitter": 0.0,
    "sensor_jitter": 0.0,
}


def many(name: str, n: int, **options: Any) -> BatchedQuadEnv:
    env = gymnasium.make_vec(name, num_envs=n, **options)
    assert isinstance(env, BatchedQuadEnv)
    return env


def tables(observation: Any) -> list[Any]:
    return list(observation.values()) if isinstance(observation, dict) else [observation]


@pytest.mark.parametrize(
    ("name", "obs", "action"),
    [*product(IDS, OBS_MODES, ACTION_MODES), *(("liquid_pilot/Avoid-v0", obs, "ctbr") for obs in OBS_MODES)],
)
def test_the_vector_contract_holds(name: str, obs: str, action: str) -> None:
    env = many(name, 8, obs=obs, action=action, duration_s=0.2, hold_s=0.1)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    observation, _ = env.reset(seed=1)
    rng, ends = np.random.default_rng(0), 0
    for _ in range(70):
        assert env.observation_space.contains(observation)
        observation, reward, terminated, truncated, info = env.step(rng.uniform(-1.5, 1.5, (8, 4)))
        assert reward.shape == terminated.shape == truncated.shape == (8,) and np.isfinite(reward).all()
        over = terminated | truncated
        ends += int(over.sum())
        assert ("final_obs" in info) is bool(over.any())
        if over.any():
            assert (info["_final_obs"] == over).all() and info["final_info"]["success"].dtype == np.bool_
            assert not info["released"][over].any() and (info["dt_s"][over] == 0.0).all()  # new flights, in the hand
            assert env.observation_space.contains(info["final_obs"])
    assert ends >= 16
    env.close()


def flight(name: str, seed: int, steps: int, n: int = 24, **options: Any) -> list[Any]:
    env = many(name, n, **options)
    rng = np.random.default_rng(seed)
    rows = [tables(env.reset(seed=seed)[0])]
    for _ in range(steps):
        observation, reward, *_ = env.step(rng.uniform(-1.0, 1.0, (n, 4)))
        rows.append([*tables(observation), reward])
    return [part.tobytes() for row in rows for part in row]


@pytest.mark.parametrize("name", [*IDS, "liquid_pilot/Avoid-v0"])
def test_the_same_seed_gives_the_same_bits_with_any_number_of_threads(name: str) -> None:
    options: dict[str, Any] = {"obs": "both", "duration_s": 0.6, "hold_s": 0.05}
    first = flight(name, 5, 120, **options)
    assert flight(name, 5, 120, threads=2, **options) == first
    assert flight(name, 6, 120, **options) != first


@pytest.mark.parametrize(("name", "action"), list(product(IDS, ("ctbr", "rpm"))))
def test_it_is_the_twin_of_the_environment_with_one_drone(name: str, action: str) -> None:
    """Without noise, flight 0 of a seed is the same flight: same sights, same rewards."""
    options: dict[str, Any] = {"obs": "both", "action": action, "hold_s": 0.1, **NOISELESS}
    if name == IDS[1]:
        options["reference"] = "steps"
    one, all_of_them = gymnasium.make(name, disable_env_checker=True, **options).unwrapped, many(name, 3, **options)
    assert isinstance(one, QuadEnv)
    a, _ = one.reset(seed=4)
    b, _ = all_of_them.reset(seed=4)
    if name != IDS[0]:  # what to fly is drawn after the flights, whose number differs
        assert one._flight is not None and all_of_them._lanes is not None
        all_of_them._lanes.course[:, 0] = one._flight._course
        b = all_of_them._observe(all_of_them._lanes)
    rng, hover = np.random.default_rng(0), 2.0 * one.airframe.hover_speed - 1.0 if action == "rpm" else 0.0
    for step in range(70):
        assert isinstance(a, dict) and isinstance(b, dict)
        np.testing.assert_allclose(b["state"][0], a["state"], atol=2e-3, err_msg=f"step {step}")
        np.testing.assert_allclose(b["sensors"][0], a["sensors"], atol=1e-2, err_msg=f"step {step}")
        chosen = np.clip(hover + 0.15 * rng.uniform(-1.0, 1.0, 4), -1.0, 1.0)
        a, reward, terminated, _, _ = one.step(chosen.astype(np.float32))
        b, rewards, ends, _, _ = all_of_them.step(np.tile(chosen, (3, 1)))
        assert rewards[0] == pytest.approx(float(reward), abs=1e-4)
        assert bool(ends[0]) is terminated is False
    one.close()


@pytest.mark.parametrize(
    "texts",
    [
        ("imu:off@0.1+0.1",), ("gyro:off@0.2+0.1", "accel:off@0.25+0.1"), ("imu:off@0.1",), ("clock:jump=30@0.2",),
        ("clock:jump=0.5@0.1+0.4",), ("clock:jump=-0.105@0.2",), ("imu:off@0.1+0.1", "clock:jump=-3@0.15+0.2"),
    ],
)  # fmt: skip
def test_it_is_the_twin_where_imu_samples_are_lost(texts: tuple[str, ...]) -> None:
    """But for flow that was on its way when the clock moved, which another gyro compensates."""
    options: dict[str, Any] = {"hold_s": 0.1, "faults": tuple(parse_fault(text) for text in texts), **NOISELESS}
    one, all_of_them = gymnasium.make(IDS[0], disable_env_checker=True, **options).unwrapped, many(IDS[0], 3, **options)
    rng, rows = np.random.default_rng(0), [[one.reset(seed=4)[0], all_of_them.reset(seed=4)[0][0]]]
    for _ in range(70):
        action = 0.15 * rng.uniform(-1.0, 1.0, 4)
        a, b = one.step(action.astype(np.float32))[0], all_of_them.step(np.tile(action, (3, 1)))[0]
        rows.append([a, b[0]])
    seen, flow = np.array(rows).swapaxes(0, 1), OBS_SLICES["flow_rate_rad_s"]
    apart = np.abs(seen[1] - seen[0])
    assert np.delete(apart, np.r_[flow], axis=1).max() < 1e-2
    assert (apart[:, flow].max(axis=1) > 1e-2).sum() <= (6 if "clock" in texts[-1] else 0)
    assert (seen[0][:, OBS_SLICES["fresh"]] == 0.0).all(axis=1).sum() >= 2
    one.close()


@pytest.mark.parametrize("name", [*IDS, "liquid_pilot/Avoid-v0"])
def test_any_fault_flies_in_any_task_and_repeats(name: str) -> None:
    options: dict[str, Any] = {"hold_s": 0.02, "imu_hz": (200.0, 200.0)}
    single, batch = gymnasium.make(name, disable_env_checker=True, **options).unwrapped, many(name, 8, **options)
    assert isinstance(single, QuadEnv)

    def flown(env: QuadEnv | BatchedQuadEnv, shape: tuple[int, ...]) -> bytes:
        rng, rows = np.random.default_rng(1), [env.reset(seed=3)[0]]
        for _ in range(25):
            observation, reward, *_ = env.step(rng.uniform(-0.3, 0.3, shape).astype(np.float32))
            assert np.isfinite(reward).all() and np.isfinite(observation).all()
            rows.append(observation)
        return np.array(rows).tobytes()

    for text in [*fault_names(), "clock:jump=-0.4"]:
        single.conditions = replace(batch.conditions, faults=(parse_fault(f"{text}@0.03+0.05"),))
        batch.set_conditions(single.conditions)
        for env, shape in ((single, (4,)), (batch, (8, 4))):
            assert flown(env, shape) == flown(env, shape), text
    single.close()


def expert_actions(env: BatchedQuadEnv, pilots: list[GeometricController]) -> Any:
    """Of one scalar expert a drone; motors off for a drone that stands and shall land."""
    moment, rows = env.moment, []
    body, goal = moment.body, moment.goal
    for i, pilot in enumerate(pilots):
        mine: Body[Any] = unflatten(body, [float(x[i]) for x in flatten(body)])
        vx, vy = (float(np.broadcast_to(v, len(pilots))[i]) for v in goal.velocity_m_s)
        if moment.since_release_s[i] < 0.0:
            pilot.reset()
        command = pilot.command(
            max(0.0, float(moment.since_release_s[i])), mine, Setpoint(0.0, (vx, vy), float(goal.height_m[i]), 0.0)
        )
        action = np.clip(to_action(DEFAULT_LIMITS, command.thrust_m_s2, command.rates_rad_s), -1.0, 1.0)
        lands = env.task.phases[-1:] == ("land",) and goal.phase[i] > 2.5 and mine.position_m[2] < 0.025
        rows.append((-1.0, 0.0, 0.0, 0.0) if lands else action)
    return np.array(rows)


@pytest.mark.parametrize("name", IDS)
def test_an_expert_succeeds_and_idle_motors_do_not(name: str) -> None:
    n = 4
    env = many(name, n, **({"duration_s": 10.0} if name != IDS[2] else {}))
    env.reset(seed=2)
    pilots, ends = [GeometricController() for _ in range(n)], dict[int, tuple[bool, float]]()
    for _ in range(2600):
        _, reward, terminated, truncated, info = env.step(expert_actions(env, pilots))
        for i in np.flatnonzero(terminated | truncated):
            ends.setdefault(int(i), (bool(info["final_info"]["success"][i]), float(reward[i])))
        if len(ends) == n:
            break
    assert len(ends) == n and all(success for success, _ in ends.values())
    if name == IDS[2]:
        assert all(reward > 0.9 * DONE_REWARD for _, reward in ends.values())
    env.reset(seed=2)
    for _ in range(900):
        _, reward, terminated, *_, info = env.step(np.tile([-1.0, 0.0, 0.0, 0.0], (n, 1)))
        if terminated.any():
            assert not info["final_info"]["success"].any() and (reward[terminated] < CRASH_REWARD + 0.1).all()
            break
    else:
        pytest.fail("nobody fell")


def test_velocities_are_reached() -> None:
    env = many(IDS[0], 2, action="velocity", wind_m_s=(0.0, 0.0), launch_height_m=(1.8, 1.8), gyro_bias_rad_s=0.0)
    env.reset(seed=6)
    for step in range(450):
        env.step(np.tile([0.4, 0.0, 0.0, 0.0] if step > 200 else [0.0] * 4, (2, 1)))
    v = np.stack(env.moment.body.velocity_m_s)
    assert np.hypot(v[0], v[1]) == pytest.approx([0.4 * VELOCITY_LIMITS_M_S[0]] * 2, abs=0.1)


def test_a_rate_can_change_under_way() -> None:
    env = many(IDS[0], 4)
    env.reset(seed=0)
    env.set_conditions(Conditions(imu_hz=(50.0, 50.0), imu_jitter=0.0))
    observation, *_, info = env.step(np.zeros((4, 4)))
    assert info["dt_s"] == pytest.approx(0.02, rel=1e-6)
    assert observation[:, OBS_SLICES["dt_s"]] == pytest.approx(1.0, rel=1e-5)


def test_a_drone_that_leaves_the_numbers_is_lost_alone() -> None:
    env = many(IDS[0], 4, hold_s=0.0, obs="both")
    env.reset(seed=0)
    env.step(np.zeros((4, 4)))
    assert env._lanes is not None
    env._lanes.state.value("body")[3, 2] = math.nan
    observation, reward, terminated, _, info = env.step(np.zeros((4, 4)))
    assert terminated.tolist() == [False, False, True, False] and reward[2] == CRASH_REWARD
    assert np.isfinite(reward).all() and all(np.isfinite(part).all() for part in tables(observation))
    assert all(np.isfinite(part).all() for part in tables(info["final_obs"]))


@pytest.mark.parametrize("bad", [np.zeros(4), np.zeros((3, 4)), np.full((2, 4), math.nan), [["a"] * 4] * 2, None])
def test_bad_actions_are_refused_and_the_flights_go_on(bad: Any) -> None:
    env = many(IDS[0], 2)
    with pytest.raises(SimulationError, match=r"reset\(\)"):
        env.step(np.zeros((2, 4)))
    env.reset(seed=0)
    with pytest.raises(SimulationError, match="action"):
        env.step(bad)
    env.step(np.zeros((2, 4)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_envs": 0}, "num_envs"),
        ({"num_envs": True}, "num_envs"),
        ({"render_mode": "rgb_array"}, "no pictures"),
        ({"obs": "pixels"}, "unknown obs"),
        ({"action": "pwm"}, "unknown action"),
        ({"imu_herz": 3}, "unknown options"),
        ({"command_latency_s": (0.0, 0.5)}, "command_latency_s"),
        ({"threads": 0}, "threads"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        gymnasium.make_vec(IDS[0], **{"num_envs": 2, **options})


def test_a_list_of_seeds_is_refused() -> None:
    with pytest.raises(ConfigError, match="one whole number"):
        many(IDS[0], 2).reset(seed=[1, 2])


def test_the_dictionary_of_both_holds_each() -> None:
    both, sensors, state = (many(IDS[0], 4, obs=obs) for obs in ("both", "sensors", "state"))
    seen = [env.reset(seed=3)[0] for env in (both, sensors, state)]
    assert OBS_DIMS == {"sensors": OBS_DIM, "state": STATE_DIM}
    np.testing.assert_array_equal(seen[0]["sensors"], seen[1])
    np.testing.assert_array_equal(seen[0]["state"], seen[2])
