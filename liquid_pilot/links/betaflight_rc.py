"""Commands as the channels of a remote control, for Betaflight with linear ACTUAL rates, and the ways to send them.

With `rates_type = ACTUAL`, no expo, and centre sensitivity equal to the largest rate, Betaflight turns a stick into
body rates by a straight line. `setup_lines` says that to its command line. Channels are in microseconds, in the order
roll, pitch, throttle, yaw (AETR), then AUX1 which arms.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from liquid_pilot.errors import ConfigError
from liquid_pilot.links.transport import Transport
from liquid_pilot.messages import Command

Channels: TypeAlias = tuple[int, ...]
CHANNELS: Final = 16
CENTRE_US: Final = 1500
LOWEST_US: Final = 1000
HIGHEST_US: Final = 2000
ARMED_US: Final = 2000
MIN_CHECK_US: Final = 1050  # `min_check`: where Betaflight's throttle begins


class ThrottleMap(Protocol):
    """From mass-normalised thrust to throttle, 0 to 1; `liquid_pilot.links.throttle.Throttle` is one."""

    def throttle(self, thrust_m_s2: float) -> float:
        """Throttle for a collective specific thrust."""
        ...


class RcOutput(Protocol):
    """A way for channels to the flight controller."""

    name: str

    def open(self) -> None:
        """Take the port. Raises `LinkError`."""
        ...

    def send(self, channels: Channels, now_s: float) -> bool:
        """Send 16 channels; False where they could not go out. Raises `LinkError` when the port is gone."""
        ...

    def close(self) -> None:
        """Give the port back."""
        ...


@dataclass(frozen=True, slots=True)
class RcMap:
    """rate_deg_s: what full stick means, the same for roll, pitch and yaw, a multiple of 10 as Betaflight wants it."""

    throttle: ThrottleMap
    rate_deg_s: int = 500

    def __post_init__(self) -> None:
        rate = self.rate_deg_s
        if isinstance(rate, bool) or not isinstance(rate, int) or not 100 <= rate <= 2000 or rate % 10:
            raise ConfigError(f"rate_deg_s is {rate!r}; give a multiple of 10 from 100 to 2000")

    def channels(self, command: Command) -> Channels:
        """Of an armed drone. FLU to sticks: right roll, nose down and clockwise (seen from above) are positive."""
        roll, pitch, yaw = command.rates_rad_s
        throttle = min(1.0, max(0.0, self.throttle.throttle(command.thrust_m_s2)))
        thrust_us = MIN_CHECK_US + round(throttle * (HIGHEST_US - MIN_CHECK_US))
        return _all(self._stick(roll), self._stick(pitch), thrust_us, self._stick(-yaw), ARMED_US)

    def _stick(self, rate_rad_s: float) -> int:
        share = min(1.0, max(-1.0, math.degrees(rate_rad_s) / self.rate_deg_s))
        return CENTRE_US + round(share * (HIGHEST_US - CENTRE_US))


def idle_channels(arm: bool) -> Channels:
    """Sticks centred, throttle low."""
    return _all(CENTRE_US, CENTRE_US, LOWEST_US, CENTRE_US, ARMED_US if arm else LOWEST_US)


def _all(*first: int) -> Channels:
    return (*first, *([LOWEST_US] * (CHANNELS - len(first))))


def setup_lines(rate_deg_s: int) -> list[str]:
    """For Betaflight's command line: what makes sticks straight lines, and AUX1 the arming switch."""
    RcMap(throttle=_NoThrottle(), rate_deg_s=rate_deg_s)  # checks it
    lines = ["aux 0 0 0 1700 2100 0 0", "feature -AIRMODE", "set rates_type = ACTUAL", "set rc_smoothing = OFF"]
    for axis in ("roll", "pitch", "yaw"):
        lines += [f"set {axis}_rc_rate = {rate_deg_s // 10}", f"set {axis}_srate = {rate_deg_s // 10}"]
        lines += [f"set {axis}_expo = 0", f"set f_{axis} = 0"]
    lines += ["set deadband = 0", "set yaw_deadband = 0", "set thr_mid = 50", "set thr_expo = 0"]
    return [*lines, f"set min_check = {MIN_CHECK_US}", "set vbat_sag_compensation = 0", "set thrust_linear = 0"]


class _NoThrottle:
    def throttle(self, thrust_m_s2: float) -> float:
        return 0.0


class SitlRc:
    """To Betaflight's software-in-the-loop build: UDP port 9004, a time that it does not use, and the channels."""

    def __init__(self, transport: Transport) -> None:
        self.name = f"rc {transport.name}"
        self._transport = transport

    def open(self) -> None:
        """Open the socket."""
        self._transport.open()

    def send(self, channels: Channels, now_s: float) -> bool:
        """One datagram."""
        return self._transport.write(struct.pack("<d16H", now_s, *channels), "")

    def close(self) -> None:
        """Close the socket."""
        self._transport.close()


class CrsfRc:
    """To a serial port that is set up as a CRSF receiver (`serialrx_provider = CRSF`, 420000 baud)."""

    def __init__(self, transport: Transport) -> None:
        self.name = f"crsf {transport.name}"
        self._transport = transport

    def open(self) -> None:
        """Open the port."""
        self._transport.open()

    def send(self, channels: Channels, now_s: float) -> bool:
        """One frame."""
        return self._transport.write(crsf_frame(channels), "")

    def close(self) -> None:
        """Close the port."""
        self._transport.close()


def crsf_frame(channels: Channels) -> bytes:
    """RC_CHANNELS_PACKED: 16 channels of 11 bits, least significant first; 992 is 1500 us, 8/5 a step for each us."""
    packed = 0
    for k, us in enumerate(channels):
        packed |= min(2047, max(0, round((us - CENTRE_US) * 8 / 5) + 992)) << (11 * k)
    body = b"\x16" + packed.to_bytes(22, "little")
    return b"\xc8" + bytes((len(body) + 1,)) + body + bytes((_crc8(body),))


def _crc8(data: bytes) -> int:
    """DVB-S2: polynomial 0xD5."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0xD5 if crc & 0x80 else crc << 1) & 0xFF
    return crc
