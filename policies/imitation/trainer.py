"""Imitation of a teacher: behaviour cloning, and DAgger, which is cloning with flights of its own.

DAgger (Ross, Gordon and Bagnell, "A reduction of imitation learning and structured prediction to no-regret online
learning", 2011): round after round the teacher and the policy so far share the controls of new flights, the teacher
less and less, and says at every event what it would do; the policy learns from all rounds. Behaviour cloning is its
first round alone, or flights from a file.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import numpy as np
import torch

from envs.airframe import Airframe, load_airframe
from envs.conditions import Conditions
from envs.scoring import FlightScore
from liquid_pilot.bundle import Bundle
from liquid_pilot.command import DEFAULT_LIMITS
from liquid_pilot.errors import ConfigError, unknown_name
from policies.averaging import average_into
from policies.curriculum import Curriculum
from policies.drills import drill_of
from policies.imitation.flying import Mixture
from policies.imitation.school import School, school_of
from policies.network import PolicyNetwork
from policies.schedule import learning_rate_shape
from policies.validation import validate
from policies.warm_start import check_start, start_from

METHODS: Final = ("bc", "dagger")


@dataclass(frozen=True, slots=True)
class ImitationConfig:
    """Everything that decides a run; saved beside its results. `usual_config` makes that of a task.

    flights: recorded in all. rounds: of dagger, spread over the first rounds_share of the run, so that there is time to
    learn from the last one. fleet: flights side by side, at one IMU rate. share_decay: the teacher's share of the
    controls, from round to round, 1 at first. noise: see `Mixture`.
    warm_up, steps: events of a window. demonstrations: sha256 of the first round's flights where they come from a file.
    """

    task: str = "hover"
    method: str = "dagger"
    cell: str = "decay"
    seed: int = 0
    expert: str = "geometric"
    expert_sha256: str = ""
    updates: int = 4000
    batch: int = 64
    learning_rate: float = 5e-3
    time_unit_s: float = 0.015
    flights: int = 768
    rounds: int = 12
    rounds_share: float = 0.7
    fleet: int = 32
    flight_s: float = 10.0
    share_decay: float = 0.5
    noise: float = 0.1
    warm_up: int = 128
    steps: int = 256
    clip_norm: float = 0.5
    average_decay: float = 0.98
    validate_every: int = 500
    validation_flights: int = 96
    validation_s: float = 8.0
    substep_s: float = 0.005
    airframe: str = "cf2x"
    demonstrations: str = ""
    wiring: str | None = None
    wiring_seed: int = 0
    curriculum: Curriculum = field(default_factory=Curriculum)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(unknown_name("imitation method", self.method, list(METHODS)))
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; give a whole number from 0 on")
        for name in ("updates", "batch", "flights", "rounds", "fleet", "steps", "validate_every"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give at least one")
        if self.warm_up < 0:
            raise ConfigError(f"warm_up is {self.warm_up}; give 0 events or more")
        if not 0.0 < self.learning_rate <= 1.0:
            raise ConfigError(f"learning_rate is {self.learning_rate:g}; it must be above 0 and at most 1")
        if not 0.0 <= self.share_decay <= 1.0 or not 0.0 <= self.noise <= 1.0:
            raise ConfigError(f"share_decay is {self.share_decay:g} and noise {self.noise:g}; give numbers from 0 to 1")
        if not 0.0 < self.rounds_share <= 1.0:
            raise ConfigError(f"rounds_share is {self.rounds_share:g}; it must be above 0 and at most 1")
        if not 0.0 < self.flight_s < math.inf:
            raise ConfigError(f"flight_s is {self.flight_s:g}; give seconds above 0")

    @property
    def all_rounds(self) -> int:
        """Rounds of the run: cloning has one."""
        return self.rounds if self.method == "dagger" else 1


def usual_config(task: str, **changes: Any) -> ImitationConfig:
    """The configuration that suits a task, with changes."""
    if task != "avoid":
        return ImitationConfig(**{"task": task, **changes})
    drill = drill_of(task)
    suits: dict[str, Any] = {
        "task": task,
        "expert": "planner",
        "updates": 6000,
        "learning_rate": drill.learning_rate,
        "flights": 640,
        "rounds": 10,
        "flight_s": 6.0,
        "share_decay": 0.6,
        "warm_up": 128,
        "steps": 160,
        "validation_s": drill.validation_s,
        "curriculum": drill.curriculum,
    }
    return ImitationConfig(**{**suits, **changes})


@dataclass(frozen=True, slots=True)
class Progress:
    """One row of the learning curve. Validation figures are NaN between validations.

    teacher_share: of the controls in the newest round; flights, events: recorded so far.
    """

    update: int
    elapsed_s: float
    loss: float
    gradient_norm: float
    teacher_share: float
    flights: int
    events: int
    success_rate: float = math.nan
    speed_error_median_m_s: float = math.nan
    height_error_median_m: float = math.nan
    score: float = math.nan


class ImitationTrainer:
    """State of one run. `update()` does one step; `policies.imitation.checkpoint` saves and restores it.

    teacher: of the task, see `school_of`. recorded: flights to begin with, in place of the first round's. start: a
    policy whose weights the run begins with. threads: of the compiled engine, whose results do not depend on it. Raises
    `TrainingError` for an unknown task, `ConfigError` for a start that does not fit, `NativeUnavailable` where C cannot
    be compiled.
    """

    def __init__(
        self,
        config: ImitationConfig,
        teacher: Any,
        recorded: Any = None,
        start: Bundle | None = None,
        threads: int = 1,
    ) -> None:
        self.config = config
        self.airframe: Airframe = load_airframe(config.airframe)
        self.school: School = school_of(config, teacher, threads)
        self.network = PolicyNetwork(self.school.spec, config.seed)
        self.averaged = PolicyNetwork(self.network.spec, config.seed)
        self.best = PolicyNetwork(self.network.spec, config.seed)
        self.start_sha256 = ""
        if start is not None:
            check_start(start, self.network.spec, DEFAULT_LIMITS, self.airframe, config.task)
            self.start_sha256 = start_from((self.network, self.averaged, self.best), start)
        self.best_score = math.inf
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate)
        self.rng = np.random.default_rng([config.seed, 1])
        self.done = self.stale = 0
        self.elapsed_s = 0.0
        self.rounds: list[Any] = [] if recorded is None else [recorded]  # of the type that the school records
        self.saved_rounds = 0  # by `policies.imitation.checkpoint`
        self._flights: Any = None

    @property
    def updates(self) -> int:
        """Gradient steps of a whole run."""
        return self.config.updates

    @property
    def validate_every(self) -> int:
        """Gradient steps between two validations."""
        return self.config.validate_every

    def share_of(self, number: int) -> float:
        """The teacher's share of the controls in a round: 1, then less by the same factor."""
        return float(self.config.share_decay**number)

    def fly_round(self) -> Any:
        """Record one round more."""
        config, number = self.config, len(self.rounds)
        mixture = Mixture(self.averaged if number else None, self.share_of(number), config.noise)
        wanted = config.flights * (number + 1) // config.all_rounds - config.flights * number // config.all_rounds
        parts = []
        while wanted > 0:
            drones = min(config.fleet, wanted)
            parts.append(self.school.record(drones, mixture, int(self.rng.integers(2**31))))
            wanted -= drones
        self.rounds.append(self.school.joined(parts))
        return self.rounds[-1]

    def flights(self) -> Any:
        """Of all rounds."""
        if self._flights is None:
            self._flights = self.school.joined(self.rounds)
        return self._flights

    def update(self, share: float) -> Progress:
        """One gradient step at `share` (0 to 1) of the run, after the rounds that are due by then."""
        started, config = time.perf_counter(), self.config
        due = 1 + int(share / config.rounds_share * config.all_rounds)
        while len(self.rounds) < min(config.all_rounds, due):
            self.fly_round()
            self._flights = None
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * learning_rate_shape(share)
        self.optimizer.zero_grad()
        loss = self.school.loss(self.network, self.flights(), self.rng)
        loss.backward()
        norm = float(torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.clip_norm))
        if math.isfinite(norm):
            self.optimizer.step()
        average_into(self.averaged, self.network, self.config.average_decay, self.done)
        self.done += 1
        self.elapsed_s += time.perf_counter() - started
        return replace(self.idle(), loss=float(loss.detach()), gradient_norm=norm)

    def idle(self) -> Progress:
        """A row without an update, for a validation of its own."""
        flights, events = self.school.count(self.flights())
        share = self.share_of(len(self.rounds) - 1)
        return Progress(self.done, self.elapsed_s, math.nan, math.nan, share, flights, events)

    def validate(self, progress: Progress) -> Progress:
        """Closed-loop score of the averaged weights at three conditions; keeps the best weights."""

        def evaluate(conditions: Conditions, seed: int) -> list[FlightScore]:
            return self.school.evaluate(self.averaged, conditions, seed)

        found = validate(evaluate, self.config.curriculum)
        self.stale += 1
        if found.score < self.best_score:
            self.best_score, self.stale = found.score, 0
            self.best.load_state_dict(self.averaged.state_dict())
        return replace(progress, **asdict(found))
