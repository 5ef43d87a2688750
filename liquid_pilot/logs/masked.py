"""Flight logs without the place where they were flown.

Every `Position` and `PositionSetpoint` is told relative to the first one of the log, but for a course, which has no
place; velocities stay, and so do the commands of a replay, except where the policy locates: it sees a place against
another, whose difference is rounded otherwise, and its height above the origin, which is another. Texts about places
lose what they say of them.

It hides where on Earth, or in which corner of a laboratory, the flight began, its altitude above sea level included.
It does NOT hide the shape and compass direction of the path, which a map or a second log may give away, nor heights
above the ground, nor the time of day if the runtime's clock is that of the wall, nor anything that other programs
wrote into the texts of events.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from liquid_pilot.fusion import FusionLimits
from liquid_pilot.logs.rows import Event, FlightLog, Record
from liquid_pilot.messages import Floats3, Position, PositionSetpoint

REFUSED: Final = "Position dropped"
OF_TARGETS: Final = "PositionSetpoint"  # refused or cut
FARTHEST_M: Final = FusionLimits().position_m


class PositionMask:
    """Masks the records of one log, in order."""

    def __init__(self) -> None:
        self._origin_m: Floats3 | None = None

    def mask(self, record: Record) -> Record:
        """The record without its place."""
        if isinstance(record, (Position, PositionSetpoint)):
            return self._moved(record)
        if not isinstance(record, Event):
            return record
        about = next((words for words in (REFUSED, OF_TARGETS) if words in record.text), None)
        if about is None:
            return record
        counter = record.text.rpartition(" [")[2] if record.text.endswith("]") else ""
        told = counter.startswith(("rejected_", "clamped_"))
        return replace(record, text=f"{about}: masked" + (f" [{counter}" if told else ""))

    def _moved(self, record: Position | PositionSetpoint) -> Position | PositionSetpoint:
        place = record.position_m
        if isinstance(record, PositionSetpoint) and math.isnan(place[0]) and math.isnan(place[1]):
            return record  # a course and a height above ground
        if not all(-FARTHEST_M <= x <= FARTHEST_M for x in place):
            # refused in flight, and in a replay: only that is kept
            return replace(record, position_m=(math.nan, math.nan, math.nan))
        if self._origin_m is None:
            self._origin_m = place
        (x, y, z), (ox, oy, oz) = place, self._origin_m
        return replace(record, position_m=(x - ox, y - oy, z - oz))


class MaskedLog:
    """A `FlightLog` before another one: what is written goes on without its place."""

    def __init__(self, log: FlightLog) -> None:
        self._log = log
        self._mask = PositionMask()

    def write(self, record: Record) -> None:
        """Mask one record and pass it on."""
        self._log.write(self._mask.mask(record))

    def flush(self) -> None:
        """Flush the log behind, where it can."""
        flush = getattr(self._log, "flush", None)
        if flush is not None:
            flush()

    def close(self) -> None:
        """Close the log behind."""
        self._log.close()


def masked(records: Iterable[Record]) -> tuple[Record, ...]:
    """All records of a log that was read, without their places."""
    return tuple(map(PositionMask().mask, records))
