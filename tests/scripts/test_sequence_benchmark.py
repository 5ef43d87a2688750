"""The prediction benchmark at a tiny size: tables, resuming, bad options."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from liquid_pilot.errors import ConfigError
from scripts.benchmark import main
from scripts.benchmarks import sequence, sequence_page
from scripts.workers.options import Workers
from tests.policies.test_prediction import linear_traces, write

MODELS = ("decay", "lstm", "mlp")


def tiny(folder: Path, data: Path) -> sequence.Plan:
    return sequence.Plan(folder, data, MODELS, (0.0, 0.2), (0.0, 0.3), (0.5,), seeds=2, epochs=2, parameters=300)


def test_a_table_is_made_once_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write(tmp_path / "traces.npz", linear_traces())
    first = sequence.run(tiny(tmp_path / "out", data), Workers(1))
    for file in sequence_page.present(first, tmp_path / "out"):
        assert file.stat().st_size > 0
    assert [row["model"] for row in first["large"]] == list(MODELS)
    assert {row["title"] for row in first["trivial"]} >= {"persistence", "linear AR(1)", "random features"}
    assert set(first["augmented"]) == set(first["data_amount"]["0.5"]) == {"decay", "lstm"}
    text = (tmp_path / "out" / "sequence.md").read_text("utf-8")
    assert "CfC decay" in text and "gap withheld" in text and "persistence" in text

    def refuse(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(sequence, "record_of", refuse)
    assert sequence.run(tiny(tmp_path / "out", data), Workers(1)) == first
    one = next((tmp_path / "out" / "records").glob("decay-*.json"))
    one.write_text("{", "utf-8")
    with pytest.raises(ConfigError, match=r"no record of a training"):
        sequence.run(tiny(tmp_path / "out", data), Workers(1))


def test_other_data_is_trained_anew(tmp_path: Path) -> None:
    found = []
    for seed in range(2):
        data = write(tmp_path / f"{seed}.npz", linear_traces(seed=seed))
        found.append(sequence.run(sequence.Plan(tmp_path / "out", data, ("mlp",), seeds=1, epochs=1), Workers(1)))
    assert found[0]["large"][0]["clean"] != found[1]["large"][0]["clean"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--models", "gruu"], "unknown model 'gruu'"),
        (["--missing", "1.0"], "give shares below 1"),
        (["--noise", "-1"], "standard deviations"),
        (["--seeds", "0"], "seeds is 0"),
        (["--data", "nowhere.npz"], "no file of traces"),
        (["--shares", "0.01"], "leaves"),
    ],
)
def test_bad_options_end_with_one_line(
    options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "traces.npz", linear_traces())
    given = ["sequence", "--data", str(data), "--out", str(tmp_path / "out"), "--workers", "1", *options]
    assert main(given) == 2
    assert said in " ".join(capsys.readouterr().err.split())


def test_the_record_says_what_was_trained(tmp_path: Path) -> None:
    plan = sequence.Plan(tmp_path / "out", write(tmp_path / "a.npz", linear_traces()), ("mlp",), seeds=1, epochs=1)
    sequence.run(plan, Workers(1))
    for file in (tmp_path / "out" / "records").glob("*.json"):
        assert json.loads(file.read_text("utf-8"))["training"]["model"] == "mlp"
