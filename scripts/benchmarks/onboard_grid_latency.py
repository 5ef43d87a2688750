"""From a flow grid that reaches the controller to the command that answers it, for a policy that sees, in this process.

No autopilot tells flow grids, so that there is no link to measure over. The policy crosses forests in PyBullet through
the onboard controller, by numpy and by the C core in turn, flight by flight, the same flights. What is timed is the
controller's own work: from `feed` of a grid to the return of the command of the next IMU event, what is fed between
them included. Not in it: the wait for that event, half an interval of the IMU on average, and the simulation. The
encoder is numpy's in both; the C core is the step.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from liquid_pilot.bundle import Bundle, load_bundle
from liquid_pilot.controller import Controller
from liquid_pilot.errors import SimulationError
from liquid_pilot.messages import Command, FlowGrid, Imu, Message
from liquid_pilot.runtime.realtime import punctual
from liquid_pilot.supervisor import State
from scripts.case import Case
from scripts.console import ERR, OUT
from scripts.crossings import AVOID
from scripts.flying import Job, fly_task_of, import_pybullet, task_of
from scripts.tables import rich_table, short_name

if TYPE_CHECKING:
    from scripts.benchmarks import onboard

IMU_HZ: Final = 400.0
SPEED_M_S: Final = 2.0
MOST_FLIGHTS: Final = 16
_CORES: Final = {"numpy": "numpy", "c": "C"}  # as a controller names them -> as a table does


@dataclass(frozen=True, slots=True)
class GridLatency:
    """Milliseconds, over `count` grids that a command answered, and of the IMU events without a new grid beside them.

    core: what stepped the network. flown_s: of simulated flight, over `flights`.
    """

    core: str
    median_ms: float
    p99_ms: float
    largest_ms: float
    count: int
    imu_median_ms: float
    imu_p99_ms: float
    flown_s: float
    flights: int


class Stopwatch:
    """A controller whose calls are timed. In seconds: grid_s, a grid to the command after it; imu_s, an IMU alone."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.grid_s: list[float] = []
        self.imu_s: list[float] = []
        self.flown_s, self.flights = 0.0, 0
        self._since_grid_s: float | None = None

    @property
    def state(self) -> State:
        """Who flies."""
        return self.controller.state

    def reset(self) -> None:
        """A new flight; the times stay."""
        self.controller.reset()
        self._since_grid_s = None

    def feed(self, message: Message) -> Command | None:
        """As `Controller.feed`."""
        begin_s = time.perf_counter()
        command = self.controller.feed(message)
        spent_s = time.perf_counter() - begin_s
        if isinstance(message, FlowGrid):  # of grids between two steps the last counts
            self._since_grid_s = spent_s
            return command
        if self._since_grid_s is not None:
            self._since_grid_s += spent_s
        if isinstance(message, Imu):
            self._answered(command, spent_s)
        return command

    def _answered(self, command: Command | None, spent_s: float) -> None:
        """What the network commanded counts; the leveller's commands do not."""
        if command is not None and self.state is State.ACTIVE:
            if self._since_grid_s is None:
                self.imu_s.append(spent_s)
            else:
                self.grid_s.append(self._since_grid_s)
        self._since_grid_s = None

    def tick(self, now_s: float) -> Command | None:
        """As `Controller.tick`."""
        return self.controller.tick(now_s)


def stopwatches(bundle: Bundle) -> list[Stopwatch]:
    """One for numpy, and one for C where a compiler is there."""
    controllers = [Controller(bundle, core="numpy"), Controller(bundle, core="auto")]
    return [Stopwatch(one) for one in controllers if one is controllers[0] or one.core != controllers[0].core]


def measure(policy: str, seconds: float = 30.0, seed: int = 0, fifo: bool = False) -> list[GridLatency]:
    """Fly for so many simulated seconds by each core. Raises `SimulationError` where no command answered a grid."""
    import_pybullet()
    watches, job = stopwatches(load_bundle(policy)), _job(policy, seconds, seed)
    task, index = task_of(job), 0
    with punctual(fifo=fifo) as notes:
        for note in notes:
            ERR.print(note)
        while index < MOST_FLIGHTS and min(watch.flown_s for watch in watches) < seconds:
            for watch in watches:
                watch.reset()
                trace = fly_task_of(job, index, task, watch)
                watch.flown_s += float(trace.t_s[-1] - trace.release_s)
                watch.flights += 1
            index += 1
    return [latency(watch, policy) for watch in watches]


def _job(policy: str, seconds: float, seed: int) -> Job:
    case = Case(policy, task=AVOID, speed=f"{SPEED_M_S:g}", imu_hz=f"{IMU_HZ:g}", flights=MOST_FLIGHTS, seed=seed)
    job = case.job()
    return replace(job, duration_s=min(job.duration_s, seconds))


def latency(watch: Stopwatch, policy: str) -> GridLatency:
    """What was timed. Raises `SimulationError` where nothing was."""
    if not watch.grid_s or not watch.imu_s:
        raise SimulationError(f"{policy} did not fly: no command answered a flow grid; see evaluate --task avoid")
    grid_ms, imu_ms = 1e3 * np.array(watch.grid_s), 1e3 * np.array(watch.imu_s)
    return GridLatency(
        core=watch.controller.core,
        median_ms=float(np.median(grid_ms)),
        p99_ms=float(np.quantile(grid_ms, 0.99)),
        largest_ms=float(grid_ms.max()),
        count=grid_ms.size,
        imu_median_ms=float(np.median(imu_ms)),
        imu_p99_ms=float(np.quantile(imu_ms, 0.99)),
        flown_s=watch.flown_s,
        flights=watch.flights,
    )


def rows(found: list[GridLatency]) -> list[list[str]]:
    """A row for each figure, a column for each core."""
    figures = {
        "grid to command, median": [f"{one.median_ms:.3f} ms" for one in found],
        "grid to command, 99 %": [f"{one.p99_ms:.3f} ms" for one in found],
        "grid to command, largest": [f"{one.largest_ms:.2f} ms" for one in found],
        "IMU alone to command, median": [f"{one.imu_median_ms:.3f} ms" for one in found],
        "IMU alone to command, 99 %": [f"{one.imu_p99_ms:.3f} ms" for one in found],
        "grids measured": [f"{one.count:,}" for one in found],
        "flown": [f"{one.flown_s:.0f} s" for one in found],
        "flights": [str(one.flights) for one in found],
    }
    return [[what, *values] for what, values in figures.items()]


def run(plan: onboard.Plan) -> dict[str, Any]:
    """The section "latency" of a policy that sees."""
    found = measure(plan.policy, 5.0 if plan.quick else 30.0, plan.seed, plan.fifo)
    title = (
        f"flow grid to command of {short_name(plan.policy)}, time in the controller, crossing at {SPEED_M_S:g} m/s, "
        f"IMU {IMU_HZ:g} Hz; the wait for the IMU comes on top"
    )
    OUT.print(rich_table(title, ("what", *(_CORES[one.core] for one in found)), rows(found)))
    if len(found) == 1:
        OUT.print("no C core: no C compiler was found, or it computes something else", highlight=False)
    return {"imu_hz": IMU_HZ, "fifo": plan.fifo, "grid": {one.core: asdict(one) for one in found}}
