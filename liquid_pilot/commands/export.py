"""`liquid-pilot export`: a policy as C99, for a microcontroller."""

from __future__ import annotations

import argparse
from typing import Any, Final

from liquid_pilot.commands.text import write

_HELP: Final = """\
Writes a proved policy as one C header and one C source file (C99): no malloc, no globals that change, a state that the
caller owns, the same work at every step. The header says what the policy sees, in which units and frames, and what it
commands within which limits.
"""
_EXAMPLES: Final = """\
examples:
  liquid-pilot export hover --c firmware/policy
  liquid-pilot export hover --c firmware/policy --int8 --q15     # a third less flash, more instructions
  liquid-pilot export runs/hover/policy.safetensors --c out --name my_pilot

in the firmware:
  static hover_state state;                          /* 76 bytes for 19 neurons */
  hover_init(&state);
  if (hover_selftest() > HOVER_SELFTEST_TOLERANCE) refuse_to_arm();
  /* at each sample of the gyro; a silent sensor is held, its fresh is 0 and its age grows */
  if (hover_step(&state, &observation, &command) == HOVER_OK) fly(&command); else hover_reset(&state);

compile with:
  cc -std=c99 -Wall -Wextra -Werror -pedantic -O2 -funroll-loops -ffp-contract=fast -c hover.c

`make cortex-m7` in the project's checkout builds it for a Cortex-M7 and counts instructions, flash and RAM in QEMU.
"""


def add_parser(commands: Any) -> None:
    """The command's arguments. commands: of `argparse.ArgumentParser.add_subparsers`."""
    parser = commands.add_parser(
        "export",
        help="a policy as C99 for a microcontroller",
        description=_HELP,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("policy", metavar="POLICY", help="shipped name, or path of a .safetensors file")
    parser.add_argument("--c", metavar="DIR", required=True, help="folder for NAME.h and NAME.c; made if need be")
    parser.add_argument("--name", help="prefix of files, functions and types; the policy's name if not given")
    parser.add_argument("--int8", action="store_true", help="weights as int8, with a scale for each row")
    parser.add_argument("--q15", action="store_true", help="the state as int16 between steps (decay, default and gru)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the files, say what they are."""
    from liquid_pilot.bundle import load_bundle
    from liquid_pilot.export.core import Storage
    from liquid_pilot.export.policy import export_c, write_c

    text = export_c(load_bundle(arguments.policy), arguments.name, Storage(arguments.int8, arguments.q15))
    header, source = write_c(text, arguments.c)
    write([f"wrote {header}", f"wrote {source}"])
    return 0
