"""A teacher for HalfCheetah by PPO of stable-baselines3, with the settings of rl-baselines3-zoo for the PyBullet task.

As there, observations and rewards are scaled by running statistics, exploration is state-dependent, and the learner is
told the time that is left; without that, and with larger rates and fewer epochs, it came to stand at a return of 2,450
to 2,490. What it learns is an `Actor`; `policies.half_cheetah.cloning` makes a policy file of it. After every
validation all episodes begin anew and all generators are seeded from its number, in an unbroken run too, so that a run
that was stopped there goes on to the same policy.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field, replace

import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from envs.half_cheetah.rhythm import Rhythm
from liquid_pilot.errors import ConfigError
from liquid_pilot.half_cheetah import CheetahLayout
from policies.half_cheetah.actor import Actor
from policies.half_cheetah.course import validation
from policies.half_cheetah.exploring import exploring_env
from policies.half_cheetah.herd import Herd


@dataclass(frozen=True, slots=True)
class TeachingConfig:
    """Everything that decides a run.

    steps: calls of all environments together; events: of each of them in a rollout. rhythm: of a share `irregular` of
    the environments.
    """

    simulator: str = "pybullet"
    seed: int = 0
    steps: int = 2_000_000
    cheetahs: int = 16
    events: int = 512
    batch: int = 128
    epochs: int = 20
    learning_rate: float = 3e-5
    gamma: float = 0.99
    gae_lambda: float = 0.9
    clip_range: float = 0.4
    log_std: float = -2.0
    noise_calls: int = 4
    units: int = 256
    rhythm: Rhythm = field(default_factory=lambda: Rhythm(frames=(1, 6)))
    irregular: float = 0.0
    validate_every: int = 20
    validation_episodes: int = 6

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; give a whole number from 0 on")
        counted = ("steps", "cheetahs", "events", "batch", "epochs", "units", "validate_every", "validation_episodes")
        for name in counted:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give at least one")
        calls = self.cheetahs * self.events
        if self.batch < 2 or calls % self.batch:
            raise ConfigError(f"batch is {self.batch}; give a divisor of the {calls} calls of a rollout, from 2 on")
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
    episode_return: float
    return_regular: float = math.nan
    return_irregular: float = math.nan
    score: float = math.nan


class TeacherTrainer:
    """State of one run. `update()` is one rollout and what is learnt from it.

    `policies.half_cheetah.checkpoint` saves and restores it. Raises as `HalfCheetahEnv`.
    """

    def __init__(self, config: TeachingConfig) -> None:
        self.config, self.layout = config, CheetahLayout(config.simulator)
        told = (config.rhythm, config.irregular)
        cheetahs = exploring_env(config.cheetahs, config.simulator, "full", "state", *told, tells_time=True)
        self.env = VecNormalize(cheetahs, gamma=config.gamma)
        self.model = PPO(
            "MlpPolicy",
            self.env,
            learning_rate=config.learning_rate,
            n_steps=config.events,
            batch_size=config.batch,
            n_epochs=config.epochs,
            gamma=config.gamma,
            gae_lambda=config.gae_lambda,
            clip_range=config.clip_range,
            use_sde=True,
            sde_sample_freq=config.noise_calls,
            policy_kwargs={
                "log_std_init": config.log_std,
                "ortho_init": False,
                "activation_fn": nn.ReLU,
                "net_arch": {"pi": [config.units] * 2, "vf": [config.units] * 2},
            },
            seed=config.seed,
            device="cpu",
        )
        self.actor, self.best = (Actor(len(self.layout.index), config.units) for _ in range(2))
        self.best_score = math.inf
        self.done = self.stale = 0
        self.elapsed_s = 0.0
        self.begins_anew = True
        self._herd = Herd(config.validation_episodes, config.simulator, "full")
        _, self._callback = self.model._setup_learn(config.steps, None)

    @property
    def updates(self) -> int:
        """Rollouts of a whole run."""
        return math.ceil(self.config.steps / (self.config.cheetahs * self.config.events))

    @property
    def validate_every(self) -> int:
        """Rollouts between two validations."""
        return self.config.validate_every

    def update(self, share: float) -> Progress:
        """One rollout, and what is learnt from it, at `share` (0 to 1) of the run, on which nothing depends."""
        started, config, model = time.perf_counter(), self.config, self.model
        if self.begins_anew:
            model.set_random_seed(int(np.random.SeedSequence([config.seed, self.done]).generate_state(1)[0] % 2**31))
            model._last_obs = self.env.reset()
            model._last_episode_starts = np.ones(config.cheetahs, np.bool_)
            self.begins_anew = False
        assert model.ep_info_buffer is not None
        model.ep_info_buffer.clear()
        model.collect_rollouts(self.env, self._callback, model.rollout_buffer, config.events)
        ended = [episode["r"] for episode in model.ep_info_buffer]
        model.train()
        self.done += 1
        self.elapsed_s += time.perf_counter() - started
        loss = float(model.logger.name_to_value["train/loss"])
        model.logger.name_to_value.clear()
        return replace(self.idle(), loss=loss, episode_return=float(np.mean(ended)) if ended else math.nan)

    def idle(self) -> Progress:
        """A row without an update, for a validation of its own."""
        return Progress(self.done, self.model.num_timesteps, self.elapsed_s, math.nan, math.nan)

    def validate(self, progress: Progress) -> Progress:
        """Closed-loop returns of the deterministic actor at both rhythms; keeps the best one."""
        config, actor = self.config, self.actor
        actor.take(self.model, self.env)
        found = validation(self._herd, actor, config.rhythm, config.irregular, config.validation_episodes)
        self.stale += 1
        if found.score < self.best_score:
            self.best_score, self.stale = found.score, 0
            self.best.load_state_dict(actor.state_dict())
        self.begins_anew = True
        return replace(progress, **asdict(found))

    def close(self) -> None:
        """Free the simulators."""
        self.env.close()
        self._herd.close()
