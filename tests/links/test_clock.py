"""The clock map: never off by more than the delay of the link, through jitter, drift, reboots and stalls."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liquid_pilot.links.clock import DISAGREE_S, JUMP_S, ClockMap

START_S = 5000.0


def run(
    clock: ClockMap,
    seconds: float,
    *,
    offset_s: float = START_S,
    drift: float = 0.0,
    jitter_s: float = 0.01,
    delay_s: float = 0.001,
    answers: bool = True,
    boot_s: float = 0.0,
    seed: int = 0,
    hz: float = 100.0,
) -> list[tuple[float, float | None]]:
    """(true time of the sample on our clock, what the map says) of a stream with delays."""
    rng = np.random.default_rng([seed])
    found: list[tuple[float, float | None]] = []
    pending: list[tuple[float, int, int]] = []  # (arrival, tc1, ts1)
    for i in range(round(seconds * hz)):
        boot = boot_s + i / hz
        true_s = offset_s + boot * (1.0 + drift)
        now_s = true_s + delay_s + jitter_s * rng.random()
        for arrival_s, tc1, ts1 in [one for one in pending if one[0] <= now_s]:
            clock.answer(tc1, ts1, arrival_s)
            pending.remove((arrival_s, tc1, ts1))
        ts1_asked = clock.request(now_s)
        if ts1_asked is not None and answers:
            there_s = now_s + delay_s + jitter_s * rng.random()
            tc1 = round((there_s - offset_s) / (1.0 + drift) * 1e9)
            pending.append((there_s + delay_s + jitter_s * rng.random(), tc1, ts1_asked))
        found.append((true_s, clock.stamp(boot, now_s)))
    return found


def errors(found: list[tuple[float, float | None]]) -> np.ndarray:
    assert all(mapped is not None for _, mapped in found)
    return np.array([mapped - true for true, mapped in found if mapped is not None])


def test_round_trips_give_the_offset_to_half_the_quickest_trip() -> None:
    for seed in range(5):
        clock = ClockMap()
        late = errors(run(clock, 10.0, seed=seed))
        assert clock.source == "timesync" and clock.delay_s is not None
        assert clock.delay_s < 0.5 * (0.002 + 0.02)  # better than the mean trip
        assert abs(late[-1]) <= clock.delay_s + 1e-6
        assert np.abs(late[300:]).max() < 0.5 * (0.002 + 0.02)
        assert clock.jumps == clock.refused == 0


def test_without_answers_the_smallest_difference_never_makes_a_sample_look_older() -> None:
    clock = ClockMap()
    late = errors(run(clock, 30.0, answers=False))[100:]
    assert clock.source == "arrivals"
    assert -1e-6 <= late.min() and late.max() <= 0.001 + 0.002  # the shortest delay, and what one window has seen


@given(drift=st.floats(-1e-4, 1e-4), jitter=st.floats(0.0, 0.02), seed=st.integers(0, 50), answers=st.booleans())
def test_drift_and_jitter_leave_steps_true_and_stamps_rising(
    drift: float, jitter: float, seed: int, answers: bool
) -> None:
    clock = ClockMap()
    found = run(clock, 12.0, drift=drift, jitter_s=jitter, seed=seed, answers=answers)
    mapped = np.array([t for _, t in found if t is not None])
    assert len(mapped) == len(found) and clock.jumps == 0
    steps = np.diff(mapped[200:])
    assert (steps > 0.0).all() and np.abs(steps - 0.01).max() < 0.0006
    assert np.abs(errors(found)[200:]).max() <= 0.001 + jitter + 0.001


def test_a_reboot_starts_the_map_anew_after_three_stamps() -> None:
    clock = ClockMap()
    run(clock, 10.0, boot_s=300.0)
    found = run(clock, 10.0, offset_s=START_S + 320.0, seed=1)
    assert [mapped is None for _, mapped in found[:4]] == [True, True, False, False]
    late = errors(found[3:])
    assert clock.jumps == 1 and clock.refused == 2
    assert np.abs(late[300:]).max() < 0.012


@pytest.mark.parametrize("step_s", [0.05, 0.3, 2.0])
def test_a_clock_that_stood_still_for_a_while_is_followed_within_a_second(step_s: float) -> None:
    clock = ClockMap()
    run(clock, 6.0)
    late = errors(run(clock, 8.0, offset_s=START_S + step_s, boot_s=6.0, seed=1))
    assert abs(late[0]) > 0.5 * step_s  # it does not know yet
    assert np.abs(late[120 if step_s > JUMP_S else 700 :]).max() < 0.012


def test_a_single_stamp_of_another_clock_is_refused_and_changes_nothing() -> None:
    clock = ClockMap()
    run(clock, 5.0)
    before = clock.offset_s
    now_s = START_S + 5.1
    assert clock.stamp(5.05 + 3.0, now_s) is None  # from the future
    assert clock.stamp(1.0, now_s) is None  # from long ago
    assert clock.offset_s == before and clock.jumps == 0
    assert clock.stamp(5.09, now_s) is not None


def test_a_stall_of_the_link_does_not_move_the_map() -> None:
    clock = ClockMap()
    run(clock, 5.0)
    burst_s = START_S + 7.0
    mapped = [clock.stamp(5.0 + i / 100.0, burst_s) for i in range(199)]
    late = errors([(START_S + 5.0 + i / 100.0, t) for i, t in enumerate(mapped)])
    assert np.abs(late).max() < 0.012 and clock.jumps == 0


def test_answers_of_another_clock_than_the_stamps_are_not_used() -> None:
    clock = ClockMap()
    for i in range(100):
        now_s = START_S + i / 100.0
        ts1 = clock.request(now_s)
        if ts1 is not None:
            assert clock.answer(round((now_s + DISAGREE_S + 0.5) * 1e9), ts1, now_s)
        assert clock.stamp(i / 100.0, now_s + 0.001) is not None
    assert clock.source == "arrivals"


def test_strange_answers_are_not_taken() -> None:
    clock = ClockMap()
    ts1 = clock.request(1.0)
    assert ts1 is not None
    assert not clock.answer(5, ts1 + 1, 1.1)  # nobody asked
    assert not clock.answer(5, ts1, 9.0)  # far too late
    ts1 = clock.request(10.0)
    assert ts1 is not None and clock.answer(5, ts1, 10.1)
    assert not clock.answer(5, ts1, 10.1)  # twice


@given(st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats(0.0, 1e7)), max_size=60))
def test_no_stream_of_stamps_breaks_it(stamps: list[tuple[float, float]]) -> None:
    clock = ClockMap()
    for boot_s, now_s in stamps:
        mapped = clock.stamp(boot_s, now_s)
        assert mapped is None or mapped <= now_s + JUMP_S + 1e-3
