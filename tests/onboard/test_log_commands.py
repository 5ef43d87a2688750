"""`liquid-pilot replay`, `report` and `mask`: what they say, what they hide, and that no log can steer a page."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from liquid_pilot.bundle import save_bundle
from liquid_pilot.cli import main
from liquid_pilot.controller import Controller
from liquid_pilot.logs import CsvLog, Event, McapLog, Record, open_log, read_log
from liquid_pilot.logs.background import BackgroundLog
from liquid_pilot.logs.masked import MaskedLog, masked
from liquid_pilot.logs.page import page
from liquid_pilot.logs.summary import series, summarise
from liquid_pilot.messages import Command, Flow, Imu, Position, PositionSetpoint, Range, Setpoint
from tests.onboard.bundles import make, make_locating
from tests.onboard.flying import fly, stream

HOME = (4_321.5, -987.25, 543.125)
HOSTILE = '</td><script>alert(1)</script><img src=x onerror="alert(2)">\u202e\x1b[2J$\\frac{1}{0}$ & "quoted"'


def flight(path: Path) -> list[Record]:
    """A flight of the shipped policy with positions, one of them refused."""
    log = BackgroundLog(open_log(path))
    controller = Controller.load("hover", log=log)
    places = [Position(0.1 * k + 0.001, (HOME[0] + k, HOME[1] - k, HOME[2]), (1.0, 2.0, 3.0)) for k in range(10)]
    refused = Position(0.9995, (HOME[0] + 1.0, HOME[1], HOME[2]), (9e9, 0.0, 0.0))
    far = Position(0.9996, (HOME[0] * 1e6, HOME[1], HOME[2]), (0.0, 0.0, 0.0))
    fly(controller, sorted([*stream(1.0), *places, refused, far], key=lambda m: m.t_s))
    log.close()
    return list(read_log(path).records)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    code = main(arguments)
    return code, capsys.readouterr().out


@pytest.mark.parametrize("name", ["flight.mcap", "flight.csv"])
def test_the_policy_that_flew_gives_the_same_commands(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    commands = [record for record in flight(path) if isinstance(record, Command)]
    code, text = shown(capsys, "replay", "hover", str(path))
    assert code == 0 and "identical, bit for bit" in text and f"{len(commands)} at equal times" in text
    code, text = shown(capsys, "replay", "hover", str(path), "--mask-position", "--json")
    told = json.loads(text)
    assert code == 0 and told["identical"] and told["same_policy"] and told["paired"] == len(commands) == 100


def test_a_log_that_was_edited_or_lost_records_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = flight(tmp_path / "a.csv")
    log = CsvLog(tmp_path / "b.csv")
    for record in records:
        if not isinstance(record, Flow):
            log.write(record)
    log.close()
    code, text = shown(capsys, "replay", "hover", str(tmp_path / "b.csv"))
    assert code == 1 and "NOT identical" in text and "thrust_m_s2" in text


def test_another_policy_is_compared_and_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flight(tmp_path / "a.mcap")
    other = str(save_bundle(tmp_path / "other.safetensors", make()))
    code, text = shown(
        capsys, "replay", other, str(tmp_path / "a.mcap"), "--picture", str(tmp_path / "d.png"), "--json"
    )
    told = json.loads(text)
    assert (
        code == 0 and not told["same_policy"] and told["largest"]["thrust_m_s2"] > 0.0 and told["against"] == "the log"
    )
    assert (tmp_path / "d.png").read_bytes().startswith(b"\x89PNG")
    code, text = shown(capsys, "replay", "hover", str(tmp_path / "a.mcap"), "--against", other, "--json")
    back = json.loads(text)
    assert code == 0 and back["largest"] == told["largest"] and back["rms"] == told["rms"]


def test_bad_input_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flight(tmp_path / "a.csv")
    good, none = str(tmp_path / "a.csv"), str(tmp_path / "none")
    for arguments in (
        ("replay", "hover", none),
        ("replay", "nobody", good),
        ("replay", "hover", good, "--against", "nobody"),
        ("replay", "hover", good, "--picture", str(tmp_path)),
        ("report", none),
        ("report", good, "--out", str(tmp_path)),
        ("mask", good, good),
        ("mask", good, str(tmp_path / "b.bag")),
    ):
        assert main(arguments) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith("liquid-pilot: ") and captured.err.count("\n") == 1 and not captured.out


def text_of(records: Iterable[Record]) -> str:
    return "\n".join(map(repr, records))


@pytest.mark.parametrize("make_log", [CsvLog, McapLog])
def test_masking_hides_the_place_and_nothing_else(
    make_log: type[CsvLog] | type[McapLog], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = flight(tmp_path / "a.csv")
    assert re.search("432[0-9]|98[0-9]\\.25|543", text_of(records))
    log = MaskedLog(make_log(tmp_path / "written"))
    for record in records:
        log.write(record)
    log.flush()
    log.close()
    code, _ = shown(capsys, "mask", str(tmp_path / "a.csv"), str(tmp_path / "b.mcap"))
    assert code == 0
    copies = [read_log(tmp_path / "written").records, read_log(tmp_path / "b.mcap").records, masked(records)]
    assert len({text_of(copy) for copy in copies}) == 1
    copy = copies[0]
    for place in ("432", "987", "988", "543.", "4.32"):
        assert place not in text_of([r for r in copy if isinstance(r, (Position, Event))])
    kept = [r for r in copy if isinstance(r, Position)]
    before = [r for r in records if isinstance(r, Position)]
    assert [r.position_m for r in kept[:3]] == [(0.0, 0.0, 0.0), (1.0, -1.0, 0.0), (2.0, -2.0, 0.0)]
    assert [(r.t_s, r.velocity_m_s) for r in kept] == [(r.t_s, r.velocity_m_s) for r in before]
    assert any(math.isnan(r.position_m[0]) for r in kept)  # was refused, and still is
    others = [r for r in copy if not isinstance(r, (Position, Event))]
    assert text_of(others) == text_of([r for r in records if not isinstance(r, (Position, Event))])
    assert "Position dropped: masked [rejected_position: 1]" in text_of(copy)


def test_masking_hides_targets_too_and_what_is_said_of_them(tmp_path: Path) -> None:
    log, still = open_log(tmp_path / "a.csv"), (0.0, 0.0, 0.0)
    controller = Controller(make_locating(), log=log)
    for message in (
        PositionSetpoint(0.0, (4321.0, -4321.0, 1.0), still, math.nan),
        PositionSetpoint(0.0, (math.nan, -4321.0, 1.0), still, math.nan),  # refused
        PositionSetpoint(0.0, (4322.0, -4321.0, 54.0), still, math.nan),  # cut
        Position(0.0, (4325.0, -4321.0, 1.5), still),
        Imu(0.01, still, (0.0, 0.0, 9.81)),
    ):
        controller.feed(message)
    log.close()
    records = read_log(log.path).records
    copy = masked(records)
    assert "432" in text_of(records) and "432" not in text_of(copy) and "54.0" not in text_of(copy)
    targets = [r.position_m[0] for r in copy if isinstance(r, PositionSetpoint)]
    assert targets == pytest.approx([0.0, math.nan, 1.0], nan_ok=True)
    assert [r.position_m for r in copy if isinstance(r, Position)] == [(4.0, 0.0, 0.5)]
    for words in ("[rejected_position_setpoint: 1]", "[clamped_position_setpoint: 1]"):
        assert f"PositionSetpoint: masked {words}" in text_of(copy)


class Links(HTMLParser):
    """Everything in a page that could load or run."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name.startswith("on") or name in ("src", "href", "data", "action", "style"):
                self.found.append(f"{tag} {name} {(value or '')[:22]}")


def test_a_report_is_one_page_that_loads_nothing_and_no_text_of_a_log_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = flight(tmp_path / "a.mcap")
    log = McapLog(tmp_path / "<b>hostile.mcap")
    state = f"READY -> KILLED: {HOSTILE}"
    for record in [*records, Event(0.5, HOSTILE, HOSTILE), Event(0.6, "state", state), Event(0.7, "latency", HOSTILE)]:
        log.write(record)
    log.close()
    out = tmp_path / "page.html"
    code, text = shown(capsys, "report", str(log.path), "--policy", "hover", "--out", str(out))
    assert code == 0 and "page.html" in text
    html = out.read_text(encoding="utf-8")
    links = Links()
    links.feed(html)
    assert set(links.found) == {"img src data:image/png;base64,"} and len(links.found) == 4
    tags = "html head meta title style body h1 h2 section p ul li div table thead tbody tr th td figure img figcaption"
    assert links.tags <= set(tags.split())
    words = re.sub(r"base64,[^\"]*", "", html).replace("http-equiv", "")
    assert not any(bad in words for bad in ("<script", "\u202e", "\x1b", "http", "url("))
    assert html.count("&lt;script&gt;") == 6 and "All commands are identical" in html


def test_the_figures_of_a_report() -> None:
    records: list[Record] = [
        Setpoint(0.0, (0.5, 0.0), 1.5, 0.0),
        *[Imu(0.01 * k, (0.0, 0.0, 0.1), (0.0, 0.0, 9.81)) for k in range(101) if not 40 < k < 60],
        Imu(0.5, (0.0, 0.0, 0.0), (0.0, 0.0, 9.81)),
        Imu(1000.0, (0.0, 0.0, 0.0), (0.0, 0.0, 9.81)),
        Event(0.1, "state", "READY -> ACTIVE: SETPOINT_GIVEN"),
        Event(0.7, "state", "ACTIVE -> LAND: STOP"),
        Event(0.8, "state", "no state at all"),
    ]
    found = summarise(records)
    (setpoint,) = (s for s in found.streams if s.kind == "setpoint")
    (imu,) = (s for s in found.streams if s.kind == "imu")
    assert setpoint.count == 1 and math.isnan(setpoint.rate_hz)
    assert imu.rate_hz == pytest.approx(100.0) and imu.backwards == 1
    assert found.duration_s == pytest.approx(1.0)  # a leap of the clock is no flight
    assert [(s.state, round(s.end_s - s.start_s, 3)) for s in found.spans[:2]] == [("INIT", 0.1), ("ACTIVE", 0.6)]
    moving: list[Record] = [Range(0.005, 2.0), Flow(0.0199, 0.01, (0.005, -0.01), 1.0)]
    curves = series(sorted([*records[:4], *moving], key=lambda r: r.t_s))
    assert curves.velocity_m_s[-1] == pytest.approx([1.0, -2.0]) and curves.range_m[-1] == 2.0
    assert curves.setpoint[-1] == pytest.approx([0.5, 0.0, 1.5, 0.0])


def test_a_log_of_nothing_still_gives_a_page() -> None:
    assert "<h2>Events</h2>" in page("empty", summarise([]), [], {})
    assert series([]).t_s.shape == (0,)
