"""Laws of imitation in forests: the slope reaches encoder and head, resume equals never stopped, refusals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from liquid_pilot import native
from liquid_pilot.bundle import load_bundle, run_selftest
from liquid_pilot.errors import ConfigError, TrainingError
from policies.imitation.checkpoint import load_checkpoint, round_file, save_checkpoint
from policies.imitation.crossings import PlannerTeacher
from policies.imitation.export import export_policy
from policies.imitation.forest_school import load_planner
from policies.imitation.trainer import ImitationTrainer
from tests.policies.crossing_cases import TINY

pytestmark = pytest.mark.skipif(not native.available(), reason="needs a C compiler")


def run(trainer: ImitationTrainer, updates: int) -> list[float]:
    return [trainer.update(trainer.done / trainer.updates).loss for _ in range(updates)]


def same_weights(ours: ImitationTrainer, theirs: ImitationTrainer) -> bool:
    pairs = [(ours.network, theirs.network), (ours.averaged, theirs.averaged), (ours.best, theirs.best)]
    return all(torch.equal(value, b.state_dict()[name]) for a, b in pairs for name, value in a.state_dict().items())


def test_the_slope_reaches_every_weight_and_the_error_falls() -> None:
    trainer = ImitationTrainer(replace(TINY, updates=60, method="bc", batch=16), PlannerTeacher())
    before = {name: p.detach().clone() for name, p in trainer.network.named_parameters()}
    loss = run(trainer, 60)
    assert sum(loss[-10:]) < 0.7 * sum(loss[:10])
    for name, new in trainer.network.named_parameters():
        assert torch.isfinite(new).all() and not torch.equal(before[name], new)
    assert any(name.startswith("encoder.") for name in before)


def test_resumed_run_gives_the_weights_of_one_that_was_never_stopped(tmp_path: Path) -> None:
    config, path = TINY, tmp_path / "checkpoint.safetensors"
    whole, first = (ImitationTrainer(config, PlannerTeacher()) for _ in range(2))
    losses = run(whole, 6)
    assert run(first, 2) == losses[:2]
    save_checkpoint(path, first)
    run(first, 2)  # was killed here, after a round that no checkpoint knows
    second = load_checkpoint(path, config, PlannerTeacher())
    assert run(second, 4) == losses[2:] and same_weights(whole, second)
    assert len(whole.rounds) == 2 and whole.idle().flights == 4 and whole.idle().teacher_share == config.share_decay
    with pytest.raises(TrainingError, match="noise"):
        load_checkpoint(path, replace(config, noise=0.2), PlannerTeacher())
    whole_file = round_file(tmp_path, 0).read_bytes()
    round_file(tmp_path, 0).write_bytes(whole_file[:-5])
    with pytest.raises(TrainingError, match="not a readable checkpoint"):
        load_checkpoint(path, config, PlannerTeacher())


def test_the_best_in_closed_loop_is_exported_and_proves_itself(tmp_path: Path) -> None:
    trainer = ImitationTrainer(TINY, PlannerTeacher(), start=load_bundle("avoid"))
    row = trainer.validate(trainer.update(0.0))
    assert trainer.best_score == row.score and not trainer.stale
    bundle = load_bundle(export_policy(trainer, tmp_path / "p.safetensors", "taught", "unknown"))
    assert run_selftest(bundle) < 1e-5 and bundle.sees
    shipped, told = load_bundle("avoid").metadata, bundle.metadata["training"]
    assert bundle.metadata["sensor_limits_s"] == shipped["sensor_limits_s"]
    assert bundle.metadata["setpoint_limits"] == shipped["setpoint_limits"]
    assert set(bundle.metadata["trained_rates_hz"]) == {"imu", "flow", "range", "grid", "attitude"}
    assert (told["config"]["expert"], told["flights"], told["start_sha256"]) == ("planner", 2, shipped["sha256"])


def test_who_cannot_be_taught_is_refused() -> None:
    with pytest.raises(ConfigError, match="planner alone"):
        load_planner("geometric")
    with pytest.raises(ConfigError, match="wiring"):
        ImitationTrainer(replace(TINY, wiring="9-6-4"), PlannerTeacher())
    with pytest.raises(ConfigError, match="cannot start this run"):
        ImitationTrainer(TINY, PlannerTeacher(), start=load_bundle("hover"))
