"""Laws of recorded crossings: what a fleet shows is what the engine's own network sees, labels are the planner's."""

from __future__ import annotations

from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from envs.batched_forest import ForestFleet
from envs.compiled.job import Draw, Objective
from envs.compiled.sight import Camera, looks
from envs.compiled.state import CONSTANTS, intervals
from envs.forest import COURSE_ROWS
from envs.physics import Body
from envs.surroundings import Surroundings
from liquid_pilot import native
from liquid_pilot.command import DEFAULT_LIMITS, to_action
from liquid_pilot.errors import TrainingError
from liquid_pilot.messages import PositionSetpoint
from liquid_pilot.observation import OBS_DIM
from policies.avoid_cost import AvoidWeights
from policies.compiled_trainer import flight_rollout, new_lanes
from policies.experts.planner import Planner
from policies.fragments import flatten_weights
from policies.imitation.crossings import (
    NOTHING,
    Crossings,
    PlannerTeacher,
    Student,
    commands,
    joined_crossings,
    record_crossings,
)
from policies.imitation.flying import Mixture
from tests.policies.crossing_cases import AIRFRAME, CONDITIONS, DRILL, SUBSTEP_S, fleet_of, flights_of, student_of

pytestmark = pytest.mark.skipif(not native.available(), reason="needs a C compiler")


def recorded(drones: int, mixture: Mixture, flight_s: float = 0.6, **conditions: Any) -> Crossings:
    fleet = fleet_of(drones, replace(CONDITIONS, **conditions))
    return record_crossings(fleet, PlannerTeacher(), flight_s, mixture, np.random.default_rng(1))


def test_a_student_in_torch_flies_as_the_compiled_engine_flies_its_network() -> None:
    """Of rays without noise, which are drawn in another order."""
    network, drones, rng, sees = student_of(), 3, np.random.default_rng(5), DRILL.sees
    assert sees is not None
    quiet, conditions = replace(sees.model, rays_lost=0.0), replace(CONDITIONS, noise_scale=(0.0, 0.0))
    aim = replace(DRILL.aim(2.0), sees=replace(sees, model=quiet))
    flights, course = flights_of(drones, conditions)
    fleet = ForestFleet(AIRFRAME, aim, flights, course, conditions, np.random.default_rng(5), SUBSTEP_S)
    student = Student(network, fleet)
    rollout = flight_rollout(AIRFRAME, network.spec, substep_s=SUBSTEP_S, aim=aim)
    weights, camera = flatten_weights(network.spec, network.weights()), Camera()
    lanes, grids = new_lanes(rollout, flights, rng, course), 0
    for _ in range(50):
        shown = fleet.shown
        inputs = np.concatenate([shown.grid, (fleet.course[:1].T / 2.0).astype(np.float32)], axis=1)
        fleet.step(commands(student.act(shown, inputs)))
        dt_s = intervals(conditions, lanes.world.constants[CONSTANTS["imu_hz"]][0], 1, rng)
        events, camera = looks(camera, dt_s, conditions, rng)
        draw = Draw(dt_s, seed=int(rng.integers(2**63)), looks=events)
        lanes = rollout.run(lanes, weights, draw, conditions, Objective(astuple(AvoidWeights())), gradients=False).lanes
        if camera.arrives:
            rng.random(drones)  # of grids that are lost
            grids += 1
        assert_allclose(student.h.numpy(), lanes.h.T, atol=2e-4)
    assert grids > 15
    assert_allclose(fleet.bodies(), lanes.world.value("body"), atol=2e-4)
    assert lanes.sight is not None
    assert_allclose(student.features.numpy(), lanes.sight[-27:-3].T, atol=1e-4)
    assert np.abs(student.features.numpy()).max() > 0.05


def test_labels_are_the_planners_whoever_flies() -> None:
    pilot = student_of()
    alone, mixed = recorded(3, Mixture()), recorded(3, Mixture(pilot, share=1.0))
    assert_array_equal(alone.flights.action, mixed.flights.action)
    assert_array_equal(alone.flights.observation, mixed.flights.observation)
    # the planner alone, told by hand
    fleet, rows, sees = fleet_of(3), [], DRILL.sees
    assert sees is not None
    planners = [Planner() for _ in range(3)]
    forests = [Surroundings(sees.plot, row) for row in fleet.course[COURSE_ROWS:].T]
    told = [PositionSetpoint(0.0, (np.nan, np.nan, z), (v, 0.0, 0.0), np.nan) for v, z in fleet.course[:2].T.tolist()]
    for _ in range(int(alone.flights.length[0])):
        action = np.zeros((3, 4), np.float32)
        for i in np.flatnonzero(fleet.shown.released):
            x, y, z, vx, vy, vz, qw, qx, qy, qz, p, q, r = fleet.bodies()[:, i].tolist()
            body: Body[float] = Body((x, y, z), (vx, vy, vz), (qw, qx, qy, qz), (p, q, r))
            command = planners[i].cross(float(fleet.t_s[i]), body, told[i], forests[i])
            found = np.array(to_action(DEFAULT_LIMITS, command.thrust_m_s2, command.rates_rad_s))
            action[i] = np.clip(found, -1.0, 1.0)
        rows.append(action[0])
        fleet.step(commands(action))
    assert_array_equal(alone.flights.action[: len(rows)], np.stack(rows))
    # who flies changes what is seen, and in the hand nothing
    for other in (Mixture(pilot, share=0.0), Mixture(noise=0.3)):
        seen = recorded(3, other).flights
        first = slice(0, int(np.argmin(seen.held)) + 1)
        assert_array_equal(seen.action[first], alone.flights.action[first])
        assert not np.array_equal(seen.observation[: len(rows)], alone.flights.observation[: len(rows)])


def test_what_the_student_knew_in_flight_is_what_a_window_makes_of_its_record() -> None:
    network = student_of()
    crossings = recorded(2, Mixture(network, share=0.0))
    fleet, flights = fleet_of(2), crossings.flights
    student, actions, states = Student(network, fleet), [], []
    for _ in range(int(flights.length.max())):
        inputs = np.concatenate([fleet.shown.grid, (fleet.course[:1].T / 2.0).astype(np.float32)], axis=1)
        actions.append(student.act(fleet.shown, inputs))
        states.append(student.h)
        fleet.step(commands(np.clip(actions[-1], -1.0, 1.0)))
    for i, (begin, length) in enumerate(zip(flights.start, flights.length, strict=True)):
        events = np.arange(begin, begin + length)
        with torch.no_grad():
            x = crossings.shown(network, events)[None]
            action, last = network(x, torch.from_numpy(flights.dt_s[events])[None])
        assert_allclose(action[0].numpy(), np.stack(actions)[:length, i], atol=1e-5)
        assert_allclose(last[0].numpy(), states[length - 1][i].numpy(), atol=1e-5)


def test_each_grid_is_kept_once_and_lost_ones_never() -> None:
    usual, half = recorded(4, Mixture()), recorded(4, Mixture(), grid_dropout=(0.5, 0.5))
    for found in (usual, half):
        fresh = found.flights.observation[:, OBS_DIM] == 1.0
        assert len(found.grids) == fresh.sum() == len(np.unique(found.seen[found.seen != NOTHING]))
        assert_array_equal(np.sort(found.seen[fresh]), np.arange(len(found.grids)))
        first = found.seen[found.flights.start]
        assert (first == NOTHING).all() and not found.flights.observation[found.flights.start, OBS_DIM].any()
        speeds = fleet_of(4).course[0] / 2.0
        assert_allclose(np.unique(found.grids[:, -1]), np.unique(speeds.astype(np.float32)))
    assert 0.3 < len(half.grids) / len(usual.grids) < 0.7
    silent = recorded(2, Mixture(), grid_dropout=(1.0, 1.0))
    assert (silent.seen == NOTHING).all() and not len(silent.grids)
    x = silent.shown(student_of(), np.arange(3))
    assert not x[:, OBS_DIM + 2 :].any()


def test_joined_flights_keep_their_grids() -> None:
    one, two = recorded(1, Mixture()), recorded(2, Mixture(), imu_hz=(50.0, 50.0))
    both, network = joined_crossings([one, two]), student_of()
    assert both.flights.flights == 3 and len(both.grids) == len(one.grids) + len(two.grids)
    with torch.no_grad():
        whole = both.shown(network, np.arange(both.flights.events))
        parts = [part.shown(network, np.arange(part.flights.events)) for part in (one, two)]
    assert_allclose(whole.numpy(), torch.cat(parts).numpy(), atol=1e-6)
    with pytest.raises(TrainingError, match="there are"):
        replace(both, grids=both.grids[:-1])
    with pytest.raises(TrainingError, match="NaN"):
        replace(both, grids=both.grids * np.float32(np.nan))


def test_a_flight_ends_where_something_is_touched() -> None:
    blind = student_of()  # falls to the ground, or flies into a tree
    flights = recorded(6, Mixture(blind, share=0.0), flight_s=2.0).flights
    seconds = [float(flights.dt_s[b : b + n].sum()) for b, n in zip(flights.start, flights.length, strict=True)]
    assert min(seconds) < 1.5
    steady = recorded(6, Mixture(), flight_s=0.5).flights
    held = [float(steady.dt_s[b : b + n][~steady.held[b : b + n]].sum()) for b, n in zip(
        steady.start, steady.length, strict=True)]  # fmt: skip
    assert_allclose(held, 0.5, atol=0.06)


def test_obstacles_out_of_reach_change_no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    def chosen() -> list[Any]:
        rng, found = np.random.default_rng(2), []
        for kind in ("trees", "mixed"):
            sees = DRILL.sees
            assert sees is not None
            forest, planner = Surroundings(sees.plot, sees.plot.draw(0.12, 1, rng, kind)[:, 0]), Planner()
            for k in range(40):
                x, y, vx, vy = rng.uniform((0.0, -2.0, 0.0, -1.0), (30.0, 2.0, 4.0, 1.0)).tolist()
                body: Body[float] = Body((x, y, 1.2), (vx, vy, 0.0), (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
                course = PositionSetpoint(0.0, (np.nan, np.nan, 1.2), (1.0 + k % 4, 0.0, 0.0), np.nan)
                found.append(planner.cross(0.1 * k, body, course, forest))
        return found

    pruned = chosen()
    monkeypatch.setattr(Planner, "_reached", lambda self, obstacles, speed_m_s: np.ones(len(obstacles), np.bool_))
    assert chosen() == pruned
