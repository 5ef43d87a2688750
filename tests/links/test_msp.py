"""MSP frames come back whole from any stream, and no byte does harm."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liquid_pilot.errors import MessageError
from liquid_pilot.links import msp
from liquid_pilot.links.msp import MspParser, MspReply, encode, read_battery, read_status

frames = st.lists(st.tuples(st.integers(0, 254), st.binary(max_size=255), st.booleans()), max_size=6)


def status_payload(armed: bool, blocked: int, more: bytes = b"") -> bytes:
    head = struct.pack("<HHHIBHBB", 125, 0, 33, 1 if armed else 0, 0, 12, 4, 0)
    return head + bytes([len(more)]) + more + bytes([29]) + struct.pack("<I", blocked) + b"\0\0\0\4"


def test_a_frame_is_what_the_firmware_expects() -> None:
    assert encode(msp.STATUS_EX) == b"$M<\x00\x96\x96"
    assert encode(200, b"\x01\x02") == b"$M<\x02\xc8\x01\x02" + bytes([2 ^ 200 ^ 1 ^ 2])


@given(frames, st.integers(1, 40), st.binary(max_size=20))
def test_frames_come_back_however_the_stream_is_cut(
    sent: list[tuple[int, bytes, bool]], size: int, noise: bytes
) -> None:
    noise = noise.replace(b"$", b"")
    data = noise.join(encode(code, payload, b">" if known else b"!") for code, payload, known in sent)
    parser = MspParser()
    found = [reply for k in range(0, len(data), size) for reply in parser.feed(data[k : k + size])]
    assert found == [MspReply(code, payload, known) for code, payload, known in sent]
    assert parser.skipped == len(noise) * max(0, len(sent) - 1)


def test_a_damaged_frame_costs_only_itself() -> None:
    good, bad = encode(1, b"abc", b">"), bytearray(encode(2, b"def", b">"))
    bad[6] ^= 0x40
    parser = MspParser()
    assert [reply.code for reply in parser.feed(good + bytes(bad) + good)] == [1, 1]
    assert parser.skipped == len(bad)


@settings(max_examples=300)
@given(st.binary(max_size=400))
def test_any_bytes_are_read_without_harm(data: bytes) -> None:
    parser = MspParser()
    for reply in parser.feed(data):
        read_status(reply.payload)
        read_battery(reply.payload)
    read_status(data)
    read_battery(data)
    assert len(parser._buffer) <= 261  # what may still become a frame


def test_status_and_battery() -> None:
    status = read_status(status_payload(False, 1 << 9 | 1 << 28, b"\1\2"))
    assert status is not None and not status.armed and status.reasons == ("BOOT_GRACE_TIME", "ARM_SWITCH")
    assert status.load == 0.12
    armed = read_status(status_payload(True, 0))
    assert armed is not None and armed.armed and armed.reasons == ()
    odd = read_status(status_payload(False, 1 << 30))
    assert odd is not None and odd.reasons == ("unknown 0x40000000",)
    battery = struct.pack("<BHBHHBH", 4, 1500, 160, 375, 0, 0, 1603)
    assert read_battery(battery) == (0.75, 16.03)
    assert read_battery(bytes(11)) == (None, None) and read_battery(b"") == (None, None)
    assert read_battery(struct.pack("<BHBHHBH", 4, 0, 160, 375, 0, 0, 1603)) == (None, 16.03)


@pytest.mark.parametrize(("code", "payload"), [(-1, b""), (255, b""), (1, bytes(256))])
def test_what_fits_no_frame_is_refused(code: int, payload: bytes) -> None:
    with pytest.raises(MessageError, match="MSP frame"):
        encode(code, payload)
