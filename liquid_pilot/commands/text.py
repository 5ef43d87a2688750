"""Text for people: tables, nested values, and a terminal that a foreign file cannot steer."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any


def plain(value: Any) -> str:
    """One line of text for a value of the metadata."""
    if isinstance(value, Mapping):
        return ", ".join(f"{plain(key)} {plain(item)}" for key, item in value.items()) or "-"
    if isinstance(value, (list, tuple)):
        if len(value) == 2 and all(isinstance(item, (int, float)) for item in value):
            low, high = value
            return plain(low) if low == high else f"{plain(low)} to {plain(high)}"
        return "[" + ", ".join(plain(item) for item in value) + "]"
    if isinstance(value, float):
        return f"{value:g}"
    # The file is foreign: what it says must not steer the terminal.
    return "".join(c if c.isprintable() else "?" for c in str(value)) or "-"


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, text) of nested metadata."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from flat(item, f"{prefix}.{key}" if prefix else str(key))
    elif value not in (None, "", [], ()):
        yield plain(prefix), plain(value)


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows with columns padded to the widest cell, two spaces apart."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def write(lines: Iterable[str]) -> None:
    """Lines to the standard output."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal without Unicode gets escapes, not an error
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stdout.writelines(f"{line}\n" for line in lines)
