"""Commands as sticks: signs, straight lines, limits; a switch that is only on when it may be; silence that stays."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liquid_pilot.errors import ConfigError
from liquid_pilot.links import msp
from liquid_pilot.links.betaflight import BetaflightLink
from liquid_pilot.links.betaflight_rc import (
    CENTRE_US,
    Channels,
    CrsfRc,
    RcMap,
    SitlRc,
    crsf_frame,
    idle_channels,
    setup_lines,
)
from liquid_pilot.links.link import Link, Request
from liquid_pilot.links.transport import Memory
from liquid_pilot.messages import Command
from tests.links.test_msp import status_payload


class Linear:
    """Throttle that goes with thrust, full at 20 m/s^2."""

    def throttle(self, thrust_m_s2: float) -> float:
        return thrust_m_s2 / 20.0


class Sticks:
    """An RC output that remembers."""

    name = "sticks"

    def __init__(self) -> None:
        self.sent: list[tuple[float, Channels]] = []
        self.full = False

    def open(self) -> None:
        """Nothing to open."""

    def send(self, channels: Channels, now_s: float) -> bool:
        if not self.full:
            self.sent.append((now_s, channels))
        return not self.full

    def close(self) -> None:
        """Nothing to close."""


RC = RcMap(Linear(), 500)
LIMIT = math.radians(500.0)


def test_signs_of_the_sticks() -> None:
    """Roll right, nose down and clockwise from above are stick up; body FLU has yaw the other way round."""
    assert RC.channels(Command(0.0, 10.0, (LIMIT / 2, 0.0, 0.0)))[:5] == (1750, 1500, 1525, 1500, 2000)
    assert RC.channels(Command(0.0, 10.0, (0.0, LIMIT / 2, 0.0)))[:5] == (1500, 1750, 1525, 1500, 2000)
    assert RC.channels(Command(0.0, 10.0, (0.0, 0.0, LIMIT / 2)))[:5] == (1500, 1500, 1525, 1250, 2000)


@given(*[st.floats(-1e6, 1e6)] * 4)
def test_sticks_are_straight_lines_within_their_ends(thrust: float, x: float, y: float, z: float) -> None:
    channels = RC.channels(Command(0.0, thrust, (x, y, z)))
    assert len(channels) == 16 and all(isinstance(us, int) and 1000 <= us <= 2000 for us in channels)
    for us, rate in zip((channels[0], channels[1], channels[3]), (x, y, -z), strict=True):
        wanted = 500.0 * max(-1.0, min(1.0, rate / LIMIT))
        assert abs(us - CENTRE_US - wanted) <= 0.5 + 1e-6


def test_the_set_up_says_what_the_sticks_mean() -> None:
    lines = setup_lines(500)
    assert {"set rates_type = ACTUAL", "set roll_rc_rate = 50", "set yaw_srate = 50", "set pitch_expo = 0"} <= set(
        lines
    )
    for bad in (0, 505, 5000, 500.0, True):
        with pytest.raises(ConfigError, match="rate_deg_s"):
            RcMap(Linear(), bad)  # type: ignore[arg-type]  # that is the test


def crc8(data: bytes) -> int:
    """Bit by bit from the definition: remainder modulo x^8 + x^7 + x^6 + x^4 + x^2 + 1."""
    bits = int.from_bytes(data, "big") << 8
    for k in range(bits.bit_length() - 1, 7, -1):
        if bits >> k & 1:
            bits ^= 0x1D5 << (k - 8)
    return bits


@given(st.lists(st.integers(900, 2100), min_size=16, max_size=16))
def test_crsf_frames_hold_all_channels(channels: list[int]) -> None:
    frame = crsf_frame(tuple(channels))
    assert frame[:3] == b"\xc8\x18\x16" and len(frame) == 26 and frame[-1] == crc8(frame[2:-1])
    packed = int.from_bytes(frame[3:-1], "little")
    for k, us in enumerate(channels):
        assert abs(((packed >> 11 * k & 2047) - 992) * 5 / 8 + 1500 - us) <= 0.32


def test_rc_outputs_write_to_their_transport() -> None:
    for make, size in ((SitlRc, 40), (CrsfRc, 26)):
        near, far = Memory.pair()
        rc: Any = make(near)
        rc.open()
        assert rc.send(idle_channels(False), 1.5)
        ((data, _),) = far.read()
        assert len(data) == size
        if make is SitlRc:
            assert struct.unpack("<d16H", data) == (1.5, 1500, 1500, 1000, 1500, *[1000] * 12)
        near.full = True
        assert not rc.send(idle_channels(False), 1.6)
        rc.close()


def connected() -> tuple[BetaflightLink, Sticks, Memory]:
    near, far = Memory.pair()
    sticks = Sticks()
    link = BetaflightLink(sticks, near, RC)
    link.open(0.0)
    as_link: Link = link  # mypy proves that it is one
    assert as_link.fileno() == -1
    return link, sticks, far


def answer(link: BetaflightLink, far: Memory, t_s: float, armed: bool = False, blocked: int = 0) -> None:
    far.write(msp.encode(msp.STATUS_EX, status_payload(armed, blocked), b">"), "")
    assert link.receive(t_s) == []


HOVER = Command(0.0, 9.8, (0.0, 0.0, 0.0))


def test_the_switch_waits_until_nothing_else_keeps_it_from_arming() -> None:
    link, sticks, far = connected()
    link.beat(0.0)
    assert sticks.sent == [(0.0, idle_channels(False))]
    assert not link.send(HOVER, 0.01) and len(sticks.sent) == 1
    link.request(Request.ARM, 0.02)
    link.beat(0.02)
    assert sticks.sent[-1][1] == idle_channels(False)  # nothing is known yet
    answer(link, far, 0.03, blocked=1 << 9 | msp.ARM_SWITCH)
    link.beat(0.05)
    assert sticks.sent[-1][1] == idle_channels(False)
    assert link.status(0.05).problem == "Betaflight does not arm: BOOT_GRACE_TIME, ARM_SWITCH"
    answer(link, far, 0.06)
    link.beat(0.08)
    assert sticks.sent[-1][1] == idle_channels(True)
    answer(link, far, 0.09, armed=True)
    status = link.status(0.1)
    assert status.armed and status.alive and status.offboard and not status.problem and status.autopilot == "Betaflight"


def test_a_pilot_that_falls_silent_is_silent() -> None:
    link, sticks, far = connected()
    link.request(Request.ARM, 0.0)
    answer(link, far, 0.0, armed=True)
    assert link.send(HOVER, 0.01)
    count = len(sticks.sent)
    for k in range(100):
        link.beat(0.02 + 0.02 * k)
    assert len(sticks.sent) == count  # nothing stands in for the pilot
    for what in (Request.DISARM, Request.KILL):
        link.request(what, 3.0)
        assert sticks.sent[-1][1] == idle_channels(False) and not link.send(HOVER, 3.01)
        link.beat(3.1)
        assert sticks.sent[-1][1] == idle_channels(False)


def test_status_tells_of_silence_battery_and_what_there_is_not() -> None:
    link, _, far = connected()
    assert link.status(5.0).heard_s is None and not link.status(5.0).alive
    far.write(msp.encode(msp.BATTERY_STATE, struct.pack("<BHBHHBH", 4, 1000, 160, 250, 0, 0, 1600), b">"), "")
    link.receive(1.0)
    status = link.status(1.5)
    assert (status.battery, status.battery_v, status.alive) == (0.75, 16.0, True)
    late = link.status(3.0)
    assert not late.alive and "has not answered" in late.problem
    link.request(Request.LAND, 3.0)
    link.request(Request.OFFBOARD, 3.0)
    far.write(b"noise" + msp.encode(99, b"", b"!") + msp.encode(msp.STATUS_EX, b"short", b">"), "")
    link.receive(3.1)
    counters = link.status(3.1).counters
    assert counters["no_land"] == counters["no_offboard"] == counters["msp_unknown"] == counters["msp_short"] == 1
    assert counters["msp_skipped_bytes"] == 5
    link.close()


def test_what_could_not_go_out_is_counted_and_not_made_up_for() -> None:
    link, sticks, _ = connected()
    link.request(Request.ARM, 0.0)
    sticks.full = True
    assert not link.send(HOVER, 0.1)
    sticks.full = False
    link.beat(0.2)
    assert not sticks.sent and link.status(0.2).counters["not_sent"] == 1


def test_status_is_asked_for_ten_times_a_second() -> None:
    link, _, far = connected()
    for k in range(200):
        link.beat(0.005 * k)
    asked = b"".join(data for data, _ in far.read())
    assert asked.count(msp.encode(msp.STATUS_EX)) == 10 and asked.count(msp.encode(msp.BATTERY_STATE)) == 1
