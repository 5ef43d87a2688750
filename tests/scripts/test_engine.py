"""Laws of the engine benchmark: a wrong engine would fail it, and it says what it cannot measure."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from liquid_pilot import native
from liquid_pilot.bundle import Bundle, load_bundle
from policies.cost import hover_cost
from scripts.benchmarks import agreement, engine, rivals, throughput
from scripts.benchmarks.agreement import compare
from scripts.benchmarks.engine import Figure, long_rollout, present, rate_text
from scripts.benchmarks.throughput import per_second, physics_per_s
from tests.scripts.synthetic import write_random_policy

needs_compiler = pytest.mark.skipif(not native.available(), reason="needs a C compiler")


@pytest.fixture(name="bundle")
def random_bundle(tmp_path: Path) -> Bundle:
    return load_bundle(str(write_random_policy(tmp_path / "policy.safetensors")))


@needs_compiler
def test_engines_agree_and_a_wrong_one_would_show(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    found = compare(bundle, "float64", 20, 5)
    assert found.gradient < 1e-10 and found.loss < 1e-10 and found.torch_s > found.compiled_s
    assert compare(bundle, "float32", 20, 5).gradient < 1e-4
    monkeypatch.setattr(agreement, "hover_cost", lambda *given: 1.001 * hover_cost(*given))
    assert compare(bundle, "float64", 20, 5).gradient > 1e-4


@needs_compiler
def test_memory_is_that_of_one_drone_group_and_grows_with_time(bundle: Bundle) -> None:
    few, many = long_rollout(bundle, 16, 50), long_rollout(bundle, 64, 50)
    assert few.workspace_bytes == many.workspace_bytes
    longer = long_rollout(bundle, 16, 100)
    assert 1.5 * few.workspace_bytes < longer.workspace_bytes < 2.5 * few.workspace_bytes


@needs_compiler
def test_physics_alone_is_faster_than_with_everything(bundle: Bundle) -> None:
    alone = physics_per_s(bundle, 0.05, 2000)
    assert alone > 2.0 * throughput.compiled_steps_per_s(bundle, 64, 20, False, 0.05)


def test_rates_count_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(float(second) for second in range(100))
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    # Asked every second on this clock: three works of 7 in the four seconds until the end is read.
    assert per_second(lambda: None, 7, 3.0) == pytest.approx(3 * 7 / 4)
    assert [rate_text(rate) for rate in (5.0, 7924.0, 1.2656e6)] == ["5 /s", "7.92 k/s", "1.27 M/s"]


def test_missing_rivals_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert rivals.measure(0.1) == [(n, "not installed", f"pip install {n}") for n in ("crazyflow", "l2f")]

    def broken(name: str) -> Any:
        raise RuntimeError("no such\nversion")

    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("importlib.import_module", broken)
    assert [row[2] for row in rivals.measure(0.1)] == ["RuntimeError: no such version"] * 2


@needs_compiler
def test_figures_are_written(tmp_path: Path) -> None:
    path = present([Figure("compile, cold", "3 s", "<= 5 s"), Figure("l2f", "not installed", note="how")], tmp_path)
    found = json.loads(path.read_text())
    assert [figure["what"] for figure in found["figures"]] == ["compile, cold", "l2f"]
    assert found["processor"]["lane_bytes"] in (16, 32, 64)


def test_goals_are_those_of_the_project() -> None:
    assert [(case[0], case[1], case[3], case[4]) for case in engine.AGREEMENTS] == [
        ("float64", 40, 1e-8, 1e-9),
        ("float64", 200, 1e-6, 1e-9),
        ("float32", 40, 1e-5, 1e-5),
        ("float32", 200, 1e-3, 1e-5),
    ]
