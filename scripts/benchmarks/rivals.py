"""Who follows a velocity how well: policies beside what an engineer would use instead, in one world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from envs.scoring import TRANSIENT_S
from scripts.benchmarks.rates import sweep
from scripts.console import OUT
from scripts.evaluation import Case
from scripts.pictures.rivals import draw_rivals
from scripts.tables import number, rich_table, short_names
from scripts.workers.options import Workers

TOLD: Final = {
    "geometric": "true state",
    "pid": "true state",
    "pid-ekf": "IMU, flow, range; airframe and noise known",
}
SENSORS: Final = "IMU, flow, range"


@dataclass(frozen=True, slots=True)
class Follow:
    """A reference at a speed and an IMU rate."""

    reference: str
    speed_m_s: float
    imu_hz: str

    @property
    def group(self) -> str:
        """The reference and its speed."""
        return f"{self.reference.replace('_', ' ')} {self.speed_m_s:g} m/s"

    @property
    def label(self) -> str:
        """The IMU rate."""
        return self.imu_hz

    def case(self, base: Case) -> Case:
        """The base case under this condition."""
        return replace(
            base,
            task="track",
            reference=self.reference,
            track_m_s=self.speed_m_s,
            transient_s=TRANSIENT_S,
            imu_hz=self.imu_hz,
            seconds=15.0,
        )


POINTS: Final = tuple(
    Follow(reference, speed, imu_hz)
    for reference in ("steps", "sinusoid")
    for speed in (1.0, 2.0)
    for imu_hz in ("50", "100", "400")
)


def compare(
    policies: Sequence[str], base: Case, folder: Path, workers: Workers, points: Sequence[Follow] = POINTS
) -> list[dict[str, Any]]:
    """Fly every policy at every point; finished cells of rivals.json in the folder are kept."""
    return sweep([replace(base, policy=policy) for policy in policies], folder, workers, points, "rivals")


def rows_of(cells: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and body: a row for each policy and IMU rate, for each reference flights up (%) and median error."""
    groups = list(dict.fromkeys(str(cell["group"]) for cell in cells))
    names = short_names(str(cell["policy"]) for cell in cells)
    body = []
    for policy, label in dict.fromkeys((str(cell["policy"]), str(cell["label"])) for cell in cells):
        own = {c["group"]: c for c in cells if (c["policy"], c["label"]) == (policy, label)}
        found = [
            f"{100.0 * own[group]['success_rate']:.1f} / {number(own[group]['speed_error_median_m_s'])}"
            if group in own
            else "-"
            for group in groups
        ]
        body.append([names[policy], TOLD.get(policy, SENSORS), label, *found])
    return ["policy", "told", "IMU (Hz)", *groups], body


def present(cells: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Print the table; write rivals.md and rivals.png."""
    header, body = rows_of(cells)
    told = (
        "Flights flown well (%) and median root mean square speed error (m/s, both without the first "
        f"{TRANSIENT_S:g} s of a step), "
        f"{cells[0]['flights']} flights of 15 s a cell, PyBullet, wind to {cells[0]['wind_m_s']:g} m/s, seed "
        f"{cells[0]['seed']}"
    )
    OUT.print(rich_table(told, header, body))
    lines = [header, ["---", "---", *["---:"] * (len(header) - 2)], *body]
    text = folder / "rivals.md"
    text.write_text(told + ".\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n", encoding="utf-8")
    return [folder / "rivals.json", text, draw_rivals(cells, folder / "rivals.png")]
