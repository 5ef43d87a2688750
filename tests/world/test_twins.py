"""PyBullet, torch, the compiled engine and an independent integrator fly the same drones, wind and commands alike."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest

from envs.airframe import load_airframe
from liquid_pilot import native
from scripts.benchmarks.world_engines import Trajectory, fly_compiled, fly_pybullet, fly_torch
from scripts.benchmarks.world_reference import fly_reference
from scripts.benchmarks.world_twins import angle_deg, distance, tilt_deg, twin_experiment

AIRFRAME = load_airframe("cf2x")
EXPERIMENT = twin_experiment(AIRFRAME, 12, seed=3)


@cache
def pybullet() -> Trajectory:
    return fly_pybullet(EXPERIMENT)


def test_the_flights_differ_and_stay_in_the_air() -> None:
    ends = pybullet().position_m[-1].T
    apart = np.linalg.norm(ends[:, None] - ends[None], axis=2)
    assert apart[~np.eye(len(ends), dtype=bool)].min() > 0.01
    assert pybullet().position_m[:, 2].min() > 1.0
    assert tilt_deg(np.concatenate(list(pybullet().attitude_wxyz.transpose(2, 0, 1)))).max() > 30.0


def test_torch_flies_as_pybullet_does() -> None:
    found = distance(pybullet(), fly_torch(EXPERIMENT))
    assert found.p95_m < 0.001 and found.p95_deg < 0.01  # 1 cm and 1 degree are asked for; float32 leaves 0.02 mm


@pytest.mark.skipif(not native.available(), reason="no C compiler")
def test_the_compiled_engine_flies_as_pybullet_does() -> None:
    found = distance(pybullet(), fly_compiled(EXPERIMENT))
    assert found.p95_m < 0.001 and found.p95_deg < 0.01


def test_an_independent_integrator_of_fourth_order_ends_nearby() -> None:
    found = distance(pybullet(), fly_reference(EXPERIMENT))
    assert found.most_m < 0.05 and found.most_deg < 1.0


def test_angles_between_attitudes_do_not_depend_on_their_signs() -> None:
    half = math.radians(0.02) / 2.0
    level, turned = np.array([[1.0], [0.0], [0.0], [0.0]]), np.array([[math.cos(half)], [0.0], [math.sin(half)], [0.0]])
    assert angle_deg(level, turned)[0] == pytest.approx(0.02)
    assert angle_deg(level, -turned)[0] == pytest.approx(0.02)
    assert tilt_deg(-turned.T)[0] == pytest.approx(0.02)
