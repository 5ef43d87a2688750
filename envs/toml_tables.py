"""Facts from TOML files: found by shipped name or by path, checked key by key against a dataclass."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from liquid_pilot.errors import ConfigError, unknown_name

if sys.version_info >= (3, 11):
    import tomllib
else:  # pragma: no cover  # the same parser under its older name
    import tomli as tomllib

T = TypeVar("T")


def find_table(kind: str, name: str | Path, folder: Path) -> Path:
    """File of a shipped `kind` of thing in `folder`, or the path itself if it ends in .toml. Raises `ConfigError`."""
    if str(name).endswith(".toml"):
        if not Path(name).is_file():
            raise ConfigError(f"{kind} {name} is no file; check the path, or give the name of a shipped one")
        return Path(name)
    shipped = {path.stem: path for path in folder.glob("*.toml")}
    if str(name) not in shipped:
        known = unknown_name(kind, str(name), list(shipped))
        raise ConfigError(f"{known}; or give the path of a TOML file of your own, which ends in .toml")
    return shipped[str(name)]


def read_table(path: Path) -> dict[str, Any]:
    """The contents of a TOML file. Raises `ConfigError` naming the line that is not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML ({error}); correct it, or start from a shipped file") from error


def build(cls: type[T], table: object, where: str) -> T:
    """A dataclass from a table with exactly its fields, tables within for dataclasses within.

    where: names the table in messages. Raises `ConfigError` for missing and unknown keys and for values of a wrong
    kind: numbers must be finite, lists as long as the field's tuple.
    """
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where} is {table!r}; write a table with the keys {_keys(cls)}")
    names = {field.name for field in fields(cls)}  # type: ignore[arg-type]  # a dataclass by contract
    missing, extra = sorted(names - set(table)), sorted(set(table) - names)
    if missing or extra:
        raise ConfigError(f"{where}: missing keys {missing}, unknown keys {extra}; the keys are {_keys(cls)}")
    kinds = get_type_hints(cls)
    return cls(**{name: _value(kinds[name], table[name], where, name) for name in names})


def _keys(cls: type[Any]) -> str:
    return ", ".join(field.name for field in fields(cls))


def _value(kind: Any, value: object, where: str, name: str) -> Any:
    if is_dataclass(kind) and isinstance(kind, type):
        return build(kind, value, f"{where}, [{name}]")
    if not _fits(kind, value):
        raise ConfigError(f"{where}: {name} is {value!r}, of a wrong kind; write {_wanted(kind)}")
    return _converted(kind, value)


def _fits(kind: Any, value: object) -> bool:
    if kind is str:
        return isinstance(value, str) and bool(value.strip())
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    parts = get_args(kind)
    return isinstance(value, list) and len(value) == len(parts) and all(map(_fits, parts, value))


def _converted(kind: Any, value: Any) -> Any:
    return tuple(map(_converted, get_args(kind), value)) if get_args(kind) else kind(value)


def _wanted(kind: Any) -> str:
    named = {str: "a text", int: "a whole number", float: "a finite number"}
    parts = get_args(kind)
    return f"[{', '.join(_wanted(part) for part in parts)}]" if parts else named[kind]
