"""Picture of a wiring: layers as columns in the order of flow, synapses as curves that end in an arrow or in a bar."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.path import Path as Outline

from liquid_pilot.errors import ConfigError
from policies.wirings.layout import COLUMN_GAP, RADIUS, Column, SynapseCurve, columns_of, curves_of

if TYPE_CHECKING:
    from policies.wirings.wiring import Wiring

# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLOURS: Final = {1: "#0072B2", -1: "#D55E00"}  # blue: excitatory, vermilion: inhibitory
FILLS: Final = ("#009E73", "#E69F00", "#CC79A7", "#56B4E9")  # of the columns of neurons, in turn
INK: Final = "#1b2733"
GREY: Final = "#6b7680"
PALE: Final = "#f1f4f6"

ENDS: Final = {1: "-|>,head_length=0.36,head_width=0.17", -1: "-[,widthB=0.3,lengthB=0"}  # colour is not alone
INCHES: Final = 0.7  # per unit of the layout
LARGEST_INCHES: Final = 40.0
DPI: Final = 150
TITLE_PT: Final = 12
TEXT_PT: Final = 9
CHARACTER: Final = 0.115  # width of one in a label, in units of the layout
FEW: Final = 150  # synapses that are drawn with full lines; more of them are thinner


def draw_wiring(wiring: Wiring, where: str | Path | Axes, input_names: Sequence[str] | None = None) -> Axes:
    """See `Wiring.draw`."""
    if input_names is not None and (isinstance(input_names, str) or len(input_names) != wiring.inputs):
        raise ConfigError(f"input_names is {input_names!r}; give one for each of the {wiring.inputs} inputs, or none")
    if isinstance(where, Axes):
        _fill(where, wiring, input_names)
        return where
    figure = Figure(dpi=DPI, layout="constrained")
    path, kinds = Path(where), figure.canvas.get_supported_filetypes()
    if path.suffix[1:].lower() not in kinds:
        raise ConfigError(f"the picture's file is {str(path)!r}; let it end with one of: {', '.join(sorted(kinds))}")
    axes = figure.add_subplot()
    _fill(axes, wiring, input_names)
    sides = [float(high - low) for low, high in (axes.get_xlim(), axes.get_ylim())]
    scale = min(INCHES, LARGEST_INCHES / max(sides))
    figure.set_size_inches(sides[0] * scale, sides[1] * scale)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return axes


def _fill(axes: Axes, wiring: Wiring, input_names: Sequence[str] | None) -> None:
    columns = columns_of(wiring)
    curves = curves_of(wiring, columns)
    labels = [str(name) for name in input_names or [""] * wiring.inputs]
    if wiring.trigger is not None and not labels[wiring.trigger]:
        labels[wiring.trigger] = "trigger"
    top = max(float(column.points[0, 1]) for column in columns)
    thickness = min(1.0, (FEW / max(len(curves), 1)) ** 0.5)
    for curve in curves:
        axes.add_patch(_synapse(curve, thickness))
    for number, column in enumerate(columns):
        _column(axes, column, FILLS[(number - 1) % len(FILLS)] if number else None, top)
    _inputs(axes, columns[0], labels, wiring.trigger)
    right, bottom = COLUMN_GAP * (len(columns) - 1), -top - (1.9 if wiring.slow_layers else 1.2)
    _legend(axes, wiring, right / 2, bottom)
    axes.set_xlim(
        -0.9 - CHARACTER * max(map(len, labels)), max([right + 0.9, *(float(c.points[:, 0].max()) for c in curves)])
    )
    axes.set_ylim(bottom - 0.4, top + 1.7)
    axes.set_aspect("equal")
    axes.set_axis_off()


def _synapse(curve: SynapseCurve, thickness: float) -> FancyArrowPatch:
    outline = Outline(curve.points, [Outline.MOVETO, Outline.CURVE4, Outline.CURVE4, Outline.CURVE4])
    return FancyArrowPatch(
        path=outline,
        arrowstyle=ENDS[curve.polarity],
        mutation_scale=11 * thickness,
        linewidth=1.1 * thickness,
        color=COLOURS[curve.polarity],
        alpha=0.75,
        zorder=3 if curve.recurrent else 2,
    )


def _column(axes: Axes, column: Column, fill: str | None, top: float) -> None:
    """Title, count and nodes; behind a slow column a panel with a note. fill: None for the inputs."""
    x, count = float(column.points[0, 0]), len(column.points)
    axes.text(x, top + 1.25, column.title, ha="center", fontsize=TITLE_PT, fontweight="bold", color=INK)
    axes.text(x, top + 0.85, str(count), ha="center", fontsize=TITLE_PT - 1, color=GREY)
    for point in column.points.tolist():
        axes.add_patch(
            _square(point, GREY) if fill is None else Circle(point, RADIUS, fc=fill, ec=INK, lw=0.9, zorder=4)
        )
    if column.slow:
        axes.add_patch(_panel(x, top))
        axes.text(x, -top - 0.5, "slow: waits for\nthe trigger", ha="center", va="top", fontsize=TEXT_PT, color=GREY)


def _square(point: list[float], fill: str) -> Rectangle:
    side = 1.5 * RADIUS
    return Rectangle((point[0] - side / 2, point[1] - side / 2), side, side, fc=fill, ec=INK, lw=0.9, zorder=4)


def _panel(x: float, top: float) -> FancyBboxPatch:
    return FancyBboxPatch(
        (x - 0.6, -top - 0.35),
        1.2,
        2 * top + 0.95,
        boxstyle="round,pad=0,rounding_size=0.3",
        fc=PALE,
        ec=GREY,
        lw=1.0,
        ls=(0, (5, 3)),
        zorder=1,
    )


def _inputs(axes: Axes, column: Column, labels: Sequence[str], trigger: int | None) -> None:
    """Names left of the inputs; the trigger is black, and its name bold."""
    for number, (point, label) in enumerate(zip(column.points.tolist(), labels, strict=True)):
        weight = "bold" if number == trigger else "normal"
        axes.text(point[0] - 0.35, point[1], label, ha="right", va="center", fontsize=TEXT_PT, color=INK, weight=weight)
        if number == trigger:
            axes.add_patch(_square(point, INK))


def _legend(axes: Axes, wiring: Wiring, middle: float, y: float) -> None:
    """What the ends of the synapses mean, and how many there are, around x = middle."""
    for left, polarity, kind in ((middle - 2.6, 1, "excitatory"), (middle + 0.4, -1, "inhibitory")):
        count = sum(int((synapses == polarity).sum()) for synapses in (wiring.sensory, wiring.recurrent))
        line = np.stack([np.linspace(left, left + 0.6, 4), np.full(4, y)], axis=1)
        axes.add_patch(_synapse(SynapseCurve(line, polarity, False), 1.3))
        axes.text(left + 0.8, y, f"{kind}: {count}", va="center", fontsize=TEXT_PT + 1, color=INK)
