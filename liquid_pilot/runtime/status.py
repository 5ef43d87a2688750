"""A snapshot of a flight, and the few lines that an operator reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from liquid_pilot.links.link import LinkStatus
from liquid_pilot.runtime.flight import Flight, Stage
from liquid_pilot.runtime.histogram import Histogram
from liquid_pilot.runtime.preflight import Check
from liquid_pilot.runtime.watch import SensorState
from liquid_pilot.supervisor import Condition

SHOWN: Final = ("imu", "flow", "range", "position")


@dataclass(frozen=True, slots=True)
class Latency:
    """Of one duration, in seconds; NaN before any."""

    median_s: float
    p99_s: float
    largest_s: float
    count: int


@dataclass(frozen=True, slots=True)
class Status:
    """Everything that is shown. step: from waking up to sending; age: from the IMU's stamp to sending."""

    t_s: float
    stage: Stage
    stage_s: float
    state: str
    conditions: tuple[str, ...]
    sensors: Mapping[str, SensorState]
    step: Latency
    age: Latency
    missed: int
    link: LinkStatus
    height_m: float
    thrust_m_s2: float | None
    checks: tuple[Check, ...]
    counters: Mapping[str, int]


def latency_of(histogram: Histogram) -> Latency:
    """Its three numbers."""
    return Latency(histogram.quantile_s(0.5), histogram.quantile_s(0.99), histogram.largest_s, histogram.count)


def snapshot(flight: Flight, now_s: float) -> Status:
    """The flight as it is now."""
    loop, controller = flight.loop, flight.pilot.controller
    return Status(
        t_s=now_s,
        stage=flight.stage,
        stage_s=flight.since_s(now_s),
        state=controller.state.value,
        conditions=tuple(str(one.name) for one in Condition if one & controller.conditions),
        sensors={name: watch.state(now_s) for name, watch in loop.watch.sensors.items()},
        step=latency_of(loop.step),
        age=latency_of(loop.age),
        missed=loop.counters["late_passes"] + loop.counters["late_steps"],
        link=flight.link,
        height_m=loop.watch.last_return(now_s)[0],
        thrust_m_s2=None if loop.command is None else loop.command.thrust_m_s2,
        checks=tuple(flight.checks),
        counters=dict(loop.counters),
    )


def one_line(status: Status) -> str:
    """For a log or a pipe."""
    sensors = " ".join(f"{name} {status.sensors[name].rate_hz:.0f}" for name in SHOWN if status.sensors[name].count)
    battery = "?" if status.link.battery is None else f"{status.link.battery:.0%}"
    return (
        f"{status.stage.value} {status.stage_s:.1f} s, {status.state}, height {_metres(status.height_m)}, "
        f"Hz: {sensors or 'none'}, latency {_ms(status.age.median_s)} (p99 {_ms(status.age.p99_s)}), "
        f"{status.link.mode or 'no autopilot'}{' armed' if status.link.armed else ''}, battery {battery}"
        + (f"; {status.link.problem}" if status.link.problem else "")
    )


def render(status: Status, width: int = 100) -> list[str]:
    """A few lines, each cut to the width, of the same number at every stage but the list of failed checks."""
    link = status.link
    sensors = "   ".join(_sensor(name, status.sensors[name]) for name in SHOWN if name != "position" or _heard(status))
    battery = "not told" if link.battery is None else f"{link.battery:.0%}"
    volts = "" if link.battery_v is None else f" {link.battery_v:.1f} V"
    trouble = ", ".join(status.conditions) or "none"
    lines = [
        f"{status.stage.value.upper():<12} {status.stage_s:6.1f} s   supervisor {status.state:<9} conditions {trouble}",
        f"sensors      {sensors}",
        f"latency      IMU to command {_three(status.age)}   step {_three(status.step)}   missed {status.missed}",
        f"vehicle      {link.mode or 'no autopilot heard'}{', armed' if link.armed else ''}   battery {battery}{volts}"
        f"   height {_metres(status.height_m)}   thrust "
        + ("-" if status.thrust_m_s2 is None else f"{status.thrust_m_s2:.1f} m/s^2"),
        f"link         {link.autopilot or link.address}   clock {link.clock or '-'}   "
        f"sent {status.counters.get('sent', 0)}, not sent {status.counters.get('not_sent', 0)}",
        f"             {link.problem or link.said}",
    ]
    if status.stage is Stage.PREFLIGHT:
        lines += [f"  wait: {check.name}: {check.found}: {check.fix}" for check in status.checks if not check.passed]
    return [line[:width].rstrip() for line in lines]


def _heard(status: Status) -> bool:
    return status.sensors["position"].count > 0


def _sensor(name: str, state: SensorState) -> str:
    age = "" if state.age_s is None else f" ({1e3 * max(0.0, state.age_s):.0f} ms old)"
    return f"{name} {state.rate_hz:.0f} Hz{age}" if state.count else f"{name} silent"


def _three(latency: Latency) -> str:
    return f"{_ms(latency.median_s)} (p99 {_ms(latency.p99_s)}, max {_ms(latency.largest_s)})"


def _ms(seconds: float) -> str:
    return "-" if math.isnan(seconds) else f"{1e3 * seconds:.2f} ms"


def _metres(metres: float) -> str:
    return f"{metres:.2f} m" if math.isfinite(metres) else "-"
