"""Errors of policies and other controllers at the same tasks, one row each, for a look."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from scripts.pictures.style import GREY, MARKERS, PALETTE, headline, house_style, new_figure, save
from scripts.tables import short_names

PANELS_ACROSS: Final = 4
_ROOM: Final = 1.55  # of the widest error, so that the share of flights has a place beside it


def draw_rivals(cells: Sequence[Mapping[str, Any]], told: Mapping[str, str], path_png: str | Path) -> Path:
    """One panel for each group of cells: `error` (in `unit`) of each policy (a row) at each label (a marker).

    told: what each policy is told, which colours it. Hollow at the edge where half of the flights or more failed.
    """
    groups = list(dict.fromkeys(str(cell["group"]) for cell in cells))
    labels = list(dict.fromkeys(str(cell["label"]) for cell in cells))
    across = min(PANELS_ACROSS, len(groups))
    down = math.ceil(len(groups) / across)
    kinds = list(dict.fromkeys(told.values()))
    colours = {policy: PALETTE[kinds.index(kind) % len(PALETTE)] for policy, kind in told.items()}
    with house_style():
        figure = new_figure(3.4 * across + 1.6, down * (0.42 * len(told) + 1.3) + 1.4)
        grid = figure.subplots(down, across, sharey=True, squeeze=False).ravel()
        for axes, group in zip(grid, groups, strict=False):
            _panel(axes, [cell for cell in cells if cell["group"] == group], labels, colours)
            axes.set_title(group)
        for axes in grid[len(groups) :]:
            axes.axis("off")
        names = short_names(told)
        grid[0].set_yticks(range(len(told)), [names[policy] for policy in told])
        grid[0].invert_yaxis()
        marks = [Line2D([], [], color=PALETTE[kinds.index(kind) % len(PALETTE)], lw=5, label=kind) for kind in kinds]
        for label, marker in zip(labels, MARKERS, strict=False):
            marks.append(Line2D([], [], color=GREY, marker=marker, ls="", label=f"IMU {label} Hz"))
        figure.legend(handles=marks, loc="outside lower center", ncols=4)
        facts = (
            f"{cells[0]['flights']} flights a marker; %: flown well at the worst rate; "
            "hollow at the edge: half of the flights or more failed"
        )
        headline(figure, "Who flies how well: median error, smaller is better", facts)
        return save(figure, Path(path_png))


def _panel(axes: Axes, cells: Sequence[Mapping[str, Any]], labels: Sequence[str], colours: Mapping[str, str]) -> None:
    errors = [float(cell["error"]) for cell in cells if cell["error"] is not None]
    top = max(errors, default=0.0) or 1.0
    for row, (policy, colour) in enumerate(colours.items()):
        own = [cell for cell in cells if cell["policy"] == policy]
        if not own:
            axes.text(0.02 * top, row, "-", va="center", color=GREY)
            continue
        places = [1.1 * top if cell["error"] is None else float(cell["error"]) for cell in own]
        axes.plot((0.0, max(places)), (row, row), color=colour, lw=5, alpha=0.25, solid_capstyle="butt")
        for cell, place in zip(own, places, strict=True):
            marker, face = MARKERS[labels.index(str(cell["label"]))], "white" if cell["error"] is None else colour
            axes.plot(place, row, marker, ms=7, mec=colour, mfc=face)
        share = min(float(cell["success_rate"]) for cell in own)
        axes.text(_ROOM * top, row, f"{share:.0%}", ha="right", va="center", color=GREY, fontsize=9)
    axes.set_xlim(0.0, _ROOM * top)
    axes.grid(False, axis="y")
    axes.set_xlabel(str(cells[0]["unit"]))
