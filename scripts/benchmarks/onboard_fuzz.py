"""Mutated MAVLink bytes into a link with a controller behind it: bits turned, bytes lost, doubled, moved, made up.

Half of the streams keep their checksums right over mutated payloads, so that impossible values reach the decoder.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from liquid_pilot.bundle import load_bundle
from liquid_pilot.controller import Controller
from liquid_pilot.links.mavlink import MavlinkLink
from liquid_pilot.links.mavlink_frames import dialect
from liquid_pilot.links.throttle import Throttle
from liquid_pilot.links.transport import Memory
from liquid_pilot.messages import Setpoint
from scripts.benchmarks.onboard import Plan, figures
from scripts.console import OUT
from scripts.tables import rich_table

CHUNK: Final = 512
MESSAGES: Final = (0, 1, 26, 31, 32, 77, 100, 105, 106, 111, 132, 147, 253)
FIRST_S: Final = 500.0


@dataclass(slots=True)
class Fuzzed:
    """What came of it."""

    bytes: int = 0
    messages: int = 0
    commands: int = 0
    not_finite: int = 0
    exceptions: list[str] = field(default_factory=list)
    counters: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)


def fuzz(count: int, seed: int = 0) -> Fuzzed:
    """Feed `count` bytes, in streams and in datagrams."""
    rng, found = random.Random(seed), Fuzzed()
    while found.bytes < count:
        near, _ = Memory.pair()
        near.whole = rng.random() < 0.5
        link, controller = MavlinkLink(near, Throttle(0.5)), Controller(load_bundle("hover"))
        controller.feed(Setpoint(FIRST_S, (0.0, 0.0), 1.0, 0.0))
        stream, now_s = _Stream(rng), FIRST_S
        near.put(stream.hello, "far")
        for _ in range(100):
            now_s += rng.uniform(0.0, 0.02)
            data = stream.next(now_s - FIRST_S + 1.0)
            found.bytes += len(data)
            near.put(data, "far")
            try:
                _pass(link, controller, now_s, found)
            except Exception as error:  # the whole point is to know of any
                found.exceptions.append(f"{type(error).__name__}: {error}")
        found.counters.update(link.status(now_s).counters)
        found.states[controller.state.value] += 1
    return found


def _pass(link: MavlinkLink, controller: Controller, now_s: float, found: Fuzzed) -> None:
    commands = [controller.tick(now_s)]
    for message in link.receive(now_s):
        found.messages += 1
        commands.append(controller.feed(message))
    link.beat(now_s)
    link.status(now_s)
    for command in commands:
        if command is not None:
            found.commands += 1
            link.send(command, now_s)
            if not math.isfinite(command.thrust_m_s2 + sum(command.rates_rad_s)):
                found.not_finite += 1


class _Stream:
    """Bytes of an autopilot that has gone mad, more or less."""

    def __init__(self, rng: random.Random) -> None:
        self._rng, self._d = rng, dialect()
        self._mav = self._d.MAVLink(None, srcSystem=1, srcComponent=1)
        self._wild = rng.random() < 0.5  # right checksums over mad payloads
        self.hello = bytes(self._d.MAVLink_heartbeat_message(2, 12, 0, 0, 4, 3).pack(self._mav))

    def next(self, boot_s: float) -> bytes:
        """About `CHUNK` bytes, mutated."""
        data = bytearray()
        while len(data) < CHUNK:
            data += self._mad(boot_s) if self._wild and self._rng.random() < 0.5 else self._sane(boot_s)
        if self._rng.random() < 0.8:
            self._mutate(data)
        return bytes(data)

    def _sane(self, boot_s: float) -> bytes:
        d, us = self._d, round(boot_s * 1e6)
        message: Any = self._rng.choice(
            (
                d.MAVLink_highres_imu_message(us, 0, 0, -9.81, *[0.0] * 10, 63, 0),
                d.MAVLink_optical_flow_rad_message(us, 0, 20_000, 0.0, 0.01, 0, 0, 0, 0, 200, 0, -1.0),
                d.MAVLink_distance_sensor_message(us // 1000, 3, 400, 100, 0, 0, 25, 255),
                d.MAVLink_heartbeat_message(2, 12, 128, 6 << 16, 4, 3),
            )
        )
        return bytes(message.pack(self._mav))

    def _mad(self, boot_s: float) -> bytes:
        """Any payload under a right checksum; half with a time that fits, so that their values are looked at."""
        kind = self._d.mavlink_map[self._rng.choice(MESSAGES)]
        payload = self._rng.randbytes(self._rng.randrange(1, kind.unpacker.size + 1))
        if self._rng.random() < 0.5:
            us = kind.ordered_fieldnames[0] == "time_usec"
            stamp = round(boot_s * 1e6).to_bytes(8, "little") if us else round(boot_s * 1e3).to_bytes(4, "little")
            payload = stamp + payload[len(stamp) :]
        system = self._rng.choice((1, 1, 1, 2, 255))
        head = bytes((len(payload), 0, 0, 0, system, 1)) + kind.id.to_bytes(3, "little")
        crc = self._d.x25crc(head + payload + bytes((kind.crc_extra,))).crc
        return bytes(b"\xfd" + head + payload + crc.to_bytes(2, "little"))

    def _mutate(self, data: bytearray) -> None:
        rng = self._rng
        for _ in range(rng.randrange(1, 12)):
            place, length = rng.randrange(len(data)), rng.randrange(1, 40)
            kind = rng.randrange(4)
            if kind == 0:
                data[place] ^= 1 << rng.randrange(8)
            elif kind == 1 and len(data) > CHUNK // 2:
                del data[place : place + length]
            elif kind == 2:
                data[place:place] = data[place : place + length]
            else:
                data[place:place] = rng.randbytes(length)


def rows(found: Fuzzed) -> list[tuple[str, str, str]]:
    """(what, found, goal)."""
    refused = sorted(name for name in found.counters if name.startswith("refused_"))
    kinds = ("bad_checksum", "bytes_skipped", "unknown_system", "two_autopilots", *refused)
    return [
        ("bytes", f"{found.bytes:,}", ""),
        ("exceptions", "; ".join(sorted(set(found.exceptions))) or "none", "none"),
        ("messages that were taken", f"{found.messages:,}", ""),
        ("commands that followed", f"{found.commands:,}", ""),
        ("commands not finite", str(found.not_finite), "0"),
        *[(f"counted: {kind}", f"{found.counters[kind]:,}", "") for kind in kinds],
        *[(f"streams that ended {state}", str(count), "") for state, count in found.states.items()],
    ]


def run(plan: Plan) -> dict[str, Any]:
    """The section "fuzz"."""
    found = fuzz(100_000 if plan.quick else 1_000_000, plan.seed)
    OUT.print(rich_table("mutated MAVLink", ("what", "found", "goal"), rows(found)))
    return figures(found)
