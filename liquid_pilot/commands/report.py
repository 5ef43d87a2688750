"""`liquid-pilot report`: a flight log as one HTML page."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from liquid_pilot.commands.logs import add_log, check_output, read, write_file
from liquid_pilot.commands.text import plain, write

_HELP: Final = """\
Turns a flight log into one HTML page that needs nothing else: how long, who flew when and why, rate and longest gap of
every sensor, what was asked for against what was measured, commands, all events. Needs matplotlib (extra report).
"""
_EXAMPLES: Final = """\
reading the page:
  measured height and velocity come from the range finder and from flow times range: sensors, not the truth
  latency is shown where the runtime wrote it into the log (an event of that kind)

examples:
  liquid-pilot report flight.mcap                              writes flight.html beside the log
  liquid-pilot report flight.mcap --policy hover               also flies the policy again on the log's sensors
  liquid-pilot report flight.mcap --mask-position --out shared.html
"""


def add_parser(commands: Any) -> None:
    """The command's arguments. commands: of `argparse.ArgumentParser.add_subparsers`."""
    parser = commands.add_parser(
        "report",
        help="a flight log as one self-contained HTML page",
        description=_HELP,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_log(parser)
    parser.add_argument("--policy", metavar="POLICY", help="replay the log with this policy and show the difference")
    parser.add_argument("--out", metavar="FILE", type=Path, help="the page; beside the log if not given")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Read, draw, write."""
    from liquid_pilot.logs import plots
    from liquid_pilot.logs.page import page
    from liquid_pilot.logs.summary import series, summarise

    out: Path = arguments.out or arguments.log.with_suffix(".html")
    check_output(out)
    contents = read(arguments.log, arguments.mask_position)
    found, curves = summarise(contents.records), series(contents.records)
    pictures = {
        "Set-point and what the sensors say; the background is who flies: green the network, yellow and red the "
        "leveller": plots.setpoint_plot(curves, found.spans),
        "Commands, and what gyro and accelerometer measured": plots.command_plot(curves, found.spans),
    }
    if len(curves.position_m):
        pictures["Path from above"] = plots.path_plot(curves)
    sentences: list[str] = []
    if arguments.policy is not None:
        sentences, words, picture = _replayed(arguments.policy, contents.records)
        pictures[words] = picture
    text = page(f"Flight log {arguments.log.name}", found, contents.notes, pictures, sentences)
    write_file(out, text.encode("utf-8", errors="replace"))
    write(
        [*map(plain, contents.notes), f"wrote {plain(str(out))}: {found.duration_s:.1f} s, {len(found.events)} events"]
    )
    return 0


def _replayed(policy: str, records: Any) -> tuple[list[str], str, bytes]:
    """Sentences about a replay, and its picture with words."""
    from liquid_pilot.bundle import load_bundle
    from liquid_pilot.commands.replay import flown
    from liquid_pilot.logs.plots import difference_plot
    from liquid_pilot.logs.replay import difference, logged_commands
    from liquid_pilot.logs.setup import setup_of

    bundle = load_bundle(policy)
    found = difference(logged_commands(records), flown(bundle, records, setup_of(records)).commands)
    words = f"Commands of the log, and those of {bundle.name} on the same sensors"
    return list(_sentences(found, bundle.name)), words, difference_plot(found, "the log", bundle.name)


def _sentences(found: Any, name: str) -> Iterator[str]:
    from liquid_pilot.logs.replay import AXES

    yield (
        f"{name} on the sensors of this log: {len(found.t_s)} commands at times at which the log has one too, "
        f"{found.only_a} of the log and {found.only_b} of the replay without a partner."
    )
    if found.identical:
        yield "All commands are identical, bit for bit."
    elif len(found.t_s):
        rows = zip(AXES, found.rms, found.largest, strict=True)
        yield (
            "Difference, rms and largest: " + "; ".join(f"{a} {rms:.3g} and {most:.3g}" for a, rms, most in rows) + "."
        )
