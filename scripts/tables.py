"""Scores as text: one formatting for the terminal and for the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from envs.track import PLACE_HZ, PLACE_LOST

HEADER: Final = (
    "flights", "still up", "median speed error (m/s)", "p90 speed error (m/s)", "median height error (m)", "failures",
)  # fmt: skip
NARROW_HEADER: Final = ("flights", "still\nup", "speed error\nmedian", "(m/s)\np90", "height\n(m)", "failures")
# The same of a goal that is a place.
PLACE_HEADER: Final = (
    "flights", "still up", "median distance (m)", "p90 distance (m)", "median height error (m)", "failures",
)  # fmt: skip
# The same of crossings.
CROSSING_HEADER: Final = ("flights", "crossed", "mean crossing (m/s)", "median height error (m)", "failures")
NARROW_CROSSING_HEADER: Final = ("flights", "crossed", "crossing\n(m/s)", "height\n(m)", "failures")
NARROW_PLACE_HEADER: Final = ("flights", "still\nup", "distance\nmedian", "(m)\np90", "height\n(m)", "failures")
_TEXT: Final = ("policy", "conditions", "failures", "what")


def number(value: float | None, digits: int = 3) -> str:
    """A figure; a dash where too many flights failed for it to exist."""
    return "-" if value is None else f"{value:.{digits}f}"


def markdown_table(lines: Sequence[Sequence[str]]) -> str:
    """Header and lines as Markdown: words to the left, figures to the right."""
    ruler = ["---", *["---:"] * (len(lines[0]) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], ruler, *lines[1:]))


def short_name(policy: str) -> str:
    """A policy as a table or a picture names it: a file by its folder, since most are called policy."""
    if not policy.endswith(".safetensors"):
        return policy
    path = Path(policy)
    return path.parent.name if path.stem == "policy" and path.parent.name else path.stem


def short_names(policies: Iterable[str]) -> dict[str, str]:
    """`short_name` of each policy, or all of it where two would get the same."""
    names = {policy: short_name(policy) for policy in policies}
    taken = Counter(names.values())
    return {policy: name if taken[name] == 1 else policy for policy, name in names.items()}


def failures(row: Mapping[str, Any]) -> str:
    """Why flights failed, as `3 ground, 1 tilt`."""
    reasons = [(key.removeprefix("failed_").replace("_", " "), row[key]) for key in row if key.startswith("failed_")]
    return ", ".join(f"{count} {reason}" for reason, count in reasons) or "none"


def places(row: Mapping[str, Any]) -> bool:
    """Whether the goal was a place."""
    return "place_error_median_m" in row


def crosses(row: Mapping[str, Any]) -> bool:
    """Whether there was a forest to cross."""
    return "density_per_m2" in row


def cells(row: Mapping[str, Any]) -> list[str]:
    """The figures of an evaluation, in the order of `HEADER`.

    Of `PLACE_HEADER` where the goal was a place, of `CROSSING_HEADER` where there was a forest to cross.
    """
    if crosses(row):
        speed, height = row.get("crossing_mean_m_s"), row["height_error_median_m"]
        return [str(row["flights"]), f"{row['success_rate']:.1%}", number(speed, 2), number(height), failures(row)]
    error, unit = ("place_error", "m") if places(row) else ("speed_error", "m_s")
    return [
        str(row["flights"]),
        f"{row['success_rate']:.1%}",
        number(row[f"{error}_median_{unit}"]),
        number(row[f"{error}_p90_{unit}"]),
        number(row["height_error_median_m"]),
        failures(row),
    ]


def _parts(row: Mapping[str, Any]) -> tuple[str, ...]:
    """The conditions of an evaluation, one text for each sensor or disturbance."""
    imu = row["imu_hz"] if isinstance(row["imu_hz"], str) else f"{row['imu_hz']:g} Hz"
    if places(row):
        return (f"IMU {imu}", f"places {PLACE_HZ[0]:g} to {PLACE_HZ[1]:g} Hz, {PLACE_LOST[0]:.0%} lost", row["faults"])
    crossing: tuple[str, ...] = ()
    if crosses(row):
        grid, lost = row["grid_hz"], row["grid_dropout"]
        crossing = (
            f"{row['speed_m_s']:g} m/s",
            f"{row['density_per_m2']:g} {row['obstacles']}/m^2",
            "" if row["size"] == 1.0 else f"{row['size']:g} times as thick",
            "no way through" if row["walled"] else "",
            "" if row["flow"] == "analytic" else f"flow by {row['flow']}",
            f"grid {grid if isinstance(grid, str) else f'{grid:g}'} Hz",
            f"{lost:.0%} of grids lost" if lost else "",
        )
    return (
        *crossing,
        f"IMU {imu}",
        f"flow {row['flow_hz']:g} Hz",
        *(f"{row[f'{s}_dropout']:.0%} of {s} lost" if row[f"{s}_dropout"] else "" for s in ("flow", "range")),
        str(row["faults"]),
    )


def condition(row: Mapping[str, Any]) -> str:
    """The conditions of an evaluation in a few words."""
    return ", ".join(part for part in _parts(row) if part)


def rich_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """A table for the terminal: words to the left, figures to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", padding=(0, 1), show_lines=False)
    for name in header:
        words = name in _TEXT
        table.add_column(name, justify="left" if words else "right", no_wrap=not words, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def score_table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """Policies and conditions with their scores; what all rows share goes into the title, to save width."""
    parts = [_parts(row) for row in rows]
    differs = [len(set(column)) > 1 for column in zip(*parts, strict=True)]
    shared = [part for part, other in zip(parts[0], differs, strict=True) if part and not other]
    flights = {row["flights"] for row in rows}
    if len(flights) == 1:
        shared.append(f"{flights.pop()} flights a row")
    names = short_names(str(row["policy"]) for row in rows)
    narrow = NARROW_CROSSING_HEADER if crosses(rows[0]) else NARROW_PLACE_HEADER if places(rows[0]) else NARROW_HEADER
    header = ["policy", "conditions", *narrow]
    body = [
        [
            names[str(row["policy"])],
            ", ".join(part for part, other in zip(own, differs, strict=True) if part and other),
            *cells(row),
        ]
        for row, own in zip(rows, parts, strict=True)
    ]
    dropped = ([] if any(differs) else [1]) + ([2] if not flights else [])
    kept = [i for i in range(len(header)) if i not in dropped]
    full_title = "; ".join([title, ", ".join(shared)]) if shared else title
    return rich_table(full_title, [header[i] for i in kept], [[row[i] for i in kept] for row in body])
