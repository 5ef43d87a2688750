"""C text from foreign values: identifiers, comments and numbers that cannot become anything else."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from liquid_pilot.errors import ConfigError

LONGEST_NAME: Final = 48
_IDENTIFIER: Final = re.compile(rf"[a-zA-Z][a-zA-Z0-9_]{{0,{LONGEST_NAME - 1}}}")
# Neither * / ? nor a backslash: nothing can end or begin a comment, be a trigraph or join lines.
_HARMLESS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 .,:;=+-_()[]%@#")
_LONGEST_COMMENT: Final = 100
_WIDTH: Final = 110


def identifier(name: str) -> str:
    """A checked prefix of C names. Raises `ConfigError`."""
    if not isinstance(name, str) or not _IDENTIFIER.fullmatch(name):
        raise ConfigError(
            f"{name!r:.80} cannot begin C names; give a letter and then letters, digits and _, "
            f"{LONGEST_NAME} at most, such as --name hover"
        )
    return name


def identifier_of(policy_name: str) -> str:
    """A prefix of C names from the name of a policy: other characters become _."""
    plain = re.sub(r"[^a-zA-Z0-9]", "_", policy_name)
    return identifier((plain if plain[:1].isalpha() else f"policy_{plain}")[:LONGEST_NAME])


def comment_text(value: Any) -> str:
    """A foreign value inside a comment: harmless ASCII on one line, anything else as _, and not too long."""
    text = "".join(c if c in _HARMLESS else "_" for c in str(value)[: _LONGEST_COMMENT + 1])
    return text if len(text) <= _LONGEST_COMMENT else f"{text[: _LONGEST_COMMENT - 3]}..."


def comment(lines: Iterable[str]) -> Iterator[str]:
    """A block comment of lines that are ours; foreign parts of them went through `comment_text`."""
    yield "/*"
    for line in lines:
        assert "*/" not in line and "/*" not in line
        yield f" * {line}".rstrip()
    yield " */"


def number(value: float) -> str:
    """A float literal that gives the same float32 again."""
    return f"{np.float32(value)!s}f"  # the shortest decimal that reads back as it; always with a point or an e


def floats(name: str, values: npt.NDArray[np.float32]) -> Iterator[str]:
    """A constant array of floats."""
    yield from _array("float", name, [number(value) for value in values.ravel().tolist()])


def bytes_(name: str, values: npt.NDArray[np.int8]) -> Iterator[str]:
    """A constant array of signed bytes."""
    yield from _array("int8_t", name, [str(value) for value in values.ravel().tolist()])


def _array(kind: str, name: str, words: Sequence[str]) -> Iterator[str]:
    yield f"static const {kind} {name}[{len(words)}] = {{"
    line = "   "
    for word in words:
        if len(line) + len(word) + 2 > _WIDTH:
            yield line
            line = "   "
        line += f" {word},"
    yield line
    yield "};"


def whole_numbers(kind: str, name: str, values: Sequence[int]) -> Iterator[str]:
    """A constant array of a kind of whole numbers."""
    yield from _array(kind, name, [str(value) for value in values])


def guards() -> Iterator[str]:
    """Refuse compilers that would hide NaN or compute in another precision. To stand after <float.h>."""
    yield "#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)"
    yield "#error this file sees NaN and infinity as they are: compile it without -ffast-math and -ffinite-math-only"
    yield "#endif"
    yield "#if defined(FLT_EVAL_METHOD) && FLT_EVAL_METHOD != 0"
    yield "#error this file needs float arithmetic in single precision (on a 387, compile with -mfpmath=sse)"
    yield "#endif"
