"""`liquid-pilot fly` in one process, the autopilot in another, real time and real sockets on loopback between them."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from liquid_pilot.logs import Event, read_csv
from liquid_pilot.messages import Command, Flow, Imu, Range

ROOT = Path(__file__).parents[2]
SECONDS = 60  # far more than it takes


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", 0))
        return int(own.getsockname()[1])


@contextmanager
def process(module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A Python module in a process of its own, ended at the end if it has not by itself."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    one = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield one
    finally:
        if one.poll() is None:
            one.kill()
        one.communicate()


def fly(port: int, *arguments: str) -> tuple[str, ...]:
    return ("fly", "hover", "--link", f"mavlink:udpin:127.0.0.1:{port}", *arguments)


@pytest.mark.real_time
def test_a_flight_over_loopback_is_landed_by_ctrl_c(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "flight.csv"
    with (
        process("scripts.autopilot", "--port", str(port), "--imu-hz", "100") as autopilot,
        process("liquid_pilot", *fly(port, "--hover-throttle", "0.417", "--imu-hz", "100", "--log", str(log))) as pilot,
    ):
        assert pilot.stdout is not None
        seen = []
        for line in pilot.stdout:
            seen.append(line)
            if line.startswith("flying 2."):
                break
        assert seen[-1].startswith("flying 2."), "".join(seen)
        pilot.send_signal(signal.SIGINT)
        said, _ = pilot.communicate(timeout=SECONDS)
        truth, _ = autopilot.communicate(timeout=SECONDS)
    assert pilot.returncode == 0, said
    assert "landed and disarmed" in said
    found = json.loads(truth.splitlines()[-1])
    assert found["landed_softly"] and not found["armed"] and not found["aloft"]
    assert found["failsafes"] == found["masks_refused"] == 0 and found["flown_s"] > 3.0
    assert 0.6 < found["highest_m"] < 2.0 and found["steepest_deg"] < 45.0
    kinds = {type(record) for record in read_csv(log).records}
    assert {Imu, Flow, Range, Command, Event} <= kinds


def test_a_port_in_use_is_one_line_and_exit_code_2() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        with process("liquid_pilot", *fly(other.getsockname()[1])) as pilot:
            _, said = pilot.communicate(timeout=SECONDS)
    assert pilot.returncode == 2
    assert said.count("\n") == 1 and "in use by another program" in said


def wait_for_connecting(pilot: subprocess.Popen[str]) -> None:
    """Read on to the line that says so; notes may come before it."""
    assert pilot.stdout is not None
    assert any(line.startswith("connecting") for line in pilot.stdout)


def test_nobody_there_is_exit_code_3_and_sigterm_ends_the_wait() -> None:
    port = free_port()
    with process("liquid_pilot", *fly(port, "--patience", "1")) as pilot:
        said, _ = pilot.communicate(timeout=SECONDS)
    assert pilot.returncode == 3 and "no autopilot was heard" in said
    with process("liquid_pilot", *fly(port, "--patience", "600")) as pilot:
        wait_for_connecting(pilot)
        pilot.send_signal(signal.SIGTERM)
        said, _ = pilot.communicate(timeout=SECONDS)
    assert pilot.returncode == 0 and "cancelled" in said


@pytest.mark.parametrize("lost", ["a pipe without a reader", "a terminal that is gone"])
def test_an_output_that_is_gone_does_not_change_how_it_ended(lost: str) -> None:
    far, near = os.pipe() if "pipe" in lost else pty.openpty()
    command = [sys.executable, "-m", "liquid_pilot", *fly(free_port(), "--patience", "1")]
    with subprocess.Popen(command, stdout=near, stderr=subprocess.PIPE, text=True) as pilot:
        os.close(near)
        os.close(far)
        _, errors = pilot.communicate(timeout=SECONDS)
    assert pilot.returncode == 3 and errors == ""


def test_without_a_network_permission_only_loopback_is_served() -> None:
    with process("liquid_pilot", "fly", "hover", "--link", "mavlink:udpin:0.0.0.0:14540") as pilot:
        _, said = pilot.communicate(timeout=SECONDS)
    assert pilot.returncode == 2 and "--allow-network" in said


def test_a_serial_device_that_vanishes_ends_in_one_clear_line() -> None:
    far, near = pty.openpty()
    device = os.ttyname(near)
    with process("liquid_pilot", "fly", "hover", "--link", f"mavlink:{device}@115200", "--patience", "600") as pilot:
        os.close(near)
        wait_for_connecting(pilot)
        os.close(far)
        said, errors = pilot.communicate(timeout=SECONDS)
    assert pilot.returncode == 1 and errors == ""
    assert f"serial device {device} has vanished" in said
