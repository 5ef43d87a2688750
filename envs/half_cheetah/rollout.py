"""One episode by one policy, stepped as onboard: numpy or compiled C, no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from envs.half_cheetah.env import HalfCheetahEnv
from liquid_pilot.bundle import Bundle
from liquid_pilot.errors import ConfigError
from liquid_pilot.half_cheetah import TASK
from liquid_pilot.stepper import Stepper

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Episode:
    """What came of an episode of T calls.

    lost: the simulation left the finite numbers. The rest has a row a call: t_s (T,) and place_m (T,) before it,
    sensors (T, width), actions (T, 6), hidden (T, state_width), reward (T,).
    """

    total: float
    lost: bool
    t_s: npt.NDArray[np.float64]
    place_m: npt.NDArray[np.float64]
    sensors: F32
    actions: F32
    hidden: F32
    reward: npt.NDArray[np.float64]

    @property
    def calls(self) -> int:
        """T."""
        return len(self.t_s)

    @property
    def speed_m_s(self) -> float:
        """Mean, along x."""
        return float((self.place_m[-1] - self.place_m[0]) / max(self.t_s[-1] - self.t_s[0], 1e-9))


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a policy: when and where it was made, what was seen and done, what came of it."""

    t_s: float
    place_m: float
    sensors: F32
    action: F32
    hidden: F32
    reward: float
    lost: bool


def calls(env: HalfCheetahEnv, network: Stepper, seed: int) -> Iterator[Call]:
    """The calls of an episode, one by one, of an environment with obs="sensors"."""
    seen, info = env.reset(seed=seed)
    h, over = network.initial_state(), False
    while not over:
        action, h = network.step(seen, h, info["dt_s"])
        following, reward, lost, late, after = env.step(action)
        yield Call(info["t_s"], info["place_m"], seen, action, h.copy(), reward, lost)
        seen, info, over = following, after, lost or late


def run_episode(env: HalfCheetahEnv, network: Stepper, seed: int) -> Episode:
    """A whole episode of an environment with obs="sensors"."""
    rows = list(calls(env, network, seed))

    def column(name: str) -> Any:
        return np.array([getattr(row, name) for row in rows])

    total = float(sum(row.reward for row in rows))
    names = ("t_s", "place_m", "sensors", "action", "hidden", "reward")
    return Episode(total, rows[-1].lost, *(column(name) for name in names))


def check_policy(bundle: Bundle) -> None:
    """Raise `ConfigError` for a policy of another task."""
    if bundle.task != TASK:
        raise ConfigError(
            f"policy {bundle.name!r} is of the task {bundle.task}; choose one of {TASK}, or --task {bundle.task}"
        )
