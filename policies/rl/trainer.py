"""A run of PPO: drones that fly the curriculum, updates, validation on the conditions of every trainer."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import numpy as np
import torch

from envs.airframe import Airframe, load_airframe
from envs.batched_env import BatchedQuadEnv
from envs.conditions import Conditions
from envs.hover import HOVER
from envs.quad_env import QuadEnv
from envs.scoring import FlightScore
from liquid_pilot.bundle import Bundle
from liquid_pilot.command import DEFAULT_LIMITS
from liquid_pilot.errors import ConfigError, TrainingError, unknown_name
from policies.analytic import make_backend
from policies.averaging import average_into
from policies.backend import Recipe
from policies.cost import CostWeights
from policies.curriculum import Curriculum, lesson
from policies.network import PolicyNetwork, hover_spec
from policies.rl.policy import LiquidPolicy
from policies.rl.ppo import LiquidPPO
from policies.rl.reward import RewardWeights, learning
from policies.rl.vec_env import BatchedVecEnv, PyBulletVecEnv
from policies.schedule import learning_rate_shape
from policies.validation import validate
from policies.warm_start import check_start, start_from

ENGINES: Final = ("batched", "pybullet")
PYBULLET: Final[dict[str, Any]] = {
    "steps": 1_000_000, "drones": 16, "events": 256, "groups": 4, "learning_rate": 2e-3, "validate_every": 20,
}  # fmt: skip
# A good policy is near an optimum: what a critic gets wrong there points away from it. So the critic comes first,
# learns more and looks less far, and the actor moves little.
FINE_TUNING: Final[dict[str, Any]] = {
    "steps": 500_000, "drones": 64, "events": 128, "groups": 4, "learning_rate": 3e-4, "critic_rate": 10.0,
    "critic_units": 128, "critic_first": 15, "critic_epochs": 20, "gamma": 0.99, "gae_lambda": 0.98, "log_std": -2.0,
    "average_decay": 0.95, "strength": 1.0, "validate_every": 10,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class PPOConfig:
    """Everything that decides a run; saved beside its results. See `LiquidPPO` and `LiquidPolicy` for what is theirs.

    steps: events of all drones together; a drone flies `events` of them an update, through which the gradient goes: too
    few, and it is blind to what the slow neurons do. strength: of the disturbances at first; they grow to 1 over the
    curriculum's share of the run. flight_s: mean duration of flights, which are cut short at random, so that a rollout
    holds all ages.
    """

    task: str = "hover"
    cell: str = "decay"
    wiring: str | None = None
    wiring_seed: int = 0
    seed: int = 0
    engine: str = "batched"
    steps: int = 10_000_000
    drones: int = 256
    events: int = 128
    learning_rate: float = 4e-3
    critic_rate: float = 1.0
    groups: int = 8
    epochs: int = 5
    gamma: float = 0.9975
    gae_lambda: float = 0.97
    clip_range: float = 0.2
    target_kl: float = 0.03
    entropy_weight: float = 0.0
    max_grad_norm: float = 0.5
    log_std: float = -1.0
    critic_units: int = 64
    critic_first: int = 0
    critic_epochs: int = 0
    anchor_weight: float = 0.0
    strength: float = 0.0
    flight_s: float = 8.0
    time_unit_s: float = 0.015
    substep_s: float = 0.005
    average_decay: float = 0.9
    validate_every: int = 15
    validation_flights: int = 96
    validation_s: float = 8.0
    airframe: str = "cf2x"
    curriculum: Curriculum = field(default_factory=Curriculum)
    reward: RewardWeights = field(default_factory=RewardWeights)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; give a whole number from 0 on")
        if self.engine not in ENGINES:
            raise ConfigError(unknown_name("engine", self.engine, list(ENGINES)))
        if min(self.steps, self.drones, self.events, self.groups, self.epochs, self.validate_every) < 1:
            raise ConfigError(
                f"steps is {self.steps}, drones {self.drones}, events {self.events}, groups {self.groups}, epochs "
                f"{self.epochs}, validate_every {self.validate_every}; give at least one of each"
            )
        if not 0.0 < self.learning_rate <= 1.0:
            raise ConfigError(f"learning_rate is {self.learning_rate:g}; it must be above 0 and at most 1")
        if not (0.0 < self.gamma < 1.0 and 0.0 <= self.gae_lambda <= 1.0):
            raise ConfigError(f"gamma is {self.gamma:g} and gae_lambda {self.gae_lambda:g}; they must lie in 0 to 1")


@dataclass(frozen=True, slots=True)
class Progress:
    """One row of the learning curve. NaN: validation figures between validations, flight figures where none ended.

    reward_per_s: of all drones during the update; flight_return and flight_success: means of the flights that ended in
    it, with exploration.
    """

    update: int
    steps: int
    elapsed_s: float
    loss: float
    value_loss: float
    explained_variance: float
    approx_kl: float
    std: float
    imu_hz: float
    reward_per_s: float
    flight_return: float
    flight_success: float
    steps_per_s: float
    success_rate: float = math.nan
    speed_error_median_m_s: float = math.nan
    height_error_median_m: float = math.nan
    score: float = math.nan


class PPOTrainer:
    """State of one run. `update()` flies and learns once; `policies.rl.checkpoint` saves and restores it.

    backend: of validation, "torch" or "compiled"; threads: of the compiled one and of the batched engine. start: a
    policy whose weights the run begins with, and which it holds on to. Raises as `policies.analytic.AnalyticTrainer`.
    """

    def __init__(
        self, config: PPOConfig, backend: str = "compiled", threads: int = 1, start: Bundle | None = None
    ) -> None:
        if config.task != "hover":
            raise TrainingError(f"unknown task {config.task!r}; choose one of: hover")
        self.config = config
        self.airframe: Airframe = load_airframe(config.airframe)
        self.rng = np.random.default_rng([config.seed, 2])
        spec = hover_spec(config.cell, config.time_unit_s, config.wiring, config.wiring_seed)
        self.env = _environment(config, threads)
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
            config.entropy_weight,
            config.max_grad_norm,
            config.target_kl,
            config.critic_first,
            config.critic_epochs,
            config.anchor_weight,
            policy_kwargs={
                "spec": spec,
                "log_std": config.log_std,
                "critic_units": config.critic_units,
                "critic_rate": config.critic_rate,
                "seed": config.seed,
            },
            seed=config.seed,
        )
        self.averaged, self.best, self.anchor = (PolicyNetwork(spec, config.seed) for _ in range(3))
        self.start_sha256 = ""  # of the policy that the run began with
        if start is not None:
            check_start(start, spec, DEFAULT_LIMITS, self.airframe, config.task)
            self.start_sha256 = start_from((self.model.policy.actor, self.averaged, self.best, self.anchor), start)
        if config.anchor_weight > 0.0:
            self.model.hold_on_to(self.anchor)
        self.best_score = math.inf
        self.done = self.stale = 0
        self.launches_anew = True  # all flights, before the next update
        self.elapsed_s = 0.0
        recipe = Recipe(self.airframe, CostWeights(), config.substep_s, 0.0, 0.0, 0.0)
        self._judge = make_backend(backend, recipe, spec, torch.Generator(), np.random.default_rng(0), threads)
        self._callback = self.model.open(config.steps)
        if start is not None:  # what it has learnt is kept only where it flies better than that
            self.validate(self.idle())

    @property
    def updates(self) -> int:
        """Updates of a whole run."""
        return math.ceil(self.config.steps / (self.config.drones * self.config.events))

    @property
    def validate_every(self) -> int:
        """Updates between two validations."""
        return self.config.validate_every

    def update(self, share: float) -> Progress:
        """Fly and learn once at `share` (0 to 1) of the run."""
        started, config, model = time.perf_counter(), self.config, self.model
        now = self._lesson(share)
        self.env.set_conditions(now)
        self._relaunch()
        self.env.flown.clear()
        model.fly_and_learn(self._callback, share)
        average_into(self.averaged, self.model.policy.actor, self.config.average_decay, self.done)
        self.done += 1
        took_s = time.perf_counter() - started
        self.elapsed_s += took_s
        found, flown = model.found, self.env.flown
        return Progress(
            self.done,
            model.num_timesteps,
            self.elapsed_s,
            found.get("policy_loss", math.nan),
            found["value_loss"],
            found["explained_variance"],
            found.get("approx_kl", math.nan),
            found["std"],
            math.nan if now.imu_mixed else now.imu_hz[0],
            found["reward_per_s"],
            float(np.mean([flight.reward for flight in flown])) if flown else math.nan,
            float(np.mean([flight.success for flight in flown])) if flown else math.nan,
            config.drones * config.events / took_s,
        )

    def _relaunch(self) -> None:
        """New flights: all of them where a checkpoint could not hold them, else some, so that all ages are flown."""
        config = self.config
        if self.launches_anew:
            self.env.seed(int(np.random.SeedSequence([config.seed, 3, self.done]).generate_state(1)[0]))
            self.model.begin_anew(self.env.reset(), np.ones(config.drones, np.bool_))
            self.launches_anew = False
            return
        chance = 1.0 - math.exp(-self.model.flown_s / config.flight_s)
        begun = self.rng.random(config.drones) < chance
        self.model.begin_anew(self.env.relaunch(np.flatnonzero(begun)), begun)

    def _lesson(self, share: float) -> Conditions:
        """The conditions of flights that begin during the update; most ask for velocity zero."""
        curriculum = self.config.curriculum
        grown = self.config.strength + (1.0 - self.config.strength) * min(1.0, share / curriculum.disturbance_share)
        conditions = lesson(curriculum, grown * curriculum.disturbance_share, self.rng).conditions
        if self.rng.random() < curriculum.hover_chance:
            return replace(conditions, setpoint_speed_m_s=(0.0, 0.0), setpoint_yaw_rate_rad_s=(0.0, 0.0))
        return conditions

    def idle(self) -> Progress:
        """A row without an update, for a validation of its own."""
        return Progress(self.done, self.model.num_timesteps, self.elapsed_s, *[math.nan] * 10)

    def validate(self, progress: Progress) -> Progress:
        """Closed-loop score of the averaged weights at three conditions; keeps the best weights."""
        config = self.config

        def evaluate(conditions: Conditions, seed: int) -> list[FlightScore]:
            return self._judge.evaluate(self.averaged, conditions, config.validation_flights, seed, config.validation_s)

        found = validate(evaluate, config.curriculum)
        self.stale += 1
        if found.score < self.best_score:
            self.best_score, self.stale = found.score, 0
            self.best.load_state_dict(self.averaged.state_dict())
        self.launches_anew = not isinstance(self.env, BatchedVecEnv)  # a checkpoint cannot hold PyBullet's drones
        return replace(progress, **asdict(found))


def _environment(config: PPOConfig, threads: int) -> BatchedVecEnv | PyBulletVecEnv:
    if config.engine == "batched":
        options: dict[str, Any] = {"airframe": config.airframe, "substep_s": config.substep_s, "threads": threads}
        return BatchedVecEnv(BatchedQuadEnv(learning(HOVER, config.reward), config.drones, obs="both", **options))
    return PyBulletVecEnv(
        lambda: QuadEnv(learning(HOVER, config.reward), obs="both", airframe=config.airframe), config.drones
    )


def usual_config(engine: str, fine_tuning: bool, **chosen: Any) -> PPOConfig:
    """What suits an engine, and a start from a policy, with the fields that were chosen. Raises `ConfigError`."""
    if engine not in ENGINES:
        raise ConfigError(unknown_name("engine", engine, list(ENGINES)))
    suited = (FINE_TUNING if fine_tuning else {}) | (PYBULLET if engine == "pybullet" else {})
    return replace(PPOConfig(engine=engine), **(suited | chosen))
