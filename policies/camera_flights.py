"""Crossings on a camera's grids, with what true rays say at the same moments: what an encoder is tuned on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from envs.airframe import Airframe
from envs.avoid_task import avoid_task
from envs.conditions import Conditions, Span
from envs.flights import draw_flights
from envs.flow_grid import GridModel, Sight
from envs.grid_events import CastRays
from envs.physics import Body
from envs.task import Task
from envs.vision import import_cv2
from liquid_pilot import Controller
from liquid_pilot.bundle import Bundle
from liquid_pilot.errors import ConfigError, MissingExtraError
from liquid_pilot.flow_grid import GridLayout, GridReader
from liquid_pilot.fusion import SensorMemory
from liquid_pilot.logs.rows import KIND_OF
from liquid_pilot.messages import Attitude, Command, FlowGrid, Imu, Message, PositionSetpoint
from liquid_pilot.ops import Vec3
from policies.curriculum import SLOWEST_COURSE_M_S

if TYPE_CHECKING:  # it loads PyBullet
    from envs.launch import HandLaunch

F32 = npt.NDArray[np.float32]

DRAWS: Final = 4  # of noise: that of one alone moves features nearly as far as the camera does
REFUSED: Final = f"rejected_{KIND_OF[FlowGrid]}"


@dataclass(frozen=True, slots=True)
class Crossings:
    """What recorded crossings are like: speeds and densities to draw from, seconds after the release at most."""

    speed_m_s: Span = (1.0, 5.0)
    density_per_m2: Span = (1.0 / 12.0, 1.0 / 8.0)
    flight_s: float = 6.0

    def __post_init__(self) -> None:
        if not SLOWEST_COURSE_M_S <= self.speed_m_s[0] <= self.speed_m_s[1]:
            raise ConfigError(f"speed_m_s is {self.speed_m_s}; give (lowest, highest) from {SLOWEST_COURSE_M_S:g} on")
        if not 0.0 < self.flight_s < math.inf:
            raise ConfigError(f"flight_s is {self.flight_s:g}; give seconds above 0")


@dataclass(frozen=True, slots=True)
class SeenGrids:
    """Grids of whole flights, one flight after the other, as the network is shown them, see `GridReader`.

    camera: what pictures say, (n, numbers). true: what rays with the usual noise say at the same moment, as often as
    `DRAWS`, (n, DRAWS, numbers). speed_m_s: (n,), that was commanded. length: (flights,), grids of each flight.
    """

    camera: F32
    true: F32
    speed_m_s: F32
    length: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.speed_m_s)

    @property
    def flights(self) -> int:
        """How many there are."""
        return len(self.length)


def joined(parts: Sequence[SeenGrids]) -> SeenGrids:
    """All flights, in order; at least one part."""
    return SeenGrids(
        np.concatenate([part.camera for part in parts]),
        np.concatenate([part.true for part in parts]),
        np.concatenate([part.speed_m_s for part in parts]),
        np.concatenate([part.length for part in parts]),
    )


class GridRecorder:
    """A pilot: flies as its controller does, and keeps every grid that its network is shown, beside the true one.

    Call `watch` once the drone stands in its forest. rng: of the noise of true rays alone, so that recording changes
    no flight.
    """

    def __init__(self, controller: Controller, rng: np.random.Generator) -> None:
        encoder = controller.bundle.spec.encoder
        assert encoder is not None  # `check_sees`
        self._controller, self._reader, self._rng = controller, GridReader(encoder.grid), rng
        self._fastest_m_s = float(controller.bundle.metadata["setpoint_limits"]["speed_m_s"])
        self._memory = SensorMemory()  # its gyro takes the rotation away, as the controller's own does
        self._true: dict[float, list[npt.NDArray[np.float64]]] = {}  # by the stamp of a grid
        self._rays: CastRays | None = None
        self._heading = False
        self._speed_m_s = 0.0
        self._pending: FlowGrid | None = None
        self._rows: list[tuple[F32, F32, float]] = []

    def watch(self, launch: HandLaunch, model: GridModel, noise_scale: float) -> None:
        """Cast true rays whenever the launch's camera takes a picture. noise_scale: of the flight."""
        assert launch.forest is not None  # as on every crossing
        self._rays = CastRays(model, copy(launch.forest), noise_scale, self._rng)  # a copy: it remembers where it was
        launch.sensors.watch_grid(self._look)

    def _look(self, t_s: float, body: Body[float], mean_rates_rad_s: Vec3[float], window_s: float) -> None:
        assert self._rays is not None
        self._true[t_s] = [self._rays.flow(body, mean_rates_rad_s, window_s) for _ in range(DRAWS)]

    def feed(self, message: Message, /) -> Command | None:
        """As of the controller."""
        controller = self._controller
        if isinstance(message, FlowGrid):
            refused = controller.counters.get(REFUSED, 0)
            command = controller.feed(message)
            if controller.counters.get(REFUSED, 0) == refused:
                self._pending = message
            return command
        if isinstance(message, PositionSetpoint):
            self._speed_m_s = min(math.hypot(*message.velocity_m_s[:2]), self._fastest_m_s)
        elif isinstance(message, Attitude):
            self._heading = True
        elif isinstance(message, Imu) and self._memory.accept(message) is None:
            self._keep()
        return controller.feed(message)

    def tick(self, now_s: float, /) -> Command | None:
        """As of the controller."""
        return self._controller.tick(now_s)

    def _keep(self) -> None:
        """The newest grid, at the IMU sample at which the network sees it; before a heading the course is held."""
        grid, self._pending = self._pending, None
        if grid is None or not self._heading:
            return
        rates = self._memory.mean_gyro(grid.t_s - grid.dt_s, grid.t_s)
        shown = self._reader.read(grid.flow_rad_s, rates)
        true = np.stack([self._reader.read(flow, rates) for flow in self._true[grid.t_s]])
        self._true = {t_s: flow for t_s, flow in self._true.items() if t_s > grid.t_s}  # what came before is lost
        self._rows.append((shown, true, self._speed_m_s))

    def grids(self) -> SeenGrids:
        """Everything that was kept, as one flight."""
        numbers = self._reader.layout.numbers
        camera = np.array([row[0] for row in self._rows], np.float32).reshape(-1, numbers)
        true = np.array([row[1] for row in self._rows], np.float32).reshape(-1, DRAWS, numbers)
        speed = np.array([row[2] for row in self._rows], np.float32)
        return SeenGrids(camera, true, speed, np.array([len(speed)], np.int64))


def check_sees(bundle: Bundle) -> None:
    """Raise `ConfigError` for a policy without an encoder of flow grids."""
    if bundle.spec.encoder is None:
        raise ConfigError(
            f"policy {bundle.name!r} sees no flow grid, it has no encoder to tune; give one that flies the task avoid"
        )


def camera_task(speed_m_s: float, density_per_m2: float, layout: GridLayout) -> tuple[Task, GridModel]:
    """A crossing on a camera's grids of these rays, and what true rays of them are like."""
    task, model = avoid_task(speed_m_s, density_per_m2, camera=True), GridModel(layout=layout)
    assert task.sees is not None
    return replace(task, sees=Sight(model, task.sees.plot)), model


def record_crossing(bundle: Bundle, airframe: Airframe, crossings: Crossings, rng: np.random.Generator) -> SeenGrids:
    """Fly a policy once on a camera's grids, and keep what it saw beside the truth. One number is taken from rng.

    Raises `ConfigError` for a policy that does not see, `MissingExtraError` without PyBullet or OpenCV.
    """
    check_sees(bundle)
    import_cv2()
    try:
        from envs.rollout import fly_task
    except ImportError as error:
        raise MissingExtraError("PyBullet is not installed; pip install 'liquid-pilot[sim]'") from error
    encoder, seed = bundle.spec.encoder, int(rng.integers(2**31))
    assert encoder is not None
    drawn, rays = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    task, model = camera_task(
        drawn.uniform(*crossings.speed_m_s), drawn.uniform(*crossings.density_per_m2), encoder.grid
    )
    conditions: Conditions = task.conditions
    flights = draw_flights(airframe, conditions, 1, drawn, crossings.flight_s)
    recorder = GridRecorder(Controller(bundle), rays)

    def watch(launch: HandLaunch) -> None:
        recorder.watch(launch, model, float(flights.noise_scale[0]))

    fly_task(recorder, task, airframe, flights, conditions, drawn, crossings.flight_s, on_launch=watch)
    return recorder.grids()
