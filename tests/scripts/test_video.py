"""Videos: the recorded flight, picture by picture; files that are whole or not there; refusals before the flight."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from envs.airframe import load_airframe
from envs.faults import parse_fault
from liquid_pilot.errors import ConfigError, MissingExtraError
from liquid_pilot.geometry import rotation_matrix
from scripts import evaluate as script
from scripts.pictures import video, video_panel
from scripts.pictures.style import GREEN, VERMILION
from scripts.pictures.video import FORMATS, check_video, draw_video, frame_times, poses
from scripts.pictures.video_panel import Panel
from tests.scripts.synthetic import synthetic_trace

CF2X = load_airframe("cf2x")
TRACE = synthetic_trace(units=0, flight_s=0.5)
SIZE = (video.VIEW_WIDTH + video_panel.WIDTH, video_panel.HEIGHT)


@pytest.fixture(name="few", autouse=True)
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five pictures a second, so that tests are quick."""
    monkeypatch.setattr(video, "LINGER_S", 0.2)
    for suffix, form in FORMATS.items():
        monkeypatch.setitem(FORMATS, suffix, replace(form, fps=5.0))


def test_an_mp4_has_every_picture_of_the_flight(tmp_path: Path) -> None:
    told = list[tuple[int, int]]()
    path = draw_video(TRACE, tmp_path / "deep" / "flight.mp4", "t", CF2X, on_frame=lambda *given: told.append(given))
    total = len(frame_times(TRACE, 5.0))
    assert told == [(k, total) for k in range(1, total + 1)]
    count, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    assert count == total and seconds == pytest.approx(total / 5.0, abs=0.05)
    assert [found.name for found in path.parent.iterdir()] == ["flight.mp4"]


def test_a_gif_moves_and_is_smaller(tmp_path: Path) -> None:
    path = draw_video(TRACE, tmp_path / "flight.GIF", "t", CF2X)
    with Image.open(path) as image:
        assert getattr(image, "n_frames", 1) == len(frame_times(TRACE, 5.0))
        assert image.size == (SIZE[0] * 2 // 3, SIZE[1] * 2 // 3)
        assert image.info["duration"] == 200


def test_an_interrupted_video_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "flight.mp4"
    path.write_bytes(b"before")

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        draw_video(TRACE, path, "t", CF2X, on_frame=stop)
    assert [found.name for found in tmp_path.iterdir()] == ["flight.mp4"]
    assert path.read_bytes() == b"before"


def test_pictures_run_from_the_first_event_to_the_last() -> None:
    times = frame_times(TRACE, 25.0)
    assert times[0] == TRACE.t_s[0] and times[-1] == TRACE.t_s[-1]
    moving = times[times < TRACE.t_s[-1]]
    assert np.allclose(np.diff(moving), 0.04)
    assert np.count_nonzero(times == TRACE.t_s[-1]) >= 5  # 0.2 s at 25 pictures a second


def test_poses_at_the_events_are_those_recorded() -> None:
    position, attitude = poses(TRACE, TRACE.t_s)
    assert np.allclose(position, TRACE.position_m)
    for found, true in zip(attitude, TRACE.attitude_wxyz, strict=True):
        assert np.allclose(rotation_matrix(tuple(found)), rotation_matrix(tuple(true)))


def test_poses_between_events_do_not_depend_on_the_signs_of_quaternions() -> None:
    times = np.linspace(TRACE.t_s[0], TRACE.t_s[-1], 77)
    signs = np.random.default_rng(0).choice([-1.0, 1.0], len(TRACE.t_s))
    _, attitude = poses(TRACE, times)
    _, flipped = poses(replace(TRACE, attitude_wxyz=TRACE.attitude_wxyz * signs[:, None]), times)
    assert np.allclose(np.abs(np.sum(attitude * flipped, axis=1)), 1.0)


def painted(image: Image.Image, colour: str) -> int:
    """How many pixels of the texts, above the curves, have exactly that colour."""
    wanted = [int(colour[k : k + 2], 16) for k in (1, 3, 5)]
    pixels: npt.NDArray[np.uint8] = np.asarray(image)[:320]
    return int((pixels == wanted).all(axis=2).sum())


def test_a_fault_is_named_while_it_acts() -> None:
    trace = synthetic_trace(units=0)
    panel = Panel(trace, "t", [parse_fault("flow:freeze@2s+1s")], "")
    found = [painted(panel.at(trace.release_s + since_s), VERMILION) > 500 for since_s in (1.9, 2.1, 2.9, 3.1)]
    assert found == [False, True, True, False]


def test_the_end_says_why_it_failed() -> None:
    failed, flown = Panel(TRACE, "t", [], "ground"), Panel(TRACE, "t", [], "")
    last = float(TRACE.t_s[-1])
    assert painted(failed.at(last), VERMILION) > 500
    assert painted(failed.at(last - 0.1), VERMILION) == painted(flown.at(last), VERMILION) == 0


def test_the_panel_shows_state_and_silence() -> None:
    trace = synthetic_trace(units=0)  # ACTIVE from 0.5 s on, DEGRADED from 8.5 to 8.9 s, no flow from 6.5 to 7.5 s
    panel = Panel(trace, "t", [], "")
    assert painted(panel.at(5.0), GREEN) > 500 > painted(panel.at(8.6), GREEN)
    assert painted(panel.at(5.0), VERMILION) == 0 < painted(panel.at(7.2), VERMILION)


def test_a_flight_without_supervisor_and_sensors_has_a_panel() -> None:
    bare = replace(TRACE, supervisor=(), arrivals_s={})
    assert Panel(bare, "a title that goes on " * 5, [], "").at(0.0).size == (video_panel.WIDTH, video_panel.HEIGHT)


def test_a_video_that_cannot_be_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"\.mp4 or \.gif"):
        check_video("--video", tmp_path / "flight.avi")
    with pytest.raises(ConfigError, match=r"\.mp4 or \.gif"):
        draw_video(TRACE, tmp_path / "flight", "t", CF2X)
    check_video("--video", tmp_path / "flight.mp4")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(MissingExtraError, match=r"liquid-pilot\[report\]"):
        check_video("--video", tmp_path / "flight.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("which", ["--draw-flight", "--picture-flight"])
def test_evaluate_draws_the_flight_that_was_chosen(which: str, tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "flight.gif"
    fault = ["--fault", "flow:off@0.2s+0.3s"]
    words = ["geometric", "--flights", "2", "--seconds", "1", "--workers", "1", which, "1", "--video", str(path)]
    assert script.main([*words, *fault]) == 0
    assert path.read_bytes().startswith(b"GIF89a")
    assert "flight.gif" in "".join(capsys.readouterr().out.split())
