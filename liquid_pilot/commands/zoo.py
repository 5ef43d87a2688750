"""`liquid-pilot zoo`: the policies that are shipped."""

from __future__ import annotations

import argparse
from typing import Any

from liquid_pilot.commands.text import table, write
from liquid_pilot.errors import LiquidPilotError


def add_parser(commands: Any) -> None:
    """The command's arguments. commands: of `argparse.ArgumentParser.add_subparsers`."""
    parser = commands.add_parser(
        "zoo", help="the policies that are shipped with this package", description="Lists the shipped policies."
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print them."""
    from liquid_pilot.bundle import ZOO_DIR, load_bundle, policy_path, shipped

    names = shipped()
    if not names:
        raise LiquidPilotError(f"no policy in {ZOO_DIR}; this installation is incomplete, install the wheel again")
    rows = [["name", "task", "cell", "neurons", "parameters", "bytes"]]
    for name in names:
        bundle, size = load_bundle(name), policy_path(name).stat().st_size
        rows.append(
            [name, bundle.task, bundle.spec.form, str(bundle.spec.units), f"{bundle.parameters:,}", f"{size:,}"]
        )
    write(table(rows))
    return 0
