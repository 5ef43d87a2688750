"""Faults as numbers for the compiled engine: rows that lanes.c calls `Fault`, and what the pilot hears of the IMU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from envs.compiled.state import Clocks, RolloutState
from envs.conditions import Conditions
from envs.fault_effects import ImuTimes, amount, disturbed_rows, hear_imu, unheard
from envs.faults import Fault
from liquid_pilot.ops import NUMPY_OPS

_PARTS: Final = {
    "flow": 0,
    "range": 1,
    "accel": 2,
    "gyro": 3,
    "clock": 10,
    "position": 11,
}  # numbers as in the enums of records.c
_THRUST: Final = 4
# what is no number the pilot refuses, as if it were off
_MODES: Final = {"off": 0, "nan": 0, "freeze": 1, "spike": 2, "jump": 3}
_CHANGE: Final = 3
_EPS_S: Final = 1e-9  # as in lanes.c


def fault_rows(faults: Sequence[Fault]) -> npt.NDArray[np.float64]:
    """(rows, 6): part, mode, start, end, rise, amount; one row for each number that a fault changes."""
    rows = []
    for fault in faults:
        codes = [(_THRUST + row, _CHANGE) for row in disturbed_rows(fault)]
        if not codes and fault.part != "imu":  # that one as events
            codes = [(_PARTS[fault.part], _MODES[fault.mode])]
        when = (fault.start_s, fault.end_s, fault.kind.rise_s, amount(fault))
        rows += [(*code, *when) for code in codes]
    return np.array(rows, np.float64).reshape(-1, 6)


def imu_events(
    world: RolloutState, dt_s: Clocks, substeps: npt.NDArray[np.int32], conditions: Conditions
) -> tuple[Clocks | None, ImuTimes[Clocks]]:
    """What the onboard memory makes of the IMU events of T control steps, and what it knows after them.

    (T + 1, 5, B), from the present event on: silent_s, ahead_s and step_s of `ImuTimes`, then 1 where the flow's gyro
    starts anew, and 1 where all times are forgotten. None where it takes every sample.
    """
    if not unheard(conditions.faults):
        zero = np.zeros(len(world))
        return None, ImuTimes(zero, zero, dt_s[-1] if len(dt_s) else world.imu.step_s, zero, zero)
    times, t_s, release_s = world.imu, world.clock("t_s"), world.clock("release_s")
    rows = np.zeros((len(dt_s) + 1, 5, len(world)))
    rows[0, :3] = times.silent_s, times.ahead_s, times.step_s
    for row, n, dt in zip(rows[1:], substeps, dt_s, strict=True):
        t_s = t_s + n * (dt / n)
        event = hear_imu(NUMPY_OPS, conditions.faults, times, dt, t_s, release_s)
        times = event.times
        row[:] = times.silent_s, times.ahead_s, times.step_s, event.restarted, event.moved
        release_s = np.where(np.isinf(release_s) & (t_s >= conditions.hold_s - _EPS_S), t_s, release_s)
    return rows, times
