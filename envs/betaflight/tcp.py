"""A serial port that is a TCP connection, as the firmware's software-in-the-loop build has them."""

from __future__ import annotations

import socket

from liquid_pilot.errors import LinkError
from liquid_pilot.links.transport import Chunk


class Tcp:
    """The firmware's serial port, as a transport."""

    whole = False

    def __init__(self, host: str, port: int) -> None:
        self.name = f"tcp:{host}:{port}"
        self._address = (host, port)
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Connect."""
        try:
            self._socket = socket.create_connection(self._address, timeout=2.0)
        except OSError as error:
            raise LinkError(f"{self.name} cannot be opened ({error.strerror or error})") from error
        self._socket.setblocking(False)

    def fileno(self) -> int:
        """Of the socket."""
        return -1 if self._socket is None else self._socket.fileno()

    def read(self) -> list[Chunk]:
        """What waits."""
        if self._socket is None:
            raise LinkError(f"{self.name} is not open; call open first")
        try:
            data = self._socket.recv(65536)
        except BlockingIOError:
            return []
        except OSError as error:
            raise LinkError(f"{self.name} was lost ({error.strerror or error})") from error
        if not data:
            raise LinkError(f"{self.name} was closed by the other end")
        return [(data, self.name)]

    def write(self, data: bytes, peer: str) -> bool:
        """All or nothing: requests are far smaller than the buffer."""
        try:
            return self._socket is not None and self._socket.send(data) == len(data)
        except BlockingIOError:
            return False
        except OSError as error:
            raise LinkError(f"{self.name} was lost ({error.strerror or error})") from error

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
