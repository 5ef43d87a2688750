"""One policy under every fault: flights that stay up, that come down safely by themselves, and that crash."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from rich.progress import Progress

from envs.airframe import load_airframe
from envs.scoring import FlightScore, landed_safely, score_hover, summarise
from scripts.benchmarks.cell_file import CellFile
from scripts.case import Case
from scripts.console import OUT, progress_bar
from scripts.evaluation import policy_sha256
from scripts.flying import FlightPool, Job, fly_one
from scripts.pictures.faults import draw_faults
from scripts.tables import number, rich_table
from scripts.workers.options import Workers

START_S: Final = 6.0  # of every fault, after the release
SPREAD: Final = 0.05  # of mass, inertia, thrust and drag: what a fault costs, not what another drone does


@dataclass(frozen=True, slots=True)
class Point:
    """One condition. fault: as it is written before the @; empty: none. seconds: for which it lasts, 0: to the end."""

    group: str
    label: str
    fault: str = ""
    seconds: float = 0.0

    def case(self, base: Case) -> Case:
        """The base case under this condition."""
        if not self.fault:
            return base
        length = f"+{self.seconds:g}s" if self.seconds else ""
        return replace(base, fault=(f"{self.fault}@{START_S:g}s{length}",))


SWEEP: Final = (
    Point("none", "no fault"),
    *(Point("motor", f"one motor at {share:.0%}", f"motor2:{share:g}") for share in (0.9, 0.8, 0.7, 0.6, 0.5)),
    Point("power", "battery sags to 85 %", "battery:sag=0.85"),
    Point("power", "payload +20 %", "payload:+20%"),
    Point("air", "wind step 3 m/s", "wind:step=3m/s"),
    Point("air", "wind step 5 m/s", "wind:step=5m/s"),
    Point("imu", "accelerometer lost", "accel:off"),
    Point("imu", "accelerometer frozen", "accel:freeze"),
    Point("imu", "gyro frozen", "gyro:freeze"),
    Point("imu", "gyro lost", "gyro:off"),
    Point("flow", "flow lost for 1 s", "flow:off", 1.0),
    Point("flow", "flow lost", "flow:off"),
    Point("flow", "flow frozen", "flow:freeze"),
    Point("flow", "flow spikes", "flow:spike=3rad/s"),
    Point("range", "range lost for 1 s", "range:off", 1.0),
    Point("range", "range lost", "range:off"),
    Point("range", "range frozen", "range:freeze"),
    Point("range", "range spikes", "range:spike=1m"),
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one flight ended: its score as a hover flight, and whether it stands on the ground unhurt."""

    score: FlightScore
    landed: bool


def fly_to_the_end(job: Job, index: int) -> Outcome:
    """Flight `index` of a job; touching the ground ends nothing."""
    trace = fly_one(job, index, bounded=False)
    rest_m = load_airframe(job.airframe).rest_height_m
    return Outcome(score_hover(trace, job.duration_s), landed_safely(trace, rest_m))


def figures_of(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The keys of `envs.scoring.summarise`, and shares that were up, came down safely, or neither."""
    flights = len(outcomes)
    up = sum(one.score.success for one in outcomes)
    landed = sum(one.landed and not one.score.success for one in outcomes)
    summary = dict(summarise([one.score for one in outcomes]))
    reasons = Counter(one.score.reason for one in outcomes if not one.score.success and not one.landed)
    summary["reasons"] = dict(sorted(reasons.items()))
    shares = {"up": up, "landed": landed, "crashed": flights - up - landed}
    return summary | {f"{name}_rate": count / flights for name, count in shares.items()}


def sweep(
    policies: Sequence[str], base: Case, folder: Path, workers: Workers, points: Sequence[Point] = SWEEP
) -> list[dict[str, Any]]:
    """Fly every policy at every point. Cells that faults.json in the folder holds already are not flown again."""
    cases = [replace(base, policy=policy) for policy in policies]
    for case in cases:
        case.check()
    kept, cells = CellFile(folder / "faults.json"), list[dict[str, Any]]()
    with FlightPool(workers) as pool, progress_bar() as progress:
        whole = progress.add_task("fault sweep", total=len(cases) * len(points))
        for case in cases:
            sha256 = policy_sha256(case.policy)
            for point in points:
                job = point.case(case).job()
                marks = {
                    "policy_sha256": sha256, "policy": case.policy, "label": point.label, "fault": point.fault,
                    "seconds": point.seconds, "group": point.group, "flights": job.flights, "seed": job.seed,
                    "duration_s": job.duration_s, "airframe": job.airframe, "spread": case.spread,
                    "wind_m_s": case.wind, "imu_hz": case.imu_hz, "flow_hz": case.flow_hz,
                }  # fmt: skip
                cells.append(kept.cell(marks, partial(_flown, job, point.label, pool, progress)))
                progress.advance(whole)
    return cells


def _flown(job: Job, label: str, pool: FlightPool, progress: Progress) -> dict[str, Any]:
    task = progress.add_task(label, total=job.flights)
    outcomes = pool.each(fly_to_the_end, job, job.flights, lambda: progress.advance(task))
    progress.remove_task(task)
    return figures_of(outcomes)


HEADER: Final = ("fault", "up (%)", "landed (%)", "crashed (%)", "speed error (m/s)", "p90", "height (m)")


def texts(cell: dict[str, Any]) -> list[str]:
    """A row of the table."""
    shares = [f"{100.0 * cell[f'{name}_rate']:.1f}" for name in ("up", "landed", "crashed")]
    errors = [number(cell[key]) for key in ("speed_error_median_m_s", "speed_error_p90_m_s", "height_error_median_m")]
    return [str(cell["label"]), *shares, *errors]


def present(cells: Sequence[dict[str, Any]], folder: Path) -> list[Path]:
    """Print a table a policy; write faults.md and faults.png."""
    parts = []
    for policy in dict.fromkeys(cell["policy"] for cell in cells):
        own = [cell for cell in cells if cell["policy"] == policy]
        first = own[0]
        told = (
            f"{policy}: PyBullet, {first['flights']} flights a row, faults {START_S:g} s after the release, IMU "
            f"{first['imu_hz']} Hz, flow {first['flow_hz']:g} Hz, airframe drawn within {first['spread']:.0%}, seed "
            f"{first['seed']}"
        )
        rows = [texts(cell) for cell in own]
        OUT.print(rich_table(told, HEADER, rows))
        lines = [list(HEADER), ["---", *["---:"] * (len(HEADER) - 1)], *rows]
        parts.append(f"{told}.\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")
    text = folder / "faults.md"
    text.write_text("\n".join(parts), encoding="utf-8")
    return [folder / "faults.json", text, draw_faults(cells, folder / "faults.png")]
