"""One control step of many flights on the compiled engine, and what the drones show after it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from envs.batched_moment import Array, Lanes, held_of
from envs.batched_sight import forget, hear, shown_sight, told_goal
from envs.compiled.job import Draw
from envs.compiled.relay import RelayWorld
from envs.compiled.sight import Camera, looks
from envs.compiled.state import CONSTANTS, intervals
from envs.conditions import Conditions
from envs.faults import Fault
from envs.state_observation import OBS_BOUND
from envs.task import Aim, Moment, Task
from liquid_pilot.observation import assemble

Float32: TypeAlias = npt.NDArray[np.float32]


def advance(
    world: RelayWorld, lanes: Lanes, camera: Camera, command: Array, conditions: Conditions, rng: np.random.Generator
) -> Camera:
    """Fly every drone to its next IMU event, under commands (4, N), and bring the lanes up to date.

    Returns the camera's clock after it, as it was where drones see nothing. Raises as `RelayWorld.watch`.
    """
    dt_s = intervals(conditions, lanes.state.constants[CONSTANTS["imu_hz"]][0], 1, rng)
    flew, ahead_s, events = lanes.released, lanes.state.imu.ahead_s, None
    if world.grid:
        events, camera = looks(camera, dt_s, conditions, rng)
    draw = Draw(dt_s, seed=int(rng.integers(2**63)), looks=events)
    lanes.state, lanes.sight = world.watch(lanes.state, lanes.sight, command, conditions, draw)
    if world.grid:
        forget(lanes, ahead_s)
    if camera.arrives:
        hear(lanes, world.grid, rng.random(lanes.count) < conditions.grid_dropout[1])
        camera = replace(camera, arrives_s=math.inf)
    lanes.tracks = lanes.tracks.after(lanes.state, flew, world.airframe.rest_height_m)
    return camera


def sensed(
    world: RelayWorld, lanes: Lanes, task: Task | Aim, moment: Moment[Any], faults: Sequence[Fault]
) -> list[Any]:
    """What the sensors of all drones show, number by number (N,); of drones that see, `SIGHT_FIELDS` and grid too."""
    goal = told_goal(task, lanes, moment) if world.grid else moment.goal
    seen = shown_sight(lanes, world.grid, faults) if world.grid else []
    return [*assemble(held_of(lanes.state, goal, faults)), *seen]


def rows(values: Sequence[Any], n: int) -> Float32:
    """(N, width) of so many scalars, each (N,); a drone that has left the finite numbers ends in numbers too."""
    columns = np.empty((len(values), n), np.float32)
    for column, value in zip(columns, values, strict=True):
        column[:] = value
    table = np.ascontiguousarray(columns.T)
    if not math.isfinite(float(table.sum())):
        table = np.nan_to_num(table)
    return np.asarray(np.clip(table, -OBS_BOUND, OBS_BOUND, out=table))
