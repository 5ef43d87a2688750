"""Work that is never done twice: what is kept is read, the rest is made by workers and kept as it comes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from liquid_pilot.errors import WorkerError
from scripts.workers.pool import WorkerPool

C = TypeVar("C")  # what all share
W = TypeVar("W")  # what is wanted
M = TypeVar("M")  # what a worker makes of it
R = TypeVar("R")  # what is read again


@dataclass(frozen=True, slots=True)
class _Work:
    make: Callable[[Any, Any], Any]
    shared: Any
    wanted: tuple[Any, ...]


def _make(work: _Work, index: int) -> Any:
    return work.make(work.shared, work.wanted[index])


def made_once(
    pool: WorkerPool,
    make: Callable[[C, W], M],
    shared: C,
    wanted: Sequence[W],
    read: Callable[[W], R | None],
    keep: Callable[[W, M], None],
    on_done: Callable[[], None] = lambda: None,
) -> list[R]:
    """What `read` finds of all that is wanted, in order, after the workers have made what was missing.

    make: a function of a module; it runs on a worker, which may have no folder in common with this machine. read and
    keep run here, keep as soon as something is made, so that an interruption costs what is being made and no more.
    """
    missing = [one for one in wanted if read(one) is None]
    for _ in range(len(wanted) - len(missing)):
        on_done()
    work = _Work(make, shared, tuple(missing))
    pool.each(_make, work, len(missing), on_done, lambda index, made: keep(missing[index], made))
    found = [read(one) for one in wanted]
    whole = [one for one in found if one is not None]
    if len(whole) < len(found):
        raise WorkerError("results that were kept are gone again; is the folder of --out being deleted meanwhile?")
    return whole
