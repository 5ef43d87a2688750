"""Episodes of random actions: do all numbers stay finite, and does a seed repeat every bit?"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, product
from typing import Any, Final

import gymnasium
import numpy as np
import torch

import envs  # noqa: F401  # registers the tasks
from envs.actions import ACTION_MODES
from envs.airframe import Airframe
from envs.batched_quad import BatchedQuad
from envs.compiled.relay import RelayWorld
from envs.conditions import Conditions
from envs.faults import fault_names, parse_fault
from envs.flights import draw_flights
from envs.quad_env import OBS_MODES
from liquid_pilot.command import DEFAULT_LIMITS, from_action
from scripts.benchmarks.world_engines import CONTROL_S

STEADY: Final = Conditions(imu_jitter=0.0)  # everything else as training draws it: wind, losses, latencies, launches
SECONDS: Final = 3.0  # of an episode at most; of a batched one the hold in the hand included
FAULT_S: Final = 0.2  # after the release, when most drones are still up
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


Fly = Callable[[int, int], tuple[np.ndarray, int]]  # (part, drones) -> a row of each episode, and control steps


def _parts(episodes: int, most: int = LANES) -> list[int]:
    return [min(most, episodes - start) for start in range(0, episodes, most)]


def _flown(parts: list[tuple[int, int]], fly: Fly, tick: Tick) -> Flown:
    """parts: (number, drones)."""
    digest, steps, bad, start = hashlib.sha256(), 0, 0, time.perf_counter()
    for part, drones in parts:
        table, taken = fly(part, drones)
        bad += int((~np.isfinite(table).all(axis=1)).sum())
        steps += taken
        digest.update(np.ascontiguousarray(table).tobytes())
        tick(drones)
    return Flown(sum(drones for _, drones in parts), steps, bad, time.perf_counter() - start, digest.hexdigest())


def _twice(engine: str, drones: list[int], fly: Fly, tick: Tick) -> Endurance:
    """All episodes, and some from all over them twice more. drones: of each part."""
    parts = list(enumerate(drones))
    some = parts[:: max(1, round(1.0 / REPEATED))]
    if len(parts) == 1:
        some = [(0, max(1, round(REPEATED * drones[0])))]
    first, second = _flown(some, fly, lambda done: None), _flown(some, fly, lambda done: None)
    return Endurance(engine, _flown(parts, fly, tick), first.episodes, first.digest == second.digest)


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

    return _twice("compiled engine", _parts(episodes), fly, tick)


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

    return _twice("BatchedQuad", _parts(episodes), fly, tick)


@dataclass(frozen=True, slots=True)
class Way:
    """What an episode is flown in: an environment's name and options."""

    task: str
    options: dict[str, Any]


def ways() -> list[Way]:
    """Every task with every airframe and every fault, and without one; observations and actions take turns."""
    faults = [(), *((parse_fault(f"{name}@{FAULT_S}s"),) for name in fault_names())]
    turns = cycle(product(OBS_MODES, ACTION_MODES))
    found = []
    for task, airframe, fault in product(("Hover", "Track", "Mission"), ("cf2x", "racer", "companion"), faults):
        obs, action = next(turns)
        options = {"airframe": airframe, "faults": fault, "obs": obs, "action": action, "duration_s": SECONDS}
        found.append(Way(f"liquid_pilot/{task}-v0", options))
    return found


def _row(observation: Any, reward: Any) -> np.ndarray:
    """One number a drone, (n, 1), which is none where one of what it saw or got is none."""
    parts = observation.values() if isinstance(observation, dict) else (observation,)
    return np.asarray(sum(np.sum(part, axis=-1, dtype=np.float64) for part in parts) + reward).reshape(-1, 1)


def task_episodes(episodes: int, seed: int, tick: Tick) -> Endurance:
    """Every way in PyBullet in turn, each episode to its end."""
    known = ways()

    def fly(part: int, drones: int) -> tuple[np.ndarray, int]:
        way, rng = known[part % len(known)], np.random.default_rng([seed, part])
        env: gymnasium.Env[Any, Any] = gymnasium.make(way.task, disable_env_checker=True, **way.options)
        try:
            seen, _ = env.reset(seed=int(rng.integers(2**31)))
            total, steps, over = _row(seen, 0.0), 0, False
            while not over:
                seen, reward, terminated, truncated, _ = env.step(rng.uniform(-1.0, 1.0, 4).astype(np.float32))
                total += _row(seen, reward)  # one number that is not finite spoils the sum
                steps, over = steps + 1, terminated or truncated
        finally:
            env.close()
        return total, steps

    return _twice("all tasks, airframes, faults: PyBullet", [1] * episodes, fly, tick)


def batched_task_episodes(episodes: int, seed: int, tick: Tick) -> Endurance:
    """Every way with many drones at once; a drone whose flight ends begins another one."""
    known = ways()

    def fly(part: int, drones: int) -> tuple[np.ndarray, int]:
        way, rng = known[part % len(known)], np.random.default_rng([seed, part])
        env: Any = gymnasium.make_vec(way.task, num_envs=drones, **way.options)
        seen, _ = env.reset(seed=int(rng.integers(2**31)))
        total, steps = _row(seen, 0.0), round(SECONDS / CONTROL_S)
        for _ in range(steps):
            seen, reward, *_ = env.step(rng.uniform(-1.0, 1.0, (drones, 4)))
            total += _row(seen, reward)
        env.close()
        return total, steps * drones

    each = -(-episodes // len(known))
    return _twice("all tasks, airframes, faults: many at once", _parts(episodes, each), fly, tick)
