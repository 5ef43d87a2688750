"""The learning curve of a training run, from the log that the trainer keeps."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes

from liquid_pilot.errors import ConfigError
from scripts.pictures.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    VERMILION,
    Array,
    headline,
    house_style,
    new_figure,
    note,
    plain_log_ticks,
    save,
)

REQUIRED: Final = ("elapsed_s", "loss")
RETURN: Final = "mean return of an episode"


def read_progress(path: str | Path) -> dict[str, Array]:
    """Columns of a progress log, CSV or JSON lines (`.jsonl`). Blank cells become NaN.

    Raises `ConfigError` where the file is missing, empty or without `elapsed_s` and `loss`.
    """
    file = Path(path)
    if not file.is_file():
        raise ConfigError(f"no training log at {file}; give the progress.csv of a training run")
    text = file.read_text(encoding="utf-8")
    rows: list[dict[str, Any]]
    if file.suffix == ".jsonl":
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    else:
        rows = list(csv.DictReader(text.splitlines()))
    names = list(dict.fromkeys(name for row in rows for name in row))
    missing = [name for name in REQUIRED if name not in names]
    if missing or not rows:
        raise ConfigError(f"{file} has the columns {names} and {len(rows)} rows; it needs {list(REQUIRED)} and a row")
    return {name: np.array([_number(row.get(name)) for row in rows]) for name in names}


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def draw_learning_curve(log: str | Path, path_png: str | Path, title: str = "Learning curve") -> Path:
    """Loss and training horizon, validation success, and validation speed error over the time spent.

    Of HalfCheetah returns, of a tuning to a camera errors of features, in the place of the last two.
    log: see `read_progress`. Returns the path of the PNG.
    """
    progress = read_progress(log)
    minutes = progress["elapsed_s"] / 60.0
    late = float(np.nanmax(progress["elapsed_s"]))
    clock, unit = (progress["elapsed_s"], "s") if late < 300.0 else (minutes, "minutes")
    with house_style():
        figure = new_figure(13.0, 4.6)
        loss, success, error = figure.subplots(1, 3)
        _loss(loss, progress, clock)
        if "return_regular" in progress:
            _plain(success, progress, clock, "return_regular", "return at regular time", RETURN)
            _plain(error, progress, clock, "return_irregular", "return at irregular time", RETURN)
        elif "camera_error" in progress:
            _features(success, progress, clock, "camera_error", "features of the camera's grids")
            _features(error, progress, clock, "ray_error", "features of true rays' grids")
        else:
            _success(success, progress, clock)
            _error(error, progress, clock)
        for axes in (loss, success, error):
            axes.set_xlabel(f"training time ({unit})")
            axes.set_xlim(0.0, max(float(np.nanmax(clock)) * 1.02, 1e-6))
        updates = progress.get("update")
        count = f"{int(np.nanmax(updates)):,} updates, " if updates is not None else ""
        headline(figure, title, f"{count}{late:.0f} s; validation = whole flights that are not used to train")
        return save(figure, Path(path_png))


def _loss(axes: Axes, progress: dict[str, Array], clock: Array) -> None:
    axes.set_title("Training loss (bold: smoothed)")
    axes.set_ylabel("loss")
    known = np.isfinite(progress["loss"])
    if not known.any():
        note(axes, "no finite loss")
        return
    loss, when = progress["loss"][known], clock[known]
    draw = axes.semilogy if loss.min() > 0 else axes.plot
    draw(when, loss, color=BLUE, lw=0.8, alpha=0.35)
    draw(when, _smooth(loss), color=BLUE)
    if axes.get_yscale() == "log":
        plain_log_ticks(axes)
    horizon = progress.get("horizon_s")
    if horizon is not None and np.isfinite(horizon[known]).all():
        other = axes.twinx()
        other.grid(False)
        other.plot(when, _smooth(horizon[known]), color=ORANGE, lw=1.4, ls="--")
        other.set_ylim(0.0, float(horizon[known].max()) * 1.25)
        other.set_ylabel("horizon of a training flight (s)", color=ORANGE)
        other.tick_params(axis="y", labelcolor=ORANGE)


def _smooth(values: Array) -> Array:
    """Median over a sliding window of about 2 % of the run."""
    half = max(1, len(values) // 100)
    return np.array([np.median(values[max(0, i - half) : i + half + 1]) for i in range(len(values))])


def _success(axes: Axes, progress: dict[str, Array], clock: Array) -> None:
    axes.set_title("Validation: still up (% of flights)")
    known = _validated(progress, "success_rate")
    if known is None:
        note(axes, "no validation yet")
        return
    axes.plot(clock[known], 100.0 * progress["success_rate"][known], "o-", ms=4, color=GREEN)
    axes.axhline(99.0, color=GREY, lw=1.0, ls="--")
    axes.text(0.0, 98.0, "  99 %", color=GREY, va="top", fontsize=9)
    axes.set_ylim(0.0, 103.0)
    axes.set_ylabel("%")


def _error(axes: Axes, progress: dict[str, Array], clock: Array) -> None:
    axes.set_title("Validation: median speed error")
    known = _validated(progress, "speed_error_median_m_s")
    if known is None:
        note(axes, "no flight has stayed up yet")
        return
    axes.semilogy(clock[known], progress["speed_error_median_m_s"][known], "o-", ms=4, color=VERMILION)
    axes.axhline(0.1, color=GREY, lw=1.0, ls="--")
    top = float(progress["speed_error_median_m_s"][known].max())
    axes.set_ylim(0.02, max(1.0, 1.5 * top))
    plain_log_ticks(axes)
    axes.set_ylabel("m/s (failed flights count as 2)")


def _plain(axes: Axes, progress: dict[str, Array], clock: Array, name: str, title: str, unit: str) -> None:
    axes.set_title(f"Validation: {title}")
    known = _validated(progress, name)
    if known is None:
        note(axes, "no validation yet")
        return
    axes.plot(clock[known], progress[name][known], "o-", ms=4, color=GREEN)
    axes.set_ylabel(unit)


def _features(axes: Axes, progress: dict[str, Array], clock: Array, name: str, title: str) -> None:
    _plain(axes, progress, clock, name, title, "root mean square error (features: -1 to 1)")
    before = progress["camera_error_before"]
    if np.isfinite(before).any():
        axes.axhline(float(np.nanmax(before)), color=GREY, lw=1.0, ls="--", label="camera, before")
        axes.set_ylim(0.0, 1.1 * float(np.nanmax(np.append(progress[name], before))))
        axes.legend(loc="lower right")


def _validated(progress: dict[str, Array], name: str) -> npt.NDArray[np.bool_] | None:
    """Which rows hold a finite value of `name`; None where there is none (failed flights count as infinite)."""
    column = progress.get(name)
    if column is None or not np.isfinite(column).any():
        return None
    return np.isfinite(column)
