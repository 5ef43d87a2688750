"""What flies onboard, measured: sections that print their tables and return figures; one file of all of them.

A section is a module with `run(plan) -> dict`, of plain data, and one line in `SECTIONS`.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from liquid_pilot.errors import ConfigError, unknown_name
from liquid_pilot.native import processor_identity
from scripts.files import write_json
from scripts.workers.options import ALL_CORES, Workers

SECTIONS: Final[Mapping[str, str]] = {  # name on the command line -> module, in the order in which they run
    "steps": "scripts.benchmarks.onboard_steps",
    "parity": "scripts.benchmarks.onboard_parity",
    "small": "scripts.benchmarks.onboard_small",
    "m7": "scripts.benchmarks.onboard_m7",
    "latency": "scripts.benchmarks.onboard_latency",
    "fuzz": "scripts.benchmarks.onboard_fuzz",
    "files": "scripts.benchmarks.onboard_fuzz_files",
    "soak": "scripts.benchmarks.onboard_soak",
}
FILE: Final = "onboard.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """What every section is told.

    flights: of each closed-loop score; quick: measure for a moment, fly few; fifo: real-time priority of what is timed
    in a loop, where permitted; seed: of faults, links and mutations.
    """

    policy: str
    out: Path
    flights: int = 100
    workers: Workers = ALL_CORES
    quick: bool = False
    fifo: bool = False
    seed: int = 0


def chosen(names: Sequence[str]) -> list[str]:
    """The sections of these names, in their order; all of them for none. Raises `ConfigError`."""
    for name in names:
        if name not in SECTIONS:
            raise ConfigError(unknown_name("section", name, list(SECTIONS)))
    return [name for name in SECTIONS if name in names or not names]


def run(plan: Plan, names: Sequence[str]) -> Path:
    """Run the sections; figures of those that are not run stay in the file. Returns its path."""
    path = plan.out / FILE
    for name in chosen(names):
        section: Callable[[Plan], dict[str, Any]] = importlib.import_module(SECTIONS[name]).run
        figures = section(plan)
        write_json(path, _kept(path) | {"machine": machine(), name: {"policy": plan.policy} | figures})
    return path


def figures(found: Any) -> dict[str, Any]:
    """A dataclass of plain values and counters as plain data (`asdict` would count a counter's items)."""
    values = {field.name: getattr(found, field.name) for field in fields(found)}
    return {name: dict(value) if isinstance(value, Counter) else value for name, value in values.items()}


def machine() -> dict[str, Any]:
    """Where figures were measured, in a few words."""
    words = processor_identity().split(" flags", 1)[0].split()
    return {"processor": " ".join(words[:12])[:100], "cores": os.cpu_count(), "python": platform.python_version()}


def _kept(path: Path) -> dict[str, Any]:
    """What an earlier run wrote; nothing, where that cannot be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
