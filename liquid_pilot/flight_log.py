"""The flight log: every message in, every command out, every event, in the order in which they happened.

`SCHEMA` is the only place where rows are declared; the CSV header, the MCAP channels and both readers are
derived from it. Order is order of arrival, so that a log can be replayed.
"""

from __future__ import annotations

import csv
import io
import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from liquid_pilot.errors import LiquidPilotError, MessageError, MissingExtraError
from liquid_pilot.messages import Command, Flow, Imu, Position, Range, Setpoint

LOG_VERSION: Final = 1
_MCAP_MAGIC: Final = b"\x89MCAP0\r\n"
FLUSH_ROWS: Final = 256  # at most this many rows are lost when power goes


@dataclass(frozen=True, slots=True)
class Event:
    """What the controller decided or noticed. kind: one word ("state", "rejected", "clock", ...)."""

    t_s: float
    kind: str
    text: str


Record: TypeAlias = Imu | Flow | Range | Position | Setpoint | Command | Event
Cell: TypeAlias = float | str

# kind of row -> (type, columns after t_s). Columns of one name share a CSV column.
SCHEMA: Final[dict[str, tuple[type[Any], tuple[str, ...]]]] = {
    "imu": (
        Imu,
        ("gyro_x_rad_s", "gyro_y_rad_s", "gyro_z_rad_s", "accel_x_m_s2", "accel_y_m_s2", "accel_z_m_s2"),
    ),
    "flow": (Flow, ("dt_s", "flow_x_rad", "flow_y_rad", "quality")),
    "range": (Range, ("distance_m",)),
    "position": (
        Position,
        (
            "position_x_m",
            "position_y_m",
            "position_z_m",
            "velocity_east_m_s",
            "velocity_north_m_s",
            "velocity_up_m_s",
        ),
    ),
    "setpoint": (Setpoint, ("velocity_x_m_s", "velocity_y_m_s", "height_m", "yaw_rate_rad_s")),
    "command": (Command, ("thrust_m_s2", "rate_x_rad_s", "rate_y_rad_s", "rate_z_rad_s")),
    "event": (Event, ("event", "text")),
}
TEXT_COLUMNS: Final = frozenset({"event", "text"})
_KIND_OF: Final = {row[0]: kind for kind, row in SCHEMA.items()}
_HEADER: Final = ("kind", "t_s", *dict.fromkeys(name for _, names in SCHEMA.values() for name in names))
_COLUMN: Final = {name: index for index, name in enumerate(_HEADER)}
_PLACES: Final = {kind: tuple(_COLUMN[name] for name in names) for kind, (_, names) in SCHEMA.items()}


class FlightLog(Protocol):
    """Where a flight is written to."""

    def write(self, record: Record) -> None:
        """Append one record."""

    def close(self) -> None:
        """Finish the file; writing after it raises `MessageError`."""


@dataclass(frozen=True, slots=True)
class LogContents:
    """records: in order of arrival; notes: what was dropped while reading, one sentence each."""

    records: tuple[Record, ...]
    notes: tuple[str, ...] = ()


def to_row(record: Record) -> tuple[str, tuple[Cell, ...]]:
    """(kind, values in the order of `SCHEMA`) of a record, without its time."""
    if isinstance(record, Imu):
        return "imu", (*record.gyro_rad_s, *record.accel_m_s2)
    if isinstance(record, Flow):
        return "flow", (record.dt_s, *record.flow_rad, record.quality)
    if isinstance(record, Range):
        return "range", (record.distance_m,)
    if isinstance(record, Position):
        return "position", (*record.position_m, *record.velocity_m_s)
    if isinstance(record, Setpoint):
        return "setpoint", (*record.velocity_m_s, record.height_m, record.yaw_rate_rad_s)
    if isinstance(record, Command):
        return "command", (record.thrust_m_s2, *record.rates_rad_s)
    if isinstance(record, Event):
        return "event", (record.kind, record.text)
    raise MessageError(
        f"a {type(record).__name__} cannot be logged; log one of {', '.join(t.__name__ for t in _KIND_OF)}"
    )


def from_row(kind: str, t_s: float, values: tuple[Any, ...]) -> Record:
    """Inverse of `to_row`. Raises `MessageError` on an unknown kind or a wrong number of values."""
    if kind not in SCHEMA:
        raise MessageError(f"unknown kind of row {kind!r}; choose one of: {', '.join(SCHEMA)}")
    if len(values) != len(SCHEMA[kind][1]):
        raise MessageError(f"a {kind} row has {len(values)} values; it needs {', '.join(SCHEMA[kind][1])}")
    v = values
    if kind == "imu":
        return Imu(t_s, v[:3], v[3:])
    if kind == "flow":
        return Flow(t_s, v[0], v[1:3], v[3])
    if kind == "range":
        return Range(t_s, v[0])
    if kind == "position":
        return Position(t_s, v[:3], v[3:])
    if kind == "setpoint":
        return Setpoint(t_s, v[:2], v[2], v[3])
    if kind == "command":
        return Command(t_s, v[0], (v[1], v[2], v[3]))
    return Event(t_s, v[0], v[1])


def _open(path: Path) -> io.FileIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return io.FileIO(path, "w")
    except OSError as error:
        raise LiquidPilotError(f"flight log {path} cannot be written ({error.strerror}); use another path") from error


class CsvLog:
    """A flight log as CSV: one header line, one row per record, empty cells where a column does not apply."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = io.TextIOWrapper(io.BufferedWriter(_open(self.path), 1 << 16), encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(_HEADER)
        self._rows = 0

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
        self._rows += 1
        if self._rows % FLUSH_ROWS == 0:
            self._file.flush()

    def close(self) -> None:
        """Flush and close."""
        self._file.close()


def _parse_row(cells: list[str]) -> Record:
    if len(cells) != len(_HEADER):
        raise MessageError(f"{len(cells)} cells; the header declares {len(_HEADER)}")
    kind = cells[0]
    if kind not in SCHEMA:
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
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise LiquidPilotError(f"flight log {path} cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise MessageError(f"{path} is not a CSV flight log: {error.reason} at byte {error.start}") from error


def read_csv(path: str | Path) -> LogContents:
    """Records of a CSV flight log. A last line that was cut off is dropped, with a note.

    Raises `MessageError` where the file is not a flight log, and `LiquidPilotError` where it cannot be read.
    """
    path = Path(path)
    lines = _read_text(path).split("\n")
    tail = lines.pop()  # what follows the last line end: nothing, unless the file was cut off
    expected = ",".join(_HEADER)
    if not lines or lines[0] != expected:
        found = (lines[0] if lines else tail)[:60]
        raise MessageError(f"{path} is not a flight log of version {LOG_VERSION}: it starts with {found!r}")
    records = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            records.append(_parse_row(next(csv.reader([line], strict=True), [])))
        except (MessageError, csv.Error) as error:
            raise MessageError(f"{path}, line {number}: {error}; the file was damaged or edited") from error
    notes = (f"{path}, line {len(lines) + 1}: cut off in the middle, dropped",) if tail else ()
    return LogContents(tuple(records), notes)


def _json_schema(kind: str) -> bytes:
    number = {"type": ["number", "string", "null"], "description": "null is NaN; inf and -inf are strings"}
    names = SCHEMA[kind][1]
    properties = {"t_s": number, **{n: {"type": "string"} if n in TEXT_COLUMNS else number for n in names}}
    schema = {"title": f"liquid_pilot.{kind}", "type": "object", "properties": properties, "required": list(properties)}
    return json.dumps(schema).encode()


def _to_json(value: Cell) -> float | str | None:
    if isinstance(value, str) or math.isfinite(value):
        return value
    return None if math.isnan(value) else str(value)


def _from_json(name: str, value: Any) -> Cell:
    if name in TEXT_COLUMNS:
        return str(value)
    return math.nan if value is None else float(value)


def _mcap(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"mcap.{module}")
    except ImportError as error:
        raise MissingExtraError(
            "flight logs as MCAP need the package mcap; install it with: pip install 'liquid-pilot[log]'"
        ) from error


class McapLog:
    """A flight log as MCAP with one JSON channel per kind of row; topics are the kinds.

    Raises `MissingExtraError` when the package mcap is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        writer = _mcap("writer")
        self.path = Path(path)
        self._file = io.BufferedWriter(_open(self.path), 1 << 16)
        self._writer = writer.Writer(self._file, chunk_size=1 << 16)
        self._writer.start(profile="", library=f"liquid_pilot log {LOG_VERSION}")
        self._channels: dict[str, int] = {}
        for kind in SCHEMA:
            schema = self._writer.register_schema(f"liquid_pilot.{kind}", "jsonschema", _json_schema(kind))
            self._channels[kind] = self._writer.register_channel(kind, "json", schema)
        self._rows = 0
        self._last_ns = 0

    def write(self, record: Record) -> None:
        """Append one record. Its place in time is `t_s` where that is a possible time, else the previous one."""
        if self._file.closed:
            raise MessageError(f"flight log {self.path} is closed; open a new one for the next flight")
        kind, values = to_row(record)
        named = zip(("t_s", *SCHEMA[kind][1]), (float(record.t_s), *values), strict=True)
        data = json.dumps({name: _to_json(value) for name, value in named}, allow_nan=False).encode()
        if 0.0 <= record.t_s < 1e9:
            self._last_ns = round(record.t_s * 1e9)
        self._writer.add_message(self._channels[kind], self._last_ns, data, self._last_ns, self._rows)
        self._rows += 1

    def close(self) -> None:
        """Write the index and close."""
        if not self._file.closed:
            self._writer.finish()
            self._file.close()


def read_mcap(path: str | Path) -> LogContents:
    """Records of an MCAP flight log, up to where a cut-off file breaks off (then with a note)."""
    path = Path(path)
    reader, exceptions = _mcap("stream_reader"), _mcap("exceptions")
    channels: dict[int, str] = {}
    rows: list[tuple[int, Record]] = []
    notes: tuple[str, ...] = ()
    try:
        with path.open("rb") as file:
            if file.read(len(_MCAP_MAGIC)) != _MCAP_MAGIC:
                raise MessageError(f"{path} is not an MCAP flight log: it does not start with the mark of MCAP")
            file.seek(0)
            for item in reader.StreamReader(file).records:
                if type(item).__name__ == "Channel":
                    channels[item.id] = item.topic
                elif type(item).__name__ == "Message":
                    rows.append((item.sequence, _from_message(channels.get(item.channel_id, ""), item.data)))
    except OSError as error:
        raise LiquidPilotError(f"flight log {path} cannot be read ({error.strerror}); check the path") from error
    except (exceptions.EndOfFile, struct.error):
        notes = (f"{path}: cut off in the middle, what follows {len(rows)} records is lost",)
    except Exception as error:  # decompressors raise classes of their own
        raise MessageError(f"{path} is not a readable MCAP flight log: {error}") from error
    return LogContents(tuple(record for _, record in sorted(rows, key=lambda row: row[0])), notes)


def _from_message(kind: str, data: bytes) -> Record:
    values = json.loads(data)
    if kind not in SCHEMA:
        raise MessageError(f"unknown topic {kind!r}; a flight log has {', '.join(SCHEMA)}")
    cells = tuple(_from_json(name, values[name]) for name in SCHEMA[kind][1])
    return from_row(kind, float(_from_json("t_s", values["t_s"])), cells)
