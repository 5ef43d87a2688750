"""What faults do in numbers, written once over `ops`: their strength in time, and what they change in the drone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Generic

from envs.faults import MOTORS, SPIKE_CHANCE, Fault
from envs.physics import FlightParams
from liquid_pilot.fusion import MAX_STEP_S, FusionLimits
from liquid_pilot.ops import Ops, S, Vec2, Vec4

LOAD_ROW: Final = len(MOTORS)  # rows of a disturbance: the rotors, the load, the wind
WIND_ROW: Final = LOAD_ROW + 1
ONBOARD: Final = FusionLimits()


@dataclass(frozen=True, slots=True)
class Disturbance(Generic[S]):
    """What faults have changed by now. wind_m_s: along world x."""

    thrust_share: Vec4[S]
    load_share: S
    wind_m_s: S


def amount(fault: Fault) -> float:
    """What a fault adds at full strength: 1 where it is on or off, else in SI units or as a share."""
    if fault.value is None:
        return 1.0
    if fault.mode in ("share", "sag"):
        return fault.value - 1.0
    return fault.value / 100.0 if fault.kind.unit == "%" else fault.value


def disturbed_rows(fault: Fault) -> tuple[int, ...]:
    """The rows of a disturbance that a fault changes; none of a fault of a sensor or a clock."""
    if fault.part in MOTORS:
        return (MOTORS.index(fault.part),)
    return {"battery": tuple(range(LOAD_ROW)), "payload": (LOAD_ROW,), "wind": (WIND_ROW,)}.get(fault.part, ())


def disturbing(faults: Sequence[Fault]) -> tuple[Fault, ...]:
    """Those that change the drone or the air."""
    return tuple(fault for fault in faults if disturbed_rows(fault))


def change(ops: Ops, fault: Fault, since_s: Any) -> Any:
    """What a fault adds `since_s` seconds after the release; 0 before its start and from its end on."""
    since: Any = ops.maximum(since_s, -1.0)  # negative infinity in the hand, 0 times which is no number
    rise_s, none = fault.kind.rise_s, 0.0 * since
    full: Any = none + amount(fault)
    grown: Any = full * ops.minimum((since - fault.start_s) / rise_s, 1.0) if rise_s else full
    return ops.select(fault.start_s, since, none, ops.select(fault.end_s, since, grown, none))


def total_change(ops: Ops, faults: Sequence[Fault], part: str, modes: Sequence[str], since_s: Any) -> Any:
    """Sum of `change` over the faults of one part in these modes; the number 0 where there are none."""
    return sum(change(ops, f, since_s) for f in faults if f.part == part and f.mode in modes)


def disturbance(ops: Ops, faults: Sequence[Fault], since_s: Any) -> Disturbance[Any]:
    """Shares multiply where faults coincide, wind adds up. Once a control step, at its start."""
    share: list[Any] = [1.0] * WIND_ROW
    wind: Any = 0.0
    for fault in disturbing(faults):
        now = change(ops, fault, since_s)
        for row in disturbed_rows(fault):
            if row == WIND_ROW:
                wind = wind + now
            else:
                share[row] = share[row] * (1.0 + now)
    a, b, c, d = share[:LOAD_ROW]
    return Disturbance((a, b, c, d), share[LOAD_ROW], wind)


def disturbed(params: FlightParams[S], by: Disturbance[S]) -> FlightParams[S]:
    """The drone with its rotors' thrust (and so their torque), its mass and its inertia changed."""
    limit, share, load = params.rotor_thrust_max_n, by.thrust_share, by.load_share
    jx, jy, jz = params.inertia_kg_m2
    heavier: Any = params.mass_kg * load
    a, b, c, d = (f * s for f, s in zip(limit, share, strict=True))
    return replace(
        params, mass_kg=heavier, inertia_kg_m2=(jx * load, jy * load, jz * load), rotor_thrust_max_n=(a, b, c, d)
    )


def flow_spike(ops: Ops, unit: S, size: S) -> Vec2[S]:
    """What a burst adds to a flow reading: with `SPIKE_CHANCE` the size on both axes, each sign alike, else nothing.

    unit: uniform in 0..1; its upper end decides, its lower end is what losses are drawn from.
    """
    p: float = SPIKE_CHANCE
    back: Any = -size
    none: Any = 0.0 * size
    x = ops.select(unit, 1.0 - 0.5 * p, size, ops.select(unit, 1.0 - p, back, none))
    y = ops.select(unit, 1.0 - 0.75 * p, size, ops.select(unit, 1.0 - p, back, none))
    y = ops.select(unit, 1.0 - 0.25 * p, size, ops.select(unit, 1.0 - 0.5 * p, back, y))
    return x, y


def range_spike(ops: Ops, unit: S, size: S) -> S:
    """What a burst adds to a distance: with `SPIKE_CHANCE` the size, as a reflection does, else nothing."""
    none: Any = 0.0 * size
    wrong: S = ops.select(unit, 1.0 - SPIKE_CHANCE, size, none)
    return wrong


def clock_ahead_s(faults: Sequence[Fault], since_s: float) -> float:
    """By how much the flight's clock is ahead of the time, in one flight."""
    jumps = (f for f in faults if f.part == "clock" and f.start_s <= since_s < f.end_s)
    return math.fsum(amount(fault) for fault in jumps)


def unheard(faults: Sequence[Fault]) -> tuple[Fault, ...]:
    """Those that keep IMU samples from the onboard memory: it gets none, or refuses them."""
    return tuple(f for f in faults if f.part in ("imu", "clock") or (f.part, f.mode) == ("gyro", "off"))


@dataclass(frozen=True, slots=True)
class ImuTimes(Generic[S]):
    """What `liquid_pilot.fusion.SensorMemory` knows of the IMU's stamps, of one flight or many.

    silent_s: since the newest sample that it accepted, 0 at that one. ahead_s: of the time, by the clock of its stamp.
    step_s: the dt that it gives. other_s, agreed: newest stamp on another clock, and how many agreed on it.
    """

    silent_s: S
    ahead_s: S
    step_s: S
    other_s: S
    agreed: S


@dataclass(frozen=True, slots=True)
class ImuEvent(Generic[S]):
    """One IMU event as the onboard memory takes it. The three are masks.

    refused: there is nothing new. restarted: the stamps before are of another clock. moved: it has forgotten all times.
    """

    times: ImuTimes[S]
    refused: Any
    restarted: Any
    moved: Any


def ahead_s(ops: Ops, faults: Sequence[Fault], t_s: S, release_s: S) -> S:
    """By how much the onboard clock was ahead of the time t; nothing jumps before the release, nor at it."""
    since = ops.select(t_s, release_s, t_s - release_s, -1.0)
    ahead: S = 0.0 * since + total_change(ops, faults, "clock", ("jump",), since)
    return ahead


def hear_imu(ops: Ops, faults: Sequence[Fault], known: ImuTimes[S], dt_s: S, t_s: S, release_s: S) -> ImuEvent[S]:
    """The IMU event at t, dt after the one before, by the rules of `SensorMemory`."""
    own, none = ONBOARD, 0.0 * t_s
    since: Any = ops.select(t_s, release_s, t_s - release_s, -1.0)
    off = none + sum(total_change(ops, faults, part, ("off",), since) for part in ("imu", "gyro")) > 0.5
    ahead, silent = ahead_s(ops, faults, t_s, release_s), known.silent_s + dt_s
    step, stamp = silent + (ahead - known.ahead_s), t_s + ahead
    leaps = ((step > own.ahead_s) | (step < -own.behind_s)) & ~off
    gap: Any = stamp - known.other_s
    follows = (gap > 0.0) & (gap <= own.ahead_s)
    agreed = ops.select(leaps, 0.5, ops.select(follows, 0.5, known.agreed + 1.0, none + 1.0), known.agreed)
    moved = leaps & (agreed >= own.resync_samples)
    refused = ~moved & (off | leaps | (step <= 0.0))

    def known_now(heard: Any, before: Any) -> Any:
        return ops.select(refused, 0.5, before, heard)

    times = ImuTimes(
        silent_s=known_now(none, silent),
        ahead_s=known_now(ahead, known.ahead_s),
        step_s=known_now(ops.clip(step, 0.0, MAX_STEP_S), known.step_s),
        other_s=ops.select(leaps, 0.5, stamp, known.other_s),
        agreed=known_now(none, agreed),
    )
    return ImuEvent(times, refused, moved | (times.ahead_s != known.ahead_s), moved)


def fits_clock(ops: Ops, faults: Sequence[Fault], sample_s: S, seen_s: S, imu_stamp_s: S, release_s: S) -> Any:
    """Whether the onboard memory, whose newest IMU is stamped `imu_stamp_s`, takes a sample of flow or range.

    sample_s, seen_s: true times of the sample and of the newest that it has taken.
    """
    stamp, seen = (t + ahead_s(ops, faults, t, release_s) for t in (sample_s, seen_s))
    early: Any = stamp - imu_stamp_s
    return (early <= ONBOARD.ahead_s) & (-early <= ONBOARD.late_s) & (stamp > seen)
