r"""A MAVLink autopilot on loopback that flies a simulated drone in real time, with PX4's rules.

It sends to the address where `liquid-pilot fly` listens, arms and obeys as PX4 does (2 Hz proof of life before
offboard mode, failsafe after 1.0 s without set-points), and prints one line of JSON about the flight at its end.

Examples:
  python -m scripts.autopilot        # then: liquid-pilot fly hover --link mavlink:udpin:127.0.0.1:14540 \
                                     #           --hover-throttle 0.417
  python -m scripts.autopilot --airframe companion --imu-hz 400 --loss 0.01 --jitter-ms 20
  python -m scripts.autopilot --fault flow:off@6s+1s --seconds 30
"""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import tyro

from envs.autopilot.channel import ChannelFaults
from envs.faults import parse_fault
from liquid_pilot.errors import ConfigError, LinkError
from liquid_pilot.links.transport import is_loopback
from scripts.console import ERR, exit_code
from scripts.flying import import_pybullet


@dataclass(frozen=True)
class Options:
    """A simulated drone behind a MAVLink autopilot."""

    host: str = "127.0.0.1"
    """Where the companion computer listens; loopback only."""
    port: int = 14540
    """Port at which it listens."""
    airframe: str = "companion"
    """cf2x, racer, companion, or the path of a TOML file."""
    imu_hz: float = 400.0
    """Rate of the IMU, and of the physics; streams are thinned to what is asked for."""
    flow_hz: float = 50.0
    """Rate of the optical flow."""
    range_hz: float = 40.0
    """Rate of the range finder."""
    wind_m_s: float = 0.5
    """Mean wind; its direction is drawn."""
    fault: tuple[str, ...] = ()
    """Faults by name and time after the take-off, as in docs/faults.md: flow:off@6s+1s"""
    loss: float = 0.0
    """Share of datagrams that are lost, each way."""
    duplicates: float = 0.0
    """Share of datagrams that come twice."""
    jitter_ms: float = 0.0
    """Each datagram is late by up to this, so that they overtake each other."""
    battery: float = 0.9
    """Charge at the start, 0 to 1."""
    drain_per_s: float = 0.001
    """What it loses each second while armed."""
    reboot_s: float | None = None
    """Starts anew after so many seconds."""
    system: int = 1
    """MAVLink system number."""
    seed: int = 0
    """Of drone, wind and noise."""
    seconds: float | None = None
    """Ends after so long; otherwise once it has flown and is disarmed, or when it is told to."""


def run(options: Options) -> None:
    """Fly until the end, then say how it went."""
    if not is_loopback(options.host):
        raise ConfigError(f"--host is {options.host}; this simulator serves loopback only: give 127.0.0.1")
    import_pybullet()
    from envs.airframe import load_airframe
    from envs.autopilot.autopilot import Autopilot
    from envs.autopilot.real_time import RealTime
    from envs.autopilot.vehicle import Vehicle, on_the_floor
    from envs.conditions import Conditions

    conditions = Conditions(
        imu_hz=(options.imu_hz, options.imu_hz),
        imu_jitter=0.0,
        flow_hz=(options.flow_hz, options.flow_hz),
        range_hz=(options.range_hz, options.range_hz),
        command_latency_s=(0.0, 0.005),
        wind_m_s=(options.wind_m_s, options.wind_m_s),
        airframe_spread=0.05,
        faults=tuple(parse_fault(text) for text in options.fault),
    )
    faults = ChannelFaults(options.loss, options.duplicates, options.jitter_ms * 1e-3)
    vehicle = Vehicle(on_the_floor(load_airframe(options.airframe), conditions, options.seed), options.seed)
    autopilot = Autopilot(vehicle, system=options.system, battery=options.battery, drain_per_s=options.drain_per_s)
    own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        own.connect((options.host, options.port))
    except OSError as error:
        raise LinkError(f"port {options.port} on {options.host} cannot be called ({error}); choose another") from error
    flown = RealTime(autopilot, own, faults, options.seed)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: flown.stop())
    throttle = 1.0 / vehicle.airframe.thrust_to_weight
    ERR.print(
        f"{options.airframe} as system {options.system} calls {options.host}:{options.port}; it hovers at throttle "
        f"{throttle:.3f}",
        highlight=False,
    )
    try:
        flown.run(options.seconds, options.reboot_s)
    finally:
        own.close()
        vehicle.close()
    sys.stdout.write(json.dumps(flown.summary()) + "\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m scripts.autopilot`. Returns the exit code."""
    options = tyro.cli(Options, prog="python -m scripts.autopilot", args=argv, description=__doc__)
    return exit_code(lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
