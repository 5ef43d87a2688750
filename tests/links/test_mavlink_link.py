"""The link: who it listens to, what it counts, what it sends, and that no bytes break it."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liquid_pilot.errors import LiquidPilotError
from liquid_pilot.links.link import Request
from liquid_pilot.links.mavlink_frames import LONGEST, Framer
from liquid_pilot.messages import Command, Flow, Imu, Range
from tests.links.frames import BOOT_S, OFFBOARD, Far, linked

NOW = BOOT_S + 1.0
COMMAND = Command(NOW, 9.81, (1.0, 2.0, 3.0))


def test_nothing_is_taken_and_nothing_sent_before_a_heartbeat() -> None:
    link, _ = linked(system_id=7)
    far = Far(link, system=7)
    assert far.imu(NOW) == []
    assert link.status(NOW).heard_s is None
    assert not link.send(COMMAND, NOW)
    far.heartbeat(NOW)
    assert len(far.imu(NOW)) == 1 and link.send(COMMAND, NOW)


def test_sensors_come_with_stamps_on_our_clock() -> None:
    link, far = linked()
    [imu] = far.imu(NOW + 0.004, boot_s=1.0)
    assert imu.t_s == pytest.approx(NOW + 0.004)  # the shortest delay is not known yet
    assert isinstance(imu, Imu) and imu.accel_m_s2 == pytest.approx((0.0, 0.0, 9.81))
    [flow] = far.send(NOW + 0.02, "optical_flow_rad", 1_010_000, 0, 20_000, 0.0, 0.02, 0, 0, 0, 0, 255, 0, -1.0)
    [distance] = far.send(NOW + 0.03, "distance_sensor", 1_020, 3, 400, 150, 0, 0, 25, 255)
    assert isinstance(flow, Flow) and isinstance(distance, Range)
    assert flow.t_s == pytest.approx(NOW + 0.014) and distance.t_s == pytest.approx(NOW + 0.024)
    assert link.status(NOW).clock == "arrivals"


def test_timesync_is_asked_for_and_answers_move_the_clock() -> None:
    link, far = linked()
    far.imu(NOW + 0.050, boot_s=1.0)  # 50 ms late
    link.beat(NOW + 0.1)
    [request] = [m for m in far.sent() if m.get_type() == "TIMESYNC"]
    far.send(NOW + 0.102, "timesync", round(1.101e9), request.ts1)
    imu = None
    for i in range(1, 700):
        [imu] = far.imu(NOW + 0.102 + 0.01 * i, boot_s=1.052 + 0.01 * i)
    assert imu is not None and imu.t_s == pytest.approx(NOW + 0.052 + 6.99, abs=1e-6)
    assert link.status(NOW).clock_delay_s == pytest.approx(0.001)


def test_a_timesync_question_is_answered() -> None:
    _, far = linked()
    far.send(NOW, "timesync", 0, 12345)
    [answer] = far.sent()
    assert (answer.ts1, answer.tc1) == (12345, round(NOW * 1e9))


def test_others_are_ignored_and_counted() -> None:
    link, far = linked()
    stranger, ground = Far(link, system=9, name="far"), Far(link, system=255, component=190)
    assert stranger.imu(NOW) == []
    ground.heartbeat(NOW, autopilot=8)
    camera = Far(link, component=100)
    assert camera.imu(NOW) == []
    counters = link.status(NOW).counters
    assert (counters["unknown_system"], counters["other_heartbeat"], counters["other_sender"]) == (1, 1, 1)
    assert link.status(NOW).problem == ""
    assert len(far.imu(NOW)) == 1


def test_two_autopilots_are_a_problem_that_names_both() -> None:
    link, far = linked()
    other = Far(link, system=2, name="elsewhere")
    other.heartbeat(NOW)
    problem = link.status(NOW).problem
    assert "system 1 component 1 at far" in problem and "system 2 component 1 at elsewhere" in problem
    assert "--system-id" in problem
    assert other.imu(NOW) == [] and len(far.imu(NOW)) == 1  # the first stays the one
    assert link.status(NOW + 60.0).problem == ""


def test_the_same_system_at_two_addresses_is_two_autopilots() -> None:
    link, far = linked()
    twin = Far(link, name="twin")
    far.imu(NOW)
    twin.heartbeat(NOW + 0.1)
    assert "twin" in link.status(NOW + 0.1).problem
    assert twin.imu(NOW + 0.1) == []


def test_of_several_the_one_asked_for_is_listened_to() -> None:
    link, far = linked(system_id=2)
    other = Far(link, system=2, name="two")
    other.heartbeat(NOW)
    assert far.imu(NOW) == [] and len(other.imu(NOW)) == 1
    assert link.status(NOW).problem == ""


def test_an_autopilot_that_comes_back_from_another_port_is_taken_again() -> None:
    link, far = linked()
    far.imu(NOW)
    again = Far(link, name="new port")
    again.heartbeat(NOW + 5.0)
    assert len(again.imu(NOW + 5.0)) == 1
    assert "new port" in link.status(NOW + 5.0).autopilot


def test_a_command_goes_out_in_frd_with_mask_and_throttle() -> None:
    link, far = linked()
    far.imu(NOW)
    far.sent()
    assert link.send(COMMAND, NOW)
    [m] = far.sent()
    assert m.get_type() == "SET_ATTITUDE_TARGET" and m.type_mask == 128
    assert (m.body_roll_rate, m.body_pitch_rate, m.body_yaw_rate, m.thrust) == (1.0, -2.0, -3.0, 0.5)
    assert (m.target_system, m.target_component) == (1, 1)
    assert m.time_boot_ms == 1000  # of the sample that it answers, on the autopilot's clock


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_command_that_is_not_finite_does_not_go_out(bad: float) -> None:
    link, far = linked()
    assert not link.send(Command(NOW, bad, (0.0, 0.0, 0.0)), NOW)
    assert not link.send(Command(NOW, 9.81, (0.0, bad, 0.0)), NOW)
    assert far.sent() == []


def test_a_full_socket_is_counted_and_nothing_is_kept_for_later() -> None:
    link, far = linked()
    far.near.full = True
    assert not link.send(COMMAND, NOW)
    far.near.full = False
    assert far.sent() == [] and link.status(NOW).counters["not_sent"] == 1


def test_heartbeats_come_once_a_second_and_only_when_the_loop_asks() -> None:
    link, far = linked()
    for i in range(401):
        link.beat(NOW + 0.01 * i)
    beats = [m for m in far.sent() if m.get_type() == "HEARTBEAT"]
    assert 4 <= len(beats) <= 5
    assert {(m.type, m.autopilot, m.get_srcSystem(), m.get_srcComponent()) for m in beats} == {(18, 8, 1, 191)}


def test_requests_are_those_of_px4() -> None:
    link, far = linked()
    for what in (Request.OFFBOARD, Request.ARM, Request.DISARM, Request.LAND, Request.KILL):
        link.request(what, NOW)
    sent = [(m.command, m.param1, m.param2, m.param3) for m in far.sent()]
    assert sent == [(176, 1, 6, 0), (400, 1, 0, 0), (400, 0, 0, 0), (176, 1, 4, 6), (400, 0, 21196, 0)]
    link.request(Request.SENSORS, NOW)
    intervals = {m.param1: m.param2 for m in far.sent() if m.command == 511}
    assert intervals[105] == pytest.approx(1e6 / 200.0) and 106 in intervals and 132 in intervals


def test_an_autopilot_without_such_modes_says_so() -> None:
    link, _ = linked(system_id=3)
    Far(link, system=3).heartbeat(NOW, autopilot=4)
    with pytest.raises(LiquidPilotError, match="--no-arm"):
        link.request(Request.OFFBOARD, NOW)


def test_status_tells_mode_arming_battery_and_words() -> None:
    link, far = linked()
    far.heartbeat(NOW, armed=True, mode=OFFBOARD)
    far.send(NOW, "sys_status", 0, 0, 0, 0, 11_100, -1, 55, 0, 0, 0, 0, 0, 0)
    far.send(NOW, "statustext", 4, b"Low\x1b[31m battery")
    status = link.status(NOW)
    assert status.armed and status.offboard and status.alive and status.mode == "OFFBOARD"
    assert (status.battery, status.battery_v) == (0.55, 11.1)
    assert status.said == "Low?[31m battery"
    assert not link.status(NOW + 2.0).alive
    far.send(NOW + 1.0, "command_ack", 400, 2)
    assert "battery" in link.status(NOW + 1.0).said  # its own words first
    far.send(NOW + 20.0, "command_ack", 400, 2)
    assert "denied" in link.status(NOW + 20.0).said


def test_scaled_imu_serves_only_while_there_is_no_better_one() -> None:
    link, far = linked()
    scaled = (0, 0, -1000, 0, 0, 0, 0, 0, 0)
    assert len(far.send(NOW, "scaled_imu", 1000, *scaled)) == 1
    assert len(far.imu(NOW + 0.01)) == 1
    assert far.send(NOW + 0.02, "scaled_imu", 1020, *scaled) == []
    assert len(far.send(NOW + 2.0, "scaled_imu", 3000, *scaled)) == 1
    assert far.imu(NOW + 2.1, number=1) == [] and link.status(NOW).counters["other_imu"] == 1


@pytest.mark.parametrize(("autopilot", "ticks_per_s"), [(12, 1e6), (3, 1e3)])
def test_optical_flow_is_stamped_in_the_unit_of_its_autopilot(autopilot: int, ticks_per_s: float) -> None:
    link, _ = linked(system_id=3)
    far = Far(link, system=3)
    far.heartbeat(NOW, autopilot=autopilot)
    flows = []
    for k in range(1, 6):
        t_s = NOW + 0.02 * k
        far.imu(t_s)
        ticks = round((t_s - BOOT_S) * ticks_per_s)
        flows += far.send(t_s, "optical_flow", ticks, 0, 0, 0, 0.0, 0.0, 200, 1.0, 0.0, 0.1)
    assert len(flows) == 4  # the first does not tell how long it looked
    assert [flow.dt_s for flow in flows] == pytest.approx([0.02] * 4)
    assert flows[-1].t_s == pytest.approx(NOW + 0.1, abs=1e-3) and flows[-1].flow_rad[0] == pytest.approx(0.002)
    assert "refused_clock" not in link.status(NOW).counters


def test_a_clock_that_jumps_is_followed_and_told() -> None:
    link, far = linked()
    for i in range(50):
        far.imu(NOW + 0.01 * i)
    found = [far.imu(NOW + 0.5 + 0.01 * i, boot_s=0.01 * i) for i in range(10)]
    assert [len(messages) for messages in found] == [0, 0] + [1] * 8
    times = [messages[0].t_s for messages in found[2:]]
    assert all(abs(t - (NOW + 0.52 + 0.01 * i)) < 0.011 for i, t in enumerate(times))
    status = link.status(NOW + 0.6)
    assert status.counters["clock_jumps"] == 1 and status.counters["refused_clock"] == 2 and "clock" in status.problem


def good_bytes() -> bytes:
    _, far = linked()
    return b"".join(
        [
            far.pack("heartbeat", 2, 12, 0, 0, 4, 3),
            *(far.pack("highres_imu", 10_000 * i, 0, 0, -9.81, *[0] * 10, 63, 0) for i in range(20)),
            far.pack("optical_flow_rad", 50_000, 0, 20_000, 0.0, 0.02, 0, 0, 0, 0, 255, 0, -1.0),
            far.pack("distance_sensor", 60, 3, 400, 150, 0, 0, 25, 255),
            far.pack("statustext", 4, b"hello"),
            far.pack("timesync", 0, 77),
        ]
    )


GOOD = good_bytes()


@given(st.integers(0, 2**32), st.integers(1, 40), st.booleans())
def test_mutated_bytes_break_nothing_and_what_is_left_is_sane(seed: int, changes: int, whole: bool) -> None:
    rng, data = random.Random(seed), bytearray(GOOD)
    for _ in range(changes):
        place, what = rng.randrange(len(data)), rng.random()
        if what < 0.5:
            data[place] = rng.randrange(256)
        elif what < 0.75:
            del data[place : place + rng.randrange(30)]
        else:
            data[place:place] = rng.randbytes(rng.randrange(30))
    link, far = linked()
    far.near.whole = whole
    for start in range(0, len(data), 97):
        far.near.put(bytes(data[start : start + 97]), "far")
        for message in link.receive(NOW):
            assert math.isfinite(message.t_s)
    far.near.whole = True
    assert len(far.imu(NOW + 10.0, boot_s=NOW + 10.0 - BOOT_S)) <= 1  # and it goes on


@given(st.binary(max_size=3000), st.booleans())
def test_the_framer_keeps_no_more_than_a_frame(data: bytes, whole: bool) -> None:
    framer = Framer()
    for start in range(0, len(data), 50):
        list(framer.feed(data[start : start + 50], whole=whole))
        assert len(framer._buffer) <= LONGEST


@given(st.integers(1, 60), st.binary(max_size=40))
def test_a_stream_in_any_pieces_gives_every_frame_and_noise_before_it_costs_none(piece: int, noise: bytes) -> None:
    framer = Framer()
    noise = noise.replace(b"\xfd", b"").replace(b"\xfe", b"")
    data = noise + GOOD
    frames = [f for i in range(0, len(data), piece) for f in framer.feed(data[i : i + piece], whole=False)]
    assert len(frames) == 25
    assert framer.counters["bytes_skipped"] == len(noise)
