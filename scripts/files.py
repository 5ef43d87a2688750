"""Result files: whether they can be written, asked before the long work, and JSON that is whole or not there."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, Final

from liquid_pilot.errors import ConfigError

RESULT_SUFFIXES: Final = (".safetensors", ".npz", ".json", ".png", ".csv", ".md", ".html", ".mp4", ".gif")


def check_file(option: str, path: Path, *suffixes: str) -> None:
    """Raise `ConfigError` unless a file with one of the suffixes (".json") can be written at the path. Writes nothing.

    option: as the command line calls it, for the message.
    """
    first = suffixes[0]
    try:
        if path.is_dir():
            raise ConfigError(f"{option} {path} is a folder; give a file in it, such as {path / f'result{first}'}")
        if path.suffix.lower() not in suffixes:
            raise ConfigError(f"{option} {path} does not end in {' or '.join(suffixes)}; give {path.stem}{first}")
        if path.exists():
            path.open("ab").close()
    except OSError as error:
        raise _unwritable(option, path, error) from error
    _check_room(option, path, path.parent)


def check_folder(option: str, path: Path) -> None:
    """Raise `ConfigError` unless the path is, or can become, a folder that takes files. Writes nothing.

    option: as the command line calls it, for the message.
    """
    if path.suffix.lower() in RESULT_SUFFIXES:
        raise ConfigError(f"{option} {path} looks like a file; give the folder of all results, such as {path.parent}")
    _check_room(option, path, path)


def write_json(path: Path, value: Any) -> None:
    """Write plain data, whole or not at all: an interruption leaves the previous file. Makes missing folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    unfinished.replace(path)


def _check_room(option: str, path: Path, folder: Path) -> None:
    """Whether files can be made in the folder, or in the nearest one above that exists."""
    try:
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        with tempfile.TemporaryFile(dir=folder):  # the only proof; permission bits do not know every file system
            pass
    except OSError as error:
        raise _unwritable(option, path, error) from error


def _unwritable(option: str, path: Path, error: OSError) -> ConfigError:
    reason = error.strerror or type(error).__name__
    return ConfigError(f"{option} {path} cannot be written ({reason}); give a path in a folder that you may write to")
