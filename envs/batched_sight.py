"""What many drones that cross a forest are told of their course and shown of their grids: arrays (N,)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from envs.batched_moment import Array, Lanes, Mask, told_stamp_s
from envs.compiled.sight import heard
from envs.compiled.state import CONSTANTS
from envs.fault_effects import ONBOARD
from envs.faults import Fault
from envs.grid_observation import SILENT_S
from envs.task import Aim, Goal, Moment, Task
from liquid_pilot.geometry import multiply
from liquid_pilot.observation import INITIAL_AGE_S, assemble_sight
from liquid_pilot.ops import NUMPY_OPS


def told_goal(task: Task | Aim, lanes: Lanes, moment: Moment[Any]) -> Goal[Any]:
    """The course by the heading that is known on board, wrong by the flight's error, from the start on."""
    half = 0.5 * lanes.state.constants[CONSTANTS["heading_error_rad"]][0].astype(np.float64)
    zero = 0.0 * half
    attitude = multiply((np.cos(half), zero, zero, np.sin(half)), moment.body.attitude_wxyz)
    wrong: Any = replace(moment.body, attitude_wxyz=attitude)
    return task.goal(NUMPY_OPS, list(lanes.course), np.maximum(moment.since_release_s, 0.0), wrong)


def hear(lanes: Lanes, numbers: int, lost: Mask) -> None:
    """All take over the grid under way, but where it is lost (N,), or was taken before their flight began.

    numbers: of a grid. As `hear` in sight.c, at the IMU event at which the drones are looked at next.
    """
    assert lanes.sight is not None
    under_way, (grid, _, _) = lanes.sight[:numbers], heard(lanes.sight, numbers)
    stamp_s, held_s, fresh = lanes.sight[-3:]
    new = ~lost & (stamp_s > held_s)
    grid[:, new], held_s[new], fresh[new] = under_way[:, new], stamp_s[new], 1.0


def forget(lanes: Lanes, ahead_s: Array) -> None:
    """All grids, where the onboard memory has moved to another clock. ahead_s: that of its clock before, (N,)."""
    assert lanes.sight is not None
    jump_s = lanes.state.imu.ahead_s - ahead_s
    moved = (jump_s > ONBOARD.ahead_s) | (jump_s < -ONBOARD.behind_s)
    lanes.sight[-3:-1, moved], lanes.sight[-1, moved] = -INITIAL_AGE_S, 0.0


def shown_sight(lanes: Lanes, numbers: int, faults: Sequence[Fault] = ()) -> list[Array]:
    """The `SIGHT_FIELDS`, then the newest grid that was heard; nothing of it before the first, and in a long silence.

    numbers: of a grid.
    """
    assert lanes.sight is not None
    grid, _, fresh = heard(lanes.sight, numbers)
    age_s, gone = _age_s(lanes, numbers, faults), silent(lanes, numbers, faults)
    shown_age_s = np.where(gone, INITIAL_AGE_S, np.maximum(age_s, 0.0))
    known = ~gone & (lanes.state.imu.silent_s == 0.0)
    return [*assemble_sight(fresh * known, shown_age_s), *np.where(gone, 0.0, grid)]


def silent(lanes: Lanes, numbers: int, faults: Sequence[Fault] = ()) -> Mask:
    """Who is shown no grid, (N,): none was heard yet, or none for too long. numbers: of a grid."""
    assert lanes.sight is not None
    never = heard(lanes.sight, numbers)[1] < 0.0  # a clock that jumps must not make it young
    return np.asarray(never | (_age_s(lanes, numbers, faults) > SILENT_S))


def _age_s(lanes: Lanes, numbers: int, faults: Sequence[Fault]) -> Array:
    assert lanes.sight is not None
    taken_s = heard(lanes.sight, numbers)[1].astype(np.float64)
    now_s: Array = lanes.state.clock("t_s") + lanes.state.imu.ahead_s
    return now_s - told_stamp_s(lanes.state, taken_s, faults)
