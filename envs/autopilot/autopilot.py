"""The autopilot: rules, vehicle and wire together, in whatever time its caller lets pass.

`advance` goes to the next IMU event and gives the frames of it; `receive` takes what a companion computer sends. In
real time `scripts.autopilot` calls them by the clock, in tests and long runs simulated time does.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from envs.autopilot.rules import Mode, Rules
from envs.autopilot.vehicle import Vehicle
from envs.autopilot.wire import Wire
from liquid_pilot.messages import Attitude, Flow, FlowGrid, Imu, Position, Range, SensorMessage
from liquid_pilot.ops import Vec3

SET_MODE: Final = 176
ARM_DISARM: Final = 400
SET_INTERVAL: Final = 511
FORCE: Final = 21196
REBOOT_S: Final = 1.0
DEFAULT_HZ: Final = {
    "HEARTBEAT": 1.0,
    "HIGHRES_IMU": 50.0,
    "OPTICAL_FLOW_RAD": 10.0,
    "DISTANCE_SENSOR": 10.0,
    "ATTITUDE_QUATERNION": 10.0,
    "LOCAL_POSITION_NED": 10.0,
    "SYS_STATUS": 1.0,
}
_NAMES: Final = {Imu: "HIGHRES_IMU", Flow: "OPTICAL_FLOW_RAD", Range: "DISTANCE_SENSOR", Position: "LOCAL_POSITION_NED"}


@dataclass(slots=True)
class _Setpoint:
    throttle: float
    rates_rad_s: Vec3[float]


class Autopilot:
    """battery: share of charge at the start; drain_per_s: what it loses each second while armed."""

    def __init__(self, vehicle: Vehicle, *, system: int = 1, battery: float = 1.0, drain_per_s: float = 0.0) -> None:
        self.vehicle, self.wire = vehicle, Wire(system)
        self.rules = Rules(battery=battery)
        self.heard: Counter[str] = Counter()  # messages by name
        self.system = system
        self._drain_per_s = drain_per_s
        self._booted_s = 0.0
        self._silent_until_s = 0.0
        self._setpoint: _Setpoint | None = None
        self._interval_s = {name: 1.0 / hz for name, hz in DEFAULT_HZ.items()}
        self._due_s = dict.fromkeys(DEFAULT_HZ, 0.0)
        self._name_of = {kind.id: kind.msgname for kind in self.wire.definitions.mavlink_map.values()}

    @property
    def t_s(self) -> float:
        """The simulated time, which no reboot sets back."""
        return self.vehicle.t_s

    def boot_s(self, t_s: float) -> float:
        """Time since its boot."""
        return t_s - self._booted_s

    def reboot(self) -> None:
        """Silent for a second, then everything as after power-on, its clock too. The motors stop."""
        self._booted_s = self._silent_until_s = self.t_s + REBOOT_S
        self.rules = Rules(battery=self.rules.battery)
        self._setpoint = None
        self._interval_s = {name: 1.0 / hz for name, hz in DEFAULT_HZ.items()}
        self._due_s = dict.fromkeys(DEFAULT_HZ, 0.0)

    def receive(self, data: bytes, t_s: float) -> list[bytes]:
        """A datagram of the companion at simulated time t_s; what is answered at once."""
        if t_s < self._silent_until_s:
            return []
        answers: list[bytes] = []
        for _, m in self.wire.unpack(data):
            name = m.get_type()
            self.heard[name] += 1
            if name == "SET_ATTITUDE_TARGET" and m.target_system == self.system:
                self._attitude_target(m, t_s)
            elif name == "COMMAND_LONG" and m.target_system == self.system:
                answers += self._command(m, t_s)
            elif name == "TIMESYNC" and m.tc1 == 0:
                answers.append(self.wire.timesync(round(self.boot_s(t_s) * 1e9), m.ts1))
        return answers

    def advance(self) -> list[bytes]:
        """On to the next IMU event; frames that are sent at it."""
        self._drive()
        messages = self.vehicle.advance()
        t_s, rules = self.t_s, self.rules
        if rules.armed:
            rules.battery = max(0.0, rules.battery - self._drain_per_s * self.vehicle.launch.dt_s)
        rules.update(t_s, self.vehicle.landed)
        if t_s < self._silent_until_s:
            return []
        sensed = [message for message in messages if not isinstance(message, (Attitude, FlowGrid))]
        frames = [frame for message in sensed for frame in self._sensor(message)]
        boot_s, wire = self.boot_s(t_s), self.wire
        if self._is_due("HEARTBEAT", boot_s):
            frames.append(wire.heartbeat(rules.armed, rules.mode.value))
        if self._is_due("SYS_STATUS", boot_s):
            frames.append(wire.battery(rules.battery))
        if self._is_due("ATTITUDE_QUATERNION", boot_s):
            frames.append(wire.attitude(self.vehicle.launch.body.attitude_wxyz, boot_s))
        return frames

    def _drive(self) -> None:
        rules, vehicle, setpoint = self.rules, self.vehicle, self._setpoint
        if not rules.armed:
            vehicle.stop_motors()
        elif rules.mode is Mode.OFFBOARD and setpoint is not None:
            vehicle.obey(setpoint.throttle, setpoint.rates_rad_s)
        elif vehicle.aloft:
            vehicle.descend()
        else:
            vehicle.stop_motors()

    def _sensor(self, message: SensorMessage) -> list[bytes]:
        boot_s = self.boot_s(message.t_s)
        if boot_s < 0.0 or not self._is_due(_NAMES[type(message)], boot_s):
            return []
        return [self.wire.sensor(message, boot_s)]

    def _is_due(self, name: str, boot_s: float) -> bool:
        """Whether this stream's next message may go out; samples between are left out."""
        interval_s, due_s = self._interval_s[name], self._due_s[name]
        if interval_s < 0.0 or boot_s < due_s - 1e-6:
            return False
        following_s = due_s + interval_s
        self._due_s[name] = following_s if following_s > boot_s else boot_s + interval_s
        return True

    def _attitude_target(self, m: Any, t_s: float) -> None:
        values = (m.body_roll_rate, m.body_pitch_rate, m.body_yaw_rate, m.thrust)
        if not all(map(math.isfinite, values)) or not 0.0 <= m.thrust <= 1.0:
            self.heard["impossible_setpoint"] += 1
            return
        if self.rules.setpoint(m.type_mask, t_s):
            self._setpoint = _Setpoint(m.thrust, (values[0], -values[1], -values[2]))

    def _command(self, m: Any, t_s: float) -> list[bytes]:
        rules, wire = self.rules, self.wire
        said = len(rules.denials)
        if m.command == SET_INTERVAL:
            done = self._set_interval(self._name_of.get(int(m.param1), ""), m.param2)
        elif m.command == ARM_DISARM and m.param1 == 1.0:
            done = rules.arm(t_s, self.vehicle.still, 0.0 if self._setpoint is None else self._setpoint.throttle)
        elif m.command == ARM_DISARM:
            done = rules.disarm(t_s, int(m.param2) == FORCE)
        elif m.command == SET_MODE:
            mode = next((one for one in Mode if one.value == (int(m.param2), int(m.param3))), None)
            done = mode is not None and rules.switch(mode, t_s)
        else:
            done = False
        if m.command != SET_INTERVAL:
            self._due_s["HEARTBEAT"] = 0.0  # the change is told at once
        return [wire.ack(m.command, done), *(wire.text(text) for text in rules.denials[said:])]

    def _set_interval(self, name: str, interval_us: float) -> bool:
        if name not in self._interval_s or not math.isfinite(interval_us):
            return False
        self._interval_s[name] = DEFAULT_HZ[name] ** -1 if interval_us == 0.0 else interval_us * 1e-6
        self._due_s[name] = 0.0
        return True
