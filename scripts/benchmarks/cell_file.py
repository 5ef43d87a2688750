"""Cells of a table in a file, so that a table that was interrupted goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from liquid_pilot.errors import ConfigError
from scripts.files import write_json


class CellFile:
    """Cells made so far; the file is written after every new one. Raises `ConfigError` for a broken file."""

    def __init__(self, path: Path) -> None:
        self._path, self._known = path, read_cells(path)

    def cell(self, marks: Mapping[str, Any], make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """The stored cell that has these marks, else what `make` returns, with them.

        marks: everything that the figures of a cell depend on, ready for JSON.
        """
        for old in self._known:
            if all(key in old and old[key] == value for key, value in marks.items()):
                return old
        found = {**make(), **marks}
        self._known.append(found)
        write_json(self._path, {"cells": self._known})
        return found


def read_cells(path: Path) -> list[dict[str, Any]]:
    """Cells of an earlier table; none where there is no file. Raises `ConfigError` for a broken one."""
    if not path.is_file():
        return []
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is no result of a table ({error}); delete it or give another --out") from error
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        raise ConfigError(f"{path} holds no list of cells; delete it or give another --out")
    return cells
