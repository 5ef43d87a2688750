"""Success and speed error against the number of demonstrations, model by model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from scripts.pictures.style import MARKERS, PALETTE, headline, house_style, new_figure, save

_TOP_M_S: Final = 3.0  # drawn where half of the flights or more failed in some seed: their error is infinite
_FLOOR_M_S: Final = 0.05


def draw_demonstrations(table: Mapping[str, Any], path_png: str | Path) -> Path:
    """Lines are means over seeds, bands one standard deviation.

    table: as `scripts.benchmarks.demonstrations.run` returns it.
    """
    counts = np.array(table["counts"], dtype=np.float64)
    with house_style():
        figure = new_figure(11.5, 5.2)
        success, error = figure.subplots(1, 2)
        for number, row in enumerate(table["rows"]):
            look = {"color": PALETTE[number % len(PALETTE)], "marker": MARKERS[number % len(MARKERS)], "ms": 6}
            cells = row["cells"]
            up = np.array([100.0 * cell["success_mean"] for cell in cells])
            up_sd = np.array([100.0 * (cell["success_sd"] or 0.0) for cell in cells])
            means = [cell["speed_error_mean_m_s"] for cell in cells]
            off = np.array([_TOP_M_S if mean is None else mean for mean in means])
            off_sd = np.array([cell["speed_error_sd_m_s"] or 0.0 for cell in cells])
            for axes, mean, sd, low, high in (
                (success, up, up_sd, 0.0, 100.0),
                (error, off, off_sd, _FLOOR_M_S / 10.0, _TOP_M_S),
            ):
                below, above = np.clip(mean - sd, low, high), np.clip(mean + sd, low, high)
                axes.fill_between(counts, below, above, color=look["color"], alpha=0.16, lw=0)
                axes.plot(counts, np.clip(mean, low, high), label=str(row["model"]), clip_on=False, **look)
        for axes in (success, error):
            axes.set_xscale("log")
            axes.set_xticks(counts, [f"{count:g}" for count in counts], minor=False)
            axes.minorticks_off()
            axes.set_xlabel("demonstration flights")
        success.set_ylim(-4.0, 104.0)
        success.set_ylabel("flights still up (%)")
        error.set_yscale("log")
        ticks = [0.05, 0.1, 0.2, 0.5, 1.0, _TOP_M_S]
        error.set_ylim(_FLOOR_M_S, _TOP_M_S)
        error.set_yticks(ticks, [*(f"{tick:g}" for tick in ticks[:-1]), "over half\nfailed"], minor=False)
        error.minorticks_off()
        error.set_ylabel("median horizontal speed error (m/s)")
        handles, names = success.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names), fontsize=11)
        facts = f"mean over {table['seeds']} seeds, {table['flights']:,} flights a point and seed; bands: one sd"
        headline(figure, f"Cloned from so many flights of the {table['expert']} controller", facts)
        return save(figure, Path(path_png))
