"""Frames of MAVLink 1 and 2 out of bytes, by length and checksum; damaged ones cost no frame that follows.

Field definitions come from pymavlink. Its own parser keeps what it has read for as long as a stream never pauses, and
after a damaged length swallows what follows, so that framing is done here: a buffer of fixed size at most, and after
a wrong checksum the search goes on behind the first byte. Format: https://mavlink.io/en/guide/serialization.html
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from liquid_pilot.errors import MissingExtraError

MARKER_V1: Final = 0xFE
MARKER_V2: Final = 0xFD
HEADER_V1: Final = 6
HEADER_V2: Final = 10
_MARKERS: Final = frozenset((MARKER_V1, MARKER_V2))
_SIGNED: Final = 0x01
_SIGNATURE: Final = 13
LONGEST: Final = 10 + 255 + 2 + _SIGNATURE


@lru_cache(maxsize=1)
def dialect() -> Any:
    """pymavlink's definitions of the common messages. Raises `MissingExtraError`."""
    try:
        return importlib.import_module("pymavlink.dialects.v20.common")
    except ImportError as error:
        raise MissingExtraError(
            "MAVLink links need the package pymavlink; install it with: pip install 'liquid-pilot[mavlink]'"
        ) from error


@dataclass(frozen=True, slots=True)
class Frame:
    """One whole frame whose checksum is right. system, component: who sent it."""

    system: int
    component: int
    message_id: int
    data: bytes


class Framer:
    """Cuts bytes into frames. `counters`: "bytes_skipped", "bad_checksum", "unknown_message"."""

    def __init__(self) -> None:
        definitions = dialect()
        self._extra = {number: bytes((kind.crc_extra,)) for number, kind in definitions.mavlink_map.items()}
        self._crc = definitions.x25crc
        self._buffer = bytearray()
        self.counters: Counter[str] = Counter()

    def feed(self, data: bytes, *, whole: bool) -> Iterator[Frame]:
        """Frames that are complete with these bytes. whole: nothing of them goes on in the next ones."""
        buffer = self._buffer
        buffer += data
        at = 0
        while True:
            if at < len(buffer) and buffer[at] not in _MARKERS:
                start = _next_marker(buffer, at)
                self.counters["bytes_skipped"] += start - at
                at = start
            length = _length(buffer, at)
            if length is None or len(buffer) - at < length:  # not complete, or the end
                if not whole or at >= len(buffer):
                    break
                self.counters["bytes_skipped"] += 1
                at += 1
                continue
            frame = self._frame(bytes(buffer[at : at + length])) if length else None
            if frame is None:
                self.counters["bytes_skipped"] += 1
                at += 1
                continue
            at += length
            if frame.message_id in self._extra:
                yield frame
            else:
                self.counters["unknown_message"] += 1
        del buffer[:at]

    def _frame(self, data: bytes) -> Frame | None:
        if data[0] == MARKER_V2:
            signature = _SIGNATURE if data[2] & _SIGNED else 0
            system, component = data[5], data[6]
            number = data[7] | data[8] << 8 | data[9] << 16
        else:
            signature = 0
            system, component, number = data[3], data[4], data[5]
        extra = self._extra.get(number)
        if extra is not None:
            end = len(data) - 2 - signature
            crc = self._crc(data[1:end] + extra).crc
            if crc != data[end] | data[end + 1] << 8:
                self.counters["bad_checksum"] += 1
                return None
        return Frame(system, component, number, data)


def _next_marker(buffer: bytearray, at: int) -> int:
    """Place of the next byte that may begin a frame, or the end."""
    found = [place for place in (buffer.find(MARKER_V1, at), buffer.find(MARKER_V2, at)) if place >= 0]
    return min(found, default=len(buffer))


def _length(buffer: bytearray, at: int) -> int | None:
    """Length of the frame that begins there; None if that is not known yet, 0 if it cannot be one."""
    if len(buffer) - at < 3:
        return None
    payload = buffer[at + 1]
    if buffer[at] == MARKER_V1:
        return 6 + payload + 2
    flags = buffer[at + 2]
    if flags & ~_SIGNED:
        return 0
    return 10 + payload + 2 + (_SIGNATURE if flags else 0)
