"""One policy on many drones: the airframes that ship, and others drawn between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from envs.airframe import AIRFRAME_DIR, load_airframe
from envs.airframe_draw import draw_airframe, write_airframe
from scripts.benchmarks.rates import sweep
from scripts.case import Case
from scripts.console import OUT
from scripts.pictures.airframes import draw_airframes
from scripts.tables import number, rich_table
from scripts.workers.options import Workers

SHIPPED, DRAWN = "shipped", "drawn"


@dataclass(frozen=True, slots=True)
class Drone:
    """An airframe, shipped or the path of a drawn one. group: `SHIPPED` or `DRAWN`."""

    group: str
    label: str
    airframe: str
    flights: int

    def case(self, base: Case) -> Case:
        """The base case with this airframe."""
        return replace(base, airframe=self.airframe, flights=self.flights)


def drones(folder: Path, drawn: int, flights: int, seed: int) -> list[Drone]:
    """All that ship, with `flights` each, and so many that are drawn, with a fifth each, written to the folder."""
    names = sorted(path.stem for path in AIRFRAME_DIR.glob("*.toml"))
    found = [Drone(SHIPPED, name, name, flights) for name in names]
    for index in range(drawn):
        airframe = draw_airframe(f"drawn-{index}", np.random.default_rng([seed, index]))
        path = write_airframe(folder / "airframes" / f"{airframe.name}-of-{seed}.toml", airframe)
        found.append(Drone(DRAWN, airframe.name, str(path), max(1, flights // 5)))
    return found


def fly(policies: Sequence[str], base: Case, folder: Path, workers: Workers, on: Sequence[Drone]) -> list[Any]:
    """Every policy on every drone; cells of airframes.json are kept. Each cell tells mass_kg and thrust_to_weight."""
    cells = sweep([replace(base, policy=policy) for policy in policies], folder, workers, on, "airframes")
    flown = [drone for _ in policies for drone in on]
    return [cell | _facts(drone) for cell, drone in zip(cells, flown, strict=True)]


def _facts(drone: Drone) -> dict[str, float]:
    found = load_airframe(drone.airframe)
    return {"mass_kg": found.mass_kg, "thrust_to_weight": found.thrust_to_weight}


HEADER = ("policy", "drones", "flights", "still up (%)", "worst drone (%)", "speed error, median (m/s)", "worst")


def rows_of(cells: Sequence[dict[str, Any]]) -> list[list[str]]:
    """A row for each policy and shipped airframe, and one for all that were drawn."""
    rows = []
    for policy in dict.fromkeys(cell["policy"] for cell in cells):
        own = [cell for cell in cells if cell["policy"] == policy]
        groups = [[cell] for cell in own if cell["group"] == SHIPPED]
        groups += [[cell for cell in own if cell["group"] == DRAWN]]
        rows += [_row(policy, group) for group in groups if group]
    return rows


def _row(policy: str, cells: Sequence[dict[str, Any]]) -> list[str]:
    first, flights = cells[0], sum(cell["flights"] for cell in cells)
    up = sum(cell["success_rate"] * cell["flights"] for cell in cells)
    errors = [np.inf if cell["speed_error_median_m_s"] is None else cell["speed_error_median_m_s"] for cell in cells]
    masses = [cell["mass_kg"] for cell in cells]
    span = f"{len(cells)} drawn, {1000.0 * min(masses):.0f} to {1000.0 * max(masses):.0f} g"
    return [
        policy,
        f"{first['label']}, {1000.0 * first['mass_kg']:.0f} g" if first["group"] == SHIPPED else span,
        str(flights),
        f"{100.0 * up / flights:.1f}",
        f"{100.0 * min(cell['success_rate'] for cell in cells):.1f}",
        number(float(np.median(errors))),
        number(float(max(errors))),
    ]


def present(cells: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Print the table; write airframes.md and airframes.png."""
    rows, first = rows_of(cells), cells[0]
    told = (
        f"Hover in PyBullet, {first['duration_s']:g} s after a throw, wind to {first['wind_m_s']:g} m/s, every drone "
        f"drawn within {first['spread']:.0%} of its airframe, IMU {first['imu_hz']:g} Hz, seed {first['seed']}"
    )
    OUT.print(rich_table(told, HEADER, rows))
    lines = [list(HEADER), ["---", "---", *["---:"] * (len(HEADER) - 2)], *rows]
    text = folder / "airframes.md"
    text.write_text(told + ".\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n", encoding="utf-8")
    return [folder / "airframes.json", text, draw_airframes(cells, folder / "airframes.png")]
