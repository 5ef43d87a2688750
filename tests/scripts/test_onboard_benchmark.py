"""The onboard benchmark: its figures are those of the code it measures, and what cannot be is refused."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from liquid_pilot.bundle import load_bundle
from scripts import benchmark
from scripts.benchmarks import onboard, onboard_m7, onboard_small, onboard_steps
from scripts.benchmarks.onboard_fuzz import Fuzzed
from scripts.benchmarks.onboard_models import count, random_bundle, raptor, transformer
from scripts.benchmarks.onboard_parity import differences
from scripts.cortex_m7 import emulate
from tests.export.compiling import needs_compiler


def test_counts_are_those_of_hand() -> None:
    hover = load_bundle("hover")
    found = count(hover)
    assert found.products == 40 * 32 + 32 * 38 + 19 * 4
    assert (found.parameters, found.state) == (2646, 19)
    gru = count(random_bundle("gru", 64, hover))
    assert gru.products == 3 * 64 * (21 + 64) + 64 * 4
    assert count(random_bundle("lstm", 64, hover)).state == 128
    assert raptor().parameters == 2084  # as published
    name, small = transformer(hover.parameters)
    assert "events" in name and abs(small.parameters / hover.parameters - 1.0) < 0.15
    assert small.products > 3 * found.products


@pytest.mark.parametrize("policy", ["avoid", "track-position"])
def test_a_rival_of_any_policy_has_the_sensors_of_hover(policy: str) -> None:
    rival = random_bundle("gru", 64, load_bundle(policy))
    assert set(rival.metadata["trained_rates_hz"]) == {"imu", "flow", "range"} and not rival.sees
    assert count(rival).products == 3 * 64 * (21 + 64) + 64 * 4


def test_small_forms_of_a_policy_that_sees_leave_int8_out() -> None:
    assert {name: form.int8 for name, form in onboard_m7.small_forms(load_bundle("avoid")).items()} == {"Q15": False}
    assert all(form.int8 for form in onboard_m7.small_forms(load_bundle("hover")).values())


@pytest.mark.skipif(bool(emulate.missing_tools()), reason=f"not installed: {emulate.INSTALL}")
def test_the_m7_section_tells_of_grids(tmp_path: Path) -> None:
    path = onboard.run(onboard.Plan("avoid", tmp_path, quick=True), ["m7"])
    found = json.loads(path.read_text())["m7"]
    grid = found["measured"]["avoid"]["grid"]
    assert grid["instructions"] > 0.0 and 0.0 < grid["difference"] <= 1e-5
    assert found["measured"]["gru64"]["grid"] is None
    least, most = found["shares"]["at_216_mhz"]
    assert 0.0 < least < most < 1.0


@needs_compiler
def test_every_runtime_gives_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    found = differences(load_bundle("hover"))
    assert len(found) >= 6
    assert all(value is None or 0.0 < value <= 1e-5 for value in found.values())
    assert (found["C on a Cortex-M7 (actions)"] is None) == bool(emulate.missing_tools())


@needs_compiler
def test_works_are_timed_in_turn_beside_the_first() -> None:
    bundle, called = load_bundle("hover"), list[str]()
    works = {"first": onboard_steps.inside_c(bundle), "second": lambda steps: called.append(str(steps))}
    found = onboard_steps.timed(works, rounds=3, round_s=1e-4)
    assert found["first"].ratio == 1.0 and found["first"].least_us > 0.0
    assert len(called) == 2 + 3
    assert onboard_steps.works(bundle).keys() >= {"C", "C through ctypes", "numpy", "torch eager", "ONNX runtime"}


def test_small_numbers_cost_what_they_are() -> None:
    bundle = load_bundle("hover")
    off = {name: onboard_small.open_loop(bundle, storage) for name, storage in onboard_small.STORAGES.items()}
    assert off["float"]["action_largest"] == 0.0
    assert 1e-4 < off["int8"]["action_rms"] < 0.05


def test_sections_are_chosen_by_name_and_figures_of_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert onboard.chosen(()) == list(onboard.SECTIONS)
    assert onboard.chosen(("parity", "steps")) == ["steps", "parity"]
    monkeypatch.setattr(onboard_small, "run", lambda plan: {"figures": plan.flights})
    monkeypatch.setattr(onboard_steps, "run", lambda plan: {"figures": 7})
    plan = onboard.Plan("hover", tmp_path, flights=3)
    onboard.run(plan, ["steps"])
    path = onboard.run(plan, ["small"])
    found = json.loads(path.read_text())
    assert found["steps"]["figures"] == 7 and found["small"] == {"policy": "hover", "figures": 3}
    assert set(found["machine"]) == {"processor", "cores", "python"}
    path.write_text("[damaged")
    assert set(json.loads(onboard.run(plan, ["steps"]).read_text())) == {"machine", "steps"}


def test_figures_with_counters_are_plain_data() -> None:
    found = onboard.figures(Fuzzed(bytes=3, counters=Counter({"bad_checksum": 2}), states=Counter({"ACTIVE": 1})))
    assert json.loads(json.dumps(found))["counters"] == {"bad_checksum": 2} and found["bytes"] == 3


@pytest.mark.parametrize("options", [["everything"], ["steps", "--flights", "0"], ["parity", "--policy", "nobody"]])
def test_what_cannot_be_measured_is_refused(options: list[str], tmp_path: Path) -> None:
    assert benchmark.main(["onboard", *options, "--out", str(tmp_path)]) == 2
    assert list(tmp_path.iterdir()) == []
