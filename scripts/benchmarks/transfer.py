"""The same flights in this project's world and in gym-pybullet-drones: what a policy loses in a world of others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from envs.scoring import FlightScore
from liquid_pilot.bundle import load_bundle
from scripts.benchmarks.cell_file import CellFile
from scripts.case import Case
from scripts.console import OUT, progress_bar
from scripts.evaluation import figures, policy_sha256
from scripts.flying import AVIARY_SIM, OWN_SIM, FlightPool, Job, score_one
from scripts.tables import cells, places, rich_table, short_names
from scripts.workers.options import Workers

WORLDS: Final = (OWN_SIM, AVIARY_SIM)
COLUMNS: Final = ("policy", "world", "flown well", "median error", "p90", "height error (m)", "failed")
BLOCK: Final = 20  # flights of a cell: theirs takes seconds for each, and an interruption loses no more than these


@dataclass(frozen=True, slots=True)
class Block:
    """Flights of a job from `begin` on."""

    job: Job
    begin: int


def case_of(policy: str, track_m_s: float, flights: int, seed: int) -> Case:
    """A policy's own task, under the usual conditions. Raises `LiquidPilotError` for what is no policy."""
    return Case(policy, task=load_bundle(policy).task, track_m_s=track_m_s, flights=flights, seed=seed)


def compare(cases: Sequence[Case], folder: Path, workers: Workers) -> list[dict[str, Any]]:
    """Fly every case in both worlds, a block here and the same there; a row for each case and world, ready for JSON.

    Finished blocks of transfer.json are kept, also those of a run of fewer flights. Raises `MissingExtraError` without
    gym-pybullet-drones, before any flight.
    """
    pairs = [[replace(case, sim=world) for world in WORLDS] for case in cases]
    for case in (case for pair in pairs for case in pair):
        case.check()
    kept, rows = CellFile(folder / "transfer.json"), list[dict[str, Any]]()
    with FlightPool(workers) as pool, progress_bar() as progress:
        whole = progress.add_task("flights", total=len(WORLDS) * sum(case.count for case in cases))
        for pair in pairs:
            scores: list[list[FlightScore]] = [[] for _ in pair]
            for begin in range(0, pair[0].count, BLOCK):
                count = min(BLOCK, pair[0].count - begin)
                for case, own in zip(pair, scores, strict=True):
                    marks = _marks(case) | {"begin": begin, "count": count}
                    cell = kept.cell(marks, partial(_fly, case, begin, count, pool))
                    own += [_score(*flown) for flown in cell["scores"]]
                    progress.advance(whole, count)
            both = [all(score.success for score in flown) for flown in zip(*scores, strict=True)].count(True)
            for case, own in zip(pair, scores, strict=True):
                told = {"policy": case.policy, "task": case.task, "world": case.sim, "seed": case.seed}
                alone = sum(score.success for score in own) - both
                rows.append(told | figures(own) | {"flown_in_this_world_alone": alone})
    return rows


def _marks(case: Case) -> dict[str, Any]:
    """All that a block of a case depends on, as JSON has it; its flights are the same in a case of more of them."""
    told = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(case).items()}
    del told["flights"]
    return told | {"policy_sha256": policy_sha256(case.policy)}


def _fly(case: Case, begin: int, count: int, pool: FlightPool) -> dict[str, Any]:
    scores = pool.each(_score_of, Block(case.job(), begin), count)
    return {"scores": [_told(score) for score in scores]}


def _score_of(block: Block, index: int) -> FlightScore:
    return score_one(block.job, block.begin + index)


def _told(score: FlightScore) -> list[Any]:
    """As JSON has it: what is infinite or no number is None."""
    errors = (score.speed_error_m_s, score.height_error_m)
    finite = [error if math.isfinite(error) else None for error in errors]
    return [
        score.reason,
        score.places,
        *finite,
        score.place_error_m if score.places and score.success else None,
        score.touchdown_m_s,
    ]


def _score(
    reason: str,
    places: bool,
    speed_m_s: float | None,
    height_m: float | None,
    place_m: float | None,
    touchdown_m_s: float,
) -> FlightScore:
    speed, height, place = (math.inf if error is None else error for error in (speed_m_s, height_m, place_m))
    return FlightScore(not reason, reason, speed, height, place if places else math.nan, touchdown_m_s)


def apart(own: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[float, float | None]:
    """What their world changes: share of flights flown well; median error, of speed or place, as a share of ours."""
    key = "place_error_median_m" if places(own) else "speed_error_median_m_s"
    before, after = own[key], theirs[key]
    error = None if before is None or after is None else after / before - 1.0
    return theirs["success_rate"] - own["success_rate"], error


def body_of(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """A line for each row, and one for what is between both worlds of a policy: shares of flights, and of the error.

    Errors of speed are in m/s, those of places, which say so, in m. Between both, `failed` are flights in one alone.
    """
    names, body = short_names(str(row["policy"]) for row in rows), list[list[str]]()
    for own, theirs in zip(rows[::2], rows[1::2], strict=True):
        body += [_line(names[row["policy"]], row) for row in (own, theirs)]
        flown, error = apart(own, theirs)
        lost, won = (row["flown_in_this_world_alone"] for row in (own, theirs))
        alone = f"{lost} there alone, {won} here alone"
        body.append([names[own["policy"]], "between", f"{flown:+.1%}", _share(error), "", "", alone])
    return body


def _line(name: str, row: Mapping[str, Any]) -> list[str]:
    _, flown, median, p90, height, failed = cells(row)
    unit = " m" * places(row)
    return [name, row["world"], flown, median + unit, p90 + unit, height, failed]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:+.1%}"


def present(rows: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Print the table; write transfer.md."""
    title = (
        f"The same {rows[0]['flights']} flights in two worlds, each policy in its own task; IMU 100 Hz, flow 40 Hz, "
        f"wind to 1 m/s, drones that differ; seed {rows[0]['seed']}; errors of speed in m/s, of places in m"
    )
    body = body_of(rows)
    OUT.print(rich_table(title, COLUMNS, body))
    lines = [[*COLUMNS], ["---"] * 2 + ["---:"] * 4 + ["---"], *body]
    text = folder / "transfer.md"
    text.write_text(title + ".\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n", encoding="utf-8")
    return [folder / "transfer.json", text]
