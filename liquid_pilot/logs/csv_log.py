"""Flight logs as CSV: one header line, one row per record, empty cells where a column does not apply."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Final

from liquid_pilot.errors import LiquidPilotError, MessageError
from liquid_pilot.logs.rows import (
    KINDS_OF_VERSION,
    LOG_VERSION,
    SCHEMA,
    TEXT_COLUMNS,
    FlushClock,
    LogContents,
    Record,
    from_row,
    open_file,
    to_row,
)


def _header(kinds: tuple[str, ...]) -> tuple[str, ...]:
    return ("kind", "t_s", *dict.fromkeys(name for kind in kinds for name in SCHEMA[kind][1]))


_HEADER: Final = _header(tuple(SCHEMA))
_WIDTHS: Final = {  # of every version that can be read
    ",".join(header): len(header)
    for header in (_HEADER, *(_header(tuple(SCHEMA)[:count]) for count in KINDS_OF_VERSION.values()))
}
_COLUMN: Final = {name: index for index, name in enumerate(_HEADER)}  # those of a version are the first of the next
_PLACES: Final = {kind: tuple(_COLUMN[name] for name in names) for kind, (_, names) in SCHEMA.items()}


class CsvLog:
    """A flight log as CSV; it is flushed to the system by the stamps' time, and to the disk by `flush` and `close`."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = io.TextIOWrapper(io.BufferedWriter(open_file(self.path), 1 << 16), encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(_HEADER)
        self._clock = FlushClock()

    def write(self, record: Record) -> None:
        """Append one record; numbers are written so that they read back bit-equal."""
        if self._file.closed:
            raise MessageError(f"flight log {self.path} is closed; open a new one for the next flight")
        kind, values = to_row(record)
        cells: list[str] = [""] * len(_HEADER)
        cells[0], cells[1] = kind, repr(float(record.t_s))
        for place, value in zip(_PLACES[kind], values, strict=True):
            cells[place] = " ".join(value.split()) if isinstance(value, str) else repr(float(value))
        self._writer.writerow(cells)
        if self._clock.due(record.t_s):
            self._file.flush()

    def flush(self) -> None:
        """Everything to the disk; may take as long as the disk does."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Flush and close."""
        if not self._file.closed:
            try:
                self.flush()
            finally:
                self._file.close()


def _parse_row(cells: list[str], width: int) -> Record:
    if len(cells) != width:
        raise MessageError(f"{len(cells)} cells; the header declares {width}")
    kind = cells[0]
    if kind not in SCHEMA or _PLACES[kind][-1] >= width:
        raise MessageError(f"unknown kind of row {kind!r}; choose one of: {', '.join(SCHEMA)}")
    names = SCHEMA[kind][1]
    try:
        values = tuple(
            cells[place] if name in TEXT_COLUMNS else float(cells[place])
            for name, place in zip(names, _PLACES[kind], strict=True)
        )
        return from_row(kind, float(cells[1]), values)
    except ValueError as error:
        raise MessageError(f"a {kind} row needs numbers in t_s, {', '.join(names)} ({error})") from error


def _read_text(path: Path) -> str:
    try:
        data = path.read_bytes().rstrip(b"\0")  # a file system that lost power may leave zeros at the end
    except OSError as error:
        raise LiquidPilotError(f"flight log {path} cannot be read ({error.strerror}); check the path") from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start >= len(data) - 4 and error.reason == "unexpected end of data":  # cut inside a character
            return data[: error.start].decode("utf-8")
        raise MessageError(f"{path} is not a CSV flight log: {error.reason} at byte {error.start}") from error


def read_csv(path: str | Path) -> LogContents:
    """Records of a CSV flight log. A last line that was cut off is dropped, with a note.

    Raises `MessageError` where the file is not a flight log, and `LiquidPilotError` where it cannot be read.
    """
    path = Path(path)
    lines = _read_text(path).split("\n")
    tail = lines.pop()  # what follows the last line end: nothing, unless the file was cut off
    if not lines or lines[0] not in _WIDTHS:
        found = (lines[0] if lines else tail)[:60]
        raise MessageError(f"{path} is not a flight log of version 1 to {LOG_VERSION}: it starts with {found!r}")
    width = _WIDTHS[lines[0]]
    records = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            records.append(_parse_row(next(csv.reader([line], strict=True), []), width))
        except (MessageError, csv.Error) as error:
            raise MessageError(f"{path}, line {number}: {error}; the file was damaged or edited") from error
    notes = (f"{path}, line {len(lines) + 1}: cut off in the middle, dropped",) if tail else ()
    return LogContents(tuple(records), notes)
