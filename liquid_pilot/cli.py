"""The command line of the wheel. Needs numpy and safetensors alone; a command that needs more says so."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Final

from liquid_pilot import __version__
from liquid_pilot.commands import export, fly, grid, inspect, mask, replay, report, zoo
from liquid_pilot.errors import LiquidPilotError

COMMANDS: Final = (zoo, inspect, fly, replay, report, mask, export, grid)  # a module each, light to import
EXIT_BAD_INPUT: Final = 2

_DESCRIPTION: Final = "Flies and looks into Liquid Pilot policies: very small liquid networks that fly a quadrotor."
_EXAMPLES: Final = """\
examples:
  liquid-pilot zoo                              which policies are shipped
  liquid-pilot inspect hover                    a shipped policy, by name
  liquid-pilot inspect hover --card             how it was made, what it scores and where that ends
  liquid-pilot inspect runs/hover/policy.safetensors
  liquid-pilot inspect hover --json | python -m json.tool
  liquid-pilot fly hover --link mavlink:udpin:127.0.0.1:14540 --hover-throttle 0.4 --log flight.mcap
  liquid-pilot replay hover flight.mcap         the same commands again from a recorded flight
  liquid-pilot report flight.mcap               a flight log as one HTML page
  liquid-pilot export hover --c firmware/policy      as C99, for a microcontroller
  liquid-pilot grid 0 --fx 270                  flow grids of a camera, and what they cost here
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="liquid-pilot",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"liquid-pilot {__version__}")
    commands = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0, or 2 for anything that the caller can put right."""
    arguments = _parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
        return code
    except LiquidPilotError as error:
        sys.stderr.write(f"liquid-pilot: {' '.join(str(error).split())}\n")
        return EXIT_BAD_INPUT
    except BrokenPipeError:  # the reader, for example `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
