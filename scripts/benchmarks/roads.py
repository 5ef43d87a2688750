"""Roads to one bundle: how long, and how many events of the world, until a run's policy hovers.

Reads the folders of finished runs. Solved: the first validation in which 90 % of the flights were flown well; it is
as fine as the run's validations are apart.
"""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from liquid_pilot.errors import ConfigError
from scripts.console import OUT
from scripts.files import write_json
from scripts.tables import rich_table
from scripts.training.run import read_rows

SOLVED: Final = 0.9
HEADER: Final = ("road", "solved", "after seconds", "after events", "events in all", "up", "speed error (m/s)")
WIDTH: Final = 130


@dataclass(frozen=True, slots=True)
class Run:
    """One training. seconds and events until solved are None where it never was; speed_error_m_s of its best."""

    folder: str
    road: str
    seed: int
    seconds: float | None
    events: float | None
    all_seconds: float
    all_events: float
    success_rate: float
    speed_error_m_s: float


def read_run(folder: Path) -> Run:
    """A finished run. Raises `ConfigError` where the folder holds none."""
    try:
        config: dict[str, Any] = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder} is no folder of a training run ({error}); give those of scripts.train") from error
    rows = read_rows(folder / "progress.csv")
    scored = [row for row in rows if math.isfinite(float(row.get("success_rate") or "nan"))]
    if not scored:
        raise ConfigError(f"{folder} holds no validation in its progress.csv; let the run validate once at least")
    events = _events(rows, config)
    solved = next((row for row in scored if float(row["success_rate"]) >= SOLVED), None)
    best = min(scored, key=lambda row: float(row["score"]))
    return Run(
        str(folder),
        _road(config),
        int(config["seed"]),
        None if solved is None else float(solved["elapsed_s"]),
        None if solved is None else events[int(solved["update"])],
        float(rows[-1]["elapsed_s"]),
        max(events.values()),
        float(best["success_rate"]),
        float(best["speed_error_median_m_s"]),
    )


def _road(config: dict[str, Any]) -> str:
    method = str(config.get("method", "ppo" if "engine" in config else "analytic"))
    start, cell = config.get("init"), str(config.get("cell", "decay"))
    engine = f", {config['engine']}" if "engine" in config else ""
    return method + engine + (f", from {_start(Path(str(start)))}" if start else "") + (f", {cell}" * (cell != "decay"))


def _start(policy: Path) -> str:
    """Name of the policy that a run began with: of its run, without the seed's number, or of the file."""
    return re.sub(r"-\d+$", "", policy.parent.name) if policy.name == "policy.safetensors" else policy.stem


def _events(rows: Sequence[dict[str, Any]], config: dict[str, Any]) -> dict[int, float]:
    """Events of the world, of all drones together, by update: counted by the run, or batch times rate times horizon."""
    counted = next((name for name in ("steps", "events") if name in rows[0]), None)
    found, total = {}, 0.0
    for row in rows:
        if counted is not None:
            total = float(row[counted])
        elif math.isfinite(float(row["horizon_s"])):
            total += float(config["batch"]) * float(row["imu_hz"]) * float(row["horizon_s"])
        found[int(row["update"])] = total
    return found


def compare(folders: Sequence[Path], out: Path) -> Path:
    """Print the table of these runs, mean and spread over those of a road; write roads.json. Raises `ConfigError`."""
    runs = [read_run(folder) for folder in folders]
    roads = list(dict.fromkeys(run.road for run in runs))
    rows = [_row([run for run in runs if run.road == road]) for road in roads]
    Console(width=max(OUT.width, WIDTH)).print(rich_table("roads to a hovering policy", HEADER, rows))
    OUT.print(
        f"Mean and standard deviation over runs. Solved: the first validation with {SOLVED:.0%} of the flights flown "
        "well; events: IMU events of all drones. Up, speed error: validation of the weights that were kept."
    )
    path = out / "roads.json"
    write_json(path, {"runs": [asdict(run) for run in runs]})
    return path


def _row(runs: Sequence[Run]) -> tuple[str, ...]:
    done = [run for run in runs if run.seconds is not None]

    def over(part: Sequence[Run], read: Callable[[Run], float | None], form: str) -> str:
        values = [value for value in map(read, part) if value is not None]
        if not values:
            return "-"
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        return f"{statistics.mean(values):{form}} ± {spread:{form}}"

    return (
        runs[0].road,
        f"{len(done)} of {len(runs)}",
        over(done, lambda run: run.seconds, ".1f"),
        over(done, lambda run: run.events, ",.0f"),
        f"{statistics.mean(run.all_events for run in runs):,.0f}",
        over(runs, lambda run: 100.0 * run.success_rate, ".1f") + " %",
        over(runs, lambda run: run.speed_error_m_s, ".3f"),
    )
