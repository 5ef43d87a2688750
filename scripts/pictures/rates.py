"""How policies bear update rates, lost samples and silent sensors: success and speed error per condition."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes

from scripts.pictures.style import MARKERS, PALETTE, Array, headline, house_style, new_figure, save

Cell = Mapping[str, Any]

_COLUMNS: Final = (
    ("imu", "IMU rate (Hz)", "IMU rate, flow at 40 Hz"),
    ("flow", "flow rate (Hz)", "Flow rate, IMU at 100 Hz"),
    ("loss", "", "Flow samples lost, IMU at 100 Hz"),
)
_ERROR_TOP_M_S: Final = 3.0  # drawn where half of the flights or more failed, whose error is infinite


def draw_rates(cells: Sequence[Cell], path_png: str | Path, title: str) -> Path:
    """Rate sweep of one or more policies.

    cells: `policy`, `group` ("imu", "flow" or "loss"), `label` (tick), `success_rate`, `flights` and
    `speed_error_median_m_s` (None or infinite where half of the flights failed).
    """
    policies = list(dict.fromkeys(str(cell["policy"]) for cell in cells))
    with house_style():
        figure = new_figure(15.0, 8.2)
        grid = figure.subplots(2, 3, width_ratios=(1.25, 1.1, 0.8), sharey="row", sharex="col")
        for column, (group, xlabel, heading) in enumerate(_COLUMNS):
            upper, lower = grid[0, column], grid[1, column]
            labels = list(dict.fromkeys(str(c["label"]) for c in cells if c["group"] == group))
            for number, policy in enumerate(policies):
                chosen = {str(c["label"]): c for c in cells if c["group"] == group and c["policy"] == policy}
                # Side by side, so that equal results do not hide each other.
                shift = 0.07 * (number - (len(policies) - 1) / 2)
                x = np.array([labels.index(label) for label in chosen], dtype=float) + shift
                _draw_policy(upper, lower, x, list(chosen.values()), number, policy, group)
            upper.set_title(heading)
            lower.set_xticks(range(len(labels)), labels)
            lower.set_xlim(-0.5, len(labels) - 0.5)
            lower.set_xlabel(xlabel)
        _finish(grid[0, 0], grid[1, 0])
        handles, names = grid[0, 0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=max(1, len(policies)), fontsize=11)
        flights = sorted({int(cell["flights"]) for cell in cells})
        amount = f"{flights[0]}" if len(flights) == 1 else f"{flights[0]} to {flights[-1]}"
        headline(figure, title, f"{amount} flights a point; bars: 95 % interval of the success rate")
        return save(figure, Path(path_png))


def _draw_policy(
    upper: Axes, lower: Axes, x: Array, cells: Sequence[Cell], number: int, policy: str, group: str
) -> None:
    colour, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
    rate = np.array([100.0 * float(c["success_rate"]) for c in cells])
    spans = [wilson(float(c["success_rate"]), int(c["flights"])) for c in cells]
    bars = np.abs(np.array([[100.0 * a, 100.0 * b] for a, b in spans]).reshape(-1, 2).T - rate)
    # Lines join the numbers of one axis; "mixed" and the losses are separate conditions.
    joined = [i for i, c in enumerate(cells) if group != "loss" and str(c["label"]) != "mixed"]
    upper.plot(x[joined], rate[joined], color=colour, lw=1.6)
    upper.errorbar(x, rate, yerr=bars, fmt=marker, ms=8, color=colour, lw=1.2, capsize=3, label=policy)
    error = np.array([_error_m_s(c) for c in cells])
    shown = np.minimum(error, _ERROR_TOP_M_S)
    lower.plot(x[joined], shown[joined], color=colour, lw=1.6)
    failed = error >= _ERROR_TOP_M_S
    lower.plot(x[~failed], shown[~failed], marker, ms=8, color=colour)
    if failed.any():  # an empty unclipped line would break the layout
        lower.plot(x[failed], shown[failed], marker, ms=9, mec=colour, mfc="white", mew=1.8, clip_on=False)


def _error_m_s(cell: Cell) -> float:
    value = cell.get("speed_error_median_m_s")
    return math.inf if value is None else float(value)


def wilson(share: float, n: int) -> tuple[float, float]:
    """95 % interval of a share measured on n flights (Wilson's score interval)."""
    z = 1.96
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half))


def _finish(upper: Axes, lower: Axes) -> None:
    upper.set_ylim(-4.0, 104.0)
    upper.set_ylabel("flights still up (%)")
    lower.set_yscale("log")
    lower.set_ylim(0.02, _ERROR_TOP_M_S)
    ticks = [0.02, 0.05, 0.1, 0.2, 0.5, 1.0, _ERROR_TOP_M_S]
    lower.set_yticks(ticks, [*(f"{tick:g}" for tick in ticks[:-1]), "over half\nfailed"], minor=False)
    lower.minorticks_off()
    lower.set_ylabel("median horizontal speed error (m/s)")
