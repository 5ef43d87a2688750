"""`liquid-pilot fly`: flies a policy through an autopilot, or rehearses it."""

from __future__ import annotations

import argparse
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from liquid_pilot.commands.text import write
from liquid_pilot.errors import ConfigError, LinkError, LiquidPilotError

if TYPE_CHECKING:
    from liquid_pilot.bundle import Bundle
    from liquid_pilot.commands.screen import Screen
    from liquid_pilot.links.throttle import Throttle
    from liquid_pilot.logs import FlightLog
    from liquid_pilot.runtime.flight import Flight
    from liquid_pilot.runtime.loop import ControlLoop

EXIT_LOST: Final = 1
EXIT_REFUSED: Final = 3
_HELP: Final = """\
Flies POLICY on a drone whose autopilot speaks MAVLink (PX4, ArduPilot). Sensors come over the link; body rates and
thrust go back. The autopilot keeps its rate loop, its arming rules and its failsafes.

What happens: the link is opened and the autopilot found; pre-flight checks run until all pass (each that does not says
why, and what to do); set-points stream with thrust zero, offboard mode and arming are asked for; the leveller climbs
until flow and range see the floor; the policy flies; Ctrl-C lands.

  Ctrl-C          lands, and disarms on the ground (so do SIGTERM, a lost terminal, and --duration)
  Ctrl-C again    says that it is landing
  Ctrl-\\          stops the motors at once, wherever the drone is
"""
_EXAMPLES: Final = """\
links:
  mavlink:udpin:127.0.0.1:14540     listen, for example to PX4's simulator or to mavlink-router on this computer
  mavlink:udpout:192.168.1.10:14550 call an address
  mavlink:/dev/ttyAMA0@921600       a serial port

examples:
  python -m scripts.autopilot &     a simulated drone, in the workshop (not in this package)
  liquid-pilot fly hover --link mavlink:udpin:127.0.0.1:14540 --hover-throttle 0.44
  liquid-pilot fly hover --link mavlink:/dev/ttyAMA0@921600 --dry-run          compute and log, command nothing
  liquid-pilot fly hover --link mavlink:/dev/ttyAMA0@921600 --hover-throttle 0.38 --no-arm --log flight.mcap

A dry run sends HEARTBEAT, TIMESYNC and the requests for sensor rates (SET_MESSAGE_INTERVAL), without which the sensors
would not be heard, and nothing else.

With --no-arm the policy's commands stream from the start and nothing is asked of the autopilot: arm, take off to about
--height and switch to offboard by hand; switching back takes the drone back.

exit codes: 0 landed or rehearsed, 1 the flight ended otherwise, 2 bad input, 3 the checks or the autopilot refused.
"""


def add_parser(commands: Any) -> None:
    """The command's arguments. commands: of `argparse.ArgumentParser.add_subparsers`."""
    parser = commands.add_parser(
        "fly",
        help="fly a policy on a drone, or rehearse it",
        description=_HELP,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("policy", metavar="POLICY", help="shipped name, or path of a .safetensors file")
    parser.add_argument("--link", required=True, metavar="ADDRESS", help="where the autopilot is; see below")
    parser.add_argument("--dry-run", action="store_true", help="compute and log, command nothing")
    parser.add_argument("--height", type=float, default=1.0, metavar="M", help="to fly at, in metres (default 1.0)")
    parser.add_argument(
        "--velocity", type=_pair, default=(0.0, 0.0), metavar="VX,VY", help="forward and left, in m/s (default 0,0)"
    )
    parser.add_argument("--duration", type=float, default=math.inf, metavar="S", help="land after so many seconds")
    parser.add_argument("--log", type=Path, metavar="FILE", help="flight log, .mcap or .csv, a new file")
    parser.add_argument(
        "--mask-position", action="store_true", help="keep the place out of the log, see liquid-pilot mask"
    )
    parser.add_argument(
        "--core",
        choices=("auto", "c", "numpy"),
        default="auto",
        help="what steps the network: auto = C where a compiler is found and the C agrees with numpy (default)",
    )
    parser.add_argument(
        "--hover-throttle", type=float, metavar="U", help="throttle that hovers, 0 to 1: PX4 MPC_THR_HOVER"
    )
    parser.add_argument(
        "--thrust-curve", type=float, default=0.0, metavar="K", help="thrust ~ K u^2 + (1-K) u (default 0: linear)"
    )
    parser.add_argument(
        "--airframe", metavar="NAME", help="airframe of this drone, such as cf2x, to compare with the policy's"
    )
    parser.add_argument("--no-arm", action="store_true", help="arm, take off and switch modes by hand")
    parser.add_argument("--fifo", action="store_true", help="real-time priority and locked memory, where permitted")
    parser.add_argument("--imu-hz", type=float, default=200.0, metavar="HZ", help="IMU rate to ask for (default 200)")
    parser.add_argument("--system-id", type=int, metavar="N", help="MAVLink system to listen to, of several")
    parser.add_argument("--allow-network", action="store_true", help="let udpin listen beyond this computer")
    parser.add_argument(
        "--patience",
        type=float,
        default=20.0,
        metavar="S",
        help="seconds to wait for autopilot, and for checks (20)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Fly it. Returns the exit code."""
    from liquid_pilot.bundle import load_bundle
    from liquid_pilot.commands.screen import Screen
    from liquid_pilot.controller import Controller
    from liquid_pilot.links.address import transport_of
    from liquid_pilot.links.mavlink import MavlinkLink
    from liquid_pilot.links.throttle import Throttle
    from liquid_pilot.runtime.flight import Flight, Outcome
    from liquid_pilot.runtime.loop import ControlLoop
    from liquid_pilot.runtime.pilot import FlightPilot
    from liquid_pilot.runtime.realtime import punctual

    _check_numbers(arguments)
    given = arguments.hover_throttle
    throttle = Throttle(0.5 if given is None else given, arguments.thrust_curve)
    transport = transport_of(arguments.link, allow_network=arguments.allow_network)
    bundle = load_bundle(arguments.policy)
    _ = bundle.limits  # a policy that flies no drone is refused here, before anything is opened
    if bundle.locates:
        raise ConfigError(
            f"policy {bundle.name!r} flies to places; this command tells a policy velocities, and takes off by flow "
            "and range: give one that flies by them, or feed PositionSetpoint messages to a liquid_pilot.Controller"
        )
    if bundle.sees:
        raise ConfigError(
            f"policy {bundle.name!r} needs forward flow grids, which no autopilot tells: give one that flies by flow "
            "and range, or feed FlowGrid, Attitude and courses as PositionSetpoint to a liquid_pilot.Controller"
        )
    link = MavlinkLink(transport, throttle, system_id=arguments.system_id, rates_hz={"imu": arguments.imu_hz})
    link.open(time.monotonic())
    log = None
    try:
        log = _open_log(arguments.log, arguments.mask_position)
        pilot = FlightPilot(Controller(bundle, log=log, core=arguments.core))
        loop = ControlLoop(link, pilot)
        flight = Flight(loop, pilot, _plan(arguments), _facts(bundle, given, loop), time.monotonic())
        meter = _meter(loop, flight, throttle)
        screen = Screen()
        with punctual(fifo=arguments.fifo) as notes, _signals(flight, screen):
            diary = _Diary(screen, log)
            for note in notes:
                screen.note(note)
            for caution in _cautions(bundle, arguments.airframe, None if given is None else throttle):
                diary.note(time.monotonic(), "caution", f"note: {caution}")
            _run_loop(loop, flight, diary)
        screen.close()
    finally:
        link.close()
        if log is not None:
            log.close()
    _report(flight, loop, meter, arguments.log)
    fine = (Outcome.LANDED, Outcome.REHEARSED, Outcome.CANCELLED)
    return 0 if flight.outcome in fine else EXIT_REFUSED if flight.outcome is Outcome.REFUSED else EXIT_LOST


def _pair(text: str) -> tuple[float, float]:
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: give two numbers like 0.3,0 (forward, left)") from error
    return x, y


def _check_numbers(arguments: argparse.Namespace) -> None:
    bounds = {
        "height": (0.0, 1000.0),
        "duration": (0.0, math.inf),
        "imu_hz": (10.0, 1000.0),
        "patience": (1.0, 3600.0),
    }
    for name, (low, high) in bounds.items():
        if not low <= getattr(arguments, name) <= high:
            option = name.replace("_", "-")
            raise ConfigError(f"--{option} is {getattr(arguments, name):g}; give {low:g} to {high:g}")
    if not all(map(math.isfinite, arguments.velocity)):
        raise ConfigError(f"--velocity is {arguments.velocity}; give two finite numbers")
    if arguments.system_id is not None and not 1 <= arguments.system_id <= 255:
        raise ConfigError(f"--system-id is {arguments.system_id}; MAVLink systems are 1 to 255")


def _open_log(path: Path | None, mask_position: bool) -> FlightLog | None:
    """The log behind a thread of its own. Raises `LiquidPilotError` where it cannot be written."""
    if path is None:
        return None
    if path.exists():
        raise ConfigError(f"--log {path} exists; a recorded flight is not written over: give another name, or move it")
    from liquid_pilot.logs import open_log
    from liquid_pilot.logs.background import BackgroundLog
    from liquid_pilot.logs.masked import MaskedLog

    log = open_log(path)
    return BackgroundLog(MaskedLog(log) if mask_position else log)


def _plan(arguments: argparse.Namespace) -> Any:
    from liquid_pilot.messages import Setpoint
    from liquid_pilot.runtime.flight import Plan

    return Plan(
        setpoint=Setpoint(0.0, arguments.velocity, arguments.height, 0.0),
        duration_s=arguments.duration,
        arms=not arguments.no_arm,
        dry=arguments.dry_run,
        patience_s=arguments.patience,
        imu_hz=arguments.imu_hz,
    )


def _cautions(bundle: Bundle, airframe: str | None, throttle: Throttle | None) -> list[str]:
    """What the operator should know of policy and drone. airframe, throttle: None where they were not given."""
    from liquid_pilot.cautions import airframe_cautions

    made_for = bundle.metadata["airframe"]
    untold = f"{bundle.name} was made for the airframe {made_for}; say with --airframe which one this drone is"
    full_m_s2 = None if throttle is None else throttle.thrust_m_s2(1.0)
    return [*([untold] if airframe is None else []), *airframe_cautions(bundle, airframe, full_m_s2)]


def _facts(bundle: Bundle, hover_throttle: float | None, loop: ControlLoop) -> Any:
    """What the checks need and only this command knows."""
    from liquid_pilot.bundle import run_selftest
    from liquid_pilot.links.link import LinkStatus
    from liquid_pilot.messages import Setpoint
    from liquid_pilot.runtime.preflight import Facts

    return Facts(
        policy=bundle.name,
        selftest=run_selftest(bundle),
        trained_rates_hz=bundle.metadata.get("trained_rates_hz", {}),
        setpoint_limits=bundle.metadata.get("setpoint_limits", {}),
        link=LinkStatus(""),
        sensors={},
        rest=loop.watch.rest(),
        setpoint=Setpoint(0.0, (0.0, 0.0), 0.0, 0.0),
        hover_throttle=hover_throttle,
        log="",
        starts_on_floor=True,
    )


def _meter(loop: ControlLoop, flight: Flight, throttle: Throttle) -> Any:
    """Measures the hover throttle while the policy flies."""
    from liquid_pilot.links.throttle import HoverMeter
    from liquid_pilot.messages import Command, Imu
    from liquid_pilot.runtime.flight import Stage

    meter, before = HoverMeter(throttle), [0.0]

    def on_imu(imu: Imu, command: Command | None) -> None:
        if flight.stage is Stage.FLYING and command is not None and loop.sends:
            meter.update(imu.t_s - before[0], command.thrust_m_s2, imu.accel_m_s2[2])
        before[0] = imu.t_s

    loop.on_imu = on_imu
    return meter


class _Diary:
    """What the operator is told in a line of its own, and finds in the log."""

    def __init__(self, screen: Screen, log: FlightLog | None) -> None:
        self.screen = screen
        self._log = log
        self._newest: dict[str, str] = {}

    def note(self, t_s: float, kind: str, text: str) -> None:
        """Tell it once; a log that cannot be written any more is let go."""
        from liquid_pilot.logs import Event

        if self._newest.get(kind, "") == text:
            return
        self._newest[kind] = text
        if not text:
            return
        self.screen.note(text)
        try:
            if self._log is not None:
                self._log.write(Event(t_s, kind, text))
        except (OSError, LiquidPilotError):  # the controller's journal says so
            self._log = None


def _run_loop(loop: ControlLoop, flight: Flight, diary: _Diary) -> None:
    """Until it is over."""
    from liquid_pilot.runtime.status import snapshot

    while not flight.done:
        try:
            loop.run_once()
            flight.update(time.monotonic())
        except LinkError as error:
            flight.lose(str(error))
        now_s = time.monotonic()
        diary.note(now_s, "stage", f"{flight.stage.value}{': ' + flight.reason if flight.reason else ''}")
        diary.note(now_s, "link", flight.link.problem)
        diary.note(now_s, "autopilot", flight.link.said)
        diary.screen.show(lambda: snapshot(flight, now_s), now_s)  # noqa: B023  # called at once


@contextmanager
def _signals(flight: Flight, screen: Screen) -> Iterator[None]:
    """Ctrl-C, SIGTERM and a lost terminal land; SIGQUIT stops the motors. Handlers only set marks."""
    asked = [0]

    def land(*_: object) -> None:
        asked[0] += 1
        flight.land()
        screen.note("landing" if asked[0] == 1 else "it is landing; Ctrl-\\ stops the motors at once")

    def kill(*_: object) -> None:
        flight.kill()
        screen.note("stopping the motors")

    wanted: dict[str, Callable[..., None]] = {"SIGINT": land, "SIGTERM": land, "SIGHUP": land, "SIGQUIT": kill}
    numbers = {getattr(signal, name): handler for name, handler in wanted.items() if hasattr(signal, name)}
    before = {number: signal.signal(number, handler) for number, handler in numbers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _report(flight: Flight, loop: ControlLoop, meter: Any, log: Path | None) -> None:
    """What to know afterwards."""
    outcome = "" if flight.outcome is None else flight.outcome.value
    lines = [f"{outcome}: {flight.reason}" if flight.reason != outcome else outcome]
    if loop.age.count:
        lines.append(
            f"latency from the IMU's stamp to the command: median {1e3 * loop.age.quantile_s(0.5):.2f} ms, "
            f"p99 {1e3 * loop.age.quantile_s(0.99):.2f} ms, largest {1e3 * loop.age.largest_s:.2f} ms over "
            f"{loop.age.count:,} commands"
        )
    hover = meter.hover_throttle
    if hover is not None:
        lines.append(f"measured hover throttle: {hover:.3f} (give it as --hover-throttle next time)")
    if log is not None:
        lines.append(f"log: {log}")
    try:
        write(lines)
        sys.stdout.flush()
    except OSError:  # the terminal is gone, which changes nothing of how the flight ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
