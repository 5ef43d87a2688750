"""A clone of a teacher in the form of a policy file: a memoryless network that is corrected where it acts itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from envs.half_cheetah.rhythm import REGULAR, Rhythm
from liquid_pilot.cells import CellSpec
from liquid_pilot.half_cheetah import CheetahLayout
from policies.half_cheetah.course import validation
from policies.half_cheetah.episodes import Expert, Mixture, record_episodes
from policies.half_cheetah.herd import Herd
from policies.half_cheetah.sizes import teacher_spec
from policies.half_cheetah.teaching import TeacherTrainer, TeachingConfig
from policies.network import PolicyNetwork
from policies.schedule import learning_rate_shape


@dataclass(frozen=True, slots=True)
class Cloning:
    """rounds: of a herd's episodes each, the first the expert's, with noise, then half as many of its shifts each time.

    irregular: of the herd's episodes, at the rhythm of 1 to 6 frames. updates: gradient steps in all.
    """

    rounds: int = 10
    herd: int = 8
    irregular: float = 0.25
    updates: int = 30_000
    batch: int = 256
    learning_rate: float = 2e-3
    noise: float = 0.2
    share_decay: float = 0.5


def cloned(
    expert: Expert,
    spec: CellSpec,
    simulator: str,
    seed: int,
    config: Cloning | None = None,
    on_round: Callable[[], None] = lambda: None,
) -> PolicyNetwork:
    """The clone. The same seed gives the same one. Raises as `HalfCheetahEnv`."""
    config = Cloning() if config is None else config
    network, rng = PolicyNetwork(spec, seed), np.random.default_rng([seed, 3])
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    odd = round(config.irregular * config.herd)
    rhythms = [Rhythm(frames=(1, 6))] * odd + [REGULAR] * (config.herd - odd)
    generator, seen, wanted = torch.Generator().manual_seed(seed), [], []
    with Herd(config.herd, simulator, "full") as herd:
        for number in range(config.rounds):
            mixture = Mixture(network if number else None, config.share_decay**number, config.noise)
            episodes = record_episodes(herd, expert, mixture, rhythms, int(rng.integers(2**31)))
            seen.append(torch.from_numpy(episodes.observation))
            wanted.append(torch.from_numpy(episodes.action))
            x, y = torch.cat(seen), torch.cat(wanted)
            begun, until = (config.updates * n // config.rounds for n in (number, number + 1))
            for update in range(begun, until):
                for group in optimizer.param_groups:
                    group["lr"] = config.learning_rate * learning_rate_shape(update / config.updates)
                rows = torch.randint(len(x), (config.batch,), generator=generator)
                optimizer.zero_grad()
                said = network.act(network.features(x[rows], x[rows, :0]))
                torch.nn.functional.mse_loss(said, y[rows]).backward()
                optimizer.step()
            on_round()
    return network


@dataclass(frozen=True, slots=True)
class Clone:
    """Of a finished teacher, ready for `policies.half_cheetah.export`."""

    config: TeachingConfig
    layout: CheetahLayout
    best: PolicyNetwork
    best_score: float
    done: int
    elapsed_s: float

    @staticmethod
    def of(trainer: TeacherTrainer, config: Cloning, on_round: Callable[[], None] = lambda: None) -> Clone:
        """Of the best actor of a run, scored by the same episodes. Raises as `HalfCheetahEnv`."""
        began, own, layout = time.perf_counter(), trainer.config, trainer.layout
        network = cloned(trainer.best, teacher_spec(layout.width), own.simulator, own.seed, config, on_round)
        with Herd(own.validation_episodes, own.simulator, "full") as herd:
            found = validation(herd, network, own.rhythm, own.irregular, own.validation_episodes)
        spent_s = trainer.elapsed_s + time.perf_counter() - began
        return Clone(own, layout, network, found.score, trainer.done, spent_s)
