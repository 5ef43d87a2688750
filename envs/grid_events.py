"""The forward flow grid of one drone in PyBullet: what `envs.flow_grid` reads, when its camera takes a picture."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import numpy as np

from envs.conditions import Conditions
from envs.flights import Array
from envs.flow_grid import GridModel, View, ray_flow, view
from envs.physics import Body
from envs.sample_clock import SampleClock
from envs.surroundings import Surroundings
from liquid_pilot.flow_grid import GridLayout
from liquid_pilot.messages import FlowGrid
from liquid_pilot.ops import FLOAT_OPS, NUMPY_OPS, Vec3

# Told of every picture: when, from where, at what mean body rates, and the seconds since the one before.
Witness: TypeAlias = Callable[[float, Body[float], Vec3[float], float], None]


class FlowSource(Protocol):
    """Where the numbers of a grid come from."""

    layout: GridLayout

    def flow(self, body: Body[float], mean_rates_rad_s: Vec3[float], window_s: float) -> Array | None:
        """(rows, rays, 2) in rad/s over the window that ends now, NaN where a ray sees nothing; None = no grid yet."""
        ...


class CastRays:
    """Rays against the true forest. noise_scale: of the flight; all random numbers come from `rng`."""

    def __init__(self, model: GridModel, forest: Surroundings, noise_scale: float, rng: np.random.Generator) -> None:
        self.layout = model.layout
        self._model, self._forest, self._noise_scale, self._rng = model, forest, noise_scale, rng
        axes = np.array(model.layout.axes())  # (R, 3 vectors, 3)
        ray, across, up = ((a[:, 0], a[:, 1], a[:, 2]) for a in (axes[:, k] for k in range(3)))
        self._axes = ray, across, up

    def flow(self, body: Body[float], mean_rates_rad_s: Vec3[float], window_s: float) -> Array:
        """Of the motion at the end of the window, turned as the body did on average."""
        rays, (rows, columns) = self.layout.rays, (len(self.layout.elevation_rad), len(self.layout.azimuth_rad))
        x, y, _ = body.position_m
        seen_from: View[Any] = view(FLOAT_OPS, body, self._forest.near(x, y))
        noise, lost = self._rng.standard_normal((2, rays)), self._rng.random(rays) < self._model.rays_lost
        told = ray_flow(
            NUMPY_OPS,
            self._model,
            self._axes,
            seen_from,
            mean_rates_rad_s,
            (noise[0], noise[1]),
            self._noise_scale,
        )
        flow = np.stack(told, axis=-1)
        flow[lost] = math.nan
        return np.asarray(flow.reshape(rows, columns, 2))


class GridSensor:
    """A camera with a rate, latency and losses of its own, which `rng` draws, and the source of its numbers.

    witness: see `Witness`; it changes nothing.
    """

    def __init__(self, source: FlowSource, conditions: Conditions, rng: np.random.Generator) -> None:
        self._source, self._rng = source, rng
        self.witness: Witness | None = None
        hz = rng.uniform(*conditions.grid_hz)
        self._clock = SampleClock(hz, rng.random(), conditions.sensor_jitter)
        self.latency_s = min(rng.uniform(*conditions.grid_latency_s), 0.9 / hz)
        self.dropout = rng.uniform(*conditions.grid_dropout)
        self._turned: Vec3[float] = (0.0, 0.0, 0.0)  # integral of the body rates over the window

    def sample(self, t_s: float, body: Body[float], h_s: float) -> FlowGrid | None:
        """Take in the substep of h_s that ends at t_s; the grid of the window that ends there, or None."""
        (a, b, c), (p, q, r) = self._turned, body.rates_rad_s
        self._turned = (a + p * h_s, b + q * h_s, c + r * h_s)
        if not self._clock.due(t_s):
            return None
        window_s = t_s - self._clock.start_s
        a, b, c = self._turned
        rates: Vec3[float] = (a / window_s, b / window_s, c / window_s)
        flow = self._source.flow(body, rates, window_s)
        if self.witness is not None:
            self.witness(t_s, body, rates, window_s)
        self._turned = (0.0, 0.0, 0.0)
        self._clock.restart(t_s, self._rng)
        layout = self._source.layout
        return None if flow is None else FlowGrid(t_s, window_s, layout.azimuth_rad, layout.elevation_rad, flow)
