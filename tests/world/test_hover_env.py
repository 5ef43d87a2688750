"""The Hover task: the gymnasium contract, the hold in the hand, rewards, ends, and clear errors."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import envs
from envs.actions import read_action
from envs.hover import HOVER, HoverEnv
from envs.physics import Body
from envs.quad_env import CRASH_REWARD
from envs.task import following_reward_per_s
from liquid_pilot.command import DEFAULT_LIMITS, to_action
from liquid_pilot.errors import ConfigError, SimulationError
from liquid_pilot.observation import OBS_DIM, OBS_SLICES
from liquid_pilot.ops import FLOAT_OPS
from policies.experts.geometric import GeometricController

assert envs.__doc__  # imported for its registration

ID = "liquid_pilot/Hover-v0"
IDLE = np.array([-1.0, 0.0, 0.0, 0.0], dtype=np.float32)


@pytest.fixture(name="env")
def one_env() -> Iterator[HoverEnv]:
    env = HoverEnv()
    yield env
    env.close()


def test_it_passes_the_check_of_gymnasium() -> None:
    env = gymnasium.make(ID, duration_s=0.5, render_mode="rgb_array")
    check_env(env.unwrapped)
    env.close()


def test_it_passes_the_check_of_stable_baselines3() -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    env = HoverEnv(duration_s=0.5)
    checker.check_env(env)
    env.close()


def test_importing_the_world_is_light() -> None:
    code = "import sys, envs; print(sorted({'torch', 'pybullet'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def episode(env: HoverEnv, seed: int, steps: int = 120) -> list[Any]:
    rng = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    rows: list[Any] = [(observation.tobytes(), info["position_m"])]
    for _ in range(steps):
        observation, reward, terminated, truncated, info = env.step(rng.uniform(-1, 1, 4).astype(np.float32))
        rows.append((observation.tobytes(), reward, terminated, truncated, info["position_m"], info["t_s"]))
        if terminated or truncated:
            break
    return rows


def test_the_same_seed_is_the_same_episode_bit_by_bit(env: HoverEnv) -> None:
    first = episode(env, 11)
    episode(env, 12)
    assert episode(env, 11) == first
    other = HoverEnv()
    assert episode(other, 11) == first
    assert episode(other, 13) != first
    other.close()


def test_the_hold_ignores_actions_and_pays_nothing(env: HoverEnv) -> None:
    _, info = env.reset(seed=3)
    start = info["position_m"], info["attitude_wxyz"]
    accel = []
    while not info["released"]:
        observation, reward, terminated, truncated, info = env.step(np.ones(4, dtype=np.float32))
        accel.append(observation[OBS_SLICES["accel_m_s2"]] * 5.0 + [0.0, 0.0, 9.81])
        assert (reward, terminated, truncated) == (0.0, False, False)
        assert (info["position_m"], info["attitude_wxyz"]) == start
    assert 0.5 <= info["t_s"] < 0.52
    assert np.linalg.norm(np.mean(accel, axis=0)) == pytest.approx(9.81, abs=0.5)  # it sees gravity
    assert math.hypot(*info["velocity_m_s"]) > 0.0
    _, reward, *_ = env.step(np.zeros(4, dtype=np.float32))
    assert reward != 0.0


def test_dropping_it_ends_in_a_crash(env: HoverEnv) -> None:
    env.reset(seed=5)
    terminated = truncated = False
    rewards: list[float] = []
    info: dict[str, Any] = {}
    while not (terminated or truncated):
        _, reward, terminated, truncated, info = env.step(IDLE)
        rewards.append(reward)
    assert terminated and not truncated and info["success"] is False
    assert rewards[-1] == pytest.approx(CRASH_REWARD, abs=0.1) and min(rewards[:-1]) > -0.1
    with pytest.raises(SimulationError, match="reset"):
        env.step(IDLE)


def test_full_thrust_hits_the_ceiling_or_tumbles() -> None:
    env = HoverEnv(tilt_deg=(0.0, 0.0), launch_rate_rad_s=(0.0, 0.0), wind_m_s=(0.0, 0.0))
    env.reset(seed=5)
    terminated = truncated = False
    info: dict[str, Any] = {}
    while not terminated:
        _, _, terminated, truncated, info = env.step(np.array([1.0, 0.0, 0.0, 0.0], dtype=np.float32))
        assert not truncated
    assert info["position_m"][2] > 3.4 and not info["success"]
    env.close()


@pytest.mark.parametrize("imu_hz", [50.0, 200.0])
def test_an_expert_succeeds_and_earns_alike_at_any_rate(imu_hz: float) -> None:
    env = HoverEnv(imu_hz=(imu_hz, imu_hz), duration_s=4.0)
    _, info = env.reset(seed=1)
    expert, over, truncated, total, dt = GeometricController(), False, False, 0.0, []
    while not over:
        body = Body(info["position_m"], info["velocity_m_s"], info["attitude_wxyz"], info["rates_rad_s"])
        action = np.zeros(4)
        if info["released"]:
            assert env._launch is not None
            command = expert.command(info["t_s"], body, env._launch.setpoint)
            action = np.array(to_action(DEFAULT_LIMITS, command.thrust_m_s2, command.rates_rad_s))
        observation, reward, terminated, truncated, info = env.step(action.astype(np.float32))
        assert observation.shape == (OBS_DIM,) and env.observation_space.contains(observation)
        assert observation[OBS_SLICES["dt_s"]][0] * 0.02 == pytest.approx(info["dt_s"], rel=1e-5)
        total, over = total + reward, terminated or truncated
        dt.append(info["dt_s"])
    assert truncated and info["success"] is True
    assert np.mean(dt) == pytest.approx(1.0 / imu_hz, rel=0.05)
    assert 1.0 < total < 4.0  # of 4 s at 1 per second at most


def test_the_reward_is_highest_at_rest_at_the_height() -> None:
    level, zero = (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0)

    def reward(body: Body[float]) -> float:
        goal = HOVER.goal(FLOAT_OPS, (0.0, 0.0, 1.0, 0.0), 0.0, body)
        return float(following_reward_per_s(FLOAT_OPS, body, goal.point))

    assert reward(Body((5.0, 5.0, 1.0), zero, level, zero)) == 1.0
    assert reward(Body((0.0, 0.0, 1.2), (0.0, 0.3, 0.0), level, zero)) == pytest.approx(0.5)
    assert reward(Body((0.0, 0.0, 9.0), zero, level, zero)) == -1.0


@pytest.mark.parametrize(
    "bad",
    [
        np.array([0.0, math.nan, 0.0, 0.0]),
        np.array([math.inf, 0.0, 0.0, 0.0]),
        np.zeros(3),
        np.zeros((1, 4)),
        np.zeros(4, dtype=complex),
        np.array(["up", "up", "up", "up"]),
        [0.0, [1.0], 0.0, 0.0],
        None,
        1.0,
    ],
)
def test_bad_actions_are_refused_in_flight_and_in_the_hand(env: HoverEnv, bad: Any) -> None:
    env.reset(seed=0)
    with pytest.raises(SimulationError, match="action"):
        env.step(bad)
    assert env.step(IDLE)[0].shape == (OBS_DIM,)  # a refused action leaves the episode as it was


def test_actions_beyond_one_are_cut() -> None:
    assert read_action([2.0, -3.0, 0.5, 0]) == (1.0, -1.0, 0.5, 0.0)


def test_stepping_before_a_reset_says_what_to_do(env: HoverEnv) -> None:
    with pytest.raises(SimulationError, match=r"reset\(\)"):
        env.step(IDLE)
    made = gymnasium.make(ID)
    with pytest.raises(SimulationError, match=r"reset\(\)"):
        made.step(IDLE)
    made.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"imu_herz": (1.0, 2.0)}, "unknown options .*imu_herz"),
        ({"imu_hz": (0.1, 2.0)}, "imu_hz"),
        ({"duration_s": 0.0}, "duration_s"),
        ({"duration_s": math.nan}, "duration_s"),
        ({"airframe": "dc3"}, "unknown airframe"),
        ({"render_mode": "ansi"}, "render_mode"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        HoverEnv(**options)


def test_a_picture_shows_the_drone() -> None:
    env = HoverEnv(render_mode="rgb_array")
    with pytest.raises(SimulationError, match="reset"):
        env.render()
    env.reset(seed=0)
    picture = env.render()
    assert picture is not None and picture.shape == (480, 640, 3) and picture.dtype == np.uint8
    red, green, _ = np.moveaxis(picture.astype(int), -1, 0)
    assert (red > green + 40).sum() > 100  # what its front is painted with
    env.close()
