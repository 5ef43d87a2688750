"""Figure-eights from above: the path that was wanted, and what each controller flew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from scripts.pictures.style import INK, PALETTE, Array, headline, house_style, new_figure, note, save


@dataclass(frozen=True, slots=True)
class Lap:
    """One lap at its IMU events; no events if the flight was lost."""

    wanted_m: Array  # (T, 3)
    position_m: Array  # (T, 3) true
    thrust_m_s2: Array  # (T,) commanded
    rates_rad_s: Array  # (T, 3) commanded, absolute


def draw_tracking(
    laps: Mapping[tuple[str, float], Lap], path_png: str | Path, rmse_m: Mapping[tuple[str, float], float | None]
) -> Path:
    """One panel a period, seen from above; laps and errors by (controller, period)."""
    names = list(dict.fromkeys(name for name, _ in laps))
    periods = list(dict.fromkeys(period for _, period in laps))
    with house_style():
        figure = new_figure(5.2 * len(periods), 5.4)
        panels = figure.subplots(1, len(periods), sharex=True, sharey=True, squeeze=False)[0]
        for axes, period in zip(panels, periods, strict=True):
            for name, colour in zip(names, PALETTE, strict=False):
                error = rmse_m[name, period]
                label = f"{name}: {'lost' if error is None else f'{error:.3f} m'}"
                _draw(axes, laps[name, period], colour, label)
            wanted = next((laps[name, period].wanted_m for name in names if len(laps[name, period].wanted_m)), None)
            if wanted is None:
                note(axes, "lost by all")
            else:
                axes.plot(*wanted[:, :2].T, color=INK, lw=1.0, ls="--", label="wanted")
                axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2))
            axes.set_title(f"{period:g} s a lap")
            axes.set_aspect("equal")
            axes.set_xlabel("east (m)")
        panels[0].set_ylabel("north (m)")
        headline(figure, "Figure-eights from above", "second lap, nominal drone with motor lag, no wind; RMSE in 3-d")
        return save(figure, Path(path_png))


def _draw(axes: Axes, lap: Lap, colour: str, label: str) -> None:
    path = lap.position_m if len(lap.position_m) else np.full((1, 3), np.nan)
    axes.plot(*path[:, :2].T, color=colour, label=label)
