"""The shift table as a picture: success and speed error in every world, model beside model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes

from scripts.pictures.style import MARKERS, PALE, PALETTE, headline, house_style, new_figure, save

_ERROR_FLOOR_M_S: Final = 0.03
_ERROR_TOP_M_S: Final = 2.0  # drawn where half of the flights or more failed in some seed
_APART: Final = 0.13  # between the models of a world

Row = Mapping[str, Any]


def draw_shift(table: Mapping[str, Any], path_png: str | Path) -> Path:
    """A row of panels for the models, one for the ablation beside the models that it is about; bars: one deviation.

    table: as `scripts.benchmarks.shift.run` returns it.
    """
    rows: Sequence[Row] = table["rows"]
    race, parts = [row for row in rows if row["race"]], [row for row in rows if not row["race"]]
    about = {row["against"] for row in parts}
    parts = [row for row in race if row["model"] in about] + parts
    drawn = [(title, own) for title, own in (("models", race), ("the decay cell in parts", parts)) if own]
    with house_style():
        figure = new_figure(14.0, 0.8 + 0.45 * len(rows[0]["cells"]) * len(drawn))
        grid = figure.subplots(len(drawn), 2, squeeze=False, sharex="col")
        for (title, own), (left, right) in zip(drawn, grid, strict=True):
            for number, row in enumerate(own):
                _draw_row(left, right, row, number, _APART * (number - (len(own) - 1) / 2))
            for axes in (left, right):
                _world_axis(axes, own[0]["cells"], named=axes is left)
            left.set_title(title[0].upper() + title[1:])
            right.legend(*left.get_legend_handles_labels(), loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3)
        _value_axes(*grid[-1])
        seeds = table["seeds"]
        facts = f"mean over {seeds} seed{'s' if seeds > 1 else ''}, {table['flights']:,} flights a point and seed; "
        told = facts + "bars: one sd; grey: beyond what was trained; hollow: half of the flights failed in a seed"
        headline(figure, "Trained in one world, flown in others", told)
        return save(figure, Path(path_png))


def _draw_row(left: Axes, right: Axes, row: Row, number: int, shift: float) -> None:
    colour, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
    cells = row["cells"]
    y = np.arange(len(cells)) + shift
    success = np.array([100.0 * cell["success_mean"] for cell in cells])
    deviation = np.array([100.0 * (cell["success_sd"] or 0.0) for cell in cells])
    bars = np.stack([success - np.clip(success - deviation, 0, 100), np.clip(success + deviation, 0, 100) - success])
    given: dict[str, Any] = {"fmt": marker, "ms": 5.5, "color": colour, "capsize": 2, "lw": 1.0}
    left.errorbar(success, y, xerr=bars, label=row["model"], clip_on=False, **given)
    lost = np.array([cell["speed_error_mean_m_s"] is None for cell in cells])
    error = np.array(
        [_ERROR_TOP_M_S if cell["speed_error_mean_m_s"] is None else cell["speed_error_mean_m_s"] for cell in cells]
    )
    spread = np.array([cell["speed_error_sd_m_s"] or 0.0 for cell in cells])
    shown = np.clip(error, _ERROR_FLOOR_M_S, _ERROR_TOP_M_S)
    below, above = (np.clip(error + sign * spread, _ERROR_FLOOR_M_S / 2, _ERROR_TOP_M_S) for sign in (-1, 1))
    bars = np.clip(np.stack([shown - below, above - shown]), 0.0, None)
    if not lost.all():  # an empty line would break the layout
        right.errorbar(shown[~lost], y[~lost], xerr=bars[:, ~lost], **given)
    if lost.any():
        right.plot(error[lost], y[lost], marker, ms=6.5, mec=colour, mfc="white", mew=1.4, clip_on=False)


def _world_axis(axes: Axes, cells: Sequence[Row], named: bool) -> None:
    for number, cell in enumerate(cells):
        if cell["beyond"]:
            axes.axhspan(number - 0.5, number + 0.5, color=PALE, alpha=0.4, lw=0)
    axes.set_yticks(range(len(cells)), [cell["world"] for cell in cells] if named else [""] * len(cells))
    axes.set_ylim(len(cells) - 0.5, -0.5)
    axes.grid(False, axis="y")


def _value_axes(left: Axes, right: Axes) -> None:
    left.set_xlim(0.0, 102.0)
    left.set_xlabel("flights still up (%)")
    right.set_xscale("log")
    right.set_xlim(_ERROR_FLOOR_M_S, _ERROR_TOP_M_S)
    ticks = [0.03, 0.05, 0.1, 0.2, 0.5, 1.0]
    right.set_xticks([*ticks, _ERROR_TOP_M_S], [*(f"{tick:g}" for tick in ticks), "half\nfailed"], minor=False)
    right.minorticks_off()
    right.set_xlabel("median horizontal speed error (m/s)")
