"""`liquid-pilot export`: both files under one name, and one line for what cannot be exported."""

from __future__ import annotations

from pathlib import Path

import pytest

from liquid_pilot import cli
from liquid_pilot.bundle import load_bundle, save_bundle
from liquid_pilot.export.core import Storage
from liquid_pilot.export.policy import export_c
from tests.export.test_export_c import spec_of
from tests.onboard.bundles import make


def test_the_files_are_those_of_the_library(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "firmware"
    assert cli.main(["export", "hover", "--c", str(folder), "--name", "pilot", "--int8", "--q15"]) == 0
    text = export_c(load_bundle("hover"), "pilot", Storage(int8=True, q15=True))
    assert (folder / "pilot.h").read_text() == text.header
    assert (folder / "pilot.c").read_text() == text.source
    assert capsys.readouterr().out.splitlines() == [f"wrote {folder / 'pilot.h'}", f"wrote {folder / 'pilot.c'}"]
    assert "int8_t" in text.source and "int16_t" in text.header


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(["export", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_refusals_are_one_line_and_leave_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    path = save_bundle(tmp_path / "lstm.safetensors", make(spec=spec_of("lstm")))
    assert "Q15 is for decay" in refused(capsys, str(path), "--c", out, "--q15")
    assert "begin C names" in refused(capsys, "hover", "--c", out, "--name", "1; int x")
    said = refused(capsys, "nothing", "--c", out)
    assert "choose one of: " in said and "hover" in said
    path.write_bytes(path.read_bytes()[:-5])
    assert "copy it again" in refused(capsys, str(path), "--c", out)
    assert not Path(out).exists()
    (tmp_path / "file").write_text("")
    assert "cannot be written" in refused(capsys, "hover", "--c", str(tmp_path / "file"))


def test_help_shows_how_it_is_called_from_firmware(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["export", "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    for word in ("hover_init(&state)", "hover_selftest() > HOVER_SELFTEST_TOLERANCE", "hover_step(&state", "-std=c99"):
        assert word in text
    header = export_c(load_bundle("hover")).header
    for word in ("hover_init(", "HOVER_SELFTEST_TOLERANCE", "hover_step(", "HOVER_OK"):
        assert word in header
