"""Scores as text: one formatting for the terminal and for the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rich.table import Table

HEADER: Final = (
    "flights", "still up", "median speed error (m/s)", "p90 speed error (m/s)", "median height error (m)", "failures",
)  # fmt: skip
_NARROW: Final = ("flights", "still\nup", "speed error\nmedian", "(m/s)\np90", "height\n(m)", "failures")
_TEXT: Final = ("policy", "conditions", "failures", "what")


def number(value: float | None, digits: int = 3) -> str:
    """A figure; a dash where too many flights failed for it to exist."""
    return "-" if value is None else f"{value:.{digits}f}"


def failures(row: Mapping[str, Any]) -> str:
    """Why flights failed, as `3 ground, 1 tilt`."""
    reasons = [(key.removeprefix("failed_").replace("_", " "), row[key]) for key in row if key.startswith("failed_")]
    return ", ".join(f"{count} {reason}" for reason, count in reasons) or "none"


def cells(row: Mapping[str, Any]) -> list[str]:
    """The figures of an evaluation, in the order of `HEADER`."""
    return [
        str(row["flights"]),
        f"{row['success_rate']:.1%}",
        number(row["speed_error_median_m_s"]),
        number(row["speed_error_p90_m_s"]),
        number(row["height_error_median_m"]),
        failures(row),
    ]


def condition(row: Mapping[str, Any]) -> str:
    """The conditions of an evaluation in a few words."""
    imu = row["imu_hz"]
    text = f"IMU {imu}" if isinstance(imu, str) else f"IMU {imu:g} Hz"
    text += f", flow {row['flow_hz']:g} Hz"
    for sensor in ("flow", "range"):
        if row[f"{sensor}_dropout"]:
            text += f", {row[f'{sensor}_dropout']:.0%} of {sensor} lost"
    return text + (f", {row['faults']}" if row["faults"] else "")


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
    """Policies and conditions with their scores; conditions that all rows share go into the title."""
    shared = len({condition(row) for row in rows}) == 1
    head = (f"{title}; {condition(rows[0])}", ("policy", *_NARROW)) if shared else (title, ("policy", "conditions", *_NARROW))
    body = [[str(row["policy"]), *([] if shared else [condition(row)]), *cells(row)] for row in rows]
    return rich_table(*head, body)
