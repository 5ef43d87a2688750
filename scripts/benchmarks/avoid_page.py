"""The forest table at the terminal, as markdown, and drawn."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from scripts.benchmarks.avoid_readout import NAMES
from scripts.console import OUT
from scripts.files import write_json
from scripts.pictures.avoid_table import draw_table
from scripts.tables import markdown_table, rich_table

Row = Mapping[str, Any]

_HEAD: Final = """# {title}

Written by `python -m scripts.benchmark avoid {options} --page PAGE`: {who}, flown through forests that none has
seen. A flight succeeds where 30 m are crossed in time without coming nearer than 0.12 m
to anything. "Trees not shown": the trees stand there and the grid does not show them. Where there is no way through,
those count that touch nothing and stay before the wall.{more}

![Success against speed]({picture})
"""
_RIVALS: Final = (
    "models of equal parameters behind the same encoder of a forward flow grid of 32 x 5 rays, each with six tuning "
    "trials on a seed that is not reported"
)
_LOSERS: Final = " The blind model was trained without any grid, the MLP has no memory; both should lose."
_GIVEN: Final = "policies that are seeds of one training"


def text_of(cell: Row) -> str:
    """Success in percent with its deviation, and the mean speed of the crossings; before a wall, who stopped."""
    if cell["walled"]:
        sd = "" if cell["stopped_sd"] is None else f" ± {100.0 * cell['stopped_sd']:.1f}"
        return f"{100.0 * cell['stopped_mean']:.1f}{sd} stopped"
    sd = "" if cell["success_sd"] is None else f" ± {100.0 * cell['success_sd']:.1f}"
    speed = "-" if cell["crossing_mean_m_s"] is None else f"{cell['crossing_mean_m_s']:.2f}"
    return f"{100.0 * cell['success_mean']:.1f}{sd} / {speed}"


def lines_of(rows: Sequence[Row]) -> list[list[str]]:
    """Header and a line a cell: success and crossing speed of every model that flew it."""
    labels = list(dict.fromkeys(cell["cell"] for row in rows for cell in row["cells"]))
    lines = [["crossing at", *(row["model"] for row in rows)]]
    for label in labels:
        flown = [next((cell for cell in row["cells"] if cell["cell"] == label), None) for row in rows]
        lines.append([label, *("" if cell is None else text_of(cell) for cell in flown)])
    return lines


def ahead_lines(rows: Sequence[Row]) -> list[list[str]]:
    """Header and a line for each model, quantity and time ahead: errors of the reading and of what is beside it."""
    lines = [["model", "what", "ahead (s)", "read from neurons", "now, read and held", "persistence", "mean"]]
    for row in rows:
        for name in NAMES if row["ahead"] else ():
            for ahead_s in row["ahead"][0]:
                means = [
                    statistics.fmean(seed[ahead_s][name][who] for seed in row["ahead"])
                    for who in ("neurons", "held", "persistence", "mean")
                ]
                lines.append([row["model"], name, ahead_s, *(f"{mean:.3f}" for mean in means)])
    return lines


def size_lines(rows: Sequence[Row]) -> list[list[str]]:
    """Header and a line a model: sizes, what tuning chose, and how long training took."""
    lines = [["model", "neurons", "parameters", "of the head", "bytes", "learning rate", "time unit (ms)", "minutes"]]
    for row in rows:
        unit = "-" if row["time_unit_s"] is None else f"{1000.0 * row['time_unit_s']:g}"
        sizes = [str(row["neurons"]), f"{row['parameters']:,}", f"{row['head_parameters']:,}", f"{row['bytes']:,}"]
        minutes = f"{statistics.fmean(row['minutes']):.1f}"
        lines.append([row["model"], *sizes, f"{row['learning_rate']:g}", unit, minutes])
    return lines


def _head(table: Row, picture: Path) -> str:
    tried = table["trial_updates"]
    options = f"--updates {table['updates']} --trial-updates {tried}" if tried else "--policies POLICY ..."
    title, who, more = ("Who crosses forests", _RIVALS, _LOSERS) if tried else ("How avoid crosses forests", _GIVEN, "")
    return _HEAD.format(title=title, options=options, who=who, more=more, picture=picture.name)


def facts(table: Row) -> str:
    """What was trained and flown, in a sentence."""
    tried = table["trial_updates"]
    tuned = f"learning rate and time unit from trials of {tried:,} updates; " if tried else ""
    return (
        f"{table['seeds']} seed{'s' if table['seeds'] > 1 else ''} a model, {table['updates']:,} updates of "
        f"{table['batch']} drones each; {tuned}"
        f"{table['flights']:,} crossings a cell and seed in the compiled engine, the same for everybody: a tree on "
        "each 10 m² where nothing else is said, IMU 100 Hz, grids at 20 to 30 Hz, drones within 20 % of nominal, wind "
        "to 1 m/s."
    )


def markdown(table: Row) -> str:
    """The whole table."""
    rows = table["rows"]
    parts = [facts(table), "", "Success (%), mean ± standard deviation over seeds / mean speed of crossings (m/s):", ""]
    parts += [markdown_table(lines_of(rows)), "", "## Sizes", "", markdown_table(size_lines(rows)), ""]
    if any(row["ahead"] for row in rows):
        parts += [
            "## What the neurons tell of what comes",
            "",
            "Root mean square errors of speed (m/s) and of clearance to the nearest trunk (m, cut to 3) some time "
            "ahead: read by a linear map from the neurons alone, fitted on other flights; the same reading of how it "
            "is now, held; persistence, which is told the truth of now; the mean.",
            "",
            markdown_table(ahead_lines(rows)),
            "",
        ]
    return "\n".join(parts)


def present(table: Row, folder: Path, page: Path | None = None) -> list[Path]:
    """Print, write avoid.json, avoid.md and avoid.png and, where asked, a page of docs with its picture beside it."""
    lines = lines_of(table["rows"])
    OUT.print(facts(table))
    OUT.print(rich_table("success (%) / crossing speed (m/s)", lines[0], lines[1:]))
    ahead = ahead_lines(table["rows"])
    if len(ahead) > 1:
        OUT.print(rich_table("errors of what is read ahead", ahead[0], ahead[1:]))
    write_json(folder / "avoid.json", dict(table))
    files = [folder / "avoid.json", draw_table(table, folder / "avoid.png")]
    (folder / "avoid.md").write_text(markdown(table), encoding="utf-8")
    files.append(folder / "avoid.md")
    if page is not None:
        picture = draw_table(table, page.with_suffix(".png"))
        page.write_text(_head(table, picture) + "\n" + markdown(table), encoding="utf-8")
        files += [page, picture]
    return files
