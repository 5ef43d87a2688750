"""From a trained network to the policy file, with a self-test recorded in the simulator."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from envs.half_cheetah.rhythm import IRREGULAR, REGULAR, Rhythm
from envs.half_cheetah.simulators import SIMULATORS
from liquid_pilot.bundle import SelfTest, make_cheetah_bundle, save_bundle
from liquid_pilot.half_cheetah import CheetahLayout
from policies.half_cheetah.herd import Herd
from policies.network import PolicyNetwork

SELFTEST_STEPS = 128


def record_selftest(network: PolicyNetwork, layout: CheetahLayout, seed: int = 0) -> SelfTest:
    """The beginning of an episode at irregular time, from the first call (dt = 0) on."""
    h = network.initial_state(1)
    rows: list[tuple[Any, float, Any, Any]] = []
    with Herd(1, layout.simulator, layout.observe) as herd, torch.no_grad():
        view = herd.reset(seed, [IRREGULAR])
        for _ in range(SELFTEST_STEPS):
            action, h = network.step(torch.from_numpy(view.sensors), h, torch.from_numpy(view.dt_s))
            rows.append((view.sensors[0], float(view.dt_s[0]), action[0].numpy(), h[0].numpy()))
            view, _ = herd.step(action.numpy())
    x, dt_s, actions, hidden = (np.array(column, np.float32) for column in zip(*rows, strict=True))
    return SelfTest(x, dt_s, actions, hidden)


class Run(Protocol):
    """What a finished or unfinished run of any method has."""

    @property
    def best(self) -> PolicyNetwork:
        """What is exported."""
        ...

    @property
    def best_score(self) -> float:
        """Its score in validation, lower is better."""
        ...

    @property
    def layout(self) -> CheetahLayout:
        """What it sees."""
        ...

    @property
    def done(self) -> int:
        """Updates."""
        ...

    @property
    def elapsed_s(self) -> float:
        """Seconds of training."""
        ...

    @property
    def config(self) -> Any:
        """A dataclass with a seed, the rhythm of irregular episodes and their share."""
        ...


def trained_rhythm(rhythm: Rhythm, irregular: float, simulator: str) -> dict[str, Any]:
    """What training has drawn: of a run without irregular episodes none of their rhythm, of a mixture both."""
    usual = SIMULATORS[simulator].usual_frames
    if irregular <= 0.0:
        return asdict(REGULAR) | {"frames": [usual, usual]}
    low, high = rhythm.frames or (usual, usual)
    if irregular < 1.0:
        low, high = min(low, usual), max(high, usual)
    return asdict(rhythm) | {"frames": [low, high]}


def export_run(run: Run, path: Path, name: str, commit: str, more: Mapping[str, Any]) -> Path:
    """Write the best weights of a run as a policy file. more: of the training that its metadata tells.

    Raises `BundleError` if its self-test fails.
    """
    config = run.config
    training = {
        "config": asdict(config),
        "seed": config.seed,
        "commit": commit,
        "minutes": round(run.elapsed_s / 60.0, 2),
        "updates": run.done,
        "validation_return": None if math.isinf(run.best_score) else round(-run.best_score, 1),
        **more,
    }
    bundle = make_cheetah_bundle(
        name,
        run.layout,
        run.best.spec,
        run.best.weights(),
        record_selftest(run.best, run.layout, config.seed),
        trained_rhythm=trained_rhythm(config.rhythm, config.irregular, run.layout.simulator),
        training=training,
    )
    return save_bundle(path, bundle)
