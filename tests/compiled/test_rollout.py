"""Laws of the compiled rollout: it is the torch world and its gradient, whatever the lanes, threads or chunks."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from torch import Tensor

from envs.airframe import load_airframe
from envs.batched_quad import BatchedQuad
from envs.batched_sensors import step_noise
from envs.batched_state import BatchedState, to_dict
from envs.compiled import engine as engine_module
from envs.compiled import state as flat
from envs.compiled.engine import CompiledRollout
from envs.compiled.job import Draw, Lanes, Objective, RolloutResult
from envs.compiled.model import noise_rows
from envs.compiled.state import RolloutState, intervals
from envs.conditions import MIXED_IMU_HZ, Conditions
from envs.faults import Fault
from envs.flights import draw_flights
from envs.ledger import LEDGER, flight_scores, new_ledger
from envs.scoring import TRANSIENT_S
from envs.task import SETPOINT_AIM, Aim
from envs.track import placed
from liquid_pilot import native
from liquid_pilot.cells import CellSpec
from liquid_pilot.command import DEFAULT_LIMITS, from_action
from liquid_pilot.errors import ConfigError, SimulationError
from liquid_pilot.observation import OBS_DIM, POSITION_DIM
from policies.batched_evaluation import step_network
from policies.compiled_trainer import flight_rollout
from policies.cost import CostWeights, flight_cost
from policies.drills import HOVER_DRILL, MISSION_DRILL, Drill, track_drill, track_position_drill
from policies.flat_state import pack, unpack
from policies.fragments import flatten_weights
from policies.network import PolicyNetwork, hover_spec

pytestmark = pytest.mark.skipif(not native.available(), reason="needs a C compiler")

AIRFRAME = load_airframe("cf2x")
BUSY = Conditions(  # every branch of the loop: hold, release, losses, outages, faults, latencies, changing intervals
    imu_hz=MIXED_IMU_HZ,
    imu_mixed=True,
    flow_hz=(20.0, 60.0),
    flow_dropout=(0.0, 0.4),
    range_dropout=(0.0, 0.3),
    hold_s=0.1,
    tilt_deg=(0.0, 30.0),
    launch_height_m=(0.3, 2.0),
    outage_chance=0.5,
    faults=(Fault("accel", 0.2, 0.3), Fault("flow", 0.3, 0.4)),
    setpoint_speed_m_s=(0.0, 0.5),
    setpoint_yaw_rate_rad_s=(-0.5, 0.5),
)
COST = CostWeights(place=1.0)
OBJECTIVE = Objective(astuple(COST))
SUBSTEP_S = 0.005
QUICK = tuple("-O2" if flag == "-O3" else flag for flag in native.OPTIMISED)
TRACK = track_drill(speed_m_s=2.0, transient_s=TRANSIENT_S)
PLACE = track_position_drill()
BUSY_PLACES = placed(replace(BUSY, faults=(Fault("position", 0.3, 0.4), Fault("position", 0.4, 0.6, "spike", 0.5))))
Real = type[np.floating[Any]]


@dataclass(frozen=True)
class Case:
    """One flight of both engines."""

    conditions: Conditions
    network: PolicyNetwork
    start: BatchedState
    draw: Draw
    dtype: torch.dtype
    aim: Aim

    def world(self) -> BatchedQuad:
        return BatchedQuad(
            AIRFRAME, self.conditions, torch.Generator(), substep_s=SUBSTEP_S, dtype=self.dtype, aim=self.aim
        )

    def weights(self) -> Any:
        named = {n.removeprefix("cell."): p.detach().numpy() for n, p in self.network.named_parameters()}
        return flatten_weights(self.network.spec, named, next(iter(named.values())).dtype)

    def lanes(self) -> Lanes:
        state = pack(self.start)
        real = state.values.dtype
        return Lanes(
            state, np.zeros((self.network.spec.state_width, len(state)), real), np.zeros((4, len(state)), real)
        )


def spec_of(form: str, aim: Aim) -> CellSpec:
    return hover_spec(form, inputs=OBS_DIM + POSITION_DIM * aim.locates)


def make_case(
    form: str,
    steps: int,
    lanes: int,
    real: Real = np.float64,
    conditions: Conditions = BUSY,
    drill: Drill = HOVER_DRILL,
) -> Case:
    dtype = torch.float64 if real == np.float64 else torch.float32
    aim, generator = drill.aim(15.0), torch.Generator().manual_seed(1)
    world_ = BatchedQuad(AIRFRAME, conditions, generator, substep_s=SUBSTEP_S, dtype=dtype, aim=aim)
    flights = draw_flights(AIRFRAME, conditions, lanes, np.random.default_rng(2))
    start = world_.reset(flights, drill.course(flights, 15.0, np.random.default_rng(6)))
    rng = np.random.default_rng(3)
    network = PolicyNetwork(spec_of(form, aim), 4).to(dtype)
    with torch.no_grad():
        for parameter in network.parameters():  # so that no weight is zero, as a first bias is
            parameter.add_(0.05 * torch.as_tensor(rng.normal(size=parameter.shape), dtype=dtype))
    dt_s = intervals(conditions, np.full(lanes, conditions.imu_hz[0]), steps, rng)
    normals, uniforms = noise_rows(aim.locates)
    normal, uniform = rng.normal(size=(steps, normals, lanes)), rng.random((steps, uniforms, lanes))
    return Case(
        conditions, network, start, Draw(dt_s, (normal.astype(real), uniform.astype(real))), dtype, drill.aim(15.0)
    )


@cache
def rollout(
    form: str,
    real: Real = np.float64,
    lane_bytes: int | None = None,
    threads: int = 1,
    aim: Aim = SETPOINT_AIM,
    watch_branches: bool = False,
) -> CompiledRollout:
    """Lanes of another width than this processor's keep the compiler busy longest and are flown here alone: quickly."""
    made = flight_rollout(AIRFRAME, spec_of(form, aim), substep_s=SUBSTEP_S, dtype=real, threads=threads, aim=aim)
    if lane_bytes is None and not watch_branches:
        return made
    flags = native.OPTIMISED if lane_bytes in (None, native.best_lane_bytes()) else QUICK
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_module, "build", partial(native.build, flags=flags))
        return CompiledRollout(made.model, made.network, real, lane_bytes, SUBSTEP_S, threads, watch_branches)


def fly_torch(case: Case) -> tuple[Tensor, list[BatchedState], Tensor]:
    """(loss, states after every event, h), by the reference."""
    world_, state = case.world(), case.start
    h = case.network.initial_state(len(state.t_s))
    previous = torch.zeros((len(state.t_s), 4), dtype=case.dtype)
    total, weight, states = torch.zeros(()), torch.zeros(()), []
    assert case.draw.noise is not None
    normal, uniform = (torch.as_tensor(part) for part in case.draw.noise)
    for k, dt_s in enumerate(torch.as_tensor(case.draw.dt_s)):
        action, h = step_network(case.network, world_, state, previous, h)
        command = from_action(DEFAULT_LIMITS, (action[:, 0], action[:, 1], action[:, 2], action[:, 3]))
        state = world_.step(state, command, dt_s, step_noise(normal[k], uniform[k]))
        since = state.t_s - state.release_s
        early = (since < OBJECTIVE.early_s).double()  # torch.where of two numbers would be float32
        share = (1.0 - (1.0 - OBJECTIVE.early_weight) * early) * (since > 0)
        share = (share * state.dt_s).to(case.dtype)
        cost = flight_cost(COST, state.body, world_.goal(state), action, previous, case.aim.locates)
        total = total + (cost * share).sum()
        weight, previous = weight + share.sum(), action
        states.append(state)
    return total / weight, states, h


def fly(case: Case, engine: CompiledRollout, gradients: bool = True) -> RolloutResult:
    return engine.run(case.lanes(), case.weights(), case.draw, case.conditions, OBJECTIVE, gradients)


def assert_same_state(found: RolloutState, wanted: RolloutState, tolerance: float) -> None:
    assert_allclose(found.values, wanted.values, rtol=tolerance, atol=tolerance)
    assert_allclose(found.clocks, wanted.clocks, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize(
    ("form", "drill"),
    [(form, HOVER_DRILL) for form in ("decay", "default", "gru", "mlp")] + [("decay", TRACK), ("decay", PLACE)],
)
def test_loss_gradient_and_state_are_those_of_torch(form: str, drill: Drill) -> None:
    case = make_case(form, 40, 11, conditions=BUSY_PLACES if drill.locates else BUSY, drill=drill)
    loss, states, h = fly_torch(case)
    loss.backward()
    slopes = {n.removeprefix("cell."): p.grad.numpy() for n, p in case.network.named_parameters() if p.grad is not None}
    wanted = flatten_weights(case.network.spec, slopes, np.float64)
    found = fly(case, rollout(form, aim=case.aim))
    assert found.gradient is not None
    assert found.loss == pytest.approx(float(loss.detach()), rel=1e-9)
    assert np.linalg.norm(found.gradient - wanted) <= 1e-8 * np.linalg.norm(wanted)
    assert_same_state(found.lanes.world, pack(states[-1]), 1e-9)
    assert_allclose(found.lanes.h.T, h.detach().numpy(), atol=1e-9)
    kept = pack(states[-1])
    assert_array_equal(found.lanes.world.course, kept.course)
    assert np.isfinite(kept.clock("release_s")).all()  # the case flew: released, heard flow, lost some
    heard = {name: (kept.clock(f"{name}.held_stamp_s") > 0).any() for name in ("flow", "range", "place")}
    assert heard == {"flow": not drill.locates, "range": not drill.locates, "place": drill.locates}


def test_float32_gradient_is_that_of_torch_in_float32() -> None:
    case = make_case("decay", steps=40, lanes=32, real=np.float32)
    loss, _, _ = fly_torch(case)
    loss.backward()
    slopes = {n.removeprefix("cell."): p.grad.numpy() for n, p in case.network.named_parameters() if p.grad is not None}
    wanted = flatten_weights(case.network.spec, slopes, np.float64)
    found = fly(case, rollout("decay", np.float32))
    assert found.gradient is not None
    assert found.loss == pytest.approx(float(loss.detach()), rel=1e-5)
    assert np.linalg.norm(found.gradient - wanted) <= 1e-5 * np.linalg.norm(wanted)


def test_gradients_threads_and_chunks_do_not_change_the_flight() -> None:
    case = make_case("decay", steps=30, lanes=37, real=np.float32)
    engine = rollout("decay", np.float32)
    whole = fly(case, engine)
    threaded = fly(case, rollout("decay", np.float32, threads=3))
    assert whole.gradient is not None and threaded.gradient is not None
    assert_array_equal(whole.gradient, threaded.gradient)
    assert fly(case, engine, gradients=False).cost == whole.cost == threaded.cost
    assert case.draw.noise is not None
    lanes, cost = case.lanes(), 0.0
    for part in (slice(0, 13), slice(13, 30)):
        draw = Draw(case.draw.dt_s[part], (case.draw.noise[0][part], case.draw.noise[1][part]))
        done = engine.run(lanes, case.weights(), draw, case.conditions, OBJECTIVE, gradients=False)
        lanes, cost = done.lanes, cost + done.cost
    assert_array_equal(lanes.world.values, whole.lanes.world.values)
    assert_array_equal(lanes.world.clocks, whole.lanes.world.clocks)
    assert_array_equal(lanes.h, whole.lanes.h)
    assert cost == pytest.approx(whole.cost, rel=1e-6)


def test_a_drone_flies_the_same_alone() -> None:
    case = make_case("decay", steps=20, lanes=21, real=np.float32)
    dt_s = np.broadcast_to(case.draw.dt_s[:, :1], case.draw.dt_s.shape)  # the longest interval sets the substeps
    case = replace(case, draw=replace(case.draw, dt_s=dt_s))
    engine, start = rollout("decay", np.float32), case.lanes()
    together = fly(case, engine).lanes.world
    assert case.draw.noise is not None
    one = slice(18, 19)
    alone = engine.run(
        Lanes(
            RolloutState(*(np.ascontiguousarray(part[:, one]) for part in astuple(start.world))),
            start.h[:, one],
            start.action[:, one],
        ),
        case.weights(),
        Draw(dt_s[:, one], (case.draw.noise[0][..., one], case.draw.noise[1][..., one])),
        case.conditions,
        OBJECTIVE,
    )
    assert_array_equal(alone.lanes.world.values, together.values[:, one])
    assert_array_equal(alone.lanes.world.clocks, together.clocks[:, one])


@pytest.mark.parametrize("lane_bytes", [16, 32, 64])
def test_every_lane_width_flies_alike(lane_bytes: int) -> None:
    case = make_case("decay", steps=15, lanes=9, real=np.float32)
    wanted, found = fly(case, rollout("decay", np.float32)), fly(case, rollout("decay", np.float32, lane_bytes))
    assert found.gradient is not None and wanted.gradient is not None
    assert found.loss == pytest.approx(wanted.loss, rel=1e-5)
    assert np.linalg.norm(found.gradient - wanted.gradient) <= 1e-4 * np.linalg.norm(wanted.gradient)


def test_drawn_noise_is_normal_uniform_and_what_the_rollout_flies() -> None:
    engine, case = rollout("decay", np.float32), make_case("decay", steps=30, lanes=37, real=np.float32)
    normal, uniform = engine.noise(5, 400, 256)
    flat_normal = normal.astype(np.float64).reshape(-1)
    assert abs(flat_normal.mean()) < 4e-3 and abs(flat_normal.std() - 1.0) < 4e-3
    assert abs((flat_normal**4).mean() - 3.0) < 0.05
    assert 0.0 < uniform.min() and uniform.max() < 1.0 and abs(uniform.mean() - 0.5) < 4e-3
    rows = np.concatenate([normal, uniform], axis=1).transpose(1, 0, 2).reshape(22, -1)
    shifted = np.concatenate([rows, np.roll(rows, 1, axis=1)])  # rows, and the next drone's
    assert np.abs(np.corrcoef(shifted) - np.eye(44)).max() < 0.015
    seeded = replace(case, draw=Draw(case.draw.dt_s, seed=9))
    given = replace(case, draw=Draw(case.draw.dt_s, engine.noise(9, 30, 37)))
    assert_array_equal(fly(seeded, engine).gradient, fly(given, engine).gradient)
    assert fly(seeded, engine).cost != fly(replace(case, draw=Draw(case.draw.dt_s, seed=10)), engine).cost


@pytest.mark.parametrize("drill", [HOVER_DRILL, TRACK, PLACE, MISSION_DRILL])
def test_score_is_that_of_the_torch_flights(drill: Drill) -> None:
    slow = replace(BUSY, imu_hz=(25.0, 25.0), imu_mixed=False, faults=(), sensors=drill.sensors)
    slow = placed(slow) if drill.locates else slow
    case, duration_s = make_case("decay", steps=95, lanes=9, conditions=slow, drill=drill), 3.4
    with torch.no_grad():
        _, states, _ = fly_torch(case)
    ledger, engine = new_ledger(9), rollout("decay", aim=case.aim)
    engine.score(case.lanes(), case.weights(), case.draw, slow, ledger, duration_s, drill.rule)
    found = dict(zip(LEDGER, ledger, strict=True))
    since = torch.stack([s.t_s - s.release_s for s in states]).numpy()
    flying = (since >= 0) & (since <= duration_s)
    height = torch.stack([s.body.position_m[2] for s in states]).numpy()
    goals = [case.world().goal(state) for state in states]
    aloft = np.stack([np.broadcast_to(goal.aloft, 9) for goal in goals])
    assert aloft.all() or (drill is MISSION_DRILL and aloft.any())
    assert_allclose(found["lowest_m"], np.where(flying & (aloft > 0.5), height, np.inf).min(axis=0), atol=1e-9)
    assert_allclose(found["highest_m"], np.where(flying, height, 0.0).max(axis=0), atol=1e-9)
    q = torch.stack([torch.stack(s.body.attitude_wxyz) for s in states]).numpy()
    tilt = np.degrees(np.arccos(np.clip(1.0 - 2.0 * (q[:, 1] ** 2 + q[:, 2] ** 2), -1.0, 1.0)))
    late = flying & (since >= drill.rule.tilt_after_s)
    assert_array_equal(found["tilted"], (late & (tilt >= drill.rule.tilt_limit_deg)).any(axis=0))
    settled = np.stack([np.broadcast_to(goal.settled, 9) for goal in goals])
    assert settled.all() or (drill is TRACK and settled.any())
    weight = np.where(flying & (since >= duration_s / 2.0), case.draw.dt_s * settled, 0.0)
    points = [goal.point for goal in goals]
    goal = torch.stack([point.position_m[2] for point in points]).numpy()
    assert_allclose(found["height_error"], (np.abs(height - goal) * weight).sum(axis=0), rtol=1e-9)
    assert_allclose(found["weight"], weight.sum(axis=0), rtol=1e-9)
    want = torch.stack([torch.stack(point.velocity_m_s[:2]) for point in points]).numpy()
    v = torch.stack([torch.stack(s.body.velocity_m_s[:2]) for s in states]).numpy()
    error = np.hypot(v[:, 0] - want[:, 0], v[:, 1] - want[:, 1])
    assert_allclose(found["speed_error"], (error * weight).sum(axis=0), rtol=1e-6)
    assert_allclose(found["speed_square"], (error**2 * weight).sum(axis=0), rtol=1e-6)
    places = torch.stack(
        [torch.stack(s.body.position_m) - torch.stack(p.position_m) for s, p in zip(states, points, strict=True)]
    )
    assert_allclose(found["place_square"], ((places**2).sum(dim=1).numpy() * weight).sum(axis=0), rtol=1e-6)
    speed = torch.stack([torch.stack(s.body.velocity_m_s) for s in states]).norm(dim=1).numpy()
    above, before = height > AIRFRAME.rest_height_m, np.zeros((1, 9), bool)
    down = np.concatenate([before, flying[:-1] & above[:-1]]) & ~above & flying
    touchdown = np.where(down, np.concatenate([speed[:1], speed[:-1]]), 0.0).max(axis=0)
    assert down.any() or drill is not MISSION_DRILL
    assert_allclose(found["touchdown_m_s"], touchdown, rtol=1e-9)
    last = len(flying) - 1 - flying[::-1].argmax(axis=0)
    assert_allclose(found["clearance_m"], (height[last, range(9)] - AIRFRAME.rest_height_m), atol=1e-9)


def test_a_scored_flight_that_is_not_finite_fails_and_the_others_do_not_notice() -> None:
    case, engine = make_case("decay", steps=40, lanes=21, real=np.float32), rollout("decay", np.float32)
    found = []
    for change in (0.0, np.nan):
        lanes, ledger = case.lanes(), new_ledger(21)
        lanes.h[2, 17] += change
        lanes.world.value("body")[2, 4] += change  # a height that is no number need not reach the network
        found.append((engine.score(lanes, case.weights(), case.draw, BUSY, ledger, 0.5), ledger))
    (whole, clean), (broken, spoilt) = found
    others = ~np.isin(np.arange(21), (4, 17))
    assert_array_equal(spoilt[:, others], clean[:, others])
    assert_array_equal(broken.world.values[:, others], whole.world.values[:, others])
    assert_array_equal(broken.h[:, others], whole.h[:, others])
    scores = flight_scores(spoilt)
    assert {scores[lane].reason for lane in (4, 17)} == {"not finite"}
    assert not any(score.reason == "not finite" for score in flight_scores(clean))


def test_a_flight_that_is_over_cannot_fail_any_more() -> None:
    case, engine = make_case("decay", steps=40, lanes=3, real=np.float32), rollout("decay", np.float32)
    ledger = new_ledger(3)
    lanes = engine.score(case.lanes(), case.weights(), case.draw, BUSY, ledger, 0.2)
    assert (lanes.world.clock("t_s") > lanes.world.clock("release_s") + 0.2).all()
    scored, lanes.h[:, 1] = ledger.copy(), np.nan
    engine.score(lanes, case.weights(), case.draw, BUSY, ledger, 0.2)
    assert_array_equal(ledger, scored)


@pytest.mark.parametrize("threads", [0, -1, True, 1.0, "2", None])
def test_threads_that_are_no_number_of_threads_are_refused(threads: Any) -> None:
    with pytest.raises(ConfigError, match="threads is"):
        flight_rollout(AIRFRAME, hover_spec("decay"), threads=threads)


def test_flat_state_is_the_torch_state() -> None:
    case = make_case("decay", steps=1, lanes=5, real=np.float32)
    ours, theirs = to_dict(unpack(pack(case.start)), "s"), to_dict(case.start, "s")
    assert set(ours) == set(theirs)
    for name, value in theirs.items():
        assert ours[name].dtype == value.dtype and ours[name].shape == value.shape, name
        assert torch.equal(ours[name], value) or name.endswith("_phase"), name  # a phase is spent at the launch
    flights = draw_flights(AIRFRAME, BUSY, 5, np.random.default_rng(2))
    made, wanted = flat.reset(AIRFRAME, flights, np.random.default_rng(0)), pack(case.start)
    assert_array_equal(made.clocks, wanted.clocks)
    assert_array_equal(made.constants, wanted.constants)
    assert_array_equal(made.delays, wanted.delays)
    for name in flat.VALUES:
        if name not in ("gusts", "gyro_rad_s", "accel_m_s2"):  # these hold noise
            assert_array_equal(made.value(name), wanted.value(name), err_msg=name)
    assert_allclose(made.value("accel_m_s2"), wanted.value("accel_m_s2"), atol=3.0)
    assert np.abs(made.value("accel_m_s2")).max() > 8.0


def test_what_cannot_be_flown_is_refused() -> None:
    engine, case = rollout("decay", np.float32), make_case("decay", steps=3, lanes=18, real=np.float32)
    broken = case.lanes()
    broken.h[2, 17] = np.nan
    with pytest.raises(SimulationError, match="drone 17 is not finite at step 0"):
        engine.run(broken, case.weights(), case.draw, BUSY, OBJECTIVE)
    with pytest.raises(ConfigError, match="weights has shape"):
        engine.run(case.lanes(), case.weights()[:-1], case.draw, BUSY, OBJECTIVE)
    with pytest.raises(ConfigError, match="command_latency_s"):
        engine.run(case.lanes(), case.weights(), case.draw, replace(BUSY, command_latency_s=(0.0, 0.5)), OBJECTIVE)
    with pytest.raises(ConfigError, match="ledger has shape"):
        engine.score(case.lanes(), case.weights(), case.draw, BUSY, new_ledger(17), 1.0)
    with pytest.raises(SimulationError, match="positive"):
        engine.run(case.lanes(), case.weights(), Draw(0.0 * case.draw.dt_s), BUSY, OBJECTIVE)
