"""Laws of training to avoid: costs, lessons, runs that resume, policies that are exported, and who is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from envs.airframe import load_airframe
from envs.avoid import sighted
from envs.batched_ops import TORCH_OPS
from envs.conditions import Conditions
from envs.flights import draw_flights
from envs.forest import COURSE_ROWS, NEAR, SHAPES_PLOT
from envs.obstacle_kinds import NO_TREE
from envs.physics import Body
from envs.shapes import FAR_M, SHAPE_ROWS
from liquid_pilot import native
from liquid_pilot.bundle import load_bundle
from liquid_pilot.cells import parameters
from liquid_pilot.encoder import Encoder
from liquid_pilot.errors import ConfigError
from liquid_pilot.flow_grid import DEFAULT_GRID, SPEED_SCALE_M_S
from liquid_pilot.observation import INITIAL_AGE_S, OBS_DIM, SIGHT_DIM
from liquid_pilot.ops import FLOAT_OPS
from policies.analytic import AnalyticTrainer, TrainConfig
from policies.avoid_cost import AvoidWeights, avoid_cost, wanted_m_s
from policies.checkpoint import load_checkpoint, save_checkpoint
from policies.compiled_trainer import FlatCarry
from policies.curriculum import TRAINED_GRID_HZ, lesson
from policies.drills import avoid_drill, drill_of
from policies.export import export_policy
from policies.network import GridEncoder, PolicyNetwork, avoid_spec

needs_cc = pytest.mark.skipif(not native.available(), reason="needs a C compiler")
DRILL = drill_of("avoid")
STILL, LEVEL = (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)


def config(**changes: Any) -> TrainConfig:
    given: dict[str, Any] = {
        "task": "avoid",
        "updates": 8,
        "batch": 16,
        "curriculum": replace(DRILL.curriculum, most_steps=40),
        "cost": DRILL.cost,
        "oldest_s": DRILL.oldest_s,
        "validation_flights": 4,
        "validation_s": 1.0,
    }
    return TrainConfig(**{**given, **changes})


def cost(tree: tuple[float, float, float], velocity: tuple[float, float, float], weights: AvoidWeights) -> float:
    """Of a drone at the origin that flies level with a velocity, one tree somewhere."""
    body: Body[float] = Body((0.0, 0.0, 1.2), velocity, LEVEL, STILL)
    goal = DRILL.goal(FLOAT_OPS, (2.0, 1.2, FAR_M), 0.0, body)
    near = [*tree, *([FAR_M, FAR_M, 0.1] * (NEAR - 1))]
    return float(avoid_cost(FLOAT_OPS, weights, body, goal, (0.0,) * 4, (0.0,) * 4, near, body))


def test_flying_as_told_with_nothing_near_costs_nothing() -> None:
    assert cost((FAR_M, FAR_M, 0.1), (2.0, 0.0, 0.0), AvoidWeights()) == pytest.approx(0.0, abs=1e-2)


def test_what_is_in_the_way_costs_by_how_soon_and_how_near_it_is_passed() -> None:
    weights, ahead = AvoidWeights(), (2.0, 0.0, 0.0)
    clear = cost((FAR_M, FAR_M, 0.1), ahead, weights)
    places = ((1.5, 0.0), (3.0, 0.0), (3.0, 0.5), (-1.5, 0.0))
    near, far, beside, behind = (cost((x, y, 0.25), ahead, weights) for x, y in places)
    assert near > far > beside > clear + 1e-3
    assert behind == pytest.approx(clear, abs=0.05)
    assert cost((3.0, 1.5, 0.25), ahead, weights) == pytest.approx(clear, abs=0.05)  # passed with room
    assert cost((0.3, 0.0, 0.25), ahead, weights) > clear + 3.0  # contact


def test_what_is_wanted_slows_down_before_a_wall_and_goes_back_near_to_it() -> None:
    def wanted(x: float, wall: float) -> float:
        body: Body[float] = Body((x, 0.0, 1.2), STILL, LEVEL, STILL)
        return float(wanted_m_s(FLOAT_OPS, DRILL.goal(FLOAT_OPS, (3.0, 1.2, wall), 0.0, body)))

    assert [wanted(x, 10.0) for x in (0.0, 6.75, 8.5, 9.9, 10.5)] == [3.0, 1.5, 0.0, pytest.approx(-1.2), 3.0]
    assert wanted(0.0, FAR_M) == 3.0


def test_before_a_wall_standing_costs_less_than_sliding_along_it() -> None:
    """The look ahead would say that a slide passes the trunks of the wall; there it does not count."""
    wall = [n for y in np.arange(-2.25, 2.3, 0.75).tolist() for n in (1.5, y, 0.35)]
    near = [*wall, *([FAR_M, FAR_M, 0.1] * (NEAR - len(wall) // 3))]

    def of(velocity: tuple[float, float, float], wall_x: float) -> float:
        body: Body[float] = Body((0.0, 0.0, 1.2), velocity, LEVEL, STILL)
        goal = DRILL.goal(FLOAT_OPS, (2.0, 1.2, wall_x), 0.0, body)
        return float(avoid_cost(FLOAT_OPS, AvoidWeights(), body, goal, (0.0,) * 4, (0.0,) * 4, near, body))

    for side in (-1.0, 1.0):
        costs = [of((0.05, side * v, 0.0), 1.5) for v in (0.0, 0.1, 0.2, 0.4, 0.8)]
        assert (np.diff(costs) > 0.0).all()
        assert of((0.05, side * 0.4, 0.0), FAR_M) < of((0.05, 0.0, 0.0), FAR_M)  # a drone that may pass looks for a way


def test_a_tree_ahead_and_to_the_left_pushes_to_the_right_rather_than_back() -> None:
    weights = AvoidWeights()
    given: Any = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (0.0, 0.0, 1.2, 2.0, 0.0, 0.0)]
    flat: Any = [torch.tensor(v, dtype=torch.float64) for v in (*LEVEL, *STILL)]
    body: Body[Any] = Body(tuple(given[:3]), tuple(given[3:]), tuple(flat[:4]), tuple(flat[4:]))
    told: Any = [part.detach() for part in given]
    still: Body[Any] = Body(tuple(told[:3]), tuple(told[3:]), tuple(flat[:4]), tuple(flat[4:]))
    course = [torch.tensor(v, dtype=torch.float64) for v in (2.0, 1.2, FAR_M)]
    goal = DRILL.goal(TORCH_OPS, course, course[0], body)
    near = [torch.tensor(v, dtype=torch.float64) for v in (2.0, 0.2, 0.25, *([FAR_M, FAR_M, 0.1] * (NEAR - 1)))]
    zero = (course[0] * 0.0,) * 4
    avoid_cost(TORCH_OPS, weights, body, goal, zero, zero, near, still).backward()
    x, y, _, _, vy, _ = (float(part.grad) for part in given)
    assert y > 0.0 and vy > 0.0  # to the left it gets worse
    assert y > abs(x)


def test_lessons_grow_faster_and_draw_rates_losses_and_forests() -> None:
    rng = np.random.default_rng(0)
    shares = np.linspace(0.0, 1.0, 200)
    lessons = [lesson(DRILL.curriculum, share, rng).conditions for share in shares]
    held = [one for one in lessons if one.grid_dropout == (1.0, 1.0)]
    assert held and all(one.setpoint_speed_m_s == (0.0, 0.0) for one in held)
    lessons = [one for one in lessons if one not in held]
    fastest = [one.setpoint_speed_m_s[1] for one in lessons]
    assert (
        fastest[0] == pytest.approx(DRILL.curriculum.first_speed_m_s, abs=0.3)
        and fastest[-1] == DRILL.curriculum.setpoint_speed_m_s
    )
    assert (np.diff(fastest) >= 0.0).all()
    rates = np.array([one.grid_hz[0] for one in lessons])
    assert rates.min() >= TRAINED_GRID_HZ[0] and rates.max() <= TRAINED_GRID_HZ[1] and np.ptp(rates) > 15.0
    assert max(one.grid_dropout[1] for one in lessons) <= DRILL.curriculum.grid_lost[1]
    blind = replace(DRILL.curriculum, grid_lost=(1.0, 1.0))
    assert lesson(blind, 0.5, rng).conditions.grid_dropout == (1.0, 1.0)
    airframe = load_airframe("cf2x")
    flights = draw_flights(airframe, lessons[-1], 400, rng)
    begun, course = DRILL.lessons(flights, airframe, DRILL.curriculum, 12.0, rng)
    assert course.shape == (DRILL.rows(12.0), 400)
    stays = course[0] == 0.0
    assert 0.0 < stays.mean() < 0.12
    assert course[0][~stays].min() >= 0.79 and course[0].max() <= lessons[-1].setpoint_speed_m_s[1]
    assert np.median(course[0][~stays]) == pytest.approx(math.sqrt(0.8 * course[0].max()), rel=0.15)  # log-uniform
    rows = course[COURSE_ROWS:].reshape(SHAPES_PLOT.bodies, SHAPE_ROWS, -1)
    found = (rows[: SHAPES_PLOT.places, 2] > NO_TREE).sum(axis=0) / (SHAPES_PLOT.length_m * SHAPES_PLOT.width_m)
    assert found.min() < 0.085 and found.max() > 0.11
    boxed = ((rows[:, 4] > 0.0) & (rows[:, 2] > NO_TREE)).any(axis=0)
    assert 0.3 < boxed.mean() < 0.5  # in the others trees alone stand
    thrown = (begun.launch_velocity_m_s[:, 0] > 0.5 * course[0])[~stays]
    assert 0.3 < thrown.mean() < 0.7


def test_rivals_have_as_many_parameters() -> None:
    wanted = parameters(avoid_spec("decay", DEFAULT_GRID))
    encoder = avoid_spec("decay", DEFAULT_GRID).encoder
    assert encoder is not None and encoder.parameters == 22168 and wanted < 30_000
    for form in ("default", "no_gate", "pure", "gru", "lstm", "mlp"):
        head = parameters(avoid_spec(form, DEFAULT_GRID)) - encoder.parameters
        assert head == pytest.approx(wanted - encoder.parameters, rel=0.02)
    with pytest.raises(ConfigError, match="cell"):
        avoid_spec("transformer", DEFAULT_GRID)


def test_the_encoder_is_that_of_the_drone() -> None:
    network = PolicyNetwork(avoid_spec("decay", DEFAULT_GRID), 3)
    assert network.encoder is not None and network.spec.encoder is not None
    own = Encoder(network.spec.encoder, {k: v for k, v in network.weights().items() if k.startswith("encoder.")})
    rng = np.random.default_rng(1)
    grid = rng.uniform(-2.0, 2.0, (6, network.spec.encoder.grid.numbers)).astype(np.float32)
    speed = rng.uniform(0.5, 6.0, 6).astype(np.float32)
    given = torch.from_numpy(np.concatenate([grid, speed[:, None] / np.float32(SPEED_SCALE_M_S)], axis=1))
    with torch.no_grad():
        wanted = network.encoder(given).numpy()
    found = np.stack([own.features(g, s) for g, s in zip(grid, speed.tolist(), strict=True)])
    assert_allclose(found, wanted, atol=2e-6)
    assert isinstance(network.encoder, GridEncoder) and network.spec.inputs == OBS_DIM + SIGHT_DIM + 24


@needs_cc
def test_a_run_that_resumes_is_the_run_that_went_on(tmp_path: Path) -> None:
    whole = AnalyticTrainer(config(), "compiled")
    for k in range(3):
        whole.update(k / 8)
    save_checkpoint(tmp_path / "run.safetensors", whole)
    resumed = load_checkpoint(tmp_path / "run.safetensors", config(), "compiled")
    for k in range(3, 6):
        one, other = whole.update(k / 8), resumed.update(k / 8)
        assert one.loss == other.loss
    for mine, its in zip(whole.network.parameters(), resumed.network.parameters(), strict=True):
        assert_array_equal(mine.detach().numpy(), its.detach().numpy())
    moved = PolicyNetwork(whole.network.spec, 0)
    assert moved.encoder is not None and whole.network.encoder is not None
    for before, after in zip(moved.encoder.parameters(), whole.network.encoder.parameters(), strict=True):
        assert not torch.equal(before, after)  # the encoder learns too


@needs_cc
def test_a_policy_is_exported_with_its_encoder_and_proved(tmp_path: Path) -> None:
    trainer = AnalyticTrainer(config(), "compiled")
    trainer.update(0.0)
    trainer.validate(trainer.idle())
    bundle = load_bundle(export_policy(trainer, tmp_path / "policy.safetensors", "avoid", "unknown"))
    assert bundle.sees and bundle.spec.encoder == trainer.network.spec.encoder
    assert bundle.metadata["sensor_limits_s"]["grid"] == 0.5
    assert set(bundle.metadata["trained_rates_hz"]) == {"imu", "flow", "range", "grid", "attitude"}


def test_who_cannot_be_trained_is_refused() -> None:
    with pytest.raises(ConfigError, match="C compiler"):
        AnalyticTrainer(config(), "torch")
    with pytest.raises(ConfigError, match="wiring"):
        AnalyticTrainer(config(wiring="9-6-4"), "compiled")
    with pytest.raises(ConfigError, match="density"):
        avoid_drill(2.0, 1.0)
    assert not Conditions().sees


def test_flights_that_go_on_change_their_speed_now_and_then_and_stay_where_no_grid_comes() -> None:
    rng = np.random.default_rng(5)
    old, new = np.full((DRILL.rows(1.0), 1000), 2.0), np.full((DRILL.rows(1.0), 1000), 5.0)
    seeing = lesson(replace(DRILL.curriculum, grid_lost=(0.2, 0.2)), 0.5, np.random.default_rng(1)).conditions
    found = DRILL.onward(old, new, seeing, rng)
    assert 0.05 < (found[0] == 5.0).mean() < 0.15 and (found[1:] == 2.0).all()
    held = DRILL.onward(old, new, replace(seeing, grid_dropout=(1.0, 1.0)), rng)
    assert not held[0].any() and (held[1:] == 2.0).all()


@needs_cc
def test_who_hears_no_grid_any_more_has_forgotten_what_it_saw() -> None:
    trainer = AnalyticTrainer(config(), "compiled")
    usual = sighted(Conditions())
    flights = draw_flights(trainer.airframe, usual, 16, trainer.rng)
    begun, course = DRILL.lessons(flights, trainer.airframe, DRILL.curriculum, 5.0, trainer.rng)
    keep = np.ones(16, np.bool_)
    carry = trainer.backend.launch(begun, course, usual, None, keep)
    for _ in range(2):
        _, carry = trainer.backend.gradient(trainer.network, carry, usual, 40)
    on = trainer.backend.launch(begun, course, usual, carry, keep)
    silent = trainer.backend.launch(begun, course, replace(usual, grid_dropout=(1.0, 1.0)), carry, keep)
    assert isinstance(on, FlatCarry) and isinstance(silent, FlatCarry)
    assert on.lanes.sight is not None and silent.lanes.sight is not None
    assert on.lanes.sight[-27:-3].any() and not silent.lanes.sight[-27:-3].any()
    assert (silent.lanes.sight[-2] == -INITIAL_AGE_S).all() and not silent.lanes.world.course[0].any()
    assert_array_equal(silent.lanes.world.value("body"), on.lanes.world.value("body"))
