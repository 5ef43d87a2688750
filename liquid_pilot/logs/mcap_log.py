"""Flight logs as MCAP: one JSON channel per kind of row, which Foxglove and other tools open as they are.

Format: https://mcap.dev/spec. Chunks are closed at least every `FLUSH_S` of stamps, so that a file that broke off
holds everything up to the last half second.
"""

from __future__ import annotations

import importlib
import io
import json
import math
import os
import struct
from pathlib import Path
from typing import Any, Final

from liquid_pilot.errors import LiquidPilotError, MessageError, MissingExtraError
from liquid_pilot.logs.rows import (
    LOG_VERSION,
    SCHEMA,
    TEXT_COLUMNS,
    Cell,
    FlushClock,
    LogContents,
    Record,
    from_row,
    open_file,
    to_row,
)

MCAP_MAGIC: Final = b"\x89MCAP0\r\n"
LONGEST_RECORD: Final = 64 * 2**20  # a damaged length must not ask for the machine's whole memory
LARGEST_CHUNK: Final = 256 * 2**20  # uncompressed; ours have 64 kB
_LIBRARY: Final = "liquid_pilot log "


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
        self._file = io.BufferedWriter(open_file(self.path), 1 << 16)
        self._writer = writer.Writer(self._file, chunk_size=1 << 16)
        self._writer.start(profile="", library=f"{_LIBRARY}{LOG_VERSION}")
        self._channels: dict[str, int] = {}
        for kind in SCHEMA:
            schema = self._writer.register_schema(f"liquid_pilot.{kind}", "jsonschema", _json_schema(kind))
            self._channels[kind] = self._writer.register_channel(kind, "json", schema)
        self._rows = 0
        self._last_ns = 0
        self._clock = FlushClock()

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
        if self._clock.due(self._last_ns * 1e-9):
            self._writer.flush()

    def flush(self) -> None:
        """Everything to the disk; may take as long as the disk does."""
        if not self._file.closed:
            self._writer.flush()
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write the index and close."""
        if not self._file.closed:
            try:
                self._writer.finish()
                self._file.flush()
                os.fsync(self._file.fileno())
            finally:
                self._file.close()


class _Rows:
    """Collects the records of an MCAP file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._channels: dict[int, str] = {}
        self.rows: list[tuple[int, Record]] = []

    def take(self, items: Any) -> None:
        """All records of an iterator of mcap."""
        for item in items:
            kind = type(item).__name__
            if kind == "Header" and item.library.startswith(_LIBRARY):
                version = item.library.removeprefix(_LIBRARY)
                if not (version.isdecimal() and int(version) <= LOG_VERSION):
                    raise MessageError(
                        f"{self._path} is a flight log of version {version[:20]!r}; this program reads 1 to "
                        f"{LOG_VERSION}: use a newer one"
                    )
            elif kind == "Channel":
                self._channels[item.id] = item.topic
            elif kind == "Message":
                self.rows.append((item.sequence, _from_message(self._channels.get(item.channel_id, ""), item.data)))
            elif kind == "Chunk":
                if not item.uncompressed_size <= LARGEST_CHUNK:
                    raise MessageError(f"{self._path} has a chunk of {item.uncompressed_size} bytes; it is damaged")
                self.take(_mcap("stream_reader").breakup_chunk(item, validate_crc=True))


def read_mcap(path: str | Path) -> LogContents:
    """Records of an MCAP flight log, up to where a cut-off file breaks off (then with a note).

    Raises `MessageError` where the file is not a flight log or was damaged, `LiquidPilotError` where it cannot be read.
    """
    path = Path(path)
    reader, exceptions = _mcap("stream_reader"), _mcap("exceptions")
    found = _Rows(path)
    notes: tuple[str, ...] = ()
    try:
        with path.open("rb") as file:
            if file.read(len(MCAP_MAGIC)) != MCAP_MAGIC:
                raise MessageError(f"{path} is not an MCAP flight log: it does not start with the mark of MCAP")
            whole = _without_zeros(file)
        source = reader.StreamReader(io.BytesIO(whole), emit_chunks=True, record_size_limit=LONGEST_RECORD)
        found.take(source.records)
    except OSError as error:
        raise LiquidPilotError(f"flight log {path} cannot be read ({error.strerror}); check the path") from error
    except (exceptions.EndOfFile, struct.error):
        notes = (f"{path}: cut off in the middle, what follows {len(found.rows)} records is lost",)
    except MessageError:
        raise
    except Exception as error:  # decompressors raise classes of their own
        raise MessageError(f"{path} is not a readable MCAP flight log: {error}") from error
    return LogContents(tuple(record for _, record in sorted(found.rows, key=lambda row: row[0])), notes)


def _without_zeros(file: Any) -> bytes:
    """All bytes; a file system that lost power may leave zeros where the newest data should be."""
    file.seek(0)
    data: bytes = file.read()
    return data if data.endswith(MCAP_MAGIC) else data.rstrip(b"\0")


def _from_message(kind: str, data: bytes) -> Record:
    values = json.loads(data)
    if kind not in SCHEMA:
        raise MessageError(f"unknown topic {kind!r}; a flight log has {', '.join(SCHEMA)}")
    cells = tuple(_from_json(name, values[name]) for name in SCHEMA[kind][1])
    return from_row(kind, float(_from_json("t_s", values["t_s"])), cells)
