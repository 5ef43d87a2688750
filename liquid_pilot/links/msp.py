"""MSP, the protocol by which Betaflight is set up and asked for its state; version 1 alone is needed here.

Frame: "$M", direction ("<" to the flight controller, ">" from it, "!" where it does not know the request), length,
code, payload, and the exclusive or of all from the length on. A round trip takes 10 to 20 ms: good for set-up and
status, useless for control. Codes and payloads: https://github.com/betaflight/betaflight/wiki/MSP-Extensions and
`src/main/msp/msp_protocol.h` of the firmware.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from liquid_pilot.errors import MessageError

API_VERSION: Final = 1
BATTERY_STATE: Final = 130
STATUS_EX: Final = 150
_HEAD: Final = b"$M"
_LONGEST: Final = 255

# Why it does not arm, by bit of the flags in STATUS_EX (firmware 4.5 and 4.6).
ARMING_FLAGS: Final = (
    "NO_GYRO FAILSAFE RX_FAILSAFE NOT_DISARMED BOXFAILSAFE RUNAWAY_TAKEOFF CRASH_DETECTED THROTTLE ANGLE "
    "BOOT_GRACE_TIME NOPREARM LOAD CALIBRATING CLI CMS_MENU BST MSP PARALYZE GPS RESC DSHOT_TELEM REBOOT_REQUIRED "
    "DSHOT_BITBANG ACC_CALIBRATION MOTOR_PROTOCOL CRASHFLIP ALTHOLD POSHOLD ARM_SWITCH"
).split()
ARM_SWITCH: Final = 1 << 28  # the switch was on before it could arm; it must go off first


@dataclass(frozen=True, slots=True)
class MspReply:
    """One frame of the flight controller. known: False where it did not understand the request."""

    code: int
    payload: bytes
    known: bool


@dataclass(frozen=True, slots=True)
class FlightControllerStatus:
    """armed; blocked: bits of `ARMING_FLAGS` that keep it from arming; load: share of its processor, 0 to 1."""

    armed: bool
    blocked: int
    load: float

    @property
    def reasons(self) -> tuple[str, ...]:
        """Names of what keeps it from arming."""
        named = tuple(name for k, name in enumerate(ARMING_FLAGS) if self.blocked >> k & 1)
        unknown = self.blocked >> len(ARMING_FLAGS)
        return (*named, f"unknown {unknown << len(ARMING_FLAGS):#x}") if unknown else named


def encode(code: int, payload: bytes = b"", direction: bytes = b"<") -> bytes:
    """A frame. Raises `MessageError` for what does not fit one."""
    if not 0 <= code <= 254 or len(payload) > _LONGEST or direction not in (b"<", b">", b"!"):
        raise MessageError(f"MSP frame of code {code} and {len(payload)} bytes; allowed are 0 to 254 and 255 bytes")
    body = bytes((len(payload), code)) + payload
    return _HEAD + direction + body + bytes((_sum(body),))


def _sum(body: bytes) -> int:
    total = 0
    for byte in body:
        total ^= byte
    return total


class MspParser:
    """Frames from a stream of bytes; what is no frame is skipped and counted in `skipped`, bytes."""

    def __init__(self) -> None:
        self.skipped = 0
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[MspReply]:
        """All frames that are whole by now, in order. Never raises."""
        buffer = self._buffer
        found: list[MspReply] = []
        buffer += data
        while True:
            start = buffer.find(_HEAD)
            if start < 0:
                keep = 1 if buffer.endswith(_HEAD[:1]) else 0
                self._skip(len(buffer) - keep)
                return found
            self._skip(start)
            if len(buffer) < 5:
                return found
            size = buffer[3]
            if buffer[2] not in b">!":
                self._skip(1)
                continue
            if len(buffer) < size + 6:
                return found
            body = bytes(buffer[3 : size + 5])
            if _sum(body) != buffer[size + 5]:
                self._skip(1)  # a frame may begin inside of what was no frame
                continue
            found.append(MspReply(body[1], body[2:], buffer[2] == b">"[0]))
            del buffer[: size + 6]

    def _skip(self, count: int) -> None:
        self.skipped += count
        del self._buffer[:count]


def read_status(payload: bytes) -> FlightControllerStatus | None:
    """Of a STATUS_EX reply; None where it is too short to be one."""
    if len(payload) < 16:
        return None
    modes, load = struct.unpack_from("<I", payload, 6)[0], struct.unpack_from("<H", payload, 11)[0]
    at = 16 + (payload[15] & 0x0F) + 1  # more mode bits, then how many flags there are
    if len(payload) < at + 4:
        return None
    return FlightControllerStatus(bool(modes & 1), struct.unpack_from("<I", payload, at)[0], min(load, 100) / 100.0)


def read_battery(payload: bytes) -> tuple[float | None, float | None]:
    """(share left, volts) of a BATTERY_STATE reply, None where it does not know; the capacity must be set up."""
    if len(payload) < 11:
        return None, None
    cells, capacity_mah, _, drawn_mah = struct.unpack_from("<BHBH", payload)
    volts = struct.unpack_from("<H", payload, 9)[0] / 100.0
    if not cells:
        return None, None
    return (max(0.0, 1.0 - drawn_mah / capacity_mah) if capacity_mah else None), volts
