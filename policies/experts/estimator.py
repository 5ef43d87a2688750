"""Sensor messages, as they arrive, to the filter of `ekf`: late ones take effect at the time they were measured.

The newest half second is kept as a timeline of events, each with the state after it. A message that was under way
goes in at its own time, and what came later is computed again: the result does not depend on the order of arrival.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from envs.physics import Body
from liquid_pilot.fusion import SensorMemory
from liquid_pilot.messages import Floats2, Floats3, Flow, Imu, Position, Range, SensorMessage
from policies.experts.ekf import (
    EkfNoise,
    EkfState,
    Inertial,
    at_rest,
    fuse_flow,
    fuse_motion,
    fuse_range,
    let_go,
    moves,
    predict,
)
from policies.experts.ekf import rest as stay

BEND: Final = 0.1  # deviation from a straight line between two samples, as a share of their difference
HORIZON_S: Final = 0.5  # the longest latency, half of the flow's window included


@dataclass(frozen=True, slots=True)
class Held:
    """An IMU sample of a drone that has not moved."""

    inertial: Inertial

    @property
    def t_s(self) -> float:
        """When."""
        return self.inertial.t_s


@dataclass(frozen=True, slots=True)
class Release:
    """From here on the drone moves, with a speed that nobody knows."""

    t_s: float


@dataclass(frozen=True, slots=True)
class FlowReading:
    """Mean flow rate (rad/s) over a window around t_s, and what its rotation is taken out with (see `fuse_flow`)."""

    t_s: float
    rate_rad_s: Floats2
    rates_rad_s: Floats3
    quality: float
    share: float


@dataclass(frozen=True, slots=True)
class Motion:
    """Height and velocity at t_s (see `fuse_motion`)."""

    t_s: float
    height_m: float
    velocity_m_s: tuple[float, ...]


Event: TypeAlias = Inertial | Held | Release | FlowReading | Range | Motion
Timeline: TypeAlias = tuple[tuple[Event, EkfState], ...]  # rising in time


def insert(noise: EkfNoise, timeline: Timeline, event: Event) -> Timeline:
    """The timeline with one event more, at its own time; older than all of it, the event is lost."""
    kept = sum(1 for known, _ in timeline if known.t_s <= event.t_s)
    if kept == 0:
        return timeline
    later = [known for known, _ in timeline[kept:]]
    nodes = list(timeline[:kept])
    for i, known in enumerate((event, *later)):
        mover = next((e for e in (event, *later)[i:] if isinstance(e, (Inertial, Held))), None)
        nodes.append((known, _after(noise, nodes[-1][1], known, mover)))
    return tuple(nodes)


def _after(noise: EkfNoise, state: EkfState, event: Event, mover: Inertial | Held | None) -> EkfState:
    """The state after an event. mover: the IMU sample that tells the motion up to it, none if there was no time."""
    if isinstance(mover, Inertial):
        state = predict(noise, state, mover, event.t_s)
    if isinstance(event, Held):
        return stay(noise, state, event.inertial)
    if isinstance(event, Release):
        return let_go(noise, state)
    if isinstance(event, FlowReading):
        return fuse_flow(noise, state, event.rate_rad_s, event.rates_rad_s, event.quality, event.share)
    if isinstance(event, Range):
        return fuse_range(noise, state, event.distance_m)
    if isinstance(event, Motion):
        return fuse_motion(noise, state, event.height_m, event.velocity_m_s)
    return state


class Estimator:
    """One per flight; `reset` before the next. At rest until the IMU moves.

    `feed` takes messages in order of arrival; malformed ones are dropped as the onboard controller drops them.
    heading_rad: of the drone at the start, as a compass tells once; without, a `Position` says height and climb alone.
    """

    def __init__(self, noise: EkfNoise | None = None, heading_rad: float | None = None) -> None:
        self.noise, self._heading_rad = noise or EkfNoise(), heading_rad
        self._memory = SensorMemory()
        self.reset()

    def reset(self) -> None:
        """Forget the flight."""
        self._memory.reset()
        self._timeline: Timeline = ()
        self._waiting: list[Flow | Range | Position] = []  # not yet reached by an IMU sample
        self._newest: Imu | None = None
        self._jumps = 0
        self.release_s: float | None = None

    @property
    def state(self) -> EkfState | None:
        """The newest estimate; none before the first IMU sample."""
        return self._timeline[-1][1] if self._timeline else None

    @property
    def position(self) -> Position | None:
        """The newest measured place that was accepted."""
        return self._memory.position

    @property
    def body(self) -> Body[float] | None:
        """The newest estimate as a body above the origin, with the gyro's rates less their bias."""
        state = self.state
        if state is None:
            return None
        x, y, z = (w - float(b) for w, b in zip(self._memory.gyro_rad_s, state.gyro_bias_rad_s, strict=True))
        vx, vy, vz = state.velocity_m_s.tolist()
        return Body((0.0, 0.0, state.height_m), (vx, vy, vz), state.attitude_wxyz, (x, y, z))

    def feed(self, message: SensorMessage) -> bool:
        """Take a message. True after an IMU sample that was accepted: the estimate now is of its time."""
        if self._memory.accept(message) is not None:
            return False
        if not isinstance(message, Imu):
            self._waiting.append(message)
            return False
        self._take_imu(message)
        due = [late for late in self._waiting if late.t_s <= message.t_s]
        self._waiting = [late for late in self._waiting if late.t_s > message.t_s]
        for late in due:
            self._take_late(late)
        oldest = message.t_s - HORIZON_S
        while len(self._timeline) > 1 and self._timeline[1][0].t_s < oldest:
            self._timeline = self._timeline[1:]
        return True

    def _take_imu(self, imu: Imu) -> None:
        last, self._newest = self._newest, imu
        force = imu.accel_m_s2 if self._memory.accel_fresh else None
        state = self.state
        if state is None or last is None:
            self._add_first(imu, force)
            return
        if self._memory.clock_jumps > self._jumps:  # all stamps before mean nothing; the estimate is held
            self._jumps, self._waiting = self._memory.clock_jumps, []
            self._timeline = ((Inertial(imu.t_s, 0.0, imu.gyro_rad_s, force), replace(state, t_s=imu.t_s)),)
            return
        sample = Inertial(imu.t_s, imu.t_s - last.t_s, imu.gyro_rad_s, force)
        if self.release_s is None:
            if not moves(self.noise, state, sample):
                self._add(Held(sample))
                return
            self.release_s = last.t_s
            self._add(Release(last.t_s))
            # the sample before it was of the hand: no mean over both, and all of the rates may be the loop's work
            self._add(replace(sample, rates_doubt_rad_s=0.5 * math.hypot(*sample.rates_rad_s)))
            return
        self._add(_between(last, sample))

    def _add_first(self, imu: Imu, force: Floats3 | None) -> None:
        held = Held(Inertial(imu.t_s, 0.0, imu.gyro_rad_s, force))
        self._timeline = ((held, stay(self.noise, at_rest(self.noise, imu.t_s, force), held.inertial)),)

    def _take_late(self, message: Flow | Range | Position) -> None:
        if isinstance(message, Range):
            self._add(message)
            return
        if isinstance(message, Position):
            if self.release_s is not None and message.t_s <= self.release_s:  # of the hand, which keeps it still
                return
            self._add(Motion(message.t_s, message.position_m[2], self._velocity(message)))
            return
        begin_s = message.t_s - message.dt_s
        if self.release_s is None or begin_s < self.release_s:  # at rest flow says nothing new
            return
        x, y = (angle / message.dt_s for angle in message.flow_rad)
        rates, period_s = self._mean_rates(begin_s, message.t_s)
        share = min(1.0, period_s / message.dt_s)
        self._add(FlowReading(message.t_s - 0.5 * message.dt_s, (x, y), rates, message.quality, share))

    def _velocity(self, position: Position) -> tuple[float, ...]:
        """As much of a measured velocity as can be told in the filter's axes."""
        x, y, z = position.velocity_m_s
        if self._heading_rad is None:
            return (z,)
        c, s = math.cos(self._heading_rad), math.sin(self._heading_rad)
        return c * x + s * y, c * y - s * x, z

    def _mean_rates(self, begin_s: float, end_s: float) -> tuple[Floats3, float]:
        """Mean gyro over a window, from the samples held through it, and the period of the newest of them."""
        sums, total, period_s = [0.0, 0.0, 0.0], 0.0, 0.0
        for event, _ in self._timeline:
            if isinstance(event, Inertial):
                overlap = min(event.t_s, end_s) - max(event.t_s - event.period_s, begin_s)
                if overlap > 0.0:
                    sums = [s + overlap * w for s, w in zip(sums, event.rates_rad_s, strict=True)]
                    total, period_s = total + overlap, event.period_s
        if total == 0.0:
            return self._memory.gyro_rad_s, 0.0
        x, y, z = (s / total for s in sums)
        return (x, y, z), period_s

    def _add(self, event: Event) -> None:
        self._timeline = insert(self.noise, self._timeline, event)


def _between(last: Imu, sample: Inertial) -> Inertial:
    """The sample as the mean over its period: half of it, half of the one before, where both have the value."""
    rates, rates_change = _mean(last.gyro_rad_s, sample.rates_rad_s)
    force, force_change = sample.specific_force_m_s2, 0.0
    if force is not None and not math.isnan(sum(last.accel_m_s2)):
        force, force_change = _mean(last.accel_m_s2, force)
    return replace(
        sample,
        rates_rad_s=rates,
        specific_force_m_s2=force,
        rates_doubt_rad_s=BEND * rates_change,
        force_doubt_m_s2=BEND * force_change,
    )


def _mean(first: Floats3, second: Floats3) -> tuple[Floats3, float]:
    """Mean of two vectors and how far they are apart."""
    x, y, z = (0.5 * (a + b) for a, b in zip(first, second, strict=True))
    return (x, y, z), math.dist(first, second)
