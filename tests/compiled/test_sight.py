"""Laws of drones that see, on the compiled rollout: forest, flow grid, encoder and cost are those of the equations."""

from __future__ import annotations

from dataclasses import astuple, replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from envs.airframe import load_airframe
from envs.avoid import avoid_course, facing_course, sighted
from envs.batched_ops import TORCH_OPS
from envs.batched_quad import BatchedQuad
from envs.batched_sensors import step_noise
from envs.batched_state import BatchedState
from envs.compiled.engine import CompiledRollout
from envs.compiled.job import Draw, Lanes, Objective, RolloutResult
from envs.compiled.model import noise_rows
from envs.compiled.sight import ARRIVES, LOOKS, Camera, blind, looks
from envs.compiled.state import intervals
from envs.conditions import Conditions
from envs.flights import draw_flights
from envs.flow_grid import GridModel, Sight, ray_flow, view
from envs.forest import COURSE_ROWS, CROSSING_PLOT, NEAR, SHAPES_PLOT
from envs.ledger import LEDGER, flight_scores, new_ledger
from envs.obstacle_kinds import NO_TREE, TREES
from envs.physics import Body
from envs.shapes import clearance_m, obstacles_of
from liquid_pilot import native
from liquid_pilot.command import DEFAULT_LIMITS, from_action
from liquid_pilot.errors import ConfigError
from liquid_pilot.flow_grid import SPEED_SCALE_M_S, GridReader, even_grid
from liquid_pilot.observation import INITIAL_AGE_S, assemble_sight
from liquid_pilot.ops import NUMPY_OPS
from policies.avoid_cost import AvoidWeights, avoid_cost
from policies.compiled_trainer import flight_rollout
from policies.drills import avoid_drill
from policies.flat_state import pack
from policies.fragments import flatten_weights
from policies.network import PolicyNetwork, avoid_spec

pytestmark = pytest.mark.skipif(not native.available(), reason="needs a C compiler")

AIRFRAME = load_airframe("cf2x")
LAYOUT = even_grid(6, 3, 80.0, 40.0)
MODEL = GridModel(LAYOUT, rays_lost=0.0)
DRILLS = {
    kind: replace(avoid_drill(2.0, obstacles=kind), sees=Sight(MODEL, plot))
    for kind, plot in ((TREES, CROSSING_PLOT), ("mixed", SHAPES_PLOT))
}
WEIGHTS = AvoidWeights()
OBJECTIVE = Objective(astuple(WEIGHTS))
CONDITIONS = replace(
    sighted(Conditions(imu_hz=(60.0, 60.0), hold_s=0.1, noise_scale=(0.0, 0.0), heading_error_rad=0.0)),
    setpoint_speed_m_s=(1.0, 3.0),
)
STEPS, LANES = 46, 5


def engine_of(kind: str) -> CompiledRollout:
    spec = avoid_spec("decay", LAYOUT)
    return flight_rollout(AIRFRAME, spec, substep_s=0.005, dtype=np.float64, aim=DRILLS[kind].aim(10.0))


@pytest.fixture(scope="module")
def engine() -> CompiledRollout:
    return engine_of(TREES)


class Case:
    """Some drones in dense forests, thrown along their course, and a network that does something."""

    def __init__(self, kind: str = TREES, form: str = "decay") -> None:
        rng, aim = np.random.default_rng(7), DRILLS[kind].aim(10.0)
        assert aim.sees is not None
        self.sight = aim.sees
        self.world = BatchedQuad(
            AIRFRAME, CONDITIONS, torch.Generator().manual_seed(1), substep_s=0.005, dtype=torch.float64, aim=aim
        )
        flights = draw_flights(AIRFRAME, CONDITIONS, LANES, rng)
        speed = np.hypot(*flights.setpoint_velocity_m_s.T)
        flights = facing_course(flights, AIRFRAME)
        ahead = np.stack([speed, 0.3 * speed, 0.0 * speed], axis=1)
        flights = replace(flights, launch_velocity_m_s=flights.launch_velocity_m_s + ahead)
        self.course = avoid_course(self.sight.plot, speed, 1.0 / 8.0, flights, rng, kind)
        self.start = self.world.reset(flights, self.course)
        self.network = PolicyNetwork(avoid_spec(form, LAYOUT), 4).to(torch.float64)
        with torch.no_grad():
            for parameter in self.network.parameters():
                parameter.add_(0.05 * torch.as_tensor(rng.normal(size=parameter.shape)))
        dt_s = intervals(CONDITIONS, np.full(LANES, 60.0), STEPS, rng)
        normals, uniforms = noise_rows(False)
        self.normal, self.uniform = rng.normal(size=(STEPS, normals, LANES)), rng.random((STEPS, uniforms, LANES))
        events, _ = looks(Camera(), dt_s, CONDITIONS, rng)
        self.draw = Draw(dt_s, (self.normal, self.uniform), looks=events)

    def weights(self) -> Any:
        named = {name: value.detach().numpy() for name, value in self.network.named_weights().items()}
        return flatten_weights(self.network.spec, named, np.float64)

    def lanes(self) -> Lanes:
        state = pack(self.start)
        h, action = np.zeros((self.network.spec.state_width, LANES)), np.zeros((4, LANES))
        return Lanes(state, h, action, blind(self.sight, 24, LANES, np.float64))

    def near(self, state: BatchedState) -> Any:
        x, y = (axis.detach().numpy() for axis in state.body.position_m[:2])
        return self.sight.plot.nearest(self.course[COURSE_ROWS:], x, y)

    def grid(self, state: BatchedState) -> Any:
        """What is shown of a grid taken now, (numbers, LANES), by numpy."""
        arrays = [tuple(part.detach().numpy() for part in parts) for parts in astuple_of(state.body)]
        body: Body[Any] = Body(*arrays)
        seen_from, flow = view(NUMPY_OPS, body, self.near(state)), []
        zero = np.zeros(LANES)
        for axes in LAYOUT.axes():
            flow.append(ray_flow(NUMPY_OPS, MODEL, axes, seen_from, body.rates_rad_s, (zero, zero), zero))
        flows = np.array(flow).reshape(3, 6, 2, LANES)
        gyro = np.stack([axis.detach().numpy() for axis in state.sensors.gyro_rad_s])
        reader = GridReader(LAYOUT)
        return np.stack([reader.read(flows[..., k], tuple(gyro[:, k])) for k in range(LANES)], axis=1)


def fly_torch(case: Case) -> tuple[torch.Tensor, list[BatchedState], torch.Tensor, list[Any]]:
    """(loss, states, features, trees that each event is judged by), by the equations one by one."""
    state, network = case.start, case.network
    h, previous = network.initial_state(LANES), torch.zeros((LANES, 4), dtype=torch.float64)
    features = torch.zeros((LANES, 24), dtype=torch.float64)
    held = np.full(LANES, -INITIAL_AGE_S)
    fresh, pending, stamp = 0.0, None, np.zeros(LANES)
    total, weight, states, trees = torch.zeros(()), torch.zeros(()), [], []
    near = case.near(state)
    speed = torch.as_tensor(case.course[0])[:, None] / SPEED_SCALE_M_S
    assert case.draw.looks is not None and network.encoder is not None
    for k, dt_s in enumerate(torch.as_tensor(case.draw.dt_s)):
        if case.draw.looks[k] & ARRIVES:
            assert pending is not None
            features = network.encoder(torch.cat([torch.as_tensor(pending.T, dtype=torch.float64), speed], dim=1))
            held, fresh = stamp, 1.0
        age = torch.as_tensor(np.minimum(state.t_s.numpy() - held, INITIAL_AGE_S))
        more = torch.stack(assemble_sight(torch.full((LANES,), fresh, dtype=torch.float64), age), dim=1)
        seen = torch.cat([case.world.observe(state), more, features], dim=1)
        action, h = network.step(seen, h, state.dt_s)
        fresh = 0.0
        command = from_action(DEFAULT_LIMITS, (action[:, 0], action[:, 1], action[:, 2], action[:, 3]))
        noise = step_noise(torch.as_tensor(case.normal[k]), torch.as_tensor(case.uniform[k]))
        state = case.world.step(state, command, dt_s, noise)
        if case.draw.looks[k] & LOOKS or k % 8 == 0:
            near = case.near(state)
        if case.draw.looks[k] & LOOKS:
            pending, stamp = case.grid(state), state.t_s.numpy().copy()
        since = state.t_s - state.release_s
        early = (since < OBJECTIVE.early_s).double()
        share = (1.0 - (1.0 - OBJECTIVE.early_weight) * early) * (since > 0) * state.dt_s
        still: Body[Any] = Body(*(tuple(part.detach() for part in parts) for parts in astuple_of(state.body)))
        told = [torch.as_tensor(row) for row in near]
        parts = (state.body, case.world.goal(state), tuple(action.T), tuple(previous.T), told, still)
        total = total + (avoid_cost(TORCH_OPS, WEIGHTS, *parts) * share).sum()
        weight, previous = weight + share.sum(), action
        states.append(state)
        trees.append(near)
    return total / weight, states, features, trees


def slope_of(value: torch.Tensor) -> Any:
    assert value.grad is not None
    return value.grad.numpy()


def astuple_of(body: Body[Any]) -> tuple[Any, ...]:
    return body.position_m, body.velocity_m_s, body.attitude_wxyz, body.rates_rad_s


def fly(case: Case, engine: CompiledRollout, gradients: bool = True) -> RolloutResult:
    return engine.run(case.lanes(), case.weights(), case.draw, CONDITIONS, OBJECTIVE, gradients)


@pytest.mark.parametrize("kind", DRILLS)
def test_loss_gradient_and_features_are_those_of_the_equations(kind: str) -> None:
    case, engine = Case(kind), engine_of(kind)
    loss, states, features, _ = fly_torch(case)
    loss.backward()
    slopes = {name: slope_of(value) for name, value in case.network.named_weights().items()}
    wanted = flatten_weights(case.network.spec, slopes, np.float64)
    found = fly(case, engine)
    assert found.gradient is not None and found.lanes.sight is not None
    assert found.loss == pytest.approx(float(loss.detach()), rel=1e-6)
    assert_allclose(found.lanes.world.values[:13], pack(states[-1]).values[:13], atol=1e-6)
    assert_allclose(found.lanes.sight[LAYOUT.numbers : -3].T, features.detach().numpy(), atol=1e-6)
    encoder = case.network.spec.encoder
    assert encoder is not None and np.linalg.norm(wanted[-encoder.parameters :]) > 1e-3 * np.linalg.norm(wanted)
    for part in (slice(0, -encoder.parameters), slice(-encoder.parameters, None)):
        assert np.linalg.norm(found.gradient[part] - wanted[part]) <= 1e-5 * np.linalg.norm(wanted[part])


def test_a_forest_matters_to_loss_and_gradient(engine: CompiledRollout) -> None:
    case = Case()
    here = fly(case, engine)
    bare = case.lanes()
    bare.world.course[COURSE_ROWS + 2 :: case.sight.plot.row_numbers] = NO_TREE
    there = engine.run(bare, case.weights(), case.draw, CONDITIONS, OBJECTIVE)
    assert here.gradient is not None and there.gradient is not None
    assert here.loss > there.loss + 0.1
    assert np.linalg.norm(here.gradient - there.gradient) > 0.1 * np.linalg.norm(here.gradient)


def test_chunks_and_gradients_do_not_change_the_flight(engine: CompiledRollout) -> None:
    case = Case()
    whole = fly(case, engine, gradients=False)
    assert whole.cost == fly(case, engine).cost
    lanes = case.lanes()
    assert case.draw.looks is not None
    for part in (slice(0, 16), slice(16, STEPS)):  # of eight steps each: the trees are looked at anew at their start
        noise = (case.normal[part], case.uniform[part])
        draw = Draw(case.draw.dt_s[part], noise, looks=case.draw.looks[part])
        lanes = engine.run(lanes, case.weights(), draw, CONDITIONS, OBJECTIVE, gradients=False).lanes
    assert lanes.sight is not None and whole.lanes.sight is not None
    assert_allclose(lanes.world.values, whole.lanes.world.values, atol=1e-12)
    assert_allclose(lanes.sight, whole.lanes.sight, atol=1e-12)


@pytest.mark.parametrize("kind", DRILLS)
def test_the_ledger_knows_the_nearest_obstacle_and_when_a_forest_was_crossed(kind: str) -> None:
    case, engine = Case(kind), engine_of(kind)
    with torch.no_grad():
        _, states, _, trees = fly_torch(case)
    rule = replace(DRILLS[kind].rule, crosses_m=0.8)
    ledger = new_ledger(LANES)
    engine.score(case.lanes(), case.weights(), case.draw, CONDITIONS, ledger, 10.0, rule)
    found = dict(zip(LEDGER, ledger, strict=True))
    closest, crossed = np.full(LANES, np.inf), np.zeros(LANES)
    for state, near in zip(states, trees, strict=True):
        x, y, z = (axis.numpy() for axis in state.body.position_m)
        since = (state.t_s - state.release_s).numpy()
        counts = (since >= 0) & (crossed == 0)
        free = clearance_m(NUMPY_OPS, obstacles_of(list(near), NEAR), (x, y, z))
        closest = np.where(counts, np.minimum(closest, free), closest)
        crossed = np.where(counts & (x >= 0.8), since, crossed)
    assert_allclose(found["closest_m"], closest, rtol=1e-6)
    assert_allclose(found["crossed_s"], crossed, atol=1e-9)
    assert (crossed > 0).any() and not (crossed > 0).all()
    scores = flight_scores(ledger, rule)
    assert [score.reason == "not crossed" for score in scores] == [
        c == 0.0 and free > 0 for c, free in zip(crossed, closest, strict=True)
    ]


def test_lost_grids_are_not_heard(engine: CompiledRollout) -> None:
    case = Case()
    blinded = replace(CONDITIONS, grid_dropout=(1.0, 1.0))
    found = engine.run(case.lanes(), case.weights(), case.draw, blinded, OBJECTIVE)
    assert found.lanes.sight is not None and not found.lanes.sight[LAYOUT.numbers : -3].any()
    assert_array_equal(found.lanes.sight[-2], np.full(LANES, -INITIAL_AGE_S))


def test_lanes_without_sight_are_refused(engine: CompiledRollout) -> None:
    case = Case()
    with pytest.raises(ConfigError, match="sight has shape"):
        engine.run(replace(case.lanes(), sight=None), case.weights(), case.draw, CONDITIONS, OBJECTIVE)
    short = case.lanes()
    assert short.sight is not None
    with pytest.raises(ConfigError, match="sight has shape"):  # of too few drones
        engine.run(replace(short, sight=short.sight[:, :-1]), case.weights(), case.draw, CONDITIONS, OBJECTIVE)
    sightless, uneven = replace(CONDITIONS, grid_hz=(0.0, 0.0)), replace(CONDITIONS, grid_dropout=(0.0, 0.4))
    for bad, words in ((sightless, "grid_hz"), (uneven, "grid_dropout")):
        with pytest.raises(ConfigError, match=words):
            engine.run(case.lanes(), case.weights(), case.draw, bad, OBJECTIVE)
    with pytest.raises(ConfigError, match="looks has shape"):
        engine.run(case.lanes(), case.weights(), replace(case.draw, looks=None), CONDITIONS, OBJECTIVE)


def test_the_camera_keeps_its_rate_and_hears_one_grid_before_the_next() -> None:
    rng = np.random.default_rng(3)
    conditions = replace(sighted(Conditions(), (20.0, 20.0)), grid_latency_s=(0.005, 0.03))
    dt_s = rng.uniform(0.004, 0.012, (5000, 3))
    events, _ = looks(Camera(), dt_s, conditions, rng)
    taken, heard = np.flatnonzero(events & LOOKS), np.flatnonzero(events & ARRIVES)
    assert len(taken) / dt_s.mean(axis=1).sum() == pytest.approx(20.0, rel=0.03)
    assert len(taken) - len(heard) in (0, 1)
    assert (heard > taken[: len(heard)]).all() and (heard[: len(taken) - 1] <= taken[1:][: len(heard)]).all()
