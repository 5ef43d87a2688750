"""The engines laid over each other: step responses, a drop on the floor, a second of drawn commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes

from scripts.pictures.style import PALETTE, Array, headline, house_style, new_figure, save

_LINES: Final = ("-", "--", "-.", ":")


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture of all engines. curves: (x, y) by engine and drone; labels of the axes with their units."""

    title: str
    x: str
    y: str
    curves: Mapping[str, list[tuple[Array, Array]]]


def draw_world(panels: list[Panel], path_png: str | Path, subtitle: str) -> Path:
    """Panels in rows of three."""
    rows = -(-len(panels) // 3)
    with house_style():
        figure = new_figure(14.0, 4.2 * rows + 0.6)
        grid = figure.subplots(rows, 3, squeeze=False).ravel()
        for axes, panel in zip(grid, panels, strict=False):
            _draw(axes, panel)
        for axes in grid[len(panels) :]:
            axes.set_axis_off()
        grid[0].legend(loc="lower right")
        headline(figure, "One world, flown by each engine", subtitle)
        return save(figure, Path(path_png))


def _draw(axes: Axes, panel: Panel) -> None:
    for rank, (engine, curves) in enumerate(panel.curves.items()):
        colour, line = PALETTE[rank % len(PALETTE)], _LINES[rank % len(_LINES)]
        for i, (x, y) in enumerate(curves):
            width = 3.0 if rank == 0 else 1.6  # the first lies below the others and shows at their edges
            axes.plot(x, y, color=colour, ls=line, lw=width, label=engine if i == 0 else None)
    axes.set_title(panel.title)
    axes.set_xlabel(panel.x)
    axes.set_ylabel(panel.y)
