"""Our quick reader says what pymavlink's own decoder says, for every message that it knows."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liquid_pilot.links.mavlink_fields import TargetWriter, reader_of
from liquid_pilot.links.mavlink_frames import Framer, dialect

D = dialect()
WANTED = (0, 1, 26, 31, 32, 77, 100, 105, 106, 111, 132, 147, 253)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, bytes):
        return bool(a.split(b"\0", 1)[0].decode("ascii", "replace") == b)
    return bool(a == b or (math.isnan(a) and math.isnan(b)))


@pytest.mark.parametrize("message_id", WANTED)
@pytest.mark.parametrize("version_1", [False, True])
def test_reader_and_decoder_agree(message_id: int, version_1: bool) -> None:
    kind, rng = D.mavlink_map[message_id], random.Random(message_id)
    for _ in range(50):
        payload = rng.randbytes(kind.unpacker.size)
        if rng.random() < 0.3:
            payload = payload[: rng.randrange(1, len(payload))].ljust(len(payload), b"\0")
        there = D.MAVLink(None, srcSystem=3, srcComponent=4)
        decoded = there.decode(bytearray(frame_bytes(message_id, payload, kind.crc_extra)))
        data = bytes(decoded.pack(there, force_mavlink1=version_1))
        [frame] = Framer().feed(data, whole=True)
        assert (frame.system, frame.component, frame.message_id) == (3, 4, message_id)
        found, known = reader_of(message_id)(frame), D.MAVLink(None).decode(bytearray(data))
        for name in kind.fieldnames:
            expected = getattr(known, name)
            if isinstance(expected, list):
                assert all(same(getattr(found, f"{name}_{i}"), value) for i, value in enumerate(expected))
            else:
                assert same(getattr(found, name), expected), name


def frame_bytes(message_id: int, payload: bytes, crc_extra: int) -> bytes:
    """A MAVLink 2 frame from its parts."""
    head = bytes((len(payload), 0, 0, 0, 3, 4)) + message_id.to_bytes(3, "little")
    crc = D.x25crc(head + payload + bytes((crc_extra,))).crc
    return bytes(b"\xfd" + head + payload + crc.to_bytes(2, "little"))


@given(
    st.tuples(*[st.integers(0, 255)] * 3),
    st.tuples(*[st.integers(0, 255)] * 2),
    st.integers(0, 2**32 - 1),
    st.tuples(*[st.floats(-100.0, 100.0, width=32)] * 3),
    st.floats(0.0, 1.0, width=32),
)
def test_the_set_point_that_is_packed_here_is_pymavlinks(
    sender: tuple[int, int, int],
    target: tuple[int, int],
    boot_ms: int,
    rates: tuple[float, float, float],
    throttle: float,
) -> None:
    data = TargetWriter(128).pack(sender, target, boot_ms, rates, throttle)
    known = D.MAVLink_set_attitude_target_message(boot_ms, *target, 128, (1.0, 0.0, 0.0, 0.0), *rates, throttle)
    there = D.MAVLink(None, srcSystem=sender[1], srcComponent=sender[2])
    there.seq = sender[0]
    assert data == bytes(known.pack(there))
