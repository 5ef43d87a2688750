"""Jobs for workers, in a module that imports next to nothing, for every worker process does."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

from liquid_pilot.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Errand:
    """What a worker is told. deadly: the index whose worker is killed, once, or always."""

    folder: Path
    deadly: int = -1
    always: bool = False
    policy: str = "hover"
    parts: tuple[Path, ...] = ()


def run_errand(errand: Errand, index: int) -> int:
    if index == errand.deadly:
        mark = errand.folder / "died"
        if errand.always or not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return index * index


def fail(errand: Errand, index: int) -> int:
    if index == errand.deadly:
        raise ConfigError("the cup is broken; take another")
    return index
