"""Builds exported C into small programs, strictly, and runs them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from liquid_pilot.export.policy import CSource, write_c

STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion", "-Wshadow", "-Wdouble-promotion")
COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]
needs_compiler = pytest.mark.skipif(not COMPILERS, reason="needs gcc or clang: apt install gcc")


def program(
    text: CSource, main: str, folder: Path, compiler: str = "", flags: tuple[str, ...] = ("-O1",)
) -> subprocess.CompletedProcess[str]:
    """Compile the policy and a main together, without the mathematical library, and run it. Both must succeed."""
    _, source = write_c(text, folder)
    (folder / "main.c").write_text(main, encoding="ascii")
    command = [
        compiler or COMPILERS[0],
        *STRICT,
        *flags,
        str(source),
        str(folder / "main.c"),
        "-o",
        str(folder / "main"),
    ]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([str(folder / "main")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done
