"""One control step of many flights on the compiled engine, and what the drones show after it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from envs.batched_moment import Array, Lanes, held_of
from envs.batched_sight import hear, shown_sight, told_goal
from envs.compiled.job import Draw
from envs.compiled.relay import RelayWorld
from envs.compiled.sight import Camera, looks
from envs.compiled.state import CONSTANTS, intervals
from envs.conditions import Conditions
from envs.faults import Fault
from envs.task import Moment, Task
from liquid_pilot.observation import assemble


def advance(
    world: RelayWorld, lanes: Lanes, camera: Camera, command: Array, conditions: Conditions, rng: np.random.Generator
) -> Camera:
    """Fly every drone to its next IMU event, under commands (4, N); returns the camera after it, which none may have.

    Brings the lanes up to date. Raises as `RelayWorld.step`.
    """
    dt_s = intervals(conditions, lanes.state.constants[CONSTANTS["imu_hz"]][0], 1, rng)
    flew, noise, events = lanes.released, int(rng.integers(2**63)), None
    if world.grid:
        events, camera = looks(camera, dt_s, conditions, rng)
    draw = Draw(dt_s, seed=noise, looks=events)
    lanes.state, lanes.sight = world.watch(lanes.state, lanes.sight, command, conditions, draw)
    if camera.arrives:
        hear(lanes, world.grid, rng.random(lanes.count) < conditions.grid_dropout[1])
        camera = replace(camera, arrives_s=math.inf)
    lanes.tracks = lanes.tracks.after(lanes.state, flew, world.airframe.rest_height_m)
    return camera


def sensed(world: RelayWorld, lanes: Lanes, task: Task, moment: Moment[Any], faults: tuple[Fault, ...]) -> list[Any]:
    """What the sensors of all drones show, number by number (N,); of drones that see, `SIGHT_FIELDS` and grid too."""
    goal = told_goal(task, lanes, moment) if world.grid else moment.goal
    seen = shown_sight(lanes, world.grid) if world.grid else []
    return [*assemble(held_of(lanes.state, goal, faults)), *seen]
