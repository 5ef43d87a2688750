"""What a flight log holds: every message in, every command out, every event, in the order in which they happened.

`SCHEMA` is the only place where rows are declared; the CSV header, the MCAP channels and both readers are
derived from it. Order is order of arrival, so that a log can be replayed.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from liquid_pilot.errors import LiquidPilotError, MessageError
from liquid_pilot.messages import Attitude, Command, Flow, FlowGrid, Imu, Position, PositionSetpoint, Range, Setpoint

LOG_VERSION: Final = 4  # 2: "report" rows, without which ticks and what the runtime told cannot be replayed
KINDS_OF_VERSION: Final = {
    1: 7,
    2: 8,
    3: 10,
}  # how many of the kinds an older version knows, the first ones of `SCHEMA`
FLUSH_S: Final = 0.5  # of stamps between two flushes: at most that much is lost when the program dies


@dataclass(frozen=True, slots=True)
class Event:
    """What the controller decided or noticed. kind: one word ("state", "rejected", "clock", ...)."""

    t_s: float
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """What the runtime told the controller besides messages, so that a replay can tell it again.

    what: "tick", "link" (value 1 alive, 0 lost), "battery" (value 0 to 1), "missed_deadline", "stop", "kill", "reset".
    """

    t_s: float
    what: str
    value: float = 0.0


Record: TypeAlias = (
    Imu | Flow | Range | Position | Setpoint | Command | Event | Report | Attitude | PositionSetpoint | FlowGrid
)
Cell: TypeAlias = float | str

_PLACE: Final = ("position_x_m", "position_y_m", "position_z_m")
_OF_GRID: Final = ("grid_azimuth_rad", "grid_elevation_rad", "grid_flow_rad_s")  # see `liquid_pilot.logs.grid_cells`
_VELOCITY: Final = ("velocity_east_m_s", "velocity_north_m_s", "velocity_up_m_s")

# kind of row -> (type, columns after t_s). Columns of one name share a CSV column; a new kind comes last.
SCHEMA: Final[dict[str, tuple[type[Any], tuple[str, ...]]]] = {
    "imu": (
        Imu,
        ("gyro_x_rad_s", "gyro_y_rad_s", "gyro_z_rad_s", "accel_x_m_s2", "accel_y_m_s2", "accel_z_m_s2"),
    ),
    "flow": (Flow, ("dt_s", "flow_x_rad", "flow_y_rad", "quality")),
    "range": (Range, ("distance_m",)),
    "position": (Position, (*_PLACE, *_VELOCITY)),
    "setpoint": (Setpoint, ("velocity_x_m_s", "velocity_y_m_s", "height_m", "yaw_rate_rad_s")),
    "command": (Command, ("thrust_m_s2", "rate_x_rad_s", "rate_y_rad_s", "rate_z_rad_s")),
    "event": (Event, ("event", "text")),
    "report": (Report, ("report", "value")),
    "attitude": (Attitude, ("attitude_w", "attitude_x", "attitude_y", "attitude_z")),
    "position_setpoint": (PositionSetpoint, (*_PLACE, *_VELOCITY, "yaw_rad")),
    "flow_grid": (FlowGrid, ("dt_s", *_OF_GRID)),
}
TEXT_COLUMNS: Final = frozenset({"event", "text", "report", *_OF_GRID})
KIND_OF: Final[dict[type[Any], str]] = {row[0]: kind for kind, row in SCHEMA.items()}


class FlightLog(Protocol):
    """Where a flight is written to. One that has a `flush()` too brings what it holds to the disk with it."""

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
    if isinstance(record, FlowGrid):
        from liquid_pilot.logs.grid_cells import to_cells  # few flights have any

        return "flow_grid", to_cells(record)
    if isinstance(record, Attitude):
        return "attitude", record.quaternion_wxyz
    if isinstance(record, PositionSetpoint):
        return "position_setpoint", (*record.position_m, *record.velocity_m_s, record.yaw_rad)
    if isinstance(record, Setpoint):
        return "setpoint", (*record.velocity_m_s, record.height_m, record.yaw_rate_rad_s)
    if isinstance(record, Command):
        return "command", (record.thrust_m_s2, *record.rates_rad_s)
    if isinstance(record, Event):
        return "event", (record.kind, record.text)
    if isinstance(record, Report):
        return "report", (record.what, record.value)
    raise MessageError(
        f"a {type(record).__name__} cannot be logged; log one of {', '.join(t.__name__ for t in KIND_OF)}"
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
    if kind == "flow_grid":
        from liquid_pilot.logs.grid_cells import from_cells  # few logs have any

        return from_cells(t_s, *v)
    if kind == "attitude":
        return Attitude(t_s, v)
    if kind == "position_setpoint":
        return PositionSetpoint(t_s, v[:3], v[3:6], v[6])
    if kind == "setpoint":
        return Setpoint(t_s, v[:2], v[2], v[3])
    if kind == "command":
        return Command(t_s, v[0], (v[1], v[2], v[3]))
    if kind == "report":
        return Report(t_s, v[0], v[1])
    return Event(t_s, v[0], v[1])


class FlushClock:
    """Says, by the records' own stamps, when a log is due to be flushed; a leap of the stamps is due too."""

    def __init__(self) -> None:
        self._flushed_s: float | None = None

    def due(self, t_s: float) -> bool:
        """Whether `FLUSH_S` has gone by since it last was."""
        if self._flushed_s is not None and 0.0 <= t_s - self._flushed_s < FLUSH_S:
            return False
        self._flushed_s = t_s
        return True


def open_file(path: Path) -> io.FileIO:
    """A new file for a log, its folder made. Raises `LiquidPilotError`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return io.FileIO(path, "w")
    except OSError as error:
        raise LiquidPilotError(f"flight log {path} cannot be written ({error.strerror}); use another path") from error
