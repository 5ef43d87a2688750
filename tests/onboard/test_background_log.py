"""Writing a log keeps nobody waiting, loses nothing silently, and survives the death of the program."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from liquid_pilot.controller import Controller
from liquid_pilot.errors import ConfigError, LiquidPilotError, MessageError
from liquid_pilot.logs import CsvLog, Event, McapLog, Record, read_csv, read_log, read_mcap
from liquid_pilot.logs.background import BackgroundLog
from liquid_pilot.messages import Imu, Range
from tests.onboard.flying import fly, small_bundle, stream


class Gate:
    """A log whose disk stands still until it is opened."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.open = threading.Event()
        self.closed = self.flushed = 0

    def write(self, record: Record) -> None:
        self.open.wait(30.0)
        self.records.append(record)

    def flush(self) -> None:
        self.flushed += 1

    def close(self) -> None:
        self.closed += 1


class Full(Gate):
    """A disk that is full after some records."""

    def write(self, record: Record) -> None:
        if len(self.records) >= 3:
            raise OSError(28, "No space left on device")
        self.records.append(record)


def numbered(count: int) -> list[Record]:
    return [Range(0.01 * k, float(k)) for k in range(count)]


def until(condition: Any) -> None:
    for _ in range(3000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came")


def test_everything_is_written_in_order_and_closing_waits_for_it() -> None:
    gate = Gate()
    gate.open.set()
    log = BackgroundLog(gate)
    rows = numbered(2000)
    for record in rows:
        log.write(record)
    log.close()
    log.close()
    assert gate.records == rows and gate.closed == 1 and log.dropped == 0 and not log.failed
    with pytest.raises(MessageError, match="closed"):
        log.write(rows[0])


def test_a_disk_that_stands_still_blocks_nobody_and_what_is_missing_is_said_where_it_is_missing() -> None:
    gate = Gate()
    log = BackgroundLog(gate, capacity=10)
    rows = numbered(100)
    for record in rows:
        log.write(record)  # would hang here
    assert log.dropped >= 89 and log.waiting <= 10
    gate.open.set()
    until(lambda: log.waiting == 0)
    log.write(Range(5.0, 5.0))
    log.close()
    kept = [r for r in gate.records if isinstance(r, Range)]
    assert kept == [*rows[: len(kept) - 1], Range(5.0, 5.0)]
    (note,) = [r for r in gate.records if isinstance(r, Event)]
    assert note.text.startswith(f"{log.dropped} records are missing here") and gate.records[-2] is note


def test_a_gap_at_the_end_is_noted_when_the_log_is_closed() -> None:
    gate = Gate()
    log = BackgroundLog(gate, capacity=2)
    for record in numbered(9):
        log.write(record)
    gate.open.set()
    log.close()
    assert isinstance(gate.records[-1], Event) and len(gate.records) == 1 + 9 - log.dropped


def test_a_log_that_is_not_written_in_time_is_given_up() -> None:
    gate = Gate()
    log = BackgroundLog(gate)
    log.write(Range(0.0, 1.0))
    with pytest.raises(LiquidPilotError, match="not finished after"):
        log.close(limit_s=0.05)
    gate.open.set()
    until(lambda: gate.closed == 1)


def test_a_full_disk_is_told_once_and_the_flight_goes_on() -> None:
    full = Full()
    log = BackgroundLog(full)
    log.write(Range(0.0, 0.0))
    controller, healthy = Controller(small_bundle(), log=log), Controller(small_bundle())
    messages = stream(1.0)
    flown = fly(controller, messages[:100])
    until(lambda: log.failed)
    flown += fly(controller, messages[100:])
    assert flown == fly(healthy, messages)
    told = [event for event in controller.events if event.kind == "log"]
    assert len(told) == 1 and "No space left" in told[0].text and full.closed == 1
    dropped = log.dropped
    log.write(Range(0.0, 0.0))
    assert log.dropped == dropped + 1
    log.close()


def test_a_failure_that_nobody_was_told_comes_with_close() -> None:
    log = BackgroundLog(Full())
    for record in numbered(5):
        log.write(record)
    with pytest.raises(LiquidPilotError, match="No space left"):
        log.close()


@pytest.mark.parametrize("capacity", [1, 0, -5, 2.5, True, None])
def test_capacities_that_make_no_sense(capacity: Any) -> None:
    with pytest.raises(ConfigError, match="capacity"):
        BackgroundLog(Gate(), capacity=capacity)


CHILD = """
import sys, time
from liquid_pilot.logs.background import BackgroundLog
from liquid_pilot.logs import open_log
from liquid_pilot.messages import Range
log = BackgroundLog(open_log(sys.argv[1]))
k = 0
while True:
    for _ in range(20):
        log.write(Range(1e-9 * k, float(k)))  # stamps that flush nothing: only the clock on the wall does
        k += 1
    time.sleep(0.005)
"""


@pytest.mark.parametrize("name", ["flight.mcap", "flight.csv"])
def test_a_program_that_is_killed_leaves_a_log_that_can_be_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    root = str(Path(__file__).parents[2])
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), str(path)], env={**os.environ, "PYTHONPATH": root}
    )

    def rows() -> int:
        try:
            return len(read_log(path).records)
        except LiquidPilotError:
            return 0

    try:
        until(lambda: path.exists() and rows() > 200)
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    contents = read_log(path)
    assert len(contents.records) > 200
    assert [r.distance_m for r in contents.records if isinstance(r, Range)] == list(map(float, range(rows())))


def test_a_log_cut_anywhere_gives_all_but_the_last_half_second(tmp_path: Path) -> None:
    """Every kind of place: inside the head, a chunk's head, its data, the index, the summary, the last mark."""
    rows: list[Record] = [Imu(0.004 * k, (0.1 * k, 0.0, 0.0), (0.0, 0.0, 9.81)) for k in range(500)]  # 2 s
    log = McapLog(tmp_path / "a.mcap")
    ends: list[tuple[int, int]] = []  # (bytes on the disk, records in them)
    for count, record in enumerate(rows, start=1):
        log.write(record)
        size = log.path.stat().st_size
        if not ends or size != ends[-1][0]:
            ends.append((size, count))
    log.close()
    data = log.path.read_bytes()
    assert len(ends) >= 4 and all(
        rows[b - 1].t_s - rows[a - 1].t_s <= 0.5 + 0.004 for (_, a), (_, b) in itertools.pairwise(ends)
    )
    cut = tmp_path / "cut.mcap"
    places = sorted(
        {*range(8, 400, 41), *range(len(data) - 300, len(data), 17), len(data) - 1, *range(8, len(data), 3989)}
        | {size + d for size, _ in ends for d in (-1, 0, 9) if size + d < len(data)}
    )
    for k, place in enumerate(places):
        cut.write_bytes(data[:place] + bytes(4096 * (k % 2)))
        found = read_mcap(cut).records
        assert list(found) == rows[: len(found)]
        assert len(found) >= max((count for size, count in ends if size <= place), default=0)


def test_zeros_after_a_power_cut_are_no_damage(tmp_path: Path) -> None:
    log = CsvLog(tmp_path / "a.csv")
    for record in numbered(5):
        log.write(record)
    log.close()
    data = log.path.read_bytes()
    log.path.write_bytes(data[:-3] + bytes(4096))
    assert list(read_csv(log.path).records) == numbered(4) and read_csv(log.path).notes
