"""Addresses of links, as they are written on the command line."""

from __future__ import annotations

import re
from typing import Final

from liquid_pilot.errors import ConfigError
from liquid_pilot.links.transport import Serial, Transport, Udp, is_loopback

FORMS: Final = (
    "mavlink:udpin:127.0.0.1:14540 (listen), mavlink:udpout:192.168.1.10:14540 (call), "
    "mavlink:/dev/ttyAMA0@921600 (serial)"
)
_UDP: Final = re.compile(r"(udpin|udpout):(\[[0-9a-fA-F:.]+\]|[^:\[\]]+):(\d{1,5})", re.ASCII)
_SERIAL: Final = re.compile(r"(/[^@]+|COM\d+)(?:@(\d{1,8}))?", re.ASCII)


def transport_of(address: str, *, allow_network: bool = False) -> Transport:
    """The transport of an address like those in `FORMS`, not yet open.

    A link that listens takes only what this machine sends, unless allow_network. Raises `ConfigError`.
    """
    kind, _, rest = address.partition(":")
    if kind != "mavlink":
        raise ConfigError(f"link {address!r} is of no known kind; write it like {FORMS}")
    if match := _UDP.fullmatch(rest):
        how, host, port = match[1], match[2].strip("[]"), int(match[3])
        if not 0 < port < 65536:
            raise ConfigError(f"link {address!r} has port {port}; ports are 1 to 65535")
        if how == "udpin" and not allow_network and not is_loopback(host):
            raise ConfigError(
                f"link {address!r} would listen to the whole network, where anyone may send; listen on 127.0.0.1, or "
                "add --allow-network if that is meant"
            )
        return Udp(host, port, listen=how == "udpin")
    if match := _SERIAL.fullmatch(rest):
        if match[2] is None:
            raise ConfigError(f"link {address!r} has no speed; write {address}@921600")
        return Serial(match[1], int(match[2]))
    raise ConfigError(f"link {address!r} is not understood; write it like {FORMS}")
