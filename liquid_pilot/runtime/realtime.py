"""What makes a Python process punctual: no garbage collection in flight, and, where permitted, priority and memory."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

FIFO_PRIORITY: Final = 50
SWITCH_S: Final = 0.0005  # how long threads of the log and the terminal may keep the interpreter from the control loop
_CURRENT_AND_FUTURE: Final = 3  # MCL_CURRENT | MCL_FUTURE


@contextmanager
def punctual(*, fifo: bool = False) -> Iterator[list[str]]:
    """While inside: what lives is frozen and nothing is collected; fifo: SCHED_FIFO and locked memory too.

    Gives the sentences that the operator should read about what was not permitted.
    """
    notes: list[str] = []
    was_enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S)
    before = _take_priority(notes) if fifo else None
    try:
        yield notes
    finally:
        if before is not None:
            os.sched_setscheduler(0, before[0], before[1])
        sys.setswitchinterval(interval_s)
        gc.unfreeze()
        if was_enabled:
            gc.enable()


def _take_priority(notes: list[str]) -> tuple[int, os.sched_param] | None:
    """The scheduling before, None where it was not changed."""
    if not hasattr(os, "sched_setscheduler"):
        notes.append("this system has no SCHED_FIFO; flying at normal priority")
        return None
    _lock_memory(notes)
    before = (os.sched_getscheduler(0), os.sched_getparam(0))
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(FIFO_PRIORITY))
    except PermissionError:
        notes.append(
            "SCHED_FIFO is not permitted; flying at normal priority (run as a service with CPUSchedulingPolicy=fifo, "
            "or: sudo setcap cap_sys_nice+ep on the interpreter)"
        )
        return None
    return before


def _lock_memory(notes: list[str]) -> None:
    try:
        if ctypes.CDLL(None, use_errno=True).mlockall(_CURRENT_AND_FUTURE) == 0:
            return
        why = os.strerror(ctypes.get_errno())
    except (OSError, AttributeError) as error:
        why = str(error)
    notes.append(f"memory cannot be locked ({why}); pages may be fetched in flight (LimitMEMLOCK=infinity permits it)")
