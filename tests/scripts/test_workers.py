"""Workers change no result: one that dies costs nothing but time, and one that cannot be had is told with the fix."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from liquid_pilot.errors import ConfigError, LiquidPilotError, MissingExtraError, WorkerError
from scripts.workers import cluster, parcels, processes
from scripts.workers.cluster import Cluster, check_address
from scripts.workers.once import made_once
from scripts.workers.options import Workers
from scripts.workers.parcels import packed, unpacked
from scripts.workers.pool import WorkerPool
from tests.scripts.errands import Errand, fail, run_errand


def test_the_jobs_of_a_process_that_is_killed_run_again_and_count_once(tmp_path: Path) -> None:
    kept, done = list[tuple[int, int]](), list[int]()
    with WorkerPool(2) as pool:
        found = pool.each(
            run_errand, Errand(tmp_path, 3), 8, lambda: done.append(1), lambda i, result: kept.append((i, result))
        )
    assert (tmp_path / "died").exists()
    assert found == [index * index for index in range(8)]
    assert sorted(kept) == list(enumerate(found)) and len(done) == 8


def test_a_job_that_always_kills_its_worker_is_given_up_and_the_rest_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "RETRIES", 1)
    kept = dict[int, int]()
    with WorkerPool(2) as pool:
        with pytest.raises(WorkerError, match=r"died 2 times with \d of 4 jobs.*--workers 1.*goes on from there"):
            pool.each(run_errand, Errand(tmp_path, 3, always=True), 4, keep=kept.__setitem__)
        assert kept.items() <= {0: 0, 1: 1, 2: 4}.items()
        assert pool.each(run_errand, Errand(tmp_path), 3) == [0, 1, 4]  # it lives on


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_job_raises_is_raised_here(workers: int, tmp_path: Path) -> None:
    with WorkerPool(workers) as pool, pytest.raises(ConfigError, match=r"^the cup is broken; take another$"):
        pool.each(fail, Errand(tmp_path, 2), 4)


def test_the_environment_is_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with WorkerPool(2):
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
    assert os.environ["OMP_NUM_THREADS"] == "7" and "MKL_NUM_THREADS" not in os.environ


def brew(errand: Errand, cup: int) -> str:
    return str(fail(errand, cup))


def test_work_that_was_interrupted_goes_on_where_it_stopped(tmp_path: Path) -> None:
    made, done = list[int](), list[int]()

    def read(cup: int) -> str | None:
        file = tmp_path / str(cup)
        return file.read_text() if file.exists() else None

    def keep(cup: int, brewed: str) -> None:
        made.append(cup)
        (tmp_path / str(cup)).write_text(brewed)

    cups, pool = [5, 6, 7, 8], WorkerPool(1)
    with pytest.raises(ConfigError):
        made_once(pool, brew, Errand(tmp_path, 7), cups, read, keep)
    assert made == [5, 6]
    found = made_once(pool, brew, Errand(tmp_path), cups, read, keep, lambda: done.append(1))
    assert made == cups and found == ["5", "6", "7", "8"] and len(done) == 4
    with pytest.raises(WorkerError, match="gone"):
        made_once(pool, brew, Errand(tmp_path), [9], read, lambda cup, brewed: None)


def test_files_travel_with_the_job_that_names_them(tmp_path: Path) -> None:
    policy, airframe = tmp_path / "policy.safetensors", tmp_path / "mine.toml"
    policy.write_bytes(b"weights")
    airframe.write_bytes(b"mass_kg = 1")
    errand = Errand(tmp_path, policy=str(policy), parts=(airframe, Path("runs")))
    parcel = packed(errand)
    policy.unlink()
    airframe.unlink()
    there = unpacked(parcel)
    assert Path(there.policy).read_bytes() == b"weights" and Path(there.policy).name == "policy.safetensors"
    assert there.parts[0].read_bytes() == b"mass_kg = 1" and there.parts[1] == Path("runs")
    assert replace(there, policy=errand.policy, parts=errand.parts) == errand
    assert unpacked(parcel) == there  # one file for the same contents, so that caches know it
    shipped = Errand(tmp_path)
    assert unpacked(packed(shipped)) is shipped


def test_other_code_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parcel = packed(Errand(tmp_path))
    monkeypatch.setattr(parcels, "versions", lambda: {**parcel.versions, "numpy": "0.1"})
    with pytest.raises(WorkerError, match=r"has another numpy than this machine.*same commit"):
        unpacked(parcel)


@pytest.mark.parametrize("address", ["here", "10.0.0.1", ":6379", "ray://10.0.0.1", "10.0.0.1:ray", "10.0.0.1:0"])
def test_what_is_no_address_is_refused_with_examples(address: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT, such as"):
        check_address(address)


@contextmanager
def listener(answer: bytes | None) -> Iterator[str]:
    """Address of something that listens; None: and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):  # whoever hangs up with something unread resets it
                connection.recv(100)
                if answer is not None:
                    connection.sendall(answer)
                connection.recv(100)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        thread.join()


def test_an_address_where_ray_is_not_is_told_soon_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "ANSWER_S", 0.2)
    monkeypatch.delenv("RAY_USE_TLS", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = f"127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(WorkerError, match=f"no Ray cluster at {nobody}.*ray start --head --port=.*leave --ray-address"):
        check_address(nobody)
    with listener(None) as deaf, pytest.raises(WorkerError, match="timed out"):
        check_address(deaf)
    with listener(b"HTTP/1.1 400 Bad Request\r\n\r\n") as web, pytest.raises(WorkerError, match="as Ray does"):
        check_address(web)
    with listener(bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))) as grpc:
        check_address(f"ray://{grpc}")


def test_without_ray_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'liquid-pilot\[ray\]'"), WorkerPool(Workers("ray")):
        raise AssertionError("it opened")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("evaluate", ["geometric"]),
        ("benchmark", ["rates", "geometric"]),
        ("benchmark", ["faults", "geometric"]),
        ("benchmark", ["rivals", "geometric"]),
        ("benchmark", ["table"]),
        ("benchmark", ["onboard", "small"]),
        ("benchmark", ["half-cheetah"]),
        ("benchmark", ["sequence"]),
        ("collect", ["hover"]),
    ],
)
def test_every_command_takes_an_address_and_refuses_it_before_the_work(
    script: str, words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = importlib.import_module(f"scripts.{script}").main
    out = {"evaluate": [], "collect": ["--out", str(tmp_path / "x.safetensors")]}.get(script, ["--out", str(tmp_path)])
    assert main([*words, *out, "--workers", "ray", "--ray-address", "nowhere"]) == 2
    assert "give HOST:PORT" in capsys.readouterr().err
    assert main([*words, *out, "--ray-address", "10.0.0.1:6379"]) == 2
    assert "--workers ray" in capsys.readouterr().err
    assert main([*words, *out, "--workers", "0"]) == 2


class FakeRay:
    """As much of Ray as is used, in this process; a task's `cause` is what it raises, else it is done."""

    class exceptions:  # Ray's own name
        class RayError(Exception):
            pass

        class RayTaskError(RayError):
            cause = ConfigError("the cup is broken; take another")

    def __init__(self, fault: type[Exception] | None = None) -> None:
        self.fault, self.cancelled, self.lengths, self.told, self.open = fault, 0, list[int](), dict[str, Any](), False

    def is_initialized(self) -> bool:
        return self.open

    def init(self, **given: Any) -> None:
        self.told, self.open = given, True

    def shutdown(self) -> None:
        self.open = False

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0}

    def put(self, value: Any) -> Any:
        return value

    def remote(self, **given: Any) -> Any:
        assert given["max_retries"] >= 1

        def submit(one: Any, parcel: Any, batch: range) -> Any:
            self.lengths.append(len(batch))
            return Task(one, parcel, batch)

        return lambda function: SimpleNamespace(remote=submit)

    def wait(self, tasks: list[Any], num_returns: int) -> tuple[list[Any], list[Any]]:
        return tasks[-1:], tasks[:-1]  # the last one first: order must not matter

    def get(self, task: Any) -> Any:
        if self.fault is not None:
            raise self.fault("lost")
        return cluster.do_batch(task.one, task.parcel, task.batch)

    def cancel(self, task: Any) -> None:
        self.cancelled += 1


@dataclass(frozen=True, eq=False)
class Task:
    one: Any
    parcel: Any
    batch: range


def test_batches_hold_every_job_once_and_come_back_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay()
    monkeypatch.setattr(cluster, "_import_ray", lambda: ray)
    with WorkerPool(Workers("ray")) as pool:
        assert ray.told["_node_ip_address"] == "127.0.0.1" and not ray.told["include_dashboard"]
        for count in (0, 1, 3, 100):
            assert pool.each(run_errand, Errand(tmp_path), count) == [i * i for i in range(count)]
        assert pool.workers == 2 and pool.threads == (os.cpu_count() or 1) and max(ray.lengths) == 12
    assert not ray.open
    ray.open = True  # by somebody else, who ends it
    Cluster(None).close()
    assert ray.open


@pytest.mark.parametrize(
    ("fault", "words"), [(FakeRay.exceptions.RayTaskError, "^the cup is"), (FakeRay.exceptions.RayError, "goes on")]
)
def test_what_ray_reports_becomes_an_error_of_ours(
    fault: type[Exception], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = FakeRay(fault)
    monkeypatch.setattr(cluster, "_import_ray", lambda: ray)
    with WorkerPool(Workers("ray")) as pool, pytest.raises(LiquidPilotError, match=words):
        pool.each(run_errand, Errand(tmp_path), 20)
    assert ray.cancelled == len(ray.lengths) - 1


def listening() -> set[str]:
    """Addresses, in hex, and ports of this machine's TCP sockets that listen."""
    found = set()
    for table in ("tcp", "tcp6"):
        lines = [line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
        found |= {cells[1] for cells in lines if cells[3] == "0A"}
    return found


@pytest.mark.ray
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray (extra ray)")  # not imported before us
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # of Ray
def test_ray_gives_the_same_results_though_a_worker_is_killed_and_only_this_machine_can_reach_it(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before, loopback = listening(), {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
    with WorkerPool(Workers("ray")) as pool:
        assert {address.partition(":")[0] for address in listening() - before} <= loopback
        assert pool.each(run_errand, Errand(tmp_path), 8) == [i * i for i in range(8)]
        assert capfd.readouterr() == ("", "")  # Ray tells of lost workers, and of nothing else
        assert pool.each(run_errand, Errand(tmp_path, 3), 8) == [i * i for i in range(8)]
        assert (tmp_path / "died").exists()
        with pytest.raises(ConfigError, match=r"^the cup is broken; take another$"):
            pool.each(fail, Errand(tmp_path, 2), 4)
        with pytest.raises(WorkerError, match=r"Ray lost jobs.*goes on from there"):
            pool.each(run_errand, Errand(tmp_path, 3, always=True), 4)
    assert not sys.modules["ray"].is_initialized()
