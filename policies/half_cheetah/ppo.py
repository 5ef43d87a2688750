"""Reinforcement learning of HalfCheetah by the recurrent PPO of `policies.rl`, from nothing or from a policy.

The critic sees the true body beside what the actor sees. After every validation all episodes begin anew and the
generators are seeded from its number, in an unbroken run too, so that a run that was stopped there goes on to the same
policy.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import numpy as np

from envs.half_cheetah.rhythm import IRREGULAR, Rhythm
from liquid_pilot.bundle import Bundle
from liquid_pilot.errors import ConfigError
from liquid_pilot.half_cheetah import CheetahLayout
from policies.averaging import average_into
from policies.half_cheetah.course import validation
from policies.half_cheetah.exploring import exploring_env
from policies.half_cheetah.herd import Herd
from policies.half_cheetah.sizes import TIME_UNIT_S, cheetah_spec
from policies.half_cheetah.start import start_from
from policies.network import PolicyNetwork
from policies.rl.policy import LiquidPolicy
from policies.rl.ppo import LiquidPPO
from policies.schedule import learning_rate_shape

# From a policy: the critic comes first and learns more, the actor moves little; see `policies.rl.trainer`.
FINE_TUNING: Final[dict[str, Any]] = {
    "steps": 500_000, "learning_rate": 3e-4, "critic_rate": 5.0, "critic_first": 8, "critic_epochs": 15,
    "log_std": -2.0, "average_decay": 0.9,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CheetahPPOConfig:
    """Everything that decides a run; see `LiquidPPO` and `LiquidPolicy` for what is theirs.

    steps: calls of all environments together, of which each makes `events` an update. rhythm: of a share `irregular`
    of the environments. reward_scale: of what the critic learns. gamma, gae_lambda: per 10 ms.
    """

    simulator: str = "pybullet"
    observe: str = "full"
    cell: str = "decay"
    wiring: str | None = None
    wiring_seed: int = 0
    seed: int = 0
    steps: int = 2_000_000
    cheetahs: int = 16
    events: int = 256
    learning_rate: float = 2e-3
    critic_rate: float = 1.0
    groups: int = 4
    epochs: int = 8
    gamma: float = 0.994
    gae_lambda: float = 0.94
    clip_range: float = 0.2
    target_kl: float = 0.05
    max_grad_norm: float = 0.5
    log_std: float = -0.7
    critic_units: int = 128
    critic_first: int = 0
    critic_epochs: int = 0
    average_decay: float = 0.0
    reward_scale: float = 0.05
    time_unit_s: float = TIME_UNIT_S
    rhythm: Rhythm = field(default_factory=lambda: IRREGULAR)
    irregular: float = 0.5
    validate_every: int = 20
    validation_episodes: int = 8

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; give a whole number from 0 on")
        for name in ("steps", "cheetahs", "events", "groups", "epochs", "validate_every", "validation_episodes"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give at least one")
        if not 0.0 < self.learning_rate <= 1.0:
            raise ConfigError(f"learning_rate is {self.learning_rate:g}; it must be above 0 and at most 1")
        if not 0.0 <= self.irregular <= 1.0:
            raise ConfigError(f"irregular is {self.irregular:g}; give a share from 0 to 1")


@dataclass(frozen=True, slots=True)
class Progress:
    """One row of the learning curve; see `policies.half_cheetah.teaching.Progress`."""

    update: int
    steps: int
    elapsed_s: float
    loss: float
    value_loss: float
    explained_variance: float
    approx_kl: float
    std: float
    episode_return: float
    return_regular: float = math.nan
    return_irregular: float = math.nan
    score: float = math.nan


class CheetahPPOTrainer:
    """State of one run. `update()` runs and learns once; `policies.half_cheetah.checkpoint` saves and restores it.

    start: a policy whose weights the run begins with; what is kept is never worse in validation. Raises `ConfigError`
    for one that does not fit, and as `HalfCheetahEnv`.
    """

    def __init__(self, config: CheetahPPOConfig, start: Bundle | None = None) -> None:
        self.config, self.layout = config, CheetahLayout(config.simulator, config.observe)
        spec = cheetah_spec(config.cell, self.layout.width, config.time_unit_s, config.wiring, config.wiring_seed)
        self.env = exploring_env(
            config.cheetahs,
            config.simulator,
            config.observe,
            "both",
            config.rhythm,
            config.irregular,
            config.reward_scale,
        )
        self.model = LiquidPPO(
            LiquidPolicy,
            self.env,
            lambda remaining: config.learning_rate * learning_rate_shape(1.0 - remaining),
            config.events,
            config.groups,
            config.epochs,
            config.gamma,
            config.gae_lambda,
            config.clip_range,
            max_grad_norm=config.max_grad_norm,
            target_kl=config.target_kl,
            critic_first=config.critic_first,
            critic_epochs=config.critic_epochs,
            policy_kwargs={
                "spec": spec,
                "log_std": config.log_std,
                "critic_units": config.critic_units,
                "critic_rate": config.critic_rate,
                "seed": config.seed,
            },
            seed=config.seed,
        )
        self.averaged, self.best = (PolicyNetwork(spec, config.seed) for _ in range(2))
        self.start_sha256 = ""
        if start is not None:
            self.start_sha256 = start_from((self.model.policy.actor, self.averaged, self.best), start, self.layout)
        self.best_score = math.inf
        self.done = self.stale = 0
        self.elapsed_s = 0.0
        self.begins_anew = True
        self._herd = Herd(config.validation_episodes, config.simulator, config.observe)
        self._callback = self.model.open(config.steps)

    @property
    def updates(self) -> int:
        """Updates of a whole run."""
        return math.ceil(self.config.steps / (self.config.cheetahs * self.config.events))

    @property
    def validate_every(self) -> int:
        """Updates between two validations."""
        return self.config.validate_every

    def update(self, share: float) -> Progress:
        """Run and learn once at `share` (0 to 1) of the run."""
        started, config, model = time.perf_counter(), self.config, self.model
        if self.begins_anew:
            model.set_random_seed(int(np.random.SeedSequence([config.seed, 4, self.done]).generate_state(1)[0] % 2**31))
            model.begin_anew(self.env.reset(), np.ones(config.cheetahs, np.bool_))
            self.begins_anew = False
        assert model.ep_info_buffer is not None
        model.ep_info_buffer.clear()
        model.fly_and_learn(self._callback, share)
        average_into(self.averaged, model.policy.actor, config.average_decay, self.done)
        self.done += 1
        self.elapsed_s += time.perf_counter() - started
        found = model.found
        ended = [episode["r"] / config.reward_scale for episode in model.ep_info_buffer]
        return replace(
            self.idle(),
            loss=found.get("policy_loss", math.nan),
            value_loss=found["value_loss"],
            explained_variance=found["explained_variance"],
            approx_kl=found.get("approx_kl", math.nan),
            std=found["std"],
            episode_return=float(np.mean(ended)) if ended else math.nan,
        )

    def idle(self) -> Progress:
        """A row without an update, for a validation of its own."""
        return Progress(self.done, self.model.num_timesteps, self.elapsed_s, *[math.nan] * 6)

    def validate(self, progress: Progress) -> Progress:
        """Closed-loop returns of the averaged weights at both rhythms; keeps the best weights."""
        config = self.config
        found = validation(self._herd, self.averaged, config.rhythm, config.irregular, config.validation_episodes)
        self.stale += 1
        if found.score < self.best_score:
            self.best_score, self.stale = found.score, 0
            self.best.load_state_dict(self.averaged.state_dict())
        self.begins_anew = True
        return replace(progress, **asdict(found))

    def close(self) -> None:
        """Free the simulators."""
        self.env.close()
        self._herd.close()


def usual_config(fine_tuning: bool, **chosen: Any) -> CheetahPPOConfig:
    """What suits a start from nothing, or from a policy, with the fields that were chosen. Raises `ConfigError`."""
    return replace(CheetahPPOConfig(), **((FINE_TUNING if fine_tuning else {}) | chosen))
