"""A job on its way to another machine: the files that it names go with it, and the code there must be the same."""

from __future__ import annotations

import hashlib
import platform
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from liquid_pilot.errors import WorkerError

TRAVELLING: Final = (".safetensors", ".toml", ".zip", ".npz")  # policies, airframes, experts, recordings
_ROOT: Final = Path(__file__).parents[2]
_PACKAGES: Final = ("liquid_pilot", "envs", "policies", "scripts")
_CODE: Final = (".py", ".c", ".h", ".toml", ".safetensors")
_LIBRARIES: Final = ("numpy", "pybullet", "torch")


@dataclass(frozen=True, slots=True)
class Parcel:
    """A job, and the contents of the files that it names. versions: of what its results depend on besides."""

    job: Any
    files: Mapping[str, bytes]
    versions: Mapping[str, str]


def packed(job: Any) -> Parcel:
    """A job with its files. Raises `OSError` for one that cannot be read."""
    files = dict[str, bytes]()

    def read(text: str) -> str:
        path = Path(text)
        if path.suffix in TRAVELLING and path.is_file():
            files[text] = path.read_bytes()
        return text

    _with_texts(job, read)
    return Parcel(job, files, versions())


def unpacked(parcel: Parcel) -> Any:
    """The job, with the names of its files on this machine. Raises `WorkerError` where other code would do it."""
    different = sorted(name for name, wanted in parcel.versions.items() if versions()[name] != wanted)
    if different:
        raise WorkerError(
            f"the worker on {platform.node()} has another {', '.join(different)} than this machine, so its results "
            "would not be the same; bring both to the same commit and packages (docs/scale_out.md), then restart Ray"
        )
    places = {name: str(_stored(Path(name).name, data)) for name, data in parcel.files.items()}
    return _with_texts(parcel.job, lambda text: places.get(text, text))


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """What the same results need beside the job, by name: Python, libraries and a hash over the project's own code."""
    found = {"Python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = ""
    digest = hashlib.sha256()
    for path in sorted(path for package in _PACKAGES for path in (_ROOT / package).rglob("*") if path.suffix in _CODE):
        digest.update(path.relative_to(_ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return found | {"code of the project": digest.hexdigest()}


@lru_cache(maxsize=1)
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Of this process; it goes when the process ends."""
    return tempfile.TemporaryDirectory(prefix="liquid-pilot-")


def _stored(name: str, data: bytes) -> Path:
    """The file with these contents, under a folder named by them."""
    path = Path(_folder().name) / hashlib.sha256(data).hexdigest() / name
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    return path


def _with_texts(value: Any, change: Callable[[str], str]) -> Any:
    """The value with every text and path in it changed; within dataclasses and tuples."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Path):
        return Path(change(str(value)))
    if type(value) is tuple:
        return tuple(_with_texts(part, change) for part in value)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        changed = {name: _with_texts(part, change) for name, part in parts.items()}
        return value if changed == parts else replace(value, **changed)
    return value
