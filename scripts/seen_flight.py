"""One flight of a policy that sees, with the flow grids that its network was shown on the way."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from envs.trace import Array, FlightTrace
from liquid_pilot.controller import Controller
from liquid_pilot.errors import ConfigError
from liquid_pilot.flow_grid import GridLayout
from liquid_pilot.messages import Imu
from scripts.flying import CONVENTIONAL, Job, fly_task_of, task_of

if TYPE_CHECKING:
    from liquid_pilot.messages import Command, Message
    from scripts.case import Case


@dataclass(frozen=True, slots=True)
class SeenFlight:
    """n grids and silences, in their order; each is shown from its time to the next one's.

    t_s: (n,) IMU stamps, on the trace's clock. shown: (n, 2, rows, rays), flow to +azimuth and to +elevation as the
    network was shown it (-2 to 2, rotation taken away, silent rays 0); all NaN where it was shown none.
    """

    trace: FlightTrace
    layout: GridLayout
    t_s: Array
    shown: Array


class WatchedController:
    """A controller, as `envs.pilots.Pilot` wants one, that keeps the grids that its network is shown."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller
        self._newest: object = None
        self.shown: list[tuple[float, Any]] = []  # (IMU stamp, grid or None) at every change

    def __getattr__(self, name: str) -> Any:
        """Neurons, state and all that a trace looks at are the controller's."""
        return getattr(self._controller, name)

    def feed(self, message: Message, /) -> Command | None:
        """Of the controller; looks at what its network was shown."""
        command = self._controller.feed(message)
        grid = self._controller.shown_grid
        if isinstance(message, Imu) and grid is not self._newest:
            self._newest = grid
            self.shown.append((message.t_s, grid))
        return command

    def tick(self, now_s: float, /) -> Command | None:
        """Of the controller."""
        return self._controller.tick(now_s)


def check_seen(case: Case) -> None:
    """Raise `ConfigError` where no network is shown grids in PyBullet."""
    if case.task != "avoid" or case.engine != "pybullet" or case.policy in CONVENTIONAL:
        raise ConfigError(
            "--sight draws what a policy sees in --task avoid in PyBullet; give avoid, or one of your own"
        )


def fly_seen(job: Job, index: int) -> SeenFlight:
    """Flight `index` of a job of the task avoid: the one that every evaluation flies. Raises `ConfigError`."""
    controller = Controller.load(job.policy)
    encoder = controller.bundle.spec.encoder
    if encoder is None:
        raise ConfigError(f"{job.policy} has no flow grid; give a policy that sees, such as avoid")
    watched, layout = WatchedController(controller), encoder.grid
    trace = fly_task_of(job, index, task_of(job), watched)
    shape = 2, len(layout.elevation_rad), len(layout.azimuth_rad)
    nothing = np.full(shape, math.nan)
    grids = [nothing if grid is None else np.asarray(grid, np.float64).reshape(shape) for _, grid in watched.shown]
    times = np.array([t_s for t_s, _ in watched.shown])
    return SeenFlight(trace, layout, times, np.array(grids).reshape(-1, *shape))
