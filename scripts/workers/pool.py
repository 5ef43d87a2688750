"""One way to map jobs over workers, whoever they are."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import closing
from types import TracebackType
from typing import Protocol, TypeAlias, TypeVar

from scripts.workers.cluster import Cluster
from scripts.workers.options import RAY, Workers
from scripts.workers.processes import Processes

T = TypeVar("T")
J = TypeVar("J")  # what every call of a pool is told
P = TypeVar("P", bound="WorkerPool")
Results: TypeAlias = Generator[tuple[int, T], None, None]


class Mapper(Protocol):
    """Who does the work."""

    @property
    def size(self) -> int:
        """Jobs at once."""
        ...

    def results(self, one: Callable[[J, int], T], job: J, count: int) -> Results[T]:
        """(index, `one(job, index)`) as they come, each index below `count` once. Raises what `one` raises."""
        ...

    def close(self) -> None:
        """End the workers."""
        ...


class InProcess:
    """No workers: this process, one job after the other."""

    size = 1

    def results(self, one: Callable[[J, int], T], job: J, count: int) -> Results[T]:
        """See `Mapper`."""
        for index in range(count):
            yield index, one(job, index)

    def close(self) -> None:
        """Nothing to end."""


class WorkerPool:
    """Workers for many jobs, one thread each; use it in a `with`. One worker = this process.

    workers: a count, or what a command line says. Raises `ConfigError`; on entry, of Ray, `MissingExtraError` and
    `WorkerError`.
    """

    def __init__(self, workers: Workers | int | None = None) -> None:
        self._options = workers if isinstance(workers, Workers) else Workers(workers)
        self._options.check()
        wanted = self._options.workers
        self.threads = wanted if isinstance(wanted, int) else os.cpu_count() or 1  # for the compiled engine, here
        self._mapper: Mapper = InProcess()

    @property
    def workers(self) -> int:
        """Jobs at once."""
        return self.threads if isinstance(self._mapper, InProcess) else self._mapper.size

    def __enter__(self: P) -> P:
        if self._options.workers == RAY:
            self._mapper = Cluster(self._options.ray_address)
        elif self.threads > 1:
            self._mapper = Processes(self.threads)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._mapper.close()
        self._mapper = InProcess()

    def each(
        self,
        one: Callable[[J, int], T],
        job: J,
        count: int,
        on_done: Callable[[], None] = lambda: None,
        keep: Callable[[int, T], None] = lambda index, result: None,
    ) -> list[T]:
        """`one(job, index)` for each index, in order.

        one: a function of a module, for it travels to the workers, as do the job and the files that it names.
        on_done is called after each, and keep with each index and result, here, so that what was finished is not lost.
        Raises what `one` raises, and `WorkerError` where workers die again and again.
        """
        found = dict[int, T]()
        with closing(self._mapper.results(one, job, count)) as results:
            for index, result in results:
                found[index] = result
                keep(index, result)
                on_done()
        return [found[index] for index in range(count)]
