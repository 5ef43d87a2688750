"""Laws of the forest table: what flies what, what neurons tell, and that nothing is done twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liquid_pilot import native
from liquid_pilot.errors import ConfigError
from policies import export
from scripts import benchmark
from scripts.benchmarks import avoid, avoid_page, avoid_readout, contest
from scripts.benchmarks.avoid import ARMS, CELLS, arms_of
from scripts.benchmarks.avoid_readout import AHEAD_S, NAMES
from scripts.benchmarks.contest import TRAININGS, Recipe
from scripts.workers.options import Workers

needs_compiler = pytest.mark.skipif(not native.available(), reason="needs a C compiler")
TINY = Recipe(updates=1, batch=16, backend="compiled", task="avoid")


def test_everybody_flies_the_plain_cells_and_is_trained_alike() -> None:
    plan = avoid.Plan(Path("nowhere"), TINY)
    assert [cell.label for cell in plan.cells_of(ARMS[3])] == [cell.label for cell in CELLS if cell.plain]
    assert plan.cells_of(ARMS[0]) == list(CELLS) and len({cell.label for cell in CELLS}) == len(CELLS)
    sights = [drill.sees for drill in (cell.drill for cell in CELLS) if drill.sees is not None]
    assert len(sights) == len(CELLS)
    assert [not seen.model.sees_trees for seen in sights] == [cell.unseen for cell in CELLS]
    assert [seen.plot.shapes for seen in sights] == [cell.obstacles != "trees" for cell in CELLS]
    configs = [TINY.run(arm.model, arm.training, (1e-3, 0.015), 0).config for arm in ARMS]
    assert {(c.task, c.batch, c.updates, c.cost, c.oldest_s) for c in configs} == {
        ("avoid", 16, 1, configs[0].cost, 12.0)
    }
    assert {c.curriculum for c in configs[:-1]} == {TRAININGS["forest"]}
    assert replace(configs[-1].curriculum, grid_lost=(0.0, 0.4)) == TRAININGS["forest"]
    assert [arm.model.name for arm in arms_of(("gru", "blind"))] == ["GRU", "decay, blind"]
    with pytest.raises(ConfigError, match="model"):
        arms_of(("transformer",))


def test_a_linear_map_is_found_and_judged_on_other_rows() -> None:
    rng = np.random.default_rng(0)
    seen, other = rng.normal(size=(400, 6)), rng.normal(size=(50, 6))
    true = rng.normal(size=(6, 2))
    found = avoid_readout._read(seen, seen @ true + 3.0, other)
    assert np.abs(found - (other @ true + 3.0)).max() < 0.05


@needs_compiler
def test_a_finished_table_is_read_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contest, "_RATES", (5e-3,))
    monkeypatch.setattr(contest, "_TIME_UNITS_S", (0.015,))
    monkeypatch.setattr(export, "SELFTEST_STEPS", 64)  # for speed
    monkeypatch.setattr(avoid_readout, "SECONDS", 3.5)
    cells = tuple(cell for cell in CELLS if cell.label in ("4 m/s", "3 m/s, no way through"))
    plan = avoid.Plan(tmp_path, TINY, seeds=2, flights=8, arms=ARMS[:1], cells=cells)
    first = avoid.run(plan, Workers(1))
    (row,) = first["rows"]
    assert [cell["cell"] for cell in row["cells"]] == ["4 m/s", "3 m/s, no way through"]
    assert [len(cell["seeds"]) for cell in row["cells"]] == [2, 2] and len(row["ahead"]) == 2
    assert set(row["ahead"][0]) == {f"{seconds:g}" for seconds in AHEAD_S}
    assert set(row["ahead"][0]["0.1"]) == set(NAMES)

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("made again")

    monkeypatch.setattr(contest, "train", never)
    monkeypatch.setattr(avoid, "fly_and_score", never)
    monkeypatch.setattr(avoid, "anticipation", never)
    assert avoid.run(plan, Workers(1)) == first
    files = avoid_page.present(first, tmp_path, tmp_path / "page.md")
    assert all(file.stat().st_size > 0 for file in files)
    text = (tmp_path / "avoid.md").read_text(encoding="utf-8")
    assert "| 4 m/s |" in text and "stopped |" in text and "persistence" in text
    assert text in (tmp_path / "page.md").read_text(encoding="utf-8")
    made = sorted(str(file) for file in (tmp_path / "policies").glob("*seed[01]-*/policy.safetensors"))
    given = avoid.score(plan, made, Workers(1))  # the same policies, in place of training: all of it is known
    assert given["rows"][0]["cells"] == row["cells"] and given["rows"][0]["ahead"] == row["ahead"]
    assert "trials" not in avoid_page.markdown(given)


def test_policies_that_are_no_seeds_of_one_training_are_refused(tmp_path: Path) -> None:
    plan = avoid.Plan(tmp_path, TINY)
    for policies, said in ((["hover"], "no flow grid"), (["avoid", "avoid"], "twice")):
        with pytest.raises(ConfigError, match=said):
            avoid.score(plan, policies, Workers(1))


def test_bad_options_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for options in (["--seeds", "0"], ["--flights", "0"], ["--models", "hover"], ["--page", "x.txt"]):
        assert benchmark.main(["avoid", "--out", str(tmp_path), *options]) == 2, options
        assert "error" in capsys.readouterr().err.lower()
