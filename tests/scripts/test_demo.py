"""The demo from a policy file to the report, with the training replaced by a file that is there already."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts import demo
from scripts.pictures.curves import draw_learning_curve
from tests.scripts.synthetic import write_random_policy


def test_the_demo_ends_in_a_report_with_every_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(options: demo.Options) -> Path:
        folder = options.out / "train"
        folder.mkdir(parents=True)
        log = folder / "progress.csv"
        log.write_text("update,elapsed_s,loss\n1,1.0,3.0\n2,2.0,2.0\n")
        draw_learning_curve(log, folder / "learning_curve.png")
        return write_random_policy(folder / "policy.safetensors", seed=1)

    monkeypatch.setattr(demo, "train", trained)
    shipped = write_random_policy(tmp_path / "shipped.safetensors")
    out = tmp_path / "demo"
    code = demo.main(["--out", str(out), "--flights", "1", "--workers", "1", "--shipped", str(shipped)])
    assert code == 0
    cells = json.loads((out / "scores.json").read_text())["cells"]
    assert [cell["policy"] for cell in cells] == 2 * ["shipped", "new", "geometric"]
    assert [cell["imu_hz"] for cell in cells] == 3 * [100.0] + 3 * ["mixed"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.count("<img") == 5  # the curve, and two pictures for each of two flights
    assert {path.name for path in out.glob("*.png")} == {
        f"flight_{name}{part}.png" for name in ("shipped", "new") for part in ("", "_neurons")
    }


def test_a_demo_without_its_policy_stops_before_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(options: demo.Options) -> Path:
        raise AssertionError("trained although there is nothing to compare with")

    monkeypatch.setattr(demo, "train", never)
    assert demo.main(["--out", str(tmp_path), "--shipped", "nosuch"]) == 2
