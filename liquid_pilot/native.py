"""Builds C text into a library of this machine, once: a cache keyed by content, flags, compiler and processor.

Building is atomic, so that processes may race for the same entry; an entry is loaded only after its
sha256 was checked. The folder is $LIQUID_PILOT_CACHE, else liquid-pilot in $XDG_CACHE_HOME or ~/.cache.
"""

from __future__ import annotations

import atexit
import ctypes
import hashlib
import json
import logging
import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from liquid_pilot.errors import ConfigError, LiquidPilotError

OPTIMISED: Final = ("-std=gnu11", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math")
_LAYOUT: Final = 1  # of a cache entry; part of every key
_SHOWN_LINES: Final = 12
_LOG: Final = logging.getLogger(__name__)


class NativeUnavailable(LiquidPilotError, RuntimeError):
    """There is no C compiler on this machine; the message says how to get one."""


class NativeBuildError(LiquidPilotError, RuntimeError):
    """The C compiler failed, or what it made cannot be loaded; the message holds its first lines."""


def build(source: str, name: str, flags: Sequence[str] = OPTIMISED) -> ctypes.CDLL:
    """The library of C text `source`, compiled with `flags` unless the cache has it.

    name: begins the file names. ctypes releases the interpreter's lock while a function runs.
    Raises `NativeUnavailable` without a compiler, `NativeBuildError` where it fails, `ConfigError` for a bad name.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ConfigError(f"native library name {name!r}; use letters, digits, _ and -")
    compiler = find_compiler()
    identity = [_LAYOUT, source, list(flags), list(compiler), _version(compiler), processor_identity()]
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    index = f"{name}-{key[:32]}.json"
    wanted = cache_dir()
    library = _load(wanted / index)
    if library is not None:
        return library
    folder = _writable(wanted)
    if folder != wanted:  # this process may have built it before
        library = _load(folder / index)
        if library is not None:
            return library
    _compile(compiler, source, name, flags, folder / index)
    library = _load(folder / index)
    if library is None:
        raise NativeBuildError(
            f"{shlex.join(compiler)} made {name}, but it cannot be loaded from {folder}; "
            "is that file system mounted noexec? Point LIQUID_PILOT_CACHE at a folder of yours"
        )
    return library


def available() -> bool:
    """True if a C compiler is found; whether it works shows when it builds."""
    try:
        find_compiler()
    except NativeUnavailable:
        return False
    return True


def find_compiler() -> tuple[str, ...]:
    """The command of $CC (with its arguments), else of the first of cc, gcc, clang. Raises `NativeUnavailable`."""
    try:
        chosen = shlex.split(os.environ.get("CC", ""))
    except ValueError as error:
        raise NativeUnavailable(
            f"CC={os.environ['CC']!r} is not a command ({error}); set it to a C compiler"
        ) from error
    for words in [chosen] if chosen else [["cc"], ["gcc"], ["clang"]]:
        path = shutil.which(words[0])
        if path is not None:
            return (path, *words[1:])
    found = f"$CC is {os.environ['CC']!r}, which is not there" if chosen else "none of cc, gcc, clang is on the PATH"
    raise NativeUnavailable(
        f"no C compiler: {found}; install one (Debian, Ubuntu: apt install gcc; Fedora: dnf install gcc; "
        "macOS: xcode-select --install) or set CC to the path of yours"
    )


def cache_dir() -> Path:
    """The folder of compiled libraries. It need not exist."""
    own = os.environ.get("LIQUID_PILOT_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    if not base or not Path(base).is_absolute():
        base = os.path.expanduser("~/.cache")
    return Path(base if Path(base).is_absolute() else tempfile.gettempdir()) / "liquid-pilot"


def best_lane_bytes() -> int:
    """Bytes of the widest vectors that this processor works on: 64, 32 or 16. Wider ones run many times slower."""
    features = set(processor_identity().split())
    if "avx512f" in features:
        return 64
    return 32 if "avx" in features or "avx2" in features else 16


@lru_cache(maxsize=1)
def processor_identity() -> str:
    """Architecture, model and features of the processor: a library tuned for one need not run on another."""
    lines = [platform.machine(), platform.system()]
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
    except OSError:
        return " ".join([*lines, platform.processor()])
    told = dict(line.split(":", 1) for line in first.splitlines() if ":" in line)
    named = {key.strip(): value.strip() for key, value in told.items()}
    kept = ("vendor_id", "cpu family", "model", "model name", "CPU implementer", "CPU part", "flags", "Features")
    return " ".join([*lines, *(named[key] for key in kept if key in named)])


@lru_cache(maxsize=8)
def _version(compiler: tuple[str, ...]) -> str:
    """What the compiler says of itself."""
    try:
        done = subprocess.run([*compiler, "--version"], capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise NativeUnavailable(
            f"the C compiler {compiler[0]} does not run ({error}); set CC to one that does"
        ) from error
    return done.stdout


def _compile(compiler: tuple[str, ...], source: str, name: str, flags: Sequence[str], index: Path) -> None:
    """Compile beside the cache entry, then put the library and, last, its index in place."""
    with tempfile.TemporaryDirectory(prefix=".build-", dir=index.parent) as scratch:
        (Path(scratch) / f"{name}.c").write_text(source, encoding="utf-8")
        command = [*compiler, *flags, "-shared", "-fPIC", f"{name}.c", "-o", f"{name}.so", "-lm"]
        try:
            done = subprocess.run(command, cwd=scratch, capture_output=True, text=True, errors="replace", check=False)
        except OSError as error:
            raise NativeBuildError(f"the C compiler {compiler[0]} cannot be run: {error}") from error
        built = Path(scratch) / f"{name}.so"
        if done.returncode != 0 or not built.is_file():
            said = (done.stderr + done.stdout).strip().splitlines()
            errors = [i for i, line in enumerate(said) if "error" in line]
            start = max(0, errors[0] - 1) if errors else 0
            shown = "\n".join(f"    {line}" for line in said[start : start + _SHOWN_LINES]) or "    (it said nothing)"
            raise NativeBuildError(
                f"building {name} failed: `{shlex.join(command)}` ended with {done.returncode} and said:\n{shown}\n"
                "another compiler can be chosen by setting CC"
            )
        digest = hashlib.sha256(built.read_bytes()).hexdigest()
        library = index.parent / f"{name}-{digest[:32]}.so"  # by content: racing builds never mix files
        note = Path(scratch) / "index.json"
        note.write_text(json.dumps({"library": library.name, "sha256": digest}), encoding="utf-8")
        os.replace(built, library)
        os.replace(note, index)
    _LOG.info("compiled %s into %s", name, library)


def _load(index: Path) -> ctypes.CDLL | None:
    """The library of a cache entry, or None where it is missing, cut short, changed or not loadable."""
    if not _is_own(index.parent):
        return None
    try:
        note = json.loads(index.read_text(encoding="utf-8"))
        library, digest = index.parent / Path(note["library"]).name, note["sha256"]
        if hashlib.sha256(library.read_bytes()).hexdigest() == digest:
            return ctypes.CDLL(str(library))
        _LOG.warning("%s is not what was built (cut short or changed); it is built again", library)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, TypeError) as error:
        _LOG.warning("the cache entry %s cannot be used (%s); it is built again", index, error)
    return None


def _is_own(folder: Path) -> bool:
    """False for a folder of somebody else, whose libraries must not run here."""
    try:
        state = folder.stat()
    except OSError:
        return False
    if not hasattr(os, "getuid"):
        return True
    return state.st_uid == os.getuid() and not state.st_mode & 0o002


def _writable(folder: Path) -> Path:
    """The folder, made if need be, or a private one of this process where it cannot be written."""
    reason = "it belongs to somebody else or everybody may write there"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if _is_own(folder):
            with tempfile.TemporaryFile(dir=folder):
                return folder
    except OSError as error:
        reason = str(error)
    private = _private_dir()
    _LOG.warning("the cache folder %s cannot be used (%s); this process compiles into %s", folder, reason, private)
    return private


@lru_cache(maxsize=1)
def _private_dir() -> Path:
    path = tempfile.mkdtemp(prefix="liquid-pilot-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return Path(path)
