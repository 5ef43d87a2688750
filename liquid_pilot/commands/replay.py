"""`liquid-pilot replay`: a recorded flight's commands once more, or those of another policy on the same sensors."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from liquid_pilot.commands.logs import add_log, check_output, read, write_file
from liquid_pilot.commands.text import plain, table, write

if TYPE_CHECKING:
    from liquid_pilot.bundle import Bundle
    from liquid_pilot.logs.replay import Difference, Replayed
    from liquid_pilot.logs.rows import Record
    from liquid_pilot.logs.setup import FlightSetup

EXIT_DIFFERENT: Final = 1
_HELP: Final = """\
Feeds a log's sensor messages, set-points and what else the controller was told to POLICY, and compares its commands
with those in the log. The policy that was flown must give the same commands bit for bit (on the same kind of machine
and runtime); where it does not, the exit code is 1. Any other policy shows what it would have commanded on the same
sensors; it does not fly, so that its commands change nothing of what it sees.

The supervisor's limits and the set-point timeout are those of the log, where it tells them.
"""
_EXAMPLES: Final = """\
reading the output:
  rms, largest   difference of the commands at equal times, axis by axis (thrust in m/s^2, rates in rad/s)
  unpaired       commands that only one side has: one of them was not flying at that time

examples:
  liquid-pilot replay hover flight.mcap                        does it give the same commands?
  liquid-pilot replay new.safetensors flight.mcap              what another policy would have done
  liquid-pilot replay hover flight.ulg --against new.safetensors --picture difference.png
"""


def add_parser(commands: Any) -> None:
    """The command's arguments. commands: of `argparse.ArgumentParser.add_subparsers`."""
    parser = commands.add_parser(
        "replay",
        help="the commands of a recorded flight again, or another policy's on the same sensors",
        description=_HELP,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("policy", metavar="POLICY", help="shipped name, or path of a .safetensors file")
    add_log(parser)
    parser.add_argument("--against", metavar="OTHER", help="compare with this policy's commands, not with the log's")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of text")
    parser.add_argument("--picture", metavar="FILE", type=Path, help="also draw both commands as PNG (extra report)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Replay, compare, draw."""
    from liquid_pilot.bundle import load_bundle
    from liquid_pilot.logs.replay import difference, logged_commands
    from liquid_pilot.logs.setup import setup_of

    if arguments.picture is not None:
        check_output(arguments.picture)
    bundle = load_bundle(arguments.policy)
    contents = read(arguments.log, arguments.mask_position)
    setup = setup_of(contents.records)
    ours = flown(bundle, contents.records, setup)
    if arguments.against is not None:
        name = arguments.against
        other = flown(load_bundle(name), contents.records, setup).commands
    else:
        name, other = "the log", logged_commands(contents.records)
    found = difference(other, ours.commands)
    same_policy = arguments.against is None and setup is not None and setup.sha256 == bundle.metadata["sha256"]
    told = {
        "policy": bundle.name,
        "log": str(arguments.log),
        "against": name,
        "notes": list(contents.notes),
        "policy_of_the_log": "" if setup is None else setup.policy,
        "same_policy": same_policy,
        **summary(found, len(other), len(ours.commands)),
    }
    if arguments.picture is not None:
        from liquid_pilot.logs.plots import difference_plot

        write_file(arguments.picture, difference_plot(found, name, bundle.name))
    write([json.dumps(told, indent=2)] if arguments.json else _lines(told))
    return EXIT_DIFFERENT if same_policy and not found.identical else 0


def flown(bundle: Bundle, records: tuple[Record, ...], setup: FlightSetup | None) -> Replayed:
    """A policy on the sensors of a log, set up as the log says."""
    from liquid_pilot.controller import Controller
    from liquid_pilot.logs.replay import replay

    limits, timeout_s = (None, None) if setup is None else (setup.limits, setup.setpoint_timeout_s)
    core = "auto" if setup is not None and setup.core == "c" else "numpy"
    return replay(Controller(bundle, limits=limits, setpoint_timeout_s=timeout_s, core=core), records)


def summary(found: Difference, commands_before: int, commands_now: int) -> dict[str, Any]:
    """Plain data of a difference; null where no command has a partner."""
    from liquid_pilot.logs.replay import AXES

    def numbers(values: tuple[float, ...]) -> dict[str, float | None]:
        return {axis: None if math.isnan(x) else x for axis, x in zip(AXES, values, strict=True)}

    return {
        "identical": found.identical,
        "commands_before": commands_before,
        "commands_now": commands_now,
        "paired": len(found.t_s),
        "unpaired_before": found.only_a,
        "unpaired_now": found.only_b,
        "rms": numbers(found.rms),
        "largest": numbers(found.largest),
    }


def _lines(told: dict[str, Any]) -> Iterator[str]:
    for note in told["notes"]:
        yield f"note: {plain(note)}"
    flown_by = f", flown by {plain(told['policy_of_the_log'])}" if told["policy_of_the_log"] else ""
    yield f"{plain(told['policy'])} on the sensors of {plain(told['log'])}{flown_by}, against {plain(told['against'])}"
    yield (
        f"commands: {told['commands_before']} before, {told['commands_now']} now, {told['paired']} at equal times; "
        f"unpaired {told['unpaired_before']} and {told['unpaired_now']}"
    )
    if told["identical"]:
        yield "identical, bit for bit"
        return
    if told["same_policy"]:
        yield "NOT identical, though the policy is the one that was flown: records are missing, or another runtime flew"
    rows = [["axis", "rms", "largest"]]
    for axis, rms in told["rms"].items():
        if rms is not None:
            rows.append([axis, f"{rms:.3g}", f"{told['largest'][axis]:.3g}"])
    yield from (f"  {line}" for line in table(rows))
