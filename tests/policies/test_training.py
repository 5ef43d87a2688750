"""Laws of the analytic trainer: gradients reach the weights, resume equals never stopped, export proves itself."""

from __future__ import annotations

import math
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from envs.batched_state import to_dict
from liquid_pilot.bundle import load_bundle, run_selftest
from liquid_pilot.errors import ConfigError, TrainingError
from policies.analytic import AnalyticTrainer, Progress, TrainConfig
from policies.checkpoint import load_checkpoint, save_checkpoint
from policies.curriculum import Curriculum, lesson
from policies.export import export_policy
from policies.schedule import learning_rate_shape, train

TINY = TrainConfig(
    updates=4,
    batch=6,
    substep_s=0.01,
    validate_every=100,
    validation_flights=2,
    validation_s=0.3,
    curriculum=Curriculum(first_horizon_s=0.8, last_horizon_s=0.8, mixed_chance=1.0),  # few events, past the release
)


def run(trainer: AnalyticTrainer, updates: int) -> None:
    for _ in range(updates):
        trainer.update(0.5)


def test_gradient_reaches_every_weight() -> None:
    trainer = AnalyticTrainer(replace(TINY, cell="decay"))
    before = [p.detach().clone() for p in trainer.network.parameters()]
    run(trainer, 2)
    for old, new in zip(before, trainer.network.parameters(), strict=True):
        assert torch.isfinite(new).all()
        assert not torch.equal(old, new)


@pytest.mark.parametrize("cell", ["decay", "mlp"])
def test_resumed_run_gives_the_weights_of_one_that_was_never_stopped(cell: str, tmp_path: Path) -> None:
    config = replace(TINY, cell=cell)
    whole = AnalyticTrainer(config)
    run(whole, 4)
    first = AnalyticTrainer(config)
    run(first, 2)
    save_checkpoint(tmp_path / "c.safetensors", first)
    second = load_checkpoint(tmp_path / "c.safetensors", config)
    run(second, 2)
    assert second.done == 4
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name
    assert whole.carry is not None and second.carry is not None
    ours, theirs = to_dict(whole.carry.world, "w"), to_dict(second.carry.world, "w")
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_checkpoint_of_another_configuration_or_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, AnalyticTrainer(TINY))
    with pytest.raises(TrainingError, match="learning_rate"):
        load_checkpoint(path, replace(TINY, learning_rate=1.0))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(TrainingError, match="without --resume"):
        load_checkpoint(path, TINY)


def test_exported_policy_repeats_what_the_trainer_computed(tmp_path: Path) -> None:
    trainer = AnalyticTrainer(TINY)
    run(trainer, 1)
    trainer.best.load_state_dict(trainer.network.state_dict())
    path = export_policy(trainer, tmp_path / "p.safetensors", "tiny", "unknown")
    bundle = load_bundle(path)
    assert run_selftest(bundle) < 1e-5
    assert bundle.selftest.dt_s[0] == 0.0 and bundle.selftest.dt_s.max() > 0.02
    for name, value in trainer.network.weights().items():
        np.testing.assert_array_equal(bundle.weights[name], value)


def test_run_to_the_end_reports_every_update_and_a_final_validation() -> None:
    rows: list[Progress] = []
    saves: list[int] = []
    trainer = AnalyticTrainer(replace(TINY, updates=3, validate_every=2))
    train(trainer, rows.append, lambda: saves.append(trainer.done))
    assert [row.update for row in rows] == [1, 2, 3, 3]
    assert [math.isnan(row.score) for row in rows] == [True, False, True, False]
    assert saves == [2, 3]


class Fading:
    """A run whose second validation is its best."""

    updates, validate_every = 20, 2

    def __init__(self) -> None:
        self.done = self.stale = 0

    def update(self, share: float) -> int:
        self.done += 1
        return self.done

    def idle(self) -> int:
        return self.done

    def validate(self, progress: int) -> int:
        self.stale = 0 if self.done <= 4 else self.stale + 1
        return progress


@pytest.mark.parametrize(("patience", "done"), [(1, 6), (3, 10), (None, 20)])
def test_patience_ends_a_run_that_gets_no_better(patience: int | None, done: int) -> None:
    trainer, saves = Fading(), list[int]()
    train(trainer, lambda row: None, lambda: saves.append(trainer.done), patience=patience)
    assert trainer.done == saves[-1] == done


def test_a_run_starts_from_a_policy_and_says_so(tmp_path: Path) -> None:
    start = load_bundle("hover")
    trainer = AnalyticTrainer(TINY, start=start)
    for name, value in trainer.best.weights().items():
        np.testing.assert_array_equal(value, start.weights[name])
    trainer.stale = 2
    save_checkpoint(tmp_path / "c.safetensors", trainer)
    resumed = load_checkpoint(tmp_path / "c.safetensors", TINY)
    assert resumed.start_sha256 == start.metadata["sha256"] and resumed.stale == 2
    load_checkpoint(tmp_path / "c.safetensors", TINY, start=start)
    save_checkpoint(tmp_path / "c.safetensors", AnalyticTrainer(TINY))
    with pytest.raises(TrainingError, match="fresh weights"):
        load_checkpoint(tmp_path / "c.safetensors", TINY, start=start)
    with pytest.raises(ConfigError, match="form: decay there, mlp here"):
        AnalyticTrainer(replace(TINY, cell="mlp"), start=start)


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, AnalyticTrainer(TINY))
    before, (soft, hard) = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(TrainingError, match="make room"):
            save_checkpoint(path, AnalyticTrainer(replace(TINY, seed=1)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before and [found.name for found in tmp_path.iterdir()] == [path.name]


def test_lessons_cover_the_rates_that_must_be_flown() -> None:
    rng = np.random.default_rng(0)
    lessons = [lesson(Curriculum(), 1.0, rng) for _ in range(400)]
    fixed = [item.conditions.imu_hz[0] for item in lessons if not item.conditions.imu_mixed]
    assert min(fixed) < 25.0 and max(fixed) > 400.0
    assert 0.1 < sum(item.conditions.imu_mixed for item in lessons) / 400 < 0.3
    assert all(item.steps <= Curriculum().most_steps for item in lessons)
    assert learning_rate_shape(0.01) > 0.9 and learning_rate_shape(1.0) == pytest.approx(0.02)


@pytest.mark.parametrize("bad", [{"updates": 0}, {"batch": 0}, {"seed": -1}, {"learning_rate": math.nan}])
def test_a_configuration_that_makes_no_sense_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        replace(TINY, **bad)


def test_unknown_task_is_refused() -> None:
    with pytest.raises(ConfigError, match="hover, mission, track, track-position"):
        AnalyticTrainer(replace(TINY, task="land"))
