"""The installed command line: what it says of a policy, and how it refuses."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from liquid_pilot import __version__, bundle, cli
from liquid_pilot.cells import CellSpec
from liquid_pilot.command import CommandLimits
from liquid_pilot.observation import (
    FEATURES_MEANING,
    OBS_DIM,
    OBS_FIELDS,
    POSITION_DIM,
    POSITION_FIELDS,
    SIGHT_DIM,
    SIGHT_FIELDS,
)
from tests.onboard.bundles import draw_weights, make_locating, make_seeing, wired_spec

ROOT = Path(__file__).parents[1]
SPEC = CellSpec("decay", OBS_DIM, 19, 4, 1, 32, 0.015)


def write_policy(path: Path, spec: CellSpec = SPEC, /, **training: Any) -> Path:
    """A policy file with random weights."""
    weights = draw_weights(spec, 7, 0.3)
    made = bundle.make_bundle(
        "probe",
        "hover",
        spec,
        weights,
        CommandLimits((0.5, 18.5), (5.0, 4.0, 2.0)),
        bundle.make_selftest(spec, weights, np.random.default_rng(7)),
        trained_rates_hz={"imu": [25.0, 400.0], "flow": [5.0, 100.0], "range": [10.0, 50.0]},
        sensor_limits_s={"imu": 0.1, "flow": 2.0, "range": 2.0},
        setpoint_limits={"speed_m_s": 1.0, "height_m": [0.5, 2.0], "yaw_rate_rad_s": 0.7},
        airframe="cf2x",
        training={"config": {"iterations": 123}, "seed": 3, "commit": "abc", "minutes": 1.5, **training},
    )
    return bundle.save_bundle(path, made)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return write_policy(tmp_path / "policy.safetensors")


def lines_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    assert cli.main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out.splitlines()


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line on stderr of a refused call."""
    assert cli.main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("liquid-pilot: ")
    return line


def test_json_holds_the_facts_of_the_file(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads("\n".join(lines_of(capsys, "inspect", str(policy), "--json")))
    loaded = bundle.load_bundle(policy)
    assert (found["name"], found["task"], found["neurons"]) == ("probe", "hover", 19)
    assert found["parameters"] == sum(weight.size for weight in loaded.weights.values())
    assert found["weight_bytes"] == 4 * found["parameters"]
    assert found["file_bytes"] == policy.stat().st_size
    assert found["sha256"] == loaded.metadata["sha256"]
    assert found["command_limits"] == {"thrust_m_s2": [0.5, 18.5], "rates_rad_s": [5.0, 4.0, 2.0]}
    assert found["training"]["config"] == {"iterations": 123}
    assert 0.0 <= found["selftest_difference"] <= bundle.SELFTEST_TOLERANCE


def test_json_lists_every_observation_field_in_order(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads("\n".join(lines_of(capsys, "inspect", str(policy), "--json")))
    declared = [(field.name, field.width, field.unit, field.scale, field.meaning) for field in OBS_FIELDS]
    assert [
        tuple(entry[key] for key in ("name", "width", "unit", "scale", "meaning")) for entry in found["observation"]
    ] == declared
    assert sum(entry["width"] for entry in found["observation"]) == found["observation_width"] == OBS_DIM


def test_the_layout_of_a_policy_that_locates_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = bundle.save_bundle(tmp_path / "places.safetensors", make_locating())
    text = "\n".join(lines_of(capsys, "inspect", str(path)))
    assert f"observation: {OBS_DIM + POSITION_DIM} numbers" in text
    assert all(field.name in text and field.meaning in text for field in OBS_FIELDS)
    assert all(field.name in text and field.meaning in text for field in POSITION_FIELDS)


def test_fly_refuses_a_policy_that_locates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = bundle.save_bundle(tmp_path / "places.safetensors", make_locating())
    assert "feed PositionSetpoint messages" in refusal(
        capsys, "fly", str(path), "--link", "mavlink:udpin:127.0.0.1:14540"
    )


def test_of_a_policy_that_sees_the_grid_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = bundle.save_bundle(tmp_path / "forest.safetensors", make_seeing())
    text = "\n".join(lines_of(capsys, "inspect", str(path)))
    assert f"observation: {OBS_DIM + SIGHT_DIM + 24} numbers" in text
    assert "32 x 5 rays, azimuth -44 to 44 and elevation -16 to 16 degrees; 64 hidden units, 24 features" in text
    assert all(name in text and meaning in text for name, meaning in SIGHT_FIELDS) and FEATURES_MEANING in text
    assert "attitude 10 to 50, flow 20 to 50, grid 10 to 40" in text
    found = json.loads("\n".join(lines_of(capsys, "inspect", str(path), "--json")))
    assert len(found["encoder"]["azimuth_rad"]) == 32 and found["observation"][-1]["name"] == "grid_features"


def test_fly_refuses_a_policy_that_sees(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = bundle.save_bundle(tmp_path / "forest.safetensors", make_seeing())
    assert "flow grids" in refusal(capsys, "fly", str(path), "--link", "mavlink:udpin:127.0.0.1:14540")


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("policy", "probe (task hover)"),
        ("cell", "decay, 19 neurons, backbone 1 x 32, time unit 0.015 s"),
        ("wiring", "full"),
        ("trained at", "flow 5 to 100, imu 25 to 400, range 10 to 50 (Hz)"),
        ("sensor limits", "flow 2, imu 0.1, range 2 (s)"),
        ("airframe", "cf2x"),
        ("commands", "thrust 0.5 to 18.5 m/s^2; roll, pitch, yaw rate within 5, 4, 2 rad/s"),
    ],
)
def test_text_says(policy: Path, capsys: pytest.CaptureFixture[str], label: str, text: str) -> None:
    found = {line[:14].rstrip(): line[15:] for line in lines_of(capsys, "inspect", str(policy))}
    assert found[label] == text


def test_text_and_json_tell_the_wiring(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = wired_spec("decay")
    assert spec.wiring is not None
    path, live = str(write_policy(tmp_path / "wired.safetensors", spec)), spec.wiring.live_synapses
    told = {line[:14].rstrip(): line[15:] for line in lines_of(capsys, "inspect", path)}
    assert told["cell"] == "decay, 19 neurons, no backbone, time unit 0.015 s"
    assert told["wiring"] == f"9 inter, 6 command, 4 motor neurons; {live} live synapses of 400; drawn with seed 0"
    assert told["parameters"] == f"{2 * (live + 19) + 8} (3,384 bytes)"
    found = json.loads("\n".join(lines_of(capsys, "inspect", path, "--json")))
    assert (found["neurons"], found["parameters"]) == (19, 2 * (live + 19) + 8)
    assert found["wiring"]["motor"] == list(spec.wiring.motor) and "wiring" not in found["cell"]


def test_text_shows_layout_provenance_and_proof(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = lines_of(capsys, "inspect", str(policy))
    for field in OBS_FIELDS:
        (row,) = [line for line in lines if line.split()[:1] == [field.name] and field.meaning in line]
        assert row.split()[1:3] == [str(field.width), field.unit]
    assert ["config.iterations", "123"] in [line.split() for line in lines]
    assert any(line.startswith("self-test") and "passed: 96 steps" in line for line in lines)


def test_foreign_text_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_policy(tmp_path / "rude.safetensors", note="\x1b[2Jgone", **{"\x1b]0;key": 1})
    assert "\x1b" not in "".join(lines_of(capsys, "inspect", str(path)))


def test_a_card_is_shown_and_cannot_steer_the_terminal(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = refusal(capsys, "inspect", str(policy), "--card")
    assert "cannot be read" in line and "python -m scripts.card" in line
    sha256 = bundle.load_bundle(policy).metadata["sha256"]
    policy.with_suffix(".md").write_text(f"# probe\n\nsha256 {sha256}\x1b[2J\n", encoding="utf-8")
    assert lines_of(capsys, "inspect", str(policy), "--card") == ["# probe", "", f"sha256 {sha256}?[2J"]


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "text"])
def test_damaged_file_is_refused_in_one_line(policy: Path, capsys: pytest.CaptureFixture[str], damage: str) -> None:
    data = bytearray(policy.read_bytes())
    data[-5] ^= 0x40
    policy.write_bytes({"flipped": bytes(data), "cut": bytes(data[:-9]), "empty": b"", "text": b"hello " * 99}[damage])
    assert policy.name in refusal(capsys, "inspect", str(policy))


def test_missing_file_and_unknown_name_say_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such file" in refusal(capsys, "inspect", str(tmp_path / "none.safetensors"))
    line = refusal(capsys, "inspect", "hovver")
    assert "'hovver'" in line
    assert "choose one of" in line


def test_zoo_lists_each_policy_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "ZOO_DIR", tmp_path)
    assert "incomplete" in refusal(capsys, "zoo")
    for name in ("b", "a"):
        write_policy(tmp_path / f"{name}.safetensors")
    head, *rows = [line.split() for line in lines_of(capsys, "zoo")]
    assert head == ["name", "task", "cell", "neurons", "parameters", "bytes"]
    assert [row[:4] for row in rows] == [["a", "hover", "decay", "19"], ["b", "hover", "decay", "19"]]


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"liquid-pilot {__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["inspect", "--help"]])
def test_help_teaches_by_example(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    assert "liquid-pilot inspect hover" in text


@pytest.mark.parametrize("arguments", [[], ["fly-away"], ["inspect"], ["inspect", "a", "b"]])
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert "usage: liquid-pilot" in capsys.readouterr().err


def test_a_reader_that_stops_early_is_no_error(policy: Path) -> None:
    """As in `liquid-pilot inspect hover | true`."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [sys.executable, "-m", "liquid_pilot", "inspect", str(policy)],
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=60,
        check=False,
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_output_survives_a_terminal_without_unicode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]
) -> None:
    path = write_policy(tmp_path / "policy.safetensors", note="Gr\u00f6\u00dfe")
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    assert cli.main(["inspect", str(path), *options]) == 0
    assert b"Gr\\" in raw.getvalue()
