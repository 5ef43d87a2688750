"""A serial port that is a TCP connection, as the firmware's software-in-the-loop build has them."""

from __future__ import annotations

import socket
import time
from typing import Final

from liquid_pilot.errors import LinkError
from liquid_pilot.links.transport import Chunk

PATIENCE_S: Final = 5.0  # the firmware listens from a thread of its own, on the time of the machine


class Tcp:
    """The firmware's serial port, as a transport. patience_s: for which `open` waits until somebody listens there."""

    whole = False

    def __init__(self, host: str, port: int, patience_s: float = PATIENCE_S) -> None:
        self.name = f"tcp:{host}:{port}"
        self._address, self._patience_s = (host, port), patience_s
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Connect. Raises `LinkError`."""
        end_s = time.monotonic() + self._patience_s
        while self._socket is None:
            try:
                self._socket = socket.create_connection(self._address, timeout=2.0)
            except OSError as error:
                if not isinstance(error, ConnectionRefusedError) or time.monotonic() >= end_s:
                    raise LinkError(f"{self.name} cannot be opened ({error.strerror or error})") from error
                time.sleep(0.05)
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
