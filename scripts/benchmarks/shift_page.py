"""The shift table at the terminal, as markdown, and drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from scripts.benchmarks.shift_claims import RULE, claims, losses, usual
from scripts.benchmarks.shift_command import Shift
from scripts.benchmarks.table import texts
from scripts.console import OUT
from scripts.files import write_json
from scripts.pictures.shift import draw_shift
from scripts.tables import markdown_table, rich_table
from scripts.tables import number as number_text

Row = Mapping[str, Any]

_HEAD: Final = """# Trained in one world, flown in others

Written by `{command}`. Two statements that are made for liquid networks
are put to the test: that they are robust where the world is not that of their training, and that a curriculum and a
hierarchy of fast and slow layers make them better. Verdicts come from the figures by the rule below them; nobody words
them by hand.

- The models have equal parameters, the same observation with the elapsed time in it, the same training, and six tuning
  trials each on a seed that is not reported. The MLP has no memory and should lose. The geometric controller is told
  the true state and should win; it flies in PyBullet alone.
- Worlds, the usual one aside: drones drawn within 40 % of nominal mass, inertia, thrust and drag, not 20 % (some of
  them weigh more than they lift); the 250-class racer, with the rate loop made for it; mean wind of 2 and 3 m/s,
  trained to 1.3; texture 0.2 to 0.4, trained from 0.6 on; twice the noise of all sensors; 30 % and 60 % of the flow
  samples lost, trained to 40 %; IMU and flow at other rates, which the wide training draws too and the narrow one
  (`--training narrow`: IMU 50 to 100 Hz) does not; and all of it together, with 2 m/s and 30 %.
- Fast and slow layers are read as in the claim's own words: neurons that run at the rate of the IMU, and neurons that
  run at the rate of the flow. In the wired circuit of 9 inter, 6 command and 4 motor neurons the command neurons
  advance when new flow has come, by the time since they last did, and are held in between (`wiring.multi_rate`); beside
  it the same synapses with all layers at the rate of the IMU. Time constants that start log-uniform from 0.02 to 3 s
  are a hierarchy of the same kind within one layer; their row starts all neurons at 0.24 s.
- Without the curriculum, horizon and disturbances are those of the end from the first update on; its updates thus take
  longer, and are as many.

![Success and speed error in every world]({picture})
"""
_TAIL: Final = """
## What this does not show

Real drones. Seeds differ in weights, flights and noise of the training, not in the tuning, which is one seed's. Two
standard errors are passed by chance in one of twenty comparisons. Networks with slow layers cannot be exported: no
policy file states them.
"""


def lines_of(rows: Sequence[Row]) -> list[list[str]]:
    """Header and a line a world: success, loss to the usual world, error, its ratio to the usual one."""
    lines = [["world", *(row["model"] for row in rows)]]
    for number, cell in enumerate(rows[0]["cells"]):
        mark = "" if cell["beyond"] else " *"
        lines.append([f"{cell['world']}{mark}", *("<br>".join(told(row, row["cells"][number])) for row in rows)])
    return lines


def told(row: Row, cell: Row) -> tuple[str, str]:
    """(success in percent, speed error in m/s) of a cell, each with its change from the usual world in brackets."""
    home, (success, error) = usual(row), texts(dict(cell))
    if cell is home:
        return success, error
    change = round(100.0 * (cell["success_mean"] - home["success_mean"]), 1) + 0.0  # no -0.0
    means = (cell["speed_error_mean_m_s"], home["speed_error_mean_m_s"])
    ratio = "" if None in means else f" (x{means[0] / means[1]:.2f})"
    return f"{success} ({change:+.1f})", error + ratio


def short_lines(rows: Sequence[Row]) -> list[list[str]]:
    """Header and a line a world, of means alone, narrow enough for a terminal."""
    lines = [["what", *(row["model"].replace(", ", "\n") for row in rows)]]
    for number, cell in enumerate(rows[0]["cells"]):
        cells = [row["cells"][number] for row in rows]
        means = [f"{100.0 * one['success_mean']:.1f} / {number_text(one['speed_error_mean_m_s'])}" for one in cells]
        lines.append([str(cell["world"]), *means])
    return lines


def loss_lines(rows: Sequence[Row]) -> list[list[str]]:
    """Header and a line a model: points lost and growth of the error, by group of worlds beyond the training."""
    groups = list(losses(rows[0]))
    found = [(row["model"], losses(row)) for row in rows]
    return [["model", *groups], *([name, *("<br>".join(own[group]) for group in groups)] for name, own in found)]


def size_lines(rows: Sequence[Row]) -> list[list[str]]:
    """Header and a line an arm: sizes, what tuning chose, how it was trained."""
    lines = [["model", "training", "neurons", "parameters", "bytes", "learning rate", "time unit (ms)"]]
    for row in rows:
        unit = "-" if row["time_unit_s"] is None else f"{1000.0 * row['time_unit_s']:g}"
        sizes = [str(row["neurons"]), f"{row['parameters']:,}", f"{row['bytes']:,}"]
        lines.append([row["model"], row["training"], *sizes, f"{row['learning_rate']:g}", unit])
    return lines


def command(table: Row, page_md: Path) -> str:
    """The command that makes the table, and the page in its folder."""
    usual_options = Shift()
    names = ("seeds", "updates", "trial_updates", "batch", "flights", "training", "pybullet_flights")
    words = [(name, table[name]) for name in names if table[name] != getattr(usual_options, name)]
    given = [f"--{name.replace('_', '-')} {value}" for name, value in words]
    ablation = [] if any(not row["race"] for row in table["rows"]) else ["--no-ablation"]
    return " ".join(["python -m scripts.benchmark shift", *given, *ablation, f"--page {page_md}"])


def facts(table: Row) -> str:
    """What was trained and flown, in a sentence or two."""
    return (
        f"{table['seeds']} seed{'s' if table['seeds'] > 1 else ''} a model, {table['updates']:,} updates of "
        f"{table['batch']} drones each, training {table['training']} where nothing else is said; learning rate and "
        f"time unit from {len(table['rows'][0]['trials'])} trials of {table['trial_updates']:,} updates on another "
        f"seed; {table['flights']:,} flights of 15 s a cell and seed in the compiled engine, the same for everybody."
    )


def markdown(table: Row) -> str:
    """The whole table."""
    race = [row for row in table["rows"] if row["race"]]
    parts = [*(f"- {line}" for line in claims(table)), "", RULE, "", facts(table), ""]
    parts += [
        "Mean ± sd over seeds of the flights still up (%; in brackets the change from the usual world) and, below, of "
        "the median horizontal speed error (m/s; in brackets its ratio to that of the usual world; lost: half of the "
        "flights or more failed). *: inside what was trained; it counts in no loss.",
        "",
    ]
    for rows in (race, [row for row in table["rows"] if not row["race"]]):
        if rows:
            parts += [markdown_table(lines_of(rows)), ""]
    if race and losses(race[0]):
        said = (
            "Points of success lost and growth of the error, over the worlds beyond the training, by what is shifted:"
        )
        parts += [said, "", markdown_table(loss_lines(table["rows"])), ""]
    parts += [markdown_table(size_lines(table["rows"])), ""]
    if table["pybullet_flights"]:
        parts += [
            f"The first seed of each in PyBullet, through the onboard controller, {table['pybullet_flights']} flights "
            "a cell: still up (%), median speed error (m/s). Geometric: told the true state.",
            "",
            markdown_table(_pybullet_lines(race, table["geometric"])),
            "",
        ]
    return "\n".join(parts)


def _pybullet_lines(rows: Sequence[Row], geometric: Sequence[Row]) -> list[list[str]]:
    lines = [["model", *(cell["world"] for cell in geometric)]]
    flown = [(row["model"], row["pybullet"]) for row in rows if row["pybullet"]]
    for name, cells in [*flown, ("geometric", geometric)]:
        errors = [cell["speed_error_median_m_s"] for cell in cells]
        shown = ["lost" if error is None else f"{error:.3f}" for error in errors]
        shares = [f"{100.0 * cell['success_rate']:.1f}" for cell in cells]
        lines.append([name, *(f"{share}<br>{error}" for share, error in zip(shares, shown, strict=True))])
    return lines


def present(table: Row, folder: Path, page_md: Path | None = None) -> list[Path]:
    """Print the table and its verdicts; write shift.json, shift.md, shift.png and, where asked, a page of docs."""
    for race, title in ((True, "models"), (False, "decay in parts")):
        rows = [row for row in table["rows"] if row["race"] == race]
        if rows:
            head, *body = short_lines(rows)
            OUT.print(rich_table(f"{title}: flights still up (%) and median speed error (m/s), means", head, body))
    OUT.print(facts(table), highlight=False)
    for line in claims(table):
        OUT.print(f"- {line}", highlight=False)
    for row in table["rows"]:
        for one in row["runs"]:
            if one["trouble"]:
                OUT.print(f"{row['model']}, seed {one['seed']}: {one['trouble']}", highlight=False)
    write_json(folder / "shift.json", table)
    text = folder / "shift.md"
    text.write_text(markdown(table), encoding="utf-8")
    files = [folder / "shift.json", text, draw_shift(table, folder / "shift.png")]
    if page_md is not None:
        picture = draw_shift(table, page_md.with_suffix(".png"))
        intro = _HEAD.format(picture=picture.name, command=command(table, page_md))
        page_md.write_text(f"{intro}\n{markdown(table)}{_TAIL}", encoding="utf-8")
        files += [page_md, picture]
    return files
