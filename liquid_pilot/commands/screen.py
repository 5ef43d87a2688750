"""The live status on a terminal, or a line a second elsewhere, written by a thread of its own.

A terminal that is slow, or stopped with Ctrl-S, must not stop the control loop: it hands over what is to be shown and
goes on; what was not written by then is never shown.
"""

from __future__ import annotations

import io
import shutil
import sys
import threading
from collections.abc import Callable
from typing import Final

from liquid_pilot.runtime.status import Status, one_line, render

REDRAW_S: Final = 0.2
LINE_S: Final = 1.0
_UP_AND_CLEAR: Final = "\x1b[{}F\x1b[J"  # cursor to the beginning of the n-th line above, then erase what is below


class Screen:
    """`show` takes a snapshot now and then and returns at once; `note` takes lines that must stay."""

    def __init__(self, stream: io.TextIOBase | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        if isinstance(self._stream, io.TextIOWrapper):  # what the autopilot says must not end the screen
            self._stream.reconfigure(errors="backslashreplace")
        self._live = self._stream.isatty()
        self._period_s = REDRAW_S if self._live else LINE_S
        self._shown_s = -float("inf")
        self._drawn = 0
        self._status: Status | None = None
        self._notes: list[str] = []
        self._wake, self._ended = threading.Condition(), False
        self._thread = threading.Thread(target=self._run, name="screen", daemon=True)
        self._thread.start()

    def show(self, make: Callable[[], Status], now_s: float) -> None:
        """Show what `make` gives, if it is time for it."""
        if now_s - self._shown_s < self._period_s:
            return
        self._shown_s = now_s
        status = make()
        with self._wake:
            self._status = status
            self._wake.notify()

    def note(self, text: str) -> None:
        """A line that stays on the screen."""
        with self._wake:
            if len(self._notes) < 100:
                self._notes.append(text)
            self._wake.notify()

    def close(self) -> None:
        """Write what waits, for a moment at most."""
        with self._wake:
            self._ended = True
            self._wake.notify()
        self._thread.join(timeout=1.0)

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._status or self._notes or self._ended):
                    self._wake.wait()
                status, notes, ended = self._status, self._notes, self._ended
                self._status, self._notes = None, []
            try:
                self._write(status, notes)
            except (OSError, ValueError):  # the terminal is gone; the flight is not
                return
            if ended:
                return

    def _write(self, status: Status | None, notes: list[str]) -> None:
        lines: list[str] = []
        if status is not None:
            lines = render(status, shutil.get_terminal_size().columns) if self._live else [one_line(status)]
        text = _UP_AND_CLEAR.format(self._drawn) if self._drawn and (lines or notes) else ""
        text += "".join(f"{line}\n" for line in [*notes, *lines])
        if text:
            self._drawn = len(lines) if self._live else 0
            self._stream.write(text)
            self._stream.flush()
