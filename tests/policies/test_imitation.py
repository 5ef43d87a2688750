"""Laws of imitation: windows are parts of flights, labels are the teacher's, resume equals never stopped."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from liquid_pilot import native
from liquid_pilot.bundle import load_bundle, run_selftest
from liquid_pilot.errors import ConfigError, TrainingError
from policies.imitation.checkpoint import load_checkpoint, round_file, save_checkpoint
from policies.imitation.collect import Collection, record_part, shuffled
from policies.imitation.export import export_policy
from policies.imitation.flying import Mixture
from policies.imitation.teachers import GeometricTeacher, PolicyTeacher
from policies.imitation.trainer import ImitationConfig, ImitationTrainer, Progress
from policies.imitation.windows import cloning_loss, draw_windows
from policies.network import PolicyNetwork, hover_spec
from policies.schedule import train
from tests.policies.imitation_cases import LESSONS, SLOW, TINY, random_flights

compiled = pytest.mark.skipif(not native.available(), reason="needs a C compiler")


def run(trainer: ImitationTrainer, updates: int) -> list[float]:
    return [trainer.update(trainer.done / trainer.updates).loss for _ in range(updates)]


def same_weights(ours: ImitationTrainer, theirs: ImitationTrainer) -> bool:
    pairs = [(ours.network, theirs.network), (ours.averaged, theirs.averaged), (ours.best, theirs.best)]
    return all(torch.equal(value, b.state_dict()[name]) for a, b in pairs for name, value in a.state_dict().items())


def test_a_window_that_is_warmed_up_from_the_start_sees_what_the_whole_flight_shows() -> None:
    flights, network = random_flights(0, (30, 12, 21)), PolicyNetwork(hover_spec("decay"), seed=1)
    wanted = []
    for begin, length in zip(flights.start, flights.length, strict=True):
        rows = slice(int(begin), int(begin + length))
        x, dt_s = torch.from_numpy(flights.observation[rows]), torch.from_numpy(flights.dt_s[rows])
        wanted.append(network(x[None], dt_s[None])[0][0].detach())
    target = replace(flights, action=torch.cat(wanted).numpy())
    windows = draw_windows(target, 64, 40, 8, np.random.default_rng(2))
    assert windows.warm_up == 40
    assert float(cloning_loss(network, windows).detach()) < 1e-12
    shorter = draw_windows(target, 64, 0, 8, np.random.default_rng(2))
    assert float(cloning_loss(network, shorter).detach()) > 1e-6  # a state that was not warmed up


def test_actions_count_as_long_as_they_act_and_not_in_the_hand() -> None:
    flights = random_flights(3, (6, 9))
    windows = draw_windows(flights, 200, 2, 9, np.random.default_rng(4))
    following = np.append(flights.dt_s[1:], 0.0)
    for begin, length in zip(flights.start, flights.length, strict=True):
        following[begin + length - 1] = flights.dt_s[begin + length - 1]  # nobody knows when the next one comes
    acts = {value.tobytes(): 0.0 if held else after for value, after, held in zip(
        flights.observation, following, flights.held, strict=True)}  # fmt: skip
    for x, inside, weight in zip(windows.x[:, 2:], windows.inside[:, 2:], windows.weight, strict=True):
        for k in range(9):
            expected = acts[x[k].numpy().tobytes()] if inside[k] else 0.0
            assert float(weight[k]) == pytest.approx(float(expected))
    assert not windows.inside.all() and windows.inside[:, 2].all()


def test_every_event_of_every_flight_is_drawn() -> None:
    flights = random_flights(5, (7, 30))
    windows = draw_windows(flights, 600, 3, 4, np.random.default_rng(6))
    seen = {row.tobytes() for row in windows.x[windows.inside].numpy()}
    assert seen == {row.tobytes() for row in flights.observation}


@compiled
def test_labels_are_the_teachers_whoever_flies() -> None:
    pilot = PolicyNetwork(hover_spec("gru"), seed=2)
    flown = LESSONS.record(6, GeometricTeacher(), Mixture(), seed=1, keep_state=True)
    again = LESSONS.record(6, GeometricTeacher(), Mixture(pilot, share=1.0), seed=1)
    assert np.array_equal(flown.action, again.action) and np.array_equal(flown.observation, again.observation)
    other = LESSONS.record(6, GeometricTeacher(), Mixture(pilot, share=0.0), seed=1)
    assert not np.array_equal(flown.observation[-1], other.observation[-1])
    noisy = LESSONS.record(6, GeometricTeacher(), Mixture(noise=0.3), seed=1)
    first = slice(0, int(np.argmin(flown.held)) + 1)  # in the hand, and the first event after
    assert np.array_equal(flown.action[first], noisy.action[first])
    assert not np.array_equal(flown.observation[-1], noisy.observation[-1])
    assert flown.state is not None and len(flown.state) == flown.events
    assert (flown.dt_s[flown.start] == 0.0).all() and flown.held[flown.start].all() and not flown.held.all()
    assert flown.dt_s[1] == pytest.approx(1.0 / 26.0, rel=0.5)


@compiled
def test_a_collection_is_the_same_part_by_part_in_both_engines() -> None:
    plan = Collection(flights=5, fleet=3, flight_s=0.3, noise=0.0, curriculum=SLOW, keep_state=True)
    parts = [record_part(plan, number) for number in range(plan.parts)]
    assert [part.flights for part in parts] == [3, 2]
    assert np.array_equal(record_part(plan, 1).observation, parts[1].observation)
    mixed = shuffled(parts, 3)
    assert sorted(mixed.length) == sorted([*parts[0].length, *parts[1].length]) and mixed.events == sum(
        part.events for part in parts
    )
    assert [replace(plan, fleet=None, flights=n).part for n in (5, 64, 5000)] == [1, 4, 32]
    one = record_part(replace(plan, engine="pybullet", flights=2), 1)
    assert one.flights == 1 and one.held[0] and not one.held[-1]
    assert float(one.dt_s.sum()) == pytest.approx(0.8, abs=0.1)  # the hold and the flight


@compiled
@pytest.mark.parametrize("cell", ["decay", "mlp"])
@pytest.mark.parametrize("method", ["bc", "dagger"])
def test_resumed_run_gives_the_weights_of_one_that_was_never_stopped(cell: str, method: str, tmp_path: Path) -> None:
    config = replace(TINY, cell=cell, method=method)
    whole, first = (ImitationTrainer(config, GeometricTeacher()) for _ in range(2))
    run(whole, 6)
    path = tmp_path / "checkpoint.safetensors"
    run(first, 3)
    save_checkpoint(path, first)
    run(first, 2)  # was killed here, after a round that no checkpoint knows
    second = load_checkpoint(path, config, GeometricTeacher())
    run(second, 3)
    assert second.done == 6 and same_weights(whole, second)
    assert len(whole.rounds) == (3 if method == "dagger" else 1)
    assert sum(part.flights for part in whole.rounds) == config.flights


@compiled
def test_rounds_follow_the_share_and_the_teacher_gives_way() -> None:
    trainer = ImitationTrainer(TINY, GeometricTeacher())
    rows = [trainer.update(share) for share in (0.0, 0.3, 0.34, 0.9, 1.0)]
    assert [row.flights for row in rows] == [4, 4, 8, 12, 12]
    assert [row.teacher_share for row in rows] == [1.0, 1.0, 0.5, 0.25, 0.25]


@compiled
def test_gradient_reaches_every_weight_and_the_error_falls() -> None:
    trainer = ImitationTrainer(replace(TINY, updates=60, method="bc", cell="default"), GeometricTeacher())
    before = [p.detach().clone() for p in trainer.network.parameters()]
    loss = run(trainer, 60)
    assert sum(loss[-10:]) < 0.7 * sum(loss[:10])
    for old, new in zip(before, trainer.network.parameters(), strict=True):
        assert torch.isfinite(new).all() and not torch.equal(old, new)


@compiled
def test_threads_do_not_change_the_weights() -> None:
    alone, together = (ImitationTrainer(TINY, GeometricTeacher(), threads=n) for n in (1, 2))
    assert run(alone, 4) == run(together, 4) and same_weights(alone, together)


@compiled
def test_exported_policy_proves_itself_and_says_who_taught(tmp_path: Path) -> None:
    teacher = PolicyTeacher(load_bundle("hover"))
    config = replace(TINY, updates=2, expert="hover", expert_sha256=teacher.sha256)
    rows: list[Progress] = []
    trainer = ImitationTrainer(config, teacher, start=load_bundle("hover"))
    train(trainer, rows.append, lambda: None)
    assert [row.update for row in rows] == [1, 2, 2] and not math.isnan(rows[-1].score)
    bundle = load_bundle(export_policy(trainer, tmp_path / "p.safetensors", "taught", "unknown"))
    assert run_selftest(bundle) < 1e-5
    training = bundle.metadata["training"]
    assert training["config"]["expert_sha256"] == training["start_sha256"] == teacher.sha256
    assert training["flights"] == 8  # of the two rounds that two updates are long enough for


@compiled
def test_recorded_flights_stand_for_the_first_round() -> None:
    recorded = random_flights(7, (20, 30))
    trainer = ImitationTrainer(replace(TINY, method="bc"), GeometricTeacher(), recorded)
    assert trainer.update(0.0).events == 50 and len(trainer.rounds) == 1


@compiled
def test_what_cannot_be_resumed_is_refused(tmp_path: Path) -> None:
    path, teacher = tmp_path / "c.safetensors", GeometricTeacher()
    trainer = ImitationTrainer(TINY, teacher)
    run(trainer, 1)
    save_checkpoint(path, trainer)
    with pytest.raises(TrainingError, match="share_decay"):
        load_checkpoint(path, replace(TINY, share_decay=0.1), teacher)
    with pytest.raises(TrainingError, match="fresh weights"):
        load_checkpoint(path, TINY, teacher, load_bundle("hover"))
    whole = round_file(tmp_path, 0).read_bytes()
    round_file(tmp_path, 0).write_bytes(whole[:-5])
    with pytest.raises(TrainingError, match="not a whole file"):
        load_checkpoint(path, TINY, teacher)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(TrainingError, match="without --resume"):
        load_checkpoint(path, TINY, teacher)


@compiled
def test_a_start_of_another_kind_is_refused() -> None:
    for config in (replace(TINY, cell="gru"), replace(TINY, time_unit_s=0.03), replace(TINY, airframe="racer")):
        with pytest.raises(ConfigError, match="cannot start this run"):
            ImitationTrainer(config, GeometricTeacher(), start=load_bundle("hover"))


@pytest.mark.parametrize(
    "bad",
    [
        {"method": "gail"},
        {"updates": 0},
        {"seed": -1},
        {"warm_up": -1},
        {"learning_rate": math.nan},
        {"share_decay": 1.5},
        {"noise": -0.1},
        {"rounds_share": 0.0},
        {"flight_s": math.inf},
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused(bad: dict[str, Any]) -> None:
    name = next(iter(bad))
    with pytest.raises(ConfigError, match=name):
        replace(TINY, **bad)
    assert ImitationConfig().all_rounds == 12 and replace(TINY, method="bc").all_rounds == 1


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(TrainingError, match="hover"):
        ImitationTrainer(replace(TINY, task="land"), GeometricTeacher())
