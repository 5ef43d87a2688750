"""A clone of a teacher in the form of a policy file: a memoryless network that is corrected where it acts itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from envs.half_cheetah.rhythm import REGULAR, Rhythm
from liquid_pilot.cells import CellSpec
from liquid_pilot.errors import ConfigError
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
    """How a clone is made. rounds: of `herd` episodes each, a share `irregular` of them at the run's rhythm.

    updates: gradient steps in all, of `batch` calls. noise, share_decay: of the expert, see `Mixture`; its share of the
    controls begins at 1. Raises `ConfigError` for numbers that make no sense.
    """

    rounds: int = 10
    herd: int = 8
    irregular: float = 0.25
    updates: int = 30_000
    batch: int = 256
    learning_rate: float = 2e-3
    noise: float = 0.2
    share_decay: float = 0.5

    def __post_init__(self) -> None:
        for name in ("rounds", "herd", "updates", "batch"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give at least one")
        for name in ("irregular", "noise", "share_decay"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} is {getattr(self, name):g}; give a number from 0 to 1")
        if not 0.0 < self.learning_rate <= 1.0:
            raise ConfigError(f"learning_rate is {self.learning_rate:g}; it must be above 0 and at most 1")


def cloned(
    expert: Expert,
    spec: CellSpec,
    simulator: str,
    rhythm: Rhythm,
    seed: int,
    config: Cloning,
    on_round: Callable[[], None] = lambda: None,
) -> PolicyNetwork:
    """The clone, a memoryless network of `spec`. The same seed gives the same one.

    Raises as `HalfCheetahEnv` and the expert's `act`.
    """
    network, rng = PolicyNetwork(spec, seed), np.random.default_rng([seed, 3])
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    odd = round(config.irregular * config.herd)
    rhythms = [rhythm] * odd + [REGULAR] * (config.herd - odd)
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
    """Of a finished teacher, a `policies.half_cheetah.export.Run`; best_score as the teacher's, lower is better."""

    config: TeachingConfig
    layout: CheetahLayout
    best: PolicyNetwork
    best_score: float
    done: int
    elapsed_s: float

    @staticmethod
    def of(trainer: TeacherTrainer, config: Cloning, on_round: Callable[[], None] = lambda: None) -> Clone:
        """Of the best actor of a run, scored by the same episodes. Raises as `cloned`."""
        began, own, layout = time.perf_counter(), trainer.config, trainer.layout
        network = cloned(
            trainer.best, teacher_spec(layout.width), own.simulator, own.rhythm, own.seed, config, on_round
        )
        with Herd(own.validation_episodes, own.simulator, "full") as herd:
            found = validation(herd, network, own.rhythm, own.irregular, own.validation_episodes)
        spent_s = trainer.elapsed_s + time.perf_counter() - began
        return Clone(own, layout, network, found.score, trainer.done, spent_s)
