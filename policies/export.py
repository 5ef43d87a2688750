"""From a trained network to the policy file that flies, with a self-test recorded by the trainer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from envs.airframe import Airframe
from envs.batched_quad import BatchedQuad
from envs.conditions import MIXED_IMU_HZ, Conditions
from envs.flights import draw_flights
from envs.task import SETPOINT_AIM
from envs.track import placed
from liquid_pilot.bundle import SelfTest, make_bundle, save_bundle
from liquid_pilot.command import DEFAULT_LIMITS, from_action
from liquid_pilot.flow_grid import SPEED_SCALE_M_S
from policies.analytic import AnalyticTrainer
from policies.curriculum import (
    TRAINED_ATTITUDE_HZ,
    TRAINED_FLOW_HZ,
    TRAINED_GRID_HZ,
    TRAINED_POSITION_HZ,
    TRAINED_RANGE_HZ,
    Curriculum,
)
from policies.network import PolicyNetwork

SELFTEST_STEPS = 128
SELFTEST_GRIDS = 32
FLOW_RATES_HZ = {"flow": TRAINED_FLOW_HZ, "range": TRAINED_RANGE_HZ}
PLACE_RATES_HZ = {"position": TRAINED_POSITION_HZ, "attitude": TRAINED_ATTITUDE_HZ}
SIGHT_RATES_HZ = {**FLOW_RATES_HZ, "grid": TRAINED_GRID_HZ, "attitude": TRAINED_ATTITUDE_HZ}
SENSOR_LIMITS_S = {"imu": 0.1, "flow": 2.0, "range": 2.0}
PLACE_LIMITS_S = {"imu": 0.1, "position": 1.0, "attitude": 1.0}
SIGHT_LIMITS_S = {**SENSOR_LIMITS_S, "grid": 0.5, "attitude": 1.0}


def record_selftest(network: PolicyNetwork, airframe: Airframe, seed: int = 0, locates: bool = False) -> SelfTest:
    """One simulated flight at mixed intervals, from the first event (dt = 0) on, as the trainer computes it."""
    conditions = Conditions(imu_hz=MIXED_IMU_HZ, imu_mixed=True)
    conditions = placed(conditions) if locates else conditions
    aim = replace(SETPOINT_AIM, locates=locates)
    world = BatchedQuad(airframe, conditions, torch.Generator().manual_seed(seed), aim=aim)
    state = world.reset(draw_flights(airframe, conditions, 1, np.random.default_rng(seed)))
    h, sight = network.initial_state(1), _sight(network, seed)
    x = np.zeros((SELFTEST_STEPS, network.spec.inputs), np.float32)
    dt_s = np.zeros(SELFTEST_STEPS, np.float32)
    actions = np.zeros((SELFTEST_STEPS, network.spec.outputs), np.float32)
    hidden = np.zeros((SELFTEST_STEPS, network.spec.state_width), np.float32)
    with torch.no_grad():
        for k in range(SELFTEST_STEPS):
            observation, dt = world.observe(state), state.dt_s.float()
            if sight is not None:
                observation = torch.cat([observation, sight[k : k + 1]], dim=1)
            action, h = network.step(observation, h, dt)
            x[k], dt_s[k], actions[k], hidden[k] = observation[0], dt[0], action[0], h[0]
            command = from_action(DEFAULT_LIMITS, (action[:, 0], action[:, 1], action[:, 2], action[:, 3]))
            state = world.step(state, command, world.intervals(state))
    return SelfTest(x, dt_s, actions, hidden)


def _sight(network: PolicyNetwork, seed: int) -> torch.Tensor | None:
    """What follows the observation of a policy that sees, step by step: a grid arrives at every fourth."""
    if network.spec.encoder is None:
        return None
    rng, width = np.random.default_rng([seed, 1]), network.spec.encoder.features
    features = rng.uniform(-1.0, 1.0, (SELFTEST_STEPS // 4, width)).repeat(4, axis=0)
    fresh = (np.arange(SELFTEST_STEPS) % 4 == 0)[:, None]
    age = rng.uniform(0.0, 0.5, (SELFTEST_STEPS, 1))
    return torch.from_numpy(np.concatenate([fresh, age, features], axis=1).astype(np.float32))


def record_sight(network: PolicyNetwork, test: SelfTest, seed: int = 0) -> SelfTest:
    """The self-test with grids of every kind, as the trainer computes their features; a flight's inputs among them."""
    encoder = network.spec.encoder
    if encoder is None or network.encoder is None:
        return test
    rng = np.random.default_rng([seed, 2])
    size = rng.uniform(0.1, 2.0, (SELFTEST_GRIDS, 1))
    grid = (size * rng.uniform(-1.0, 1.0, (SELFTEST_GRIDS, encoder.grid.numbers))).astype(np.float32)
    grid[rng.random(grid.shape) < 0.1] = 0.0  # rays that saw nothing
    speed_m_s = rng.uniform(0.5, 6.0, SELFTEST_GRIDS).astype(np.float32)
    given = np.concatenate([grid, speed_m_s[:, None] / np.float32(SPEED_SCALE_M_S)], axis=1)
    with torch.no_grad():
        features = network.encoder(torch.from_numpy(given)).numpy()
    return replace(test, grid=grid, speed_m_s=speed_m_s, features=features)


def export_policy(trainer: AnalyticTrainer, path: Path, name: str, commit: str, command: str = "") -> Path:
    """Write the best weights of a run as a policy file. command: that trained it, "" where none is told.

    Raises `BundleError` if its self-test fails.
    """
    config = trainer.config
    training = {
        "config": asdict(config),
        "seed": config.seed,
        "commit": commit,
        **({"command": command} if command else {}),
        "minutes": round(trainer.elapsed_s / 60.0, 2),
        "updates": trainer.done,
        "validation_score": None if math.isinf(trainer.best_score) else round(trainer.best_score, 5),
        **({"start_sha256": trainer.start_sha256} if trainer.start_sha256 else {}),
    }
    return export_network(
        path, name, config.task, trainer.best, trainer.airframe, config.curriculum, config.seed, training
    )


def export_network(
    path: Path,
    name: str,
    task: str,
    network: PolicyNetwork,
    airframe: Airframe,
    curriculum: Curriculum,
    seed: int,
    training: Mapping[str, Any],
) -> Path:
    """Write a network as a policy file. seed: of its self-test; training: of its metadata, see `liquid_pilot.schema`.

    Raises `BundleError` if its self-test fails.
    """
    others = PLACE_RATES_HZ if curriculum.locates else SIGHT_RATES_HZ if curriculum.sees else FLOW_RATES_HZ
    ages_s = PLACE_LIMITS_S if curriculum.locates else SIGHT_LIMITS_S if curriculum.sees else SENSOR_LIMITS_S
    selftest = record_selftest(network, airframe, seed, curriculum.locates)
    speed, yaw = curriculum.setpoint_speed_m_s, curriculum.setpoint_yaw_rate_rad_s
    bundle = make_bundle(
        name,
        task,
        network.spec,
        network.weights(),
        DEFAULT_LIMITS,
        record_sight(network, selftest, seed),
        trained_rates_hz={"imu": list(curriculum.imu_hz), **{name: list(span) for name, span in others.items()}},
        sensor_limits_s=ages_s,
        setpoint_limits={"speed_m_s": speed, "height_m": list(curriculum.asked_height_m), "yaw_rate_rad_s": yaw},
        airframe=airframe.name,
        training=training,
        locates=curriculum.locates,
    )
    return save_bundle(path, bundle)
