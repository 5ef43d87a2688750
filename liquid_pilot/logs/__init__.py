"""Flight logs: written while flying (`CsvLog`, `McapLog`), read afterwards (`read_log`), replayed, drawn.

A log is a sequence of rows (`rows`). Files are CSV or MCAP; PX4's ULog can be read.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from liquid_pilot.errors import ConfigError, LiquidPilotError
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

if TYPE_CHECKING:
    from liquid_pilot.logs.csv_log import CsvLog, read_csv
    from liquid_pilot.logs.mcap_log import McapLog, read_mcap

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

_ULOG_MAGIC: Final = b"ULog\x01\x12\x35"
# Imported on first use: a controller that keeps no log does not pay for files.
_LAZY: Final = {
    "CsvLog": "liquid_pilot.logs.csv_log",
    "McapLog": "liquid_pilot.logs.mcap_log",
    "read_csv": "liquid_pilot.logs.csv_log",
    "read_mcap": "liquid_pilot.logs.mcap_log",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def open_log(path: str | Path) -> CsvLog | McapLog:
    """A new log of the format that the path's ending says: .mcap or .csv. Raises `ConfigError`, `LiquidPilotError`."""
    from liquid_pilot.logs.csv_log import CsvLog
    from liquid_pilot.logs.mcap_log import McapLog

    writers: dict[str, type[CsvLog] | type[McapLog]] = {".mcap": McapLog, ".csv": CsvLog}
    writer = writers.get(Path(path).suffix.lower())
    if writer is None:
        raise ConfigError(f"flight log {path} ends in {Path(path).suffix!r}; give a path that ends in .mcap or .csv")
    return writer(path)


def read_log(path: str | Path) -> LogContents:
    """Records of a flight log of any kind that is known: MCAP, CSV, and ULog of PX4, told apart by how they begin.

    Raises `MessageError` where it is none or was damaged, `LiquidPilotError` where it cannot be read, and
    `MissingExtraError` where a package is missing that reads it.
    """
    from liquid_pilot.logs.csv_log import read_csv
    from liquid_pilot.logs.mcap_log import MCAP_MAGIC, read_mcap

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
