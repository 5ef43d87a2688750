"""What the prediction benchmark says about claims: by its numbers alone, and never chosen by the test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liquid_pilot.errors import ConfigError
from policies.prediction import known
from policies.prediction.known import KNOWN, check_known, digest
from policies.prediction.traces import load_traces
from scripts.benchmarks.sequence_claims import best_liquid, claims
from tests.policies.test_prediction import linear_traces, write


def figure(mean: float) -> dict[str, float]:
    return {"mean": mean, "sd": 0.01}


def row(model: str, liquid: bool, valid: float, clean: float, noise: float, rise: float) -> dict[str, Any]:
    found = {"model": model, "title": model, "liquid": liquid, "valid": valid, "clean": figure(clean)}
    return found | {
        "noise": {"0.2": figure(noise)},
        "rise": {"0.3": figure(rise)},
        "rise_withheld": {"0.3": figure(0.5)},
    }


def table(*rows: dict[str, Any]) -> dict[str, Any]:
    trivial = [{"title": "zero", "clean": 17.0}, {"title": "map", "clean": 2.4}]
    return {"paper": True, "large": list(rows), "trivial": trivial, "augmented": {}, "data_amount": {}}


LSTM = row("lstm", False, 2.0, 2.5, 4.0, 0.20)


def test_a_claim_holds_by_its_number_and_only_by_it() -> None:
    good = claims(table(row("decay", True, 3.0, 2.19, 2.9, 0.10), LSTM))
    bad = claims(table(row("decay", True, 3.0, 2.21, 3.1, 0.30), LSTM))
    assert len(good) == len(bad) == 4
    assert all("**holds**" in line for line in good[1:])
    assert all("**does not hold**" in line for line in bad[1:])
    assert "27.5% less" in good[2] and "2.400" in good[1] and "place 2 of 2" in bad[3]


def test_the_liquid_model_is_chosen_by_validation_and_hybrids_do_not_stand_in_for_it() -> None:
    first, second = row("decay", True, 3.0, 2.9, 4.0, 0.3), row("ltc", True, 3.1, 2.0, 2.0, 0.1)
    hybrid = row("mixed", True, 1.0, 2.1, 3.0, 0.2)
    judged = table(first, second, hybrid, LSTM)
    chosen = best_liquid(judged)
    assert chosen is not None and chosen["model"] == "decay"
    assert "Better by mixed" in claims(judged)[-1] and "**holds**" in claims(judged)[-1]


def test_without_a_liquid_model_or_the_lstm_nothing_is_claimed() -> None:
    assert claims(table(LSTM)) == [] == claims(table(row("decay", True, 3.0, 2.0, 2.0, 0.1)))


def test_the_known_answers_are_asked_of_the_published_traces_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    traces = load_traces(write(tmp_path / "t.npz", linear_traces()))
    right = {name: value for name, (value, _) in KNOWN.items()}
    wrong = right | {"persistence": 63.0}
    assert not check_known(traces, wrong)
    monkeypatch.setattr(known, "PAPER_SHA256", digest(traces))
    assert check_known(traces, right)
    with pytest.raises(ConfigError, match=r"persistence 63 instead of 62\.87"):
        check_known(traces, wrong)
    traces.test[0][0, 0] = np.nextafter(traces.test[0][0, 0], np.float32(9.0))
    assert not check_known(traces, wrong)
