"""Small environments and models for the tests of reinforcement learning."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from liquid_pilot.observation import OBS_DIM, OBS_FIELDS, OBS_SLICES
from policies.network import hover_spec
from policies.rl.policy import LiquidPolicy
from policies.rl.ppo import LiquidPPO

CUE = OBS_SLICES["range_m"].start
ASK = OBS_SLICES["fresh"].start
DT = OBS_SLICES["dt_s"].start
DT_SCALE_S = next(field.scale for field in OBS_FIELDS if field.name == "dt_s")


class Recall(gymnasium.Env[npt.NDArray[np.float32], npt.NDArray[np.float32]]):
    """A cue of +1 or -1, shown at the second event alone, then events at irregular times; asked, give it back.

    Not at the first one: no time has passed then, and a cell that is exact in time has not moved.

    What is right earns 1, the opposite -1; one that does not remember earns 0 on average.
    """

    def __init__(self, events: int = 5, seconds: float = 0.02) -> None:
        self.observation_space = spaces.Box(-1000.0, 1000.0, (OBS_DIM,), np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (4,), np.float32)
        self.events, self.seconds = events, seconds

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self._at, self._cue = 0, float(self.np_random.choice([-1.0, 1.0]))
        return self._seen(), {}

    def step(self, action: npt.NDArray[np.float32]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._at += 1
        asked = self._at > self.events
        return self._seen(), self._cue * float(action[0]) * asked, asked, False, {}

    def _seen(self) -> npt.NDArray[np.float32]:
        seen = np.zeros(OBS_DIM, np.float32)
        seen[CUE] = self._cue if self._at == 1 else 0.0
        seen[ASK] = float(self._at >= self.events)
        seen[DT] = 0.0 if self._at == 0 else self.seconds * self.np_random.uniform(0.2, 1.8) / DT_SCALE_S
        return seen


def recall_model(cell: str, drones: int = 32, seed: int = 0, **options: Any) -> LiquidPPO:
    env = DummyVecEnv([lambda: Monitor(Recall())] * drones)
    given: dict[str, Any] = {"learning_rate": 1e-2, "n_steps": 20, "n_epochs": 5, "gamma": 0.999} | options
    return LiquidPPO(LiquidPolicy, env, policy_kwargs={"spec": hover_spec(cell), "seed": seed}, seed=seed, **given)
