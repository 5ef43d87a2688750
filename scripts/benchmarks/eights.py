"""Flights along the figure-eight of 1.0 x 0.5 m, for everybody who knows where it is.

A flight begins with WAIT_S of hovering over the start; what counts is the second lap, since the first holds the start.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import numpy as np

from envs.airframe import Airframe, load_airframe
from envs.conditions import Conditions, Span
from envs.flights import draw_flights
from envs.references import Reference, figure_eight, lap_s
from envs.trace import FlightTrace
from envs.track import PLACE_HZ
from liquid_pilot import Controller
from liquid_pilot.messages import Command, Imu, Message, PositionSetpoint, Setpoint
from policies.experts.ekf_follower import EkfFollower
from policies.experts.following import Follower, Tracker
from policies.experts.geometric import GeometricController, GeometricGains
from policies.experts.pid import PidController, pid_gains
from policies.experts.raptor import Raptor
from scripts.flying import FlightPool, import_pybullet
from scripts.pictures.tracking import Lap

if TYPE_CHECKING:  # importing them loads the simulator
    from envs.pilots import Expert, MotorExpert, Pilot

WAIT_S: Final = 3.0  # to settle after the release
PLACES_HZ: Final = (30.0, 30.0)  # of motion capture, for who has it
PLACES_LOST: Final = 0.2
NOMINAL: Final = Conditions(
    imu_jitter=0.0, command_latency_s=(0.0, 0.0), wind_m_s=(0.0, 0.0), airframe_spread=0.0, rotor_spread=0.0,
    gyro_bias_rad_s=0.0, gyro_walk_rad_s2=0.0, hold_s=0.0, tilt_deg=(0.0, 0.0), launch_speed_m_s=(0.0, 0.0),
    launch_rate_rad_s=(0.0, 0.0), launch_height_m=(1.0, 1.0), setpoint_height_m=(1.0, 1.0),
)  # fmt: skip
_GENTLE: Final = {name: getattr(NOMINAL, name) for name in ("tilt_deg", "launch_speed_m_s", "launch_height_m")}
DRAWN: Final = replace(Conditions(), **_GENTLE)  # wind, latency, bias and every drone different


@dataclass(frozen=True, slots=True)
class Start:
    """Of a flight. heading_rad: as a compass tells once; hold_s: for which it is held in the hand."""

    heading_rad: float
    hold_s: float


Make: TypeAlias = "Callable[[Airframe, Reference, Start], Pilot | Expert | MotorExpert]"


@dataclass(frozen=True, slots=True)
class Contender:
    """A controller. make: of the airframe, the reference and the start.

    position_hz: span of a position sensor that it has, PLACES_LOST of whose samples are lost; 0 = none.
    """

    name: str
    make: Make
    position_hz: Span = (0.0, 0.0)


def geometric(_: Airframe) -> Tracker:
    """The geometric controller; the fastest lap leans 35 degrees, its usual limit."""
    return GeometricController(GeometricGains(tilt_limit_deg=50.0))


def pid(airframe: Airframe) -> Tracker:
    """The cascaded PID."""
    return PidController(pid_gains(airframe))


def told(make: Callable[[Airframe], Tracker], feed_forward: bool = True) -> Make:
    """Told the true state. feed_forward: and more of the path than positions."""
    return lambda airframe, reference, _: Follower(
        make(airframe), reference, airframe, wait_s=WAIT_S, feed_forward=feed_forward
    )


def filtered(airframe: Airframe, reference: Reference, start: Start) -> Pilot:
    """The PID with feed-forward behind a Kalman filter on the drone's sensors."""
    return EkfFollower(airframe, reference, start.heading_rad, WAIT_S)


def raptor(at_once: bool) -> Make:
    """RAPTOR, told the true state and the path's velocity. at_once: see `Raptor`."""
    return lambda airframe, reference, _: Raptor(airframe, reference, wait_s=WAIT_S, at_once=at_once)


class PolicyOnPath:
    """A policy that flies to places, fed the reference as it moves on; a pilot, one per flight."""

    def __init__(self, controller: Controller, reference: Reference, hold_s: float) -> None:
        self._controller, self._reference, self._hold_s = controller, reference, hold_s
        self._begin_s = math.inf

    def feed(self, message: Message) -> Command | None:
        """Take a message; an accepted IMU sample gives a command."""
        if isinstance(message, Setpoint):
            return None
        if isinstance(message, Imu):
            if self._begin_s == math.inf and message.t_s >= self._hold_s - 1e-9:  # the hand lets go now
                self._begin_s = message.t_s + WAIT_S
            point = self._reference(max(message.t_s - self._begin_s, -WAIT_S))
            self._controller.feed(PositionSetpoint(message.t_s, point.position_m, point.velocity_m_s, math.nan))
        return self._controller.feed(message)

    def tick(self, now_s: float) -> Command | None:
        """As the controller's."""
        return self._controller.tick(now_s)


def policy(name_or_path: str) -> Contender:
    """A policy that flies to places, on IMU, attitude and places alone."""
    return Contender(
        name_or_path,
        lambda airframe, reference, start: PolicyOnPath(Controller.load(name_or_path), reference, start.hold_s),
        PLACE_HZ,
    )


# Controllers that fly the eight, by the names of command lines.
BY_NAME: Final[Mapping[str, Contender]] = {
    contender.name: contender
    for contender in (
        Contender("geometric", told(geometric)),
        Contender("pid", told(pid)),
        Contender("pid-ekf", filtered, PLACES_HZ),
        Contender("raptor", raptor(at_once=True)),
        Contender("raptor-late", raptor(at_once=False)),
    )
}


def fly_eight(contender: Contender, airframe: Airframe, period_s: float, conditions: Conditions, seed: int) -> Lap:
    """The second lap of one flight of a drawn drone; empty if it was lost before its end."""
    reference, (begin_s, end_s) = figure_eight(period_s), lap_s(period_s, 2)
    trace = fly_along(contender, airframe, reference, conditions, seed, WAIT_S + end_s)
    return _lap(trace, reference, begin_s, end_s)


def fly_along(
    contender: Contender, airframe: Airframe, reference: Reference, conditions: Conditions, seed: int, duration_s: float
) -> FlightTrace:
    """One flight of a drawn drone along the reference, which begins WAIT_S after the release."""
    import_pybullet()
    from envs.rollout import fly, fly_privileged  # here, so that --help needs no simulator

    if contender.position_hz[1]:
        lost = (PLACES_LOST, PLACES_LOST)
        conditions = replace(conditions, position_hz=contender.position_hz, position_dropout=lost)
    row, rng = draw_flights(airframe, conditions, 1, np.random.default_rng([seed])), np.random.default_rng([seed, 1])
    w, x, y, z = row.attitude_wxyz[0].tolist()
    heading_rad = math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))
    pilot = contender.make(airframe, reference, Start(heading_rad, conditions.hold_s))
    flight = (airframe, row, conditions, rng, duration_s)
    if hasattr(pilot, "feed"):
        return fly(cast("Pilot", pilot), *flight)
    told: Any = pilot
    return fly_privileged(told, *flight)


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


@dataclass(frozen=True, slots=True)
class EightJob:
    """Flights along the eight, for `error_m`. policy: one of `BY_NAME`, or a policy that flies to places."""

    policy: str
    airframe: str
    period_s: float
    conditions: Conditions
    seed: int


def error_m(job: EightJob, index: int) -> float:
    """`rmse_m` of flight `index`; other flights for every seed."""
    contender, airframe = BY_NAME.get(job.policy) or policy(job.policy), load_airframe(job.airframe)
    return rmse_m(fly_eight(contender, airframe, job.period_s, job.conditions, job.seed * 1_000_003 + index))


def measure(job: EightJob, flights: int, pool: FlightPool, on_done: Callable[[], None]) -> dict[str, Any]:
    """Fly and return flat keys, ready for JSON; a lost flight counts as infinite, an infinite figure is None."""
    return figures_of(pool.each(error_m, job, flights, on_done))


def figures_of(errors: Sequence[float]) -> dict[str, Any]:
    """Success rate, failures, median and 90th percentile of `error_m` of many flights."""
    lost, ranked = sum(map(math.isinf, errors)), sorted(errors)
    middle, most = statistics.median(ranked), ranked[math.ceil(0.9 * len(ranked)) - 1]
    return {
        "success_rate": 1.0 - lost / len(ranked),
        "failures": lost,
        "position_error_median_m": middle if math.isfinite(middle) else None,
        "position_error_p90_m": most if math.isfinite(most) else None,
    }
