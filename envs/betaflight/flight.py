"""One of our airframes in PyBullet, its rate loop replaced by the real Betaflight firmware, in step with it.

Sensor messages of our models go to a controller, its commands as a remote control's channels to the firmware, the
firmware's motors to our physics, and the true rates (with the flight's gyro bias) back to the firmware's gyro.
"""

from __future__ import annotations

import contextlib
import math
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from envs.airframe import Airframe
from envs.betaflight.firmware import HOST, MOTOR_PORT, RC_PORT, SERIAL_PORT, STATE_PORT, Firmware
from envs.betaflight.tcp import Tcp
from envs.betaflight.tuning import ThrustCurve, tuning
from envs.conditions import Conditions
from envs.flights import Flights
from envs.launch import HandLaunch
from envs.pybullet_quad import PyBulletQuad
from envs.sensors import specific_force
from liquid_pilot.controller import Controller
from liquid_pilot.errors import SimulationError
from liquid_pilot.links.betaflight import BetaflightLink
from liquid_pilot.links.betaflight_rc import Channels, RcMap, SitlRc, setup_lines
from liquid_pilot.links.link import Request
from liquid_pilot.links.transport import Udp
from liquid_pilot.messages import Setpoint
from liquid_pilot.observation import GRAVITY_M_S2
from liquid_pilot.ops import Vec4

STAMP_S: Final = 1.0  # the same in every packet: the firmware else warps its clock by how they jitter
PRESSURE_PA: Final = 101_325.0
ARM_LIMIT_S: Final = 20.0
HELD_S: Final = 1e6  # until it says otherwise
HELD_ARMED_S: Final = 0.3  # in the hand, with the controller's sticks, before it is let go
RATE_DEG_S: Final = 500
TICK_S: Final = 0.01
START_S: Final = 1.0  # of the firmware's clock, before the first packet


@dataclass(frozen=True, slots=True)
class Sitl:
    """What a flight was like. up: airborne, upright and near its height at the end, never out of bounds.

    speed_error_m_s: mean horizontal difference to the set-point over the last half of each set-point's time.
    """

    up: bool
    lowest_m: float
    highest_m: float
    height_error_m: float
    speed_error_m_s: float
    tilt_deg: float
    armed_after_s: float
    motor_packets_hz: float
    state: str


class _CountedRc:
    """An RC output that tells the firmware's keeper of every datagram."""

    def __init__(self, rc: SitlRc, firmware: Firmware) -> None:
        self.name, self._rc, self._firmware = rc.name, rc, firmware

    def open(self) -> None:
        self._rc.open()

    def send(self, channels: Channels, now_s: float) -> bool:
        sent = self._rc.send(channels, now_s)
        if sent:
            self._firmware.sent()
        return sent

    def close(self) -> None:
        self._rc.close()


class _World:
    """Physics under the firmware's motors."""

    def __init__(self, launch: HandLaunch, firmware: Firmware) -> None:
        self.launch, self.firmware = launch, firmware
        self.packets = 0
        self._motors = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._motors.bind((HOST, firmware.port(MOTOR_PORT)))
        self._motors.setblocking(False)
        self._state = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._state.connect((HOST, firmware.port(STATE_PORT)))

    def close(self) -> None:
        """Close the sockets."""
        self._motors.close()
        self._state.close()

    def substep(self, t_s: float) -> None:
        """What is between two substeps: gyro out, the firmware's own loops up to now, motors in."""
        quad = self.launch.quad
        if self.launch.released:
            wx, wy, wz = (a + b for a, b in zip(quad.body.rates_rad_s, quad.params.gyro_bias_rad_s, strict=True))
            ax, ay, az = specific_force(quad.matrix, quad.acceleration_m_s2)
        else:
            (wx, wy, wz), (ax, ay, az) = (0.0, 0.0, 0.0), (0.0, 0.0, GRAVITY_M_S2)
        values = (STAMP_S, wx, -wy, -wz, ax, -ay, -az, *quad.body.attitude_wxyz, *[0.0] * 6, PRESSURE_PA)
        self._state.send(struct.pack("<18d", *values))
        self.firmware.sent()
        self.firmware.run_until(START_S + t_s)
        speeds = self._newest()
        if speeds is not None:
            self.launch.issue_speeds(speeds, t_s)

    def _newest(self) -> Vec4[float] | None:
        """Motor speeds of the newest packet, in our order: it sends front-right, rear-right, ... as 0, 3, 1, 2."""
        data = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                data = self._motors.recv(64)
                self.packets += 1
        if len(data) < 16:
            return None
        fr, rl, fl, rr = (min(1.0, max(0.0, x)) if math.isfinite(x) else 0.0 for x in struct.unpack_from("<4f", data))
        idle = self.launch.quad.airframe.idle_speed
        return max(idle, fr), max(idle, rr), max(idle, rl), max(idle, fl)


def fly(
    controller: Controller,
    airframe: Airframe,
    flights: Flights,
    conditions: Conditions,
    rng: np.random.Generator,
    folder: Path,
    setpoints: Sequence[tuple[float, Setpoint]],
    duration_s: float,
    said: Callable[[str], None] = lambda text: None,
) -> Sitl:
    """Fly the first of `flights` for duration_s after the release.

    setpoints: (seconds after the release, what to fly), the first at 0; folder: of the firmware's configuration.
    Raises `MissingExtraError` without the firmware, and `SimulationError` where it does not start or arm.
    """
    still = replace(conditions, hold_s=HELD_S, command_latency_s=(0.0, 0.0))
    lines = [*setup_lines(RATE_DEG_S), *tuning(airframe), "feature -GPS", "set failsafe_procedure = DROP"]
    with Firmware(folder, lines) as firmware, PyBulletQuad(airframe) as quad, contextlib.ExitStack() as stack:
        firmware.run_until(START_S)
        launch = HandLaunch(quad, flights, still, rng)
        world = _World(launch, firmware)
        stack.callback(world.close)
        link = BetaflightLink(
            _CountedRc(SitlRc(Udp(HOST, firmware.port(RC_PORT), listen=False)), firmware),
            Tcp(HOST, firmware.port(SERIAL_PORT)),
            RcMap(ThrustCurve(airframe), RATE_DEG_S),
        )
        link.open(0.0)
        stack.callback(link.close)
        return _Flight(controller, launch, world, link, setpoints, duration_s, said).run()


class _Flight:
    """The loop of one flight."""

    def __init__(
        self,
        controller: Controller,
        launch: HandLaunch,
        world: _World,
        link: BetaflightLink,
        setpoints: Sequence[tuple[float, Setpoint]],
        duration_s: float,
        said: Callable[[str], None],
    ) -> None:
        self._controller, self._launch, self._world, self._link = controller, launch, world, link
        self._setpoints, self._duration_s, self._said = list(setpoints), duration_s, said
        self._tick_s = 0.0
        self._armed_s: float | None = None
        self._wanted = setpoints[0][1]
        self._changed_s = 0.0
        self._errors: list[tuple[float, float]] = []  # (speed, height) where the set-point has had its time

    def run(self) -> Sitl:
        """To the end."""
        launch, link = self._launch, self._link
        link.request(Request.ARM, 0.0)
        messages = launch.first_messages()
        while launch.flight_time_s < self._duration_s:
            link.receive(launch.t_s)
            self._prepare()
            if launch.released:
                self._ask()
                self._measure()
            for message in messages:
                command = self._controller.feed(message)
                if command is not None and self._armed_s is not None:
                    link.send(command, launch.t_s)
            messages = launch.advance(self._substep)
            if launch.released and (launch.lowest_m < 0.1 or launch.highest_m > 3.5 or not launch.finite):
                break
        return self._result()

    def _substep(self, t_s: float) -> None:
        self._world.substep(t_s)
        self._link.beat(t_s)
        if t_s >= self._tick_s:
            self._tick_s = t_s + TICK_S
            command = self._controller.tick(t_s)
            if command is not None and self._armed_s is not None:
                self._link.send(command, t_s)

    def _prepare(self) -> None:
        """Arm, then let go."""
        launch, now_s = self._launch, self._launch.t_s
        if not self._world.firmware.running:
            raise SimulationError("Betaflight has ended by itself")
        if launch.released:
            return
        status = self._link.status(now_s)
        if self._armed_s is None:
            if status.armed:
                self._armed_s = now_s
                self._said(f"armed after {now_s:.1f} s")
                self._controller.feed(replace(self._wanted, t_s=now_s))
            elif now_s > ARM_LIMIT_S:
                raise SimulationError(f"Betaflight has not armed in {ARM_LIMIT_S:g} s: {status.problem or status}")
        elif now_s - self._armed_s > HELD_ARMED_S:
            launch.conditions = replace(launch.conditions, hold_s=now_s)

    def _ask(self) -> None:
        """The set-point that is due."""
        if self._setpoints and self._launch.flight_time_s >= self._setpoints[0][0]:
            _, wanted = self._setpoints.pop(0)
            self._wanted, self._changed_s = wanted, self._launch.flight_time_s
            self._controller.feed(replace(wanted, t_s=self._launch.t_s))

    def _measure(self) -> None:
        since_s = self._launch.flight_time_s - self._changed_s
        upcoming = self._setpoints[0][0] if self._setpoints else self._duration_s
        if since_s < 0.5 * (upcoming - self._changed_s) or self._launch.flight_time_s < 3.0:
            return
        quad = self._launch.quad
        (fx, _, _), (fy, _, _), _ = quad.matrix
        length = max(1e-6, math.hypot(fx, fy))
        ahead, left = self._wanted.velocity_m_s
        wanted = ((fx * ahead - fy * left) / length, (fy * ahead + fx * left) / length)
        vx, vy, _ = quad.body.velocity_m_s
        self._errors.append(
            (math.hypot(vx - wanted[0], vy - wanted[1]), abs(quad.body.position_m[2] - self._wanted.height_m))
        )

    def _result(self) -> Sitl:
        launch = self._launch
        tilt = math.degrees(math.acos(max(-1.0, min(1.0, launch.quad.matrix[2][2]))))
        whole = launch.flight_time_s >= self._duration_s
        speed, height = (
            (float(np.mean(column)) for column in zip(*self._errors, strict=True))
            if self._errors
            else (
                math.inf,
                math.inf,
            )
        )
        bounded = launch.lowest_m > 0.1 and launch.highest_m < 3.5
        state = self._controller.state.value
        return Sitl(
            up=whole and bounded and tilt < 20.0 and height < 0.5 and state == "ACTIVE",
            lowest_m=launch.lowest_m,
            highest_m=launch.highest_m,
            height_error_m=height,
            speed_error_m_s=speed,
            tilt_deg=tilt,
            armed_after_s=math.nan if self._armed_s is None else self._armed_s,
            motor_packets_hz=self._world.packets / max(1e-6, launch.t_s),
            state=state,
        )
