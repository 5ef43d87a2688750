"""How flights end under faults: up, landed by the supervisor, crashed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from scripts.pictures.style import BLUE, SKY, VERMILION, headline, house_style, new_figure, save

_ENDS: Final = (("up", BLUE, "still up"), ("landed", SKY, "landed by itself"), ("crashed", VERMILION, "crashed"))


def draw_faults(cells: Sequence[Mapping[str, Any]], path_png: str | Path) -> Path:
    """One stack a fault, side by side for every policy. cells: of `scripts.benchmarks.faults.sweep`."""
    policies = list(dict.fromkeys(str(cell["policy"]) for cell in cells))
    labels = list(dict.fromkeys(str(cell["label"]) for cell in cells))
    with house_style():
        figure = new_figure(4.6 + 4.4 * len(policies), 0.6 + 0.32 * len(labels) + 1.2)
        grid = figure.subplots(1, len(policies), sharey=True, squeeze=False)[0]
        for axes, policy in zip(grid, policies, strict=True):
            own = {str(cell["label"]): cell for cell in cells if cell["policy"] == policy}
            begin = np.zeros(len(labels))
            for end, colour, words in _ENDS:
                shares = [float(own[label][f"{end}_rate"]) if label in own else 0.0 for label in labels]
                share = 100.0 * np.array(shares)
                axes.barh(np.arange(len(labels)), share, 0.72, left=begin, color=colour, label=words)
                begin = begin + share
            axes.set_title(policy)
            axes.set_xlim(0.0, 100.0)
            axes.set_xlabel("flights (%)")
            axes.grid(axis="y", visible=False)
        grid[0].set_yticks(range(len(labels)), labels)
        grid[0].invert_yaxis()
        figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(_ENDS))
        headline(figure, "How flights end under faults", f"{cells[0]['flights']} flights a row, in PyBullet")
        return save(figure, Path(path_png))
