"""Workers of a Ray cluster: one that runs, or one on this machine that nobody else can reach, as long as needed."""

from __future__ import annotations

import importlib
import logging
import os
import socket
from collections.abc import Callable, Generator, Sequence
from typing import Any, Final, TypeVar

from liquid_pilot.errors import ConfigError, MissingExtraError, WorkerError
from scripts.workers.parcels import Parcel, packed, unpacked
from scripts.workers.processes import KEPT, RETRIES, environment

T = TypeVar("T")
J = TypeVar("J")

ANSWER_S: Final = 5.0  # within which a cluster must be heard from
LARGEST_BATCH: Final = 16
BATCHES_PER_WORKER: Final = 4  # at least, so that none waits long for the last one
_QUIET: Final = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
# Ray takes a loopback address for a mistake and binds to all interfaces, unless it is told that there is no cluster.
_LOOPBACK: Final = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
_HTTP2_HELLO: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_HTTP2_SETTINGS: Final = 4


def do_batch(one: Callable[[J, int], T], parcel: Parcel, indices: Sequence[int]) -> list[T]:
    """What a worker does."""
    job = unpacked(parcel)
    return [one(job, index) for index in indices]


class Cluster:
    """See `scripts.workers.pool.Mapper`. address: of a running cluster; None starts one.

    Raises `MissingExtraError` without Ray, `ConfigError` and `WorkerError` where there is no cluster at the address.
    """

    def __init__(self, address: str | None) -> None:
        if address not in (None, "auto"):
            check_address(str(address))  # before Ray is imported, which takes seconds
        local = {} if address else _LOOPBACK
        with environment(_QUIET | local):  # read as Ray is imported and as it starts its processes
            self._ray = _import_ray()
            self._opened = not self._ray.is_initialized()
            if self._opened:
                self._open(address)
        self.size = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        self._task = self._ray.remote(num_cpus=1, max_retries=RETRIES)(do_batch)

    def _open(self, address: str | None) -> None:
        given: dict[str, Any] = {"address": address or "local", "logging_level": logging.ERROR, "log_to_driver": False}
        if address is None:
            given |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
        try:
            self._ray.init(**given)
        except Exception as error:  # Ray raises that very class where it does not start in time
            self._ray.shutdown()  # what did start
            raise WorkerError(_not_opened(address, error)) from error

    def results(self, one: Callable[[J, int], T], job: J, count: int) -> Generator[tuple[int, T], None, None]:
        """(index, result) as they come. Ray does a batch again whose worker died; `WorkerError` if it dies always."""
        parcel = self._ray.put(packed(job))
        length = max(1, min(LARGEST_BATCH, count // (BATCHES_PER_WORKER * self.size)))
        batches = [range(first, min(first + length, count)) for first in range(0, count, length)]
        pending = {self._task.remote(one, parcel, batch): batch for batch in batches}
        try:
            while pending:
                (done, *_), _ = self._ray.wait(list(pending), num_returns=1)
                batch = pending.pop(done)
                yield from zip(batch, self._got(done), strict=True)
        finally:
            for task in pending:
                self._ray.cancel(task)

    def _got(self, task: Any) -> list[Any]:
        errors = self._ray.exceptions
        try:
            found: list[Any] = self._ray.get(task)
            return found
        except errors.RayTaskError as error:
            raise error.cause from error  # what the job raised, as it would here
        except errors.RayError as error:
            raise WorkerError(
                f"Ray lost jobs ({type(error).__name__}: {error}), after {RETRIES} retries where workers died (killed, "
                f"or out of memory?); see `ray status`, or run with --workers 1 to see the fault itself; {KEPT}"
            ) from error

    def close(self) -> None:
        """Leave the cluster; one that was started here ends."""
        if self._opened:
            self._ray.shutdown()


def _not_opened(address: str | None, error: Exception) -> str:
    if address is None:
        return (
            f"Ray does not start on this machine ({error}); try again with less else running, or leave --workers ray "
            "out: processes of this machine give the same results"
        )
    return (
        f"there is no Ray cluster to be used at {address} ({error}); run the command on a machine of a cluster that "
        "was started with `ray start --head` (docs/scale_out.md), or leave --ray-address out to start Ray on this one"
    )


def _import_ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise MissingExtraError(
            "Ray is not installed; pip install 'liquid-pilot[ray]', or leave --workers ray out: processes of this "
            "machine give the same results"
        ) from error


def check_address(address: str) -> None:
    """Raise `ConfigError` for what is no address, and `WorkerError` where Ray is not heard from within `ANSWER_S`.

    Ray itself would try for minutes.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(
            f"--ray-address is {address!r}; give HOST:PORT, such as 127.0.0.1:6379, ray://HOST:10001, or auto"
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), ANSWER_S) as connection:
            connection.settimeout(ANSWER_S)
            if os.environ.get("RAY_USE_TLS", "0") == "0":
                connection.sendall(_HTTP2_HELLO)
                if connection.recv(9)[3:4] != bytes((_HTTP2_SETTINGS,)):
                    raise ConnectionError("what listens there does not answer as Ray does")
    except OSError as error:
        raise WorkerError(
            f"there is no Ray cluster at {address} ({error}); start one with `ray start --head --port={port}` there "
            "(docs/scale_out.md), correct the address, or leave --ray-address out to start Ray on this machine"
        ) from error
