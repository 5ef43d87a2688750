"""Faults as the rows of numbers that lanes.c calls `Fault`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from envs.fault_effects import amount, disturbed_rows
from envs.faults import Fault

_PARTS: Final = {"flow": 0, "range": 1, "accel": 2, "gyro": 3}  # numbers as in the enums of records.c
_THRUST: Final = 4
_MODES: Final = {"off": 0, "nan": 0, "freeze": 1, "spike": 2}  # what is no number the pilot refuses, as if it were off
_CHANGE: Final = 3


def fault_rows(faults: Sequence[Fault]) -> npt.NDArray[np.float64]:
    """(rows, 6): part, mode, start, end, rise, amount; one row for each number that a fault changes."""
    rows = []
    for fault in faults:
        codes = [(_THRUST + row, _CHANGE) for row in disturbed_rows(fault)]
        codes = codes or [(_PARTS[fault.part], _MODES[fault.mode])]
        when = (fault.start_s, fault.end_s, fault.kind.rise_s, amount(fault))
        rows += [(*code, *when) for code in codes]
    return np.array(rows, np.float64).reshape(-1, 6)
