"""Laws of teaching to run: labels are the teacher's, an actor acts as its model, a clone as its teacher."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from envs.half_cheetah import env as env_module
from envs.half_cheetah.rhythm import REGULAR, Rhythm
from liquid_pilot.bundle import Bundle
from liquid_pilot.cells import Network
from liquid_pilot.errors import ConfigError, TrainingError
from liquid_pilot.half_cheetah import CheetahLayout
from policies.half_cheetah.actor import TIME_LEFT, Actor
from policies.half_cheetah.cloning import Cloning, cloned
from policies.half_cheetah.episodes import Expert, Mixture, record_episodes
from policies.half_cheetah.herd import Herd, View
from policies.half_cheetah.sizes import cheetah_spec, teacher_spec
from policies.half_cheetah.teacher import CheetahTeacher
from policies.half_cheetah.teaching import TeacherTrainer, TeachingConfig
from policies.network import PolicyNetwork
from tests.onboard.bundles import make, make_cheetah

CALLS = 40
HARD = Rhythm(frames=(1, 6), dropped=0.4, delay_frames=(0, 3), noise=0.05)
FEW = Cloning(rounds=2, herd=4, updates=600, batch=64)


@pytest.fixture(autouse=True)
def short_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env_module, "USUAL_CALLS", CALLS)


@pytest.fixture(name="taught", scope="module")
def teacher_of_noise() -> Bundle:
    return make_cheetah(spec=teacher_spec(CheetahLayout("pybullet").width, 8), seed=3)


def test_labels_are_the_teachers_whatever_reached_the_pilot(taught: Bundle) -> None:
    teacher = CheetahTeacher(taught, "pybullet")
    told, network, layout = list[Any](), Network(taught.spec, taught.weights), CheetahLayout("pybullet")
    original = teacher.act

    def watched(view: Any) -> Any:
        told.append((view.state.copy(), view.dt_s.copy()))
        return original(view)

    teacher.act = watched  # type: ignore[method-assign]
    pilot = PolicyNetwork(cheetah_spec("decay", CheetahLayout("pybullet", "positions").width), 1)
    with Herd(2, "pybullet", "positions") as herd:
        found = record_episodes(herd, teacher, Mixture(pilot, 0.5, 0.3), [HARD, REGULAR], 4)
    assert found.length.tolist()[1] == CALLS and found.length[0] != CALLS
    for i, (start, length) in enumerate(zip(found.start, found.length, strict=True)):
        rows = slice(start, start + length)
        fresh = found.observation[rows, -3]
        assert found.dt_s[start] == 0.0 and (i == 1) == bool((fresh == 1.0).all())
        for k in range(length):
            state, dt_s = told[k][0][i], float(told[k][1][i])
            assert dt_s == found.dt_s[rows][k]
            wanted, _ = network.step(layout.assemble(state, True, 0.0, dt_s), network.initial_state(), dt_s)
            np.testing.assert_allclose(found.action[rows][k], wanted, atol=1e-5)
    held = found.observation[:, -3] == 0.0
    assert held.sum() > 10  # calls at which the pilot saw nothing new, and the teacher answered for the true body


def test_recording_follows_from_its_seed_and_the_mixture_decides_who_acts(taught: Bundle) -> None:
    teacher = CheetahTeacher(taught, "pybullet")
    pilot = PolicyNetwork(cheetah_spec("decay", CheetahLayout("pybullet").width), 1)

    def record(share: float, seed: int = 4) -> Any:
        with Herd(2, "pybullet", "full") as herd:
            return record_episodes(herd, teacher, Mixture(pilot, share, 0.0), [REGULAR] * 2, seed).observation

    np.testing.assert_array_equal(record(0.5), record(0.5))
    assert not np.array_equal(record(0.5), record(0.5, seed=5))
    with Herd(2, "pybullet", "full") as herd:
        alone = record_episodes(herd, teacher, Mixture(), [REGULAR] * 2, 4).observation
    np.testing.assert_array_equal(record(1.0), alone)
    assert not np.array_equal(record(0.0), alone)


def test_the_actor_acts_as_its_sb3_model() -> None:
    with closing(TeacherTrainer(TeachingConfig(cheetahs=2, events=24, batch=16, units=16))) as trainer:
        trainer.update(0.0)
        trainer.actor.take(trainer.model, trainer.env)
        rng = np.random.default_rng(0)
        state = rng.standard_normal((200, trainer.actor.inputs)).astype(np.float32)
        told = trainer.env.normalize_obs(np.concatenate([state, np.full((200, 1), TIME_LEFT, np.float32)], axis=1))
        wanted, _ = trainer.model.predict(told, deterministic=True)
        view = View(np.zeros((200, trainer.layout.width), np.float32), state, np.zeros(200, np.float32))
        np.testing.assert_allclose(trainer.actor.act(view), wanted, atol=1e-4)
        assert wanted.std() > 1e-3


def test_a_clone_acts_as_its_teacher_and_is_the_same_for_a_seed(taught: Bundle) -> None:
    teacher, spec = CheetahTeacher(taught, "pybullet"), teacher_spec(CheetahLayout("pybullet").width, 16)
    first, again = (cloned(teacher, spec, "pybullet", Rhythm(frames=(1, 6)), 3, FEW) for _ in range(2))
    for name, value in first.weights().items():
        np.testing.assert_array_equal(value, again.weights()[name])
    untaught = PolicyNetwork(spec, 3)
    with Herd(2, "pybullet", "full") as herd:
        episodes = record_episodes(herd, teacher, Mixture(first, 0.0), [REGULAR] * 2, 9)
    x, errors = torch.from_numpy(episodes.observation), []
    for network in (first, untaught):
        with torch.no_grad():
            said = network.act(network.features(x, x[:, :0])).numpy()
        errors.append(float(np.square(said - episodes.action).mean()))
    assert errors[0] < 0.1 * errors[1]


@pytest.mark.parametrize("bundle", [make(), make_cheetah("mujoco"), make_cheetah(observe="velocities")])
def test_an_expert_sees_the_whole_body_in_the_same_simulator(bundle: Bundle) -> None:
    with pytest.raises(ConfigError, match="--method teacher"):
        CheetahTeacher(bundle, "pybullet")


def test_an_expert_that_answers_nothing_finite_is_refused(taught: Bundle) -> None:
    teacher, actor = CheetahTeacher(taught, "pybullet"), Actor(26, 8)
    with torch.no_grad():
        teacher._network.readout.bias[0] = torch.nan
        actor.mean[0] = torch.nan
    experts: tuple[Expert, ...] = (teacher, actor)
    for expert in experts:
        with Herd(1, "pybullet", "full") as herd, pytest.raises(TrainingError, match="not finite"):
            record_episodes(herd, expert, Mixture(), [REGULAR], 0)


@pytest.mark.parametrize("name", ["rounds", "herd", "updates", "batch", "irregular", "learning_rate"])
def test_a_cloning_that_makes_no_sense_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=name):
        replace(FEW, **{name: -1})
