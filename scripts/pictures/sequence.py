"""Prediction error against noise, lost samples and training data, model by model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes

from scripts.pictures.style import GREY, MARKERS, PALETTE, headline, house_style, new_figure, save

SHOWN: Final = ("decay", "default", "ltc", "lstm", "gru", "transformer", "mlp")  # more lines say nothing


def draw_sequence(table: Mapping[str, Any], path_png: str | Path) -> Path:
    """Means over seeds, bands of one standard deviation. table: as `scripts.benchmarks.sequence.run` returns it."""
    rows = [row for row in table["large"] if row["model"] in SHOWN] or table["large"][:7]
    with house_style():
        figure = new_figure(15.0, 5.2)
        noise, lost, amount = figure.subplots(1, 3)
        for number, row in enumerate(rows):
            look = {"color": PALETTE[number % len(PALETTE)], "marker": MARKERS[number % len(MARKERS)], "ms": 5}
            _line(noise, row["noise"], 1.0, row["title"], look)
            _line(lost, row["rise"], 100.0, row["title"], look)
            own = {s: t[row["model"]]["clean"] for s, t in table["data_amount"].items() if row["model"] in t}
            if own:
                _line(amount, own | {"1": row["clean"]}, 1.0, row["title"], look)
        features = next((row for row in table["trivial"] if row["title"] == "random features"), None)
        if features is not None:
            noise.plot([float(n) for n in features["noise"]], list(features["noise"].values()), ":", color=GREY)
            noise.text(0.0, features["clean"], " random features", color=GREY, va="bottom", fontsize=9)
        noise.set_title("Noise on what is seen")
        noise.set_xlabel("standard deviations")
        noise.set_ylabel("mean squared error, raw units")
        lost.set_title("Samples lost, gap told")
        lost.set_xlabel("share that is lost")
        lost.set_ylabel("rise over the clean error (%)")
        amount.set_title("Training data")
        amount.set_xlabel("share of each training trace")
        amount.set_ylabel("clean error")
        if table["data_amount"]:
            amount.set_xscale("log")
            shares = [*(float(share) for share in table["data_amount"]), 1.0]
            amount.set_xticks(shares, [f"{share:.0%}" for share in shares], minor=False)
            amount.minorticks_off()
        handles, names = noise.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names))
        facts = (
            f"{table['data']}, {table['seeds']} seeds, about as many parameters each; trained on whole clean windows"
        )
        headline(figure, "HalfCheetah: prediction of the next step", facts)
        return save(figure, Path(path_png))


def _line(axes: Axes, found: Mapping[str, Any], factor: float, label: str, look: dict[str, Any]) -> None:
    x = np.array([float(key) for key in found])
    mean = factor * np.array([value["mean"] for value in found.values()])
    sd = factor * np.array([value["sd"] or 0.0 for value in found.values()])
    axes.fill_between(x, mean - sd, mean + sd, color=look["color"], alpha=0.15, lw=0)
    axes.plot(x, mean, label=label, **look)
