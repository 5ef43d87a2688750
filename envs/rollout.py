"""Flies a pilot, or an expert that sees the truth, through one drawn flight in PyBullet."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext

import numpy as np
import numpy.typing as npt

from envs.airframe import Airframe
from envs.conditions import Conditions
from envs.flights import Flights
from envs.launch import FOREST_X_M, FOREST_Y_M, HandLaunch
from envs.pilots import Driver, Expert, FedPilot, Flyer, MotorExpert, Pilot, driver_of
from envs.pybullet_quad import PyBulletQuad
from envs.scoring import out_of_bounds
from envs.task import Task
from envs.task_flight import TaskFlight
from envs.trace import FlightTrace
from liquid_pilot.errors import ConfigError


class _Recorder:
    """Collects the rows of a `FlightTrace`."""

    def __init__(self) -> None:
        self._truth: list[tuple[float, ...]] = []
        self._settled: list[float] = []
        self._targets: list[tuple[float, ...]] = []
        self._network: dict[str, list[npt.NDArray[np.float64]]] = {
            "observation": [],
            "hidden": [],
            "time_constants": [],
        }

    def add(self, launch: HandLaunch, pilot: object, settled: float = 1.0) -> None:
        """One row, at the present IMU event. settled: 0 in a transient."""
        self._settled.append(settled)
        if launch.target is not None and launch.forest is None:
            self._targets.append(launch.target.position_m)
        body, (thrust, rates), sp = launch.body, launch.issued, launch.setpoint
        self._truth.append(
            (
                launch.t_s,
                *body.position_m,
                *body.velocity_m_s,
                *body.attitude_wxyz,
                *body.rates_rad_s,
                *sp.velocity_m_s,
                sp.height_m,
                thrust,
                *rates,
                *launch.wind_m_s,
            )
        )
        for name, rows in self._network.items():
            value = getattr(pilot, name, None)
            rows.append(np.zeros(0) if value is None else np.array(value, dtype=np.float64).ravel())

    def trace(
        self,
        launch: HandLaunch,
        changes: Sequence[tuple[float, str]],
        outcome: str = "",
        touchdown_m_s: float = 0.0,
        crosses_m: float = 0.0,
    ) -> FlightTrace:
        """Everything recorded so far."""
        a = np.array(self._truth, dtype=np.float64)
        network = {name: _stacked(rows) for name, rows in self._network.items()}
        return FlightTrace(
            release_s=launch.release_s,
            t_s=a[:, 0],
            position_m=a[:, 1:4],
            velocity_m_s=a[:, 4:7],
            attitude_wxyz=a[:, 7:11],
            rates_rad_s=a[:, 11:14],
            setpoint_velocity_m_s=a[:, 14:16],
            setpoint_height_m=a[:, 16],
            thrust_m_s2=a[:, 17],
            command_rates_rad_s=a[:, 18:21],
            wind_m_s=a[:, 21:24],
            observation=network["observation"],
            hidden=network["hidden"],
            time_constant_s=network["time_constants"],
            lowest_m=launch.lowest_m,
            highest_m=launch.highest_m,
            arrivals_s={name: np.array(times) for name, times in launch.sensors.arrivals_s.items()},
            supervisor=tuple(changes),
            settled=np.array(self._settled),
            target_m=np.array(self._targets) if self._targets else None,
            outcome=outcome,
            touchdown_m_s=touchdown_m_s,
            crosses_m=crosses_m,
            obstacles=None if launch.forest is None else launch.forest.within(FOREST_X_M, FOREST_Y_M),
        )


def _stacked(rows: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """(T, width); a row that a pilot could not give yet (before its first step) is zeros."""
    width = max(row.size for row in rows)
    table = np.zeros((len(rows), width))
    for target, row in zip(table, rows, strict=True):
        target[: row.size] = row
    return table


def _run_task(flight: TaskFlight, driver: Driver) -> FlightTrace:
    """To the end that the task knows."""
    launch, recorder = flight.launch, _Recorder()

    def on_substep(t_s: float) -> None:
        flight.substep(t_s)
        driver.substep(t_s)

    messages = launch.first_messages()
    while True:
        moment = flight.moment()
        driver.event(messages)
        recorder.add(launch, driver.pilot, float(moment.goal.settled))
        if launch.released and launch.flight_time_s > 0.0:
            outcome = flight.outcome(moment, *flight.judge(moment))
            if outcome is not None:
                return recorder.trace(launch, driver.changes, outcome, flight.touchdown_m_s, flight.task.crosses_m)
        messages = launch.advance(on_substep)


def _run(launch: HandLaunch, driver: Driver, duration_s: float, bounded: bool) -> FlightTrace:
    recorder = _Recorder()
    messages = launch.first_messages()
    while True:
        driver.event(messages)
        recorder.add(launch, driver.pilot)
        if launch.released and launch.flight_time_s > 0.0:
            left = bounded and out_of_bounds(launch.lowest_m, launch.highest_m) is not None
            lost = left or not launch.finite
            if lost or launch.flight_time_s >= duration_s:
                return recorder.trace(launch, driver.changes)
        messages = launch.advance(driver.substep)


def fly(
    pilot: Pilot,
    airframe: Airframe,
    flights: Flights,
    conditions: Conditions,
    rng: np.random.Generator,
    duration_s: float = 15.0,
    quad: PyBulletQuad | None = None,
    bounded: bool = True,
) -> FlightTrace:
    """Fly the first of `flights` for duration_s after the release, or until it is lost.

    The pilot must be fresh (reset). A flight ends early when it leaves the bounds of
    `envs.scoring` or the finite numbers. Without commands for half a second the motors stop, as an
    autopilot's failsafe would do. quad: reuse of one; otherwise one is made and closed. bounded=False:
    the bounds end nothing, as where the ground is a place to start from.
    """
    with nullcontext(quad) if quad is not None else PyBulletQuad(airframe) as vehicle:
        launch = HandLaunch(vehicle, flights, conditions, rng)
        return _run(launch, FedPilot(pilot, launch), _checked(duration_s), bounded)


def fly_privileged(
    expert: Expert | MotorExpert,
    airframe: Airframe,
    flights: Flights,
    conditions: Conditions,
    rng: np.random.Generator,
    duration_s: float = 15.0,
    quad: PyBulletQuad | None = None,
    bounded: bool = True,
) -> FlightTrace:
    """As `fly`, for an expert that is told the true state: at IMU events, or on its own clock if it commands motors."""
    with nullcontext(quad) if quad is not None else PyBulletQuad(airframe) as vehicle:
        launch = HandLaunch(vehicle, flights, conditions, rng)
        return _run(launch, driver_of(expert, launch), _checked(duration_s), bounded)


def fly_task(
    pilot: Flyer,
    task: Task,
    airframe: Airframe,
    flights: Flights,
    conditions: Conditions,
    rng: np.random.Generator,
    duration_s: float | None = None,
    quad: PyBulletQuad | None = None,
    on_launch: Callable[[HandLaunch], None] = lambda launch: None,
) -> FlightTrace:
    """Fly a task in the first of `flights`, as they were drawn, to the end that the task knows.

    The pilot is fed every set-point that differs from the one before; an expert is told the truth (`fly_privileged`).
    The trace's `outcome` says how it ended. duration_s: the task's own if not given. on_launch: told of the launch, in
    its forest if it has one, before the first message. See `fly`.
    """
    seconds = _checked(task.duration_s if duration_s is None else duration_s)
    with nullcontext(quad) if quad is not None else PyBulletQuad(airframe) as vehicle:
        begun = task.launch(flights, airframe)
        launch = HandLaunch(vehicle, begun, conditions, rng)
        flight = TaskFlight(launch, task, task.course(begun.rows(slice(0, 1)), seconds, rng), seconds)
        flight.moment()  # the first set-point
        on_launch(launch)
        return _run_task(flight, driver_of(pilot, launch))


def _checked(duration_s: float) -> float:
    if not (math.isfinite(duration_s) and duration_s > 0.0):
        raise ConfigError(f"duration_s is {duration_s}; give positive seconds of flight after the release")
    return duration_s
