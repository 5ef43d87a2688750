"""Laws of the compiled backend: it trains, resumes and scores as the torch one does."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from envs.airframe import load_airframe
from envs.batched_state import to_dict
from envs.conditions import Conditions
from liquid_pilot import native
from liquid_pilot.errors import ConfigError
from policies.analytic import AnalyticTrainer, TrainConfig
from policies.backend import Backend
from policies.checkpoint import load_checkpoint, save_checkpoint
from policies.compiled_trainer import CompiledBackend, flight_rollout, fly_and_score
from policies.curriculum import Curriculum
from policies.drills import DRILLS
from policies.fragments import flatten_weights
from policies.network import hover_spec
from policies.torch_backend import TorchBackend

pytestmark = pytest.mark.skipif(not native.available(), reason="needs a C compiler")

SMALL = TrainConfig(
    batch=48,
    substep_s=0.01,
    learning_rate=1e-2,
    average_decay=0.9,
    relaunch_chance=1.0,
    curriculum=Curriculum(first_horizon_s=0.9, last_horizon_s=0.9, mixed_chance=0.0, hover_chance=1.0),
)


def trained(trainer: AnalyticTrainer, updates: int) -> list[float]:
    return [trainer.update(0.02).loss for _ in range(updates)]


def test_training_descends() -> None:
    trainer = AnalyticTrainer(SMALL, "compiled")
    carry = trainer._launch(Conditions())

    def loss() -> float:
        return trainer.backend.gradient(trainer.network, carry, Conditions(), 250)[0]

    before = loss()
    assert all(math.isfinite(value) for value in trained(trainer, 80))
    assert loss() < 0.6 * before


def test_threads_do_not_change_the_weights(tmp_path: Path) -> None:
    alone, together = AnalyticTrainer(SMALL, "compiled"), AnalyticTrainer(SMALL, "compiled", threads=2)
    assert trained(alone, 3) == trained(together, 3)
    for name, value in alone.network.state_dict().items():
        assert torch.equal(value, together.network.state_dict()[name]), name
    save_checkpoint(tmp_path / "c.safetensors", together)
    resumed = load_checkpoint(tmp_path / "c.safetensors", SMALL, "compiled", threads=3)
    assert isinstance(resumed.backend, CompiledBackend) and resumed.backend.rollout.threads == 3
    with pytest.raises(ConfigError, match="threads is 0"):
        AnalyticTrainer(SMALL, "compiled", threads=0)


def test_resumed_run_gives_the_weights_of_one_that_was_never_stopped(tmp_path: Path) -> None:
    config = replace(SMALL, relaunch_chance=0.25)
    whole, first = (AnalyticTrainer(config, "compiled") for _ in range(2))
    trained(whole, 4)
    trained(first, 2)
    save_checkpoint(tmp_path / "c.safetensors", first)
    second = load_checkpoint(tmp_path / "c.safetensors", config, "compiled")
    trained(second, 2)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name
    assert whole.carry is not None and second.carry is not None
    ours, theirs = to_dict(whole.carry.world, "w"), to_dict(second.carry.world, "w")
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_both_backends_agree_on_loss_gradient_and_scores() -> None:
    trainer = AnalyticTrainer(replace(SMALL, batch=256), "compiled")
    trained(trainer, 25)
    assert isinstance(trainer.backend, CompiledBackend)
    torch_backend = TorchBackend(trainer.backend.recipe, trainer.network.spec, torch.Generator().manual_seed(0))
    carry = trainer._launch(Conditions())
    found = []
    backends: list[Backend] = [trainer.backend, torch_backend]
    for backend in backends:
        loss, _ = backend.gradient(trainer.network, carry, Conditions(), 70)
        slopes = [p.grad.reshape(-1) for p in trainer.network.parameters() if p.grad is not None]
        found.append((loss, torch.cat(slopes).numpy().copy()))
    (ours, slope), (theirs, reference) = found  # the same flights with other noise
    assert ours == pytest.approx(theirs, rel=0.05)
    cosine = slope @ reference / np.linalg.norm(slope) / np.linalg.norm(reference)
    assert cosine > 0.95


def test_scoring_tells_progress_and_repeats() -> None:
    trainer, told = AnalyticTrainer(SMALL, "compiled"), list[int]()
    assert isinstance(trainer.backend, CompiledBackend)
    weights = flatten_weights(trainer.network.spec, trainer.network.weights())
    first, again = (
        fly_and_score(trainer.backend.rollout, weights, Conditions(), 1030, 3, 0.4, told.append) for _ in range(2)
    )
    assert first == again and told == [1024, 1030] * 2
    assert first == fly_and_score(trainer.backend.rollout, weights, Conditions(), 1030, 3, 0.4)
    up = [score for score in first if score.success]
    assert 300 < len(up) <= 1030 and all(score.speed_error_m_s > 0.0 for score in up)


def test_unknown_backend_is_refused() -> None:
    with pytest.raises(ConfigError, match="compiled, torch"):
        AnalyticTrainer(SMALL, "jax")


def test_a_network_of_another_layout_is_not_compiled() -> None:
    with pytest.raises(ConfigError, match="inputs and this task gives"):
        flight_rollout(load_airframe("cf2x"), hover_spec("decay"), aim=DRILLS["track-position"].aim(1.0))
