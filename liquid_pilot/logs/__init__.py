"""Flight logs: written while flying (`CsvLog`, `McapLog`), read afterwards (`read_log`), replayed, drawn.

A log is a sequence of rows (`rows`). Files are CSV or MCAP; PX4's ULog can be read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from liquid_pilot.errors import ConfigError, LiquidPilotError
from liquid_pilot.logs.csv_log import CsvLog, read_csv
from liquid_pilot.logs.mcap_log import MCAP_MAGIC, McapLog, read_mcap
from liquid_pilot.logs.rows import (
    FLUSH_S,
    LOG_VERSION,
    SCHEMA,
    TEXT_COLUMNS,
    Cell,
    Event,
    FlightLog,
    LogContents,
    Record,
    Report,
    from_row,
    to_row,
)

__all__ = [
    "FLUSH_S",
    "LOG_VERSION",
    "SCHEMA",
    "TEXT_COLUMNS",
    "Cell",
    "CsvLog",
    "Event",
    "FlightLog",
    "LogContents",
    "McapLog",
    "Record",
    "Report",
    "from_row",
    "open_log",
    "read_csv",
    "read_log",
    "read_mcap",
    "to_row",
]

_WRITERS: Final[dict[str, type[CsvLog] | type[McapLog]]] = {".mcap": McapLog, ".csv": CsvLog}
_ULOG_MAGIC: Final = b"ULog\x01\x12\x35"


def open_log(path: str | Path) -> CsvLog | McapLog:
    """A new log of the format that the path's ending says: .mcap or .csv. Raises `ConfigError`, `LiquidPilotError`."""
    writer = _WRITERS.get(Path(path).suffix.lower())
    if writer is None:
        raise ConfigError(f"flight log {path} ends in {Path(path).suffix!r}; give a path that ends in .mcap or .csv")
    return writer(path)


def read_log(path: str | Path) -> LogContents:
    """Records of a flight log of any kind that is known: MCAP, CSV, and ULog of PX4, told apart by how they begin.

    Raises `MessageError` where it is none or was damaged, `LiquidPilotError` where it cannot be read, and
    `MissingExtraError` where a package is missing that reads it.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(len(MCAP_MAGIC))
    except OSError as error:
        raise LiquidPilotError(f"flight log {path} cannot be read ({error.strerror}); check the path") from error
    if start == MCAP_MAGIC:
        return read_mcap(path)
    if start.startswith(_ULOG_MAGIC):
        from liquid_pilot.logs.ulog import read_ulog  # few flights come from there

        return read_ulog(path)
    return read_csv(path)
