"""What a cell costs: the table holds every cell at every batch, beside the reference; the picture is drawn."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts import benchmark
from scripts.benchmarks.cells import REFERENCE, contenders, measure, present


def test_every_cell_is_measured_beside_the_reference(tmp_path: Path) -> None:
    figures = measure((2, 3), steps=2, repeats=1)
    names = [contender.name for contender in contenders()]
    assert len(set(names)) == len(names)
    assert [(f.name, f.batch) for f in figures] == [(name, batch) for batch in (2, 3) for name in names]
    for figure in figures:
        assert figure.parameters > 0 and figure.memory_bytes > 0
        assert figure.forward_ms > 0.0 and figure.both_ms > 0.0
    own = [figure for figure in figures if figure.name == REFERENCE]
    assert [(figure.forward_ratio, figure.both_ratio) for figure in own] == [(1.0, 1.0)] * 2
    written, picture = present(figures, tmp_path)
    assert len(json.loads(written.read_text())["figures"]) == len(figures)
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("options", [["--batches", "0"], ["--steps", "0"], ["--repeats", "-1"], ["--batches"]])
def test_sizes_below_one_are_refused(options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(["cells", "--out", str(tmp_path), *options]) == 2
    assert options[0].strip("-") in capsys.readouterr().err
