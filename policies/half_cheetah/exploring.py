"""Environments in which stable-baselines3 explores HalfCheetah, some of them at irregular time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import gymnasium
import numpy as np
from gymnasium.wrappers import TransformAction, TransformReward
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from envs.half_cheetah.env import HalfCheetahEnv
from envs.half_cheetah.rhythm import REGULAR, Rhythm
from liquid_pilot.half_cheetah import ACTIONS

FAR: Final = 10.0  # before the tanh; beyond it nothing changes


def exploring_env(
    count: int,
    simulator: str,
    observe: str,
    obs: str,
    rhythm: Rhythm,
    irregular: float,
    reward_scale: float = 1.0,
    before_tanh: bool = False,
) -> DummyVecEnv:
    """`count` environments, a share `irregular` of them at the rhythm, with scaled rewards. Raises as the environment.

    Of the infos' episodes, "r" is the scaled return. before_tanh: actions are what a tanh makes torques of.
    """
    odd = round(irregular * count)

    def maker(own: Rhythm) -> Callable[[], Any]:
        def make() -> Monitor[Any, Any]:
            env: gymnasium.Env[Any, Any] = HalfCheetahEnv(simulator, observe, obs, own)
            if before_tanh:
                env = TransformAction(env, np.tanh, gymnasium.spaces.Box(-FAR, FAR, (ACTIONS,), np.float32))
            return Monitor(TransformReward(env, lambda reward: float(reward) * reward_scale))

        return make

    return DummyVecEnv([maker(rhythm if number < odd else REGULAR) for number in range(count)])
