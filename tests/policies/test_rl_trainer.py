"""Laws of a PPO run: repeatable, resumed to the same numbers, exported as it flies, refused where it cannot be."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from envs.conditions import Conditions
from envs.hover import HoverEnv, HoverVectorEnv
from envs.state_observation import STATE_DIM
from liquid_pilot import native
from liquid_pilot.bundle import load_bundle, run_selftest
from liquid_pilot.errors import ConfigError, TrainingError
from liquid_pilot.observation import OBS_DIM
from policies import validation
from policies.rl.checkpoint import load_checkpoint, save_checkpoint
from policies.rl.export import export_policy
from policies.rl.trainer import PPOConfig, PPOTrainer, usual_config
from policies.rl.vec_env import BatchedVecEnv, PyBulletVecEnv
from policies.schedule import train

pytestmark = pytest.mark.skipif(not native.available(), reason="no C compiler")

TINY = PPOConfig(seed=1, steps=6 * 8 * 40, drones=8, events=40, groups=2, epochs=2, validate_every=3,
                 validation_flights=2, validation_s=1.0)  # fmt: skip


@pytest.fixture(autouse=True)
def one_validation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "VALIDATION", validation.VALIDATION[:1])


def weights(trainer: PPOTrainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.policy.parameters()])


def whole_run(config: PPOConfig, start: Any = None) -> PPOTrainer:
    trainer = PPOTrainer(config, start=start)
    train(trainer, lambda row: None, lambda: None)
    return trainer


@pytest.mark.parametrize(
    ("options", "start"),
    [({}, None), ({"cell": "gru"}, None), ({"strength": 1.0, "anchor_weight": 0.5, "critic_first": 1}, "hover"),
     ({"engine": "pybullet", "drones": 2, "steps": 6 * 2 * 40}, None)],
)  # fmt: skip
def test_a_resumed_run_ends_at_the_same_numbers(options: dict[str, Any], start: str | None, tmp_path: Path) -> None:
    config, path = replace(TINY, **options), tmp_path / "checkpoint.safetensors"
    began = None if start is None else load_bundle(start)
    whole = whole_run(config, began)
    first = PPOTrainer(config, start=began)
    rows = [first.update(update / first.updates) for update in range(3)]
    first.validate(rows[-1])
    save_checkpoint(path, first)
    again = load_checkpoint(path, config, start=began)
    train(again, lambda row: None, lambda: None)
    assert torch.equal(weights(whole), weights(again)) and whole.best_score == again.best_score
    assert [int(run.model.num_timesteps) for run in (whole, again)] == [config.steps, config.steps]
    assert not torch.equal(weights(first), weights(again)) and again.start_sha256 == whole.start_sha256


def test_another_seed_is_another_run() -> None:
    one, other = (PPOTrainer(replace(TINY, seed=seed)) for seed in (1, 2))
    for trainer in (one, other):
        trainer.update(0.0)
    assert not torch.equal(weights(one), weights(other))


def test_rows_tell_the_flights_that_ended() -> None:
    config = replace(TINY, steps=8 * 400, events=400)
    row = PPOTrainer(config).update(0.0)
    assert row.update == 1 and row.steps == config.steps and row.flight_success == 0.0
    assert math.isnan(row.score) and row.flight_return < 0.0 and row.approx_kl >= 0.0


def test_the_exported_policy_is_the_best_actor(tmp_path: Path) -> None:
    trainer = whole_run(TINY)
    bundle = load_bundle(export_policy(trainer, tmp_path / "policy.safetensors", "hover-ppo", "unknown"))
    assert run_selftest(bundle) < 1e-5 and bundle.metadata["training"]["steps"] == TINY.steps
    for name, value in trainer.best.weights().items():
        np.testing.assert_array_equal(bundle.weights[name], value)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    trainer = PPOTrainer(TINY)
    trainer.update(0.0)
    save_checkpoint(path, trainer)
    for other in ({"gamma": 0.5}, {"cell": "gru"}, {"engine": "pybullet"}):
        with pytest.raises(TrainingError, match=next(iter(other))):
            load_checkpoint(path, replace(TINY, **other))
    with pytest.raises(TrainingError, match="fresh weights"):
        load_checkpoint(path, TINY, start=load_bundle("hover"))
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(TrainingError, match="without --resume"):
        load_checkpoint(path, TINY)


@pytest.mark.parametrize(
    "bad",
    [{"engine": "fast"}, {"seed": -1}, {"steps": 0}, {"drones": 0}, {"learning_rate": math.nan}, {"gamma": 1.0},
     {"cell": "nonsense"}],
)  # fmt: skip
def test_a_configuration_that_makes_no_sense_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(bad))):
        PPOTrainer(replace(TINY, **bad))


def test_a_start_of_another_cell_and_an_unknown_task_are_refused() -> None:
    with pytest.raises(ConfigError, match="form: decay there, gru here"):
        PPOTrainer(replace(TINY, cell="gru"), start=load_bundle("hover"))
    with pytest.raises(TrainingError, match="hover"):
        PPOTrainer(replace(TINY, task="land"))
    with pytest.raises(ConfigError, match="batched, pybullet"):
        usual_config("fast", fine_tuning=False)


def test_flights_of_the_vector_environment_end_as_stable_baselines3_wants_it() -> None:
    batched = BatchedVecEnv(HoverVectorEnv(3, obs="both", duration_s=0.3, hold_s=0.1))
    single = PyBulletVecEnv(lambda: HoverEnv(obs="both", duration_s=0.3, hold_s=0.1), 3)
    for env in (batched, single):
        env.seed(4)
        seen = env.reset()
        assert (
            isinstance(seen, dict) and seen["sensors"].shape == (3, OBS_DIM) and seen["state"].shape == (3, STATE_DIM)
        )
        env.flown.clear()
        earned, over = np.zeros(3), np.zeros(3, np.bool_)
        for _ in range(60):
            _, reward, done, infos = env.step(np.zeros((3, 4), np.float32))
            earned += np.where(over, 0.0, reward)
            for i in np.flatnonzero(done & ~over):
                assert infos[i]["TimeLimit.truncated"] and infos[i]["is_success"] in (True, False)
                assert set(infos[i]["terminal_observation"]) == {"sensors", "state"}
                np.testing.assert_allclose(infos[i]["episode"]["r"], earned[i], rtol=1e-4, atol=1e-5)
            over |= done
        assert over.all() and len(env.flown) >= 3
        env.close()


def test_the_vector_environment_is_one_world_with_one_seed() -> None:
    env = BatchedVecEnv(HoverVectorEnv(3))
    assert env.get_attr("num_envs") == [3, 3, 3] and env.get_attr("num_envs", 1) == [3]
    first: list[Any] = []
    again: list[Any] = []
    for found in (first, again):
        env.seed(7)
        found.append(env.reset())
        found.append(env.step(np.zeros((3, 4), np.float32))[0])
    for ours, theirs in zip(first, again, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    env.set_conditions(Conditions(imu_hz=(50.0, 50.0)))
    env.step(np.zeros((3, 4), np.float32))
    env.set_attr("task", "another")
    assert env.get_attr("task", [0]) == ["another"] and env.env_is_wrapped(gymnasium.Wrapper) == [False] * 3


def test_a_snapshot_flies_on_as_the_flights_do() -> None:
    conditions = Conditions(hold_s=0.1)
    ours, theirs = (HoverVectorEnv(4, obs="both", duration_s=0.4) for _ in range(2))
    ours.reset(seed=2)
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1.0, 1.0, (120, 4, 4))
    for action in actions[:30]:
        ours.step(action)
    tables, generator = ours.snapshot()
    tables = {name: value.copy() for name, value in tables.items()}
    theirs.restore(tables, generator)
    for env in (ours, theirs):
        env.set_conditions(conditions)
    for action in actions[30:]:
        (seen, reward, *_), (also, earned, *_) = ours.step(action), theirs.step(action)
        np.testing.assert_array_equal(seen["sensors"], also["sensors"])
        np.testing.assert_array_equal(reward, earned)
    with pytest.raises(ConfigError, match="4 drones, this environment 5"):
        HoverVectorEnv(5).restore(tables, generator)
    with pytest.raises(ConfigError, match="lacks a part"):
        theirs.restore({}, generator)
