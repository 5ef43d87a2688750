"""One flight as a page: path, height, velocity, tilt, commands, sensor arrivals, supervisor."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.ticker import MaxNLocator
from mpl_toolkits.mplot3d.art3d import Line3DCollection

from envs.trace import FlightTrace
from scripts.pictures.neurons import draw_neurons
from scripts.pictures.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    PURPLE,
    SKY,
    VERMILION,
    Array,
    headline,
    house_style,
    new_figure,
    plain_log_ticks,
    save,
)

SETTLE_S: Final = 5.0  # errors are averaged from this long after release, as the scores are
TILT_FROM_S: Final = 3.0
TILT_LIMIT_DEG: Final = 20.0
_TIME_MAP: Final = "viridis"
STATE_COLOURS: Final = {"ACTIVE": GREEN, "DEGRADED": ORANGE, "LAND": VERMILION, "KILLED": INK}
_SENSORS: Final = (("imu", "IMU", BLUE), ("flow", "Flow", GREEN), ("range", "Range", PURPLE))


def draw_flight(trace: FlightTrace, path_png: str | Path, title: str) -> list[Path]:
    """Draw the flight to `path_png` and, where there are neurons, to a sibling `*_neurons.png`.

    Times on every axis count from the release, in seconds. Returns the files written.
    """
    path = Path(path_png)
    with house_style():
        figure = new_figure(15.5, 11.5)
        left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.0, 1.45))[0]
        upper, lower = left.subfigures(2, 1, squeeze=False, height_ratios=(1.1, 1.0))[:, 0]
        _path(upper.add_subplot(projection="3d"), trace)
        _ground_track(lower.add_subplot(), trace)
        grid = right.add_gridspec(8, 1, height_ratios=(3, 3, 3, 2.4, 2.4, 2.6, 2.2, 0.8))
        first = right.add_subplot(grid[0])
        panels = [first] + [right.add_subplot(grid[row], sharex=first) for row in range(1, 8)]
        for draw, axes in zip(_PANELS, panels, strict=True):
            draw(axes, trace)
            _release_line(axes, trace)
            axes.tick_params(labelbottom=axes is panels[-1])
        t = _since_release(trace)
        first.set_xlim(float(t[0]), float(t[-1]))
        panels[-1].set_xlabel("time since release (s)")
        headline(figure, title, _facts(trace))
        written = [save(figure, path)]
    if trace.hidden.shape[1]:
        written.append(draw_neurons(trace, path.with_name(f"{path.stem}_neurons.png"), f"{title}: neurons"))
    return written


def _since_release(trace: FlightTrace) -> Array:
    return np.asarray(trace.t_s - trace.release_s)


def _facts(trace: FlightTrace) -> str:
    """One line of numbers under the title."""
    t = _since_release(trace)
    settled = t >= SETTLE_S
    text = f"flown {t[-1]:.1f} s after release   lowest {trace.lowest_m:.2f} m, highest {trace.highest_m:.2f} m"
    if settled.any():
        text += (
            f"   from {SETTLE_S:.0f} s on: mean speed error {trace.speed_error_m_s[settled].mean():.3f} m/s,"
            f" mean height error {trace.height_error_m[settled].mean():.3f} m"
        )
    return text


def _release_line(axes: Axes, trace: FlightTrace) -> None:
    start = float(_since_release(trace)[0])
    if start < 0.0:
        axes.axvspan(start, 0.0, color=PALE, alpha=0.6, lw=0, zorder=0)
        axes.set_xlim(left=start)
    axes.axvline(0.0, color=GREY, lw=0.9)


def _path(axes: Any, trace: FlightTrace) -> None:
    """3-D path coloured by time, with its shadow on the ground."""
    p, t = trace.position_m, _since_release(trace)
    segments = np.stack([p[:-1], p[1:]], axis=1)  # (T-1, 2, 3)
    line = Line3DCollection(list(segments), cmap=_TIME_MAP, linewidths=2.4)
    line.set_array(t[:-1])
    axes.add_collection3d(line)
    axes.plot(p[:, 0], p[:, 1], 0.0 * p[:, 2], color="#b9c2c9", lw=2.4, zorder=0, label="shadow")
    start = int(np.searchsorted(t, 0.0))
    for index, marker, colour, label in ((start, "^", VERMILION, "release"), (-1, "o", INK, "end")):
        axes.plot([p[index, 0]] * 2, [p[index, 1]] * 2, [0.0, p[index, 2]], color=GREY, lw=0.9, ls=":")
        axes.scatter(*p[index], marker=marker, s=70, color=colour, depthshade=False, label=label, zorder=5)
    middle, half = (p.max(0) + p.min(0)) / 2, max(0.6, float(np.ptp(p[:, :2], axis=0).max()) / 2 * 1.1)
    axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))
    top = max(1.0, float(p[:, 2].max()) * 1.1)
    axes.set_zlim(0.0, top)
    axes.set_box_aspect((1.0, 1.0, min(1.3, max(0.6, top / (2 * half)))), zoom=0.92)
    axes.set(xlabel="east x (m)", ylabel="north y (m)", zlabel="height z (m)")
    axes.set_title("Path and its shadow on the ground")
    axes.view_init(elev=22, azim=-58)
    for axis in (axes.xaxis, axes.yaxis, axes.zaxis):
        axis.set_major_locator(MaxNLocator(5))
        axis.pane.set_facecolor("white")
        axis.pane.set_edgecolor(PALE)
    axes.legend(loc="upper right")


def _ground_track(axes: Axes, trace: FlightTrace) -> None:
    """The path from above, coloured by time."""
    p, t = trace.position_m[:, :2], _since_release(trace)
    line = LineCollection(list(np.stack([p[:-1], p[1:]], axis=1)), cmap=_TIME_MAP, linewidths=2.4)
    line.set_array(t[:-1])
    axes.add_collection(line)
    start = int(np.searchsorted(t, 0.0))
    axes.plot(*p[start], "^", ms=9, color=VERMILION, label="release")
    axes.plot(*p[-1], "o", ms=8, color=INK, label="end")
    wind = trace.wind_m_s[:, :2].mean(axis=0)
    speed = float(np.hypot(*wind))
    middle, half = (p.max(0) + p.min(0)) / 2, max(0.6, float(np.ptp(p, axis=0).max()) / 2 * 1.15)
    axes.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))
    if speed > 0.01:
        _wind_arrow(axes, p, wind / speed, speed)
    axes.set_aspect("equal")
    axes.set(xlabel="east x (m)", ylabel="north y (m)")
    axes.set_title("Ground track from above")
    bar = axes.figure.colorbar(line, ax=axes, shrink=0.8, pad=0.02)
    bar.set_label("time since release (s)")


def _wind_arrow(axes: Axes, p: Array, direction: Array, speed_m_s: float) -> None:
    """Arrow of the mean wind, in the corner that the path leaves free."""
    low, high = np.array([axes.get_xlim(), axes.get_ylim()]).T
    share = (p - low) / (high - low)  # (T, 2) in the unit square
    corners = np.array([(0.82, 0.84), (0.18, 0.84), (0.18, 0.12), (0.82, 0.12)])
    room = [np.hypot(*(share - corner).T).min() for corner in corners]
    centre = corners[int(np.argmax(room))]
    arrow = {"arrowstyle": "-|>", "color": SKY, "lw": 2.6, "mutation_scale": 18}
    tip, tail = centre + 0.07 * direction, centre - 0.07 * direction
    axes.annotate("", tuple(tip), tuple(tail), xycoords="axes fraction", textcoords="axes fraction", arrowprops=arrow)
    text = f"mean wind {speed_m_s:.1f} m/s"
    axes.text(centre[0], centre[1] + 0.09, text, transform=axes.transAxes, ha="center", color=GREY, fontsize=9.5)


def _height(axes: Axes, trace: FlightTrace) -> None:
    t = _since_release(trace)
    axes.plot(t, trace.setpoint_height_m, color=VERMILION, ls="--", label="commanded")
    axes.plot(t, trace.position_m[:, 2], color=BLUE, label="true")
    axes.axhspan(-1.0, 0.1, color=VERMILION, alpha=0.12, lw=0)
    axes.set_ylim(0.0, max(1.8, float(trace.position_m[:, 2].max()) * 1.1))
    axes.set_ylabel("m")
    axes.set_title("Height (grey: still in the hand)")
    _legend(axes, 2)


def _velocity(axes: Axes, trace: FlightTrace) -> None:
    t, v = _since_release(trace), trace.velocity_m_s
    for column, name, colour in ((0, "east", BLUE), (1, "north", GREEN), (2, "up", PURPLE)):
        axes.plot(t, v[:, column], color=colour, lw=1.4, label=name)
    axes.axhline(0.0, color=GREY, lw=0.8)
    axes.set_ylabel("m/s")
    axes.set_title("True velocity")
    _legend(axes, 3)


def _speed_error(axes: Axes, trace: FlightTrace) -> None:
    t, error = _since_release(trace), trace.speed_error_m_s
    axes.semilogy(t, np.maximum(error, 1e-3), color=VERMILION)
    axes.axhline(0.1, color=GREY, lw=1.0, ls="--")
    axes.text(float(t[-1]), 0.1, "0.1 ", color=GREY, ha="right", va="bottom", fontsize=9)
    axes.set_ylim(3e-3, max(2.0, float(error.max()) * 1.5))
    plain_log_ticks(axes)
    axes.set_ylabel("m/s")
    axes.set_title("Horizontal speed error (log scale)")


def _tilt(axes: Axes, trace: FlightTrace) -> None:
    t, tilt = _since_release(trace), np.rad2deg(trace.tilt_rad)
    axes.plot(t, tilt, color=BLUE)
    if t[-1] > TILT_FROM_S + 1.0:  # a shorter flight has no room for the line and its label
        axes.plot([TILT_FROM_S, float(t[-1])], [TILT_LIMIT_DEG] * 2, color=VERMILION, ls="--", lw=1.2)
        axes.text(TILT_FROM_S, TILT_LIMIT_DEG, " limit from 3 s on", color=VERMILION, va="bottom", fontsize=9)
    axes.set_ylim(0.0, max(30.0, float(tilt.max()) * 1.1))
    axes.set_ylabel("degrees")
    axes.set_title("Tilt")


def _thrust(axes: Axes, trace: FlightTrace) -> None:
    t = _since_release(trace)
    axes.plot(t[t >= 0], trace.thrust_m_s2[t >= 0], color=ORANGE, lw=1.0)
    axes.axhline(9.81, color=GREY, lw=1.0, ls="--")
    axes.text(float(t[-1]), 9.81, "g ", color=GREY, ha="right", va="bottom", fontsize=9)
    axes.set_ylabel("m/s²")
    axes.set_title("Commanded thrust per mass")


def _rates(axes: Axes, trace: FlightTrace) -> None:
    t = _since_release(trace)
    for column, name, colour in ((0, "roll", BLUE), (1, "pitch", GREEN), (2, "yaw", PURPLE)):
        axes.plot(t[t >= 0], trace.command_rates_rad_s[t >= 0, column], color=colour, lw=1.0, label=name)
    axes.set_ylabel("rad/s")
    axes.set_title("Commanded body rates")
    _legend(axes, 3)


def draw_arrivals(axes: Axes, trace: FlightTrace) -> None:
    """One tick for each delivered sample, a row per sensor; silences of 0.15 s and more are marked."""
    for row, (key, name, colour) in enumerate(_SENSORS):
        times = np.asarray(trace.arrivals_s.get(key, np.zeros(0))) - trace.release_s
        axes.vlines(times, row - 0.36, row + 0.36, color=colour, lw=0.5, alpha=0.8)
        end = float(_since_release(trace)[-1])
        label = f"{name} {len(times) / max(end + trace.release_s, 1e-9):.0f} Hz"
        axes.text(-0.012, row, label, transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=9)
        edges = np.concatenate([times, [end]])
        gaps = np.diff(edges)
        usual = float(np.median(gaps)) if len(gaps) else 0.0
        for index in np.flatnonzero(gaps > max(0.15, 4.0 * usual)):
            a, b = edges[index], edges[index + 1]
            axes.barh(row, b - a, 0.72, left=a, color="#f6d5c4", lw=0)
            if b - a > 0.4:
                axes.text((a + b) / 2, row, f"silent {b - a:.1f} s", ha="center", va="center", fontsize=8.5)
    axes.set_ylim(len(_SENSORS) - 0.5, -0.5)
    axes.set_yticks([])
    axes.grid(False)
    axes.set_title("Sensor samples as they arrive")


def _supervisor(axes: Axes, trace: FlightTrace) -> None:
    t = _since_release(trace)
    changes = [(when - trace.release_s, state) for when, state in trace.supervisor if when <= trace.t_s[-1]]
    ends = [when for when, _ in changes[1:]] + [float(t[-1])]
    for (start, state), end in zip(changes, ends, strict=False):  # without changes there is one end too many
        colour = STATE_COLOURS.get(state, PALE)
        axes.barh(0, end - start, 1.0, left=start, color=colour, alpha=0.85, ec="white", lw=1.0)
        if end - start > 0.07 * float(np.ptp(t)):
            ink = "white" if state in STATE_COLOURS else INK
            axes.text((start + end) / 2, 0, state, ha="center", va="center", fontsize=9, color=ink)
    seen = [state for state in STATE_COLOURS if any(state == other for _, other in changes)]
    for state in seen:
        axes.barh(5.0, 0.0, color=STATE_COLOURS[state], alpha=0.85, label=state)
    if seen:
        _legend(axes, len(seen))
    if not changes:
        axes.text(0.5, 0.5, "flown without a supervisor", transform=axes.transAxes, ha="center", va="center")
    axes.set_ylim(-0.5, 0.5)
    axes.set_yticks([])
    axes.grid(False)
    axes.set_title("Supervisor")


def _legend(axes: Axes, columns: int) -> None:
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.96), ncols=columns, borderaxespad=0.1)


_PANELS: Final = (_height, _velocity, _speed_error, _tilt, _thrust, _rates, draw_arrivals, _supervisor)
