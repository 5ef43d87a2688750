"""The link to PX4 and ArduPilot: sensors in, body rates and thrust out (SET_ATTITUDE_TARGET, type_mask 128).

One autopilot is listened to: the first whose heartbeat is heard, or the one that was asked for. Everybody else is
ignored and counted; a second autopilot is a problem that the operator is told by name.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeAlias

from liquid_pilot.errors import LiquidPilotError
from liquid_pilot.links import autopilots, mavlink_decode
from liquid_pilot.links.clock import ClockMap
from liquid_pilot.links.link import LinkStatus, Request
from liquid_pilot.links.mavlink_decode import Refusal
from liquid_pilot.links.mavlink_fields import TargetWriter, reader_of
from liquid_pilot.links.mavlink_frames import Frame, Framer, dialect
from liquid_pilot.links.mavlink_vehicle import Vehicle, VehicleWatch
from liquid_pilot.links.throttle import Throttle
from liquid_pilot.links.transport import Transport
from liquid_pilot.messages import Attitude, Command, Message

OWN_COMPONENT: Final = 191  # MAV_COMP_ID_ONBOARD_COMPUTER
ALIVE_S: Final = 1.0  # an autopilot that is silent for so long is not there
HEARTBEAT_S: Final = 1.0
WORDS_S: Final = 10.0  # what the autopilot says in words is told for at least so long
PREFER_S: Final = 1.0  # SCALED_IMU is not used while HIGHRES_IMU comes
FLOW_GAP_S: Final = 0.1  # longest window of an OPTICAL_FLOW, which does not tell its own
RATES_AND_THRUST: Final = 128  # type_mask: the attitude is ignored
DEFAULT_RATES_HZ: Final[Mapping[str, float]] = {"imu": 200.0, "flow": 50.0, "range": 30.0}
_SLOW_HZ: Final = {"ATTITUDE_QUATERNION": 10.0, "LOCAL_POSITION_NED": 20.0, "SYS_STATUS": 1.0, "BATTERY_STATUS": 1.0}

Decoded: TypeAlias = Message | Refusal | None


class MavlinkLink:
    """See `liquid_pilot.links.link.Link`.

    system_id: the only one to listen to; None = the first autopilot that is heard. rates_hz: of "imu", "flow" and
    "range", asked for with `Request.SENSORS`.
    """

    def __init__(
        self,
        transport: Transport,
        throttle: Throttle,
        *,
        system_id: int | None = None,
        rates_hz: Mapping[str, float] = DEFAULT_RATES_HZ,
    ) -> None:
        self.transport, self.throttle = transport, throttle
        self.clock = ClockMap()
        self._definitions = dialect()
        self._framer, self._target = Framer(), TargetWriter(RATES_AND_THRUST)
        self._mav = self._definitions.MAVLink(None, srcSystem=system_id or 1, srcComponent=OWN_COMPONENT)
        self._heard = VehicleWatch(system_id)
        self._rates_hz = {**DEFAULT_RATES_HZ, **rates_hz}
        self._counters: Counter[str] = Counter()
        self._said = ""
        self._battery: tuple[float | None, float | None] = (None, None)  # share, volts
        self._attitude: Attitude | None = None
        self._text_s = self._beat_s = self._highres_s = self._flow_s = -math.inf
        self._imu_id: int | None = None
        number = {kind.msgname: kind.id for kind in self._definitions.mavlink_map.values()}
        self._numbers = number
        self._handlers: dict[int, Callable[[Any, float], Decoded]] = {
            number["HIGHRES_IMU"]: self._highres_imu,
            number["SCALED_IMU"]: self._scaled_imu,
            number["OPTICAL_FLOW_RAD"]: _stamped(self.clock, mavlink_decode.optical_flow_rad),
            number["OPTICAL_FLOW"]: self._optical_flow,
            number["DISTANCE_SENSOR"]: _stamped(self.clock, mavlink_decode.distance_sensor),
            number["ATTITUDE_QUATERNION"]: self._take_attitude,
            number["LOCAL_POSITION_NED"]: _stamped(self.clock, mavlink_decode.local_position_ned),
            number["SYS_STATUS"]: self._sys_status,
            number["BATTERY_STATUS"]: self._battery_status,
            number["TIMESYNC"]: self._timesync,
            number["COMMAND_ACK"]: self._command_ack,
            number["STATUSTEXT"]: self._statustext,
        }
        self._readers = {message_id: reader_of(message_id) for message_id in (0, *self._handlers)}

    def open(self, now_s: float) -> None:
        """Take the port. Raises `LinkError`."""
        self.transport.open()

    def fileno(self) -> int:
        """For select."""
        return self.transport.fileno()

    def close(self) -> None:
        """Give the port back."""
        self.transport.close()

    def receive(self, now_s: float) -> list[Message]:
        """Everything that has arrived; never blocks, never raises for what the bytes say."""
        received: list[Message] = []
        for data, peer in self.transport.read():
            for frame in self._framer.feed(data, whole=self.transport.whole):
                message = self._take(frame, peer, now_s)
                if message is not None:
                    received.append(message)
        return received

    def send(self, command: Command, now_s: float) -> bool:
        """SET_ATTITUDE_TARGET: rates in FRD, throttle, and the autopilot's own time of the sample that it answers."""
        x, y, z = command.rates_rad_s
        if self._heard.vehicle is None or not math.isfinite(command.thrust_m_s2 + x + y + z):
            self._counters["not_sent"] += 1
            return False
        mav, vehicle = self._mav, self._heard.vehicle
        return self._write_bytes(
            self._target.pack(
                (mav.seq, mav.srcSystem, OWN_COMPONENT),
                (vehicle.system, vehicle.component),
                round(max(0.0, self.clock.boot_s(command.t_s)) * 1e3) & 0xFFFFFFFF,
                mavlink_decode.flu(x, y, z),
                self.throttle.throttle(command.thrust_m_s2),
            )
        )

    def beat(self, now_s: float) -> None:
        """HEARTBEAT at 1 Hz and TIMESYNC when one is due."""
        if not 0.0 <= now_s - self._beat_s < HEARTBEAT_S:
            self._beat_s = now_s
            self._write(self._definitions.MAVLink_heartbeat_message(18, autopilots.NO_AUTOPILOT, 0, 0, 4, 3))
        if self._heard.vehicle is not None:
            ts1 = self.clock.request(now_s)
            if ts1 is not None:
                self._write(self._definitions.MAVLink_timesync_message(0, ts1))

    def request(self, what: Request, now_s: float) -> None:
        """A COMMAND_LONG, or one for every sensor. Raises `LiquidPilotError` for what this autopilot cannot do."""
        vehicle = self._heard.vehicle
        if vehicle is None:
            return
        if what is Request.SENSORS:
            for name, hz in self._streams().items():
                parameters = (float(self._numbers[name]), 1e6 / hz, 0.0)
                self._command_long(vehicle, autopilots.SET_INTERVAL, parameters)
            return
        command = autopilots.command_for(what, vehicle.kind)
        if command is None:
            raise LiquidPilotError(
                f"{autopilots.autopilot_name(vehicle.kind)} cannot be asked for {what.value} here; switch by hand and "
                "fly with --no-arm"
            )
        self._command_long(vehicle, *command)

    def status(self, now_s: float) -> LinkStatus:
        """A snapshot."""
        vehicle, (share, volts) = self._heard.vehicle, self._battery
        counters = {**self._framer.counters, **self._heard.counters, **self._counters, "clock_jumps": self.clock.jumps}
        problem = self._heard.problem(now_s)
        known = LinkStatus(self.transport.name, problem=problem, counters=counters, said=self._said)
        if vehicle is None:
            return known
        return replace(
            known,
            alive=now_s - vehicle.heard_s < ALIVE_S,
            heard_s=vehicle.heard_s,
            autopilot=f"{autopilots.autopilot_name(vehicle.kind)}, {vehicle.name}",
            armed=vehicle.armed,
            offboard=vehicle.mode.offboard,
            mode=vehicle.mode.name,
            battery=share,
            battery_v=volts,
            attitude=self._attitude,
            clock=self.clock.source,
            clock_delay_s=self.clock.delay_s,
        )

    def _streams(self) -> dict[str, float]:
        """Rates that are asked for, by message."""
        rates = self._rates_hz
        streams = {"HIGHRES_IMU": rates["imu"], "OPTICAL_FLOW_RAD": rates["flow"], "DISTANCE_SENSOR": rates["range"]}
        if self._heard.vehicle is not None and self._heard.vehicle.kind != autopilots.PX4:
            streams |= {"SCALED_IMU": rates["imu"], "OPTICAL_FLOW": rates["flow"]}
        return {**streams, **_SLOW_HZ}

    def _write(self, message: Any) -> bool:
        return self._write_bytes(bytes(message.pack(self._mav)))

    def _write_bytes(self, data: bytes) -> bool:
        self._mav.seq = (self._mav.seq + 1) & 0xFF
        sent = self.transport.write(data, "" if self._heard.vehicle is None else self._heard.vehicle.peer)
        self._counters["sent" if sent else "not_sent"] += 1
        return sent

    def _command_long(self, vehicle: Vehicle, number: int, parameters: tuple[float, float, float]) -> None:
        self._write(
            self._definitions.MAVLink_command_long_message(
                vehicle.system, vehicle.component, number, 0, *parameters, 0.0, 0.0, 0.0, 0.0
            )
        )

    def _take(self, frame: Frame, peer: str, now_s: float) -> Message | None:
        """One frame: what it says, if it is from our autopilot and a possible value."""
        if frame.message_id == 0:
            self._heard.heartbeat(frame, self._readers[0](frame), peer, now_s)
            if self._heard.vehicle is not None:
                self._mav.srcSystem = self._heard.vehicle.system  # a part of the same vehicle
            return None
        if not self._heard.accepts(frame, peer, now_s):
            return None
        handler = self._handlers.get(frame.message_id)
        if handler is None:
            return None
        found = handler(self._readers[frame.message_id](frame), now_s)
        if isinstance(found, Refusal):
            self._counters[f"refused_{found.reason}"] += 1
            if found.reason != "not_down":
                self._heard.warn(found.text, now_s)
            return None
        return found

    def _stamp(self, boot_s: float, now_s: float) -> float | Refusal:
        t_s = self.clock.stamp(boot_s, now_s)
        return Refusal("clock", f"a stamp of {boot_s:.3f} s does not fit the autopilot's clock") if t_s is None else t_s

    def _highres_imu(self, m: Any, now_s: float) -> Decoded:
        if self._imu_id is None:
            self._imu_id = m.id
        if m.id != self._imu_id:
            self._counters["other_imu"] += 1
            return None
        self._highres_s = now_s
        t_s = self._stamp(m.time_usec * 1e-6, now_s)
        return t_s if isinstance(t_s, Refusal) else mavlink_decode.highres_imu(m, t_s)

    def _scaled_imu(self, m: Any, now_s: float) -> Decoded:
        if now_s - self._highres_s < PREFER_S:
            return None
        t_s = self._stamp(m.time_boot_ms * 1e-3, now_s)
        return t_s if isinstance(t_s, Refusal) else mavlink_decode.scaled_imu(m, t_s)

    def _optical_flow(self, m: Any, now_s: float) -> Decoded:
        # ArduPilot puts milliseconds into this field
        vehicle = self._heard.vehicle
        unit_s = 1e-3 if vehicle is not None and vehicle.kind == autopilots.ARDUPILOT else 1e-6
        t_s = self._stamp(m.time_usec * unit_s, now_s)
        if isinstance(t_s, Refusal):
            return t_s
        gap_s, self._flow_s = t_s - self._flow_s, t_s
        if not 0.0 < gap_s <= FLOW_GAP_S:  # the first after a pause: how long it looked is not known
            return None
        return mavlink_decode.optical_flow(m, t_s, gap_s)

    def _take_attitude(self, m: Any, now_s: float) -> Decoded:
        t_s = self._stamp(m.time_boot_ms * 1e-3, now_s)
        found = t_s if isinstance(t_s, Refusal) else mavlink_decode.attitude_quaternion(m, t_s)
        if isinstance(found, Attitude):
            self._attitude = found
        return found

    def _sys_status(self, m: Any, now_s: float) -> None:
        volts = m.voltage_battery * 1e-3 if m.voltage_battery != 0xFFFF else None
        self._battery = (mavlink_decode.battery_share(m.battery_remaining), volts)

    def _battery_status(self, m: Any, now_s: float) -> None:
        share = mavlink_decode.battery_share(m.battery_remaining)
        if share is not None:
            self._battery = (share, self._battery[1])

    def _timesync(self, m: Any, now_s: float) -> None:
        if m.tc1 == 0:  # it asks us
            self._write(self._definitions.MAVLink_timesync_message(round(now_s * 1e9), m.ts1))
        elif not self.clock.answer(m.tc1, m.ts1, now_s):
            self._counters["stray_timesync"] += 1

    def _command_ack(self, m: Any, now_s: float) -> None:
        self._counters["acks"] += 1
        wordy = now_s - self._text_s < WORDS_S  # its own words say more than a number
        if m.result and m.command != autopilots.SET_INTERVAL and not wordy:
            what = {autopilots.SET_MODE: "the mode", autopilots.ARM_DISARM: "arming or disarming"}
            result = autopilots.RESULTS[m.result] if m.result < len(autopilots.RESULTS) else str(m.result)
            self._said = f"{what.get(m.command, f'command {m.command}')}: {result}"

    def _statustext(self, m: Any, now_s: float) -> None:
        self._text_s = now_s
        text = m.text.split(b"\0", 1)[0].decode("utf-8", "replace")
        self._said = "".join(c if c.isprintable() else "?" for c in text)


def _stamped(clock: ClockMap, decode: Callable[[Any, float], Decoded]) -> Callable[[Any, float], Decoded]:
    """A handler for messages whose time alone has to be mapped."""

    def handle(m: Any, now_s: float) -> Decoded:
        boot_s = m.time_usec * 1e-6 if hasattr(m, "time_usec") else m.time_boot_ms * 1e-3
        t_s = clock.stamp(boot_s, now_s)
        if t_s is None:
            return Refusal("clock", f"a stamp of {boot_s:.3f} s does not fit the autopilot's clock")
        return decode(m, t_s)

    return handle
