"""Fields of a frame, unpacked straight into a named tuple: several times quicker than a message object."""

from __future__ import annotations

import struct
from collections import namedtuple
from collections.abc import Callable
from typing import Any, Final

from liquid_pilot.links.mavlink_frames import HEADER_V1, HEADER_V2, MARKER_V2, Frame, dialect

_START: Final = bytes((MARKER_V2,))
# Of SET_ATTITUDE_TARGET, in the order of the wire: time_boot_ms, q, three rates, thrust, system, component, type_mask.
_ATTITUDE_TARGET: Final = struct.Struct("<I8fBBB")
_ATTITUDE_TARGET_ID: Final = 82
_LEVEL: Final = (1.0, 0.0, 0.0, 0.0)


class TargetWriter:
    """Packs SET_ATTITUDE_TARGET of rates and thrust."""

    def __init__(self, type_mask: int) -> None:
        definitions = dialect()
        self._crc = definitions.x25crc
        self._extra = bytes((definitions.mavlink_map[_ATTITUDE_TARGET_ID].crc_extra,))
        self._mask = type_mask

    def pack(
        self,
        sender: tuple[int, int, int],
        target: tuple[int, int],
        boot_ms: int,
        rates_frd_rad_s: tuple[float, float, float],
        throttle: float,
    ) -> bytes:
        """A MAVLink 2 frame. sender: sequence number, system, component; target: system, component."""
        payload = _ATTITUDE_TARGET.pack(boot_ms, *_LEVEL, *rates_frd_rad_s, throttle, *target, self._mask)
        head = bytes((len(payload), 0, 0, *sender, _ATTITUDE_TARGET_ID, 0, 0))
        crc = self._crc(head + payload + self._extra).crc
        return b"".join((_START, head, payload, crc.to_bytes(2, "little")))


def reader_of(message_id: int) -> Callable[[Frame], Any]:
    """Reads frames of one message: fields by their MAVLink names, arrays of numbers as `name_0`, `name_1` ...

    Zeros at the end of a payload are left out on the wire, and what a newer dialect adds is not read.
    """
    kind = dialect().mavlink_map[message_id]
    names: list[str] = []
    for name, length in zip(kind.ordered_fieldnames, kind.lengths, strict=True):
        names += [name] if length == 1 else [f"{name}_{i}" for i in range(length)]
    make_type: Any = namedtuple  # its names are known only here
    fields = make_type(kind.msgname.title().replace("_", ""), names)
    make: Callable[[tuple[Any, ...]], Any] = fields._make
    wire: struct.Struct = kind.unpacker
    size, unpack = wire.size, wire.unpack_from

    def read(frame: Frame) -> Any:
        data = frame.data
        begin = HEADER_V2 if data[0] == MARKER_V2 else HEADER_V1
        length = data[1]
        if length >= size:
            return make(unpack(data, begin))
        return make(unpack(data[begin : begin + length].ljust(size, b"\0")))

    return read
