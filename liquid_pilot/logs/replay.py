"""A recorded flight once more: the log's sensor messages and set-points through a controller, and what comes out.

The same policy gives the same commands, bit for bit, because the controller reads no clock: everything that it was
told, ticks and reports included, is in the log in the order in which it was told.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from liquid_pilot.controller import Controller
from liquid_pilot.errors import MessageError
from liquid_pilot.logs.rows import Event, Record, Report
from liquid_pilot.messages import Command

AXES: Final = ("thrust_m_s2", "roll_rad_s", "pitch_rad_s", "yaw_rad_s")


@dataclass(frozen=True, slots=True)
class Replayed:
    """commands: all that were issued; events: what the controller noted, the newest thousand."""

    commands: tuple[Command, ...]
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """Commands of one flight less those of another, at the times at which both have one.

    t_s: (N,). a, b: (N, 4), columns `AXES`. only_a, only_b: commands without a partner. identical: equal in number,
    time and every bit.
    """

    t_s: npt.NDArray[np.float64]
    a: npt.NDArray[np.float64]
    b: npt.NDArray[np.float64]
    only_a: int
    only_b: int
    identical: bool

    @property
    def rms(self) -> tuple[float, ...]:
        """Root mean square of each axis, NaN without a pair."""
        return tuple(_rms(column) for column in (self.b - self.a).T)

    @property
    def largest(self) -> tuple[float, ...]:
        """Largest absolute difference of each axis, NaN without a pair."""
        return tuple(float(np.abs(column).max()) if column.size else math.nan for column in (self.b - self.a).T)


def replay(controller: Controller, records: Iterable[Record]) -> Replayed:
    """Tell a fresh controller everything that a log says it was told. Commands and events of the log are skipped.

    Raises `MessageError` for a report that is not known.
    """
    commands = [command for record in records if (command := tell(controller, record)) is not None]
    return Replayed(tuple(commands), tuple(controller.events))


def tell(controller: Controller, record: Record) -> Command | None:
    """One record of a log; the command that it brings forth, if any."""
    if isinstance(record, (Command, Event)):
        return None
    if not isinstance(record, Report):
        return controller.feed(record)
    if record.what == "tick":
        return controller.tick(record.t_s)
    if record.what == "link":
        controller.report_link(record.value != 0.0, record.t_s)
    elif record.what == "battery":
        controller.report_battery(record.value, record.t_s)
    elif record.what == "missed_deadline":
        controller.report_missed_deadline(record.t_s)
    elif record.what in ("stop", "kill", "reset"):
        {"stop": controller.stop, "kill": controller.kill, "reset": controller.reset}[record.what]()
    else:
        raise MessageError(
            f"the log has a report {record.what!r}; this program knows tick, link, battery, missed_deadline, stop, "
            "kill and reset: use a newer one"
        )
    return None


def logged_commands(records: Iterable[Record]) -> tuple[Command, ...]:
    """What was flown."""
    return tuple(record for record in records if isinstance(record, Command))


def difference(a: Sequence[Command], b: Sequence[Command]) -> Difference:
    """Pair the commands of two flights by their times; equal times are paired in order."""
    waiting: defaultdict[float, list[Command]] = defaultdict(list)
    for command in reversed(b):
        waiting[command.t_s].append(command)
    pairs = [(one, waiting[one.t_s].pop()) for one in a if waiting.get(one.t_s)]
    # as text: -0.0 is not 0.0, and NaN is NaN
    same = len(a) == len(b) and all(repr(one) == repr(other) for one, other in zip(a, b, strict=True))
    first, second = (np.array([_row(pair[k]) for pair in pairs], dtype=np.float64).reshape(-1, 4) for k in (0, 1))
    times = np.array([one.t_s for one, _ in pairs], dtype=np.float64)
    return Difference(times, first, second, len(a) - len(pairs), len(b) - len(pairs), same)


def _row(command: Command) -> tuple[float, ...]:
    return command.thrust_m_s2, *command.rates_rad_s


def _rms(column: npt.NDArray[np.float64]) -> float:
    return math.sqrt(float(np.mean(column * column))) if column.size else math.nan
