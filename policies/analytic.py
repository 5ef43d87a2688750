"""Analytic-gradient training: back-propagation through the differentiable world.

Every update flies one chunk of a few seconds from raw sensors, at one IMU rate or at mixed intervals, and
descends the gradient of its cost through physics, sensors and network. Lanes go on where the last chunk
ended (truncated BPTT), so that the network also learns minutes-old states; lanes that crashed, or grew old,
are launched anew from the hand.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch

from envs.airframe import Airframe, load_airframe
from envs.conditions import Conditions
from envs.flights import draw_flights
from envs.scoring import FlightScore
from liquid_pilot.bundle import Bundle
from liquid_pilot.cells import CellSpec
from liquid_pilot.command import DEFAULT_LIMITS
from liquid_pilot.errors import ConfigError, unknown_name
from liquid_pilot.observation import OBS_DIM, POSITION_DIM
from policies.averaging import average_into
from policies.avoid_cost import AvoidWeights
from policies.backend import BACKENDS, Backend, Carry, Recipe
from policies.cost import CostWeights
from policies.curriculum import Curriculum, lesson
from policies.drills import drill_of
from policies.network import PolicyNetwork, avoid_spec, hover_spec
from policies.schedule import learning_rate_shape
from policies.torch_backend import TorchBackend
from policies.validation import validate
from policies.warm_start import check_start, start_from


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """Everything that decides a run; saved beside its results."""

    task: str = "hover"
    cell: str = "decay"
    seed: int = 0
    updates: int = 1000
    batch: int = 48
    learning_rate: float = 5e-3
    time_unit_s: float = 0.015
    substep_s: float = 0.005
    clip_norm: float = 0.5
    average_decay: float = 0.98
    relaunch_chance: float = 0.1
    oldest_s: float = 20.0
    early_s: float = 1.0
    early_weight: float = 0.3
    validate_every: int = 400
    validation_flights: int = 96
    validation_s: float = 8.0
    airframe: str = "cf2x"
    wiring: str | None = None
    wiring_seed: int = 0
    curriculum: Curriculum = field(default_factory=Curriculum)
    cost: CostWeights | AvoidWeights = field(default_factory=CostWeights)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; give a whole number from 0 on")
        if self.updates < 1 or self.batch < 1:
            raise ConfigError(f"updates is {self.updates} and batch {self.batch}; give at least one of each")
        if not 0.0 < self.learning_rate <= 1.0:
            raise ConfigError(f"learning_rate is {self.learning_rate:g}; it must be above 0 and at most 1")


@dataclass(frozen=True, slots=True)
class Progress:
    """One row of the learning curve. Validation figures are NaN between validations."""

    update: int
    elapsed_s: float
    loss: float
    gradient_norm: float
    imu_hz: float
    horizon_s: float
    success_rate: float = math.nan
    speed_error_median_m_s: float = math.nan
    height_error_median_m: float = math.nan
    score: float = math.nan


def make_backend(
    name: str,
    recipe: Recipe,
    spec: CellSpec,
    generator: torch.Generator,
    rng: np.random.Generator,
    threads: int = 1,
) -> Backend:
    """The backend of that name. torch draws from `generator`, the compiled one from `rng`.

    threads: of the compiled one; torch has a number of its own for the whole process. Raises `ConfigError` for another
    name or less than one thread, `NativeUnavailable` or `NativeBuildError` where C cannot be compiled.
    """
    if name == "torch":
        if recipe.drill.sees is not None:
            raise ConfigError(
                "avoid is flown by the compiled engine alone, which needs a C compiler; install gcc or clang"
            )
        return TorchBackend(recipe, spec, generator)
    if name == "compiled":
        from policies.compiled_trainer import CompiledBackend  # builds nothing until it is asked for

        return CompiledBackend(recipe, spec, rng, threads)
    raise ConfigError(unknown_name("backend", name, list(BACKENDS)))


class AnalyticTrainer:
    """State of one run. `update()` does one step; `policies.checkpoint` saves and restores it.

    backend: "torch" or "compiled"; threads: of the compiled one, whose results do not depend on it. Neither is part
    of the configuration. start: a policy whose weights the run begins with. Raises `ConfigError` for an unknown task or
    backend, less than one thread or a start that does not fit, `NativeUnavailable` where
    C cannot be compiled.
    """

    def __init__(
        self, config: TrainConfig, backend: str = "torch", threads: int = 1, start: Bundle | None = None
    ) -> None:
        self.config, self.drill = config, drill_of(config.task)
        self.airframe: Airframe = load_airframe(config.airframe)
        spec = self._spec()
        self.network = PolicyNetwork(spec, config.seed)
        self.averaged = PolicyNetwork(self.network.spec, config.seed)
        self.best = PolicyNetwork(self.network.spec, config.seed)
        self.start_sha256 = ""  # of the policy that the run began with
        if start is not None:
            check_start(start, self.network.spec, DEFAULT_LIMITS, self.airframe, config.task)
            self.start_sha256 = start_from((self.network, self.averaged, self.best), start)
        self.best_score = math.inf
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=config.learning_rate)
        self.rng = np.random.default_rng([config.seed, 1])
        self.generator = torch.Generator().manual_seed(config.seed)
        self.carry: Carry | None = None
        self.done = self.stale = 0
        self.elapsed_s = 0.0
        early = (config.early_s, config.early_weight)
        self.recipe = Recipe(self.airframe, config.cost, config.substep_s, *early, config.oldest_s, self.drill)
        self.backend: Backend = make_backend(backend, self.recipe, self.network.spec, self.generator, self.rng, threads)

    def _spec(self) -> CellSpec:
        config, sees = self.config, self.drill.sees
        if sees is None:
            inputs = OBS_DIM + POSITION_DIM * self.drill.locates
            return hover_spec(config.cell, config.time_unit_s, config.wiring, config.wiring_seed, inputs)
        if config.wiring is not None:
            raise ConfigError("wiring is given; avoid is flown by one layer with a backbone: leave it out")
        return avoid_spec(config.cell, sees.model.layout, config.time_unit_s)

    @property
    def updates(self) -> int:
        """Gradient steps of a whole run."""
        return self.config.updates

    @property
    def validate_every(self) -> int:
        """Gradient steps between two validations."""
        return self.config.validate_every

    def update(self, share: float) -> Progress:
        """One gradient step at `share` (0 to 1) of the run."""
        started = time.perf_counter()
        now = lesson(self.config.curriculum, share, self.rng)
        conditions = replace(now.conditions, sensors=self.drill.sensors)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.learning_rate * learning_rate_shape(share)
        carry = self._launch(conditions)
        loss, self.carry = self.backend.gradient(self.network, carry, conditions, now.steps)
        norm = float(torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip_norm))
        if math.isfinite(norm):
            self.optimizer.step()
        else:
            self.carry = None  # the lanes that made it are dropped; the weights are untouched
        average_into(self.averaged, self.network, self.config.average_decay, self.done)
        self.done += 1
        self.elapsed_s += time.perf_counter() - started
        return Progress(self.done, self.elapsed_s, loss, norm, now.steps / now.horizon_s, now.horizon_s)

    def _launch(self, conditions: Conditions) -> Carry:
        """The lanes of this chunk: fresh ones where a lane is lost, old or drawn for a relaunch."""
        config = self.config
        flights = draw_flights(self.airframe, conditions, config.batch, self.rng, horizon_s=6.0)
        flights, course = self.drill.lessons(flights, self.airframe, config.curriculum, self.recipe.course_s, self.rng)
        keep = self.rng.random(config.batch) >= config.relaunch_chance
        return self.backend.launch(flights, course, conditions, self.carry, keep)

    def idle(self) -> Progress:
        """A row without an update, for a validation of its own."""
        nothing = math.nan
        return Progress(self.done, self.elapsed_s, nothing, nothing, nothing, nothing)

    def validate(self, progress: Progress) -> Progress:
        """Closed-loop score of the averaged weights at three conditions; keeps the best weights."""
        config = self.config

        def evaluate(conditions: Conditions, seed: int) -> list[FlightScore]:
            flown = replace(conditions, sensors=self.drill.sensors)
            return self.backend.evaluate(self.averaged, flown, config.validation_flights, seed, config.validation_s)

        found = validate(evaluate, config.curriculum)
        self.stale += 1
        if found.score < self.best_score:
            self.best_score, self.stale = found.score, 0
            self.best.load_state_dict(self.averaged.state_dict())
        return replace(progress, **asdict(found))
