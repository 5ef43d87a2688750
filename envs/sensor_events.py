"""One drone's sensors as hardware gives them: messages that arrive late, now and then, or not at all.

`envs.sensors` says what a part reads, this module when. Flow windows close and ranges are taken at
the end of physics substeps, with true stamps; each sample arrives after its sensor's latency.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING

import numpy as np

from envs.conditions import Conditions
from envs.fault_messages import FailingSensors, Sample
from envs.flights import Flights
from envs.flow_grid import GridModel
from envs.grid_events import CastRays, FlowSource, GridSensor, Witness
from envs.physics import Body
from envs.position_events import AttitudeSensor, PositionSensor
from envs.sample_clock import EPS_S, SampleClock
from envs.sensors import (
    flow_quality,
    range_returns,
    read_flow,
    read_imu,
    read_range,
    slant_distance,
    specific_force,
    true_flow,
)
from envs.surroundings import Surroundings
from liquid_pilot.errors import SimulationError
from liquid_pilot.geometry import Matrix3, to_body
from liquid_pilot.messages import Flow, Imu, Range
from liquid_pilot.ops import FLOAT_OPS, Vec3

if TYPE_CHECKING:
    from envs.eye import Eye


class SensorSuite:
    """IMU, downward flow and range of one drone in one flight; where there is a forest, a grid that sees it.

    Uses the first row of `flights`. All random numbers come from `rng`. `arrivals_s` collects the
    delivery times by sensor ("imu", "flow", "range" and, where there is one, "position", "attitude", "flowgrid").
    """

    def __init__(self, flights: Flights, conditions: Conditions, rng: np.random.Generator) -> None:
        self._rng, self._conditions = rng, conditions
        self._models = conditions.sensors
        self._failing = FailingSensors(conditions.faults)
        self._noise_scale = float(flights.noise_scale[0])
        self._texture = float(flights.texture[0])
        self._flow_scale = float(flights.flow_scale[0])
        self._latency_s = {"flow": float(flights.flow_latency_s[0]), "range": float(flights.range_latency_s[0])}
        self._dropout = {"flow": float(flights.flow_dropout[0]), "range": float(flights.range_dropout[0])}
        self._outage_s = {
            "flow": (float(flights.flow_outage_s[0, 0]), float(flights.flow_outage_s[0, 1])),
            "range": (float(flights.range_outage_s[0, 0]), float(flights.range_outage_s[0, 1])),
        }
        jitter = conditions.sensor_jitter
        self._flow_clock = SampleClock(float(flights.flow_hz[0]), float(flights.flow_phase[0]), jitter)
        self._range_clock = SampleClock(float(flights.range_hz[0]), float(flights.range_phase[0]), jitter)
        self._flow_x = self._flow_y = 0.0  # rad since the window began
        self._sent = 0
        self._under_way: list[tuple[float, int, Sample]] = []  # heap by delivery time, then order of sending
        self.arrivals_s: dict[str, list[float]] = {"imu": [], "flow": [], "range": []}
        self._position: PositionSensor | None = None
        self._attitude: AttitudeSensor | None = None
        self._grid: GridSensor | None = None
        latency_s = float(flights.position_latency_s[0])
        if conditions.locates:
            self._position = PositionSensor(flights, conditions, rng)
            self._has("position", latency_s, float(flights.position_dropout[0]))
        if conditions.locates or conditions.sees:
            self._attitude = AttitudeSensor(flights, conditions, rng)
            self._has("attitude", latency_s)

    def _has(self, name: str, latency_s: float, dropout: float = 0.0) -> None:
        """A sensor that not every drone has."""
        self._latency_s[name], self._dropout[name] = latency_s, dropout
        self._outage_s[name], self.arrivals_s[name] = (math.inf, math.inf), []

    def see(self, model: GridModel, forest: Surroundings, eye: Eye | None = None) -> None:
        """From now on there is a forest, and a grid that sees it: true rays, or the pictures of an eye.

        Call it before the first substep.
        """
        source: FlowSource = CastRays(model, forest, self._noise_scale, self._rng)
        if eye is not None:
            from envs.camera_flow import CameraFlow  # needs OpenCV

            source = CameraFlow(model, eye, self._noise_scale, self._rng)
        self._grid = GridSensor(source, self._conditions, self._rng)
        self._has("flowgrid", self._grid.latency_s, self._grid.dropout)

    def watch_grid(self, witness: Witness) -> None:
        """Tell a witness of every picture of the grid's camera. Raises `SimulationError` where there is no grid."""
        if self._grid is None:
            raise SimulationError("there is no flow grid to watch; plant a forest, under conditions with a grid_hz")
        self._grid.witness = witness

    def locate(self, t_s: float, since_release_s: float, body: Body[float], h_s: float) -> None:
        """Take in where the drone is at the end of a substep of h_s; for sensors that not every drone has."""
        if self._position is not None:
            message = self._position.sample(t_s, body.position_m, body.velocity_m_s)
            if message is not None:
                self._send("position", message, since_release_s)
        if self._attitude is not None:
            told = self._attitude.sample(t_s, body.attitude_wxyz)
            if told is not None:
                self._send("attitude", told, since_release_s)
        if self._grid is not None:
            seen = self._grid.sample(t_s, body, h_s)
            if seen is not None:
                self._send("flowgrid", seen, since_release_s)

    def sense(
        self,
        t_s: float,
        since_release_s: float,
        height_m: float,
        matrix: Matrix3[float],
        velocity_m_s: Vec3[float],
        rates_rad_s: Vec3[float],
        h_s: float,
    ) -> None:
        """Take in the substep of h_s that ends at t_s. Velocity in the world, rates in the body.

        since_release_s is negative infinity in the hand: outages and faults count from the release.
        """
        distance = slant_distance(FLOAT_OPS, height_m, matrix)
        x, y = true_flow(to_body(matrix, velocity_m_s), rates_rad_s, distance)
        self._flow_x += x * h_s
        self._flow_y += y * h_s
        if self._flow_clock.due(t_s):
            self._close_flow(t_s, since_release_s, distance)
        if self._range_clock.due(t_s):
            returns = range_returns(FLOAT_OPS, self._models.range, distance) > 0.5
            noise = self._rng.standard_normal() * self._noise_scale
            measured = read_range(self._models.range, distance, noise) if returns else math.nan
            self._range_clock.restart(t_s, self._rng)
            self._send("range", Range(t_s, measured), since_release_s)

    def due(self, t_s: float) -> list[Sample]:
        """Messages that have arrived by t_s and were not handed out before, in order of arrival."""
        arrived: list[Sample] = []
        while self._under_way and self._under_way[0][0] <= t_s + EPS_S:
            arrival_s, _, message = heapq.heappop(self._under_way)
            self.arrivals_s[type(message).__name__.lower()].append(arrival_s)
            arrived.append(message)
        return arrived

    def read_imu(
        self,
        t_s: float,
        since_release_s: float,
        matrix: Matrix3[float],
        rates_rad_s: Vec3[float],
        acceleration_m_s2: Vec3[float],
        biases: tuple[Vec3[float], Vec3[float]],
    ) -> Imu | None:
        """The IMU sample at t_s, or None while it is off. Acceleration in the world; biases: gyro, accelerometer."""
        n = [z * self._noise_scale for z in self._rng.standard_normal(6).tolist()]
        gyro, accel = read_imu(
            FLOAT_OPS,
            self._models.imu,
            rates_rad_s,
            specific_force(matrix, acceleration_m_s2),
            biases[0],
            biases[1],
            ((n[0], n[1], n[2]), (n[3], n[4], n[5])),
        )
        message = self._failing.imu(Imu(t_s, gyro, accel), since_release_s)
        if message is not None:
            self.arrivals_s["imu"].append(t_s)
        return message

    def _close_flow(self, t_s: float, since_release_s: float, distance_m: float) -> None:
        window_s = t_s - self._flow_clock.start_s
        mean = (self._flow_x / window_s, self._flow_y / window_s)
        quality = flow_quality(FLOAT_OPS, self._models.flow, self._texture, distance_m, mean)
        noise = self._rng.standard_normal() * self._noise_scale, self._rng.standard_normal() * self._noise_scale
        x, y = read_flow(FLOAT_OPS, self._models.flow, mean, quality, self._flow_scale, noise)
        self._flow_x = self._flow_y = 0.0
        self._flow_clock.restart(t_s, self._rng)
        self._send("flow", Flow(t_s, window_s, (x * window_s, y * window_s), quality), since_release_s)

    def _send(self, name: str, message: Sample, since_release_s: float) -> None:
        unit = self._rng.random()  # drawn always, so that faults change nothing else
        start, end = self._outage_s[name]
        if unit < self._dropout[name] or start <= since_release_s < end:
            return
        sent = self._failing.sample(name, message, since_release_s, unit)
        if sent is None:
            return
        self._sent += 1
        heapq.heappush(self._under_way, (message.t_s + self._latency_s[name], self._sent, sent))
