"""Who flies: a pilot on messages, or an expert that is told the true state, in one flight in PyBullet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Protocol, TypeAlias, cast

from envs.fault_effects import clock_ahead_s
from envs.fault_messages import Sensed
from envs.launch import HandLaunch
from envs.physics import Body
from envs.pybullet_quad import ZERO3
from envs.sample_clock import EPS_S
from envs.surroundings import Surroundings
from liquid_pilot.errors import ConfigError
from liquid_pilot.messages import Command, Message, PositionSetpoint, Setpoint
from liquid_pilot.ops import Vec4

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


class ForestExpert(Protocol):
    """What flies courses from the true state, and from where the trees truly stand."""

    def cross(self, t_s: float, body: Body[float], course: PositionSetpoint, forest: Surroundings, /) -> Command:
        """The command at an IMU event."""
        ...


class MotorExpert(Protocol):
    """What flies from the true state and commands motors past the rate loop, on a clock of its own.

    at_once: whether its commands take effect without the latency of those that go to a rate loop.
    """

    period_s: float
    at_once: bool

    def motors(self, t_s: float, body: Body[float], setpoint: Setpoint, /) -> Vec4[float]:
        """Speed of each motor, fractions of full; called every period_s after the release."""
        ...


class FedPilot:
    """A pilot on the flight's clock: messages in, commands out, fallback ticks and failsafe between."""

    def __init__(self, pilot: Pilot, launch: HandLaunch) -> None:
        self.pilot, self._launch = pilot, launch
        self._spoke_s = 0.0
        self._tick_s = TICK_S
        self.changes: list[tuple[float, str]] = []
        self._asked = self._wanted
        self._issue(pilot.feed(self._asked), 0.0)

    def event(self, messages: Sequence[Sensed]) -> None:
        """Everything that has arrived by the present IMU event; before it, a set-point that is another one."""
        if self._wanted != self._asked:
            self._asked = self._wanted
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

    @property
    def _wanted(self) -> Setpoint | PositionSetpoint:
        """A place where the goal is one, else what moves with the drone."""
        return self._launch.target or self._launch.setpoint

    def _stamped(self, setpoint: Setpoint | PositionSetpoint) -> Setpoint | PositionSetpoint:
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


class ToldExpert:
    """An expert in the pilot's place: told the truth at every IMU event."""

    pilot: Any = None

    def __init__(self, expert: Expert, launch: HandLaunch) -> None:
        self._expert, self._launch = expert, launch
        self.changes: list[tuple[float, str]] = []

    def event(self, messages: Sequence[Sensed]) -> None:
        """The messages are for others."""
        launch = self._launch
        if launch.released:
            command = self._expert.command(launch.t_s, launch.body, launch.setpoint)
            launch.issue((command.thrust_m_s2, command.rates_rad_s), launch.t_s)

    def substep(self, t_s: float) -> None:
        """Nothing to do between IMU events."""


class ToldForest:
    """As `ToldExpert`, for one that is told the forest too."""

    pilot: Any = None

    def __init__(self, expert: ForestExpert, launch: HandLaunch) -> None:
        self._expert, self._launch = expert, launch
        self.changes: list[tuple[float, str]] = []

    def event(self, messages: Sequence[Sensed]) -> None:
        """The messages are for others. Raises `ConfigError` where there is no forest to cross."""
        launch, forest, course = self._launch, self._launch.forest, self._launch.target
        if forest is None or course is None:
            raise ConfigError("this expert crosses forests; it flies the task avoid alone")
        if launch.released:
            command = self._expert.cross(launch.t_s, launch.body, course, forest)
            launch.issue((command.thrust_m_s2, command.rates_rad_s), launch.t_s)

    def substep(self, t_s: float) -> None:
        """Nothing to do between IMU events."""


class ToldMotors:
    """An expert in the place of pilot and rate loop: told the truth whenever it asks, whatever the IMU's rate."""

    pilot: Any = None

    def __init__(self, expert: MotorExpert, launch: HandLaunch) -> None:
        self._expert, self._launch = expert, launch
        self._due_s = math.inf
        self.changes: list[tuple[float, str]] = []

    def event(self, messages: Sequence[Sensed]) -> None:
        """The messages are for others; the release begins its clock."""
        if self._launch.t_s == self._launch.release_s:
            self._launch.keep_motors()
            self._due_s = self._launch.t_s
            self.substep(self._launch.t_s)

    def substep(self, t_s: float) -> None:
        """Its clock runs on, so that a call that a substep of physics made late is followed by an earlier one."""
        launch, expert = self._launch, self._expert
        if t_s < self._due_s - EPS_S or not launch.finite:
            return
        self._due_s += expert.period_s
        launch.issue_speeds(expert.motors(t_s, launch.body, launch.setpoint), t_s, at_once=expert.at_once)


Driver: TypeAlias = FedPilot | ToldExpert | ToldForest | ToldMotors
Flyer: TypeAlias = Pilot | Expert | ForestExpert | MotorExpert


def driver_of(pilot: Flyer, launch: HandLaunch) -> Driver:
    """Who flies the launch, by what it can do: be fed, command motors, or command the rate loop."""
    if hasattr(pilot, "feed"):
        return FedPilot(cast("Pilot", pilot), launch)
    if hasattr(pilot, "motors"):
        return ToldMotors(cast("MotorExpert", pilot), launch)
    if hasattr(pilot, "cross"):
        return ToldForest(cast("ForestExpert", pilot), launch)
    told: Any = pilot
    return ToldExpert(told, launch)
