"""What the commands that read flight logs share."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

LOG_HELP: Final = "flight log: .mcap or .csv of this program, or .ulg of PX4"
MASK_HELP: Final = "tell positions relative to the first one (what that hides: `liquid-pilot mask --help`)"


def add_log(parser: argparse.ArgumentParser) -> None:
    """The arguments LOG and --mask-position."""
    parser.add_argument("log", metavar="LOG", type=Path, help=LOG_HELP)
    parser.add_argument("--mask-position", action="store_true", help=MASK_HELP)


def read(path: Path, mask: bool) -> Any:
    """`LogContents` of a log, masked if asked for."""
    from dataclasses import replace

    from liquid_pilot.logs import read_log
    from liquid_pilot.logs.masked import masked

    contents = read_log(path)
    return replace(contents, records=masked(contents.records)) if mask else contents


def check_output(path: Path) -> None:
    """Raise `ConfigError` before the work where its result could not be written."""
    from liquid_pilot.errors import ConfigError

    if path.is_dir() or not path.name:
        raise ConfigError(f"{path} is a folder; give the path of a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}); use another path") from error


def write_file(path: Path, data: bytes) -> None:
    """Write a file whole. Raises `ConfigError`."""
    from liquid_pilot.errors import ConfigError

    try:
        path.write_bytes(data)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written ({error.strerror}); use another path") from error
