"""An autopilot's end of a link for tests: packs messages, and reads what was sent to it."""

from __future__ import annotations

from typing import Any

from liquid_pilot.links.mavlink import MavlinkLink
from liquid_pilot.links.mavlink_frames import dialect
from liquid_pilot.links.throttle import Throttle
from liquid_pilot.links.transport import Memory

OFFBOARD = 6 << 16
BOOT_S = 100.0  # our time when the autopilot boots


class Far:
    """One system that writes into a link's memory transport."""

    def __init__(self, link: MavlinkLink, system: int = 1, component: int = 1, name: str = "far") -> None:
        assert isinstance(link.transport, Memory)
        self.link, self.near, self.name = link, link.transport, name
        self.d = dialect()
        self.mav = self.d.MAVLink(None, srcSystem=system, srcComponent=component)

    def pack(self, kind: str, *values: Any) -> bytes:
        """A frame of the message with these fields."""
        data = bytes(getattr(self.d, f"MAVLink_{kind}_message")(*values).pack(self.mav))
        self.mav.seq = (self.mav.seq + 1) & 0xFF
        return data

    def send(self, now_s: float, kind: str, *values: Any) -> list[Any]:
        """What the link makes of the message."""
        self.near.put(self.pack(kind, *values), self.name)
        return list(self.link.receive(now_s))

    def heartbeat(self, now_s: float, armed: bool = False, mode: int = 0, autopilot: int = 12) -> None:
        """Say who this is."""
        self.send(now_s, "heartbeat", 2, autopilot, 128 if armed else 0, mode, 4, 3)

    def imu(self, now_s: float, boot_s: float | None = None, gyro: Any = (0.0, 0.0, 0.0), **options: Any) -> list[Any]:
        """A level HIGHRES_IMU at rest."""
        boot = now_s - BOOT_S if boot_s is None else boot_s
        accel = options.get("accel", (0.0, 0.0, -9.81))
        rest = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, options.get("fields", 63), options.get("number", 0))
        return self.send(now_s, "highres_imu", round(boot * 1e6), *accel, *gyro, *rest)

    def sent(self) -> list[Any]:
        """Messages that the link has sent."""
        other = self.near.other
        assert other is not None
        mav = self.d.MAVLink(None)
        return [mav.decode(bytearray(data)) for data, _ in other.read()]


def linked(**options: Any) -> tuple[MavlinkLink, Far]:
    """A link on memory, and an autopilot at its other end that has said hello."""
    near, _ = Memory.pair()
    link = MavlinkLink(near, Throttle(0.5), **options)
    link.open(BOOT_S)
    far = Far(link)
    far.heartbeat(BOOT_S)
    return link, far
