"""What the command line of `python -m scripts.train` takes: what all methods share, then what one alone has."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import tyro

from liquid_pilot.errors import ConfigError


@dataclass(frozen=True)
class ImitationOptions:
    """Of bc and dagger alone; flights and rounds of camera too."""

    expert: str | None = None
    """Who teaches. Of hover: geometric (usual), pid: told the true state. A policy, by name or path: on its sensors.
    PATH.zip: a stable-baselines3 model that flies on the observation "state" or "sensors". Of avoid: planner alone,
    told where the obstacles stand. Of half-cheetah: a policy that sees the whole body, by name (usual:
    half-cheetah-teacher) or path."""
    demos: Path | None = None
    """File of recorded flights (`python -m scripts.collect`): all that bc learns from, the first round of dagger. Flown
    anew if not given, as always for avoid."""
    flights: int | None = None
    """Flights that are recorded in all to learn from, or read from --demos; as many as suit the method, or are there,
    if not given."""
    rounds: int | None = None
    """Of dagger and camera: how often new flights are flown."""
    share_decay: float | None = None
    """Of dagger: by what the expert's share of the controls is multiplied from round to round; it begins at 1."""
    noise: float | None = None
    """Standard deviation of what is added to the expert's actions (-1 to 1) as it flies, not to those learned from."""


@dataclass(frozen=True)
class PPOOptions:
    """Of ppo; steps of half-cheetah's teacher too."""

    engine: Literal["batched", "pybullet"] = "batched"
    """batched: many drones at once on the compiled engine. pybullet: a few in turn, about a hundred times slower."""
    steps: int | None = None
    """Events (control steps, calls) of all drones or cheetahs together; as many as suit the engine, and a start from a
    policy, if not given."""
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
    """Share of observations that are lost in irregular episodes; 0.3 if not given. A teacher sees the true body."""
    delay_frames: str | None = None
    """Physics frames that observations are late by in irregular episodes, such as 0-4."""
    noise_on: float | None = None
    """Standard deviation on what is observed in irregular episodes."""
    irregular: float | None = None
    """Share of irregular episodes; half of them, of a teacher none, if not given."""
    episodes: int | None = None
    """Of dagger: episodes recorded in all."""


@dataclass(frozen=True)
class Options:
    """Train a policy; see the examples at the top of `scripts/train.py`."""

    task: Annotated[
        Literal["hover", "track", "track-position", "mission", "avoid", "half-cheetah"], tyro.conf.Positional
    ]
    """What to learn: hover = recover from a throw, then hold velocity and height. track = follow a velocity that
    changes. track-position = follow a place that moves, by a position sensor, without flow and range. mission = take
    off, hover, follow, land softly. avoid = cross a forest by optical flow. half-cheetah = run."""
    method: Literal["analytic", "bc", "dagger", "ppo", "teacher", "camera"] | None = None
    """analytic: gradients through the differentiable world, usual for hover and avoid, and all that track,
    track-position and mission have. bc: behaviour cloning of an expert's flights. dagger: the expert corrects the
    policy where it acts itself, usual for half-cheetah. ppo: reinforcement learning. teacher: of half-cheetah, PPO of
    stable-baselines3, then a clone in the form of a policy file. camera: of avoid, the encoder of a policy (--init) is
    fitted to a camera's flow grids, so that its features are those of true rays; the rest of it is left alone."""
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
    """Start from the weights of this policy, a shipped name or a path, of the same cell, sizes and airframe (of
    half-cheetah: simulator and --observe)."""
    out: Path | None = None
    """Folder of the run; runs/TASK, with -CELL, -METHOD and -AIRFRAME after it where they are not the default, if not
    given."""
    seed: int = 0
    """Seed of weights, flights and noise."""
    faults: float | None = None
    """Of analytic: share of the lessons in which a motor weakens, the accelerometer fails, wind or load jump or the
    battery sags; none if not given."""
    updates: int | None = None
    """Gradient steps; as many as suit the method if not given."""
    batch: int | None = None
    """Drones or cheetahs at once (ppo), sequences (bc, dagger) or grids (camera) of an update, or calls of a minibatch
    (teacher); as many as suit the method if not given."""
    learning_rate: float | None = None
    """Largest learning rate of the schedule; what suits the method if not given."""
    time_unit_s: float | None = None
    """Unit in which the cell sees elapsed time; about the middle of the intervals (0.015, of half-cheetah 0.0165) if
    not given."""
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


_OF_DRONES: Final = (
    "airframe", "backend", "faults", "imitation.demos", "imitation.flights", "ppo.engine", "ppo.anchor_weight",
)  # fmt: skip
_OF_IMITATION: Final = (
    "imitation.expert", "imitation.rounds", "imitation.share_decay", "imitation.noise", "cheetah.episodes",
)  # fmt: skip
_OF_CELLS: Final = ("cell", "wiring", "wiring_seed", "time_unit_s", "init", "cheetah.observe")
_OF_SENSORS: Final = ("cheetah.dropped", "cheetah.delay_frames", "cheetah.noise_on")
OF_OTHERS_THAN_CAMERA: Final = (
    "cell", "wiring", "wiring_seed", "time_unit_s", "backend", "imitation.expert", "imitation.demos",
    "imitation.share_decay", "imitation.noise", "ppo.engine", "ppo.steps", "ppo.anchor_weight",
)  # fmt: skip
FOREIGN: Final = {  # options that a method of half-cheetah has not
    "dagger": (*_OF_DRONES, "ppo.steps"),
    "ppo": (*_OF_DRONES, *_OF_IMITATION, "updates"),
    "teacher": (*_OF_DRONES, *_OF_IMITATION, *_OF_CELLS, *_OF_SENSORS, "updates"),
}


def changed_options(options: Any, usual: Any, prefix: str = "") -> list[str]:
    """Dotted names of the options that are not as usual."""
    found = []
    for field in fields(usual):
        ours, theirs = getattr(options, field.name), getattr(usual, field.name)
        if is_dataclass(theirs):
            found += changed_options(ours, theirs, f"{prefix}{field.name}.")
        elif ours != theirs:
            found.append(prefix + field.name)
    return found


_NOT_OF_WEIGHTS: Final = ("task", "out", "resume", "threads", "verbose")


def command_of(options: Options) -> str:
    """The command that trains as the options say; what changes no weight is left out."""
    chosen = [name for name in changed_options(options, Options(options.task)) if name not in _NOT_OF_WEIGHTS]
    words = ["python", "-m", "scripts.train", options.task]
    for name in chosen:
        group, _, last = name.rpartition(".")
        value = getattr(getattr(options, group) if group else options, last)
        words += [f"--{last.replace('_', '-')}", str(value)]
    return shlex.join(words)


def check_foreign(options: Options, method: str) -> None:
    """Raise `ConfigError` for options that would change nothing, as they are of another task or method."""
    chosen = changed_options(options, Options(options.task))
    if options.task != "half-cheetah":
        foreign = [name for name in chosen if name.startswith("cheetah.")]
        foreign += ["faults"] if method != "analytic" and options.faults is not None else []
        foreign += [name for name in chosen if method == "camera" and name in OF_OTHERS_THAN_CAMERA]
    else:
        foreign = [name for name in chosen if name in FOREIGN.get(method, ())]
    if foreign:
        words = ", ".join(f"--{name.rpartition('.')[2].replace('_', '-')}" for name in foreign)
        raise ConfigError(f"{options.task} by {method} has no {words}; leave it out, or choose another --method")
