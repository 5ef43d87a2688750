"""Pictures come out whole, in the promised size, for every kind of flight; the report needs no network."""

from __future__ import annotations

import base64
import re
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from liquid_pilot.errors import ConfigError
from scripts.pictures.curves import draw_learning_curve, read_progress
from scripts.pictures.flight import draw_flight
from scripts.pictures.rates import draw_rates, wilson
from scripts.pictures.report import Paragraph, Picture, Section, Table, write_report
from scripts.pictures.style import DPI
from tests.scripts.synthetic import synthetic_trace


def png_size(path: Path) -> tuple[int, int]:
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", head[16:24])
    return int(width), int(height)


def pixels(width_in: float, height_in: float) -> tuple[int, int]:
    return round(width_in * DPI), round(height_in * DPI)


def spread(path: Path) -> float:
    """Standard deviation of all pixels: an empty canvas has none."""
    from matplotlib.image import imread

    return float(np.asarray(imread(path)).std())


def test_a_flight_with_neurons_gives_two_pictures(tmp_path: Path) -> None:
    written = draw_flight(synthetic_trace(), tmp_path / "new" / "flight.png", "a flight")
    assert [path.name for path in written] == ["flight.png", "flight_neurons.png"]
    assert png_size(written[0]) == pixels(15.5, 11.5)
    assert all(spread(path) > 0.05 for path in written)


def test_a_flight_without_network_and_supervisor_gives_one(tmp_path: Path) -> None:
    trace = replace(synthetic_trace(units=0), supervisor=(), arrivals_s={})
    assert len(draw_flight(trace, tmp_path / "flight.png", "expert")) == 1


def test_a_flight_that_is_lost_at_once_can_be_drawn(tmp_path: Path) -> None:
    trace = synthetic_trace(flight_s=0.06)
    trace = replace(trace, time_constant_s=np.zeros((len(trace.t_s), 0)))
    assert len(draw_flight(trace, tmp_path / "short.png", "short")) == 2


PROGRESS = """update,elapsed_s,loss,horizon_s,success_rate,speed_error_median_m_s
1,1.0,5.0,1.0,nan,nan
2,2.0,3.0,1.5,nan,nan
2,2.0,nan,nan,0.5,inf
3,3.0,2.0,2.0,,
3,3.0,nan,nan,0.9,0.12
"""


def test_learning_curve_reads_csv_and_json_lines_alike(tmp_path: Path) -> None:
    csv = tmp_path / "progress.csv"
    csv.write_text(PROGRESS)
    lines = tmp_path / "progress.jsonl"
    lines.write_text(
        '{"update": 1, "elapsed_s": 1.0, "loss": 5.0, "horizon_s": 1.0}\n'
        '{"update": 2, "elapsed_s": 2.0, "loss": 3.0, "horizon_s": 1.5}\n'
    )
    a, b = read_progress(csv), read_progress(lines)
    np.testing.assert_array_equal(a["loss"][:2], b["loss"])
    assert np.isnan(a["success_rate"][3])
    picture = draw_learning_curve(csv, tmp_path / "curve.png", "learning")
    assert png_size(picture) == pixels(13.0, 4.6)
    assert spread(draw_learning_curve(lines, tmp_path / "early.png")) > 0.02  # no validation yet


@pytest.mark.parametrize("text", ["", "update,loss\n1,2\n", "elapsed_s,loss\n"])
def test_a_log_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "progress.csv"
    path.write_text(text)
    with pytest.raises(ConfigError, match="elapsed_s"):
        read_progress(path)
    with pytest.raises(ConfigError, match="no training log"):
        read_progress(tmp_path / "absent.csv")


def test_rates_are_drawn_with_failures_and_mixed_intervals(tmp_path: Path) -> None:
    cells = [
        {"policy": p, "group": g, "label": label, "success_rate": s, "flights": 50, "speed_error_median_m_s": e}
        for p in ("one", "two")
        for g, label, s, e in (
            ("imu", "25", 1.0, 0.05),
            ("imu", "mixed", 0.3, None),
            ("flow", "5", 0.8, 0.2),
            ("loss", "30 %\ndropped", 0.0, None),
        )
    ]
    assert png_size(draw_rates(cells, tmp_path / "rates.png", "rates")) == pixels(15.0, 8.2)


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (5, 10), (198, 200), (200, 200)])
def test_wilson_interval_holds_the_share_and_shrinks_with_flights(successes: int, n: int) -> None:
    low, high = wilson(successes / n, n)
    assert 0.0 <= low <= successes / n <= high <= 1.0
    assert low < high
    more = wilson(successes / n, 4 * n)
    assert more[1] - more[0] < high - low


def test_wilson_known_answer() -> None:
    low, high = wilson(0.5, 100)
    assert low == pytest.approx(0.4038, abs=1e-4)
    assert high == pytest.approx(0.5962, abs=1e-4)


def test_the_report_holds_everything_and_links_to_nothing(tmp_path: Path) -> None:
    picture = draw_learning_curve(_log(tmp_path), tmp_path / "curve.png")
    sections = [
        Section("Scores", [Table(("policy", "up"), [("a<b", "99 %")], "caption"), Paragraph("1 < 2 & more")]),
        Section("Picture", [Picture(picture, 'a "curve"')]),
    ]
    page = write_report(tmp_path / "deep" / "report.html", "Title & more", sections).read_text(encoding="utf-8")
    words = re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)  # base64 may hold // by chance
    assert re.search(r"https?:|//[a-z]|<script|<link|@import|url\(", words) is None
    assert "a&lt;b" in page and "1 &lt; 2 &amp; more" in page and "Title &amp; more" in page
    assert 'name="viewport"' in page and "prefers-color-scheme:dark" in page
    embedded = re.search(r'src="data:image/png;base64,([^"]+)"', page)
    assert embedded is not None
    assert base64.b64decode(embedded[1]) == picture.read_bytes()


def test_a_report_without_its_picture_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        write_report(tmp_path / "r.html", "t", [Section("s", [Picture(tmp_path / "no.png", "none")])])


def _log(folder: Path) -> Path:
    path = folder / "progress.csv"
    path.write_text(PROGRESS)
    return path
