"""Flies a pilot, or an expert that sees the truth, through one drawn flight in PyBullet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, Final, Protocol, cast

import numpy as np
import numpy.typing as npt

from envs.airframe import Airframe
from envs.conditions import Conditions
from envs.fault_effects import clock_ahead_s
from envs.flights import Flights
from envs.launch import HandLaunch
from envs.physics import Body
from envs.pybullet_quad import ZERO3, PyBulletQuad
from envs.sample_clock import EPS_S
from envs.scoring import out_of_bounds
from envs.task import Task
from envs.task_flight import TaskFlight
from envs.trace import FlightTrace
from liquid_pilot.errors import ConfigError
from liquid_pilot.messages import Command, Message, SensorMessage, Setpoint

TICK_S: Final = 0.010  # of the pilot's own clock
FAILSAFE_S: Final = 0.5  # the autopilot stops the motors after this long without a command


class Pilot(Protocol):
    """What flies from messages alone, as `liquid_pilot.Controller` does.

    Looked at for the trace where present: `observation`, `hidden`, `time_constants` (arrays) and `state`.
    """

    def feed(self, message: Message, /) -> Command | None:
        """Take a message; an accepted IMU sample gives a command."""
        ...

    def tick(self, now_s: float, /) -> Command | None:
        """Called every 10 ms of flight; a fallback command where no IMU arrives, else None."""
        ...


class Expert(Protocol):
    """What flies from the true state."""

    def command(self, t_s: float, body: Body[float], setpoint: Setpoint, /) -> Command:
        """The command at an IMU event."""
        ...


class _FedPilot:
    """A pilot on the flight's clock: messages in, commands out, fallback ticks and failsafe between."""

    def __init__(self, pilot: Pilot, launch: HandLaunch) -> None:
        self.pilot, self._launch = pilot, launch
        self._spoke_s = 0.0
        self._tick_s = TICK_S
        self.changes: list[tuple[float, str]] = []
        self._asked = launch.setpoint
        self._issue(pilot.feed(launch.setpoint), 0.0)

    def event(self, messages: Sequence[SensorMessage]) -> None:
        """Everything that has arrived by the present IMU event; before it, a set-point that is another one."""
        if self._launch.setpoint != self._asked:
            self._asked = self._launch.setpoint
            self._issue(self.pilot.feed(self._stamped(self._asked)), self._launch.t_s)
        if self._launch.t_s == self._launch.release_s:
            self._spoke_s = self._launch.t_s  # nothing was listened to in the hand
        for message in messages:
            self._issue(self.pilot.feed(message), self._launch.t_s)

    def substep(self, t_s: float) -> None:
        """The pilot's own clock."""
        if t_s < self._tick_s - EPS_S:
            return
        self._tick_s = t_s + TICK_S
        launch = self._launch
        clock_s = t_s + clock_ahead_s(launch.conditions.faults, t_s - launch.release_s)
        self._issue(self.pilot.tick(clock_s), t_s)
        if t_s - self._spoke_s > FAILSAFE_S and self._launch.issued[0] != 0.0:
            self._launch.issue((0.0, ZERO3), t_s)

    def _stamped(self, setpoint: Setpoint) -> Setpoint:
        """On the pilot's clock."""
        launch = self._launch
        return replace(setpoint, t_s=launch.t_s + clock_ahead_s(launch.conditions.faults, launch.flight_time_s))

    def _issue(self, command: Command | None, t_s: float) -> None:
        if command is not None:
            self._launch.issue((command.thrust_m_s2, command.rates_rad_s), t_s)
            self._spoke_s = t_s
        state = getattr(self.pilot, "state", None)
        name = str(getattr(state, "name", state))
        if state is not None and (not self.changes or self.changes[-1][1] != name):
            self.changes.append((t_s, name))


class _ToldExpert:
    """An expert in the pilot's place: told the truth at every IMU event."""

    pilot: Any = None

    def __init__(self, expert: Expert, launch: HandLaunch) -> None:
        self._expert, self._launch = expert, launch
        self.changes: list[tuple[float, str]] = []

    def event(self, messages: Sequence[SensorMessage]) -> None:
        """The messages are for others."""
        launch = self._launch
        if launch.released:
            command = self._expert.command(launch.t_s, launch.body, launch.setpoint)
            launch.issue((command.thrust_m_s2, command.rates_rad_s), launch.t_s)

    def substep(self, t_s: float) -> None:
        """Nothing to do between IMU events."""


class _Recorder:
    """Collects the rows of a `FlightTrace`."""

    def __init__(self) -> None:
        self._truth: list[tuple[float, ...]] = []
        self._settled: list[float] = []
        self._network: dict[str, list[npt.NDArray[np.float64]]] = {
            "observation": [],
            "hidden": [],
            "time_constants": [],
        }

    def add(self, launch: HandLaunch, pilot: object, settled: float = 1.0) -> None:
        """One row, at the present IMU event. settled: 0 in a transient."""
        self._settled.append(settled)
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
        self, launch: HandLaunch, changes: Sequence[tuple[float, str]], outcome: str = "", touchdown_m_s: float = 0.0
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
            outcome=outcome,
            touchdown_m_s=touchdown_m_s,
        )


def _stacked(rows: Sequence[npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
    """(T, width); a row that a pilot could not give yet (before its first step) is zeros."""
    width = max(row.size for row in rows)
    table = np.zeros((len(rows), width))
    for target, row in zip(table, rows, strict=True):
        target[: row.size] = row
    return table


def _run_task(flight: TaskFlight, driver: _FedPilot | _ToldExpert) -> FlightTrace:
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
                return recorder.trace(launch, driver.changes, outcome, flight.touchdown_m_s)
        messages = launch.advance(on_substep)


def _run(launch: HandLaunch, driver: _FedPilot | _ToldExpert, duration_s: float, bounded: bool) -> FlightTrace:
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
        return _run(launch, _FedPilot(pilot, launch), _checked(duration_s), bounded)


def fly_privileged(
    expert: Expert,
    airframe: Airframe,
    flights: Flights,
    conditions: Conditions,
    rng: np.random.Generator,
    duration_s: float = 15.0,
    quad: PyBulletQuad | None = None,
    bounded: bool = True,
) -> FlightTrace:
    """As `fly`, for an expert that is told the true state at every IMU event and nothing between."""
    with nullcontext(quad) if quad is not None else PyBulletQuad(airframe) as vehicle:
        launch = HandLaunch(vehicle, flights, conditions, rng)
        return _run(launch, _ToldExpert(expert, launch), _checked(duration_s), bounded)


def fly_task(
    pilot: Pilot | Expert,
    task: Task,
    airframe: Airframe,
    flights: Flights,
    conditions: Conditions,
    rng: np.random.Generator,
    duration_s: float | None = None,
    quad: PyBulletQuad | None = None,
) -> FlightTrace:
    """Fly a task in the first of `flights`, as they were drawn, to the end that the task knows.

    The pilot is fed every set-point that differs from the one before; an expert is told the truth at every IMU event.
    The trace's `outcome` says how it ended. duration_s: the task's own if not given. See `fly`.
    """
    seconds = _checked(task.duration_s if duration_s is None else duration_s)
    with nullcontext(quad) if quad is not None else PyBulletQuad(airframe) as vehicle:
        begun = task.launch(flights, airframe)
        launch = HandLaunch(vehicle, begun, conditions, rng)
        flight = TaskFlight(launch, task, task.course(begun.rows(slice(0, 1)), seconds, rng), seconds)
        flight.moment()  # the first set-point
        told = hasattr(pilot, "command") and not hasattr(pilot, "feed")
        driver = _ToldExpert(cast("Expert", pilot), launch) if told else _FedPilot(cast("Pilot", pilot), launch)
        return _run_task(flight, driver)


def _checked(duration_s: float) -> float:
    if not (math.isfinite(duration_s) and duration_s > 0.0):
        raise ConfigError(f"duration_s is {duration_s}; give positive seconds of flight after the release")
    return duration_s
