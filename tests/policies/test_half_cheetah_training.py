"""Laws of learning to run: a stopped run goes on to the same policy, labels are the teacher's, files are what ran."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from envs.half_cheetah import env as env_module
from envs.half_cheetah.env import HalfCheetahEnv
from envs.half_cheetah.rhythm import IRREGULAR, REGULAR, Rhythm
from envs.half_cheetah.rollout import run_episode
from liquid_pilot.bundle import Bundle, load_bundle
from liquid_pilot.cells import Network, parameters
from liquid_pilot.errors import ConfigError, TrainingError
from liquid_pilot.half_cheetah import CheetahLayout
from policies.half_cheetah.checkpoint import (
    load_imitation,
    load_ppo,
    load_teaching,
    save_imitation,
    save_ppo,
    save_teaching,
)
from policies.half_cheetah.cloning import Clone, Cloning
from policies.half_cheetah.episodes import run_episodes
from policies.half_cheetah.export import export_run, trained_rhythm
from policies.half_cheetah.herd import Herd
from policies.half_cheetah.ppo import CheetahPPOConfig, CheetahPPOTrainer, usual_config
from policies.half_cheetah.sizes import LIQUID, NEURONS, RIVALS, cheetah_spec, teacher_spec
from policies.half_cheetah.teacher import CheetahTeacher
from policies.half_cheetah.teaching import TeacherTrainer, TeachingConfig
from policies.half_cheetah.trainer import CheetahConfig, CheetahTrainer
from policies.network import PolicyNetwork
from policies.schedule import train
from tests.onboard.bundles import make, make_cheetah

CALLS = 40
HARD = Rhythm(frames=(1, 6), dropped=0.4, delay_frames=(0, 3), noise=0.05)
DAGGER = CheetahConfig(
    updates=6, batch=4, episodes=4, rounds=2, rounds_share=1.0, herd=2, warm_up=4, steps=8, validate_every=3,
    validation_episodes=3, rhythm=HARD,
)  # fmt: skip
PPO = CheetahPPOConfig(
    steps=2 * 24 * 4, cheetahs=2, events=24, groups=2, epochs=2, critic_units=8, validate_every=2,
    validation_episodes=2, average_decay=0.5, rhythm=HARD,
)  # fmt: skip
TEACHING = TeachingConfig(
    steps=48 * 4, cheetahs=2, events=24, batch=16, epochs=2, units=16, validate_every=2, validation_episodes=2,
    rhythm=HARD, irregular=0.5,
)  # fmt: skip
FEW = Cloning(rounds=2, herd=4, updates=600, batch=64)


@pytest.fixture(autouse=True)
def short_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env_module, "USUAL_CALLS", CALLS)


@pytest.fixture(name="taught", scope="module")
def teacher_of_noise() -> Bundle:
    return make_cheetah(spec=teacher_spec(CheetahLayout("pybullet").width, 8), seed=3)


class Kit:
    """One method: how its runs begin, are kept and go on."""

    def __init__(self, begin: Callable[[], Any], save: Callable[..., None], load: Callable[[Path], Any]) -> None:
        self.begin, self.save, self.load = begin, save, load


@pytest.fixture(name="kit", params=["dagger", "ppo", "teacher"])
def every_method(request: pytest.FixtureRequest, taught: Bundle) -> Kit:
    def teacher() -> CheetahTeacher:
        return CheetahTeacher(taught, "pybullet")

    return {
        "dagger": Kit(
            lambda: CheetahTrainer(DAGGER, teacher()), save_imitation, lambda p: load_imitation(p, DAGGER, teacher())
        ),
        "ppo": Kit(lambda: CheetahPPOTrainer(PPO), save_ppo, lambda p: load_ppo(p, PPO)),
        "teacher": Kit(lambda: TeacherTrainer(TEACHING), save_teaching, lambda p: load_teaching(p, TEACHING)),
    }[request.param]


def weights_of(trainer: Any) -> dict[str, Any]:
    networks = {"best": trainer.best}
    networks |= {name: getattr(trainer, name) for name in ("network", "averaged") if name in vars(trainer)}
    if "model" in vars(trainer):
        networks["policy"] = trainer.model.policy
    return {f"{n}.{k}": v.numpy().copy() for n, net in networks.items() for k, v in net.state_dict().items()}


def followed(trainer: Any, keep: Callable[[], None] = lambda: None, stop_at: int | None = None) -> list[Any]:
    """Rows of a run to its end, or as one that is cut off right after the checkpoint of update stop_at."""

    class CutOff(Exception):
        pass

    rows: list[Any] = []

    def checkpoint() -> None:
        keep()
        if trainer.done == stop_at:
            raise CutOff

    try:
        train(trainer, rows.append, checkpoint)
    except CutOff:
        pass
    return rows


def test_a_run_that_was_cut_off_goes_on_to_the_same_policy(kit: Kit, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    with closing(kit.begin()) as whole:
        wanted = followed(whole)
    with closing(kit.begin()) as first:
        stop_at = first.validate_every
        followed(first, lambda: kit.save(path, first), stop_at)
        assert first.done == stop_at < whole.done
    with closing(kit.load(path)) as second:
        assert second.done == stop_at
        found = followed(second)
    assert second.done == whole.done and second.best_score == whole.best_score and second.stale == whole.stale
    ours, theirs = weights_of(second), weights_of(whole)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        np.testing.assert_array_equal(ours[name], value, err_msg=name)
    for row, other in zip(found, wanted[stop_at:], strict=True):
        np.testing.assert_equal(replace(row, elapsed_s=0.0), replace(other, elapsed_s=0.0))
    begun = weights_of(kit.begin())
    assert any(not np.array_equal(begun[name], value) for name, value in theirs.items())  # it did learn something


def test_a_finished_run_is_a_policy_that_runs_as_it_was_scored(kit: Kit, tmp_path: Path) -> None:
    with closing(kit.begin()) as trainer:
        rows = followed(trainer)
        scored = [row for row in rows if np.isfinite(row.score)]
        best = min(scored, key=lambda row: row.score)
        assert trainer.best_score == best.score
        run = Clone.of(trainer, FEW) if isinstance(trainer, TeacherTrainer) else trainer
        path = export_run(run, tmp_path / "p.safetensors", "p", "unknown", {"host": "test"})
        assert best.score == pytest.approx(-0.5 * (best.return_regular + best.return_irregular))
        rhythm = trainer.config.rhythm
    made = load_bundle(path)
    told = made.metadata["training"]
    assert told["seed"] == 0 and told["host"] == "test" and told["updates"] == trainer.done
    assert told["validation_return"] == pytest.approx(-run.best_score, abs=0.05)
    assert made.metadata["trained_rhythm"] == {
        "frames": [1, 6], "dropped": rhythm.dropped, "delay_frames": [0, 3], "noise": rhythm.noise,
    }  # fmt: skip
    # the numpy network of the file earns in its own environment what torch earned in the herd
    with Herd(2, "pybullet", "full") as herd:
        torched = run_episodes(herd, PolicyNetwork.from_bundle(made), [REGULAR, HARD], 5)
    seeds, numpied = np.random.SeedSequence(5).generate_state(2), []
    for seed, own in zip(seeds, (REGULAR, HARD), strict=True):
        with closing(HalfCheetahEnv(rhythm=own)) as env:
            numpied.append(run_episode(env, Network(made.spec, made.weights), int(seed)).total)
    np.testing.assert_allclose(numpied, torched, rtol=1e-3, atol=1e-2)


def test_a_policy_tells_no_rhythm_that_its_training_did_not_have() -> None:
    told = trained_rhythm(HARD, 0.0, "pybullet")
    assert told == {"frames": [4, 4], "dropped": 0.0, "delay_frames": (0, 0), "noise": 0.0}
    assert trained_rhythm(HARD, 0.5, "mujoco")["frames"] == [1, 6] and trained_rhythm(HARD, 1.0, "pybullet")["noise"]
    assert trained_rhythm(Rhythm(frames=(1, 2)), 0.5, "pybullet")["frames"] == [1, 4]
    assert trained_rhythm(Rhythm(frames=(1, 2)), 1.0, "pybullet")["frames"] == [1, 2]
    assert trained_rhythm(Rhythm(dropped=0.1), 1.0, "mujoco")["frames"] == [5, 5]


@pytest.mark.parametrize("wrong", ["seed", "checkpoint"])
def test_another_configuration_or_a_damaged_file_is_refused(kit: Kit, wrong: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    with closing(kit.begin()) as trainer:
        if hasattr(trainer, "run_round"):
            trainer.run_round()
        kit.save(path, trainer)
    data = path.read_bytes()
    if wrong == "seed":
        path.write_bytes(data.replace(b'\\"seed\\": 0', b'\\"seed\\": 9', 1))
        assert path.read_bytes() != data
        with pytest.raises(TrainingError, match=r"another configuration.*seed"):
            kit.load(path)
    else:
        for end in (0, 7, 100, len(data) // 2, len(data) - 1):
            path.write_bytes(data[:end])
            with pytest.raises(TrainingError, match="not a readable checkpoint"):
                kit.load(path)


@pytest.mark.parametrize("damage", ["gone", "cut", "other"])
def test_rounds_that_are_not_those_recorded_are_refused(damage: str, taught: Bundle, tmp_path: Path) -> None:
    path, teacher = tmp_path / "checkpoint.safetensors", CheetahTeacher(taught, "pybullet")
    with closing(CheetahTrainer(DAGGER, teacher)) as trainer:
        trainer.run_round()
        trainer.run_round()
        save_imitation(path, trainer)
    first, second = sorted((tmp_path / "episodes").iterdir())
    with closing(load_imitation(path, DAGGER, teacher)) as again:
        assert [r.events for r in again.rounds] == [r.events for r in trainer.rounds]
    if damage == "gone":
        second.unlink()
    elif damage == "cut":
        second.write_bytes(second.read_bytes()[:-5])
    else:
        second.write_bytes(first.read_bytes())
    with pytest.raises(TrainingError, match=r"round-001.*start again without --resume"):
        load_imitation(path, DAGGER, teacher)


def test_torch_and_numpy_are_one_policy_over_an_episode(taught: Bundle) -> None:
    for cell in (*LIQUID, *RIVALS):
        net = PolicyNetwork(cheetah_spec(cell, 29), 2)
        ours, h = Network(net.spec, net.weights()), net.initial_state(1)
        with closing(HalfCheetahEnv(rhythm=HARD)) as env:
            seen, info = env.reset(seed=0)
            g, over = ours.initial_state(), False
            while not over:
                with torch.no_grad():
                    wanted, h = net.step(torch.from_numpy(seen[None]), h, torch.tensor([info["dt_s"]]).float())
                action, g = ours.step(seen, g, info["dt_s"])
                np.testing.assert_allclose(action, wanted[0].numpy(), atol=1e-5, err_msg=cell)
                seen, _, _, over, info = env.step(action)


def test_a_run_that_starts_from_a_policy_begins_with_it_and_keeps_nothing_worse(tmp_path: Path) -> None:
    began = make_cheetah(spec=cheetah_spec("decay", 29), seed=4)
    config = usual_config(True, **{name: getattr(PPO, name) for name in ("steps", "cheetahs", "events", "groups",
                          "epochs", "critic_units", "validate_every", "validation_episodes", "rhythm")})  # fmt: skip
    with closing(CheetahPPOTrainer(config, began)) as trainer:
        for network in (trainer.averaged, trainer.best, trainer.model.policy.actor):
            for name, value in network.weights().items():
                np.testing.assert_array_equal(value, began.weights[name])
        first = trainer.validate(trainer.idle())
        followed(trainer)
        assert trainer.best_score <= first.score and trainer.start_sha256 == began.metadata["sha256"]
        path = tmp_path / "checkpoint.safetensors"
        save_ppo(path, trainer)
    for start in (None, began):
        with closing(load_ppo(path, config, start)) as again:
            assert again.start_sha256 == began.metadata["sha256"]
    with pytest.raises(TrainingError, match="began with the policy of sha256"):
        load_ppo(path, config, make_cheetah(spec=cheetah_spec("decay", 29), seed=5))


def other_bundles() -> Iterator[tuple[str, Bundle]]:
    yield "observe: positions there, full here", make_cheetah(observe="positions")
    yield "simulator: mujoco there, pybullet here", make_cheetah("mujoco")
    yield "cell: ", make_cheetah(form="gru", spec=cheetah_spec("gru", 29))
    yield "task: hover there, half-cheetah here", make()


@pytest.mark.parametrize(("told", "bundle"), list(other_bundles()))
def test_a_start_from_what_means_something_else_is_refused(told: str, bundle: Bundle, taught: Bundle) -> None:
    with pytest.raises(ConfigError, match=f"cannot start this run.*{told}"):
        CheetahPPOTrainer(PPO, bundle)
    with pytest.raises(ConfigError, match=f"cannot start this run.*{told}"):
        CheetahTrainer(DAGGER, CheetahTeacher(taught, "pybullet"), bundle)


@pytest.mark.parametrize(
    ("config", "changed"),
    [
        (config, {name: value})
        for config, names in (
            (DAGGER, ("updates", "batch", "episodes", "rounds", "herd", "steps", "validate_every")),
            (PPO, ("steps", "cheetahs", "events", "groups", "epochs", "validate_every", "validation_episodes")),
            (TEACHING, ("steps", "cheetahs", "events", "batch", "epochs", "units", "validate_every")),
        )
        for name, value in (*((name, 0) for name in names), ("seed", -1), ("irregular", 1.5), ("learning_rate", 0.0))
    ],
)
def test_numbers_that_make_no_sense_are_refused(config: Any, changed: dict[str, Any]) -> None:
    (name,) = changed
    with pytest.raises(ConfigError, match=name):
        replace(config, **changed)


@pytest.mark.parametrize("observe", ["full", "positions", "velocities"])
def test_rivals_have_as_many_parameters_and_liquid_cells_nineteen_neurons(observe: str) -> None:
    width = CheetahLayout("pybullet", observe).width
    wanted = parameters(cheetah_spec("decay", width))
    for cell in (*LIQUID, *RIVALS):
        spec = cheetah_spec(cell, width)
        assert abs(parameters(spec) / wanted - 1.0) < 0.05
        assert spec.units == NEURONS or cell not in LIQUID
    wired = cheetah_spec("decay", width, wiring="8-5-6")
    assert wired.wiring is not None and wired.units == NEURONS and parameters(wired) < wanted
    with pytest.raises(ConfigError, match=r"elman.*decay"):
        cheetah_spec("elman", width)


def test_an_episode_that_is_over_waits_for_the_others() -> None:
    with Herd(2, "pybullet", "full") as herd:
        view = herd.reset(0, [Rhythm(frames=(8, 8)), IRREGULAR])
        over = np.zeros(2, np.bool_)
        calls, shown = np.zeros(2, np.int64), view
        while not over.all():
            before, was = shown, over
            shown, over = herd.step(np.zeros((2, 6), np.float32))
            calls += ~was
            if was[0]:
                np.testing.assert_array_equal(shown.sensors[0], before.sensors[0])
        assert calls[0] == CALLS * 4 // 8 and calls[1] > calls[0] and len(herd) == len(shown) == 2
