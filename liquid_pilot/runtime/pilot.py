"""The controller with a take-off before it: one thing that takes messages and gives commands."""

from __future__ import annotations

from liquid_pilot.controller import Controller
from liquid_pilot.messages import Command, Imu, Message, Range
from liquid_pilot.runtime.takeoff import Phase, Takeoff
from liquid_pilot.supervisor import COMMANDING, State


class FlightPilot:
    """What the control loop flies. The controller's commands come first; the take-off's where it gives none."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.takeoff = Takeoff(controller.bundle.limits)

    @property
    def state(self) -> State:
        """Of the supervisor."""
        return self.controller.state

    @property
    def flies(self) -> bool:
        """Whether the supervisor commands."""
        return self.state in COMMANDING

    @property
    def may_take_over(self) -> bool:
        """In the air, and all sensors are heard."""
        return self.takeoff.phase is Phase.CLEAR and self.state is State.READY

    @property
    def log_problem(self) -> str:
        """Why the flight log is not written any more, "" if it is."""
        return self.controller.log_problem

    def feed(self, message: Message) -> Command | None:
        """Take a message; an IMU sample gives a command."""
        command = self.controller.feed(message)
        if self.takeoff.over:
            return command
        if isinstance(message, Range):
            self.takeoff.range(message)
        elif isinstance(message, Imu):
            self.takeoff.ready = self.state is State.READY
            climbing = self.takeoff.imu(message)
            return climbing if command is None else command
        return command

    def tick(self, now_s: float) -> Command | None:
        """Age checks."""
        return self.controller.tick(now_s)

    def report_missed_deadline(self, t_s: float) -> None:
        """Passed on."""
        self.controller.report_missed_deadline(t_s)

    def report_link(self, alive: bool, t_s: float) -> None:
        """Passed on where the controller takes it."""
        report = getattr(self.controller, "report_link", None)
        if report is not None:
            report(alive, t_s)

    def report_battery(self, fraction: float, t_s: float) -> None:
        """Passed on where the controller takes it."""
        report = getattr(self.controller, "report_battery", None)
        if report is not None:
            report(fraction, t_s)
