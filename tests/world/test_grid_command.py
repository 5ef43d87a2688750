"""`liquid-pilot grid` on flights towards trunks: its grids are those of true rays, from any source."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2")

from envs.camera_flow import pinhole_of
from envs.eye import Eye, Lens
from envs.flights import Array
from envs.flow_grid import GridModel
from envs.forest import CROSSING_PLOT
from envs.grid_events import CastRays
from envs.launch import FOREST_X_M, FOREST_Y_M
from envs.physics import Body
from envs.surroundings import Surroundings
from liquid_pilot import cli
from liquid_pilot.commands.grid import CSV_COLUMNS
from liquid_pilot.flow_grid import DEFAULT_GRID
from liquid_pilot.vision import import_cv2
from scripts import forest_pictures

cv2 = import_cv2()
CLEAR = GridModel(noise_rad_s=0.0, noise_share=0.0, rays_lost=0.0, reach_m=25.0)
DT_S, SPEED_M_S = 0.04, 3.0
LENSES = (Lens(), Lens(320, 240, math.tan(math.radians(48.0))))


def a_forest() -> Surroundings:
    return Surroundings(CROSSING_PLOT, CROSSING_PLOT.draw(0.1, 1, np.random.default_rng(1))[:, 0])


def at(x_m: float, t_s: float = 0.0, yaw_rad_s: float = 0.0) -> Body[float]:
    """On a straight way through the forest, t_s later, turning to the left."""
    half = 0.5 * yaw_rad_s * t_s
    velocity = (SPEED_M_S, 0.4, 0.0)
    place = (x_m + velocity[0] * t_s, velocity[1] * t_s, 1.1)
    return Body(place, velocity, (math.cos(half), 0.0, 0.0, math.sin(half)), (0.0, 0.0, yaw_rad_s))


@pytest.fixture(scope="module", params=LENSES, ids=("narrow", "fine"))
def eye(request: pytest.FixtureRequest) -> Iterator[Eye]:
    found = Eye(request.param)
    found.plant(a_forest().within(FOREST_X_M, FOREST_Y_M))
    yield found
    found.close()


def intrinsics(lens: Lens) -> list[str]:
    pinhole = pinhole_of(lens)
    names = ("fx", "fy", "cx", "cy")
    return [text for name in names for text in (f"--{name}", str(getattr(pinhole, f"{name}_px")))]


def true_flow(body: Body[float]) -> Array:
    return CastRays(CLEAR, a_forest(), 0.0, np.random.default_rng(0)).flow(body, body.rates_rad_s, DT_S)


def read_grids(path: Path) -> tuple[list[float], Array]:
    """Stamps, and flows (grids, rows, rays, 2)."""
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == CSV_COLUMNS
    table = np.array([[float(cell or "nan") for cell in row] for row in rows])
    table = table.reshape(-1, DEFAULT_GRID.rays, len(CSV_COLUMNS))
    assert table[0, :32, 4] == pytest.approx(DEFAULT_GRID.azimuth_rad, abs=1e-6)
    assert table[0, ::32, 5] == pytest.approx(DEFAULT_GRID.elevation_rad, abs=1e-6)
    return table[:, 0, 0].tolist(), table[:, :, 6:].reshape(-1, 5, 32, 2)


def agree(found: Array, right: Array) -> None:
    """Within what tests/world/test_camera_flow.py asks of the simulated camera."""
    seen = ~np.isnan(found)
    assert 0.7 < seen.mean() < 1.0
    assert np.corrcoef(found[seen], right[seen])[0, 1] > 0.95
    assert np.median(np.abs(found - right)[seen]) < 0.08


def test_a_folder_of_pictures_says_what_true_rays_say(eye: Eye, tmp_path: Path) -> None:
    rng, forest, lines, right = np.random.default_rng(3), a_forest(), ["t_s,picture"], list[Array]()
    for k, x in enumerate(np.arange(0.0, 30.0, 1.0).tolist()):
        if forest.free_m((x, 0.0, 1.1)) < 0.4:
            continue
        yaw_rad_s = float(rng.normal(0.0, 0.4))
        for late, t_s in enumerate((0.0, DT_S)):  # pairs, a second apart
            name = f"{k:02d}_{late}.png"
            cv2.imwrite(str(tmp_path / name), eye.picture(at(x, t_s - DT_S, yaw_rad_s)))
            lines.append(f"{k + t_s},{name}")
        right.append(true_flow(at(x, 0.0, yaw_rad_s)))
    (tmp_path / "times.csv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "grids.csv"
    assert cli.main(["grid", str(tmp_path), *intrinsics(eye.lens), "--csv", str(out)]) == 0
    stamps, found = read_grids(out)
    assert len(found) == len(right) and all(t % 1.0 == pytest.approx(DT_S) for t in stamps)
    agree(found, np.array(right))


def test_a_video_says_what_true_rays_say(eye: Eye, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A flight of two seconds towards trunks, compressed, at the times that the file tells."""
    path, out, pictures = tmp_path / "flight.avi", tmp_path / "grids.csv", 50
    size = eye.lens.columns, eye.lens.rows
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 1.0 / DT_S, size)
    bodies = [at(0.0, DT_S * k, 0.1) for k in range(pictures)]
    for body in bodies:
        video.write(cv2.cvtColor(eye.picture(body), cv2.COLOR_GRAY2BGR))
    video.release()
    assert cli.main(["grid", str(path), *intrinsics(eye.lens), "--csv", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    stamps, found = read_grids(out)
    assert np.diff(stamps) == pytest.approx(DT_S, abs=1e-5)
    assert (told["pictures"], told["grids"]) == (pictures, len(found)) == (pictures, pictures - 1)
    assert 0.0 < told["cost_median_ms"] <= told["cost_p99_ms"] == pytest.approx(1e3 / told["sustains_hz"])
    assert 0.0 < told["processor_median_ms"] and told["threads"] == 1
    assert told["silent_share"] == pytest.approx(np.isnan(found[..., 0]).mean())
    agree(found, np.array([true_flow(body) for body in bodies[1:]]))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder of three pictures of noise."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for k in range(3):
        write(folder / f"{k}.png", np.random.default_rng(k).integers(0, 255, (64, 160), np.uint8))
    return folder


def write(path: Path, picture: Any) -> None:
    assert cv2.imwrite(str(path), picture)


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(["grid", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    return line


@pytest.mark.parametrize(
    ("spoil", "options", "said"),
    [
        (lambda f: None, ("--fx", "nan", "--hz", "25"), "Pinhole.fx_px is nan"),
        (lambda f: None, ("--fx", "-67", "--hz", "25"), "above 0 pixels"),
        (lambda f: None, ("--fx", "67", "--hz", "0"), "above 0"),
        (lambda f: None, ("--fx", "67", "--hz", "25", "--pictures", "1"), "two pictures at least"),
        (lambda f: None, ("--fx", "67", "--hz", "25", "--threads", "0"), "one at least"),
        (lambda f: None, ("--fx", "67", "--hz", "25", "--policy", "hover"), "has no flow grid"),
        (lambda f: None, ("--fx", "67"), "give --hz, or that file"),
        (lambda f: None, ("--fx", "67", "--hz", "1"), "and no grid"),  # too far apart
        (lambda f: [p.unlink() for p in f.iterdir()], ("--fx", "67", "--hz", "25"), "holds no pictures"),
        (lambda f: [p.unlink() for p in sorted(f.iterdir())[1:]], ("--fx", "67", "--hz", "25"), "gave 1 pictures"),
        (lambda f: (f / "1.png").write_bytes(b""), ("--fx", "67", "--hz", "25"), "missing, empty or damaged"),
        (lambda f: write(f / "1.png", np.zeros((64, 100), np.uint8)), ("--fx", "67", "--hz", "25"), "100 columns"),
        (lambda f: write(f / "1.png", np.zeros((64, 160, 3), np.uint8)), ("--fx", "67", "--hz", "25"), "--to-grey"),
        (lambda f: write(f / "1.png", np.zeros((64, 160), np.uint16)), ("--fx", "67", "--hz", "25"), "uint16"),
        (lambda f: (f / "times.csv").write_text("t_s,picture\n0.1,0.png\n0.0,1.png\n"), ("--fx", "67"), "must grow"),
        (lambda f: (f / "times.csv").write_text("t_s,picture\n0.1,0.png\nx,1.png\n"), ("--fx", "67"), "cannot be read"),
        (lambda f: (f / "times.csv").write_text("t_s,picture\n0.1\n"), ("--fx", "67"), "cannot be read"),
        (lambda f: (f / "times.csv").write_text("time\n"), ("--fx", "67"), "its first line must be"),
        (lambda f: (f / "times.csv").write_text("t_s,picture\n0.1,9.png\n"), ("--fx", "67"), "missing"),
        (lambda f: (f / "times.csv").write_text("t_s,picture\n"), ("--fx", "67"), "holds no pictures"),
    ],
)
def test_bad_input_is_refused_with_the_fix(
    spoil: Callable[[Path], object],
    options: tuple[str, ...],
    said: str,
    pictures: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(pictures)
    assert said in refusal(capsys, str(pictures), *options)


def test_files_that_are_no_videos_are_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    empty, text = tmp_path / "empty.avi", tmp_path / "text.avi"
    empty.touch()
    text.write_text("not a video")
    assert "is empty" in refusal(capfd, str(empty), "--fx", "67")
    assert "cannot be read as a video" in refusal(capfd, str(text), "--fx", "67")
    assert "does not exist" in refusal(capfd, str(tmp_path / "none.avi"), "--fx", "67")
    assert "leave the rate" in refusal(capfd, "97", "--fx", "67", "--hz", "25")
    assert "camera 97 cannot be opened" in refusal(capfd, "97", "--fx", "67")


def test_text_says_cost_and_rate_and_colours_are_made_grey_where_asked(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(pictures / "1.png", np.random.default_rng(5).integers(0, 255, (64, 160, 3), np.uint8))
    assert cli.main(["grid", str(pictures), "--fx", "67", "--hz", "25", "--to-grey", "--policy", "avoid"]) == 0
    text = capsys.readouterr().out
    assert "3 pictures of 160 x 64" in text and "ms (median)" in text and "ms (p99): sustains" in text
    assert cli.main(["grid", str(pictures), "--fx", "120", "--hz", "25", "--to-grey", "--pictures", "2"]) == 0
    assert "rays lie beyond the picture: silent" in capsys.readouterr().out


def test_ctrl_c_ends_a_camera_with_its_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def pictures_until_ctrl_c(*_: object) -> Iterator[tuple[float, Any]]:
        for k in range(4):
            yield 0.04 * k, np.random.default_rng(k).integers(0, 255, (64, 160), np.uint8)
        raise KeyboardInterrupt

    monkeypatch.setattr("liquid_pilot.picture_source.open_pictures", pictures_until_ctrl_c)
    assert cli.main(["grid", "0", "--fx", "67"]) == 0
    assert "4 pictures" in capsys.readouterr().out


def test_pictures_of_a_drawn_forest_are_a_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(tmp_path / "pictures")
    small = ["--columns", "160", "--rows", "64", "--pictures", "4"]
    assert forest_pictures.main([folder, *small]) == 0
    said = " ".join(capsys.readouterr().out.split())
    focal = said.rpartition("--fx ")[2]
    assert float(focal) == pytest.approx(Lens().focal_px, abs=0.01)
    assert cli.main(["grid", folder, "--fx", focal, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["grids"] == 3
    assert forest_pictures.main([folder, *small]) != 0  # nothing is overwritten
    assert forest_pictures.main([str(tmp_path / "other"), "--hz", "0"]) != 0
    capsys.readouterr()
