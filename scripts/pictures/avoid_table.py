"""The forest table as a picture: success against speed, and at the rates and losses of the grid."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scripts.pictures.style import MARKERS, PALETTE, headline, house_style, new_figure, save


def draw_table(table: Mapping[str, Any], path_png: str | Path) -> Path:
    """Left: success against speed; right: of the models that flew them, all other cells. Bars: one deviation.

    table: as `scripts.benchmarks.avoid.run` returns it.
    """
    rows = table["rows"]
    with house_style():
        figure = new_figure(13.0, 5.2)
        left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": (1.0, 1.3)})
        labels = [cell["cell"] for cell in rows[0]["cells"] if not _plain_speed(cell)]
        for number, row in enumerate(rows):
            colour, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
            given: dict[str, Any] = {"color": colour, "marker": marker, "capsize": 2, "lw": 1.2, "ms": 5.5}
            own = [cell for cell in row["cells"] if _plain_speed(cell)]
            left.errorbar(
                [cell["speed_m_s"] for cell in own], *_percent(own), label=row["model"], clip_on=False, **given
            )
            others = [cell for cell in row["cells"] if cell["cell"] in labels]
            y = np.array([labels.index(cell["cell"]) for cell in others]) + 0.12 * (number - len(rows) / 2)
            success, deviation = _percent(others)
            right.errorbar(success, y, xerr=deviation, ls="", clip_on=False, **given)
        left.set(xlabel="commanded speed (m/s)", ylabel="forests crossed (%)", ylim=(0, 100))
        left.legend(loc="center left", bbox_to_anchor=(0.0, 0.42))
        right.set(
            xlabel="crossed, or stopped before a wall (%)", xlim=(0, 100), yticks=range(len(labels)), yticklabels=labels
        )
        right.invert_yaxis()
        told = f"mean over {table['seeds']} seeds, {table['flights']:,} crossings a point and seed; bars: one sd"
        headline(figure, "Crossing forests on optical flow", told)
        return save(figure, Path(path_png))


def _plain_speed(cell: Mapping[str, Any]) -> bool:
    return bool(cell["cell"] == f"{cell['speed_m_s']:g} m/s")


def _percent(cells: list[Mapping[str, Any]]) -> tuple[list[float], list[float]]:
    names = ["stopped" if cell["walled"] else "success" for cell in cells]
    mean = [100.0 * cell[f"{name}_mean"] for name, cell in zip(names, cells, strict=True)]
    return mean, [100.0 * (cell[f"{name}_sd"] or 0.0) for name, cell in zip(names, cells, strict=True)]
