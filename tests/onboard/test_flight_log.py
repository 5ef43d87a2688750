"""Flight logs come back as they were written, cut-off ones up to the cut, damaged ones not at all."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from liquid_pilot.controller import Controller
from liquid_pilot.errors import ConfigError, LiquidPilotError, MessageError, MissingExtraError
from liquid_pilot.logs import (
    LOG_VERSION,
    SCHEMA,
    CsvLog,
    Event,
    McapLog,
    Record,
    Report,
    from_row,
    open_log,
    read_csv,
    read_log,
    read_mcap,
    to_row,
)
from liquid_pilot.messages import Attitude, Command, Flow, FlowGrid, Imu, Position, PositionSetpoint, Range, Setpoint
from tests.onboard.flying import fly, small_bundle, stream

NAN = math.nan
RECORDS: list[Record] = [
    Setpoint(0.0, (0.1, -0.2), 1.0, 0.3),
    Imu(0.01, (1 / 3, -2e-300, 3.0), (NAN, NAN, NAN)),
    Flow(0.012, 0.02, (0.1, -math.inf), 0.7),
    Range(0.013, NAN),
    Position(0.0131, (1.0, -2.0, 1 / 3), (0.1, NAN, -0.0)),
    Event(0.013, "state", 'ACTIVE -> DEGRADED: "FLOW_SILENT", again'),
    Command(0.01, 9.81, (0.1, 0.2, -0.3)),
    Report(0.02, "battery", 1 / 3),
    Attitude(0.021, (1 / 3, -0.0, NAN, 0.5)),
    PositionSetpoint(0.022, (NAN, -2.0, 1 / 3), (0.1, NAN, -0.0), NAN),
    Imu(-5.0, (0.0, -0.0, 1e300), (0.0, 0.0, 9.81)),
    FlowGrid(0.03, 0.05, (1 / 3, -0.1), (0.1,), np.array([[[1 / 3, NAN], [-math.inf, 1e300]]])),
    FlowGrid(0.08, 0.05, (0.1,), (1 / 3, -0.1), np.array([[[0.5, NAN]], [[-0.0, np.float32(0.1)]]])),
]
numbers = st.floats()
three = st.tuples(numbers, numbers, numbers)
records: st.SearchStrategy[Record] = st.one_of(
    st.builds(Imu, numbers, three, three),
    st.builds(Flow, numbers, numbers, st.tuples(numbers, numbers), numbers),
    st.builds(Range, numbers, numbers),
    st.builds(Position, numbers, three, three),
    st.builds(Setpoint, numbers, st.tuples(numbers, numbers), numbers, numbers),
    st.builds(Attitude, numbers, st.tuples(numbers, numbers, numbers, numbers)),
    st.builds(PositionSetpoint, numbers, three, three, numbers),
    st.builds(Command, numbers, numbers, three),
    st.builds(Report, numbers, st.sampled_from(["tick", "link"]), numbers),
    st.builds(
        FlowGrid,
        numbers,
        numbers,
        st.tuples(numbers, numbers),
        st.tuples(numbers, numbers, numbers),
        st.one_of(*(arrays.arrays(kind, (3, 2, 2)) for kind in (np.float64, np.float32))),
    ),
    st.builds(Event, numbers, st.sampled_from(["state", "clock"]), st.text("abc ,\";'", max_size=9).map(str.strip)),
)


class Recorder:
    """A log in memory."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def write(self, record: Record) -> None:
        self.records.append(record)

    def close(self) -> None:
        """Nothing to close."""


def same(a: object, b: object) -> bool:
    """Equal, with NaN equal to NaN."""
    return type(a) is type(b) and repr(a) == repr(b) and (a == b or not isinstance(a, FlowGrid))


def write(log: CsvLog | McapLog, rows: list[Record]) -> Path:
    for record in rows:
        log.write(record)
    log.close()
    return log.path


@pytest.mark.parametrize(("make", "read"), [(CsvLog, read_csv), (McapLog, read_mcap)])
def test_round_trip(make: Any, read: Any, tmp_path: Path) -> None:
    contents = read(write(make(tmp_path / "new" / "flight.log"), RECORDS))
    assert contents.notes == ()
    assert len(contents.records) == len(RECORDS) and all(map(same, contents.records, RECORDS))


@settings(max_examples=60, deadline=None)
@given(st.lists(records, max_size=8))
def test_any_record_survives_both_formats(tmp_path_factory: pytest.TempPathFactory, rows: list[Record]) -> None:
    folder = tmp_path_factory.mktemp("log")
    for read, log in ((read_csv, CsvLog(folder / "a.csv")), (read_mcap, McapLog(folder / "a.mcap"))):
        back = read(write(log, rows)).records
        if read is read_csv:  # one line per record: white space in a text is one blank
            rows_there = [Event(r.t_s, r.kind, " ".join(r.text.split())) if isinstance(r, Event) else r for r in rows]
        else:
            rows_there = rows
        assert len(back) == len(rows_there) and all(map(same, back, rows_there))


@pytest.mark.parametrize("record", RECORDS, ids=lambda r: type(r).__name__)
def test_rows_have_the_declared_columns(record: Record) -> None:
    kind, values = to_row(record)
    assert SCHEMA[kind][0] is type(record) and len(values) == len(SCHEMA[kind][1])
    assert same(from_row(kind, record.t_s, values), record)


def test_a_csv_cut_anywhere_gives_the_whole_lines_before_the_cut(tmp_path: Path) -> None:
    data = write(CsvLog(tmp_path / "a.csv"), RECORDS).read_bytes()
    header = data.index(b"\n") + 1
    for cut in range(header, len(data)):
        (tmp_path / "cut.csv").write_bytes(data[:cut])
        contents = read_csv(tmp_path / "cut.csv")
        whole = data[:cut].count(b"\n") - 1
        assert list(map(repr, contents.records)) == list(map(repr, RECORDS[:whole]))
        assert bool(contents.notes) == (data[cut - 1 : cut] != b"\n")


def test_a_cut_mcap_gives_what_was_whole(tmp_path: Path) -> None:
    data = write(McapLog(tmp_path / "a.mcap"), RECORDS * 2000).read_bytes()
    (tmp_path / "cut.mcap").write_bytes(data[: len(data) // 2])
    contents = read_mcap(tmp_path / "cut.mcap")
    assert contents.notes and 1000 < len(contents.records) < len(RECORDS) * 2000
    assert list(map(repr, contents.records[: len(RECORDS)])) == list(map(repr, RECORDS))


@pytest.mark.parametrize(
    ("newest", "unknown"), [("event", "report"), ("report", "attitude"), ("position_setpoint", "flow_grid")]
)
def test_a_log_of_an_older_version_can_still_be_read(newest: str, unknown: str, tmp_path: Path) -> None:
    path, kinds = tmp_path / "old.csv", list(SCHEMA)
    known = kinds[: kinds.index(newest) + 1]
    old = "kind,t_s," + ",".join(dict.fromkeys(n for kind in known for n in SCHEMA[kind][1]))
    place = old.split(",").index("distance_m")
    cells = [""] * (old.count(",") + 1)
    cells[0], cells[1], cells[place] = "range", "0.5", "1.25"
    path.write_text(f"{old}\n{','.join(cells)}\n")
    assert read_csv(path).records == (Range(0.5, 1.25),)
    path.write_text(f"{old}\n{unknown},0.5{',' * (old.count(',') - 1)}\n")
    with pytest.raises(MessageError, match="unknown kind of row"):
        read_csv(path)


@pytest.mark.parametrize(
    "cells",
    [
        ("0.1 0.2", "0.1", "f8:AAAA"),
        ("0.1", "0.1", "f8:*"),
        ("0.1", "0.1", "f2:AAAAAAAAAAAAAAAAAAAAAA=="),
        ("0.1", "", "f8:AAAAAAAAAAAAAAAAAAAAAA=="),
        ("0.1", "high", "f8:AAAAAAAAAAAAAAAAAAAAAA=="),
        ("0.1", "0.1", ""),
    ],
)
def test_a_damaged_grid_is_refused(cells: tuple[str, ...], tmp_path: Path) -> None:
    assert isinstance(from_row("flow_grid", 0.0, (0.05, "0.1", "0.1", "f8:AAAAAAAAAAAAAAAAAAAAAA==")), FlowGrid)
    with pytest.raises(MessageError, match=r"FlowGrid|grid"):
        from_row("flow_grid", 0.0, (0.05, *cells))
    log = CsvLog(tmp_path / "a.csv")
    log.write(FlowGrid(0.0, 0.05, (0.1,), (0.1,), np.zeros((1, 1, 2))))
    log.close()
    good = (tmp_path / "a.csv").read_text()
    (tmp_path / "a.csv").write_text(
        good.replace("f4:AAAAAAAAAAA=", cells[2]).replace(",0.1,0.1,", f",{cells[0]},{cells[1]},")
    )
    with pytest.raises(MessageError, match="line 2"):
        read_csv(tmp_path / "a.csv")


def test_a_log_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    data = write(McapLog(tmp_path / "a.mcap"), RECORDS).read_bytes()
    mark = f"liquid_pilot log {LOG_VERSION}".encode()
    assert mark in data
    (tmp_path / "new.mcap").write_bytes(data.replace(mark, b"liquid_pilot log 9"))
    with pytest.raises(MessageError, match="version '9'"):
        read_mcap(tmp_path / "new.mcap")


def test_formats_are_told_by_name_for_writing_and_by_content_for_reading(tmp_path: Path) -> None:
    for name in ("a.csv", "a.mcap"):
        log = open_log(tmp_path / name)
        path = write(log, RECORDS).rename(tmp_path / "renamed")
        assert list(map(repr, read_log(path).records)) == list(map(repr, RECORDS))
    with pytest.raises(ConfigError, match=r"\.mcap or \.csv"):
        open_log(tmp_path / "a.bag")
    with pytest.raises(LiquidPilotError, match="cannot be read"):
        read_log(tmp_path / "none")


@pytest.mark.parametrize(
    "garbage", [b"", b"\n\n", b"hello", b"\xff\xfe\x00", b"kind,t_s\nimu,1\n", bytes(range(256)) * 9]
)
def test_garbage_is_refused(garbage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "garbage"
    path.write_bytes(garbage)
    for read in (read_csv, read_mcap):
        with pytest.raises(LiquidPilotError, match="garbage"):
            read(path)


@pytest.mark.parametrize(
    "line",
    ["", "imu,1.0", "gps" + "," * 20, "imu" + "," * 20, 'event,1.0,"' + "," * 20, "\0" * 9, "range,1.0" + ",x" * 19],
)
def test_a_damaged_line_is_named(line: str, tmp_path: Path) -> None:
    path = write(CsvLog(tmp_path / "a.csv"), RECORDS[:2])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(MessageError, match="line 4"):
        read_csv(path)


def test_paths_that_cannot_be_used(tmp_path: Path) -> None:
    for attempt in (
        lambda: CsvLog(tmp_path),
        lambda: McapLog(tmp_path),
        lambda: read_csv(tmp_path / "none.csv"),
        lambda: read_mcap(tmp_path / "none.mcap"),
        lambda: read_csv(tmp_path),
    ):
        with pytest.raises(LiquidPilotError, match="cannot be"):
            attempt()


def test_a_closed_log_and_foreign_objects_are_refused(tmp_path: Path) -> None:
    for log in (CsvLog(tmp_path / "a.csv"), McapLog(tmp_path / "a.mcap")):
        with pytest.raises(MessageError, match="cannot be logged"):
            log.write("text")  # type: ignore[arg-type]  # that is the test
        log.close()
        log.close()
        with pytest.raises(MessageError, match="closed"):
            log.write(RECORDS[0])


def test_without_mcap_the_error_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(MissingExtraError, match=r"pip install 'liquid-pilot\[log\]'"):
        McapLog(tmp_path / "a.mcap")
    assert not (tmp_path / "a.mcap").exists()


def test_a_full_disk_does_not_end_a_flight() -> None:
    class Full(Recorder):
        def write(self, record: Record) -> None:
            raise OSError(28, "No space left on device")

    controller, healthy = Controller(small_bundle(), log=Full()), Controller(small_bundle())
    assert fly(controller, stream(0.5)) == fly(healthy, stream(0.5))
    assert [event.kind for event in controller.events].count("log") == 1
