"""A teacher for HalfCheetah by TQC of sb3-contrib, in a form that is a policy file as it is.

Truncated quantile critics (Kuznetsov et al., "Controlling overestimation bias with truncated mixture of continuous
distributional quantile critics", 2020). The actor has two layers with the activation of our backbones and a tanh on its
mean, and sees the environment's own scaled observation. After every validation all episodes begin anew and all
generators are seeded from its number, in an unbroken run too, so that a run that was stopped there goes on to the same
policy.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from sb3_contrib import TQC
from sb3_contrib.tqc.policies import Actor, TQCPolicy
from stable_baselines3.common.type_aliases import TrainFreq, TrainFrequencyUnit
from torch import Tensor, nn

from envs.half_cheetah.rhythm import Rhythm
from liquid_pilot.errors import ConfigError
from liquid_pilot.half_cheetah import CheetahLayout
from policies.cells.forms import lecun_tanh
from policies.half_cheetah.course import validation
from policies.half_cheetah.exploring import exploring_env
from policies.half_cheetah.herd import Herd
from policies.half_cheetah.sizes import TEACHER_UNITS, teacher_spec
from policies.network import PolicyNetwork


@dataclass(frozen=True, slots=True)
class TeachingConfig:
    """Everything that decides a run; the usual settings are those of rl-baselines3-zoo for the PyBullet task, smaller.

    steps: calls of all environments together. calls: of one update, after each `train_every` of which there are
    `gradient_steps`. buffer: newest calls that are learnt from. rhythm: of a share `irregular` of the environments.
    """

    simulator: str = "pybullet"
    seed: int = 0
    steps: int = 800_000
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
    log_std: float = -3.0
    units: int = TEACHER_UNITS
    rhythm: Rhythm = field(default_factory=lambda: Rhythm(frames=(1, 6)))
    irregular: float = 0.0
    validate_every: int = 20
    validation_episodes: int = 6

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; give a whole number from 0 on")
        for name in ("steps", "cheetahs", "calls", "train_every", "gradient_steps", "buffer", "batch", "units",
                     "validate_every", "validation_episodes"):  # fmt: skip
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give at least one")
        if not 0.0 < self.learning_rate <= 1.0:
            raise ConfigError(f"learning_rate is {self.learning_rate:g}; it must be above 0 and at most 1")
        if not 0.0 <= self.irregular <= 1.0:
            raise ConfigError(f"irregular is {self.irregular:g}; give a share from 0 to 1")


@dataclass(frozen=True, slots=True)
class Progress:
    """One row of the learning curve. episode_return: mean of newly ended episodes, with exploration, or NaN.

    Mean returns at both rhythms are NaN between validations; score: minus their weighted mean.
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


class Activation(nn.Module):
    """That of our backbones."""

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return lecun_tanh(x)


class TeacherPolicy(TQCPolicy):
    """An actor that can be exported; the critics keep their usual activation."""

    def make_actor(self, features_extractor: Any = None) -> Actor:
        """See the base class."""
        self.actor_kwargs["activation_fn"] = Activation
        return super().make_actor(features_extractor)


class TeacherTrainer:
    """State of one run. `update()` is some calls and what is learnt after them.

    `policies.half_cheetah.checkpoint` saves and restores it. Raises as `HalfCheetahEnv`.
    """

    def __init__(self, config: TeachingConfig) -> None:
        self.config, self.layout = config, CheetahLayout(config.simulator)
        self.env = exploring_env(config.cheetahs, config.simulator, "full", "sensors", config.rhythm, config.irregular)
        self.model = TQC(
            TeacherPolicy,
            self.env,
            learning_rate=lambda remaining: config.learning_rate * max(remaining, 0.05),
            buffer_size=config.buffer,
            learning_starts=config.learning_starts,
            batch_size=config.batch,
            tau=config.tau,
            gamma=config.gamma,
            use_sde=True,
            policy_kwargs={"log_std_init": config.log_std, "clip_mean": 0.0, "net_arch": [config.units] * 2},
            seed=config.seed,
            device="cpu",
        )
        self.spec = teacher_spec(self.layout.width, config.units)
        self.best = PolicyNetwork(self.spec, config.seed)
        self.best_score = math.inf
        self.done = self.stale = 0
        self.elapsed_s = 0.0
        self.begins_anew = True
        self._herd = Herd(config.validation_episodes, config.simulator, "full")
        _, self._callback = self.model._setup_learn(config.steps, None)

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
        started, config, model = time.perf_counter(), self.config, self.model
        if self.begins_anew:
            model.set_random_seed(int(np.random.SeedSequence([config.seed, self.done]).generate_state(1)[0] % 2**31))
            model._last_obs = self.env.reset()  # type: ignore[assignment]
            self.begins_anew = False
        assert model.ep_info_buffer is not None and model.replay_buffer is not None
        model.ep_info_buffer.clear()
        model._current_progress_remaining = 1.0 - share
        often = TrainFreq(max(1, config.train_every // config.cheetahs), TrainFrequencyUnit.STEP)
        wanted = model.num_timesteps + config.calls
        while model.num_timesteps < wanted:
            model.collect_rollouts(
                self.env, self._callback, often, model.replay_buffer, learning_starts=config.learning_starts
            )
            if model.num_timesteps > config.learning_starts:
                model.train(config.gradient_steps, config.batch)
        self.done += 1
        self.elapsed_s += time.perf_counter() - started
        told, ended = model.logger.name_to_value, [episode["r"] for episode in model.ep_info_buffer]
        row = replace(
            self.idle(),
            loss=float(told.get("train/critic_loss", math.nan)),
            entropy_weight=float(told.get("train/ent_coef", math.nan)),
            episode_return=float(np.mean(ended)) if ended else math.nan,
        )
        told.clear()
        return row

    def idle(self) -> Progress:
        """A row without an update, for a validation of its own."""
        return Progress(self.done, self.model.num_timesteps, self.elapsed_s, math.nan, math.nan, math.nan)

    def network(self) -> PolicyNetwork:
        """The present actor's deterministic part."""
        network, state = PolicyNetwork(self.spec), self.model.actor.state_dict()
        names = {"backbone.0": "latent_pi.0", "backbone.1": "latent_pi.2", "readout": "mu"}
        with torch.no_grad():
            for name, parameter in network.named_weights().items():
                layer, _, what = name.rpartition(".")
                parameter.copy_(state[f"{names[layer]}.{what}"])
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
