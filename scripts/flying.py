"""Flies many flights in PyBullet, by any number of workers, with results that do not depend on how many.

Flight i of a seed is row i of `draw_flights` under that seed, flown with a noise generator of its own
(`[seed, i, 1]`). Policies travel to the workers by name or path and are loaded, and proved, there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from envs.airframe import Airframe, load_airframe
from envs.conditions import Conditions
from envs.flights import Flights, draw_flights
from envs.obstacle_kinds import TREES
from envs.references import hover
from envs.scoring import FlightScore, score_hover, score_task
from envs.task import Task
from envs.trace import FlightTrace
from liquid_pilot import Controller
from liquid_pilot.errors import ConfigError, MissingExtraError
from policies.experts.estimator import Estimator
from policies.experts.following import Follower
from policies.experts.geometric import GeometricController
from policies.experts.landing import Lander
from policies.experts.pid import PidController, pid_gains
from policies.experts.pid_ekf import PidEkfPilot, noise_with
from policies.experts.planner import Planner
from policies.experts.raptor import Raptor
from scripts.workers.pool import WorkerPool

if TYPE_CHECKING:  # importing them loads the simulator
    from envs.pilots import Expert, Flyer, MotorExpert, Pilot
    from envs.pybullet_quad import PyBulletQuad

# Controllers that are no policy of ours, by the names they have on command lines.
GEOMETRIC: Final = "geometric"
EXPERTS: Final[Mapping[str, Callable[[Airframe], GeometricController | PidController]]] = {  # told the true state
    GEOMETRIC: lambda _: GeometricController(),
    "pid": lambda airframe: PidController(pid_gains(airframe)),
}
RAPTORS: Final[Mapping[str, bool]] = {  # told the true state, command motors; whether they do so without latency
    "raptor": True,
    "raptor-late": False,
}
PILOTS: Final[Mapping[str, Callable[[Airframe, Conditions], Pilot]]] = {  # on the sensors alone
    "pid-ekf": lambda airframe, conditions: PidEkfPilot(airframe, Estimator(noise_with(conditions.sensors.position))),
}
PLANNER: Final = "planner"  # told the true state and every tree
CONVENTIONAL: Final = (*EXPERTS, *PILOTS, *RAPTORS, PLANNER)
# Where flights are flown, and what they are judged by, by the names on command lines.
OWN_SIM: Final = "liquid-pilot"
AVIARY_SIM: Final = "gym-pybullet-drones"
ERRORS_SCORE: Final = "errors"
AVIARY_SCORE: Final = "hover-aviary"


@dataclass(frozen=True, slots=True)
class Job:
    """Flights of one policy under one set of conditions. policy: shipped name, path, or one of `CONVENTIONAL`.

    reference, transient_s: of the task track; speed_m_s: of track and avoid; density_per_m2, walled, camera,
    obstacles and size: of avoid.
    """

    policy: str
    airframe: str
    conditions: Conditions
    flights: int
    seed: int = 0
    duration_s: float = 15.0
    sim: str = OWN_SIM
    score: str = ERRORS_SCORE
    task: str = "hover"
    reference: str = "any"
    speed_m_s: float = 1.0
    transient_s: float = 0.0
    density_per_m2: float = 0.0
    walled: bool = False
    camera: bool = False
    obstacles: str = TREES
    size: float = 1.0

    def __post_init__(self) -> None:
        if self.flights < 1:
            raise ConfigError(f"flights is {self.flights}; fly at least one")
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; give a whole number from 0 on")


def import_pybullet() -> None:
    """Import PyBullet without the line about its build time that it would write to stderr in every process."""
    if "pybullet" in sys.modules:
        return
    sys.stderr.flush()
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        import pybullet  # noqa: F401
    except ImportError as error:
        raise MissingExtraError("PyBullet is not installed; run `make setup`, or pip install pybullet") from error
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


@lru_cache(maxsize=2)
def _drawn(job: Job) -> tuple[Airframe, Flights]:
    airframe = load_airframe(job.airframe)
    rng = np.random.default_rng([job.seed])
    return airframe, draw_flights(airframe, job.conditions, job.flights, rng, job.duration_s)


@lru_cache(maxsize=2)
def _controller(policy: str) -> Controller:
    return Controller.load(policy)


def task_of(job: Job) -> Task:
    """The task of a job. Raises `ConfigError`."""
    import_pybullet()
    from envs.avoid_task import avoid_task
    from envs.hover import HOVER  # here, so that --help and errors need no simulator
    from envs.mission import MISSION
    from envs.track import track_position_task, track_task

    tasks = {
        "hover": lambda: HOVER,
        "track": lambda: track_task(job.reference, job.speed_m_s, job.transient_s),
        "track-position": lambda: track_position_task(job.reference, job.speed_m_s),
        "mission": lambda: MISSION,
        "avoid": lambda: avoid_task(job.speed_m_s, job.density_per_m2, job.walled, job.camera, job.obstacles, job.size),
    }
    return tasks[job.task]()


def fly_task_of(job: Job, index: int, task: Task, flyer: Flyer | None = None) -> FlightTrace:
    """Flight `index` of a job whose task has a course of its own. flyer: fresh, in place of the job's."""
    import_pybullet()
    from envs.rollout import fly_task

    airframe, flights = _drawn(job)
    row, rng = flights.rows(slice(index, index + 1)), np.random.default_rng([job.seed, index, 1])
    with _quad(job, airframe) as quad:
        return fly_task(flyer or _flyer(job, airframe), task, airframe, row, job.conditions, rng, job.duration_s, quad)


def _flyer(job: Job, airframe: Airframe) -> Flyer:
    """Who flies a task that has a course of its own, ready for its next flight."""
    if job.policy == PLANNER:
        return Planner()
    if job.policy in EXPERTS:
        return Lander(_expert(job, airframe), airframe)
    if job.policy in RAPTORS:
        return _raptor(job, airframe)
    if job.policy in PILOTS:
        return PILOTS[job.policy](airframe, job.conditions)
    controller = _controller(job.policy)
    controller.reset()
    return controller


def fly_one(job: Job, index: int, controller: Controller | None = None, bounded: bool | None = None) -> FlightTrace:
    """Flight `index` of the job, in this process. controller: of a hovering policy, in place of `Controller.load`.

    bounded: whether leaving the bounds ends a hovering flight; as the score wants it if not given.
    """
    import_pybullet()
    if job.task != "hover":
        return fly_task_of(job, index, task_of(job))
    from envs.rollout import fly, fly_privileged  # here, so that --help and errors need no simulator

    airframe, flights = _drawn(job)
    row, rng = flights.rows(slice(index, index + 1)), np.random.default_rng([job.seed, index, 1])
    flight = (airframe, row, job.conditions, rng, job.duration_s)
    bounded = job.score == ERRORS_SCORE if bounded is None else bounded
    with _quad(job, airframe) as quad:
        if job.policy in EXPERTS:
            return fly_privileged(_expert(job, airframe), *flight, quad, bounded)
        if job.policy in RAPTORS:
            return fly_privileged(_raptor(job, airframe), *flight, quad, bounded)
        if job.policy in PILOTS:
            return fly(PILOTS[job.policy](airframe, job.conditions), *flight, quad, bounded)
        controller = controller or _controller(job.policy)
        controller.reset()
        return fly(controller, *flight, quad, bounded)


def _quad(job: Job, airframe: Airframe) -> PyBulletQuad:
    if job.sim == OWN_SIM:
        from envs.pybullet_quad import PyBulletQuad

        return PyBulletQuad(airframe)
    from envs.aviary import AviaryQuad

    return AviaryQuad(airframe) if job.score == ERRORS_SCORE else AviaryQuad(airframe, "pyb")


def _raptor(job: Job, airframe: Airframe) -> MotorExpert:
    return Raptor(airframe, at_once=RAPTORS[job.policy])


def _expert(job: Job, airframe: Airframe) -> Expert:
    """The expert, for a score of positions one that holds a position."""
    expert = EXPERTS[job.policy](airframe)
    if job.score == ERRORS_SCORE:
        return expert
    from envs.hover_aviary import TARGET_M

    return Follower(expert, hover(TARGET_M), airframe)


def score_one(job: Job, index: int) -> FlightScore:
    """Score of flight `index`; the trace stays in the process that flew it."""
    return score_of(job, fly_one(job, index))


def score_of(job: Job, trace: FlightTrace) -> FlightScore:
    """Score of one of its flights."""
    return score_hover(trace, job.duration_s) if job.task == "hover" else score_task(trace, job.duration_s)


class FlightPool(WorkerPool):
    """Workers that fly."""

    def score(self, job: Job, on_done: Callable[[], None] = lambda: None) -> list[FlightScore]:
        """Scores of all flights of the job, in order. on_done is called after each flight."""
        return self.each(score_one, job, job.flights, on_done)
