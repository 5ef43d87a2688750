"""How often a second something can be done."""

from __future__ import annotations

import time
from collections.abc import Callable


def per_second(work: Callable[[], object], count: int, seconds: float, unmeasured: int = 1) -> float:
    """How often a second: `work` does `count` of them. Its first `unmeasured` runs, which may compile, do not count."""
    for _ in range(unmeasured):
        work()
    start, done = time.perf_counter(), 0
    while done == 0 or time.perf_counter() - start < seconds:
        work()
        done += count
    return done / (time.perf_counter() - start)
