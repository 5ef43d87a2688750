"""`liquid-pilot mask`: a copy of a flight log that does not say where it was flown."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from liquid_pilot.commands.logs import LOG_HELP, check_output, read
from liquid_pilot.commands.text import plain, write
from liquid_pilot.errors import ConfigError

_HELP: Final = """\
Writes a copy of a flight log in which every position is relative to the first one. Velocities, sensors, set-points and
commands stay as they are: a replay of the copy gives the same commands.

It hides where the flight began, its altitude above sea level included. It does NOT hide the shape and compass
direction of the path (a map may give the place away), heights above the ground, the times, or what other programs
wrote into the texts of events.
"""
_EXAMPLES: Final = """\
examples:
  liquid-pilot mask flight.mcap shared.mcap
  liquid-pilot mask flight.ulg shared.csv          a PX4 log becomes one of ours
"""


def add_parser(commands: Any) -> None:
    """The command's arguments. commands: of `argparse.ArgumentParser.add_subparsers`."""
    parser = commands.add_parser(
        "mask",
        help="a copy of a flight log without the place where it was flown",
        description=_HELP,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("log", metavar="LOG", type=Path, help=LOG_HELP)
    parser.add_argument("out", metavar="OUT", type=Path, help="the copy, .mcap or .csv")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Copy it."""
    from liquid_pilot.logs import open_log

    check_output(arguments.out)
    if arguments.out.exists() and arguments.log.exists() and arguments.out.samefile(arguments.log):
        raise ConfigError(f"{arguments.out} is the log itself; give another path for the copy")
    contents = read(arguments.log, True)
    log = open_log(arguments.out)
    try:
        for record in contents.records:
            log.write(record)
    finally:
        log.close()
    write([*map(plain, contents.notes), f"wrote {plain(str(arguments.out))}: {len(contents.records)} records"])
    return 0
