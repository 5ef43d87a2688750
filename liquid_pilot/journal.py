"""What happened in a flight: counters, the newest events, and the flight log behind them."""

from __future__ import annotations

from collections import Counter, deque
from typing import Final

from liquid_pilot.errors import LiquidPilotError
from liquid_pilot.logs.rows import Event, FlightLog, Record

EVENTS_KEPT: Final = 1000


class Journal:
    """Counts, keeps the newest `EVENTS_KEPT` events, and passes every record on to the log, if there is one."""

    def __init__(self, log: FlightLog | None) -> None:
        self.log = log
        self.log_problem = ""  # why the log was let go
        self.reset()

    def reset(self) -> None:
        """Start of a flight; the log goes on."""
        self.counters: Counter[str] = Counter()
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT)

    def count(self, counter: str, t_s: float, kind: str, text: str) -> None:
        """Count it, and note it at the 1st, 2nd, 4th, 8th ... time: a flood must not push out what matters."""
        self.counters[counter] += 1
        count = self.counters[counter]
        if count & (count - 1) == 0:
            self.note(t_s, kind, f"{text} [{counter}: {count}]")

    def note(self, t_s: float, kind: str, text: str) -> None:
        """Keep an event."""
        event = Event(t_s, kind, text)
        self.events.append(event)
        self.write(event)

    def write(self, record: Record) -> None:
        """Pass a record on; a log that cannot be written any more is let go, for it must not end a flight."""
        if self.log is None:
            return
        try:
            self.log.write(record)
        except (OSError, LiquidPilotError) as error:
            self.log = None
            self.log_problem = str(error)
            self.note(record.t_s, "log", f"the flight log stops here: {error}")
