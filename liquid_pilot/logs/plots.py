"""Plots of flight logs as PNG bytes, through matplotlib without a window (extra `report`)."""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from liquid_pilot.errors import MissingExtraError
from liquid_pilot.logs.replay import AXES

if TYPE_CHECKING:
    from liquid_pilot.logs.replay import Difference
    from liquid_pilot.logs.summary import FlightSeries, Span

BLUE: Final = "#0072B2"
VERMILION: Final = "#D55E00"
GREEN: Final = "#009E73"
GREY: Final = "#6b7680"
MOST_POINTS: Final = 4000  # of a curve: more are not seen, and make pages large
_STATE_COLOURS: Final = {"ACTIVE": "#e5f2ea", "DEGRADED": "#fdf0d5", "LAND": "#fbe0d2", "KILLED": "#f3d3d3"}
_UNITS: Final = ("thrust, m/s²", "roll rate, rad/s", "pitch rate, rad/s", "yaw rate, rad/s")


def _figure(rows: int, width: float = 9.5, height: float = 1.9) -> tuple[Any, list[Any]]:
    try:
        figure = importlib.import_module("matplotlib.figure").Figure(
            figsize=(width, 0.7 + height * rows), dpi=110, layout="constrained"
        )
    except ImportError as error:
        raise MissingExtraError(
            "plots need the package matplotlib; install it with: pip install 'liquid-pilot[report]'"
        ) from error
    axes = list(np.atleast_1d(figure.subplots(rows, 1, sharex=True)))
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(color="#e6eaed", linewidth=0.8)
        one.set_axisbelow(True)
    axes[-1].set_xlabel("time, s")
    return figure, axes


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def _line(axes: Any, t_s: Any, y: Any, colour: str, label: str | None = None, style: str = "-") -> None:
    """A curve, thinned to `MOST_POINTS`; what is not finite, or beyond what can be drawn, leaves a gap."""
    t, values = np.asarray(t_s, dtype=np.float64), np.asarray(y, dtype=np.float64)
    step = max(1, len(t) // MOST_POINTS)
    t, values = t[::step], values[::step]
    drawn = np.isfinite(t) & (np.abs(np.where(np.isfinite(t), t, np.inf)) < 1e9)
    values = np.where(
        np.isfinite(values) & (np.abs(np.nan_to_num(values, posinf=1e30, neginf=1e30)) < 1e9), values, np.nan
    )
    axes.plot(t[drawn], values[drawn], style, color=colour, linewidth=1.2, label=label)


def _literal(text: str) -> str:
    """Foreign text as it is: a dollar sign would make it a formula, a leading underscore would hide it."""
    return " " + "".join(c if c.isprintable() and ord(c) < 0x250 else "?" for c in text)[:60].replace("$", r"\$")


def _shade(axes: Sequence[Any], spans: Sequence[Span]) -> None:
    for one in axes:
        for span in spans:
            if span.state in _STATE_COLOURS and span.start_s < span.end_s:
                one.axvspan(span.start_s, span.end_s, color=_STATE_COLOURS[span.state], zorder=0)


def difference_plot(found: Difference, name_a: str, name_b: str) -> bytes:
    """Both commands over each other, axis by axis, and how far apart they are."""
    figure, axes = _figure(5)
    for k, one in enumerate(axes[:4]):
        _line(one, found.t_s, found.a[:, k], BLUE, _literal(name_a))
        _line(one, found.t_s, found.b[:, k], VERMILION, _literal(name_b), "--")
        one.set_ylabel(_UNITS[k])
    axes[0].legend(loc="upper right", frameon=False, ncols=2)
    for k, (colour, style) in enumerate(zip((GREY, BLUE, VERMILION, GREEN), ("-", "--", ":", "-."), strict=True)):
        _line(axes[4], found.t_s, found.b[:, k] - found.a[:, k], colour, AXES[k].removesuffix("_rad_s"), style)
    axes[4].set_ylabel("difference")
    axes[4].legend(loc="upper right", frameon=False, ncols=4)
    return _png(figure)


def setpoint_plot(series: FlightSeries, spans: Sequence[Span]) -> bytes:
    """What was asked for and what was flown: height by the range finder, velocity by flow times range."""
    figure, axes = _figure(4)
    _shade(axes, spans)
    rows: tuple[tuple[Any, Any, str], ...] = (
        (series.setpoint[:, 2], series.range_m, "height, m"),
        (series.setpoint[:, 0], series.velocity_m_s[:, 0], "forward, m/s"),
        (series.setpoint[:, 1], series.velocity_m_s[:, 1], "left, m/s"),
        (series.setpoint[:, 3], series.gyro_rad_s[:, 2], "yaw rate, rad/s"),
    )
    for one, (wanted, measured, label) in zip(axes, rows, strict=True):
        _line(one, series.t_s, measured, BLUE, "measured")
        _line(one, series.t_s, wanted, VERMILION, "set-point", "--")
        one.set_ylabel(label)
    axes[0].legend(loc="upper right", frameon=False, ncols=2)
    return _png(figure)


def command_plot(series: FlightSeries, spans: Sequence[Span]) -> bytes:
    """Commands, and the rates that the gyro measured."""
    figure, axes = _figure(4)
    _shade(axes, spans)
    for k, one in enumerate(axes):
        if k:
            _line(one, series.t_s, series.gyro_rad_s[:, k - 1], GREY, "measured")
        else:
            _line(one, series.t_s, series.accel_m_s2[:, 2], GREY, "measured")
        _line(one, series.command_t_s, series.commands[:, k], BLUE, "command")
        one.set_ylabel(_UNITS[k])
    axes[0].legend(loc="upper right", frameon=False, ncols=2)
    return _png(figure)


def path_plot(series: FlightSeries) -> bytes:
    """Positions from above."""
    figure, (axes,) = _figure(1, 6.0, 5.0)
    _line(axes, series.position_m[:, 0], series.position_m[:, 1], BLUE)
    axes.set_xlabel("east, m")
    axes.set_ylabel("north, m")
    axes.set_aspect("equal", adjustable="datalim")
    return _png(figure)
