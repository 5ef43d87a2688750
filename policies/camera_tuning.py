"""Fits the encoder of a policy that sees to a camera: distillation, DAgger style, of what it makes of true rays.

A policy that was trained on true rays flies on a camera's grids; who learns is who flies, round after round, as in
DAgger (Ross, Gordon and Bagnell, 2011). Of every grid is known what true rays say at that moment; the encoder learns to
make of the camera's grid the features that the encoder before made of the true one, on average over the noise of rays.
Half of each batch are true grids, so that rays keep working, and weights are held near those before. The network behind
the encoder is left as it is, bit for bit: that it flies stays proved.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor

from envs.airframe import Airframe, load_airframe
from liquid_pilot.bundle import Bundle
from liquid_pilot.command import DEFAULT_LIMITS
from liquid_pilot.errors import ConfigError
from liquid_pilot.flow_grid import SPEED_SCALE_M_S
from policies.camera_flights import F32, Crossings, SeenGrids, check_sees, joined, record_crossing
from policies.network import GridEncoder, PolicyNetwork
from policies.schedule import learning_rate_shape
from policies.warm_start import check_start

TASK: Final = "avoid"


@dataclass(frozen=True, slots=True)
class CameraConfig:
    """Everything that decides a run; saved beside its results.

    start_sha256: of the policy whose encoder is tuned. flights: recorded in all to learn from, in rounds; in each the
    encoder as it was at its beginning flies. held_out: flights of the policy before, that choose the weights.
    updates: gradient steps; batch: grids of each, half of them of the camera. anchor: weight of the squared distance
    of all weights from those before.
    """

    start_sha256: str
    task: str = TASK
    method: str = "camera"
    seed: int = 0
    airframe: str = "cf2x"
    flights: int = 40
    rounds: int = 5
    held_out: int = 8
    updates: int = 2500
    batch: int = 256
    learning_rate: float = 1e-3
    anchor: float = 3e-3
    crossings: Crossings = field(default_factory=Crossings)

    def __post_init__(self) -> None:
        if self.task != TASK:
            raise ConfigError(f"task is {self.task!r}; a camera's grids are of the task {TASK}")
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; give a whole number from 0 on")
        for name in ("rounds", "held_out"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; give at least one")
        if self.flights < self.rounds:
            raise ConfigError(f"flights is {self.flights}; give one for each of the {self.rounds} rounds at least")
        if self.batch < 2:
            raise ConfigError(f"batch is {self.batch}; give two grids at least, one of the camera, one of true rays")
        most = self.rounds * max(self.held_out, math.ceil(self.flights / self.rounds))
        if self.updates < most:
            raise ConfigError(
                f"updates is {self.updates}; an update flies one flight at most, so that {self.flights} flights and "
                f"{self.held_out} held out in {self.rounds} rounds need {most} at least"
            )
        if not 0.0 < self.learning_rate <= 1.0:
            raise ConfigError(f"learning_rate is {self.learning_rate:g}; it must be above 0 and at most 1")
        if not 0.0 <= self.anchor < math.inf:
            raise ConfigError(f"anchor is {self.anchor:g}; give a weight, 0 or more")

    def due(self, share: float) -> tuple[int, int]:
        """(round, flights that are due by its end) at `share` (0 to 1) of the run."""
        number = min(int(share * self.rounds + 1e-9), self.rounds - 1)
        return number, self.flights * (number + 1) // self.rounds


@dataclass(frozen=True, slots=True)
class Progress:
    """One row of the learning curve. Errors are NaN between validations.

    flights, grids: recorded so far to learn from. camera_error, ray_error: of the held-out flights, root mean square
    over grids and features (-1 to 1): how far features of the camera's grids are from those that the policy before
    makes of true rays, on average over their noise, and how far features of true rays are from those that it makes of
    the same. camera_error_before: of that policy itself. score: of both together.
    """

    update: int
    elapsed_s: float
    loss: float
    flights: int
    grids: int
    camera_error: float = math.nan
    ray_error: float = math.nan
    camera_error_before: float = math.nan
    score: float = math.nan


def encoder_inputs(grid: F32, speed_m_s: F32) -> Tensor:
    """(..., numbers + 1), as an encoder takes them: grids (..., numbers), and commanded speeds (...,)."""
    return torch.from_numpy(np.concatenate([grid, speed_m_s[..., None] / np.float32(SPEED_SCALE_M_S)], axis=-1))


@dataclass(frozen=True, slots=True)
class Pairs:
    """Inputs of an encoder at n moments, and the features that are wanted of it.

    camera: (n, numbers + 1). true: (n, DRAWS, numbers + 1), by rays. features: (n, DRAWS, features), of these.
    """

    camera: Tensor
    true: Tensor
    features: Tensor

    @classmethod
    def of(cls, grids: SeenGrids, before: GridEncoder) -> Pairs:
        """From what was recorded. before: the encoder that was made for true rays."""
        speed = grids.speed_m_s
        true = encoder_inputs(grids.true, np.broadcast_to(speed[:, None], grids.true.shape[:2]))
        with torch.no_grad():
            return cls(encoder_inputs(grids.camera, speed), true, before(true))


def distillation_loss(encoder: GridEncoder, pairs: Pairs, batch: int, rng: np.random.Generator) -> Tensor:
    """Mean square of what the features of a batch, half camera, half true, are wrong by."""
    moments, draws = pairs.true.shape[:2]
    half = batch // 2
    by_camera, by_rays = (torch.from_numpy(rng.integers(moments, size=n)) for n in (half, batch - half))
    draw = torch.from_numpy(rng.integers(draws, size=batch - half))
    wanted = torch.cat([pairs.features[by_camera].mean(dim=1), pairs.features[by_rays, draw]])
    found = encoder(torch.cat([pairs.camera[by_camera], pairs.true[by_rays, draw]]))
    return torch.nn.functional.mse_loss(found, wanted)


def distance(encoder: GridEncoder, before: GridEncoder) -> Tensor:
    """Sum of the squares of what the weights differ by."""
    pairs = zip(encoder.parameters(), before.parameters(), strict=True)
    return torch.stack([(ours - theirs.detach()).square().sum() for ours, theirs in pairs]).sum()


def feature_errors(encoder: GridEncoder, pairs: Pairs) -> tuple[float, float]:
    """Root mean square over grids and features, by camera and by true rays, see `Progress`."""
    with torch.no_grad():
        by_camera = encoder(pairs.camera) - pairs.features.mean(dim=1)
        by_rays = encoder(pairs.true) - pairs.features
    return float(by_camera.square().mean().sqrt()), float(by_rays.square().mean().sqrt())


def joint_error(errors: tuple[float, float]) -> float:
    """Of both halves of a batch together."""
    return math.hypot(*errors) / math.sqrt(2.0)


class CameraTrainer:
    """State of one run. `update()` does one step; `policies.camera_files` saves and restores it.

    start: the policy, of which `best` is the tuned one: at first, and where nothing was better, itself.
    Raises `ConfigError` for a start that does not see, or is of another airframe or task.
    """

    def __init__(self, config: CameraConfig, start: Bundle) -> None:
        check_sees(start)
        self.airframe: Airframe = load_airframe(config.airframe)
        check_start(start, start.spec, DEFAULT_LIMITS, self.airframe, config.task)
        if config.start_sha256 != start.metadata["sha256"]:
            raise ConfigError(f"start_sha256 is {config.start_sha256[:12]!r}; {start.name!r} is another policy")
        self.config, self.start = config, start
        self.before, self.network, self.flown, self.best = (PolicyNetwork.from_bundle(start) for _ in range(4))
        self.optimizer = torch.optim.Adam(encoder_of(self.network).parameters(), lr=config.learning_rate)
        self.rng = np.random.default_rng([config.seed, 1])
        self.recorded: list[SeenGrids] = []
        self.held_out: list[SeenGrids] = []
        self._pairs: Pairs | None = None
        self.round = self.done = self.stale = 0
        self.elapsed_s = 0.0
        self.best_score = math.inf

    @property
    def updates(self) -> int:
        """Gradient steps of a whole run."""
        return self.config.updates

    @property
    def validate_every(self) -> int:
        """Gradient steps of a round."""
        return math.ceil(self.config.updates / self.config.rounds)

    def fly(self, network: PolicyNetwork) -> SeenGrids:
        """Record one flight of the policy with the encoder of a network."""
        student = replace(self.start, weights=network.weights())
        return record_crossing(student, self.airframe, self.config.crossings, self.rng)

    def update(self, share: float) -> Progress:
        """One gradient step at `share` (0 to 1) of the run, after a flight, and one held out, if they are due."""
        started, config = time.perf_counter(), self.config
        number, due = config.due(share)
        if number > self.round:
            self.round = number
            self.flown.load_state_dict(self.network.state_dict())
        if len(self.held_out) < config.held_out:
            self.held_out.append(self.fly(self.before))
        if len(self.recorded) < due:
            self.recorded.append(self.fly(self.flown))
            self._pairs = None
        if self._pairs is None:
            self._pairs = Pairs.of(joined(self.recorded), encoder_of(self.before))
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * learning_rate_shape(share)
        self.optimizer.zero_grad()
        encoder, before = encoder_of(self.network), encoder_of(self.before)
        loss = distillation_loss(encoder, self._pairs, config.batch, self.rng)
        total = loss + config.anchor * distance(encoder, before)
        total.backward()
        self.optimizer.step()
        self.done += 1
        self.elapsed_s += time.perf_counter() - started
        return replace(self.idle(), loss=float(loss.detach()))

    def idle(self) -> Progress:
        """A row without an update, for a validation of its own."""
        grids = sum(len(part) for part in self.recorded)
        return Progress(self.done, self.elapsed_s, math.nan, len(self.recorded), grids)

    def validate(self, progress: Progress) -> Progress:
        """Feature errors on the held-out flights; keeps the best weights, at first those of the start."""
        before = encoder_of(self.before)
        pairs = Pairs.of(joined(self.held_out), before)
        at_first = feature_errors(before, pairs)
        if math.isinf(self.best_score):
            self.best_score = joint_error(at_first)
        errors = feature_errors(encoder_of(self.network), pairs)
        score = joint_error(errors)
        self.stale += 1
        if score < self.best_score:
            self.best_score, self.stale = score, 0
            self.best.load_state_dict(self.network.state_dict())
        camera, rays = errors
        return replace(progress, camera_error=camera, ray_error=rays, camera_error_before=at_first[0], score=score)


def encoder_of(network: PolicyNetwork) -> GridEncoder:
    """Of a network that sees."""
    assert network.encoder is not None
    return network.encoder
