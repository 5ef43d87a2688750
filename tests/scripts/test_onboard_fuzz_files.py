"""A short form of the fuzzing of flight logs and policy files."""

from __future__ import annotations

import numpy as np
import pytest

from liquid_pilot.command import DEFAULT_LIMITS
from liquid_pilot.messages import Command
from scripts.benchmarks import onboard_fuzz_files
from scripts.benchmarks.onboard_fuzz_files import fuzz_bundles, fuzz_logs, fuzz_msp, mutated, mutated_json


def test_mutated_logs() -> None:
    tally = fuzz_logs(150, seed=0)
    assert not tally.crashes and tally.tried == 150 == tally.accepted + sum(tally.refused.values())
    assert tally.accepted > 10 and tally.commands > 200 and sum(tally.refused.values()) > 30


def test_mutated_bundles() -> None:
    tally = fuzz_bundles(120, seed=0)
    assert not tally.crashes and tally.tried == 120 == tally.accepted + sum(tally.refused.values())
    assert sum(tally.refused.values()) > 80 and tally.commands == 20 * tally.accepted > 0


def test_mutated_msp() -> None:
    tally = fuzz_msp(300, seed=0)
    assert not tally.crashes and tally.tried >= 30_000 and tally.accepted > 500 < tally.refused["skipped bytes"]


def test_the_fuzzer_sees_what_it_looks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(onboard_fuzz_files, "read_log", broken)
    monkeypatch.setattr(onboard_fuzz_files, "log_mutants", lambda folder, rng: iter([folder / "a"] * 5))
    tally = fuzz_logs(4, seed=0)
    assert len(tally.crashes) == 4 and "KeyError" in tally.crashes[0]
    for wild in (Command(0.0, 99.0, (0.0, 0.0, 0.0)), Command(0.0, 9.8, (float("nan"), 0.0, 0.0))):
        with pytest.raises(AssertionError, match="wild"):
            onboard_fuzz_files._judge([wild], DEFAULT_LIMITS)


def test_mutations_change_something_and_come_again() -> None:
    data = bytes(range(256)) * 4
    first, again = ([mutated(data, rng) for _ in range(50)] for rng in map(np.random.default_rng, ([4], [4])))
    assert first == again and sum(one != data for one in first) >= 45
    tree = {"a": [1.0, {"b": 2.0}], "c": "text"}
    rng = np.random.default_rng([5])
    assert sum(repr(mutated_json(tree, rng)) != repr(tree) for _ in range(50)) >= 40
