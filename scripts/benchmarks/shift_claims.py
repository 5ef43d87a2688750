"""What the shift table says about two claims: robust under distribution shift, and what curriculum and rates bring.

Two figures of a model are told apart where they differ by more than two standard errors of their difference over seeds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

from policies.validation import FAILED_FLIGHT_M_S
from scripts.benchmarks.shift_worlds import GROUPS, USUAL

LIQUID: Final = ("decay", "CfC, published")
RIVALS: Final = ("LSTM", "GRU")
TOLD_APART: Final = 2.0  # standard errors
RULE: Final = (
    "Rule: of each seed the loss of success (points) and the growth of the median speed error (geometric mean of the "
    "ratios to the usual world; an error that does not exist, because half of the flights failed, counts as "
    f"{FAILED_FLIGHT_M_S:g} m/s), over all worlds beyond the training. A model is more robust than another where one "
    f"of the two is smaller by more than {TOLD_APART:g} standard errors of the difference and the other is not larger "
    "by as much. The claim holds for a liquid model that is more robust than LSTM and than GRU."
)

Row = Mapping[str, Any]


def cells_of(row: Row, group: str = "") -> list[Row]:
    """Cells beyond the training, of a group or of all."""
    return [cell for cell in row["cells"] if cell["beyond"] and group in ("", cell["group"])]


def usual(row: Row) -> Row:
    """The cell of the unshifted world."""
    found: Row = next(cell for cell in row["cells"] if cell["world"] == USUAL)
    return found


def success_points(cells: Sequence[Row]) -> list[float]:
    """Mean success in percent over the cells, of each seed."""
    seeds = zip(*(cell["seeds"] for cell in cells), strict=True)
    return [100.0 * statistics.fmean(one["success_rate"] for one in of_seed) for of_seed in seeds]


def error_m_s(cells: Sequence[Row]) -> list[float]:
    """Geometric mean of the median speed errors over the cells, of each seed."""
    seeds = zip(*(cell["seeds"] for cell in cells), strict=True)
    return [statistics.geometric_mean(map(_error, of_seed)) for of_seed in seeds]


def _error(cell: Row) -> float:
    error = cell["speed_error_median_m_s"]
    return FAILED_FLIGHT_M_S if error is None else float(error)


def loss_points(row: Row, cells: Sequence[Row]) -> list[float]:
    """Points of success that each seed loses between the usual world and the cells."""
    return [a - b for a, b in zip(success_points([usual(row)]), success_points(cells), strict=True)]


def growth(row: Row, cells: Sequence[Row]) -> list[float]:
    """Ratio of each seed's error in the cells to that in the usual world."""
    return [b / a for a, b in zip(error_m_s([usual(row)]), error_m_s(cells), strict=True)]


def compare(ours: Sequence[float], theirs: Sequence[float]) -> int:
    """-1 where ours are smaller than theirs, 1 where larger, 0 where they are not told apart; so are single seeds."""
    if min(len(ours), len(theirs)) < 2:
        return 0
    difference = statistics.fmean(ours) - statistics.fmean(theirs)
    error = math.sqrt(statistics.variance(ours) / len(ours) + statistics.variance(theirs) / len(theirs))
    return 0 if abs(difference) <= TOLD_APART * error else (1 if difference > 0.0 else -1)


def better(ours: Sequence[int]) -> str:
    """Of comparisons in which smaller is better: better, worse, alike, or mixed."""
    found = {sign for sign in ours if sign}
    if not found:
        return "alike"
    return "mixed" if len(found) > 1 else ("better" if -1 in found else "worse")


def pm(values: Sequence[float], digits: int) -> str:
    """A mean with its deviation over seeds, as 1.23 ± 0.04."""
    mean = f"{round(statistics.fmean(values), digits) + 0.0:.{digits}f}"  # no -0.0
    return mean if len(values) < 2 else f"{mean} ± {statistics.stdev(values):.{digits}f}"


def claims(table: Mapping[str, Any]) -> list[str]:
    """One line a statement, with its figures; of models that the table has not there is none."""
    rows = {row["model"]: row for row in table["rows"]}
    rivals = [rows[name] for name in RIVALS if name in rows]
    lines = []
    for name in LIQUID:
        if name in rows and rivals and cells_of(rows[name]):
            lines += [_robust(rows[name], rivals), _level(rows[name], rivals)]
    return lines + [_part(row, rows[row["against"]]) for row in rows.values() if row["against"] in rows]


def _held(held: bool) -> str:
    return "**holds**" if held else "**does not hold**"


def _flies(row: Row) -> bool:
    """Whether it has a speed error in the usual world: half of the flights stay up, whatever the seed."""
    return usual(row)["speed_error_mean_m_s"] is not None


def _home_points(row: Row) -> str:
    return pm(success_points([usual(row)]), 1)


def _robust(row: Row, rivals: Sequence[Row]) -> str:
    if not _flies(row):
        return (
            f"Robust under distribution shift, {row['model']}: {_held(False)}; it does not fly in the usual world "
            f"either ({_home_points(row)} % up)."
        )
    ours = loss_points(row, cells_of(row)), growth(row, cells_of(row))
    told, verdicts = [], []
    for rival in rivals:
        theirs = loss_points(rival, cells_of(rival)), growth(rival, cells_of(rival))
        verdicts.append(better([compare(a, b) for a, b in zip(ours, theirs, strict=True)]))
        words = {"better": "more robust than", "worse": "less robust than", "alike": "not told apart from"}
        relation = words.get(verdicts[-1], "better in one and worse in the other than")
        fallen = "" if _flies(rival) else f"; but it keeps no more than {_home_points(rival)} % up in the usual world"
        told.append(f"{relation} {rival['model']} (loses {pm(theirs[0], 1)} points, error x{pm(theirs[1], 2)}{fallen})")
    return (
        f"Robust under distribution shift, {row['model']}: {_held(set(verdicts) == {'better'})}; "
        f"loses {pm(ours[0], 1)} points, error x{pm(ours[1], 2)}: {', '.join(told)}."
    )


def _level(row: Row, rivals: Sequence[Row]) -> str:
    def figures(of: Row) -> tuple[list[float], list[float]]:
        return success_points(cells_of(of)), error_m_s(cells_of(of))

    ours, told = figures(row), []
    for rival in rivals:
        theirs = figures(rival)
        signs = [-compare(ours[0], theirs[0]), compare(ours[1], theirs[1])]
        told.append(f"{better(signs)} than {rival['model']} ({pm(theirs[0], 1)} %, {pm(theirs[1], 3)} m/s)")
    told = [text.replace("alike than", "not told apart from").replace("mixed than", "mixed beside") for text in told]
    return (
        f"In absolute figures, over the same worlds, {row['model']} has {pm(ours[0], 1)} % up and "
        f"{pm(ours[1], 3)} m/s: {', '.join(told)}."
    )


def _part(row: Row, other: Row) -> str:
    """An arm of the ablation beside the one from which it differs, over all worlds."""
    having, lacking = (other, row) if row["without"] else (row, other)
    ours, theirs = ((success_points(one["cells"]), error_m_s(one["cells"])) for one in (having, lacking))
    verdict = better([-compare(ours[0], theirs[0]), compare(ours[1], theirs[1])])
    at_home = " against ".join(f"{pm(error_m_s([usual(one)]), 3)}" for one in (having, lacking))
    return (
        f"Better with {row['part']}: {_held(verdict == 'better')} ({verdict}); over all worlds {pm(ours[0], 1)} % up "
        f"and {pm(ours[1], 3)} m/s with ({having['model']}), {pm(theirs[0], 1)} % and {pm(theirs[1], 3)} m/s without "
        f"({lacking['model']}); in the usual world {at_home} m/s."
    )


def losses(row: Row) -> dict[str, tuple[str, str]]:
    """(points lost, growth of the error) by group of worlds beyond the training, and over all.

    A model that does not fly in the usual world has nothing to lose there: dashes.
    """
    found, flies = {}, _flies(row)
    for group in (*GROUPS, ""):
        cells = cells_of(row, group)
        if cells:
            figures = pm(loss_points(row, cells), 1), f"x{pm(growth(row, cells), 2)}"
            found[group or "all beyond"] = figures if flies else ("-", "-")
    return found
