"""Laws of the shift table: worlds say in what they go beyond the training, verdicts follow figures, nothing twice."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liquid_pilot import native
from liquid_pilot.cells import parameters
from liquid_pilot.errors import BundleError
from policies import export
from policies.curriculum import lesson
from policies.network import hover_spec
from scripts import benchmark
from scripts.benchmarks import contest, shift, shift_page
from scripts.benchmarks.contest import TRAININGS, TUNING_SEED, Recipe, trained
from scripts.benchmarks.shift_arms import ABLATION, RACE, TWO_RATES, Arm
from scripts.benchmarks.shift_claims import better, claims, compare, growth, loss_points, losses
from scripts.benchmarks.shift_worlds import USUAL, WORLDS
from scripts.benchmarks.table import summary
from scripts.flying import FlightPool
from scripts.workers.options import Workers

needs_compiler = pytest.mark.skipif(not native.available(), reason="needs a C compiler")
TINY = Recipe(updates=1, batch=4, backend="compiled")
BY_LABEL = {world.label: world for world in WORLDS}


def test_worlds_are_valid_and_say_what_training_never_drew() -> None:
    assert len(BY_LABEL) == len(WORLDS) and WORLDS[0].label == USUAL
    wide, narrow = TRAININGS["wide"], TRAININGS["narrow"]
    assert not WORLDS[0].beyond(wide) and not WORLDS[0].beyond(narrow)
    shifted = {world.label: world.beyond(wide) for world in WORLDS if world.beyond(wide)}
    assert shifted["drones within 40 %"] == ["airframe_spread"] and shifted["wind 3 m/s"] == ["wind_m_s"]
    assert shifted["another airframe (racer)"] == ["airframe"] and shifted["60 % of flow lost"] == ["flow_dropout"]
    assert not {"IMU 400 Hz", "IMU mixed", "30 % of flow lost"} & set(shifted)
    assert BY_LABEL["IMU 400 Hz"].beyond(narrow) == ["imu_hz"] and not BY_LABEL["IMU 50 Hz"].beyond(narrow)
    assert "imu_mixed" in BY_LABEL["IMU mixed"].beyond(narrow)
    assert all(world.conditions.imu_hz[0] >= 25.0 for world in WORLDS)


def test_models_have_equal_parameters_and_an_arm_differs_in_one_part() -> None:
    counts = [parameters(hover_spec(arm.model.cell)) for arm in RACE]
    assert max(counts) <= 1.05 * min(counts)
    assert {len(set(arm.model.trials)) for arm in (*RACE, *ABLATION)} == {6}
    names = {arm.model.name for arm in (*RACE, *ABLATION)}
    assert len(names) == len(RACE) + len(ABLATION)
    assert {arm.against for arm in ABLATION} - {""} <= names
    recipe = Recipe(updates=10, batch=4, backend="compiled", trial_updates=3)
    for seed, updates in ((TUNING_SEED, 3), (0, 10)):  # trials are shorter, of whatever model
        assert {recipe.run(arm.model, "wide", (1e-3, 0.015), seed).config.updates for arm in RACE} == {updates}
    one, two = (hover_spec(arm.model.cell, wiring=arm.model.wiring) for arm in ABLATION[1:3])
    assert one == two  # the same synapses, told apart by their rates alone


def test_every_run_travels_to_workers_with_its_variant() -> None:
    for arm in (*RACE, *ABLATION):
        run = TINY.run(arm.model, "wide", (5e-3, 0.015), 0)
        assert run.variant is arm.model.variant and pickle.loads(ForkingPickler.dumps(run)) == run


def test_without_a_curriculum_the_first_lesson_is_the_last() -> None:
    first, last = (lesson(TRAININGS["sudden"], share, np.random.default_rng(0)) for share in (0.0, 1.0))
    assert first == last == lesson(TRAININGS["wide"], 1.0, np.random.default_rng(0))
    assert lesson(TRAININGS["wide"], 0.0, np.random.default_rng(0)).horizon_s < first.horizon_s


def row(model: str, usual: Sequence[float], shifted: Sequence[float], **more: Any) -> dict[str, Any]:
    """A row of errors in m/s, of each seed, at home and in one world beyond the training; everybody stays up."""
    cells = []
    for world, errors in ((WORLDS[0], usual), (BY_LABEL["wind 3 m/s"], shifted)):
        seeds = [{"success_rate": 1.0, "speed_error_median_m_s": error} for error in errors]
        told = {"world": world.label, "group": world.group, "beyond": world.beyond(TRAININGS["wide"])}
        cells.append(told | {"seeds": seeds} | summary(seeds))
    return {"model": model, "cells": cells, "against": "", "race": True} | more


def test_a_claim_holds_where_the_figures_are_told_apart() -> None:
    assert compare([1.0, 1.1], [2.0, 2.1]) == -1 and compare([2.0, 2.1], [1.0, 1.1]) == 1
    assert compare([1.0, 2.0], [1.2, 2.1]) == 0 and compare([1.0], [9.0]) == 0
    assert [better(signs) for signs in ([-1, 0], [0, 0], [1, 0], [-1, 1])] == ["better", "alike", "worse", "mixed"]
    home = (0.10, 0.11, 0.12)
    calm, shaken = row("decay", home, (0.11, 0.12, 0.13)), [row(n, home, (0.2, 0.22, 0.24)) for n in ("LSTM", "GRU")]
    assert growth(calm, calm["cells"][1:]) == pytest.approx([1.1, 0.12 / 0.11, 0.13 / 0.12])
    assert loss_points(calm, calm["cells"][1:]) == [0.0] * 3
    robust, level = claims({"rows": [calm, *shaken]})
    assert "**holds**" in robust and "better than LSTM" in level
    assert losses(calm)["wind"] == ("0.0 ± 0.0", "x1.09 ± 0.01") and set(losses(calm)) == {"wind", "all beyond"}
    rival = row("GRU", home, (0.11, 0.12, 0.13))
    assert "**does not hold**" in claims({"rows": [calm, shaken[0], rival]})[0]
    fallen = row("decay", (0.1, None, None), (0.1, None, None))  # type: ignore[arg-type]
    assert "does not fly in the usual world" in claims({"rows": [fallen, *shaken]})[0]
    assert losses(fallen)["wind"] == ("-", "-")
    low = row("LSTM", (0.1, None, None), (0.1, None, None))  # type: ignore[arg-type]
    assert claims({"rows": [calm, low, rival]})[0].count("but it keeps no more than") == 1
    for shifted, verdict in (((0.2, 0.3, 0.25), "**holds**"), ((0.11, 0.12, 0.13), "**does not hold** (alike)")):
        without = row("decay, no curriculum", home, shifted, against="decay", part="the curriculum", without=True)
        assert f"with the curriculum: {verdict}" in claims({"rows": [calm, without]})[-1]


@needs_compiler
def test_a_finished_table_is_read_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contest, "_MORE_RATES", (5e-3,))
    monkeypatch.setattr(export, "SELFTEST_STEPS", 8)  # for speed
    worlds = (WORLDS[0], BY_LABEL["poor texture"])
    plan = shift.Plan(tmp_path, TINY, seeds=1, flights=8, arms=RACE[-1:], worlds=worlds)
    first = shift.run(plan, Workers(1))
    assert [cell["world"] for cell in first["rows"][0]["cells"]] == [world.label for world in worlds]
    assert [len(cell["seeds"]) for cell in first["rows"][0]["cells"]] == [1, 1]

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("made again")

    monkeypatch.setattr(contest, "train", never)
    monkeypatch.setattr(shift, "fly_and_score", never)
    assert shift.run(plan, Workers(1)) == first
    files = shift_page.present(first, tmp_path, tmp_path / "page.md")
    assert all(file.stat().st_size > 0 for file in files)
    text = files[1].read_text(encoding="utf-8")
    assert text.count("| nothing shifted * |") == 1 and "| poor texture |" in text
    assert text in files[3].read_text(encoding="utf-8") and "(page.png)" in files[3].read_text(encoding="utf-8")
    told = (
        "python -m scripts.benchmark shift --seeds 1 --updates 1 --trial-updates 1 --batch 4 --flights 8 --no-ablation"
    )
    assert f"`{told} --page {tmp_path / 'page.md'}`" in files[3].read_text(encoding="utf-8")


@needs_compiler
def test_slow_neurons_are_trained_and_scored_without_a_policy_file(tmp_path: Path) -> None:
    wanted = TINY.run(TWO_RATES, "wide", (5e-3, 0.015), 0)
    (found,) = trained(tmp_path, [wanted], "compiled", FlightPool(1))
    assert found.policy.name == "weights.safetensors" and "two-rates" in found.policy.parent.name
    spec, weights = shift.network_of(Arm(TWO_RATES), found)
    assert str(spec.wiring).startswith("9-6-4") and parameters(spec) < sum(value.size for value in weights.values())


@needs_compiler
def test_a_policy_whose_self_test_fails_is_flown_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise BundleError("the self-test differs")

    monkeypatch.setattr(contest, "export_policy", refuse)
    monkeypatch.setattr(contest, "train", lambda *_: None)
    arm = RACE[-1]
    wanted = TINY.run(arm.model, "wide", (5e-3, 0.015), 0)
    (found,) = trained(tmp_path, [wanted], "compiled", FlightPool(1))
    assert not found.bundled and "self-test differs" in found.trouble
    assert trained(tmp_path, [wanted], "compiled", FlightPool(1)) == [found]  # read, not made again
    spec, weights = shift.network_of(arm, found)
    assert spec.form == arm.model.cell and weights


def test_the_command_teaches_and_refuses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        benchmark.main(["shift", "--help"])
    assert "worlds shift the airframe" in capsys.readouterr().out
    if native.available():
        assert benchmark.main(["shift", "--training", "narrow", "--out", str(tmp_path)]) != 0
        assert "--no-ablation" in capsys.readouterr().err
