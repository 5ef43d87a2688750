"""The forward flow grid of the compiled rollout: its equations, sizes, what is remembered of it, and when it looks.

All drones of a call look at the same control steps: a camera's clock is drawn once a call, frame by frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from envs.compiled.equation import Arrays, Equation, Scalars
from envs.compiled.state import BODY, BODY_ROWS, CONSTANTS, Clocks, Reals
from envs.compiled.tracer import flatten, unflatten
from envs.conditions import Conditions
from envs.flow_grid import GridModel, Sight, View, ray_flow, view
from envs.forest import BEHIND_M, COURSE_ROWS, NEAR, NOBODY, Plot
from envs.obstacle_kinds import NO_TREE
from envs.shapes import FAR_M, TARGET_ROWS, TREE_ROWS, target_numbers, targets_of
from liquid_pilot.flow_grid import shown, turning_flow
from liquid_pilot.observation import INITIAL_AGE_S
from liquid_pilot.ops import Ops

POSE_ROWS: Final = 13  # matrix, velocity, height
LOOKS, ARRIVES = 1, 2  # at a control step: a grid is taken at its end, the newest grid is heard at its start
_NOW_S: Final = 1e-9
_TIMES: Final = 3  # behind grid and features: stamps of the grid under way and of the features, whether these are fresh
Steps = npt.NDArray[np.int32]


def sight_rows(sight: Sight, features: int) -> int:
    """Numbers that are remembered of a grid from call to call."""
    return sight.model.layout.numbers + features + _TIMES


def blind(sight: Sight, features: int, batch: int, dtype: Any) -> Reals:
    """What is remembered before the first grid, (sight_rows, batch)."""
    rows: Reals = np.zeros((sight_rows(sight, features), batch), dtype)
    rows[-3:-1] = -INITIAL_AGE_S
    return rows


def heard(rows: Reals, features: int) -> tuple[Reals, Reals, Reals]:
    """Of what is remembered: the features (features, B), when their grid was taken (B,), and 1 where they are fresh."""
    return rows[-_TIMES - features : -_TIMES], rows[-2], rows[-1]


@dataclass(frozen=True, slots=True)
class Camera:
    """Seconds until the next grid is taken, and until the one under way is heard (infinite: there is none)."""

    next_s: float = 0.0
    arrives_s: float = math.inf

    @property
    def arrives(self) -> bool:
        """Whether the one under way is heard now."""
        return self.arrives_s <= _NOW_S


def looks(camera: Camera, dt_s: Clocks, conditions: Conditions, rng: np.random.Generator) -> tuple[Steps, Camera]:
    """What happens at each control step (T,), `LOOKS` or `ARRIVES` or both, and the camera after them.

    dt_s: (T, B) intervals, of whose means the camera's clock is made. A grid is heard before the next one is taken.
    """
    events, low, high = np.zeros(len(dt_s), np.int32), *conditions.grid_hz
    if not conditions.sees:
        return events, camera
    next_s, arrives_s = camera.next_s, camera.arrives_s
    for k, step_s in enumerate(dt_s.mean(axis=1).tolist()):
        if arrives_s <= _NOW_S:
            events[k], arrives_s = ARRIVES, math.inf
        next_s, arrives_s = next_s - step_s, arrives_s - step_s
        if next_s <= _NOW_S and arrives_s == math.inf:
            events[k] |= LOOKS
            jitter = 1.0 + conditions.sensor_jitter * (2.0 * rng.random() - 1.0)
            period_s = jitter / rng.uniform(low, high)
            next_s = max(next_s + period_s, 0.0)
            arrives_s = min(rng.uniform(*conditions.grid_latency_s), 0.9 * period_s)
    return events, Camera(next_s, arrives_s)


def _pose(ops: Ops, a: Arrays) -> dict[str, Scalars]:
    body = unflatten(BODY, a["body"][:BODY_ROWS])
    seen_from: View[Any] = view(ops, body, a["near"])
    return {
        "pose": flatten((seen_from.matrix, seen_from.velocity_m_s, seen_from.height_m)),
        "targets": [number for seen in seen_from.targets for number in target_numbers(seen)],
    }


def _ray(model: GridModel, ops: Ops, a: Arrays) -> dict[str, Scalars]:
    """Both flows of a ray as the network is shown them."""
    t, pose = a["axes"], a["pose"]
    axes = (tuple(t[:3]), tuple(t[3:6]), tuple(t[6:]))
    matrix = (tuple(pose[:3]), tuple(pose[3:6]), tuple(pose[6:9]))
    seen_from: View[Any] = View(matrix, tuple(pose[9:12]), pose[12], tuple(targets_of(a["targets"], NEAR)))
    rates = unflatten(BODY, a["body"][:BODY_ROWS]).rates_rad_s
    scale = a["constants"][CONSTANTS["noise_scale"].start]
    noise = (a["noise"][0], a["noise"][1])
    flow = ray_flow(ops, model, axes, seen_from, rates, noise, scale)
    gyro = tuple(a["gyro"])
    return {
        "shown": [shown(ops, f - turning_flow(axis, axes[0], gyro)) for f, axis in zip(flow, axes[1:], strict=True)]
    }


def _target_rows(plot: Plot) -> int:
    """Numbers of what rays may meet."""
    return NEAR * (TARGET_ROWS if plot.shapes else TREE_ROWS)


def sight_equations(sight: Sight, constants: int, machine: int) -> list[Equation]:
    """What sight.c calls. constants, machine: rows of these arrays."""
    near = {"near": sight.plot.near_rows}
    ray_in = {
        "axes": 9,
        "pose": POSE_ROWS,
        "targets": _target_rows(sight.plot),
        "body": machine,
        "gyro": 3,
        "constants": constants,
    }
    return [
        Equation("grid_pose", {"body": machine, **near}, _pose),
        Equation("grid_ray", {**ray_in, "noise": 2}, lambda ops, a: _ray(sight.model, ops, a)),
    ]


def sight_macros(sight: Sight) -> str:
    """Sizes, places and the table of rays, as C text."""
    layout, plot = sight.model.layout, sight.plot
    sizes = {
        "BODIES": plot.bodies,
        "ROW": plot.row_numbers,
        "NEAR": NEAR,
        "AT_BODIES": COURSE_ROWS,
        "TARGETS": _target_rows(plot),
        "NO_TREE": NO_TREE,
        "RAYS": layout.rays,
        "GRID": layout.numbers,
        "POSE": POSE_ROWS,
        "PLOT_LENGTH_M": plot.length_m,
        "PLOT_WIDTH_M": plot.width_m,
        "BEHIND_M": BEHIND_M,
        "FAR_M": FAR_M,
        "RAYS_LOST": sight.model.rays_lost,
    }
    rows = ",\n".join("{" + ", ".join(repr(float(x)) for x in flatten(axes)) + "}" for axes in layout.axes())
    defines = "".join(f"#define LP_{name} {value}\n" for name, value in sizes.items())
    nobody = ", ".join(map(repr, NOBODY[: plot.row_numbers]))
    defines += f"static const LP_REAL LP_NOBODY[LP_ROW] = {{{nobody}}};\n"
    return f"{defines}static const LP_REAL LP_AXES[LP_RAYS][9] = {{\n{rows}\n}};\n"
