"""Episodes of random actions: do all numbers stay finite, and does a seed repeat every bit?"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import gymnasium
import numpy as np
import torch

import envs  # noqa: F401  # registers Hover-v0
from envs.airframe import Airframe
from envs.batched_quad import BatchedQuad
from envs.compiled.relay import RelayWorld
from envs.conditions import Conditions
from envs.flights import draw_flights
from liquid_pilot.command import DEFAULT_LIMITS, from_action
from scripts.benchmarks.world_engines import CONTROL_S

STEADY: Final = Conditions(imu_jitter=0.0)  # everything else as training draws it: wind, losses, latencies, launches
SECONDS: Final = 3.0  # of a batched episode, the hold in the hand included
LANES: Final = 1000  # drones at once
REPEATED: Final = 0.1  # share of the episodes that are flown twice

Tick = Callable[[int], None]  # told how many more episodes are done


@dataclass(frozen=True, slots=True)
class Flown:
    """What came of episodes: how many, control steps in all, those that left the finite numbers, seconds, a digest."""

    episodes: int
    steps: int
    not_finite: int
    seconds: float
    digest: str


@dataclass(frozen=True, slots=True)
class Endurance:
    """Episodes of one engine. repeated: how many were flown again from the same seed; same: to the same bits."""

    engine: str
    flown: Flown
    repeated: int
    same: bool

    @property
    def passed(self) -> bool:
        """Whether every episode stayed finite and every repeated one was the same."""
        return self.flown.not_finite == 0 and self.same


def _parts(episodes: int) -> list[int]:
    return [min(LANES, episodes - start) for start in range(0, episodes, LANES)]


def _flown(episodes: int, fly: Callable[[int, int], tuple[np.ndarray, int]], tick: Tick, parts: list[int]) -> Flown:
    """fly: (part, drones) -> what is left of every episode, one row each, and control steps."""
    digest, steps, bad, start = hashlib.sha256(), 0, 0, time.perf_counter()
    for part, drones in enumerate(parts):
        table, taken = fly(part, drones)
        bad += int((~np.isfinite(table).all(axis=1)).sum())
        steps += taken
        digest.update(np.ascontiguousarray(table).tobytes())
        tick(drones)
    return Flown(episodes, steps, bad, time.perf_counter() - start, digest.hexdigest())


def _twice(
    engine: str, episodes: int, fly: Callable[[int, int], tuple[np.ndarray, int]], tick: Tick, one: bool
) -> Endurance:
    """All episodes, and the first of them twice more. one: an episode at a time, not `LANES`."""
    again = max(1, round(REPEATED * episodes))

    def run(count: int, tell: Tick) -> Flown:
        return _flown(count, fly, tell, [1] * count if one else _parts(count))

    first, second = run(again, lambda done: None), run(again, lambda done: None)
    return Endurance(engine, run(episodes, tick), again, first.digest == second.digest)


def compiled_episodes(airframe: Airframe, episodes: int, seed: int, tick: Tick) -> Endurance:
    """The compiled engine; a new random action every control step."""
    relay = RelayWorld(airframe)

    def fly(part: int, drones: int) -> tuple[np.ndarray, int]:
        rng = np.random.default_rng([seed, part])
        world, dt_s = relay.reset(draw_flights(airframe, STEADY, drones, rng), rng), np.full(drones, CONTROL_S)
        steps = round(SECONDS / CONTROL_S)
        for step in range(steps):
            a, b, c, d = rng.uniform(-1.0, 1.0, (4, drones))
            command: tuple[Any, Any] = from_action(DEFAULT_LIMITS, (a, b, c, d))
            world = relay.step(world, np.stack([command[0], *command[1]]), STEADY, dt_s, step)
        return np.ascontiguousarray(world.values.T), steps * drones

    return _twice("compiled engine", episodes, fly, tick, one=False)


def torch_episodes(airframe: Airframe, episodes: int, seed: int, tick: Tick) -> Endurance:
    """BatchedQuad."""

    def fly(part: int, drones: int) -> tuple[np.ndarray, int]:
        rng = np.random.default_rng([seed, part])
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        world = BatchedQuad(airframe, STEADY, generator)
        state = world.reset(draw_flights(airframe, STEADY, drones, rng))
        steps = round(SECONDS / CONTROL_S)
        with torch.no_grad():
            for _ in range(steps):
                a, b, c, d = 2.0 * torch.rand((4, drones), generator=generator) - 1.0
                state = world.step(state, from_action(DEFAULT_LIMITS, (a, b, c, d)), world.intervals(state))
            seen = world.observe(state)
        motion = torch.stack([*state.body.position_m, *state.body.velocity_m_s, *state.body.rates_rad_s], dim=1)
        return torch.cat([seen, motion], dim=1).numpy(), steps * drones

    return _twice("BatchedQuad", episodes, fly, tick, one=False)


def hover_episodes(episodes: int, seed: int, tick: Tick) -> Endurance:
    """`liquid_pilot/Hover-v0` in PyBullet, each to its end."""
    env: gymnasium.Env[Any, Any] = gymnasium.make("liquid_pilot/Hover-v0", disable_env_checker=True)

    def fly(part: int, drones: int) -> tuple[np.ndarray, int]:
        rng = np.random.default_rng([seed, part])
        seen, _ = env.reset(seed=int(rng.integers(2**31)))
        total, steps, over = np.zeros(seen.size + 1), 0, False
        while not over:
            seen, reward, terminated, truncated, _ = env.step(rng.uniform(-1.0, 1.0, 4).astype(np.float32))
            total += [*seen, float(reward)]  # one number that is not finite spoils the sum
            steps, over = steps + 1, terminated or truncated
        return total[None], steps

    try:
        return _twice("Hover-v0 (PyBullet)", episodes, fly, tick, one=True)
    finally:
        env.close()
