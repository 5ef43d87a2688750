"""Laws of the choice of an engine: torch serves where no compiler works; an engine asked for by name must."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from liquid_pilot import native
from liquid_pilot.errors import LiquidPilotError, SimulationError
from policies.analytic import AnalyticTrainer, TrainConfig
from scripts import evaluate
from scripts.console import on_backend
from tests.scripts.synthetic import write_random_policy

SMALL = TrainConfig(cell="mlp", batch=4)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIQUID_PILOT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(name="broken")
def broken_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "broken-cc"
    path.write_text('#!/bin/sh\necho "rollout.c:7: error: this compiler is broken" >&2\nexit 1\n')
    path.chmod(0o755)
    monkeypatch.setenv("CC", str(path))
    return path


def begin(backend: str) -> str:
    return AnalyticTrainer(SMALL, backend).backend.name


@pytest.mark.usefixtures("broken")
def test_a_compiler_that_fails_is_quoted_and_torch_trains() -> None:
    console = Console(record=True, width=200, quiet=False)
    assert on_backend("auto", console, begin) == "torch"
    told = console.export_text()
    assert "the torch engine serves" in told and "this compiler is broken" in told
    with pytest.raises(native.NativeBuildError, match="this compiler is broken"):
        on_backend("compiled", console, begin)


@pytest.mark.usefixtures("broken")
def test_a_compiler_that_fails_does_not_stop_an_evaluation(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    policy = str(write_random_policy(tmp_path / "policy.safetensors"))
    words = [policy, "--engine", "batched", "--flights", "2", "--seconds", "1", "--workers", "1"]
    assert evaluate.main(words) == 0
    assert evaluate.main([*words, "--backend", "compiled"]) == 2
    assert evaluate.main([*words, "--backend", "torch"]) == 0


def test_without_a_compiler_torch_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", str(tmp_path / "nothing"))
    console = Console(record=True, width=200)
    assert on_backend("auto", console, begin) == "torch"
    assert "no C compiler found" in console.export_text()
    with pytest.raises(native.NativeUnavailable, match="install one"):
        on_backend("compiled", console, begin)


def test_other_errors_are_not_taken_for_a_failed_compiler() -> None:
    def diverge(backend: str) -> str:
        raise SimulationError("not finite")

    with pytest.raises(LiquidPilotError, match="not finite"):
        on_backend("torch", Console(quiet=True), diverge)
