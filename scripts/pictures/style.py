"""One look for every picture: fonts, a palette that colour-blind readers can tell apart, saving."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

Array = npt.NDArray[np.float64]

BLUE: Final = "#0072B2"
VERMILION: Final = "#D55E00"
GREEN: Final = "#009E73"
ORANGE: Final = "#E69F00"
PURPLE: Final = "#CC79A7"
SKY: Final = "#56B4E9"
INK: Final = "#1b2733"
GREY: Final = "#6b7680"
PALE: Final = "#d9dfe4"
PALETTE: Final = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, INK)  # Okabe and Ito's set, reordered
MARKERS: Final = ("o", "s", "^", "D", "v", "P", "X")  # colour is never the only difference

DPI: Final = 110

_RC: Final[dict[str, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6eaed",
    "grid.linewidth": 0.8,
    "lines.linewidth": 1.6,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


@contextmanager
def house_style() -> Iterator[None]:
    """Matplotlib settings of this project, for the time of a `with` block."""
    with matplotlib.rc_context(cast(Any, _RC)):
        yield


def new_figure(width_in: float, height_in: float) -> Figure:
    """A figure that belongs to nobody's window system; it needs no display and no clean-up."""
    return Figure(figsize=(width_in, height_in), dpi=DPI, layout="constrained")


def headline(figure: Figure, title: str, subtitle: str = "") -> None:
    """Title of a whole figure, with a line of facts under it."""
    # The second, empty line makes the layout keep room for the facts.
    figure.suptitle(f"{title}\n" if subtitle else title, x=0.012, ha="left", fontsize=16, fontweight="bold")
    if subtitle:
        y = 1.0 - 0.42 / float(figure.get_size_inches()[1])
        figure.text(0.012, y, subtitle, ha="left", va="top", fontsize=10.5, color=GREY)


def note(axes: Axes, text: str) -> None:
    """Say in the middle of empty axes why they are empty."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)


def plain_log_ticks(axes: Axes) -> None:
    """Ticks of a logarithmic y axis written as 0.01, 0.1, 1, with 2 and 5 between where there is room."""
    low, high = axes.get_ylim()
    decades = math.log10(high / low)
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 2.2 else (1.0,)))
    axes.yaxis.set_major_formatter(lambda value, _position: f"{value:g}")
    axes.yaxis.set_minor_locator(NullLocator())


def save(figure: Figure, path: Path) -> Path:
    """Write a PNG; the folder is made where it is missing. Returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="png", dpi=DPI)
    return path
