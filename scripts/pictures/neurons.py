"""What the liquid neurons do in a flight: state and time constant of each, over time."""

from __future__ import annotations

from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from envs.trace import FlightTrace
from scripts.pictures.style import (
    GREY,
    INK,
    PALETTE,
    VERMILION,
    Array,
    headline,
    house_style,
    new_figure,
    note,
    plain_log_ticks,
    save,
)

Order: TypeAlias = npt.NDArray[np.int64]

_FEATURED: Final = 5  # neurons shown as lines; nineteen lines on one axis say nothing


def draw_neurons(trace: FlightTrace, path_png: str | Path, title: str) -> Path:
    """Heat maps of every neuron's state and time constant (log colours), and the busiest as lines.

    Rows are sorted from the fastest neuron to the slowest, in every panel alike.
    """
    t = trace.t_s - trace.release_s
    order = slowness_order(trace)
    with house_style():
        figure = new_figure(15.5, 11.0)
        grid = figure.add_gridspec(4, 1, height_ratios=(1.0, 3.6, 2.2, 3.6))
        first = figure.add_subplot(grid[0])
        panels = [first] + [figure.add_subplot(grid[row], sharex=first) for row in (1, 2, 3)]
        _error(first, trace, t)
        state_map(panels[1], trace, t, order)
        _lines(panels[2], trace, t, order)
        _tau_map(panels[3], trace, t, order)
        for axes in panels[:-1]:
            axes.tick_params(labelbottom=False)
        first.set_xlim(float(t[0]), float(t[-1]))
        panels[-1].set_xlabel("time since release (s)")
        units = trace.hidden.shape[1]
        headline(figure, title, f"{units} neurons, sorted: number 1 is the fastest, number {units} the slowest")
        return save(figure, Path(path_png))


def slowness_order(trace: FlightTrace) -> Order:
    """Row order: by median time constant where the cell has one, else as stored."""
    if trace.time_constant_s.shape[1]:
        return np.asarray(np.argsort(np.median(trace.time_constant_s, axis=0)), dtype=np.int64)
    return np.arange(trace.hidden.shape[1], dtype=np.int64)


def _error(axes: Axes, trace: FlightTrace, t: Array) -> None:
    axes.semilogy(t, np.maximum(trace.speed_error_m_s, 1e-3), color=VERMILION)
    axes.set_ylim(3e-3, None)
    plain_log_ticks(axes)
    axes.set_ylabel("m/s")
    axes.set_title("For orientation: horizontal speed error (log scale)")
    axes.axvline(0.0, color=GREY, lw=0.9)


def edges(t: Array) -> Array:
    """Cell edges of columns that start at each time stamp."""
    return np.append(t, t[-1] + (t[-1] - t[-2] if len(t) > 1 else 1.0))


def _rows(axes: Axes, units: int) -> None:
    step = 1 if units <= 24 else max(1, units // 12)
    axes.set_yticks(np.arange(0, units, step) + 0.5, [str(i + 1) for i in range(0, units, step)], fontsize=8)
    axes.set_ylim(units, 0)
    axes.set_ylabel("neuron")
    axes.grid(False)
    axes.axvline(0.0, color=INK, lw=1.0)


def state_map(axes: Axes, trace: FlightTrace, t: Array, order: Order) -> None:
    """Every neuron's state as colours, a row each. t: (T,) seconds since the release; order: of the rows."""
    states = trace.hidden[:, order].T  # (units, T)
    units = states.shape[0]
    limit = max(0.3, float(np.abs(states).max()))  # no contrast is invented for idle neurons
    mesh = axes.pcolormesh(
        edges(t), np.arange(units + 1), states, cmap="RdBu_r", vmin=-limit, vmax=limit, rasterized=True
    )
    _rows(axes, units)
    axes.set_title("State of each neuron")
    axes.figure.colorbar(mesh, ax=axes, pad=0.01, aspect=18).set_label("state")


def _lines(axes: Axes, trace: FlightTrace, t: Array, order: Order) -> None:
    states = trace.hidden[:, order]
    flying = t >= 0.0
    busiest = np.argsort(-states[flying].std(axis=0))[:_FEATURED]
    for colour, neuron in zip(PALETTE, sorted(busiest), strict=False):
        axes.plot(t, states[:, neuron], color=colour, lw=1.3, label=f"neuron {neuron + 1}")
    axes.axvline(0.0, color=INK, lw=1.0)
    axes.set_ylabel("state")
    axes.set_title(f"The {len(busiest)} busiest neurons")
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=len(busiest), borderaxespad=0.1)


def _tau_map(axes: Axes, trace: FlightTrace, t: Array, order: Order) -> None:
    if not trace.time_constant_s.shape[1]:
        note(axes, "this cell has no time constants")
        axes.set_title("Time constant of each neuron")
        return
    tau_ms = 1e3 * trace.time_constant_s[:, order].T  # (units, T)
    low, high = np.percentile(tau_ms, [1.0, 99.0])
    norm = LogNorm(max(float(low), 1e-3), max(float(high), float(low) * 1.01, 2e-3))
    mesh = axes.pcolormesh(edges(t), np.arange(len(tau_ms) + 1), tau_ms, cmap="cividis", norm=norm, rasterized=True)
    _rows(axes, len(tau_ms))
    axes.set_title("Time constant of each neuron (log colours)")
    bar = axes.figure.colorbar(mesh, ax=axes, pad=0.01, aspect=18, extend="both")
    bar.ax.yaxis.set_major_formatter(lambda value, _position: f"{value:g}")
    bar.set_label("time constant (ms)")
