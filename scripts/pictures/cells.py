"""Cells side by side: how long a sequence takes beside torch's LSTM, forward and with gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes

from scripts.pictures.style import BLUE, GREY, INK, ORANGE, PURPLE, headline, house_style, new_figure, save

_COLOURS: Final = {"torch": INK, "public package": ORANGE, "liquid": BLUE, "baseline": PURPLE}


def draw_cells(figures: Sequence[Mapping[str, Any]], path_png: str | Path) -> Path:
    """One panel a batch, one row a cell: a dot forward, a ring with gradients, on a logarithmic axis of ratios.

    figures: as `scripts.benchmarks.cells.Figure` has them.
    """
    batches = list(dict.fromkeys(int(figure["batch"]) for figure in figures))
    names = list(dict.fromkeys(str(figure["name"]) for figure in figures))
    with house_style():
        figure = new_figure(6.2 * len(batches) + 2.0, 0.34 * len(names) + 2.2)
        panels = figure.subplots(1, len(batches), sharey=True, squeeze=False)[0]
        for axes, batch in zip(panels, batches, strict=True):
            _draw_panel(axes, [f for f in figures if f["batch"] == batch], names)
            axes.set_title(f"{batch} sequences of {figures[0]['steps']} steps")
        panels[0].set_yticks(range(len(names)), names)
        panels[0].invert_yaxis()
        handles = [panels[0].plot([], [], "o", color=colour, label=family)[0] for family, colour in _COLOURS.items()]
        handles.append(panels[0].plot([], [], "o", mec=GREY, mfc="white", mew=1.8, label="with gradients")[0])
        figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
        headline(figure, "What a cell costs", "time of a sequence beside torch's nn.LSTM (1 x), one thread, one run")
        return save(figure, Path(path_png))


def _draw_panel(axes: Axes, figures: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    axes.set_xscale("log")
    axes.axvline(1.0, color=GREY, lw=1.0, ls="--")
    for figure in figures:
        row, colour = names.index(str(figure["name"])), _COLOURS[str(figure["family"])]
        ratios = [float(figure["forward_ratio"]), float(figure["both_ratio"])]
        axes.plot(ratios, [row, row], color=colour, lw=1.4, alpha=0.6)
        axes.plot(ratios[1:], [row], "o", ms=8, mec=colour, mfc="white", mew=1.8)
        axes.plot(ratios[:1], [row], "o", ms=7, color=colour)
        axes.annotate(
            f"{figure['both_ms']:.1f} ms",
            (max(ratios), row),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=GREY,
        )
    low, high = axes.get_xlim()
    axes.set_xlim(low, high * 2.2)
    axes.xaxis.set_major_formatter(lambda value, _position: f"{value:g} x")
    axes.grid(axis="y", visible=False)
