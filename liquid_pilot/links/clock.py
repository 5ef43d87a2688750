"""From the autopilot's clock (time since its boot) to our monotonic clock.

Two sources. TIMESYNC round trips give an offset that is off by at most half the round trip, so the quickest one of
the last seconds is believed (the filter of NTP, RFC 5905 section 10). Where nobody answers them, the smallest
difference between arrival and stamp is taken: it holds the shortest delay of the link, which never makes a sample
look older than it is. The map moves slowly, so that steps between stamps stay true, and starts anew after a reboot.
"""

from __future__ import annotations

from collections import deque
from typing import Final

WINDOW_S: Final = 8.0  # round trips that are compared; two crystals part by 0.4 ms in it at 50 ppm
FAST_PERIOD_S: Final = 0.1  # between requests until `SETTLED` were answered
SLOW_PERIOD_S: Final = 0.25
SETTLED: Final = 10
SLEW: Final = 0.01  # the map moves by at most this share of the elapsed time
JUMP_S: Final = 0.1  # an estimate this far off is another clock, not drift
BACKWARDS_S: Final = 0.5  # a stamp this much older than the newest is of a clock that started anew
DISAGREE_S: Final = 1.0  # TIMESYNC of another clock than the stamps is not used
AGREEING: Final = 3  # samples in a row that must agree on another clock
SLACK_S: Final = 0.001  # two round trips contradict each other when they are further apart than both allow, and this
LONGEST_TRIP_S: Final = 2.0
BUCKET_S: Final = 1.0
BUCKETS: Final = 4  # the smallest difference is that of the last 3 to 4 s


class _SmallestOf:
    """Smallest value of the last few seconds, in buckets of fixed number."""

    def __init__(self) -> None:
        self._buckets: deque[tuple[float, float]] = deque(maxlen=BUCKETS)  # (begin, smallest)

    def clear(self) -> None:
        self._buckets.clear()

    def add(self, value: float, now_s: float) -> None:
        if not self._buckets or now_s - self._buckets[-1][0] >= BUCKET_S:
            self._buckets.append((now_s, value))
        elif value < self._buckets[-1][1]:
            self._buckets[-1] = (self._buckets[-1][0], value)

    @property
    def value(self) -> float | None:
        return min((smallest for _, smallest in self._buckets), default=None)


class ClockMap:
    """Maps stamps; `offset_s` is ours less the autopilot's. All times in seconds unless named otherwise."""

    def __init__(self) -> None:
        self.offset_s: float | None = None
        self.delay_s: float | None = None  # half the quickest round trip of the window
        self.jumps = 0  # times the map started anew
        self.refused = 0  # stamps that were of no known clock
        self.answers = 0
        self._trips: deque[tuple[float, float, float]] = deque(maxlen=128)  # (at, offset, round trip)
        self._asked: dict[int, float] = {}  # requests under way
        self._asked_s: float | None = None
        self._arrivals = _SmallestOf()
        self._apart = 0  # round trips in a row that contradict the quickest
        self._moved_s = 0.0
        self._newest_boot_s: float | None = None
        self._other: tuple[int, float] = (0, 0.0)  # samples in a row, and their offset

    @property
    def source(self) -> str:
        """What the map rests on: "timesync", "arrivals", or "" before any stamp."""
        if self.offset_s is None:
            return ""
        return "timesync" if self.delay_s is not None else "arrivals"

    def request(self, now_s: float) -> int | None:
        """ts1, our time in ns, of a TIMESYNC request that is due now; None when none is."""
        period = FAST_PERIOD_S if self.answers < SETTLED else SLOW_PERIOD_S
        if self._asked_s is not None and 0.0 <= now_s - self._asked_s < period:
            return None
        self._asked_s = now_s
        if len(self._asked) >= 32:  # nobody answers
            self._asked.clear()
        ts1 = round(now_s * 1e9)
        self._asked[ts1] = now_s
        return ts1

    def answer(self, tc1_ns: int, ts1_ns: int, now_s: float) -> bool:
        """An answer to a request of ours; False for one that is not, comes twice or far too late."""
        asked_s = self._asked.pop(ts1_ns, None)
        if asked_s is None or not 0.0 <= now_s - asked_s <= LONGEST_TRIP_S:
            return False
        self.answers += 1
        self._take_trip(now_s, 0.5 * (asked_s + now_s) - tc1_ns * 1e-9, now_s - asked_s)
        return True

    def _take_trip(self, now_s: float, offset_s: float, trip_s: float) -> None:
        """One more; what is older is forgotten when several in a row say that the other clock has stepped."""
        best = min(self._trips, key=lambda one: one[2], default=None)
        apart = best is not None and abs(offset_s - best[1]) > 0.5 * (trip_s + best[2]) + SLACK_S
        self._apart = self._apart + 1 if apart else 0
        self._trips.append((now_s, offset_s, trip_s))
        if self._apart >= AGREEING:
            self._apart = 0
            while len(self._trips) > AGREEING:
                self._trips.popleft()
            self._arrivals.clear()

    def stamp(self, boot_s: float, now_s: float) -> float | None:
        """Our time of what was stamped boot_s and arrived at now_s; None if the stamp is of no known clock."""
        implied = now_s - boot_s
        if self._is_of_other_clock(boot_s, implied):
            count, offset = self._other
            count = count + 1 if abs(implied - offset) < JUMP_S else 1
            self._other = (count, implied)
            if count < AGREEING:
                self.refused += 1
                return None
            self._restart()
            self.jumps += 1
        self._other = (0, 0.0)
        if self._newest_boot_s is None or boot_s > self._newest_boot_s:
            self._newest_boot_s = boot_s
        self._arrivals.add(implied, now_s)
        self._move(now_s)
        assert self.offset_s is not None
        return boot_s + self.offset_s

    def boot_s(self, t_s: float) -> float:
        """The autopilot's time of our time; 0 before there is a map."""
        return 0.0 if self.offset_s is None else t_s - self.offset_s

    def _is_of_other_clock(self, boot_s: float, implied_s: float) -> bool:
        """Whether the stamp goes back in time, or lies in the future. Late alone is no reason: links stall."""
        if self.offset_s is None or self._newest_boot_s is None:
            return False
        return boot_s < self._newest_boot_s - BACKWARDS_S or implied_s < self.offset_s - JUMP_S

    def _restart(self) -> None:
        self._trips.clear()
        self._apart = 0
        self._asked.clear()
        self._arrivals.clear()
        self._newest_boot_s = self.offset_s = self.delay_s = None
        self.answers = 0

    def _estimate(self, now_s: float) -> float:
        """The best guess of the offset now."""
        while self._trips and now_s - self._trips[0][0] > WINDOW_S:
            self._trips.popleft()
        smallest = self._arrivals.value
        assert smallest is not None
        self.delay_s = None
        if not self._trips:
            return smallest
        _, offset, trip = min(self._trips, key=lambda one: one[2])
        if abs(offset - smallest) > DISAGREE_S:
            return smallest
        self.delay_s = 0.5 * trip
        return min(offset, smallest)  # nothing arrives before it was sent

    def _move(self, now_s: float) -> None:
        wanted = self._estimate(now_s)
        if self.offset_s is None or abs(wanted - self.offset_s) > JUMP_S:
            if self.offset_s is not None:
                self.jumps += 1
            self.offset_s = wanted
        else:
            most = SLEW * max(0.0, now_s - self._moved_s)
            self.offset_s += max(-most, min(most, wanted - self.offset_s))
        self._moved_s = now_s
