"""Bytes to and from an autopilot that never block: UDP, a serial port, and a pair in memory for tests."""

from __future__ import annotations

import contextlib
import errno
import importlib
import ipaddress
import os
import select
import socket
from collections import deque
from typing import Any, Final, Protocol, TypeAlias

from liquid_pilot.errors import LinkError, MissingExtraError

Chunk: TypeAlias = tuple[bytes, str]  # what came, and from where
LARGEST: Final = 65536
# the network may come back; the link says meanwhile that nobody is heard
PASSING: Final = (errno.ENOBUFS, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EPERM)
MOST_CHUNKS: Final = 256  # read at once: a flood must not keep the control loop from its work


class Transport(Protocol):
    """A way for bytes. whole: a chunk holds whole frames, as a datagram does; otherwise it is a piece of a stream."""

    whole: bool
    name: str

    def open(self) -> None:
        """Take the port. Raises `LinkError`."""
        ...

    def fileno(self) -> int:
        """For select; -1 without one."""
        ...

    def read(self) -> list[Chunk]:
        """What is there now. Raises `LinkError` when the port is gone."""
        ...

    def write(self, data: bytes, peer: str) -> bool:
        """Send all of it to the peer (a source that `read` told) or nothing; False where it would block."""
        ...

    def close(self) -> None:
        """Give the port back."""
        ...


class Udp:
    """UDP: listening (peers are whoever wrote), or connected to one address."""

    whole = True

    def __init__(self, host: str, port: int, *, listen: bool) -> None:
        self.name = f"{'udpin' if listen else 'udpout'}:{host}:{port}"
        self._address, self._listen = (host, port), listen
        self._socket: socket.socket | None = None
        self._peers: dict[str, Any] = {}

    def open(self) -> None:
        """Bind or connect."""
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        own = socket.socket(family, socket.SOCK_DGRAM)
        own.setblocking(False)
        try:
            own.bind(self._address) if self._listen else own.connect(self._address)
        except OSError as error:
            own.close()
            host, port = self._address
            if error.errno == errno.EADDRINUSE:
                raise LinkError(
                    f"UDP port {port} on {host} is in use by another program (a ground station, or another "
                    "liquid-pilot?); close it, or give another port"
                ) from error
            raise LinkError(f"{self.name} cannot be opened ({error.strerror or error}); check the address") from error
        self._socket = own

    @property
    def port(self) -> int:
        """The port that is bound, where the address left the choice to the system (port 0)."""
        return int(self._open_socket.getsockname()[1])

    @property
    def _open_socket(self) -> socket.socket:
        if self._socket is None:
            raise LinkError(f"{self.name} is not open; call open first")
        return self._socket

    def fileno(self) -> int:
        """Of the socket."""
        return self._open_socket.fileno()

    def read(self) -> list[Chunk]:
        """All datagrams that wait."""
        own = self._open_socket
        chunks: list[Chunk] = []
        while len(chunks) < MOST_CHUNKS:
            try:
                data, source = own.recvfrom(LARGEST)
            except (BlockingIOError, ConnectionRefusedError):  # refused: nobody listens there yet
                break
            except OSError as error:
                if error.errno in PASSING:
                    break
                raise LinkError(f"{self.name} was lost ({error.strerror or error}); check the network") from error
            peer = f"{source[0]}:{source[1]}"
            if peer not in self._peers:
                if len(self._peers) >= 64:  # a flood of senders must not fill the memory
                    self._peers.clear()
                self._peers[peer] = source
            chunks.append((data, peer))
        return chunks

    def write(self, data: bytes, peer: str) -> bool:
        """One datagram."""
        try:
            if not self._listen:
                self._open_socket.send(data)
                return True
            if peer not in self._peers:
                return False
            self._open_socket.sendto(data, self._peers[peer])
            return True
        except (BlockingIOError, ConnectionRefusedError):
            return False
        except OSError as error:
            if error.errno in PASSING:
                return False
            raise LinkError(f"{self.name} was lost ({error.strerror or error}); check the network") from error

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class Serial:
    """A serial port, through pyserial for its settings and the file descriptor for the bytes."""

    whole = False

    def __init__(self, device: str, baud: int) -> None:
        self.name = f"{device}@{baud}"
        self._device, self._baud = device, baud
        self._port: Any = None
        self._rest = b""  # of a frame that the port took only a part of
        self._poll = select.poll()

    def open(self) -> None:
        """Open and lock the device."""
        try:
            serial: Any = importlib.import_module("serial")
        except ImportError as error:
            raise MissingExtraError(
                "serial links need the package pyserial; install it with: pip install 'liquid-pilot[mavlink]'"
            ) from error
        try:
            self._port = serial.Serial(self._device, self._baud, timeout=0, write_timeout=0, exclusive=True)
        except (OSError, ValueError) as error:
            raise LinkError(
                f"serial device {self._device} cannot be opened at {self._baud} baud ({error}); check that it is "
                "plugged in, that you may use it (group dialout), and that no other program has it"
            ) from error
        os.set_blocking(self._port.fileno(), False)
        self._poll.register(self._port.fileno(), select.POLLIN)

    def fileno(self) -> int:
        """Of the device."""
        if self._port is None:
            raise LinkError(f"{self.name} is not open; call open first")
        return int(self._port.fileno())

    def read(self) -> list[Chunk]:
        """The bytes that wait."""
        self._flush()
        number = self.fileno()
        if not self._poll.poll(0):  # a read of nothing is then no sign of an end
            return []
        try:
            data = os.read(number, LARGEST)
        except BlockingIOError:
            return []
        except OSError as error:
            raise self._vanished(error.strerror) from error
        if not data:  # ready to be read, and nothing there: the other end is gone
            raise self._vanished("end of file")
        return [(data, self._device)]

    def write(self, data: bytes, peer: str) -> bool:
        """As much as the port takes now; the rest of a frame that was begun goes first next time."""
        if not self._flush():
            return False
        try:
            sent = os.write(self.fileno(), data)
        except BlockingIOError:
            return False
        except OSError as error:
            raise self._vanished(error.strerror) from error
        self._rest = data[sent:]
        return True

    def close(self) -> None:
        """Close the device."""
        if self._port is not None:
            with contextlib.suppress(OSError):
                self._port.close()
            self._port = None

    def _flush(self) -> bool:
        if not self._rest:
            return True
        try:
            self._rest = self._rest[os.write(self.fileno(), self._rest) :]
        except BlockingIOError:
            return False
        except OSError as error:
            raise self._vanished(error.strerror) from error
        return not self._rest

    def _vanished(self, why: str | None) -> LinkError:
        return LinkError(f"serial device {self._device} has vanished ({why}); check the plug, then start again")


class Memory:
    """One end of a pair in this process: what one writes the other reads. For simulated time, and for tests."""

    whole = True

    def __init__(self, name: str = "memory") -> None:
        self.name = name
        self.other: Memory | None = None
        self.full = False  # as a socket whose buffer is full
        self._inbox: deque[Chunk] = deque()

    @classmethod
    def pair(cls) -> tuple[Memory, Memory]:
        """Two ends."""
        a, b = cls("memory-a"), cls("memory-b")
        a.other, b.other = b, a
        return a, b

    def put(self, data: bytes, source: str = "memory") -> None:
        """Bytes for this end to read."""
        self._inbox.append((data, source))

    def open(self) -> None:
        """Nothing to take."""

    def fileno(self) -> int:
        """There is none."""
        return -1

    def read(self) -> list[Chunk]:
        """What was put or written by the other end."""
        chunks = list(self._inbox)
        self._inbox.clear()
        return chunks

    def write(self, data: bytes, peer: str) -> bool:
        """To the other end."""
        if self.full or self.other is None:
            return False
        self.other.put(data, self.name)
        return True

    def close(self) -> None:
        """Nothing to give back."""


def is_loopback(host: str) -> bool:
    """Whether an address can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
