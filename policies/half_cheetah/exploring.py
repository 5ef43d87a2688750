"""Environments in which stable-baselines3 explores HalfCheetah, some of them at irregular time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import TransformReward
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from envs.half_cheetah.env import BOUND, HalfCheetahEnv
from envs.half_cheetah.rhythm import REGULAR, Rhythm


class TimeLeft(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Adds the share of the episode that is left to the observation."""

    def __init__(self, env: HalfCheetahEnv) -> None:
        super().__init__(env)
        width = sum(env.observation_space.shape or ())
        self._episode_s = env.episode_frames * env.simulator.frame_s
        self.observation_space = gymnasium.spaces.Box(-BOUND, BOUND, (width + 1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """See `gymnasium.Env.reset`."""
        seen, info = self.env.reset(seed=seed, options=options)
        return self._told(seen, info), info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """See `gymnasium.Env.step`."""
        seen, reward, lost, over, info = self.env.step(action)
        return self._told(seen, info), reward, lost, over, info

    def _told(self, seen: Any, info: dict[str, Any]) -> Any:
        return np.append(seen, np.float32(1.0 - info["t_s"] / self._episode_s))


def exploring_env(
    count: int,
    simulator: str,
    observe: str,
    obs: str,
    rhythm: Rhythm,
    irregular: float,
    reward_scale: float = 1.0,
    tells_time: bool = False,
) -> DummyVecEnv:
    """`count` environments, a share `irregular` of them at the rhythm, with scaled rewards. Raises as the environment.

    Of the infos' episodes, "r" is the scaled return. tells_time: the share of an episode that is left is
    observed too, last.
    """
    odd = round(irregular * count)

    def maker(own: Rhythm) -> Callable[[], Any]:
        def make() -> Monitor[Any, Any]:
            cheetah = HalfCheetahEnv(simulator, observe, obs, own)
            env: gymnasium.Env[Any, Any] = TimeLeft(cheetah) if tells_time else cheetah
            return Monitor(TransformReward(env, lambda reward: float(reward) * reward_scale))

        return make

    return DummyVecEnv([maker(rhythm if number < odd else REGULAR) for number in range(count)])
