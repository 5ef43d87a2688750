"""Laws of result files: a path that cannot be written is refused before the work, and nothing is left half written."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from liquid_pilot.errors import ConfigError
from scripts import benchmark, demo, evaluate, train
from scripts.files import check_file, check_folder, write_json

FILES = {"a folder": "folder.json", "another kind": "score.xyz", "no kind": "score", "under a file": "file.json/s.json"}


@pytest.fixture(name="place")
def place_with_a_file_and_a_folder(tmp_path: Path) -> Path:
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "file.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize("name", FILES.values(), ids=FILES.keys())
def test_a_file_that_cannot_be_written_is_refused_by_name(name: str, place: Path) -> None:
    with pytest.raises(ConfigError, match=r"--json .*; give ") as caught:
        check_file("--json", place / name, ".json")
    assert str(place / name) in str(caught.value)


@pytest.mark.parametrize("name", ["file.json", "policy.safetensors", "file.json/run"])
def test_a_folder_that_cannot_be_made_is_refused_by_name(name: str, place: Path) -> None:
    with pytest.raises(ConfigError, match=r"--out .*; give ") as caught:
        check_folder("--out", place / name)
    assert str(place / name) in str(caught.value)


@pytest.mark.skipif(os.name != "posix" or not Path("/proc/self").is_dir(), reason="needs a folder nobody can write to")
def test_a_missing_permission_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cannot be written.*may write"):
        check_file("--json", Path("/proc/score.json"), ".json")
    with pytest.raises(ConfigError, match=r"cannot be written.*may write"):
        check_folder("--out", Path("/proc/run"))


def test_a_file_or_folder_that_can_be_written_is_not_touched(place: Path) -> None:
    before = sorted(place.rglob("*"))
    check_file("--json", place / "deep" / "er" / "score.JSON", ".json")
    check_file("--json", place / "file.json", ".json")
    check_file("--json", Path("score.json"), ".json")
    check_folder("--out", place / "deep" / "v1.2")
    check_folder("--out", place)
    assert sorted(place.rglob("*")) == before and (place / "file.json").read_text() == "{}"


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "score.json"
    write_json(path, {"a": [1, None]})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": [1, None]}
    assert [found.name for found in path.parent.iterdir()] == ["score.json"]


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("the work began")


@pytest.mark.parametrize(
    ("main", "words", "work"),
    [
        (evaluate.main, ["geometric", "--json", "{}"], "scripts.evaluate.evaluate"),
        (evaluate.main, ["geometric", "--json", "{}.xyz"], "scripts.evaluate.evaluate"),
        (evaluate.main, ["geometric", "--picture", "{}"], "scripts.evaluate.evaluate"),
        (evaluate.main, ["geometric", "--picture", "{}/flight.xyz"], "scripts.evaluate.evaluate"),
        (evaluate.main, ["geometric", "--video", "{}"], "scripts.evaluate.evaluate"),
        (evaluate.main, ["geometric", "--video", "{}/flight.avi"], "scripts.evaluate.evaluate"),
        (train.main, ["hover", "--out", "{}/file.json"], "scripts.training.run.train"),
        (train.main, ["hover", "--out", "{}/policy.safetensors"], "scripts.training.run.train"),
        (demo.main, ["--out", "{}/file.json"], "scripts.demo.train"),
        (benchmark.main, ["rates", "geometric", "--out", "{}/file.json"], "scripts.benchmarks.rates.sweep"),
        (benchmark.main, ["engine", "--out", "{}/file.json"], "scripts.benchmarks.engine.measure"),
        (benchmark.main, ["table", "--out", "{}/file.json"], "scripts.benchmarks.table.run"),
    ],
)
def test_scripts_refuse_before_they_work(
    main: Any, words: list[str], work: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(work, never)
    given = [word.format(place) for word in words]
    assert main(given) == 2
    error = capsys.readouterr().err
    assert given[-1] in error and "give" in error
