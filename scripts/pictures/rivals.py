"""Speed errors of policies and conventional controllers on the same references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from scripts.pictures.style import MARKERS, PALETTE, headline, house_style, new_figure, save
from scripts.tables import short_names


def draw_rivals(cells: Sequence[Mapping[str, Any]], path_png: str | Path) -> Path:
    """One panel a reference: median error against IMU rate; hollow where half of the flights or more failed."""
    groups = list(dict.fromkeys(str(cell["group"]) for cell in cells))
    labels = list(dict.fromkeys(str(cell["label"]) for cell in cells))
    names = short_names(str(cell["policy"]) for cell in cells)
    top = 1.3 * max((c["speed_error_median_m_s"] or 0.0 for c in cells), default=0.0) or 1.0
    with house_style():
        figure = new_figure(3.4 * len(groups) + 0.8, 4.6)
        grid = figure.subplots(1, len(groups), sharey=True, squeeze=False)[0]
        for axes, group in zip(grid, groups, strict=True):
            for number, policy in enumerate(names):
                own = {str(c["label"]): c for c in cells if (c["group"], c["policy"]) == (group, policy)}
                x = np.array([labels.index(label) for label in own], np.float64) + 0.06 * (number - len(names) / 2)
                errors = [c["speed_error_median_m_s"] for c in own.values()]
                y = np.array([top if error is None else float(error) for error in errors])
                colour, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
                axes.plot(x, y, color=colour, lw=1.4, label=names[policy])
                for place, value, error in zip(x, y, errors, strict=True):
                    axes.plot(place, value, marker, ms=8, mec=colour, mfc="white" if error is None else colour)
            axes.set_title(group)
            axes.set_xticks(range(len(labels)), labels)
            axes.set_xlabel("IMU rate (Hz)")
        grid[0].set_ylim(0.0, 1.05 * top)
        grid[0].set_ylabel("median speed error (m/s, RMS)")
        figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(names))
        facts = f"{cells[0]['flights']} flights a point in PyBullet; hollow: half of the flights or more failed"
        headline(figure, "Who follows a velocity", facts)
        return save(figure, Path(path_png))
