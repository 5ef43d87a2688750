"""Episodes of HalfCheetah that are scored: which policy, at which rhythm, and the figures of a row."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

from envs.half_cheetah.env import HalfCheetahEnv
from envs.half_cheetah.rhythm import REGULAR, Rhythm, changed
from envs.half_cheetah.rollout import Episode, check_policy, run_episode
from liquid_pilot.bundle import Bundle, load_bundle
from liquid_pilot.cells import Network
from liquid_pilot.errors import ConfigError
from scripts.flying import FlightPool, import_pybullet
from scripts.tables import number, rich_table, short_name

USUAL_EPISODES = 20
SEED_STEP = 1_000_003  # between the episodes' seeds of two seeds
RETURN_HEADER = ("runs", "return", "sd", "lowest", "m/s", "lost")


@dataclass(frozen=True)
class CheetahRhythm:
    """When a policy of half-cheetah is called, and what reaches it."""

    frames: str | None = None
    """Physics frames between two calls, such as 2, or 1-6 for an interval drawn anew each time; the simulator's usual
    4 (PyBullet, of 4.1 ms) or 5 (MuJoCo, of 10 ms) if not given."""
    dropped: float | None = None
    """Share of observations that are lost; the policy is called with the last one and told its age."""
    delay_frames: str | None = None
    """Physics frames that an observation is late by, such as 2, or 0-4."""
    noise: float | None = None
    """Standard deviation on the observation's scaled numbers."""

    def rhythm(self) -> Rhythm:
        """Raises `ConfigError`."""
        return changed(REGULAR, self.frames, self.dropped, self.delay_frames, self.noise)


@dataclass(frozen=True, slots=True)
class CheetahJob:
    """Episodes of one policy at one rhythm."""

    policy: str
    rhythm: Rhythm = REGULAR
    episodes: int = USUAL_EPISODES
    seed: int = 0

    def __post_init__(self) -> None:
        if self.episodes < 1:
            raise ConfigError(f"flights is {self.episodes}; run at least one episode")
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; give a whole number from 0 on")

    def seed_of(self, index: int) -> int:
        """Of an episode."""
        return self.seed * SEED_STEP + index


@lru_cache(maxsize=4)
def _loaded(policy: str) -> Bundle:
    bundle = load_bundle(policy)
    check_policy(bundle)
    return bundle


def open_env(job: CheetahJob, render: bool = False) -> HalfCheetahEnv:
    """The policy's own simulator and observation, at the job's rhythm."""
    meta = _loaded(job.policy).metadata
    if meta["simulator"] == "pybullet":
        import_pybullet()
    mode = "rgb_array" if render else None
    return HalfCheetahEnv(meta["simulator"], meta["observe"], "sensors", job.rhythm, mode)


def stepper(job: CheetahJob) -> Network:
    """The policy's network."""
    bundle = _loaded(job.policy)
    return Network(bundle.spec, bundle.weights)


def episode(job: CheetahJob, index: int) -> Episode:
    """Episode `index`, in this process."""
    with closing(open_env(job)) as env:
        return run_episode(env, stepper(job), job.seed_of(index))


def score_episode(job: CheetahJob, index: int) -> tuple[float, float, bool]:
    """Return, mean speed in m/s, and whether the simulation was lost."""
    found = episode(job, index)
    return found.total, found.speed_m_s, found.lost


def evaluate_cheetah(job: CheetahJob, pool: FlightPool, on_done: Callable[[], None] = lambda: None) -> dict[str, Any]:
    """Run the job and return its row: flat keys, ready for JSON. Raises `LiquidPilotError`."""
    bundle = _loaded(job.policy)
    found = pool.each(score_episode, job, job.episodes, on_done)
    totals = [total for total, _, _ in found]
    told = asdict(job.rhythm)
    return {
        "policy": job.policy,
        "task": bundle.task,
        "simulator": bundle.metadata["simulator"],
        "observe": bundle.metadata["observe"],
        "frames": list(job.rhythm.frames) if job.rhythm.frames else None,
        "dropped": told["dropped"],
        "delay_frames": list(job.rhythm.delay_frames),
        "noise": told["noise"],
        "seed": job.seed,
        "flights": job.episodes,
        "parameters": bundle.parameters,
        "policy_sha256": bundle.metadata["sha256"],
        "return_mean": statistics.fmean(totals),
        "return_sd": statistics.stdev(totals) if len(totals) > 1 else 0.0,
        "return_lowest": min(totals),
        "speed_mean_m_s": statistics.fmean(speed for _, speed, _ in found),
        "lost": sum(lost for _, _, lost in found),
    }


@dataclass(frozen=True, slots=True)
class TraceJob:
    """Traces to record. random_actions: share of the actions that are replaced by random ones."""

    run: CheetahJob
    random_actions: float = 0.05

    def __post_init__(self) -> None:
        if not 0.0 <= self.random_actions <= 1.0:
            raise ConfigError(f"random_actions is {self.random_actions:g}; give a share from 0 to 1")


def record_trace(job: TraceJob, index: int) -> npt.NDArray[np.float32]:
    """Trace `index`: the simulator's own observation before each usual call of an episode, (1000, width)."""
    network, seed = stepper(job.run), job.run.seed_of(index)
    rng, h, rows = np.random.default_rng([seed, 5]), network.initial_state(), []
    with closing(open_env(job.run)) as env:
        seen, info = env.reset(seed=seed)
        over = False
        while not over:
            rows.append(env.observed)
            action, h = network.step(seen, h, info["dt_s"])
            if rng.random() < job.random_actions:
                action = rng.uniform(-1.0, 1.0, action.shape).astype(np.float32)
            seen, _, lost, late, info = env.step(action)
            over = lost or late
    return np.array(rows, np.float32)


def save_traces(path: Path, traces: Sequence[npt.NDArray[np.float32]]) -> Path:
    """Write trace_0000, trace_0001, ... to an .npz, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.stem}.part.npz")
    try:
        named: dict[str, Any] = {f"trace_{number:04d}": trace for number, trace in enumerate(traces)}
        np.savez_compressed(unfinished, **named)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return path


def rhythm_text(row: Mapping[str, Any]) -> str:
    """A rhythm in few words."""
    frames = row["frames"]
    parts = ["regular" if frames is None else "-".join(str(n) for n in sorted(set(frames))) + " frames"]
    parts += [f"{row['dropped']:.0%} dropped"] * bool(row["dropped"])
    parts += [f"{row['delay_frames'][0]}-{row['delay_frames'][1]} frames late"] * bool(row["delay_frames"][1])
    parts += [f"noise {row['noise']:g}"] * bool(row["noise"])
    return ", ".join(parts)


def return_cells(row: Mapping[str, Any]) -> list[str]:
    """The figures of a row, in the order of `RETURN_HEADER`."""
    return [
        str(row["flights"]),
        number(row["return_mean"], 0),
        number(row["return_sd"], 0),
        number(row["return_lowest"], 0),
        number(row["speed_mean_m_s"], 2),
        str(row["lost"]),
    ]


def cheetah_table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Policies with their returns."""
    header = ("policy", "observes", "rhythm", *RETURN_HEADER)
    body = [[short_name(str(row["policy"])), row["observe"], rhythm_text(row), *return_cells(row)] for row in rows]
    return rich_table(title, header, body)
