"""A teacher for HalfCheetah by truncated quantile critics (TQC), in a form that is a policy file as it is.

What makes it one: the environment's own scaled observation in the place of running statistics, two layers with the
activation of our backbones, and a tanh. After every validation all episodes begin anew and all generators are seeded
from its number, in an unbroken run too, so that a run that was stopped there goes on to the same policy.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch

from envs.half_cheetah.rhythm import Rhythm
from liquid_pilot.errors import ConfigError
from liquid_pilot.half_cheetah import CheetahLayout
from policies.half_cheetah.course import validation
from policies.half_cheetah.exploring import exploring_env
from policies.half_cheetah.herd import Herd
from policies.half_cheetah.quantile_critics import QuantileCritics
from policies.half_cheetah.sizes import TEACHER_UNITS, teacher_spec
from policies.network import PolicyNetwork


@dataclass(frozen=True, slots=True)
class TeachingConfig:
    """Everything that decides a run; the usual settings are near those of rl-baselines3-zoo for the PyBullet task.

    steps: calls of all environments together. calls: of one update; after each `train_every` of them there are
    `gradient_steps`. buffer: newest calls that are learnt from. noise_calls: that exploration holds its noise for.
    rhythm: of a share `irregular` of the environments.
    """

    simulator: str = "pybullet"
    seed: int = 0
    steps: int = 600_000
    cheetahs: int = 4
    calls: int = 2_000
    train_every: int = 16
    gradient_steps: int = 8
    learning_starts: int = 10_000
    buffer: int = 300_000
    batch: int = 128
    learning_rate: float = 7e-4
    gamma: float = 0.98
    tau: float = 0.02
    noise_calls: int = 4
    units: int = TEACHER_UNITS
    rhythm: Rhythm = field(default_factory=lambda: Rhythm(frames=(1, 6)))
    irregular: float = 0.0
    validate_every: int = 10
    validation_episodes: int = 6

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; give a whole number from 0 on")
        for name in ("steps", "cheetahs", "calls", "train_every", "gradient_steps", "buffer", "batch", "noise_calls",
                     "units", "validate_every", "validation_episodes"):  # fmt: skip
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give at least one")
        if not 0.0 < self.learning_rate <= 1.0:
            raise ConfigError(f"learning_rate is {self.learning_rate:g}; it must be above 0 and at most 1")
        if not 0.0 <= self.irregular <= 1.0:
            raise ConfigError(f"irregular is {self.irregular:g}; give a share from 0 to 1")


@dataclass(frozen=True, slots=True)
class Progress:
    """One row of the learning curve. episode_return: mean of newly ended episodes, with exploration, or NaN.

    loss: of a critic; entropy_weight: what exploration is worth. Mean returns at both rhythms are NaN between
    validations; score: minus their weighted mean.
    """

    update: int
    steps: int
    elapsed_s: float
    loss: float
    entropy_weight: float
    episode_return: float
    return_regular: float = math.nan
    return_irregular: float = math.nan
    score: float = math.nan


class TeacherTrainer:
    """State of one run. `update()` is some calls and what is learnt after them.

    `policies.half_cheetah.checkpoint` saves and restores it. Raises as `HalfCheetahEnv`, and `MissingExtraError` where
    SBX is not installed.
    """

    def __init__(self, config: TeachingConfig) -> None:
        self.config, self.layout = config, CheetahLayout(config.simulator)
        self.env = exploring_env(config.cheetahs, config.simulator, "full", "sensors", config.rhythm, config.irregular)
        self.learner = QuantileCritics(config, self.env)
        self.spec = teacher_spec(self.layout.width, config.units)
        self.best = PolicyNetwork(self.spec, config.seed)
        self.best_score = math.inf
        self.done = self.stale = 0
        self.elapsed_s = 0.0
        self.begins_anew = True
        self._herd = Herd(config.validation_episodes, config.simulator, "full")

    @property
    def calls(self) -> int:
        """Of all environments, so far."""
        return int(self.learner.model.num_timesteps)

    @property
    def updates(self) -> int:
        """Updates of a whole run."""
        return math.ceil(self.config.steps / self.config.calls)

    @property
    def validate_every(self) -> int:
        """Updates between two validations."""
        return self.config.validate_every

    def update(self, share: float) -> Progress:
        """Some calls, and what is learnt after them, at `share` (0 to 1) of the run."""
        started, config, learner = time.perf_counter(), self.config, self.learner
        if self.begins_anew:
            learner.begin(int(np.random.SeedSequence([config.seed, self.done]).generate_state(1)[0] % 2**31))
            self.begins_anew = False
        ended = learner.model.ep_info_buffer
        ended.clear()
        told = learner.explore_and_learn(config.calls, share)
        self.done += 1
        self.elapsed_s += time.perf_counter() - started
        return replace(
            self.idle(),
            loss=told.get("train/critic_loss", math.nan),
            entropy_weight=told.get("train/ent_coef", math.nan),
            episode_return=float(np.mean([episode["r"] for episode in ended])) if ended else math.nan,
        )

    def idle(self) -> Progress:
        """A row without an update, for a validation of its own."""
        return Progress(self.done, self.calls, self.elapsed_s, math.nan, math.nan, math.nan)

    def network(self) -> PolicyNetwork:
        """The present actor's deterministic part."""
        network, weights = PolicyNetwork(self.spec), self.learner.actor_weights()
        with torch.no_grad():
            for name, parameter in network.named_weights().items():
                parameter.copy_(torch.from_numpy(weights[name]))
        return network

    def validate(self, progress: Progress) -> Progress:
        """Closed-loop returns of the deterministic actor at both rhythms; keeps the best weights."""
        config, network = self.config, self.network()
        found = validation(self._herd, network, config.rhythm, config.irregular, config.validation_episodes)
        self.stale += 1
        if found.score < self.best_score:
            self.best_score, self.stale = found.score, 0
            self.best.load_state_dict(network.state_dict())
        self.begins_anew = True
        return replace(progress, **asdict(found))

    def close(self) -> None:
        """Free the simulators."""
        self.env.close()
        self._herd.close()
