"""Laws of watched branches: a signature tells which way a drone went, and nothing else; who counts, counts alone."""

from __future__ import annotations

from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from envs.compiled.engine import CompiledRollout
from envs.compiled.job import Draw, Lanes, RolloutResult
from envs.compiled.state import RolloutState
from liquid_pilot import native
from liquid_pilot.errors import ConfigError
from tests.compiled.test_rollout import AIRFRAME, OBJECTIVE, Case, Real, fly, make_case, rollout

pytestmark = pytest.mark.skipif(not native.available(), reason="needs a C compiler")

LANES = 21
FLOOR_M = AIRFRAME.rest_height_m  # of a drone that stands on it


def watching(real: Real = np.float64, lane_bytes: int | None = None) -> CompiledRollout:
    return rollout("decay", real, lane_bytes, watch_branches=True)  # type: ignore[arg-type]  # a type can be hashed


def flight(steps: int) -> Case:
    """Of LANES drones with one interval for all, so that a drone alone takes the same substeps."""
    case = make_case("decay", steps, LANES)
    dt_s = np.broadcast_to(case.draw.dt_s[:, :1], case.draw.dt_s.shape)
    return replace(case, draw=replace(case.draw, dt_s=dt_s))


def fly_rows(case: Case, engine: CompiledRollout, rows: Any, height_m: Any = None) -> RolloutResult:
    """Some of the drones (or one of them many times) without the others, from other heights if given."""
    start = case.lanes()
    world = RolloutState(*(np.ascontiguousarray(part[:, rows]) for part in astuple(start.world)))
    if height_m is not None:
        world.value("body")[2] = height_m
    assert case.draw.noise is not None
    draw = Draw(case.draw.dt_s[:, rows], (case.draw.noise[0][..., rows], case.draw.noise[1][..., rows]))
    lanes = Lanes(world, start.h[:, rows], start.action[:, rows])
    return engine.run(lanes, case.weights(), draw, case.conditions, OBJECTIVE)


def test_watching_does_not_change_the_flight() -> None:
    case = flight(30)
    plain, watched = fly(case, rollout("decay")), fly(case, watching())
    assert plain.branches is None and watched.branches is not None and watched.branches.shape == (LANES,)
    assert plain.gradient is not None and watched.gradient is not None
    assert_allclose(watched.gradient, plain.gradient, rtol=1e-9, atol=1e-12 * np.abs(plain.gradient).max())
    assert_allclose(watched.lanes.world.values, plain.lanes.world.values, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("lane_bytes", [16, 32, 64])
def test_a_signature_is_the_drone_s_own(lane_bytes: int) -> None:
    """It depends neither on the drones in the same group nor on how many those are, and drones that differ differ."""
    case = flight(40)
    together = fly(case, watching()).branches
    assert together is not None and len(set(together.tolist())) == LANES
    assert_array_equal(fly(case, watching(np.float64, lane_bytes)).branches, together)
    rows = [18, 3, 3, 11]
    assert_array_equal(fly_rows(case, watching(np.float64, lane_bytes), rows).branches, together[rows])


def test_float_and_double_sign_alike_where_no_branch_differs() -> None:
    case = make_case("decay", 40, LANES, np.float32)
    narrow, wide = fly(case, watching(np.float32)), fly(case, watching(np.float64))
    assert_array_equal(narrow.branches, wide.branches)
    assert narrow.cost != wide.cost  # though they round differently


def test_a_flipped_branch_is_seen() -> None:
    """A drone a hair above the floor, which float32 cannot tell from standing on it: its clamps flip."""
    edge = [FLOOR_M + 1e-3, FLOOR_M + 2e-10, FLOOR_M - 1e-3]
    assert np.float32(edge[1]) == np.float32(FLOOR_M)
    case, copies = flight(1), [0, 0, 0]
    wide = fly_rows(case, watching(np.float64), copies, edge).branches
    narrow = fly_rows(case, watching(np.float32), copies, edge).branches
    assert wide is not None and narrow is not None
    assert_array_equal(wide == narrow, [True, False, True])
    assert wide[0] == wide[1] != wide[2]


def test_the_gradient_of_the_counted_drones_is_that_of_those_drones_alone() -> None:
    case = flight(30)
    rows = np.array([0, 4, 5, 13, 20])
    counted = np.isin(np.arange(LANES), rows)
    found = rollout("decay").run(case.lanes(), case.weights(), case.draw, case.conditions, OBJECTIVE, counted=counted)
    alone = fly_rows(case, rollout("decay"), rows)
    assert found.gradient is not None and alone.gradient is not None
    assert found.loss == pytest.approx(alone.loss, rel=1e-13)
    assert np.linalg.norm(found.gradient - alone.gradient) <= 1e-12 * np.linalg.norm(alone.gradient)
    whole = fly(case, rollout("decay"))
    assert_array_equal(found.lanes.world.values, whole.lanes.world.values)  # the others fly all the same
    assert whole.loss != pytest.approx(found.loss, rel=1e-3)


def test_counting_asks_for_one_flag_a_drone() -> None:
    case = flight(1)
    with pytest.raises(ConfigError, match=r"counted has shape \(3,\)"):
        rollout("decay").run(
            case.lanes(), case.weights(), case.draw, case.conditions, OBJECTIVE, counted=np.ones(3, np.bool_)
        )
