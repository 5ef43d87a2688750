"""The onboard controller: messages in, commands out, a supervisor in between.

    controller = Controller.load("hover")
    controller.feed(Setpoint(...))
    command = controller.feed(Imu(...))

Every accepted `Imu` steps the network once with the true elapsed time. Nothing here reads a clock, so that a
log that is fed again gives the same commands.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from liquid_pilot.cells import Network
from liquid_pilot.command import from_action
from liquid_pilot.errors import BundleError, ConfigError, LiquidPilotError, MessageError
from liquid_pilot.fallback import Fallback, clamped
from liquid_pilot.journal import Journal
from liquid_pilot.logs.rows import KIND_OF, Event, FlightLog, Report
from liquid_pilot.logs.setup import FlightSetup
from liquid_pilot.messages import (
    Attitude,
    Command,
    Flow,
    FlowGrid,
    Imu,
    Message,
    Position,
    PositionSetpoint,
    Range,
    Setpoint,
)
from liquid_pilot.observation import Held
from liquid_pilot.ops import Vec4
from liquid_pilot.standing import stands
from liquid_pilot.supervisor import (
    COMMANDING,
    Condition,
    Readings,
    State,
    Supervisor,
    SupervisorLimits,
    limits_of_sensors,
)
from liquid_pilot.targets import TargetHolder
from liquid_pilot.tick_watch import TickWatch
from liquid_pilot.view import View

if TYPE_CHECKING:
    from liquid_pilot.bundle import Bundle
    from liquid_pilot.stepper import Stepper

Float32: TypeAlias = npt.NDArray[np.float32]

_ACTIONS: Final = 4  # thrust, roll rate, pitch rate, yaw rate


class Controller:
    """Flies one policy. Use one per drone; call it from one thread.

    limits: of the supervisor; by default what the policy's bundle says about silent sensors.
    setpoint_timeout_s: a set-point older than this is replaced by hovering; None = it holds.
    log: gets every message, command and event. core: what steps the network, "numpy", "c", or "auto" for C where a
    compiler is there and the C proves itself against numpy (`liquid_pilot.native_step`); or a `Stepper` of one's own.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        limits: SupervisorLimits | None = None,
        setpoint_timeout_s: float | None = None,
        log: FlightLog | None = None,
        core: str | Stepper = "numpy",
    ) -> None:
        command_limits = bundle.limits  # first: a policy of another task is told so
        self._view = View(bundle, setpoint_timeout_s)
        if (bundle.spec.inputs, bundle.spec.outputs) != (self._view.width, _ACTIONS):
            raise BundleError(
                f"policy {bundle.name!r} has {bundle.spec.inputs} inputs and {bundle.spec.outputs} outputs; the "
                f"controller gives {self._view.width} and needs {_ACTIONS}: export the policy again with this version"
            )
        if limits is not None and not isinstance(limits, SupervisorLimits):
            raise ConfigError(f"limits is {limits!r}; give a liquid_pilot.supervisor.SupervisorLimits, or None")
        self.bundle = bundle
        self._network, self._core_note = _core(bundle, core)
        self._command_limits = command_limits
        self._memory = self._view.memory
        self._setpoints = self._view.setpoints
        self._fallback = Fallback()
        limits = limits or limits_of_sensors(bundle.metadata.get("sensor_limits_s", {}))
        self._supervisor = Supervisor(limits, locates=self._view.locates, sees=self._view.sees)
        self._journal = Journal(log)
        self._start()
        sha256 = bundle.metadata.get("sha256", "")
        setup = FlightSetup(bundle.name, sha256, setpoint_timeout_s, self._supervisor.limits, self.core)
        self._journal.write(setup.event())

    @classmethod
    def load(
        cls,
        name_or_path: str | Path,
        *,
        limits: SupervisorLimits | None = None,
        setpoint_timeout_s: float | None = None,
        log: FlightLog | None = None,
        core: str | Stepper = "numpy",
    ) -> Controller:
        """A controller for a shipped policy (by name) or a bundle (by path). Raises `BundleError`."""
        from liquid_pilot.bundle import load_bundle  # a policy in memory needs no reader of files

        bundle = load_bundle(name_or_path)
        return cls(bundle, limits=limits, setpoint_timeout_s=setpoint_timeout_s, log=log, core=core)

    def reset(self) -> None:
        """Start a new flight: sensors, network, supervisor, counters and events are as new."""
        self._journal.write(Report(self._memory.imu_t_s or 0.0, "reset"))
        self._start()

    def _start(self) -> None:
        self._view.reset()
        self._fallback.reset()
        self._supervisor.reset()
        self._hidden: Float32 = self._network.initial_state()
        self._observation: Float32 = np.zeros(self.bundle.spec.inputs, dtype=np.float32)
        self._thrust_m_s2: float | None = None
        self._clock_jumped = False
        self._link_alive, self._battery = True, math.nan
        self._rejected_in_a_row = 0
        self._ticks = TickWatch()
        self._journal.reset()

    @property
    def core(self) -> str:
        """What steps the network: "numpy", "c", or "own"."""
        return self._network.core

    @property
    def state(self) -> State:
        """Who flies."""
        return self._supervisor.state

    @property
    def conditions(self) -> Condition:
        """What the supervisor found true at the newest event."""
        return self._supervisor.conditions

    @property
    def hidden(self) -> Float32:
        """What the network's neurons show, shape (units,), a copy."""
        return np.array(self._hidden[: self.bundle.spec.units])

    @property
    def observation(self) -> Float32:
        """What the network saw last, shape (inputs of its cell,), a copy."""
        return np.array(self._observation)

    @property
    def shown_grid(self) -> Float32 | None:
        """The flow grid that the network flies by, see `liquid_pilot.sight.Sight.shown`; None without one."""
        return None if self._view.sight is None else self._view.sight.shown

    @property
    def time_constants(self) -> Float32:
        """Time constant of each neuron now, in seconds: shape (units,), or (0,) for cells without one."""
        return np.asarray(self._network.time_constants(self._observation, self._hidden), dtype=np.float32)

    @property
    def counters(self) -> dict[str, int]:
        """How often what happened since the reset: "steps", "commands", "rejected_imu", ..."""
        return dict(self._journal.counters)

    @property
    def log_problem(self) -> str:
        """Why the flight log was let go, "" while it is written or where there is none."""
        return self._journal.log_problem

    @property
    def events(self) -> list[Event]:
        """The newest decisions and refusals, oldest first, a bounded number."""
        return list(self._journal.events)

    def feed(self, message: Message) -> Command | None:
        """Take one message; an accepted `Imu` gives a command where the supervisor lets one out.

        Never raises for values. Raises `MessageError` for an object that is no message.
        """
        if isinstance(message, Imu):
            self._journal.write(message)
            return self._feed_imu(message)
        if not isinstance(message, (Flow, Range, Position, Attitude, FlowGrid, Setpoint, PositionSetpoint)):
            raise MessageError(
                f"feed got a {type(message).__name__}; feed Imu, Flow, Range, Position, Attitude, FlowGrid, Setpoint "
                "or PositionSetpoint"
            )
        self._journal.write(message)
        kind = KIND_OF[type(message)]
        if not self._view.uses(message):
            self._journal.counters[f"unused_{kind}"] += 1
            return None
        error, note = self._view.accept(message)
        if note is not None:
            self._journal.count(f"clamped_{kind}", message.t_s, "setpoint", note)
        if error is not None:
            self._reject(kind, message.t_s, error)
        return None

    def tick(self, now_s: float) -> Command | None:
        """Age checks between messages; a command only where no `Imu` came in time.

        now_s: the clock of the stamps. Call it at 50 Hz or faster. Never steps the network. Raises `MessageError`
        for what is no number.
        """
        imu_t_s = self._memory.imu_t_s
        try:
            finite = math.isfinite(now_s)
        except TypeError as error:
            raise MessageError(f"tick got a {type(now_s).__name__}; give the time in seconds as a number") from error
        if imu_t_s is None or not finite:
            return None
        age_s = self._ticks.age_s(now_s, imu_t_s)
        if age_s <= self._supervisor.imu_limit_s:
            return None
        for t_s in self._ticks.to_log(now_s):
            self._journal.write(Report(t_s, "tick"))
        self._supervise(now_s, age_s, None)
        if self.state not in COMMANDING:
            return None
        if self._ticks.blind_for_s(now_s) > self._fallback.limits.blind_s:
            return None  # silence is what makes the autopilot's own failsafe act
        return self._issue(self._fallback.blind(now_s, self._command_limits))

    def stop(self) -> None:
        """The operator wants it down: LAND at the next event. On the ground it stays there."""
        self._journal.write(Report(self._memory.imu_t_s or 0.0, "stop"))
        self._supervisor.stop()

    def kill(self) -> None:
        """The operator wants the motors off: KILLED at the next event, until `reset`."""
        self._journal.write(Report(self._memory.imu_t_s or 0.0, "kill"))
        self._supervisor.kill()

    def report_missed_deadline(self, t_s: float) -> None:
        """The runtime tells that the step due at t_s came too late."""
        self._journal.write(Report(t_s, "missed_deadline"))
        self._journal.counters["missed_deadlines"] += 1
        self._supervisor.saw_missed_deadline(t_s)

    def report_link(self, alive: bool, t_s: float) -> None:
        """The runtime tells whether the autopilot is heard at t_s; takes effect at the next event.

        Unheard, the leveller flies; for longer than `SupervisorLimits.link_s`, the drone lands. Before the first word
        the link is taken to be alive.
        """
        alive = bool(alive)
        if alive != self._link_alive:
            self._link_alive = alive
            self._journal.write(Report(t_s, "link", float(alive)))
            self._supervisor.saw_link(alive)

    def report_battery(self, fraction: float, t_s: float) -> None:
        """The runtime tells what is left of the battery at t_s, 0 to 1; other values are counted and ignored."""
        number = isinstance(fraction, (int, float)) and not isinstance(fraction, bool)
        share = float(fraction) if number else math.nan
        if share == self._battery:
            return
        self._journal.write(Report(t_s, "battery", share))
        if not 0.0 <= share <= 1.0:
            self._journal.count("rejected_battery", t_s, "rejected", f"battery ignored: {share}; give 0 to 1")
            return
        self._battery = share
        self._supervisor.saw_battery(share)

    def _feed_imu(self, imu: Imu) -> Command | None:
        memory = self._memory
        first, jumps = memory.imu_t_s is None, memory.clock_jumps
        error = memory.accept(imu)
        if error is not None:
            self._reject("imu", imu.t_s, error)
            return None
        if first or memory.clock_jumps != jumps:
            self._start_clock(imu.t_s, jumped=not first)
        if memory.accel_fault:
            self._journal.count("invalid_accel", imu.t_s, "sensor", f"accelerometer ignored: {imu.accel_m_s2} m/s^2")
        self._rejected_in_a_row = 0
        self._ticks.restart()
        self._journal.counters["steps"] += 1
        place = memory.position if self._view.locates and memory.position_fresh else None
        held, seen = self._look(imu.t_s)
        self._supervisor.saw_imu(held.dt_s)
        self._fallback.update(
            held.dt_s,
            held.gyro_rad_s,
            held.accel_m_s2 if held.accel_fresh else None,
            held.range_m if held.range_fresh else None,
            self._thrust_m_s2,
            held.flow_rate_rad_s if held.flow_fresh else None,
        )
        if place is not None:
            self._fallback.saw_height(place.position_m[2])
        action = self._step_network(imu.t_s, held.dt_s, seen)
        self._supervise(imu.t_s, 0.0, held)
        return self._command(imu.t_s, held.dt_s, action)

    def _look(self, t_s: float) -> tuple[Held[float], tuple[float, ...]]:
        """See `View.look`; that a course is held, or flown again, is noted."""
        view = self._view
        before = view.course_held
        held, seen = view.look(t_s, self._supervisor.limits)
        if view.course_held and not before:
            self._journal.count("course_held", t_s, "course", f"course held: {view.course_held}")
        elif before and not view.course_held:
            self._journal.count("course_resumed", t_s, "course", "course flown again")
        return held, seen

    def _step_network(self, t_s: float, dt_s: float, seen: tuple[float, ...]) -> Vec4[float] | None:
        """The network's action, or None where it is not finite; then its state starts anew."""
        with np.errstate(all="ignore"):  # judged below; a warning must not become an exception in flight
            self._observation = np.array(seen, dtype=np.float32)
            output, hidden = self._network.step(self._observation, self._hidden, dt_s)
            a, b, c, d = output.tolist()
            finite = math.isfinite(a + b + c + d) and math.isfinite(hidden.sum())
        if not finite:
            self._hidden = self._network.initial_state()
            self._supervisor.saw_bad_output(t_s)
            self._journal.count("bad_output", t_s, "network", "output or state is not finite; the state starts anew")
            return None
        self._hidden = hidden
        return a, b, c, d

    def _supervise(self, now_s: float, imu_age_s: float, held: Held[float] | None) -> None:
        view, memory = self._view, self._memory
        if view.locates:
            height_m = 0.0 if memory.position is None else memory.position.position_m[2]
        else:
            height_m = self._fallback.height_m(memory.range_m)
        self._clock_jumped = self._clock_jumped and not view.heard
        start_s, standing = memory.start_t_s, False
        grid_t_s = None if view.sight is None else view.sight.t_s
        if held is not None:
            accel = held.accel_m_s2 if held.accel_fresh else None
            standing = stands(held.gyro_rad_s, accel, held.range_m, self._thrust_m_s2)
        readings = Readings(
            t_s=now_s,
            since_start_s=0.0 if start_s is None else now_s - start_s,
            imu_age_s=imu_age_s,
            flow_age_s=None if memory.flow_t_s is None else now_s - memory.flow_t_s,
            range_age_s=None if memory.range_t_s is None else now_s - memory.range_t_s,
            setpoint_age_s=self._setpoints.age_s(now_s),
            setpoint_timeout_s=self._setpoints.timeout_s,
            tilt_rad=self._fallback.tilt_rad,
            height_m=height_m if held is not None else 0.0,
            standing=standing,
            floor_asked=held is not None and held.setpoint_height_m < 0.0,
            rejected_in_a_row=self._rejected_in_a_row,
            clock_jumped=self._clock_jumped,
            position=memory.position,
            position_age_s=None if memory.position_t_s is None else now_s - memory.position_t_s,
            attitude_age_s=None if memory.attitude_t_s is None else now_s - memory.attitude_t_s,
            grid_age_s=None if grid_t_s is None else now_s - grid_t_s,
            course_held=bool(view.course_held),
        )
        before = self.state
        for state, cause in self._supervisor.update(readings):
            # not cause.name: Python 3.10 has none for several at once
            reason = "|".join(str(one.name) for one in Condition if one & cause) or "data are good"
            self._journal.note(now_s, "state", f"{before.value} -> {state.value}: {reason}")
            if before is State.ACTIVE:
                self._fallback.start()
            elif state is State.ACTIVE and isinstance(self._setpoints, TargetHolder) and memory.position is not None:
                self._setpoints.stay(memory.position)
            before = state

    def _command(self, t_s: float, dt_s: float, action: Vec4[float] | None) -> Command | None:
        state = self.state
        if state is State.ACTIVE and action is not None:
            thrust, rates = from_action(self._command_limits, action)
            return self._issue(clamped(t_s, thrust, rates, self._command_limits))
        if state is State.KILLED:
            return self._issue(Command(t_s, 0.0, (0.0, 0.0, 0.0)))
        if state in COMMANDING:
            self._journal.counters["fallback_commands"] += 1
            return self._issue(self._fallback.level(t_s, dt_s, self._command_limits))
        return None

    def _issue(self, command: Command) -> Command:
        self._journal.counters["commands"] += 1
        self._thrust_m_s2 = command.thrust_m_s2
        self._journal.write(command)
        return command

    def _start_clock(self, now_s: float, *, jumped: bool) -> None:
        self._view.start_clock(now_s, jumped=jumped)
        if not jumped:
            if self._core_note:
                self._journal.note(now_s, "core", self._core_note)
            return
        self._clock_jumped = True
        self._fallback.restart_clock()
        self._supervisor.restart_clock()
        self._journal.count("clock_jumps", now_s, "clock", f"the IMU's clock moved to {now_s:.3f} s; ages start anew")

    def _reject(self, kind: str, t_s: float, error: LiquidPilotError) -> None:
        self._rejected_in_a_row += 1
        self._journal.count(f"rejected_{kind}", t_s, "rejected", str(error))


def _core(bundle: Bundle, core: str | Stepper) -> tuple[Stepper, str]:
    """See `liquid_pilot.native_step.choose_core`, which numpy alone does not need."""
    if not isinstance(core, str):
        return core, ""
    if core == "numpy":
        return Network(bundle.spec, bundle.weights), ""
    from liquid_pilot.native_step import choose_core

    return choose_core(bundle, core)
