"""What a forward flow grid reads, written once over `ops`: for one drone in PyBullet, and for many in C."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic

from envs.forest import CROSSING_PLOT, NEAR, Plot
from envs.physics import Body
from envs.shapes import Target, obstacles_of, per_metre, target
from liquid_pilot.flow_grid import DEFAULT_GRID, GridLayout, moving_flow, turning_flow
from liquid_pilot.geometry import Matrix3, rotation_matrix, to_body, to_world
from liquid_pilot.ops import Ops, S, Vec2, Vec3


@dataclass(frozen=True, slots=True)
class GridModel:
    """Rays, and how wrong they are: noise of every flow, and in proportion to it; silent beyond reach, cut to a limit.

    Rays lose rays_lost of their readings. Little flow is lost in the noise, so that nothing is seen around where the
    drone flies to: the blind spot of all flow. Without sees_trees rays go through all obstacles: a control.
    """

    layout: GridLayout = DEFAULT_GRID
    noise_rad_s: float = 0.05
    noise_share: float = 0.05
    limit_rad_s: float = 8.0
    reach_m: float = 12.0
    rays_lost: float = 0.02
    sees_trees: bool = True


@dataclass(frozen=True, slots=True)
class Sight:
    """What a drone that avoids has before it: its grid, and the plot that the forest repeats."""

    model: GridModel = GridModel()
    plot: Plot = CROSSING_PLOT


@dataclass(frozen=True, slots=True)
class View(Generic[S]):
    """From where a grid is taken, and what may be seen from there."""

    matrix: Matrix3[S]
    velocity_m_s: Vec3[S]  # body
    height_m: S
    targets: tuple[Target[S], ...]


def view(ops: Ops, body: Body[S], near: Sequence[S]) -> View[S]:
    """near: obstacles, see `envs.forest.Plot.nearest`."""
    matrix = rotation_matrix(body.attitude_wxyz)
    targets = tuple(target(ops, obstacle, body.position_m) for obstacle in obstacles_of(near, NEAR))
    return View(matrix, to_body(matrix, body.velocity_m_s), body.position_m[2], targets)


def ray_flow(
    ops: Ops,
    model: GridModel,
    axes: tuple[Vec3[S], Vec3[S], Vec3[S]],
    seen_from: View[S],
    rates_rad_s: Vec3[S],
    noise: Vec2[S],
    noise_scale: S,
) -> Vec2[S]:
    """Flow (rad/s) of one ray to +azimuth and to +elevation, body rotation included.

    axes: see `liquid_pilot.flow_grid.ray_axes`; noise: standard normal numbers.
    """
    ray, *tangents = axes
    targets = seen_from.targets if model.sees_trees else ()
    per_m = per_metre(ops, to_world(seen_from.matrix, ray), seen_from.height_m, targets, model.reach_m)
    flows = []
    for axis, n in zip(tangents, noise, strict=True):
        true: Any = moving_flow(axis, seen_from.velocity_m_s, per_m) + turning_flow(axis, ray, rates_rad_s)
        wrong = (
            noise_scale * n * ops.sqrt(model.noise_rad_s**2 + (model.noise_share * true) * (model.noise_share * true))
        )
        flows.append(ops.clip(true + wrong, -model.limit_rad_s, model.limit_rad_s))
    return flows[0], flows[1]
