"""Mutated flight logs, policy files and MSP: only a `LiquidPilotError` may come of them, and no wild command."""

from __future__ import annotations

import json
import math
import struct
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save

from liquid_pilot.bundle import METADATA_KEY, digest, load_bundle, policy_path
from liquid_pilot.controller import Controller
from liquid_pilot.errors import BundleError, LiquidPilotError
from liquid_pilot.links import msp
from liquid_pilot.links.betaflight import BetaflightLink
from liquid_pilot.links.betaflight_rc import Channels, RcMap
from liquid_pilot.links.transport import Memory
from liquid_pilot.logs import McapLog, Record, open_log, read_log
from liquid_pilot.logs.masked import masked
from liquid_pilot.logs.page import page
from liquid_pilot.logs.replay import replay
from liquid_pilot.logs.setup import setup_of
from liquid_pilot.logs.summary import series, summarise
from liquid_pilot.messages import Command, Flow, Imu, Message, Position, Range, Setpoint
from scripts.benchmarks.onboard import Plan, figures
from scripts.console import OUT
from scripts.tables import rich_table

HOSTILE_NUMBERS: Final = (
    *"nan inf -inf 1e308 -1e308 5e-324 -0.0 1e9 -1 0 1e400 x 0x10 1_0".split(),
    "",
    "9" * 400,
)
HOSTILE_JSON: Final[tuple[Any, ...]] = (
    *(None, True, [], {}, "", "nan", -1, 0, 1e308, math.nan, math.inf, [[]] * 3, 10**30, "a" * 999),
)


@dataclass
class Tally:
    """What came of the mutations. crashes: what must not be, with the number of the mutation that did it."""

    what: str
    tried: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    commands: int = 0
    crashes: list[str] = field(default_factory=list)


def flight(seconds: float = 0.6) -> list[Message]:
    """Messages of a short flight with every sensor; it starts at 10 s on its clock."""
    rng = np.random.default_rng([1])
    messages: list[Message] = [Setpoint(10.0, (0.2, 0.0), 1.0, 0.0)]
    for k in range(round(seconds * 100)):
        t, (a, b, c) = 10.0 + 0.01 * k, rng.normal(size=3).tolist()
        messages.append(Imu(t, (0.1 * a, 0.1 * b, 0.1 * c), (a, b, 9.81 + c)))
        if k % 3 == 1:
            messages.append(Flow(t + 0.001, 0.025, (0.01 * a, 0.01 * b), 0.8))
        if k % 4 == 2:
            messages.append(Range(t + 0.002, 1.0 + 0.02 * c))
        if k % 10 == 5:
            messages.append(Position(t + 0.003, (a, b, 1.0), (0.1, 0.2, c)))
    return messages


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Bits flipped, bytes overwritten, pieces cut out, doubled or moved, the end cut off."""
    out = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        if not out:
            break
        a, b = sorted(rng.integers(0, len(out) + 1, 2).tolist())
        b = min(b, a + int(rng.integers(1, 64)))
        at = int(rng.integers(0, len(out)))
        kind = int(rng.integers(0, 6))
        if kind == 0:
            out[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            out[a:b] = rng.bytes(b - a)
        elif kind == 2:
            del out[a:b]
        elif kind == 3:
            out[at:at] = out[a:b]
        elif kind == 4:
            del out[at:]
        else:
            out[a:b] = bytes(b - a)
    return bytes(out)


def mutated_cells(text: str, rng: np.random.Generator) -> str:
    """A CSV log with hostile numbers and texts in some cells, otherwise whole."""
    lines = text.split("\n")
    for _ in range(int(rng.integers(1, 6))):
        row = int(rng.integers(1, len(lines)))
        cells = lines[row].split(",")
        filled = [k for k, cell in enumerate(cells) if cell]
        if filled:
            cells[filled[int(rng.integers(0, len(filled)))]] = str(rng.choice(HOSTILE_NUMBERS))
            lines[row] = ",".join(cells)
        if rng.random() < 0.2:
            lines[row] = lines[int(rng.integers(1, len(lines)))]  # out of order, and doubled
    return "\n".join(lines)


def mutated_json(value: Any, rng: np.random.Generator) -> Any:
    """Plain data with one value somewhere replaced, dropped or added."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = list(value)[int(rng.integers(0, len(value)))]
        if rng.random() < 0.1:
            return {k: v for k, v in value.items() if k != key}
        return {**value, key: mutated_json(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = int(rng.integers(0, len(value)))
        return [*value[:at], mutated_json(value[at], rng), *value[at + 1 :]]
    if isinstance(value, float) and rng.random() < 0.5:
        return value * float(rng.choice([-1.0, 0.0, 0.5, 2.0, 1e6, 1e-6]))
    return HOSTILE_JSON[int(rng.integers(0, len(HOSTILE_JSON)))]


class _HostileLog(McapLog):
    """An MCAP log that is whole, checksums included, around rows that were mutated."""

    def hostile(self, topic: str, data: bytes, sequence: int) -> None:
        """One row."""
        self._writer.add_message(self._channels[topic], 0, data, 0, sequence)


def log_mutants(folder: Path, rng: np.random.Generator) -> Iterator[Path]:
    """Files, one after the other, without end: CSV and MCAP, mutated as bytes and as rows."""
    sources = {}
    for name in ("a.csv", "a.mcap"):
        log = open_log(folder / name)
        controller = Controller.load("hover", log=log)
        for message in flight():
            controller.feed(message)
        controller.tick(12.0)
        controller.stop()
        log.close()
        sources[name] = (folder / name).read_bytes()
    text = sources["a.csv"].decode()
    rows = [record for record in read_log(folder / "a.csv").records if not isinstance(record, Command)]
    while True:
        kind = rng.random()
        path = folder / "mutant"
        if kind < 0.25:
            path.write_bytes(mutated(sources["a.csv"], rng))
        elif kind < 0.6:
            path.write_text(mutated_cells(text, rng))
        elif kind < 0.8:
            path.write_bytes(mutated(sources["a.mcap"], rng))
        else:
            _write_hostile(path, rows, rng)
        yield path


def _write_hostile(path: Path, rows: Sequence[Record], rng: np.random.Generator) -> None:
    from liquid_pilot.logs.rows import SCHEMA, to_row

    log = _HostileLog(path)
    bad = set(rng.integers(0, len(rows), 4).tolist())
    for k, record in enumerate(rows):
        kind, values = to_row(record)
        row: Any = dict(zip(("t_s", *SCHEMA[kind][1]), (record.t_s, *values), strict=True))
        log.hostile(kind, json.dumps(mutated_json(row, rng) if k in bad else row).encode(), k)
    log.close()


def _judge(commands: Sequence[Command], limits: Any) -> None:
    """Raise AssertionError for a command that must not be."""
    (low, high), most = limits.thrust_m_s2, limits.rates_rad_s
    for command in commands:
        if not (low <= command.thrust_m_s2 <= high or command.thrust_m_s2 == 0.0):
            raise AssertionError(f"wild thrust: {command}")
        if not all(abs(rate) <= limit for rate, limit in zip(command.rates_rad_s, most, strict=True)):
            raise AssertionError(f"wild rates: {command}")


def fuzz_logs(count: int, seed: int, step: Callable[[], None] = lambda: None) -> Tally:
    """Read mutated logs, replay, mask and report what could be read."""
    tally, bundle = Tally("flight logs"), load_bundle("hover")
    with tempfile.TemporaryDirectory() as name:
        for path in log_mutants(Path(name), np.random.default_rng([seed, 1])):
            if tally.tried == count:
                return tally
            tally.tried += 1
            step()
            try:
                records = read_log(path).records
                setup = setup_of(records)
                limits, timeout_s = (None, None) if setup is None else (setup.limits, setup.setpoint_timeout_s)
                controller = Controller(bundle, limits=limits, setpoint_timeout_s=timeout_s)
                found = replay(controller, records).commands
                _judge(found, bundle.limits)
                page("fuzz", summarise(masked(records)), (), {})
                series(records)
                tally.commands += len(found)
                tally.accepted += 1
            except LiquidPilotError as error:
                tally.refused[type(error).__name__] += 1
            except Exception as error:  # that is what is looked for
                tally.crashes.append(f"mutation {tally.tried}: {type(error).__name__}: {error}")
    raise AssertionError("the mutants have no end")


def bundle_mutant(data: bytes, rng: np.random.Generator) -> bytes:
    """A policy file: bytes mutated; or metadata or weights mutated and, half of the time, sealed again by a forger."""
    if rng.random() < 0.5:
        return mutated(data, rng)
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][METADATA_KEY])
    tensors = {name: np.array(value) for name, value in load_tensors(data).items()}
    if rng.random() < 0.7:
        metadata = mutated_json(metadata, rng)
    if rng.random() < 0.4:
        name = sorted(tensors)[int(rng.integers(0, len(tensors)))]
        flat = tensors[name].reshape(-1)
        flat[int(rng.integers(0, flat.size))] = float(rng.choice([math.nan, math.inf, 1e38, -1e6, 0.5]))
    if rng.random() < 0.5 and isinstance(metadata, dict):
        try:
            metadata["sha256"] = digest(tensors, metadata)
        except (BundleError, TypeError, ValueError, OverflowError):
            pass  # not even a forger can seal that
    return save(tensors, {METADATA_KEY: json.dumps(metadata)})


def fuzz_bundles(count: int, seed: int, step: Callable[[], None] = lambda: None) -> Tally:
    """Load mutated policies; one that is accepted must fly within its limits, a refused one gives no controller."""
    tally, data = Tally("policy files"), policy_path("hover").read_bytes()
    rng, messages = np.random.default_rng([seed, 2]), flight(0.2)
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "mutant.safetensors"
        for k in range(1, count + 1):
            path.write_bytes(bundle_mutant(data, rng))
            tally.tried += 1
            step()
            try:
                controller = Controller.load(path)
                found = [command for message in messages if (command := controller.feed(message)) is not None]
                _judge(found, controller.bundle.limits)
                tally.commands += len(found)
                tally.accepted += 1
            except LiquidPilotError as error:
                tally.refused[type(error).__name__] += 1
            except Exception as error:  # that is what is looked for
                tally.crashes.append(f"mutation {k}: {type(error).__name__}: {error}")
    return tally


class _NoSticks:
    """An RC output that goes nowhere."""

    name = "nowhere"

    def open(self) -> None:
        """Nothing to open."""

    def send(self, channels: Channels, now_s: float) -> bool:
        """Taken."""
        return True

    def close(self) -> None:
        """Nothing to close."""


def fuzz_msp(count: int, seed: int, step: Callable[[], None] = lambda: None) -> Tally:
    """A hundred times `count` mutated bytes of MSP into a Betaflight link; accepted are frames, refused bytes."""
    tally, rng = Tally("bytes of MSP"), np.random.default_rng([seed, 3])
    near, far = Memory.pair()
    link = BetaflightLink(_NoSticks(), near, RcMap(Throttle()))
    status = struct.pack("<HHHIBHBBBBI", 125, 0, 33, 1, 0, 12, 4, 0, 0, 29, 0)
    stream = msp.encode(msp.STATUS_EX, status, b">") + msp.encode(msp.BATTERY_STATE, bytes(range(11)), b">")
    while tally.tried < 100 * count:
        data = mutated(stream * 4, rng)
        far.write(data, "")
        tally.tried += len(data)
        step()
        try:
            assert link.receive(0.001 * tally.tried) == []
            counters = link.status(0.001 * tally.tried).counters
        except Exception as error:  # that is what is looked for
            tally.crashes.append(f"byte {tally.tried}: {type(error).__name__}: {error}")
            return tally
        tally.refused["skipped bytes"] = counters["msp_skipped_bytes"]
        tally.accepted = counters["msp_frames"]
    return tally


class Throttle:
    """Full at 20 m/s^2."""

    def throttle(self, thrust_m_s2: float) -> float:
        """In proportion."""
        return thrust_m_s2 / 20.0


FUZZERS: Final = (fuzz_logs, fuzz_bundles, fuzz_msp)


def table(tallies: Sequence[Tally]) -> list[tuple[str, ...]]:
    """Rows for people."""
    return [
        (
            one.what,
            f"{one.tried:,}",
            ", ".join(f"{name} {n:,}" for name, n in sorted(one.refused.items())),
            f"{one.accepted:,}",
            f"{one.commands:,}",
            str(len(one.crashes)),
        )
        for one in tallies
    ]


def run(plan: Plan) -> dict[str, Any]:
    """The section "files": of MSP a hundred times as many bytes as files of a kind."""
    count = 500 if plan.quick else 10_000
    tallies = [fuzz(count, plan.seed) for fuzz in FUZZERS]
    header = ("mutated", "tried", "refused", "accepted", "commands, all within limits", "crashes")
    OUT.print(rich_table("mutated logs, policy files and MSP", header, table(tallies)))
    for one in tallies:
        for crash in one.crashes[:20]:
            OUT.print(f"{one.what}: {crash}", markup=False)
    return {one.what: figures(one) for one in tallies}
