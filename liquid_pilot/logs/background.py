"""A flight log that never keeps the control thread waiting: a bounded queue, and a thread of its own that writes.

The control thread only appends to a deque. It wakes nobody (the writer looks by itself every `POLL_S`), so that it
never takes a lock that the writer, or a slow disk behind it, might hold.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Final

from liquid_pilot.errors import ConfigError, LiquidPilotError, MessageError
from liquid_pilot.logs.rows import FLUSH_S, Event, FlightLog, Record

CAPACITY: Final = 16_384  # records: more than 5 s of flight with an IMU of 1 kHz, about 5 MB
POLL_S: Final = 0.01
BURST: Final = 8  # records written without letting the control thread have the interpreter
CLOSE_S: Final = 5.0


class BackgroundLog:
    """A `FlightLog` before another one, which only this log's thread touches from now on.

    `write` never blocks and never fails for the disk's sake while there is room. A full queue drops what comes,
    until half of it is free again: `dropped` counts, and an event in the log stands where records are missing.
    When the log behind fails, the next `write` raises that error, once: the controller's journal then notes it and
    lets the log go. Later writes are dropped. About every half second everything goes to the disk, so that no more
    than that is lost when power goes.
    """

    def __init__(self, log: FlightLog, capacity: int = CAPACITY, flush_s: float = FLUSH_S) -> None:
        if isinstance(capacity, bool) or not isinstance(capacity, int) or capacity < 2:
            raise ConfigError(f"capacity of a background log is {capacity!r}; give a whole number of 2 or more")
        self.dropped = 0
        self._log = log
        self._capacity = capacity
        self._flush_s = flush_s
        self._queue: deque[Record] = deque()  # append and popleft are atomic
        self._missing = 0  # dropped since the last record that was taken
        self._closing = threading.Event()
        self._closed = False
        self._error: LiquidPilotError | None = None  # of the log behind, set once by the writer
        self._told = False
        self._thread = threading.Thread(target=self._run, name="flight-log", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Records that are not written yet."""
        return len(self._queue)

    @property
    def failed(self) -> bool:
        """Whether the log behind could not be written any more."""
        return self._error is not None

    def write(self, record: Record) -> None:
        """Take one record, or drop it; returns at once. Call it from one thread.

        Raises `MessageError` after `close`, and once what the log behind failed with.
        """
        if self._closed:
            raise MessageError("this flight log is closed; open a new one for the next flight")
        if self._error is not None:
            self.dropped += 1
            if not self._told:
                self._told = True
                raise self._error
            return
        if len(self._queue) >= (self._capacity // 2 if self._missing else self._capacity):
            self._missing += 1
            self.dropped += 1
            return
        if self._missing:
            self._queue.append(self._gap(record.t_s))
        self._queue.append(record)

    def close(self, limit_s: float = CLOSE_S) -> None:
        """Write what waits, then close the log behind; gives up after limit_s. Closing twice is fine.

        Raises what the log behind failed with, where that was not told yet, and `LiquidPilotError` where the disk
        took too long: the thread then goes on as long as the program does.
        """
        if self._closed:
            return
        self._closed = True
        if self._missing:
            newest = self._queue[-1].t_s if self._queue else 0.0
            self._queue.append(self._gap(newest))
        self._closing.set()
        self._thread.join(limit_s)
        if self._thread.is_alive():
            raise LiquidPilotError(
                f"the flight log is not finished after {limit_s:g} s, {self.waiting} records wait; the disk is too "
                "slow or gone: use a faster one"
            )
        if self._error is not None and not self._told:
            self._told = True
            raise self._error

    def _gap(self, t_s: float) -> Event:
        missing, self._missing = self._missing, 0
        return Event(t_s, "log", f"{missing} records are missing here: the disk was too slow")

    def _run(self) -> None:
        """The writer's thread."""
        try:
            try:
                self._drain()
            finally:
                self._log.close()
        except LiquidPilotError as error:
            self._error = error
        except Exception as error:  # whatever a foreign log raises: flying goes on without it
            self._error = LiquidPilotError(f"the flight log cannot be written ({error}); check the disk")
        if self._error is not None:
            self._queue.clear()

    def _drain(self) -> None:
        flush = getattr(self._log, "flush", None)
        flushed_s, written = time.monotonic(), False
        while True:
            closing = self._closing.is_set()  # looked at first: what was queued before is then seen below
            count = 0
            while self._queue:
                self._log.write(self._queue.popleft())
                written = True
                count += 1
                if count % BURST == 0:
                    time.sleep(0.0)
                if flush is not None and time.monotonic() - flushed_s >= self._flush_s:
                    break
            if closing and not self._queue:
                return
            if flush is not None and written and time.monotonic() - flushed_s >= self._flush_s:
                flush()
                flushed_s, written = time.monotonic(), False
            if not self._queue:
                self._closing.wait(POLL_S)
