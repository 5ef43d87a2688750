"""Several cheetahs side by side, each called at its own rhythm until its episode is over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from envs.half_cheetah.env import HalfCheetahEnv
from envs.half_cheetah.rhythm import Rhythm

F32 = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class View:
    """What N cheetahs show: sensors (N, width) of the policy, state (N, all), the true body; dt_s (N,) of the call."""

    sensors: F32
    state: F32
    dt_s: F32

    def __len__(self) -> int:
        return len(self.dt_s)


class Herd:
    """N environments that are reset together; use it in a `with`. Raises as `HalfCheetahEnv`."""

    def __init__(self, count: int, simulator: str, observe: str) -> None:
        self.envs = [HalfCheetahEnv(simulator, observe, "both") for _ in range(count)]
        self.returns = np.zeros(count)

    def __enter__(self) -> Herd:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self.envs)

    def reset(self, seed: int, rhythms: Sequence[Rhythm]) -> View:
        """New episodes, one a rhythm; environments beyond them stand idle."""
        seeds = np.random.SeedSequence(seed).generate_state(len(rhythms))
        self._active = self.envs[: len(rhythms)]
        self.returns = np.zeros(len(rhythms))
        rows = []
        for env, rhythm, own in zip(self._active, rhythms, seeds, strict=True):
            env.set_rhythm(rhythm)
            rows.append(env.reset(seed=int(own)))
        self._rows = [(seen, info["dt_s"]) for seen, info in rows]
        self._over = np.zeros(len(rows), np.bool_)
        return self._view()

    def step(self, actions: F32) -> tuple[View, Mask]:
        """The next call of each, and whose episode has ended (N,); what those show stays as it was."""
        for i, env in enumerate(self._active):
            if self._over[i]:
                continue
            seen, reward, lost, over, info = env.step(actions[i])
            self._rows[i] = seen, info["dt_s"]
            self.returns[i] += reward
            self._over[i] = lost or over
        return self._view(), self._over.copy()

    def close(self) -> None:
        """Free the simulators."""
        for env in self.envs:
            env.close()

    def _view(self) -> View:
        def stacked(name: str) -> Any:
            return np.stack([seen[name] for seen, _ in self._rows])

        return View(stacked("sensors"), stacked("state"), np.array([dt for _, dt in self._rows], np.float32))
