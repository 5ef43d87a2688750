"""From the autopilot's IMU sample to the command that answers it, over MAVLink on loopback: two processes, real time.

The autopilot measures: from handing HIGHRES_IMU to its socket to the kernel's arrival time of the SET_ATTITUDE_TARGET
that names that sample. The pilots fly the same simulated drone through the same runtime; the rival is the Kalman filter
with the cascaded PID. The autopilot's simulation shares the machine with them.

Of a policy that sees, which no autopilot can feed, `onboard_grid_latency` measures flow grid to command instead.
"""

from __future__ import annotations

import json
import math
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

from envs.airframe import Airframe, load_airframe
from liquid_pilot.bundle import load_bundle
from liquid_pilot.command import DEFAULT_LIMITS
from liquid_pilot.controller import Controller
from liquid_pilot.errors import SimulationError
from liquid_pilot.links.link import LinkStatus
from liquid_pilot.links.mavlink import MavlinkLink
from liquid_pilot.links.throttle import Throttle
from liquid_pilot.links.transport import Udp
from liquid_pilot.messages import Command, Flow, Message, Range, Setpoint
from liquid_pilot.runtime.flight import Flight, Plan, Stage
from liquid_pilot.runtime.loop import ControlLoop
from liquid_pilot.runtime.pilot import FlightPilot
from liquid_pilot.runtime.preflight import Facts
from liquid_pilot.runtime.realtime import punctual
from liquid_pilot.supervisor import Condition, State
from policies.experts.pid_ekf import PidEkfPilot
from scripts.benchmarks import onboard, onboard_grid_latency
from scripts.console import ERR, OUT
from scripts.tables import rich_table

RIVAL: Final = "pid-ekf"
AIRFRAME: Final = "companion"
IMU_HZ: Final = 400.0
SET_OFF_S: Final = 8.0  # start, checks, arming, take-off
MEDIAN_GOAL_MS: Final = 0.5
P99_GOAL_MS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Measured:
    """Milliseconds, over `count` commands in flight. step_us: the median pass of the loop, waking up to sending."""

    pilot: str
    median_ms: float
    p99_ms: float
    largest_ms: float
    count: int
    step_us: float
    flown_s: float
    height_median_m: float | None


class RivalController:
    """The rival with the face of a controller: ready once all sensors are heard, flying once told what."""

    def __init__(self, airframe: Airframe) -> None:
        self.bundle = SimpleNamespace(limits=DEFAULT_LIMITS)
        self.log_problem = ""
        self.conditions = Condition(0)
        self.state = State.STANDBY
        self._pilot = PidEkfPilot(airframe)
        self._heard: set[type] = set()

    def feed(self, message: Message) -> Command | None:
        """As `Controller.feed`."""
        if isinstance(message, Setpoint):
            self.state = State.ACTIVE
        elif (isinstance(message, Flow) and message.quality > 0.0) or (
            isinstance(message, Range) and math.isfinite(message.distance_m)
        ):
            self._heard.add(type(message))
            if len(self._heard) == 2 and self.state is State.STANDBY:
                self.state = State.READY
        command = self._pilot.feed(message)
        return command if self.state is State.ACTIVE else None

    def tick(self, now_s: float) -> Command | None:
        """As `Controller.tick`."""
        return self._pilot.tick(now_s)

    def stop(self) -> None:
        """It does not land by itself: the autopilot does."""

    def kill(self) -> None:
        """As `Controller.kill`."""

    def report_missed_deadline(self, t_s: float) -> None:
        """It does not care."""


def _controller(pilot: str) -> Any:
    return RivalController(load_airframe(AIRFRAME)) if pilot == RIVAL else Controller(load_bundle(pilot), core="auto")


def measure(pilot: str, seconds: float = 30.0, imu_hz: float = 400.0, seed: int = 0, fifo: bool = False) -> Measured:
    """Fly a pilot (a policy, or `RIVAL`) for so many seconds over loopback. Raises `SimulationError` if it did not."""
    near = Udp("127.0.0.1", _free_port(), listen=True)
    near.open()
    arguments = ["--port", str(near.port), "--imu-hz", str(imu_hz), "--airframe", AIRFRAME, "--seed", str(seed)]
    arguments += ["--seconds", str(seconds + SET_OFF_S)]
    with subprocess.Popen(
        [sys.executable, "-m", "scripts.autopilot", *arguments],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as autopilot:
        try:
            step_us = _fly(pilot, near, autopilot, imu_hz, fifo)
            said, _ = autopilot.communicate(timeout=60.0)
        finally:
            with suppress(ProcessLookupError):
                autopilot.kill()
            near.close()
    if not said.strip():
        raise SimulationError("the autopilot ended without a word; run python -m scripts.autopilot to see why")
    found = json.loads(said.splitlines()[-1])
    if not found["latency_count"]:
        raise SimulationError(f"{pilot} did not fly: {found['changes']}, {found['denials']}")
    return Measured(
        pilot,
        found["latency_median_ms"],
        found["latency_p99_ms"],
        found["latency_largest_ms"],
        found["latency_count"],
        step_us,
        found["flown_s"],
        found["height_median_m"],
    )


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", 0))
        return int(own.getsockname()[1])


def _fly(pilot: str, near: Udp, autopilot: subprocess.Popen[str], imu_hz: float, fifo: bool) -> float:
    """Fly until the autopilot ends; the median pass in microseconds."""
    throttle = Throttle(1.0 / load_airframe(AIRFRAME).thrust_to_weight)
    link = MavlinkLink(near, throttle, rates_hz={"imu": imu_hz})
    flown = FlightPilot(_controller(pilot))
    loop = ControlLoop(link, flown)
    setpoint = Setpoint(0.0, (0.0, 0.0), 1.0, 0.0)
    facts = Facts(
        pilot, 0.0, {}, {}, LinkStatus(""), {}, loop.watch.rest(), setpoint, throttle.hover_throttle, "", True
    )
    flight = Flight(loop, flown, Plan(setpoint, imu_hz=imu_hz, patience_s=30.0), facts, time.monotonic())
    with punctual(fifo=fifo) as notes:
        for note in notes:
            ERR.print(note)
        looked_s, stage = time.monotonic(), flight.stage
        while not flight.done:
            loop.run_once()
            now_s = time.monotonic()
            flight.update(now_s)
            if flight.stage is not stage:
                stage = flight.stage
                if stage is Stage.FLYING:
                    loop.step.clear()
            if now_s - looked_s > 1.0:
                looked_s = now_s
                if autopilot.poll() is not None:
                    break
    return 1e6 * loop.step.quantile_s(0.5)


def run(plan: onboard.Plan) -> dict[str, Any]:
    """The section "latency"."""
    if load_bundle(plan.policy).sees:
        return onboard_grid_latency.run(plan)
    seconds = 5.0 if plan.quick else 30.0
    ours, rival = (measure(pilot, seconds, IMU_HZ, plan.seed, plan.fifo) for pilot in (plan.policy, RIVAL))
    ratio = ours.median_ms / rival.median_ms
    rows = [
        ("IMU to command, median", f"{ours.median_ms:.3f} ms", f"{rival.median_ms:.3f} ms", f"{MEDIAN_GOAL_MS:g} ms"),
        ("IMU to command, 99 %", f"{ours.p99_ms:.2f} ms", f"{rival.p99_ms:.2f} ms", f"{P99_GOAL_MS:g} ms"),
        ("IMU to command, largest", f"{ours.largest_ms:.2f} ms", f"{rival.largest_ms:.2f} ms", ""),
        ("one pass of the loop, median", f"{ours.step_us:.0f} us", f"{rival.step_us:.0f} us", ""),
        ("commands measured", f"{ours.count:,}", f"{rival.count:,}", ""),
        ("height, median", _metres(ours.height_median_m), _metres(rival.height_median_m), "1.00 m"),
        ("median over the rival's", f"{ratio:.2f}", "1", "0.60"),
    ]
    title = f"IMU sample to command over MAVLink on loopback, IMU {IMU_HZ:g} Hz"
    OUT.print(rich_table(title, ("what", plan.policy, RIVAL, "goal"), rows))
    return {"imu_hz": IMU_HZ, "fifo": plan.fifo, "ours": asdict(ours), "rival": asdict(rival), "median_ratio": ratio}


def _metres(height: float | None) -> str:
    return "-" if height is None else f"{height:.2f} m"
