"""The batched environments as a `VecEnv` of stable-baselines3, and PyBullet's behind the same few methods."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from envs.batched_env import BatchedQuadEnv
from envs.conditions import Conditions
from envs.quad_env import QuadEnv


@dataclass(frozen=True, slots=True)
class Flown:
    """A flight that ended: its return, its events, whether it was flown well."""

    reward: float
    events: int
    success: bool


class BatchedVecEnv(VecEnv):
    """All drones of a `BatchedQuadEnv`, which share attributes and methods; one seed is for all of them.

    The infos of flights that ended hold terminal_observation, TimeLimit.truncated, is_success and episode (return r,
    events l); the others are empty. flown: flights that ended since the list was cleared.
    """

    def __init__(self, env: BatchedQuadEnv) -> None:
        self.env = env
        self._actions: npt.NDArray[Any] = np.zeros((env.num_envs, 4), np.float32)
        self._return, self._events = np.zeros(env.num_envs), np.zeros(env.num_envs, np.int64)
        self._began = time.perf_counter()
        self.flown: list[Flown] = []
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> VecEnvObs:
        """Launch all flights anew."""
        self._return[:], self._events[:] = 0.0, 0
        observation, _ = self.env.reset(seed=self._seeds[0])
        self._reset_seeds()
        self._reset_options()
        found: VecEnvObs = observation
        return found

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        """Note the actions, (N, 4)."""
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        """Fly to the next IMU event."""
        observation, reward, terminated, truncated, info = self.env.step(self._actions)
        done = terminated | truncated
        self._return += reward
        self._events += 1
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        over = [int(i) for i in np.flatnonzero(done)]
        for i in over:
            flight = Flown(float(self._return[i]), int(self._events[i]), bool(info["final_info"]["success"][i]))
            self.flown.append(flight)
            infos[i] = {
                "terminal_observation": _row(info["final_obs"], i),
                "TimeLimit.truncated": bool(truncated[i] and not terminated[i]),
                "is_success": flight.success,
                "episode": {"r": flight.reward, "l": flight.events, "t": time.perf_counter() - self._began},
            }
        self._return[over], self._events[over] = 0.0, 0
        return observation, reward.astype(np.float32), done, infos

    def close(self) -> None:
        """End the environment."""
        self.env.close()

    def set_conditions(self, conditions: Conditions) -> None:
        """Draw later flights under these."""
        self.env.set_conditions(conditions)

    def relaunch(self, index: npt.NDArray[np.intp]) -> VecEnvObs:
        """New flights for some drones, before theirs are over; returns what all of them see."""
        self._return[index], self._events[index] = 0.0, 0
        found: VecEnvObs = self.env.relaunch(index)
        return found

    def snapshot(self) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
        """See `BatchedQuadEnv.snapshot`; with what the flights have earned so far."""
        tables, generator = self.env.snapshot()
        return tables | {"return": self._return, "events": self._events}, generator

    def restore(self, tables: Mapping[str, npt.NDArray[Any]], generator: dict[str, Any]) -> VecEnvObs:
        """Go on from a snapshot; returns what the drones see. Raises `ConfigError` for one of another environment."""
        found: VecEnvObs = self.env.restore(tables, generator)
        self._return, self._events = tables["return"].copy(), tables["events"].copy()
        return found

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """The shared attribute, once for every index."""
        return [getattr(self.env, attr_name)] * len(list(self._get_indices(indices)))

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set the shared attribute."""
        setattr(self.env, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **kwargs: Any
    ) -> list[Any]:
        """Call the shared method once."""
        found = getattr(self.env, method_name)(*method_args, **kwargs)
        return [found] * len(list(self._get_indices(indices)))

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: VecEnvIndices = None
    ) -> list[bool]:
        """Never: what a Monitor would tell is told in the infos."""
        return [wrapper_class is Monitor] * len(list(self._get_indices(indices)))


class PyBulletVecEnv(DummyVecEnv):
    """Some `QuadEnv`s in turn, each with a Monitor; what its info calls success is told as is_success.

    flown: flights that ended since the list was cleared.
    """

    def __init__(self, make: Callable[[], QuadEnv], num_envs: int) -> None:
        self.flown: list[Flown] = []
        super().__init__([lambda: Monitor(make())] * num_envs)

    def step_wait(self) -> VecEnvStepReturn:
        """Fly every drone to its next IMU event."""
        observation, reward, done, infos = super().step_wait()
        for info in infos:
            if "success" in info:
                info["is_success"] = info["success"]
                self.flown.append(Flown(info["episode"]["r"], info["episode"]["l"], info["success"]))
        return observation, reward, done, infos

    def set_conditions(self, conditions: Conditions) -> None:
        """Draw later flights under these."""
        for env in self.envs:
            env.unwrapped.conditions = conditions  # type: ignore[attr-defined]

    def relaunch(self, index: npt.NDArray[np.intp]) -> VecEnvObs:
        """New flights for some drones, before theirs are over; returns what all of them see."""
        for i in index:
            observation, self.reset_infos[i] = self.envs[i].reset()
            self._save_obs(int(i), observation)
        return self._obs_from_buf()


def _row(observation: Any, index: int) -> Any:
    if isinstance(observation, dict):
        return {name: rows[index] for name, rows in observation.items()}
    return observation[index]
