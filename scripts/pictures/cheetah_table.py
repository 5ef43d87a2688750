"""Returns of every model at every rhythm, beside the teacher's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from scripts.pictures.style import GREY, PALETTE, headline, house_style, new_figure, save


def draw_cheetah_table(table: Mapping[str, Any], path_png: str | Path) -> Path:
    """One group of bars a rhythm; marks are single trainings. table: as `scripts.benchmarks.cheetah.run` returns it."""
    rhythms = list(table["teacher"])
    rows = [row for row in table["rows"] if row["observe"] == "full"]
    width = 0.8 / max(1, len(rows))
    with house_style():
        figure = new_figure(12.0, 5.2)
        axes = figure.subplots()
        at = np.arange(len(rhythms), dtype=np.float64)
        for number, row in enumerate(rows):
            x = at - 0.4 + width * (number + 0.5)
            means = [row["cells"][name]["mean"] for name in rhythms]
            colour = PALETTE[number % len(PALETTE)]
            axes.bar(x, means, 0.9 * width, color=colour, label=f"{row['model']} ({row['parameters']:,} weights)")
            for place, name in zip(x, rhythms, strict=True):
                seeds = row["cells"][name]["seeds"]
                axes.plot([place] * len(seeds), seeds, "_", color="black", ms=7, alpha=0.6)
        regular = table["teacher"][rhythms[0]]
        axes.axhline(regular, color=GREY, lw=1.2, ls="--")
        axes.text(len(rhythms) - 0.5, regular, "teacher, regular", color=GREY, ha="right", va="bottom", fontsize=9)
        axes.set_xticks(at, rhythms)
        axes.set_ylabel("mean return of an episode")
        axes.grid(axis="x", visible=False)
        figure.legend(loc="outside lower center", ncols=len(rows))
        facts = f"full observation, mean over {table['seeds']} trainings (marks), {table['flights']} episodes each"
        headline(figure, f"HalfCheetah in {table['simulator']}: rhythms of training, and unseen ones", facts)
        return save(figure, Path(path_png))
