"""MAVLink as an autopilot speaks it: our messages to frames (FLU to FRD, ENU to NED), and frames of a companion back.

This is the inverse of `liquid_pilot.links.mavlink_decode`, written apart from it.
"""

from __future__ import annotations

import math
from typing import Any, Final

from liquid_pilot.links.mavlink_frames import Frame, Framer, dialect
from liquid_pilot.messages import Flow, Imu, Position, Range, SensorMessage
from liquid_pilot.ops import Vec4

QUADROTOR: Final = 2
PX4: Final = 12
FARTHEST_CM: Final = 400
NEAREST_CM: Final = 3
ALL_FIELDS: Final = 0x3F


class Wire:
    """Packs and unpacks for one system."""

    def __init__(self, system: int = 1) -> None:
        self.definitions = dialect()
        self._mav = self.definitions.MAVLink(None, srcSystem=system, srcComponent=1)
        self._framer = Framer()

    def unpack(self, data: bytes) -> list[tuple[Frame, Any]]:
        """Messages in a datagram, damaged ones left out."""
        return [(frame, self._mav.decode(bytearray(frame.data))) for frame in self._framer.feed(data, whole=True)]

    def pack(self, message: Any) -> bytes:
        """The next frame."""
        data = bytes(message.pack(self._mav))
        self._mav.seq = (self._mav.seq + 1) & 0xFF
        return data

    def heartbeat(self, armed: bool, mode: tuple[int, int]) -> bytes:
        """HEARTBEAT of a quadrotor with PX4's modes."""
        base = 1 | (128 if armed else 0)
        custom = mode[0] << 16 | mode[1] << 24
        return self.pack(self.definitions.MAVLink_heartbeat_message(QUADROTOR, PX4, base, custom, 4 if armed else 3, 3))

    def sensor(self, message: SensorMessage, boot_s: float) -> bytes:
        """What a sensor said, stamped with the time since boot."""
        d = self.definitions
        if isinstance(message, Imu):
            (gx, gy, gz), (ax, ay, az) = message.gyro_rad_s, message.accel_m_s2
            fields = ALL_FIELDS if not math.isnan(ax) else 0x38
            return self.pack(
                d.MAVLink_highres_imu_message(
                    round(boot_s * 1e6), ax, -ay, -az, gx, -gy, -gz, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 25.0, fields, 0
                )
            )
        if isinstance(message, Flow):
            nan, quality = math.nan, round(255 * message.quality) if math.isfinite(message.quality) else 0
            x, y = message.flow_rad
            return self.pack(
                d.MAVLink_optical_flow_rad_message(
                    round(boot_s * 1e6), 0, round(message.dt_s * 1e6), y, x, nan, nan, nan, 2500, quality, 0, -1.0
                )
            )
        if isinstance(message, Range):
            lost = math.isnan(message.distance_m) or message.distance_m * 100.0 > FARTHEST_CM
            cm = FARTHEST_CM + 1 if lost else max(0, round(message.distance_m * 100.0))  # noise may be below 0
            ms = round(boot_s * 1e3)
            return self.pack(d.MAVLink_distance_sensor_message(ms, NEAREST_CM, FARTHEST_CM, cm, 0, 0, 25, 255))
        return self._position(message, boot_s)

    def _position(self, message: Position, boot_s: float) -> bytes:
        (x, y, z), (vx, vy, vz) = message.position_m, message.velocity_m_s
        ms = round(boot_s * 1e3)
        return self.pack(self.definitions.MAVLink_local_position_ned_message(ms, y, x, -z, vy, vx, -vz))

    def attitude(self, attitude_wxyz: Vec4[float], boot_s: float) -> bytes:
        """ATTITUDE_QUATERNION of a body FLU -> world ENU rotation."""
        w, x, y, z = attitude_wxyz
        s = math.sqrt(0.5)
        q = (s * (w + z), s * (x + y), s * (x - y), s * (w - z))
        return self.pack(self.definitions.MAVLink_attitude_quaternion_message(round(boot_s * 1e3), *q, 0.0, 0.0, 0.0))

    def battery(self, share: float) -> bytes:
        """SYS_STATUS."""
        volts = round(1000 * (3 * (3.5 + 0.7 * share)))
        return self.pack(
            self.definitions.MAVLink_sys_status_message(0, 0, 0, 200, volts, -1, round(100 * share), 0, 0, 0, 0, 0, 0)
        )

    def timesync(self, tc1_ns: int, ts1_ns: int) -> bytes:
        """An answer."""
        return self.pack(self.definitions.MAVLink_timesync_message(tc1_ns, ts1_ns))

    def ack(self, command: int, accepted: bool) -> bytes:
        """COMMAND_ACK: accepted, or denied (2)."""
        return self.pack(self.definitions.MAVLink_command_ack_message(command, 0 if accepted else 2))

    def text(self, said: str) -> bytes:
        """STATUSTEXT."""
        return self.pack(self.definitions.MAVLink_statustext_message(4, said.encode()[:50]))
