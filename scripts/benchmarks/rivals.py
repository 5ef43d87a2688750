"""Who flies how well: policies beside what an engineer would use instead, in one world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias

from envs.conditions import parse_imu_hz
from envs.scoring import TRANSIENT_S
from liquid_pilot.bundle import load_bundle
from policies.experts.raptor import load_raptor
from scripts.benchmarks import eights
from scripts.benchmarks.cell_file import CellFile
from scripts.benchmarks.rates import sweep
from scripts.case import Case
from scripts.console import OUT, progress_bar
from scripts.evaluation import policy_sha256
from scripts.flying import CONVENTIONAL, RAPTORS, FlightPool
from scripts.pictures.rivals import draw_rivals
from scripts.tables import number, rich_table, short_names
from scripts.workers.options import Workers

TOLD: Final = {
    "geometric": "true state",
    "pid": "true state",
    "pid-ekf": "IMU, flow, range; airframe and noise known",
    "raptor": "true state",
    "raptor-late": "true state",
}
SENSORS: Final = "IMU, flow, range"
PLACES: Final = "track-position"
SECONDS: Final = 15.0  # of a flight that is no figure-eight


@dataclass(frozen=True, slots=True)
class Hold:
    """Caught from a throw and held, at an IMU rate."""

    imu_hz: str

    @property
    def group(self) -> str:
        """What is flown."""
        return "hover"

    @property
    def label(self) -> str:
        """The IMU rate."""
        return self.imu_hz

    def case(self, base: Case) -> Case:
        """The base case under this condition."""
        return replace(base, task="hover", imu_hz=self.imu_hz, seconds=SECONDS)


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
            seconds=SECONDS,
        )


@dataclass(frozen=True, slots=True)
class Eight:
    """The figure-eight of 1.0 x 0.5 m at so many seconds a lap, at an IMU rate."""

    period_s: float
    imu_hz: str

    @property
    def group(self) -> str:
        """The period."""
        return f"eight {self.period_s:g} s"

    @property
    def label(self) -> str:
        """The IMU rate."""
        return self.imu_hz


Point: TypeAlias = Hold | Follow | Eight


def points_of(imu_hz: Sequence[str], speeds_m_s: Sequence[float], periods_s: Sequence[float]) -> list[Point]:
    """Everything that is flown: hover, steps and sinusoids at each speed, eights of each period, at each rate."""
    follow = [Follow(name, speed, hz) for name in ("steps", "sinusoid") for speed in speeds_m_s for hz in imu_hz]
    return [*map(Hold, imu_hz), *follow, *(Eight(period, hz) for period in periods_s for hz in imu_hz)]


def flies(policy: str, point: Point) -> bool:
    """Whether a policy was made for it; conventional controllers fly all of it."""
    if policy in CONVENTIONAL:
        return not isinstance(point, Eight) or policy in eights.BY_NAME
    made_for = {Hold: ("hover", "track"), Follow: ("track",), Eight: (PLACES,)}
    return _task(policy) in made_for[type(point)]


def _task(policy: str) -> str:
    return load_bundle(policy).task


def compare(
    policies: Sequence[str], base: Case, folder: Path, workers: Workers, points: Sequence[Point]
) -> list[dict[str, Any]]:
    """Fly every policy at every point that it was made for; finished cells of rivals.json in the folder are kept.

    Raises `LiquidPilotError`.
    """
    if any(policy in RAPTORS for policy in policies):
        load_raptor()  # refuse here, not in a worker
    cells = list[dict[str, Any]]()
    for policy in policies:
        case, own = replace(base, policy=policy), [point for point in points if flies(policy, point)]
        others = [point for point in own if not isinstance(point, Eight)]
        cells += sweep([case], folder, workers, others, "rivals") if others else []
        cells += _eights(case, folder, workers, [point for point in own if isinstance(point, Eight)])
    return cells


def _eights(case: Case, folder: Path, workers: Workers, points: Sequence[Eight]) -> list[dict[str, Any]]:
    """Drones that all differ, in wind, from rest; finished cells of rivals.json are kept."""
    kept, cells = CellFile(folder / "rivals.json"), list[dict[str, Any]]()
    if not points:
        return cells
    sha256 = policy_sha256(case.policy)
    with FlightPool(workers) as pool, progress_bar() as progress:
        for point in points:
            rates, mixed = parse_imu_hz(point.imu_hz)
            conditions = replace(eights.DRAWN, imu_hz=rates, imu_mixed=mixed, wind_m_s=(0.0, case.wind))
            job = eights.EightJob(case.policy, case.airframe, point.period_s, conditions, case.seed)
            task = progress.add_task(f"{case.policy}: {point.group}, IMU {point.imu_hz}", total=case.count)
            advance = partial(progress.advance, task)
            marks = {
                "policy": case.policy, "policy_sha256": sha256, "group": point.group, "label": point.label,
                "flights": case.count, "seed": case.seed, "wind_m_s": case.wind, "airframe": case.airframe,
            }  # fmt: skip
            cells.append(kept.cell(marks, partial(eights.measure, job, case.count, pool, advance)))
            progress.remove_task(task)
    return cells


def told_of(policy: str) -> str:
    """What it knows of the flight."""
    if policy in TOLD:
        return TOLD[policy]
    return "IMU, attitude, places" if _task(policy) == PLACES else SENSORS


def judged(cell: Mapping[str, Any]) -> dict[str, Any]:
    """The cell with the `error` that it is judged by and its `unit`: of the speed, or of the place in eights."""
    if "position_error_median_m" in cell:
        return {**cell, "error": cell["position_error_median_m"], "unit": "m"}
    return {**cell, "error": cell["speed_error_median_m_s"], "unit": "m/s"}


def rows_of(cells: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Header and body: a row for each policy and IMU rate, for each thing flown flights up (%) and median error."""
    groups = list(dict.fromkeys(str(cell["group"]) for cell in cells))
    names = short_names(str(cell["policy"]) for cell in cells)
    body = []
    for policy, label in dict.fromkeys((str(cell["policy"]), str(cell["label"])) for cell in cells):
        own = {c["group"]: c for c in cells if (c["policy"], c["label"]) == (policy, label)}
        found = [
            f"{100.0 * own[group]['success_rate']:.1f} / {number(judged(own[group])['error'])}" if group in own else "-"
            for group in groups
        ]
        body.append([names[policy], told_of(policy), label, *found])
    return ["policy", "told", "IMU (Hz)", *groups], body


def present(cells: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Print the table, that of eights apart; write rivals.md and rivals.png."""
    first = cells[0]
    title = (
        f"Flights flown well (%) and median error. {first['flights']} flights a cell, PyBullet, wind to "
        f"{first['wind_m_s']:g} m/s, seed {first['seed']}. Hover: speed (m/s). Steps and sinusoids: root mean square "
        f"of the speed error (m/s), without the first {TRANSIENT_S:g} s of a step. Eights: root mean square distance "
        "from the place (m) on the second lap"
    )
    OUT.print(title)
    known = [judged(cell) for cell in cells]
    for unit in dict.fromkeys(cell["unit"] for cell in known):
        header, body = rows_of([cell for cell in known if cell["unit"] == unit])
        narrow = [[row[0], *(text.replace(" / ", "\n") for text in row[2:])] for row in body]  # all fits 80 columns
        names = [header[0], *(name.replace(" ", "\n", 1) for name in header[2:])]
        OUT.print(rich_table(f"flown well (%), median error ({unit})", names, narrow))
    header, body = rows_of(cells)
    lines = [header, ["---", "---", *["---:"] * (len(header) - 2)], *body]
    text = folder / "rivals.md"
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    text.write_text(f"{title}.\n\n{table}\n", encoding="utf-8")
    told = {policy: told_of(policy) for policy in dict.fromkeys(str(cell["policy"]) for cell in cells)}
    return [folder / "rivals.json", text, draw_rivals(known, told, folder / "rivals.png")]
