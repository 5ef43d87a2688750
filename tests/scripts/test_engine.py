"""Laws of the engine benchmark: a wrong engine would fail it, and it says what it cannot measure."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liquid_pilot import native
from liquid_pilot.bundle import Bundle, load_bundle
from liquid_pilot.errors import SimulationError
from policies.cost import flight_cost
from policies.network import PolicyNetwork, hover_spec
from scripts.benchmarks import agreement, simulators
from scripts.benchmarks.agreement import Case, compare
from scripts.benchmarks.engine import Figure, long_rollout, present, rate_text
from scripts.benchmarks.throughput import physics_per_s
from scripts.benchmarks.timing import per_second
from tests.scripts.synthetic import write_random_policy

needs_compiler = pytest.mark.skipif(not native.available(), reason="needs a C compiler")


@pytest.fixture(name="bundle")
def random_bundle(tmp_path: Path) -> Bundle:
    bundle, spec = load_bundle(str(write_random_policy(tmp_path / "policy.safetensors"))), hover_spec("decay")
    return replace(bundle, spec=spec, weights=PolicyNetwork(spec).weights())  # of this size much is compiled already


@needs_compiler
def test_engines_agree_and_a_wrong_one_would_show(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    found = compare(bundle, "float64", 14, 5)
    assert found.gradient < 1e-10 and found.loss < 1e-10 and found.left_out == 0 and found.floor == 0.0
    rounded = compare(bundle, "float32", 14, 5)
    assert rounded.left_out == 0 and rounded.gradient == rounded.gradient_of_all < 1e-4 and 0.0 < rounded.floor < 1e-4
    monkeypatch.setattr(agreement, "flight_cost", lambda *given: 1.001 * flight_cost(*given))
    assert compare(bundle, "float64", 14, 5).gradient > 1e-4


@needs_compiler
@pytest.mark.parametrize("engine", ["torch", "compiled"])
def test_a_drone_that_went_another_way_is_left_out_on_both_sides(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    watched, compiled = agreement.watched, Case.compiled

    def in_torch(case: Case, real: Any) -> Any:
        flight, gradient, ways = watched(case, real)
        return flight, gradient, ways ^ ((real == np.float64) & (np.arange(5) == 2))

    def in_compiled(case: Case, real: Any, watch_branches: bool = False, counted: Any = None) -> Any:
        found = compiled(case, real, watch_branches, counted)
        if found.branches is not None and real == np.float64:
            found.branches[2] += 1
        return found

    if engine == "torch":
        monkeypatch.setattr(agreement, "watched", in_torch)
    else:
        monkeypatch.setattr(Case, "compiled", in_compiled)
    found = compare(bundle, "float32", 14, 5)
    assert found.left_out == 1 and found.aloft == 4
    assert found.gradient < 1e-4 and found.gradient_of_all < 1e-4 and found.gradient != found.gradient_of_all


@needs_compiler
def test_a_comparison_of_no_drones_is_refused(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = agreement.watched
    monkeypatch.setattr(
        agreement, "watched", lambda case, real: (*(found := watched(case, real))[:2], found[2] ^ (real == np.float64))
    )
    with pytest.raises(SimulationError, match="all 3 drones"):
        compare(bundle, "float32", 12, 3)


@needs_compiler
def test_memory_is_that_of_one_drone_group_and_grows_with_time(bundle: Bundle) -> None:
    few, many = long_rollout(bundle, 16, 50), long_rollout(bundle, 64, 50)
    assert few.workspace_bytes == many.workspace_bytes
    longer = long_rollout(bundle, 16, 100)
    assert 1.5 * few.workspace_bytes < longer.workspace_bytes < 2.5 * few.workspace_bytes


@needs_compiler
def test_physics_alone_stays_within_the_finite_numbers(bundle: Bundle) -> None:
    assert physics_per_s(bundle, 0.0, 2000) > 0.0  # it raises where it does not


def test_rates_count_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(float(second) for second in range(100))
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    # Asked every second on this clock: three works of 7 in the four seconds until the end is read.
    assert per_second(lambda: None, 7, 3.0) == pytest.approx(3 * 7 / 4)
    assert [rate_text(rate) for rate in (5.0, 7924.0, 1.2656e6)] == ["5 /s", "7.92 k/s", "1.27 M/s"]


def test_missing_rivals_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ways = {"crazyflow": "pip install 'liquid-pilot[rivals]'", "l2f": "pip install l2f"}
    assert simulators.measure(0.1) == [(name, "not installed", way) for name, way in ways.items()]

    def broken(name: str) -> Any:
        raise RuntimeError("no such\nversion")

    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("importlib.import_module", broken)
    assert [row[2] for row in simulators.measure(0.1)] == ["RuntimeError: no such version"] * 2


@needs_compiler
def test_figures_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rival = Figure("l2f", "not installed", note="pip install 'some[extra]'")
    path = present([Figure("compile, cold", "3 s", "<= 5 s"), rival], tmp_path)
    assert "some[extra]" in capsys.readouterr().out
    found = json.loads(path.read_text())
    assert [figure["what"] for figure in found["figures"]] == ["compile, cold", "l2f"]
    assert found["processor"]["lane_bytes"] in (16, 32, 64)
