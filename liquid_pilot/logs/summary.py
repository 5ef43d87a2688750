"""What a flight log says, in figures: how long, how often, where the gaps were, who flew when."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from liquid_pilot.fusion import SensorMemory
from liquid_pilot.logs.rows import SCHEMA, Event, Record, Report
from liquid_pilot.logs.setup import KIND as SETUP
from liquid_pilot.messages import Attitude, Command, Flow, Imu, Position, Range, Setpoint
from liquid_pilot.setpoints import SetpointHolder
from liquid_pilot.supervisor_table import State

Array = npt.NDArray[np.float64]
STREAMS: Final = (
    "imu",
    "flow",
    "range",
    "flow_grid",
    "position",
    "attitude",
    "setpoint",
    "position_setpoint",
    "command",
)
_CHANGE: Final = re.compile(r"([A-Z]+) -> ([A-Z]+)\b")
_HELD_S: Final = 0.5  # an older value is shown as a gap
_LONGEST_STEP_S: Final = 60.0  # a longer one between stamps is a leap of the clock, not flight


@dataclass(frozen=True, slots=True)
class Stream:
    """One kind of message. rate_hz: from the median interval. longest_gap_s: and gap_at_s, when it began."""

    kind: str
    count: int
    rate_hz: float
    longest_gap_s: float
    gap_at_s: float
    backwards: int  # stamps that did not rise


@dataclass(frozen=True, slots=True)
class Span:
    """Who flew, from when to when, and why it became so."""

    state: str
    start_s: float
    end_s: float
    cause: str


@dataclass(frozen=True, slots=True)
class Summary:
    """duration_s: of IMU stamps that follow each other. counters: reports of the runtime, by what they say."""

    duration_s: float
    start_s: float
    streams: tuple[Stream, ...]
    spans: tuple[Span, ...]
    events: tuple[Event, ...]
    reports: dict[str, int]
    setup: str


@dataclass(frozen=True, slots=True)
class FlightSeries:
    """One row for every accepted IMU sample: t_s (N,), gyro and accel (N, 3), range_m (N,), velocity (N, 2).

    velocity_m_s: forward and left, flow (rotation removed) times range, NaN in a silence. setpoint: (N, 4),
    forward, left, height, yaw rate in force. Beside it command_t_s (M,), commands (M, 4), position_m (P, 3).
    """

    t_s: Array
    gyro_rad_s: Array
    accel_m_s2: Array
    range_m: Array
    velocity_m_s: Array
    setpoint: Array
    command_t_s: Array
    commands: Array
    position_m: Array


def summarise(records: Sequence[Record]) -> Summary:
    """All figures of a log."""
    by_kind: dict[str, list[float]] = {kind: [] for kind in STREAMS}
    kinds = {SCHEMA[kind][0]: kind for kind in STREAMS}
    for record in records:
        kind = kinds.get(type(record))
        if kind is not None:
            by_kind[kind].append(float(record.t_s))
    imu = np.array([t for t in by_kind["imu"] if math.isfinite(t)])
    steps = np.diff(imu)
    flown = steps[(steps > 0.0) & (steps < _LONGEST_STEP_S)]
    events = tuple(record for record in records if isinstance(record, Event))
    start_s, end_s = (float(imu[0]), float(imu[-1])) if len(imu) else (0.0, 0.0)
    return Summary(
        duration_s=float(flown.sum()),
        start_s=start_s,
        streams=tuple(_stream(kind, times) for kind, times in by_kind.items() if times),
        spans=tuple(_spans(events, start_s, end_s)),
        events=tuple(event for event in events if event.kind != SETUP),
        reports=dict(Counter(record.what for record in records if isinstance(record, Report))),
        setup=next((event.text for event in events if event.kind == SETUP), ""),
    )


def _stream(kind: str, times_s: list[float]) -> Stream:
    steps = np.diff(np.array(times_s))
    rising = steps[steps > 0.0]
    rising = rising[np.isfinite(rising)]
    if not len(rising):
        return Stream(kind, len(times_s), math.nan, math.nan, math.nan, len(steps))
    gaps = np.where(np.isfinite(steps), steps, -1.0)
    at = int(gaps.argmax())
    return Stream(
        kind,
        len(times_s),
        1.0 / float(np.median(rising)),
        float(gaps[at]),
        times_s[at],
        int((~(steps > 0.0)).sum()),
    )


def _spans(events: Sequence[Event], start_s: float, end_s: float) -> Iterator[Span]:
    """From one change of state to the next; texts that name no state are left to the table of events."""
    state, since_s, cause = State.INIT.value, start_s, ""
    for event in events:
        change = _CHANGE.match(event.text) if event.kind == "state" else None
        if change is None or change[2] not in State.__members__ or not math.isfinite(event.t_s):
            continue
        yield Span(state, since_s, event.t_s, cause)
        state, since_s, cause = change[2], event.t_s, event.text.partition(": ")[2]
    yield Span(state, since_s, max(end_s, since_s), cause)


def series(records: Sequence[Record]) -> FlightSeries:
    """Curves of a log, through the same sensor memory that flies."""
    memory, setpoints = SensorMemory(), SetpointHolder({}, None)
    rows: list[tuple[float, ...]] = []
    nan = math.nan
    for record in records:
        if isinstance(record, Imu):
            if memory.accept(record) is None:
                wanted = setpoints.in_force(record.t_s)
                held = memory.take(wanted)
                seen, flowing = held.range_age_s < _HELD_S, held.flow_age_s < _HELD_S
                fx, fy = held.flow_rate_rad_s
                speed = (fx * held.range_m, fy * held.range_m) if seen and flowing else (nan, nan)
                asked = (*wanted.velocity_m_s, wanted.height_m, wanted.yaw_rate_rad_s) if wanted else (nan,) * 4
                height = held.range_m if seen else nan
                rows.append((record.t_s, *held.gyro_rad_s, *held.accel_m_s2, height, *speed, *asked))
        elif isinstance(record, (Flow, Range, Position, Attitude)):
            memory.accept(record)
        elif isinstance(record, Setpoint):
            setpoints.accept(record, memory.imu_t_s)
        elif isinstance(record, Report) and record.what == "reset":
            memory.reset()
            setpoints.reset()
    a = np.array(rows, dtype=np.float64).reshape(-1, 14)
    commands = [(r.t_s, r.thrust_m_s2, *r.rates_rad_s) for r in records if isinstance(r, Command)]
    c = np.array(commands, dtype=np.float64).reshape(-1, 5)
    places = np.array([r.position_m for r in records if isinstance(r, Position)], dtype=np.float64).reshape(-1, 3)
    return FlightSeries(a[:, 0], a[:, 1:4], a[:, 4:7], a[:, 7], a[:, 8:10], a[:, 10:14], c[:, 0], c[:, 1:5], places)
