"""Laws of teachers: many drones get what one would, files give what models give, nonsense is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import stable_baselines3
import torch
from hypothesis import given
from hypothesis import strategies as st

from envs.airframe import load_airframe
from envs.state_observation import STATE_DIM
from liquid_pilot import load_bundle, native
from liquid_pilot.cells import Network
from liquid_pilot.command import DEFAULT_LIMITS
from liquid_pilot.errors import ConfigError, TrainingError
from liquid_pilot.geometry import rotation_matrix
from liquid_pilot.observation import OBS_DIM
from policies.experts.geometric import GeometricController
from policies.imitation.flying import Mixture
from policies.imitation.sb3 import file_teacher, load_actor
from policies.imitation.teachers import (
    GeometricTeacher,
    PolicyTeacher,
    TrackerTeacher,
    asked,
    load_teacher,
    quaternion,
)
from tests.policies.imitation_cases import LESSONS, Answer, random_sight

AIRFRAME = load_airframe("cf2x")


def test_many_drones_are_told_what_one_controller_each_would_tell_them() -> None:
    rng, many, each = np.random.default_rng(0), GeometricTeacher(), TrackerTeacher("each", GeometricController)
    many.reset(40)
    each.reset(40)
    for event in range(12):  # one drone after the other is let go; long enough for integral terms to differ
        sight = replace(random_sight(rng, 40), released=np.arange(40) < 4 * event)
        ours, theirs = asked(many, sight)[sight.released], asked(each, sight)[sight.released]
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


@given(st.lists(st.floats(-1.0, 1.0), min_size=4, max_size=4).filter(lambda q: math.hypot(*q) > 0.1))
def test_a_quaternion_comes_back_from_its_matrix(q: list[float]) -> None:
    unit = np.array(q) / math.hypot(*q)
    w, x, y, z = unit.tolist()
    found = np.array(quaternion(np.array(rotation_matrix((w, x, y, z)))))
    assert abs(found @ unit) == pytest.approx(1.0, abs=1e-9)  # q and -q are one rotation


def test_a_policy_teaches_what_it_flies() -> None:
    bundle, rng = load_bundle("hover"), np.random.default_rng(1)
    teacher, network = PolicyTeacher(bundle), Network(bundle.spec, bundle.weights)
    teacher.reset(3)
    states = [network.initial_state() for _ in range(3)]
    for _ in range(5):
        sight = random_sight(rng, 3)
        found = asked(teacher, sight)
        for i in range(3):
            action, states[i] = network.step(sight.sensors[i], states[i], float(sight.dt_s[i]))
            np.testing.assert_allclose(found[i], action, atol=1e-5)
    assert bundle.limits == DEFAULT_LIMITS and teacher.sha256 == bundle.metadata["sha256"]


@pytest.mark.skipif(not native.available(), reason="needs a C compiler")
@pytest.mark.parametrize(
    ("value", "told"),
    [
        (np.zeros((2, 3)), "shape"),
        (np.zeros(4, np.int64), "type int64"),
        (np.array([0.0, math.nan, 0.0, 0.0]), "nan"),
        (np.array([0.0, math.inf, 0.0, 0.0]), "inf"),
    ],
)
def test_a_teacher_that_answers_nonsense_is_refused(value: Any, told: str) -> None:
    with pytest.raises(TrainingError, match=f"expert 'answer' answers .*{told}"):
        LESSONS.record(2, Answer(value), Mixture(), seed=0)


def test_answers_are_cut_to_the_actions_that_there_are() -> None:
    sight = random_sight(np.random.default_rng(2), 3)
    np.testing.assert_array_equal(asked(Answer(np.array([2.0, -3.0, 0.5, 1.0])), sight)[0], [1.0, -1.0, 0.5, 1.0])


def test_experts_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="geometric, pid"):
        load_teacher("nobody", AIRFRAME)
    with pytest.raises(ConfigError, match="airframe 'cf2x', not 'racer'"):
        load_teacher("hover", load_airframe("racer"))
    (tmp_path / "model.zip").write_text("no zip")
    with pytest.raises(ConfigError, match="no stable-baselines3 model"):
        load_teacher(str(tmp_path / "model.zip"), AIRFRAME)


class Box(gymnasium.Env[Any, Any]):
    """An environment to make models for."""

    def __init__(self, width: int, actions: int = 4) -> None:
        self.observation_space = gymnasium.spaces.Box(-1000.0, 1000.0, (width,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1.0, 1.0, (actions,), np.float32)


def saved(path: Path, algorithm: str, width: int, actions: int = 4, **policy: Any) -> Any:
    made: Any = getattr(stable_baselines3, algorithm)
    options: dict[str, Any] = {} if algorithm in ("PPO", "A2C") else {"buffer_size": 1}
    options |= {"device": "cpu", "policy_kwargs": {"net_arch": [9, 7], **policy}}
    model = made("MlpPolicy", Box(width, actions), **options)
    model.save(path)
    return model


@pytest.mark.parametrize("algorithm", ["PPO", "A2C", "SAC", "TD3"])
@pytest.mark.parametrize("width", [STATE_DIM, OBS_DIM])
def test_a_file_teaches_what_its_model_predicts_and_opens_no_pickle(
    algorithm: str, width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = saved(tmp_path / "model.zip", algorithm, width)

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a pickle was opened")

    monkeypatch.setattr("cloudpickle.loads", refuse)
    teacher, sight = file_teacher(tmp_path / "model.zip"), random_sight(np.random.default_rng(3), 5)
    teacher.reset(5)
    seen = sight.state if width == STATE_DIM else sight.sensors
    wanted, _ = model.predict(seen, deterministic=True)
    np.testing.assert_allclose(asked(teacher, sight), wanted, atol=1e-6)


def test_an_unusual_activation_is_read_as_text(tmp_path: Path) -> None:
    model = saved(tmp_path / "model.zip", "PPO", STATE_DIM, activation_fn=torch.nn.ELU)
    sight = random_sight(np.random.default_rng(4), 5)
    wanted, _ = model.predict(sight.state, deterministic=True)
    np.testing.assert_allclose(asked(file_teacher(tmp_path / "model.zip"), sight), wanted, atol=1e-6)


def test_models_of_something_else_are_refused(tmp_path: Path) -> None:
    saved(tmp_path / "narrow.zip", "PPO", 5)
    saved(tmp_path / "six.zip", "PPO", STATE_DIM, actions=6)
    for name, told in (("narrow", "takes 5 numbers"), ("six", "gives 6")):
        with pytest.raises(ConfigError, match=told):
            load_actor(tmp_path / f"{name}.zip")
    saved(tmp_path / "odd.zip", "PPO", STATE_DIM, activation_fn=torch.nn.Hardtanh)
    with pytest.raises(ConfigError, match="Hardtanh"):
        load_actor(tmp_path / "odd.zip")
