"""Episodes of a herd: recorded with what a teacher would do, or run by a policy for its score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from envs.half_cheetah.rhythm import Rhythm
from policies.half_cheetah.herd import F32, Herd, Mask, View
from policies.imitation.demonstrations import Demonstrations

SHIFT_S: Final = 0.5  # mean time for which teacher or pilot keeps the controls
NOISE_S: Final = 0.1  # for which noise on the teacher's actions stays about the same


class Expert(Protocol):
    """Who is asked at every call; it sees the true body."""

    def reset(self, cheetahs: int) -> None:
        """So many new episodes."""
        ...

    def act(self, view: View) -> F32:
        """Actions (N, 6) in -1..1."""
        ...


class Pilot(Protocol):
    """Who runs; as `policies.network.PolicyNetwork`."""

    def initial_state(self, batch: int) -> Tensor:
        """(B, state)."""
        ...

    def step(self, x: Tensor, h: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
        """Actions and the next state of sensors, a state and the times since the calls before."""
        ...


@dataclass(frozen=True, slots=True)
class Mixture:
    """Who acts: the teacher with probability `share`, else the pilot, in shifts of `SHIFT_S`.

    noise: standard deviation of what is added to the teacher's actions as they act, not to those recorded.
    """

    pilot: Pilot | None = None
    share: float = 1.0
    noise: float = 0.0


def record_episodes(
    herd: Herd,
    teacher: Expert,
    mixture: Mixture,
    rhythms: Sequence[Rhythm],
    seed: int,
    on_call: Callable[[], None] = lambda: None,
) -> Demonstrations:
    """One episode a rhythm; random numbers follow from the seed. Raises as the teacher's `act`."""
    rng = np.random.default_rng([seed, 2])
    view = herd.reset(seed, rhythms)
    n, pilot = len(view), mixture.pilot
    teacher.reset(n)
    h = None if pilot is None else pilot.initial_state(n)
    noise: npt.NDArray[np.float64] | None = None
    taught, alive, length = rng.random(n) < mixture.share, np.ones(n, np.bool_), np.zeros(n, np.int64)
    rows: list[tuple[F32, F32, F32]] = []
    while alive.any():
        wanted = teacher.act(view)
        rows.append((view.sensors, wanted, view.dt_s))
        length += alive
        acted = wanted
        if mixture.noise:
            white = rng.standard_normal(wanted.shape)
            kept = np.exp(-view.dt_s / NOISE_S)[:, None]
            noise = white if noise is None else kept * noise + np.sqrt(1.0 - kept * kept) * white
            acted = wanted + (mixture.noise * noise).astype(np.float32)
        if pilot is not None and h is not None:
            with torch.no_grad():
                own, h = pilot.step(torch.from_numpy(view.sensors), h, torch.from_numpy(view.dt_s))
            changes = rng.random(n) < view.dt_s / SHIFT_S
            taught = np.where(changes, rng.random(n) < mixture.share, taught)
            acted = np.where(taught[:, None], acted, own.numpy())
        view, over = herd.step(acted)
        alive = alive & ~over
        on_call()
    return _by_episode(rows, length)


def _by_episode(rows: list[tuple[F32, F32, F32]], length: npt.NDArray[np.int64]) -> Demonstrations:
    """Calls of all cheetahs, in order of time, to episodes one after the other."""
    inside: Mask = (np.arange(len(rows))[:, None] < length).T  # (N, T)
    sensors, action, dt_s = (np.stack(column, axis=1)[inside] for column in zip(*rows, strict=True))
    return Demonstrations(sensors, action, dt_s, np.zeros(len(dt_s), np.bool_), length)


def run_episodes(herd: Herd, network: Pilot, rhythms: Sequence[Rhythm], seed: int) -> npt.NDArray[np.float64]:
    """Returns (N,) of a policy, one episode a rhythm."""
    view = herd.reset(seed, rhythms)
    h, over = network.initial_state(len(view)), np.zeros(len(view), np.bool_)
    while not over.all():
        with torch.no_grad():
            action, h = network.step(torch.from_numpy(view.sensors), h, torch.from_numpy(view.dt_s))
        view, over = herd.step(np.nan_to_num(action.numpy()))
    found: npt.NDArray[np.float64] = herd.returns.copy()
    return found
