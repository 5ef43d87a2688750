"""Checks of metadata values, and the one JSON text of equal values.

A check is called with the dotted path of a field and its value; it raises `BundleError` with what was found, what is
allowed and the fix, or returns None.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from liquid_pilot.errors import BundleError
from liquid_pilot.half_cheetah import MOST_FRAMES

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
FIX: Final = "export the policy again with this version"

Check = Callable[[str, Any], None]  # (dotted path of the field, value) -> None, or BundleError


def refuse(field: str, found: object, allowed: str) -> BundleError:
    """The error for one field: what was found, what is allowed and the fix."""
    text = repr(found)
    text = text if len(text) <= 120 else text[:117] + "..."
    return BundleError(f"metadata field {field!r} is {text}; allowed is {allowed}; {FIX}")


def is_number(value: Any) -> bool:
    """Whether this is a finite number of sane size, no truth value."""
    return not isinstance(value, bool) and isinstance(value, (int, float)) and abs(value) < 1e12


def number(low: float, high: float) -> Check:
    """A finite number from low to high."""

    def check(field: str, value: Any) -> None:
        if not is_number(value) or not low <= value <= high:
            raise refuse(field, value, f"a number from {low:g} to {high:g}")

    return check


def numbers(count: int, low: float, high: float) -> Check:
    """A list of `count` finite numbers, each from low to high."""

    def check(field: str, value: Any) -> None:
        right = isinstance(value, list) and len(value) == count
        if not right or not all(is_number(item) and low <= item <= high for item in value):
            raise refuse(field, value, f"a list of {count} numbers from {low:g} to {high:g}")

    return check


def span(low: float, high: float) -> Check:
    """[lowest, highest], rising or equal, within low to high."""
    both = numbers(2, low, high)

    def check(field: str, value: Any) -> None:
        both(field, value)
        if value[0] > value[1]:
            raise refuse(field, value, "[lowest, highest]")

    return check


def frames(low: int) -> Check:
    """[fewest, most] whole frames of physics."""
    within = span(low, MOST_FRAMES)

    def check(field: str, value: Any) -> None:
        within(field, value)
        if not all(type(item) is int for item in value):
            raise refuse(field, value, "[fewest, most] as whole numbers")

    return check


def whole(field: str, value: Any) -> None:
    """An integer."""
    if type(value) is not int:
        raise refuse(field, value, "a whole number")


def text(field: str, value: Any) -> None:
    """A string of at most 1000 characters."""
    if not isinstance(value, str) or len(value) > 1000:
        raise refuse(field, value, "a text of at most 1000 characters")


def name(field: str, value: Any) -> None:
    """A short name that is safe in paths and terminals."""
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise refuse(field, value, "a name of 1 to 64 letters, digits, '.', '_' and '-'")


def anything(field: str, value: Any) -> None:
    """Any JSON object."""
    if not isinstance(value, dict):
        raise refuse(field, value, "a JSON object")


def anything_listed(field: str, value: Any) -> None:
    """Any list."""
    if not isinstance(value, list):
        raise refuse(field, value, "a list")


def exactly(allowed: Any, words: str) -> Check:
    """One value only, of one type only."""

    def check(field: str, value: Any) -> None:
        if type(value) is not type(allowed) or value != allowed:
            raise refuse(field, value, words)

    return check


def record(fields: dict[str, Check], *, more: bool = False) -> Check:
    """An object with exactly these fields; with `more`, others may stand beside them."""

    def check(field: str, value: Any) -> None:
        if not isinstance(value, dict):
            raise refuse(field, value, f"an object with the fields {sorted(fields)}")
        missing, extra = sorted(set(fields) - set(value)), sorted(set(value) - set(fields))
        if missing or (extra and not more):
            where = f"metadata field {field!r}" if field else "metadata"
            raise BundleError(f"{where}: missing {missing}, not known {extra}; allowed is {sorted(fields)}; {FIX}")
        for key, inner in fields.items():
            inner(f"{field}.{key}" if field else key, value[key])

    return check


def one_of(names: Sequence[str]) -> Check:
    """One of these texts."""

    def check(field: str, value: Any) -> None:
        if value not in names:
            raise refuse(field, value, f"one of {', '.join(names)}")

    return check


def canonical_json(value: Any) -> str:
    """One text for equal values: sorted keys, no spaces, ASCII. Raises `BundleError` for what is not JSON."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise BundleError(
            f"metadata is not JSON ({error}); allowed are finite numbers, texts, lists, objects with text keys; "
            "convert the value before exporting"
        ) from error


def parse_json(data: str | bytes) -> Any:
    """JSON as the standard means it: no NaN, no infinity, no key twice. Raises `BundleError`."""
    try:
        parsed = json.loads(data, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"the header is not JSON ({error}); the file is damaged; copy it again") from error
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise ValueError("a key stands twice")
    return table


def _no_constant(word: str) -> float:
    raise ValueError(f"{word} is not a JSON number")
