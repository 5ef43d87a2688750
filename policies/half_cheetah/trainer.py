"""Imitation of a teacher that sees the true body, by a policy that sees some of it, at any rhythm (DAgger).

The first rounds are the teacher's, with noise on its actions; then the policy takes over more and more, and the teacher
says at every call what it would do (Ross, Gordon and Bagnell, 2011, as in `policies.imitation.trainer`).
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch

from envs.half_cheetah.rhythm import IRREGULAR, REGULAR, Rhythm
from liquid_pilot.bundle import Bundle
from liquid_pilot.errors import ConfigError
from liquid_pilot.half_cheetah import CheetahLayout
from policies.averaging import average_into
from policies.half_cheetah.course import validation
from policies.half_cheetah.episodes import Mixture, record_episodes
from policies.half_cheetah.herd import Herd
from policies.half_cheetah.sizes import TIME_UNIT_S, cheetah_spec
from policies.half_cheetah.start import start_from
from policies.half_cheetah.teacher import CheetahTeacher
from policies.imitation.demonstrations import Demonstrations, joined
from policies.imitation.windows import cloning_loss, draw_windows
from policies.network import PolicyNetwork
from policies.schedule import learning_rate_shape


@dataclass(frozen=True, slots=True)
class CheetahConfig:
    """Everything that decides a run; saved beside its results.

    rhythm: of a share `irregular` of the episodes; the others are regular. episodes: recorded in all, over `rounds`
    that are spread over the first rounds_share of the run; herd: side by side. share_decay, noise: of the teacher, see
    `Mixture`. warm_up, steps: calls of a window. validation_episodes: of each of the two rhythms.
    """

    simulator: str = "pybullet"
    observe: str = "full"
    cell: str = "decay"
    wiring: str | None = None
    wiring_seed: int = 0
    seed: int = 0
    expert: str = "half-cheetah-teacher"
    expert_sha256: str = ""
    rhythm: Rhythm = field(default_factory=lambda: IRREGULAR)
    irregular: float = 0.5
    updates: int = 12000
    batch: int = 64
    learning_rate: float = 1e-2
    time_unit_s: float = TIME_UNIT_S
    episodes: int = 256
    rounds: int = 12
    rounds_share: float = 0.6
    herd: int = 8
    share_decay: float = 0.5
    noise: float = 0.2
    warm_up: int = 32
    steps: int = 64
    clip_norm: float = 0.5
    average_decay: float = 0.98
    validate_every: int = 1000
    validation_episodes: int = 8

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; give a whole number from 0 on")
        counted = ("updates", "batch", "episodes", "rounds", "herd", "steps", "validate_every", "validation_episodes")
        for name in counted:
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give at least one")
        if self.warm_up < 0:
            raise ConfigError(f"warm_up is {self.warm_up}; give 0 calls or more")
        if not 0.0 < self.learning_rate <= 1.0 or not 0.0 < self.rounds_share <= 1.0:
            raise ConfigError(
                f"learning_rate is {self.learning_rate:g} and rounds_share {self.rounds_share:g}; they must be above 0 "
                "and at most 1"
            )
        for name in ("share_decay", "noise", "irregular"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} is {getattr(self, name):g}; give a number from 0 to 1")


@dataclass(frozen=True, slots=True)
class Progress:
    """One row of the learning curve. Mean returns at regular and irregular time are NaN between validations.

    teacher_share: of the controls in the newest round; episodes, calls: recorded so far. score: minus the mean of both
    returns, so that less is better, as in every trainer.
    """

    update: int
    elapsed_s: float
    loss: float
    gradient_norm: float
    teacher_share: float
    episodes: int
    calls: int
    return_regular: float = math.nan
    return_irregular: float = math.nan
    score: float = math.nan


class CheetahTrainer:
    """State of one run. `update()` does one step; `policies.half_cheetah.checkpoint` saves and restores it.

    start: a policy whose weights the run begins with. Raises `ConfigError` for one that does not fit, and as `Herd`.
    """

    def __init__(self, config: CheetahConfig, teacher: CheetahTeacher, start: Bundle | None = None) -> None:
        self.config, self.teacher = config, teacher
        self.layout = CheetahLayout(config.simulator, config.observe)
        width = self.layout.width
        spec = cheetah_spec(config.cell, width, config.time_unit_s, config.wiring, config.wiring_seed)
        self.network, self.averaged, self.best = (PolicyNetwork(spec, config.seed) for _ in range(3))
        self.start_sha256 = ""
        if start is not None:
            self.start_sha256 = start_from((self.network, self.averaged, self.best), start, self.layout)
        self.best_score = math.inf
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate)
        self.rng = np.random.default_rng([config.seed, 1])
        self.done = self.stale = 0
        self.elapsed_s = 0.0
        self.rounds: list[Demonstrations] = []
        self.saved_rounds = 0  # by `policies.half_cheetah.checkpoint`
        self._recorded: Demonstrations | None = None
        self._herd = Herd(config.herd, config.simulator, config.observe)

    @property
    def updates(self) -> int:
        """Gradient steps of a whole run."""
        return self.config.updates

    @property
    def validate_every(self) -> int:
        """Gradient steps between two validations."""
        return self.config.validate_every

    def share_of(self, number: int) -> float:
        """The teacher's share of the controls in a round."""
        return float(self.config.share_decay**number)

    def run_round(self) -> None:
        """Record one round more."""
        config, number = self.config, len(self.rounds)
        mixture = Mixture(self.averaged if number else None, self.share_of(number), config.noise)
        wanted = config.episodes * (number + 1) // config.rounds - config.episodes * number // config.rounds
        parts = []
        while wanted > 0:
            count = min(config.herd, wanted)
            irregular = self.rng.random(count) < config.irregular
            rhythms = [config.rhythm if odd else REGULAR for odd in irregular]
            parts.append(record_episodes(self._herd, self.teacher, mixture, rhythms, int(self.rng.integers(2**31))))
            wanted -= count
        if parts:
            self.rounds.append(joined(parts))
        self._recorded = None

    def recorded(self) -> Demonstrations:
        """Of all rounds."""
        if self._recorded is None:
            self._recorded = joined(self.rounds)
        return self._recorded

    def update(self, share: float) -> Progress:
        """One gradient step at `share` (0 to 1) of the run, after the rounds that are due by then."""
        started, config = time.perf_counter(), self.config
        due = 1 + int(share / config.rounds_share * config.rounds)
        while len(self.rounds) < min(config.rounds, due):
            self.run_round()
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * learning_rate_shape(share)
        windows = draw_windows(self.recorded(), config.batch, config.warm_up, config.steps, self.rng)
        self.optimizer.zero_grad()
        loss = cloning_loss(self.network, windows)
        loss.backward()
        norm = float(torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.clip_norm))
        if math.isfinite(norm):
            self.optimizer.step()
        average_into(self.averaged, self.network, config.average_decay, self.done)
        self.done += 1
        self.elapsed_s += time.perf_counter() - started
        return replace(self.idle(), loss=float(loss.detach()), gradient_norm=norm)

    def idle(self) -> Progress:
        """A row without an update, for a validation of its own."""
        found = self.recorded()
        share = self.share_of(len(self.rounds) - 1)
        return Progress(self.done, self.elapsed_s, math.nan, math.nan, share, found.flights, found.events)

    def validate(self, progress: Progress) -> Progress:
        """Closed-loop returns of the averaged weights at both rhythms; keeps the best weights."""
        config = self.config
        found = validation(self._herd, self.averaged, config.rhythm, config.irregular, config.validation_episodes)
        self.stale += 1
        if found.score < self.best_score:
            self.best_score, self.stale = found.score, 0
            self.best.load_state_dict(self.averaged.state_dict())
        return replace(progress, **asdict(found))

    def close(self) -> None:
        """Free the simulators."""
        self._herd.close()
