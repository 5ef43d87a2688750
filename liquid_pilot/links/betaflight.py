"""The link to Betaflight: body rates and throttle as a remote control, MSP for status alone.

Betaflight tells its sensors neither through a receiver nor quickly enough through MSP, so this link brings no sensor
messages: IMU, flow and range come from elsewhere (drivers of the companion computer; a simulation). It has no offboard
and no landing mode; a controller that stops sending leaves the drone to Betaflight's failsafe, which must be set up.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

from liquid_pilot.links import msp
from liquid_pilot.links.betaflight_rc import RcMap, RcOutput, idle_channels
from liquid_pilot.links.link import LinkStatus, Request
from liquid_pilot.links.transport import Transport
from liquid_pilot.messages import Command, Message

IDLE_PERIOD_S: Final = 0.02  # of channels before the flight: a receiver that is silent keeps it from arming
POLL_PERIOD_S: Final = 0.1
BATTERY_EVERY: Final = 10  # polls
HEARD_S: Final = 1.0  # without an answer for longer, the link is not alive


class BetaflightLink:
    """One flight controller: an RC output, and an MSP port beside it. A `liquid_pilot.links.link.Link`."""

    def __init__(self, rc: RcOutput, msp_port: Transport, rc_map: RcMap) -> None:
        self.counters: Counter[str] = Counter()
        self._rc, self._msp, self._map = rc, msp_port, rc_map
        self._parser = msp.MspParser()
        self._peer = ""
        self._arm = False
        self._flying = False  # a command has gone out: from here on silence means silence
        self._idle_s = self._poll_s = float("-inf")
        self._polls = 0
        self._heard_s: float | None = None
        self._status: msp.FlightControllerStatus | None = None
        self._battery: tuple[float | None, float | None] = (None, None)

    def open(self, now_s: float) -> None:
        """Take both ports. Raises `LinkError`."""
        self._rc.open()
        self._msp.open()

    def fileno(self) -> int:
        """Of the MSP port."""
        return self._msp.fileno()

    def receive(self, now_s: float) -> list[Message]:
        """Take in the answers that have arrived; there are no sensor messages."""
        for data, peer in self._msp.read():
            self._peer = peer
            for reply in self._parser.feed(data):
                self._heard_s = now_s
                self.counters["msp_frames"] += 1
                self._take(reply)
        self.counters["msp_skipped_bytes"] = self._parser.skipped
        return []

    def _take(self, reply: msp.MspReply) -> None:
        if reply.known and reply.code == msp.STATUS_EX:
            status = msp.read_status(reply.payload)
            if status is None:
                self.counters["msp_short"] += 1
            else:
                self._status = status
        elif reply.known and reply.code == msp.BATTERY_STATE:
            self._battery = msp.read_battery(reply.payload)
        else:
            self.counters["msp_unknown"] += 1

    def send(self, command: Command, now_s: float) -> bool:
        """One command as channels; before arming is asked for, and after disarming, nothing goes out."""
        if not self._arm:
            self.counters["not_armed"] += 1
            return False
        self._flying = True
        sent = self._rc.send(self._map.channels(command), now_s)
        self.counters["sent" if sent else "not_sent"] += 1
        return sent

    def beat(self, now_s: float) -> None:
        """Idle channels while nothing flies, and MSP requests that are due."""
        if not self._flying and now_s - self._idle_s >= IDLE_PERIOD_S:
            self._idle_s = now_s
            self._rc.send(idle_channels(self._switch_on()), now_s)
        if now_s - self._poll_s >= POLL_PERIOD_S:
            self._poll_s = now_s
            battery = self._polls % BATTERY_EVERY == 0
            self._polls += 1
            request = msp.encode(msp.STATUS_EX) + (msp.encode(msp.BATTERY_STATE) if battery else b"")
            if not self._msp.write(request, self._peer):
                self.counters["msp_not_sent"] += 1

    def _switch_on(self) -> bool:
        """The arming switch goes on only when nothing else keeps it from arming: too early, it is latched off."""
        status = self._status
        return self._arm and status is not None and (status.armed or not status.blocked)

    def request(self, what: Request, now_s: float) -> None:
        """ARM, DISARM and KILL are a switch; Betaflight has none of the others, which is counted."""
        if what is Request.ARM:
            self._arm = True
        elif what in (Request.DISARM, Request.KILL):
            self._arm = self._flying = False
            self._idle_s = now_s
            self._rc.send(idle_channels(False), now_s)
        else:
            self.counters[f"no_{what.name.lower()}"] += 1

    def status(self, now_s: float) -> LinkStatus:
        """A snapshot."""
        status, heard_s = self._status, self._heard_s
        alive = heard_s is not None and now_s - heard_s <= HEARD_S
        problem = ""
        if heard_s is not None and not alive:
            problem = f"Betaflight has not answered on {self._msp.name} for {now_s - heard_s:.1f} s; check the cable"
        elif status is not None and self._arm and not status.armed and status.blocked:
            problem = f"Betaflight does not arm: {', '.join(status.reasons)}"
        armed = None if status is None else status.armed
        return LinkStatus(
            address=f"betaflight: {self._rc.name}, {self._msp.name}",
            alive=alive,
            heard_s=heard_s,
            autopilot="Betaflight" if heard_s is not None else "",
            armed=armed,
            offboard=bool(armed),
            mode="ACRO" if status is not None else "",
            battery=self._battery[0],
            battery_v=self._battery[1],
            problem=problem,
            counters=dict(self.counters),
        )

    def close(self) -> None:
        """Give the ports back."""
        self._rc.close()
        self._msp.close()
