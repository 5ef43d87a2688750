"""Recorded traces, and their split into what is learned from, chosen by and judged on.

Of the traces of Hasani et al., "Liquid time-constant networks" (2021), files 0 to 4 validate, 5 to 14 test and 15 to 24
train; the same split is taken of any other file, so that one command serves all.
"""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from liquid_pilot.errors import ConfigError

F32 = npt.NDArray[np.float32]

VALID: Final = slice(0, 5)
TEST: Final = slice(5, 15)
TRAIN: Final = slice(15, 25)
FEWEST_TRACES: Final = 25
FEWEST_STEPS: Final = 33  # a window of 32, and the step after it
_KEY: Final = re.compile(r"trace_\d{4}")


@dataclass(frozen=True, slots=True)
class Traces:
    """Each trace (steps, width), in its own unit."""

    train: tuple[F32, ...]
    valid: tuple[F32, ...]
    test: tuple[F32, ...]

    @property
    def width(self) -> int:
        """Numbers of a step."""
        return int(self.train[0].shape[1])

    def first(self, share: float) -> Traces:
        """With less to train from: the beginning of each trace. Raises `ConfigError` where no window is left."""
        steps = [round(share * len(trace)) for trace in self.train]
        if not 0.0 < share <= 1.0 or min(steps) < FEWEST_STEPS:
            raise ConfigError(
                f"{share:g} of the training data leaves {min(steps)} steps of a trace; give a share that leaves "
                f"{FEWEST_STEPS}, and at most 1"
            )
        return Traces(tuple(trace[:n] for trace, n in zip(self.train, steps, strict=True)), self.valid, self.test)


def load_traces(path: Path) -> Traces:
    """The traces of an .npz with arrays trace_0000 and on, (steps, width) real numbers.

    Raises `ConfigError` for another file, other names, shapes or types, too little of either, and what is not finite.
    """
    fix = "make one with `python -m scripts.collect half-cheetah --out traces.npz`"
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            names = sorted(file.files)
            found = {name: np.asarray(file[name]) for name in names}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise ConfigError(f"{path} is no file of traces ({error}); {fix}") from error
    strange = [name for name in names if not _KEY.fullmatch(name)]
    if strange or len(names) < FEWEST_TRACES:
        raise ConfigError(
            f"{path} holds {len(names)} arrays, among them {strange[:3] or names[:3]}; it must hold trace_0000, "
            f"trace_0001 and on, at least {FEWEST_TRACES}; {fix}"
        )
    width = found[names[0]].shape[-1] if found[names[0]].ndim == 2 else 0
    for name in names:
        trace = found[name]
        if trace.dtype.kind != "f" or trace.ndim != 2 or trace.shape[1] != width or len(trace) < FEWEST_STEPS:
            raise ConfigError(
                f"{path}: {name} is {trace.dtype} {trace.shape}; every trace must be real numbers (steps, {width or 17}"
                f") with at least {FEWEST_STEPS} steps; {fix}"
            )
        if not np.isfinite(trace).all():
            raise ConfigError(f"{path}: {name} holds NaN or infinity; {fix}")
    traces = [found[name].astype(np.float32) for name in names]
    return Traces(tuple(traces[TRAIN]), tuple(traces[VALID]), tuple(traces[TEST]))
