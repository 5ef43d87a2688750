"""Addresses, ports in use, sockets that are full, devices that vanish."""

from __future__ import annotations

import errno
import os
import pty
import select
import socket
from typing import Any

import pytest

from liquid_pilot.errors import ConfigError, LinkError
from liquid_pilot.links.address import transport_of
from liquid_pilot.links.transport import Serial, Transport, Udp


def wait(transport: Transport) -> None:
    assert select.select([transport.fileno()], [], [], 5.0)[0]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("mavlink:udpin:127.0.0.1:14540", "udpin:127.0.0.1:14540"),
        ("mavlink:udpin:localhost:14540", "udpin:localhost:14540"),
        ("mavlink:udpin:[::1]:14540", "udpin:::1:14540"),
        ("mavlink:udpout:10.0.0.7:14550", "udpout:10.0.0.7:14550"),
        ("mavlink:/dev/ttyAMA0@921600", "/dev/ttyAMA0@921600"),
    ],
)
def test_addresses(address: str, name: str) -> None:
    assert transport_of(address).name == name


@pytest.mark.parametrize(
    ("address", "hint"),
    [
        ("udpin:127.0.0.1:14540", "mavlink:udpin"),
        ("mavlink:tcp:127.0.0.1:5760", "udpin"),
        ("mavlink:udpin:127.0.0.1", "udpin"),
        ("mavlink:udpin:127.0.0.1:0", "port"),
        ("mavlink:udpin:127.0.0.1:99999", "port"),
        ("mavlink:/dev/ttyAMA0", "@921600"),
        ("mavlink:udpin:0.0.0.0:14540", "--allow-network"),
        ("mavlink:udpin:192.168.1.5:14540", "--allow-network"),
        ("", "mavlink"),
    ],
)
def test_wrong_addresses_say_what_to_write(address: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint):
        transport_of(address)


def test_the_network_is_listened_to_only_when_that_is_meant() -> None:
    assert transport_of("mavlink:udpin:0.0.0.0:14540", allow_network=True).name == "udpin:0.0.0.0:14540"


def test_udp_both_ways_and_answers_go_to_who_wrote() -> None:
    near = Udp("127.0.0.1", 0, listen=True)
    near.open()
    far = Udp("127.0.0.1", near.port, listen=False)
    far.open()
    try:
        assert near.read() == [] and not near.write(b"x", "127.0.0.1:9")  # nobody has written yet
        assert far.write(b"hello", "")
        wait(near)
        [(data, peer)] = near.read()
        assert data == b"hello" and near.write(b"back", peer)
        wait(far)
        assert [data for data, _ in far.read()] == [b"back"]
    finally:
        near.close()
        far.close()
        far.close()
    with pytest.raises(LinkError, match="not open"):
        near.read()


def test_a_port_in_use_is_one_clear_line() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        with pytest.raises(LinkError, match=r"in use by another program.*another port"):
            Udp("127.0.0.1", other.getsockname()[1], listen=True).open()


def test_calling_where_nobody_listens_is_no_error() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
    far = Udp("127.0.0.1", port, listen=False)
    far.open()
    try:
        for _ in range(3):
            far.write(b"hello?", "")
            assert far.read() == []
    finally:
        far.close()


def test_a_serial_device_that_is_not_there_is_one_clear_line() -> None:
    with pytest.raises(LinkError, match="cannot be opened"):
        Serial("/dev/no-such-device", 921600).open()


def test_a_serial_device_that_vanishes_is_one_clear_line() -> None:
    far, near = pty.openpty()
    link = Serial(os.ttyname(near), 115200)
    link.open()
    try:
        assert link.read() == []
        os.write(far, b"hello")
        wait(link)
        assert link.read() == [(b"hello", os.ttyname(near))]
        assert link.write(b"back", "")
        assert os.read(far, 100) == b"back"
        os.close(far)
        with pytest.raises(LinkError, match="has vanished"):
            for _ in range(10):
                link.read()
    finally:
        link.close()
        os.close(near)


def test_a_serial_port_that_is_full_never_blocks_and_never_cuts_a_frame() -> None:
    far, near = pty.openpty()
    link = Serial(os.ttyname(near), 115200)
    link.open()
    frames = [bytes([i]) * 300 for i in range(256)]
    taken = []
    try:
        for frame in frames * 4:
            if link.write(frame, ""):
                taken.append(frame)
        assert 0 < len(taken) < len(frames) * 4
        got = b""
        while select.select([far], [], [], 0.2)[0]:
            got += os.read(far, 65536)
            assert link.read() == []  # which also sends the rest of a frame that was begun
        assert got == b"".join(taken)
    finally:
        link.close()
        os.close(far)
        os.close(near)


@pytest.mark.parametrize("number", [errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN])
def test_a_network_that_may_come_back_is_no_end_of_a_link(number: int) -> None:
    class Unreachable:
        """A socket that tells of what its datagrams met, to whoever asks first."""

        def recvfrom(self, size: int) -> None:
            raise OSError(number, os.strerror(number))

        def send(self, data: bytes) -> None:
            raise OSError(number, os.strerror(number))

    link = Udp("192.0.2.1", 14540, listen=False)
    own: Any = Unreachable()
    link._socket = own
    assert link.read() == [] and not link.write(b"x", "")
