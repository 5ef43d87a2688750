"""Flights through one and the same forest, each from a place of its own: what a picture from above shows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from envs.avoid import plot_of
from envs.conditions import Span
from envs.flights import Array, Flights
from envs.forest import COURSE_ROWS
from envs.surroundings import Surroundings
from envs.task import Course
from scripts.flying import Job, fly_task_of, task_of

PATHS: Final = 12  # in a picture
STARTS_M: Final[Span] = (-7.0, 7.0)  # along y; x is 0
START_X_M: Final = (-0.5, 0.0, 0.5, 1.0, 1.5, 2.0)  # where there is room around a start
START_FREE_M: Final = 0.8
START_Z_M: Final = 1.1


@dataclass(frozen=True, slots=True)
class Path:
    """From above, in the frame of the forest. place_m: (T, 2) from the release on; outcome: of `FlightTrace`."""

    place_m: Array
    outcome: str


def forest_of(job: Job) -> Array:
    """Where its obstacles stand, rows of its plot; by the job's seed, density, kind and size of obstacles alone."""
    rng = np.random.default_rng([job.seed, 2])
    return np.asarray(plot_of(job.obstacles).draw(job.density_per_m2, 1, rng, job.obstacles, job.size)[:, 0])


def starts_m(job: Job) -> Array:
    """(PATHS,) places on the line x = 0 with room around, as far apart as they can be."""
    forest, places = Surroundings(plot_of(job.obstacles), forest_of(job)), np.linspace(*STARTS_M, 281)
    free = [y for y in places.tolist() if min(forest.free_m((x, y, START_Z_M)) for x in START_X_M) > START_FREE_M]
    return np.asarray(np.array(free or [0.0])[np.linspace(0, max(len(free) - 1, 0), PATHS).round().astype(int)])


def fly_path(job: Job, index: int) -> Path:
    """Flight `index` of the job, in the job's forest, from the start with this number."""
    start = float(starts_m(job)[index])
    rows = forest_of(job)
    rows[1 :: plot_of(job.obstacles).row_numbers] -= start  # flights begin at y = 0
    task = task_of(job)
    drawn = task.course

    def course(flights: Flights, duration_s: float, rng: np.random.Generator) -> Course:
        found = drawn(flights, duration_s, rng)
        return np.concatenate([found[:COURSE_ROWS], rows[:, None]])

    trace = fly_task_of(job, index, replace(task, course=course))
    flown = trace.t_s >= trace.release_s
    return Path(trace.position_m[flown, :2] + (0.0, start), trace.outcome)


def obstacles_in(job: Job, x_m: Span, y_m: Span) -> Array:
    """Of the job's forest, within these: (n, 7), see `envs.shapes.Obstacle`."""
    return Surroundings(plot_of(job.obstacles), forest_of(job)).within(x_m, y_m)
