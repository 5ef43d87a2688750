"""Anticipation: what a linear map reads from a network's neurons of how it will fly and how near a trunk will be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from envs.avoid import avoid_course, facing_course, sighted
from envs.compiled.engine import CompiledRollout
from envs.compiled.sight import Camera
from envs.compiled.state import CONSTANTS, intervals
from envs.conditions import Conditions
from envs.flights import draw_flights
from envs.forest import COURSE_ROWS, NEAR
from envs.ledger import new_ledger
from envs.shapes import clearance_m, obstacles_of
from liquid_pilot.bundle import Bundle
from liquid_pilot.ops import NUMPY_OPS
from policies.compiled_trainer import draw_steps, new_lanes
from policies.drills import AVOID_DENSITY_PER_M2, SIGHT
from policies.fragments import flatten_weights

AHEAD_S: Final = (0.1, 0.2, 0.3)
SPEEDS_M_S: Final = (1.0, 4.0)  # of the courses, drawn between
EVERY_S: Final = 0.05  # between two looks at the neurons
SECONDS: Final = 8.0
SETTLED_S: Final = 2.0  # after which flights are looked at
_NEAR_M: Final = 3.0  # clearances are cut to this: what is farther matters to nobody
_RIDGE: Final = 1e-3
NAMES: Final = ("velocity_x_m_s", "velocity_y_m_s", "clearance_m")
Floats = npt.NDArray[np.float64]


def anticipation(rollout: CompiledRollout, bundle: Bundle, flights: int, seed: int) -> dict[str, Any]:
    """Root mean square errors of what is read ahead, on flights that the reading was not fitted to.

    Flights from both halves of the draw: the first to fit, the others to judge. Beside it: held, which reads from the
    same neurons how it is now and says that it stays so; persistence, which says that all stays as it truly is now; and
    the mean. Keys of "ahead": {seconds: {name: {neurons, held, persistence, mean}}}. What touches a trunk is looked at
    until then.
    """
    neurons, truth, flown = _record(rollout, bundle, flights, seed)
    half, found = flights // 2, {}
    for ahead_s in AHEAD_S:
        shift = round(ahead_s / EVERY_S)
        seen, now, then = neurons[:-shift], truth[:-shift], truth[shift:]
        good = flown[:-shift] & flown[shift:]
        fit, judge = good.copy(), good.copy()
        fit[:, half:], judge[:, :half] = False, False
        read = _read(seen[fit], then[fit], seen[judge])
        held = _read(seen[fit], now[fit], seen[judge])
        errors = {"neurons": read, "held": held, "persistence": now[judge], "mean": then[fit].mean(axis=0)[None]}
        rms = {who: np.sqrt(np.mean((guess - then[judge]) ** 2, axis=0)) for who, guess in errors.items()}
        found[f"{ahead_s:g}"] = {
            name: {who: float(values[k]) for who, values in rms.items()} for k, name in enumerate(NAMES)
        }
    return {"ahead": found}


def _read(seen: Floats, then: Floats, judged: Floats) -> Floats:
    """Ridge regression of `then` on `seen`, for the rows `judged`."""
    mean, scale = seen.mean(axis=0), seen.std(axis=0) + 1e-6
    x = np.concatenate([(seen - mean) / scale, np.ones((len(seen), 1))], axis=1)
    weights = np.linalg.solve(x.T @ x + _RIDGE * len(x) * np.eye(x.shape[1]), x.T @ then)
    return np.concatenate([(judged - mean) / scale, np.ones((len(judged), 1))], axis=1) @ weights


def _record(rollout: CompiledRollout, bundle: Bundle, flights: int, seed: int) -> tuple[Floats, Floats, Any]:
    """Neurons (T, n, units), truth (T, n, 3) as `NAMES`, and where a flight counts (T, n)."""
    rng = np.random.default_rng([seed, 3])
    conditions = replace(sighted(Conditions()), imu_jitter=0.0, hold_s=0.1)
    airframe = rollout.model.airframe
    drawn = facing_course(draw_flights(airframe, conditions, flights, rng, SECONDS), airframe)
    course = avoid_course(SIGHT.plot, rng.uniform(*SPEEDS_M_S, flights), AVOID_DENSITY_PER_M2, drawn, rng)
    lanes, camera = new_lanes(rollout, drawn, rng, course), Camera()
    weights, ledger = flatten_weights(bundle.spec, bundle.weights), new_ledger(flights)
    steps, units = round(EVERY_S * conditions.imu_hz[0]), bundle.spec.units
    neurons, truth, counts, untouched = [], [], [], np.ones(flights, np.bool_)
    for k in range(round(SECONDS / EVERY_S)):
        dt_s = intervals(conditions, lanes.world.constants[CONSTANTS["imu_hz"]][0], steps, rng)
        draw, camera = draw_steps(rollout, dt_s, camera, conditions, rng)
        lanes = rollout.score(lanes, weights, draw, conditions, ledger, SECONDS)
        body = lanes.world.value("body").astype(np.float64)
        near = SIGHT.plot.nearest(course[COURSE_ROWS:], body[0], body[1])
        free = clearance_m(NUMPY_OPS, obstacles_of(list(near), NEAR), (body[0], body[1], body[2]))
        untouched &= (free > 0.0) & (body[2] > 0.1)
        neurons.append(lanes.h[:units].T.astype(np.float64))
        truth.append(np.stack([body[3], body[4], np.minimum(free, _NEAR_M)], axis=1))
        counts.append(untouched & (k * EVERY_S > SETTLED_S))
    return np.array(neurons), np.array(truth), np.array(counts)
