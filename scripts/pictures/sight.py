"""What a policy that sees was shown in a flight, what its neurons did, and how near obstacles were: one time axis."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize

from envs.shapes import DRONE_RADIUS_M
from liquid_pilot.flow_grid import FLOW_KNEE_RAD_S
from scripts.pictures.avoid import BARK
from scripts.pictures.neurons import slowness_order, state_map
from scripts.pictures.outlines import clearances_m, outlines_deg
from scripts.pictures.style import GREY, INK, PALE, VERMILION, Array, headline, house_style, new_figure, note, save
from scripts.seen_flight import SeenFlight

FIELDS: Final = 6  # small fields of arrows at most
AHEAD_S: Final = 0.4  # so long before the drone passes an obstacle, its field is shown
APART_S: Final = 0.6  # passes that lie closer are one
NEAR_M: Final = 2.5  # farther obstacles are not passed
REACH_M: Final = 8.0  # obstacles nearer than this are outlined
DEG_PER_FLOW: Final = 2.8  # length of an arrow: a ray's spacing for a flow that is shown as 1
_KEY: Final = (
    "azimuth (degrees)      green: obstacles where they truly stood, the nearer the darker\n"
    "arrows: flow as the network was shown it, once the gyro has taken the rotation out; an arrow of "
    f"{DEG_PER_FLOW:g} degrees: {FLOW_KNEE_RAD_S:g} rad/s; none is longer than {2.0 * DEG_PER_FLOW:g}"
)
_COLOURS: Final = "RdBu_r"
_NORM: Final = Normalize(-2.0, 2.0)  # what a flow is shown as never leaves


def draw_sight(flight: SeenFlight, path_png: str | Path, title: str) -> Path:
    """Fields of arrows before the closest passes; below, over time: the middle row of the grid, neurons, free space.

    Times count from the release, in seconds. Returns the path.
    """
    trace = flight.trace
    free_m = clearances_m(trace, DRONE_RADIUS_M)
    passes = passes_s(np.asarray(trace.t_s - trace.release_s), free_m)
    with house_style():
        figure = new_figure(15.5, 16.0)
        upper, lower = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.0, 2.0))[:, 0]
        fields = upper.subplots(2, 3, squeeze=False, sharex=True, sharey=True).ravel()
        for number, axes in enumerate(fields):
            if number < len(passes):
                _field(axes, flight, number + 1, float(passes[number]))
            else:
                axes.set_axis_off()
        for axes in fields[::3]:
            axes.set_ylabel("elevation (degrees)")
        upper.supxlabel(_KEY, fontsize=10, color=GREY)
        grid = lower.add_gridspec(3, 1, height_ratios=(2.6, 3.4, 1.7))
        first = lower.add_subplot(grid[0])
        panels = [first] + [lower.add_subplot(grid[row], sharex=first) for row in (1, 2)]
        t = np.asarray(trace.t_s - trace.release_s)
        _middle_row(first, flight)
        if trace.hidden.shape[1]:
            state_map(panels[1], trace, t, slowness_order(trace))
            panels[1].set_title(
                f"State of each of the {trace.hidden.shape[1]} neurons, from the fastest to the slowest"
            )
        else:
            note(panels[1], "this policy keeps nothing in mind")
        _free_space(panels[2], t, free_m, passes)
        for axes in panels:
            axes.tick_params(labelbottom=axes is panels[-1])
            _mark(axes, passes, numbers=axes is not panels[1])
        first.set_xlim(0.0, float(t[-1]))
        panels[-1].set_xlabel("time since release (s)")
        headline(figure, title, _facts(flight, free_m))
        return save(figure, Path(path_png))


def passes_s(t: Array, free_m: Array) -> Array:
    """When the nearest passes were, in their order, at most `FIELDS`. t: (T,) since the release; free_m: (T,)."""
    inner = np.flatnonzero((free_m[1:-1] <= free_m[:-2]) & (free_m[1:-1] < free_m[2:])) + 1
    found = list[int]()
    for k in sorted(inner.tolist(), key=lambda k: float(free_m[k])):
        soon = t[k] < AHEAD_S or free_m[k] > NEAR_M
        if not soon and all(abs(t[k] - t[other]) >= APART_S for other in found) and len(found) < FIELDS:
            found.append(k)
    return np.asarray(t[sorted(found)], np.float64)


def _facts(flight: SeenFlight, free_m: Array) -> str:
    """One line of numbers under the title."""
    trace = flight.trace
    t, x = trace.t_s - trace.release_s, trace.position_m[:, 0]
    flying = t >= 0.0
    grids = int((~np.isnan(flight.shown[:, 0, 0, 0]) & (flight.t_s >= trace.release_s)).sum())
    length_s, crossed_m = max(float(t[-1]), 1e-9), x[-1] - x[flying][0]
    return (
        f"{'crossed' if trace.outcome == 'success' else trace.outcome}: {crossed_m:.1f} m in {length_s:.1f} s"
        f"   mean {crossed_m / length_s:.2f} m/s along the course   least free space {free_m[flying].min():.2f} m"
        f"   {grids} grids, {grids / length_s:.0f} Hz"
    )


def _shown_at(flight: SeenFlight, t_s: float) -> tuple[float, Array | None]:
    """Since when (after the release), and which grid the network was shown; None where it was shown none."""
    number = int(np.searchsorted(flight.t_s, t_s + flight.trace.release_s + 1e-9)) - 1
    if number < 0 or np.isnan(flight.shown[number]).any():
        return t_s, None
    return float(flight.t_s[number]) - flight.trace.release_s, np.asarray(flight.shown[number])


def _field(axes: Axes, flight: SeenFlight, number: int, pass_s: float) -> None:
    """The grid as arrows, as the drone looks at the world: left is left. Behind it what truly stands there."""
    trace, layout = flight.trace, flight.layout
    since_s, shown = _shown_at(flight, pass_s - AHEAD_S)
    azimuth, elevation = (np.rad2deg(angles) for angles in (layout.azimuth_rad, layout.elevation_rad))
    at = int(np.clip(np.searchsorted(trace.t_s, since_s + trace.release_s), 0, len(trace.t_s) - 1))
    shapes = outlines_deg(trace, at, REACH_M)
    shades = [0.35 + 0.65 * (1.0 - distance_m / REACH_M) for distance_m, _ in shapes]
    axes.add_collection(PolyCollection([s for _, s in shapes], facecolors=[(BARK, a) for a in shades], lw=0, zorder=1))
    axes.set_title(f"{number}: seen at {since_s:.2f} s, {AHEAD_S:g} s before pass {number}")
    axes.set(xlim=(48.0, -48.0), ylim=(-22.0, 22.0), aspect="equal")
    axes.grid(False)
    if shown is None:
        axes.text(0.5, 0.5, "no grid", transform=axes.transAxes, ha="center", va="center", color=GREY)
        return
    left, up = DEG_PER_FLOW * shown
    x, y = np.meshgrid(azimuth, elevation)
    arrows: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1.0, "width": 0.0032, "minlength": 0.6}
    heads: dict[str, Any] = {"headwidth": 3.6, "headlength": 3.6, "headaxislength": 3.4}
    axes.quiver(x, y, left, up, color=INK, zorder=3, **arrows, **heads)


def _middle_row(axes: Axes, flight: SeenFlight) -> None:
    """Flow to +azimuth of the middle row: azimuth over time."""
    trace, middle = flight.trace, len(flight.layout.elevation_rad) // 2
    azimuth = np.rad2deg(flight.layout.azimuth_rad)
    begin = flight.t_s - trace.release_s
    times = np.append(begin, trace.t_s[-1] - trace.release_s)
    steps = 0.5 * np.diff(azimuth)
    sides = np.concatenate([azimuth[:1] - steps[:1], azimuth[:-1] + steps, azimuth[-1:] + steps[-1:]])
    row = np.ma.masked_invalid(flight.shown[:, 0, middle].T)  # (rays, n)
    mesh = axes.pcolormesh(times, sides, row, cmap=_COLOURS, norm=_NORM, rasterized=True)
    axes.set_facecolor(PALE)  # where it was shown none
    axes.set_ylim(sides[-1], sides[0])
    axes.set_yticks(np.arange(-40.0, 41.0, 20.0))
    axes.set_ylabel("azimuth (degrees)\nright $\\leftarrow$   $\\rightarrow$ left")
    elevation = math.degrees(flight.layout.elevation_rad[middle])
    axes.set_title(f"Flow across the view as the network was shown it, in the row at {elevation:.0f} degrees")
    axes.grid(False)
    bar = axes.figure.colorbar(mesh, ax=axes, pad=0.01, aspect=18, ticks=[-2, -1, 0, 1, 2])
    bar.set_label("flow, shown as\nblue: to the right   red: to the left")


def _free_space(axes: Axes, t: Array, free_m: Array, passes: Array) -> None:
    axes.plot(t, free_m, color=INK)
    axes.axhspan(-1.0, 0.0, color=VERMILION, alpha=0.25, lw=0)
    if len(passes):
        axes.plot(passes, np.interp(passes, t, free_m), "o", color=VERMILION, ms=7, zorder=4)
    axes.set_ylim(-0.15, 3.5)
    axes.set_ylabel("free space (m)")
    axes.set_title("From the drone's guard to the nearest obstacle (below 0: touched); dots: the closest passes")


def _mark(axes: Axes, passes: Array, numbers: bool) -> None:
    """When the fields of arrows were seen (dashed), with their numbers."""
    for number, pass_s in enumerate(passes, start=1):
        axes.axvline(pass_s - AHEAD_S, color=INK, lw=1.0, ls="--", zorder=5)
        if not numbers:
            continue
        box = {"boxstyle": "circle,pad=0.2", "facecolor": "white", "edgecolor": INK, "lw": 0.8}
        axes.text(
            pass_s - AHEAD_S,
            0.9,
            str(number),
            transform=axes.get_xaxis_transform(),
            ha="center",
            va="center",
            fontsize=9,
            bbox=box,
            zorder=6,
        )
