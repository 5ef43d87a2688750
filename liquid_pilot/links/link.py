"""What every link to an autopilot can do, and what it tells about the vehicle.

A link never blocks, starts no thread and repeats nothing: what is sent is sent by the thread that calls it. Frames
are converted at its edge and nowhere else (world ENU, body FLU inside), and stamps are on our monotonic clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from liquid_pilot.messages import Attitude, Command, Message


class Request(Enum):
    """What can be asked of an autopilot. It answers when it likes: look at `LinkStatus`, and ask again."""

    SENSORS = "sensor rates"
    OFFBOARD = "offboard mode"
    ARM = "arming"
    DISARM = "disarming"
    LAND = "its own landing mode"
    KILL = "motors off in the air"


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """What is known of the link and of the vehicle at its other end.

    heard_s: our time of the newest message of the autopilot, None before any. battery: 0 to 1, None where it does not
    say. clock: how stamps are mapped ("timesync", "arrivals", "" before any). problem: one line that the operator must
    read, "" if all is well. counters: by what happened, refused and ignored messages among them.
    """

    address: str
    alive: bool = False
    heard_s: float | None = None
    autopilot: str = ""
    armed: bool | None = None
    offboard: bool = False
    mode: str = ""
    battery: float | None = None
    battery_v: float | None = None
    attitude: Attitude | None = None
    clock: str = ""
    clock_delay_s: float | None = None
    said: str = ""
    problem: str = ""
    counters: Mapping[str, int] = field(default_factory=dict)


class Link(Protocol):
    """One autopilot. All times are seconds of the same monotonic clock, given by the caller."""

    def open(self, now_s: float) -> None:
        """Take the port. Raises `LinkError`."""
        ...

    def fileno(self) -> int:
        """For select, -1 where there is nothing to wait on."""
        ...

    def receive(self, now_s: float) -> list[Message]:
        """Everything that has arrived, in order; never blocks. Raises `LinkError` when the port is gone."""
        ...

    def send(self, command: Command, now_s: float) -> bool:
        """Send one command now; False where it could not go out, which is counted and not made up for."""
        ...

    def beat(self, now_s: float) -> None:
        """Heartbeats and clock requests that are due. Called by the control loop, so that they stop with it."""
        ...

    def request(self, what: Request, now_s: float) -> None:
        """Ask for something, once."""
        ...

    def status(self, now_s: float) -> LinkStatus:
        """A snapshot."""
        ...

    def close(self) -> None:
        """Give the port back; closing twice is fine."""
        ...
