"""The figure-eight: how far conventional controllers stay from a path of 1.0 x 0.5 m, lap by lap faster.

Second-lap RMSE of the position, 3-d, in PyBulletQuad with motor lag, told the true state. Commands leave at IMU events
(100 Hz) through the rate loop and the command limits of the policies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from rich.progress import Progress

from envs.airframe import Airframe
from envs.conditions import Conditions
from envs.flights import draw_flights
from envs.references import Reference, figure_eight, hover, lap_s, velocity_steps
from envs.trace import FlightTrace
from liquid_pilot.command import DEFAULT_LIMITS
from liquid_pilot.observation import GRAVITY_M_S2
from policies.experts.ekf_follower import EkfFollower
from policies.experts.following import Follower, Tracker
from policies.experts.geometric import GeometricController, GeometricGains
from policies.experts.pid import PidController, pid_gains
from scripts.console import OUT
from scripts.files import write_json
from scripts.flying import import_pybullet
from scripts.pictures.tracking import Lap, draw_tracking
from scripts.tables import number, rich_table

SETTLE_TITLE: Final = "hover from 0.8 m away, nominal: until it stays within 0.1 m"
PERIODS_S: Final = (10.0, 5.5, 3.5)
WAIT_S: Final = 3.0  # to settle after the release
AT_LIMIT: Final = 0.999
PLACES_HZ: Final = 30.0  # of motion capture, for who has it
OFFSET_M: Final = 0.8  # a hover settles from so far away
SETTLED_M: Final = 0.1
SETTLE_S: Final = 8.0


@dataclass(frozen=True, slots=True)
class Contender:
    """A controller, and whether it is told more of the path than positions."""

    name: str
    make: Callable[[Airframe], Tracker]
    feed_forward: bool
    sensed: bool = False  # behind a Kalman filter on the drone's sensors, instead of being told the true state
    position_hz: float = 0.0


def _geometric(_: Airframe) -> Tracker:
    return GeometricController(GeometricGains(tilt_limit_deg=50.0))  # the fastest lap leans 35 degrees, its limit


def _pid(airframe: Airframe) -> Tracker:
    return PidController(pid_gains(airframe))


CONTENDERS: Final = (
    Contender("geometric", _geometric, True),
    Contender("PID, feed-forward", _pid, True),
    Contender("PID, positions alone", _pid, False),
    Contender("PID, feed-forward, EKF: IMU, flow, range", _pid, True, sensed=True),
    Contender(f"the same and places at {PLACES_HZ:g} Hz, 20 % lost", _pid, True, sensed=True, position_hz=PLACES_HZ),
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
NOMINAL: Final = Conditions(
    imu_jitter=0.0, command_latency_s=(0.0, 0.0), wind_m_s=(0.0, 0.0), airframe_spread=0.0, rotor_spread=0.0,
    gyro_bias_rad_s=0.0, gyro_walk_rad_s2=0.0, hold_s=0.0, tilt_deg=(0.0, 0.0), launch_speed_m_s=(0.0, 0.0),
    launch_rate_rad_s=(0.0, 0.0), launch_height_m=(1.0, 1.0), setpoint_height_m=(1.0, 1.0),
)  # fmt: skip
_GENTLE: Final = {name: getattr(NOMINAL, name) for name in ("tilt_deg", "launch_speed_m_s", "launch_height_m")}
DRAWN: Final = replace(Conditions(), **_GENTLE)  # wind, latency, bias and every drone different


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


def fly_eight(contender: Contender, airframe: Airframe, period_s: float, conditions: Conditions, seed: int) -> Lap:
    """The second lap of one flight of a drawn drone; empty if it was lost before its end."""
    reference, (begin_s, end_s) = figure_eight(period_s), lap_s(period_s, 2)
    trace = _flown(contender, airframe, reference, conditions, seed, WAIT_S + end_s)
    return _lap(trace, reference, begin_s, end_s)


def _flown(
    contender: Contender, airframe: Airframe, reference: Reference, conditions: Conditions, seed: int, duration_s: float
) -> FlightTrace:
    """One flight of a drawn drone along the reference, which begins WAIT_S after the release."""
    import_pybullet()
    from envs.rollout import fly, fly_privileged  # here, so that --help needs no simulator

    if contender.position_hz:
        conditions = replace(conditions, position_hz=(contender.position_hz,) * 2, position_dropout=(0.2, 0.2))
    row, rng = draw_flights(airframe, conditions, 1, np.random.default_rng([seed])), np.random.default_rng([seed, 1])
    if contender.sensed:
        w, x, y, z = row.attitude_wxyz[0].tolist()
        yaw = math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
        return fly(EkfFollower(airframe, reference, yaw, WAIT_S), airframe, row, conditions, rng, duration_s)
    tracker, ahead = contender.make(airframe), contender.feed_forward
    follower = Follower(tracker, reference, airframe, wait_s=WAIT_S, feed_forward=ahead)
    return fly_privileged(follower, airframe, row, conditions, rng, duration_s)


def settle(contender: Contender, airframe: Airframe, conditions: Conditions, seed: int) -> tuple[float, float]:
    """(seconds until it stays within SETTLED_M of a place that was OFFSET_M away, mean error of the last 2 s in m).

    Infinite where it never does, or was lost.
    """
    duration_s, height = WAIT_S + SETTLE_S, 1.0
    jump = velocity_steps([(0.0, (0.0, 0.0, 0.0))], (OFFSET_M, 0.0, height))
    home = hover((0.0, 0.0, height))
    trace = _flown(
        contender, airframe, lambda t_s: jump(t_s) if t_s >= 0.0 else home(t_s), conditions, seed, duration_s
    )
    t = trace.t_s - trace.release_s - WAIT_S
    if t[-1] < SETTLE_S - 1e-6:
        return math.inf, math.inf
    off = np.linalg.norm(trace.position_m - (OFFSET_M, 0.0, height), axis=1)
    outside = np.flatnonzero((off > SETTLED_M) & (t >= 0.0))
    last = float(t[outside[-1]]) if len(outside) else 0.0
    return last if last < SETTLE_S - 2.0 else math.inf, float(off[t >= SETTLE_S - 2.0].mean())


def _lap(trace: FlightTrace, reference: Reference, begin_s: float, end_s: float) -> Lap:
    t = trace.t_s - trace.release_s - WAIT_S
    inside = (t >= begin_s) & (t < end_s) & bool(t[-1] >= end_s - 1e-6)
    wanted = np.array([reference(float(x)).position_m for x in t[inside]]).reshape(-1, 3)
    thrust, rates = trace.thrust_m_s2[inside], np.abs(trace.command_rates_rad_s[inside])
    return Lap(wanted, trace.position_m[inside], thrust, rates)


def rmse_m(lap: Lap) -> float:
    """Root mean square of the distance from where it should be; infinite for a lost flight."""
    if len(lap.position_m) == 0:
        return math.inf
    return float(np.sqrt(np.mean(np.sum((lap.position_m - lap.wanted_m) ** 2, axis=1))))


def measure(
    airframe: Airframe, flights: int, progress: Progress, periods_s: Sequence[float] = PERIODS_S
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
        [name, *(_lost_or(dict(zip(PERIODS_S, values, strict=True))[period]) for period in periods)]
        for name, values in PUBLISHED.items()
        if set(periods) <= set(PERIODS_S)
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
