"""Paths through a forest from above, a panel for each speed; where something was touched there is a cross."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.patches import Circle, Patch, Rectangle

from envs.avoid import CROSSING_M
from envs.conditions import Span
from envs.shapes import Obstacle
from scripts.forest_flights import Path as Flown
from scripts.pictures.style import BLUE, GREY, INK, ORANGE, VERMILION, Array, headline, house_style, new_figure, save

X_M: Final[Span] = (-2.0, CROSSING_M + 2.0)
Y_M: Final[Span] = (-10.0, 10.0)
BARK: Final = "#8a9a86"
SUCCESS, TOUCHED = "success", "touched"


@dataclass(frozen=True, slots=True)
class Panel:
    """One forest and the paths through it. obstacles: (n, 7), see `envs.shapes.Obstacle`."""

    title: str
    obstacles: Array
    paths: Sequence[Flown]


def draw_crossings(panels: Sequence[Panel], path_png: str | Path, title: str) -> Path:
    """Write the picture. Returns its path."""
    columns = 1 if len(panels) == 1 else 2
    rows = math.ceil(len(panels) / columns)
    width = 13.0 if columns == 1 else 18.0
    with house_style():
        figure = new_figure(width, 1.4 + rows * 0.66 * width / columns)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        for axes, panel in zip(grid.ravel(), panels, strict=False):
            _panel(axes, panel)
        for axes in grid.ravel()[len(panels) :]:
            axes.set_axis_off()
        legend = grid[0, 0].get_legend_handles_labels()
        figure.legend(*legend, loc="outside lower center", ncols=4)
        headline(figure, title, "the course goes to the right; grey: obstacles; every flight has a drone of its own")
        return save(figure, Path(path_png))


def _panel(axes: Axes, panel: Panel) -> None:
    outlines = [_outline(Obstacle(*row)) for row in panel.obstacles.tolist()]
    axes.add_collection(PatchCollection(outlines, facecolor=BARK, edgecolor="none", zorder=1))
    axes.axvline(CROSSING_M, color=GREY, lw=1.0, ls="--")
    for flown in panel.paths:
        touched = flown.outcome == TOUCHED
        colour = BLUE if flown.outcome == SUCCESS else VERMILION if touched else ORANGE
        axes.plot(*flown.place_m.T, color=colour, lw=1.5, alpha=0.9, zorder=2)
        axes.plot(*flown.place_m[0], "o", ms=4, color=INK, zorder=3)
        if touched:
            axes.plot(*flown.place_m[-1], "X", ms=11, color=VERMILION, mec="white", zorder=4)
        elif flown.outcome != SUCCESS:
            axes.plot(*flown.place_m[-1], "s", ms=8, color=ORANGE, mec="white", zorder=4)
    _name(axes)
    crossed = sum(flown.outcome == SUCCESS for flown in panel.paths)
    axes.set(xlim=X_M, ylim=Y_M, aspect="equal", xlabel="x along the course (m)", ylabel="y (m)")
    axes.set_title(f"{panel.title}: {crossed} of {len(panel.paths)} crossed")
    axes.grid(False)


def _outline(obstacle: Obstacle[float]) -> Patch:
    """From above."""
    x, y, half_x, half_y = obstacle.x, obstacle.y, obstacle.half_x, obstacle.half_y
    if half_x > 0.0:
        return Rectangle((x - half_x, y - half_y), 2.0 * half_x, 2.0 * half_y)
    return Circle((x, y), obstacle.radius)


def _name(axes: Axes) -> None:
    """Entries of the legend, the same in every panel."""
    nowhere = np.full(1, np.nan)
    axes.plot(nowhere, nowhere, color=BLUE, label="crossed")
    axes.plot(nowhere, nowhere, "X-", color=VERMILION, mec="white", ms=11, label="touched something")
    axes.plot(nowhere, nowhere, "s-", color=ORANGE, mec="white", ms=8, label="not crossed, or left the bounds")
    axes.plot(nowhere, nowhere, "o", color=INK, ms=4, label="release")
