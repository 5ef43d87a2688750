"""Environments in which stable-baselines3 explores HalfCheetah, some of them at irregular time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
from gymnasium.wrappers import TransformReward
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from envs.half_cheetah.env import HalfCheetahEnv
from envs.half_cheetah.rhythm import REGULAR, Rhythm


def exploring_env(
    count: int,
    simulator: str,
    observe: str,
    obs: str,
    rhythm: Rhythm,
    irregular: float,
    reward_scale: float = 1.0,
) -> DummyVecEnv:
    """`count` environments, a share `irregular` of them at the rhythm, with scaled rewards. Raises as the environment.

    Of the infos' episodes, "r" is the scaled return.
    """
    odd = round(irregular * count)

    def maker(own: Rhythm) -> Callable[[], Any]:
        def make() -> Monitor[Any, Any]:
            env: gymnasium.Env[Any, Any] = HalfCheetahEnv(simulator, observe, obs, own)
            return Monitor(TransformReward(env, lambda reward: float(reward) * reward_scale))

        return make

    return DummyVecEnv([maker(rhythm if number < odd else REGULAR) for number in range(count)])
