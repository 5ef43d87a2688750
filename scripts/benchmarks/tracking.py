"""The figure-eight: how far conventional controllers stay from a path of 1.0 x 0.5 m, lap by lap faster.

Second-lap RMSE of the position, 3-d, in PyBulletQuad with motor lag, told the true state. Commands leave at IMU events
(100 Hz) through the rate loop and the command limits of the policies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from rich.progress import Progress

from envs.airframe import Airframe
from envs.conditions import Conditions
from envs.references import EIGHT_PERIODS_S, hover, velocity_steps
from liquid_pilot.command import DEFAULT_LIMITS
from liquid_pilot.observation import GRAVITY_M_S2
from scripts.benchmarks.eights import (
    DRAWN,
    NOMINAL,
    PLACES_HZ,
    PLACES_LOST,
    WAIT_S,
    Contender,
    filtered,
    fly_along,
    fly_eight,
    geometric,
    pid,
    policy,
    rmse_m,
    told,
)
from scripts.console import OUT
from scripts.files import write_json
from scripts.pictures.tracking import Lap, draw_tracking
from scripts.tables import number, rich_table

SETTLE_TITLE: Final = "hover from 0.8 m away, nominal: until it stays within 0.1 m"
AT_LIMIT: Final = 0.999
OFFSET_M: Final = 0.8  # a hover settles from so far away
SETTLED_M: Final = 0.1
SETTLE_S: Final = 8.0
CONTENDERS: Final = (
    Contender("geometric", told(geometric)),
    Contender("PID, feed-forward", told(pid)),
    Contender("PID, positions alone", told(pid, feed_forward=False)),
    Contender("PID, feed-forward, EKF: IMU, flow, range", filtered),
    Contender(f"the same and places at {PLACES_HZ[0]:g} Hz, {100.0 * PLACES_LOST:g} % lost", filtered, PLACES_HZ),
    replace(policy("track-position"), name="track-position: IMU, attitude, places at 20 to 50 Hz, 20 % lost"),
)
# Other people's published controllers on the same figure in PyBullet, one run each, not flown by this script (m; None:
# lost). The PID of gym-pybullet-drones flew without motor lag, RAPTOR with 0.06 s; both paths began at full speed.
PUBLISHED: Final[Mapping[str, tuple[float | None, ...]]] = {
    "PID with velocity feed-forward (published)": (0.042, 0.127, None),
    "RAPTOR (published)": (0.064, 0.180, None),
}
SETTLE_PUBLISHED: Final[Mapping[str, tuple[float | None, float]]] = {  # seconds from 0.81 m, mean error (m)
    "PID of gym-pybullet-drones (published)": (0.84, 0.030),
    "RAPTOR (published)": (None, 0.015),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """A contender at one period. None: the flight was lost. limited: share of commands at a limit in that lap.

    drawn_rmse_m, drawn_lost: median of, and lost among, flights of drones that all differ, in wind.
    """

    controller: str
    period_s: float
    rmse_m: float | None
    worst_m: float | None
    thrust_m_s2: float
    rate_rad_s: float
    limited: float
    drawn_rmse_m: float | None
    drawn_lost: int
    flights: int


def settle(contender: Contender, airframe: Airframe, conditions: Conditions, seed: int) -> tuple[float, float]:
    """(seconds until it stays within SETTLED_M of a place that was OFFSET_M away, mean error of the last 2 s in m).

    Infinite where it never does, or was lost.
    """
    duration_s, height = WAIT_S + SETTLE_S, 1.0
    jump = velocity_steps([(0.0, (0.0, 0.0, 0.0))], (OFFSET_M, 0.0, height))
    home = hover((0.0, 0.0, height))
    trace = fly_along(
        contender, airframe, lambda t_s: jump(t_s) if t_s >= 0.0 else home(t_s), conditions, seed, duration_s
    )
    t = trace.t_s - trace.release_s - WAIT_S
    if t[-1] < SETTLE_S - 1e-6:
        return math.inf, math.inf
    off = np.linalg.norm(trace.position_m - (OFFSET_M, 0.0, height), axis=1)
    outside = np.flatnonzero((off > SETTLED_M) & (t >= 0.0))
    last = float(t[outside[-1]]) if len(outside) else 0.0
    return last if last < SETTLE_S - 2.0 else math.inf, float(off[t >= SETTLE_S - 2.0].mean())


def measure(
    airframe: Airframe, flights: int, progress: Progress, periods_s: Sequence[float] = EIGHT_PERIODS_S
) -> tuple[list[Figure], dict[tuple[str, float], Lap]]:
    """Figures of every contender at every period, and the nominal laps by (controller, period)."""
    nominal = replace(NOMINAL, motor_tau_s=(airframe.motor_tau_up_s,) * 2)
    task = progress.add_task("figure-eights", total=len(periods_s) * len(CONTENDERS) * (1 + flights))
    figures, laps = list[Figure](), dict[tuple[str, float], Lap]()
    for period_s in periods_s:
        for contender in CONTENDERS:
            lap = fly_eight(contender, airframe, period_s, nominal, 0)
            progress.advance(task)
            laps[contender.name, period_s] = lap
            drawn = []
            for seed in range(flights):
                drawn.append(rmse_m(fly_eight(contender, airframe, period_s, DRAWN, seed)))
                progress.advance(task)
            figures.append(_figure(contender.name, period_s, lap, np.array(drawn)))
    progress.remove_task(task)
    return figures, laps


def _figure(name: str, period_s: float, lap: Lap, drawn: npt.NDArray[np.float64]) -> Figure:
    off = np.linalg.norm(lap.position_m - lap.wanted_m, axis=1)
    low, high = DEFAULT_LIMITS.thrust_m_s2
    at_limit = (lap.thrust_m_s2 >= AT_LIMIT * high) | (lap.thrust_m_s2 <= low)
    at_limit |= (lap.rates_rad_s >= AT_LIMIT * np.array(DEFAULT_LIMITS.rates_rad_s)).any(axis=1)
    lost = len(off) == 0
    return Figure(
        name,
        period_s,
        None if lost else rmse_m(lap),
        None if lost else float(off.max()),
        0.0 if lost else float(lap.thrust_m_s2.max()),
        0.0 if lost else float(lap.rates_rad_s.max()),
        0.0 if lost else float(at_limit.mean()),
        _finite_median(drawn),
        int(np.isinf(drawn).sum()),
        len(drawn),
    )


def _finite_median(values: npt.NDArray[np.float64]) -> float | None:
    """Median with lost flights as infinite; None without flights or where it is infinite."""
    middle = float(np.sort(values)[len(values) // 2]) if len(values) else math.inf
    return middle if math.isfinite(middle) else None


def settle_rows(airframe: Airframe) -> list[list[str]]:
    """Nominal drones from `OFFSET_M` away, contender by contender, and what others have published."""
    nominal = replace(NOMINAL, motor_tau_s=(airframe.motor_tau_up_s,) * 2)
    rows = []
    for contender in CONTENDERS:
        seconds, error = settle(contender, airframe, nominal, 0)
        rows.append([contender.name, f"{seconds:.2f}" if math.isfinite(seconds) else "never", number(error)])
    theirs = SETTLE_PUBLISHED.items()
    return rows + [[name, "-" if s is None else f"{s:.2f}", number(error)] for name, (s, error) in theirs]


def present(
    figures: Sequence[Figure],
    laps: Mapping[tuple[str, float], Lap],
    settled: Sequence[Sequence[str]],
    airframe: str,
    folder: Path,
) -> list[Path]:
    """Print the tables, write tracking.json, draw tracking.png; returns both paths."""
    periods = list(dict.fromkeys(figure.period_s for figure in figures))
    names = list(dict.fromkeys(figure.controller for figure in figures))
    by_key = {(figure.controller, figure.period_s): figure for figure in figures}
    header = ("what", *(f"T = {period:g} s" for period in periods))
    own = [[name, *(_lost_or(by_key[name, period].rmse_m) for period in periods)] for name in names]
    theirs = [
        [name, *(_lost_or(dict(zip(EIGHT_PERIODS_S, values, strict=True))[period]) for period in periods)]
        for name, values in PUBLISHED.items()
        if set(periods) <= set(EIGHT_PERIODS_S)
    ]
    OUT.print(rich_table(f"figure-eight, 1.0 x 0.5 m, second-lap RMSE (m): {airframe}, nominal", header, own + theirs))
    if figures[0].flights:
        rows = [[name, *(_drawn_text(by_key[name, period]) for period in periods)] for name in names]
        title = f"the same, median of {figures[0].flights} drawn drones, wind to {DRAWN.wind_m_s[1]:g} m/s (lost)"
        OUT.print(rich_table(title, header, rows))
    OUT.print(rich_table(SETTLE_TITLE, ("what", "settles in (s)", "mean error, last 2 s (m)"), settled))
    rows = [[name, *(_effort(by_key[name, period]) for period in periods)] for name in names]
    thrust, rate = DEFAULT_LIMITS.thrust_m_s2[1], DEFAULT_LIMITS.rates_rad_s[0]
    title = f"largest thrust over g (limit {thrust / GRAVITY_M_S2:g}), body rate in rad/s (limit {rate:g}), at a limit"
    OUT.print(rich_table(title, header, rows))
    OUT.print(
        "Published: other people's published controllers, given as constants of one run each in PyBullet, not flown "
        "here; that PID (gym-pybullet-drones) had no motor lag, and paths began at full speed. Positions alone: a path "
        "is followed late, by the speed over the gain of the position loop."
    )
    path = folder / "tracking.json"
    write_json(path, {"figures": [asdict(figure) for figure in figures], "airframe": airframe, "published": PUBLISHED})
    return [path, draw_tracking(laps, folder / "tracking.png", {key: f.rmse_m for key, f in by_key.items()})]


def _lost_or(value: float | None) -> str:
    return "lost" if value is None else number(value)


def _drawn_text(figure: Figure) -> str:
    return f"{_lost_or(figure.drawn_rmse_m)} ({figure.drawn_lost})"


def _effort(figure: Figure) -> str:
    if figure.rmse_m is None:
        return "lost"
    return f"{figure.thrust_m_s2 / GRAVITY_M_S2:.2f}, {figure.rate_rad_s:.1f}, {figure.limited:.0%}"
