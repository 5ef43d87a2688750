"""Worker processes of this machine; the jobs of one that dies are done again."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from typing import Final, TypeVar

from liquid_pilot.errors import WorkerError

T = TypeVar("T")
J = TypeVar("J")

RETRIES: Final = 3  # of a job whose worker died
KEPT: Final = "finished cells and trainings of a table are kept: the same command goes on from there"
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@contextmanager
def environment(values: dict[str, str]) -> Iterator[None]:
    """Environment variables for processes that are started inside; put back afterwards."""
    saved = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, old in saved.items():
            if old is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = old


class Processes:
    """See `scripts.workers.pool.Mapper`."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._environment = ExitStack()
        self._environment.enter_context(environment(_ONE_THREAD))  # workers read it when they start
        self._executor = self._started()

    def _started(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")  # fork would copy threads of torch and PyBullet
        return ProcessPoolExecutor(self.size, mp_context=context)

    def results(self, one: Callable[[J, int], T], job: J, count: int) -> Generator[tuple[int, T], None, None]:
        """(index, result) as they come. Raises `WorkerError` where processes die again and again."""
        left = dict.fromkeys(range(count))
        for _ in range(1 + RETRIES):
            for index, result in self._round(one, job, list(left)):
                del left[index]
                yield index, result
            if not left:
                return
            self._executor.shutdown(cancel_futures=True)
            self._executor = self._started()
        raise WorkerError(
            f"worker processes died {1 + RETRIES} times with {len(left)} of {count} jobs to do (killed, or out of "
            f"memory?); give fewer --workers, or --workers 1 to see what is wrong with a job; {KEPT}"
        )

    def _round(
        self, one: Callable[[J, int], T], job: J, indices: Sequence[int]
    ) -> Generator[tuple[int, T], None, None]:
        """Results until all are there or a process died, which fails all jobs that are not done."""
        futures = dict[Future[T], int]()
        try:
            for index in indices:
                futures[self._executor.submit(one, job, index)] = index
        except BrokenProcessPool:
            pass  # it died meanwhile
        try:
            for future in as_completed(futures):
                if not isinstance(future.exception(), BrokenProcessPool):
                    yield futures[future], future.result()
        finally:
            for future in futures:
                future.cancel()

    def close(self) -> None:
        """End the processes, once those that work are done."""
        self._executor.shutdown(cancel_futures=True)
        self._environment.close()
