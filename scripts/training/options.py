"""What the command line of `python -m scripts.train` takes: what all methods share, then what one alone has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro


@dataclass(frozen=True)
class ImitationOptions:
    """Of bc and dagger alone."""

    expert: str | None = None
    """Who teaches. Of hover: geometric (usual), pid: told the true state. A policy, by name or path: on its sensors.
    PATH.zip: a stable-baselines3 model that flies on the observation "state" or "sensors". Of half-cheetah: a policy
    that sees the whole body, by name (usual: half-cheetah-teacher) or path."""
    demos: Path | None = None
    """File of recorded flights (`python -m scripts.collect`): all that bc learns from, the first round of dagger. Flown
    anew if not given."""
    flights: int | None = None
    """Flights that are recorded in all, or read from --demos; as many as suit the method, or are there, if not
    given."""
    rounds: int | None = None
    """Of dagger: how often new flights are flown."""
    share_decay: float | None = None
    """Of dagger: by what the expert's share of the controls is multiplied from round to round; it begins at 1."""
    noise: float | None = None
    """Standard deviation of what is added to the expert's actions (-1 to 1) as it flies, not to those learned from."""


@dataclass(frozen=True)
class PPOOptions:
    """Of ppo alone."""

    engine: Literal["batched", "pybullet"] = "batched"
    """batched: many drones at once on the compiled engine. pybullet: a few in turn, about a hundred times slower."""
    steps: int | None = None
    """Events (control steps) of all drones together; as many as suit the engine, and a start from a policy, if not
    given."""
    anchor_weight: float | None = None
    """Weight of the divergence from the policy that the run began with (--init)."""


@dataclass(frozen=True)
class CheetahOptions:
    """Of half-cheetah alone."""

    simulator: Literal["pybullet", "mujoco"] = "pybullet"
    """pybullet: HalfCheetahBulletEnv-v0. mujoco: HalfCheetah-v5 (pip install 'liquid-pilot[mujoco]')."""
    observe: Literal["full", "positions", "velocities"] = "full"
    """What the policy sees of the body."""
    frames: str | None = None
    """Physics frames between two calls of the policy in irregular episodes, such as 1-6 (usual), or 2."""
    dropped: float | None = None
    """Share of observations that are lost in irregular episodes; 0.3, of a teacher 0, if not given."""
    delay_frames: str | None = None
    """Physics frames that observations are late by in irregular episodes, such as 0-4."""
    noise_on: float | None = None
    """Standard deviation on what is observed in irregular episodes."""
    irregular: float | None = None
    """Share of irregular episodes; half of them if not given."""
    episodes: int | None = None
    """Of dagger: episodes recorded in all."""


@dataclass(frozen=True)
class Options:
    """Train a policy; see the examples at the top of `scripts/train.py`."""

    task: Annotated[Literal["hover", "half-cheetah"], tyro.conf.Positional]
    """What to learn: hover = recover from a throw, then hold velocity and height. half-cheetah = run."""
    method: Literal["analytic", "bc", "dagger", "ppo", "teacher"] | None = None
    """analytic: gradients through the differentiable world, usual for hover. bc: behaviour cloning of an expert's
    flights. dagger: the expert corrects the policy where it acts itself, usual for half-cheetah. ppo: reinforcement
    learning. teacher: of half-cheetah, TQC of sb3-contrib with a wide memoryless network."""
    cell: Literal["decay", "default", "no_gate", "pure", "gru", "lstm", "mlp"] = "decay"
    """decay: exact exponential step (default). default, no_gate, pure: the published CfC forms. gru, lstm and
    mlp (no memory): rivals of as many parameters."""
    wiring: str | None = None
    """Neurons of a sparsely wired cell, INTER-COMMAND-MOTOR, such as 9-6-4: a neural circuit policy, whose four motor
    neurons are the outputs. For decay, default, no_gate and pure. One layer with a backbone if not given."""
    wiring_seed: int = 0
    """Seed that the synapses of the wiring are drawn with; another one than that of the weights."""
    airframe: str = "cf2x"
    """Shipped airframe (cf2x, racer, companion) or path of a TOML file, see docs/adding_an_airframe.md. Every flight's
    drone is drawn around it."""
    init: str | None = None
    """Start from the weights of this policy, a shipped name or a path, of the same cell, sizes and airframe."""
    out: Path | None = None
    """Folder of the run; runs/TASK, with -CELL, -METHOD and -AIRFRAME after it where they are not the default, if not
    given."""
    seed: int = 0
    """Seed of weights, flights and noise."""
    updates: int | None = None
    """Gradient steps; as many as suit the method if not given."""
    batch: int | None = None
    """Drones flown at once, or sequences of an update; as many as suit the method if not given."""
    learning_rate: float | None = None
    """Largest learning rate of the schedule; what suits the method if not given."""
    time_unit_s: float | None = None
    """Unit in which the cell sees elapsed time; about the middle of the IMU intervals (0.015) if not given."""
    resume: bool = False
    """Continue from the last checkpoint in the folder."""
    budget_s: float | None = None
    """Stop after this many seconds; schedule and curriculum shrink to fit."""
    patience: int | None = None
    """Stop early, once so many validations in a row have brought no better score; never if not given."""
    backend: Literal["auto", "compiled", "torch"] = "auto"
    """compiled: the world traced to C, about a hundred times faster. torch: the reference, needs no compiler.
    auto: compiled where a C compiler is found, else torch."""
    threads: int = 1
    """Threads of the engine. The compiled one gives the same weights with any number; torch is usually fastest with
    one."""
    imitation: ImitationOptions = ImitationOptions()
    ppo: PPOOptions = PPOOptions()
    cheetah: CheetahOptions = CheetahOptions()
    verbose: Annotated[bool, tyro.conf.arg(aliases=["-v"])] = False
    """Say which backend flies and where its compiled code is kept."""

    def given(self, *names: str) -> dict[str, Any]:
        """Those of the named options that were given, for a configuration whose defaults stand for the others."""
        return given(self, *names)


def given(options: Any, *names: str) -> dict[str, Any]:
    """Those of the named options that are not None."""
    return {name: getattr(options, name) for name in names if getattr(options, name) is not None}
