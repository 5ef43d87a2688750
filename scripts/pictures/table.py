"""The rate table as a picture: success and speed error against the IMU rate, for both trainings side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes

from scripts.pictures.style import MARKERS, PALE, PALETTE, headline, house_style, new_figure, save

_ERROR_FLOOR_M_S: Final = 0.02
_ERROR_TOP_M_S: Final = 3.0  # drawn where half of the flights or more failed in some seed: their error is infinite
_MIXED_HZ: Final = 800.0  # where "mixed" stands, apart from the rates
_TEXTS: Final = {"narrow": "Trained at IMU {:g} to {:g} Hz only", "wide": "Trained at IMU {:g} to {:g} Hz and mixed"}


def draw_table(table: Mapping[str, Any], path_png: str | Path) -> Path:
    """Lines are means over seeds, bands one standard deviation; the trained rates are shaded.

    table: as `scripts.benchmarks.table.run` returns it.
    """
    rows: Sequence[Mapping[str, Any]] = table["rows"]
    trainings = list(dict.fromkeys(str(row["training"]) for row in rows))
    models = list(dict.fromkeys(str(row["model"]) for row in rows))
    with house_style():
        figure = new_figure(7.0 * len(trainings) + 0.5, 8.2)
        grid = figure.subplots(2, len(trainings), sharey="row", sharex="col", squeeze=False)
        for column, training in enumerate(trainings):
            upper, lower = grid[0, column], grid[1, column]
            own = [row for row in rows if row["training"] == training]
            low, high = own[0]["imu_hz"]
            for axes in (upper, lower):
                axes.axvspan(low, high, color=PALE, alpha=0.45, lw=0)
            for row in own:
                number = models.index(str(row["model"]))
                _draw_row(upper, lower, row, number, 1.0 + 0.035 * (number - (len(models) - 1) / 2))
            upper.set_title(_TEXTS.get(training, training).format(low, high))
            _rate_axis(lower, [str(cell["imu"]) for cell in own[0]["cells"]])
        _value_axes(grid[0, 0], grid[1, 0])
        handles, names = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(models), fontsize=11)
        seeds, flights = table["seeds"], table["flights"]
        facts = f"mean over {seeds} seed{'s' if seeds > 1 else ''}, {flights:,} flights a point and seed; "
        headline(figure, "Who flies at a rate it was not trained for", facts + "bands: one sd; grey: trained rates")
        return save(figure, Path(path_png))


def _draw_row(upper: Axes, lower: Axes, row: Mapping[str, Any], number: int, shift: float) -> None:
    """One model: a line through the rates, and "mixed" by itself."""
    colour, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
    cells = row["cells"]
    hz = np.array([_MIXED_HZ if cell["imu"] == "mixed" else float(cell["imu"]) for cell in cells])
    success = np.array([100.0 * cell["success_mean"] for cell in cells])
    success_sd = np.array([100.0 * (cell["success_sd"] or 0.0) for cell in cells])
    means = [cell["speed_error_mean_m_s"] for cell in cells]
    lost = np.array([mean is None for mean in means])
    error = np.array([_ERROR_TOP_M_S if mean is None else mean for mean in means])
    error_sd = np.array([c["speed_error_sd_m_s"] or 0.0 for c in cells])
    at, single = hz * np.where(hz == _MIXED_HZ, shift, 1.0), hz == _MIXED_HZ
    for axes, mean, sd, bottom, top in (
        (upper, success, success_sd, 0.0, 100.0),
        (lower, error, error_sd, _ERROR_FLOOR_M_S / 10.0, _ERROR_TOP_M_S),
    ):
        below, above = np.clip(mean - sd, bottom, top), np.clip(mean + sd, bottom, top)
        shown = np.clip(mean, bottom, top)
        axes.fill_between(hz[~single], below[~single], above[~single], color=colour, alpha=0.16, lw=0)
        axes.plot(hz[~single], shown[~single], color=colour, lw=1.7)
        bars = np.stack([shown - below, above - shown])[:, single]
        axes.errorbar(at[single], shown[single], yerr=bars, fmt="none", ecolor=colour, capsize=3, lw=1.2)
    upper.plot(at, success, marker, ms=7, color=colour, label=str(row["model"]), clip_on=False, zorder=3)
    lower.plot(at[~lost], np.minimum(error[~lost], _ERROR_TOP_M_S), marker, ms=7, color=colour, zorder=3)
    if lost.any():  # side by side: they all stand at the top
        lower.plot(
            hz[lost] * shift, error[lost], marker, ms=8, mec=colour, mfc="white", mew=1.8, clip_on=False, zorder=3
        )


def _rate_axis(axes: Axes, labels: Sequence[str]) -> None:
    ticks = [_MIXED_HZ if label == "mixed" else float(label) for label in labels]
    axes.set_xscale("log")
    axes.set_xlim(min(ticks) / 1.2, _MIXED_HZ * 1.25)
    axes.set_xticks(ticks, labels, minor=False)
    axes.minorticks_off()
    axes.set_xlabel("IMU rate in flight (Hz)")


def _value_axes(upper: Axes, lower: Axes) -> None:
    upper.set_ylim(-4.0, 104.0)
    upper.set_ylabel("flights still up (%)")
    lower.set_yscale("log")
    lower.set_ylim(_ERROR_FLOOR_M_S, _ERROR_TOP_M_S)
    ticks = [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, _ERROR_TOP_M_S]
    lower.set_yticks(ticks, [*(f"{tick:g}" for tick in ticks[:-1]), "over half\nfailed"], minor=False)
    lower.minorticks_off()
    lower.set_ylabel("median horizontal speed error (m/s)")
