"""Laws of files of flights: they come back as they were, whole or in part, and one that cannot be proved is refused."""

from __future__ import annotations

import json
import resource
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from liquid_pilot.errors import TrainingError
from policies.imitation import files
from policies.imitation.demonstrations import Demonstrations, joined
from policies.imitation.files import KEY, Origin, load_flights, save_flights
from tests.policies.imitation_cases import random_flights

ORIGIN = Origin("hover", "cf2x", "geometric", "", 3, {"engine": "batched"})
FIELDS = ("observation", "action", "dt_s", "held", "length", "state")


def same(ours: Demonstrations, theirs: Demonstrations) -> bool:
    pairs = ((getattr(ours, name), getattr(theirs, name)) for name in FIELDS)
    return all(b is None if a is None else b is not None and np.array_equal(a, b) for a, b in pairs)


def parts(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tensors and metadata of a file."""
    with safe_open(path, framework="np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # not a mapping
        return tensors, json.loads(file.metadata()[KEY])


@pytest.fixture(name="path")
def written(tmp_path: Path) -> Path:
    return save_flights(tmp_path / "flights.safetensors", random_flights(0, (5, 1, 9, 4)), ORIGIN)


@pytest.mark.parametrize("with_state", [False, True])
def test_flights_come_back_as_they_were(tmp_path: Path, with_state: bool) -> None:
    flights = random_flights(1, (3, 8, 2), with_state)
    path = save_flights(tmp_path / "deep" / "flights.safetensors", flights, ORIGIN)
    found, origin = load_flights(path)
    assert same(found, flights) and origin == ORIGIN
    again = save_flights(tmp_path / "again.safetensors", found, origin)
    assert again.read_bytes() == path.read_bytes()
    for count in (1, 2, 3):
        assert same(load_flights(path, count)[0], flights.first(count))


def test_flights_join_in_order() -> None:
    first, second = random_flights(2, (4, 3)), random_flights(3, (2,))
    both = joined([first, second])
    assert both.start.tolist() == [0, 4, 7] and both.flights == 3 and both.events == 9
    assert same(both.first(2), first)
    assert same(both.pick([2]), second) and same(both.pick([0, 1]), first)
    assert both.pick([1, 2, 0]).length.tolist() == [3, 2, 4]


@pytest.mark.parametrize("count", [0, 5])
def test_more_flights_than_there_are_cannot_be_read(path: Path, count: int) -> None:
    with pytest.raises(TrainingError, match="4 flights"):
        load_flights(path, count)


def test_a_file_cut_short_is_refused(path: Path) -> None:
    data = path.read_bytes()
    for size in (0, 7, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(TrainingError, match="not a whole file"):
            load_flights(path)


def test_an_edited_number_is_noticed_in_what_is_read(path: Path) -> None:
    tensors, about = parts(path)
    tensors["action"][-1, 0] *= 0.5  # of the last flight
    save_file(tensors, path, {KEY: json.dumps(about)})
    with pytest.raises(TrainingError, match="edited or damaged"):
        load_flights(path)
    assert load_flights(path, 3)[0].flights == 3


@pytest.mark.parametrize(("field", "value"), [("seed", 4), ("expert", "pid"), ("conditions", {})])
def test_edited_metadata_is_noticed(path: Path, field: str, value: Any) -> None:
    tensors, about = parts(path)
    save_file(tensors, path, {KEY: json.dumps(about | {field: value})})
    with pytest.raises(TrainingError, match="sha256"):
        load_flights(path)


def test_another_layout_is_refused(path: Path) -> None:
    tensors, about = parts(path)
    about["observation"][0]["scale"] *= 2.0
    save_file(tensors, path, {KEY: json.dumps(about)})
    with pytest.raises(TrainingError, match="another observation layout"):
        load_flights(path)
    save_file(tensors, path, {KEY: json.dumps(about | {"schema": 9})})
    with pytest.raises(TrainingError, match="schema 9"):
        load_flights(path)
    save_file(tensors, path)
    with pytest.raises(TrainingError, match="no file of flights"):
        load_flights(path)


def test_numbers_that_are_none_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flights = random_flights(4, (3, 3))
    broken = flights.observation.copy()
    broken[2, 1] = np.nan
    with pytest.raises(TrainingError, match="NaN"):
        replace(flights, observation=broken)
    monkeypatch.setattr(Demonstrations, "__post_init__", lambda self: None)  # somebody else's writer
    forged = save_flights(path, replace(flights, observation=broken), ORIGIN)
    monkeypatch.undo()
    with pytest.raises(TrainingError, match="NaN"):
        load_flights(forged)


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("length", np.array([3, 4]), "shape"),
        ("length", np.array([6, 0]), "at least one event"),
        ("action", np.full((6, 4), 1.5, np.float32), "1.5"),
        ("dt_s", np.full(6, -0.1, np.float32), "never negative"),
        ("held", np.zeros(5, np.bool_), "shape"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(field: str, value: Any, told: str) -> None:
    with pytest.raises(TrainingError, match=told):
        replace(random_flights(5, (3, 3)), **{field: value})


def test_a_full_disk_leaves_the_old_file_and_nothing_else(path: Path) -> None:
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(TrainingError, match="make room"):
            save_flights(path, random_flights(6, (400, 400)), ORIGIN)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before and [found.name for found in path.parent.iterdir()] == [path.name]


def test_a_write_that_fails_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "save_file", fail)
    with pytest.raises(TrainingError, match="No space left"):
        save_flights(path.with_name("new.safetensors"), random_flights(7, (2,)), ORIGIN)
    assert [found.name for found in path.parent.iterdir()] == [path.name]
    with pytest.raises(TrainingError, match=r"ends in \.safetensors"):
        save_flights(path.with_name("new.npz"), random_flights(7, (2,)), ORIGIN)
