"""One policy on many drones: flights still up and speed error against the mass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.pictures.style import MARKERS, PALETTE, headline, house_style, new_figure, save


def draw_airframes(cells: Sequence[Mapping[str, Any]], path_png: str | Path) -> Path:
    """A point for each drone; those that ship are larger. cells: of `scripts.benchmarks.airframes.fly`."""
    policies = list(dict.fromkeys(str(cell["policy"]) for cell in cells))
    with house_style():
        figure = new_figure(8.6, 6.4)
        upper, lower = figure.subplots(2, 1, sharex=True)
        for number, policy in enumerate(policies):
            colour, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
            own = [cell for cell in cells if cell["policy"] == policy]
            mass = [1000.0 * float(cell["mass_kg"]) for cell in own]
            size = [90.0 if cell["group"] == "shipped" else 26.0 for cell in own]
            up = [100.0 * float(cell["success_rate"]) for cell in own]
            errors = [cell["speed_error_median_m_s"] for cell in own]
            shown = [float("nan") if error is None else float(error) for error in errors]
            upper.scatter(mass, up, size, color=colour, marker=marker, alpha=0.7, label=policy)
            lower.scatter(mass, shown, size, color=colour, marker=marker, alpha=0.7)
        upper.set_ylabel("still up (%)")
        upper.set_ylim(min(90.0, upper.get_ylim()[0]), 101.0)
        lower.set_ylabel("speed error, median (m/s)")
        lower.set_ylim(bottom=0.0)
        lower.set_xscale("log")
        lower.set_xlabel("mass (g)")
        if len(policies) > 1:
            upper.legend()
        headline(figure, "One policy on many drones", "large: airframes that ship; small: drawn between them")
        return save(figure, Path(path_png))
