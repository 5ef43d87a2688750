"""Certified bounds hold for every sample and come near it; Jacobians are those of finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.testing import assert_close

from liquid_pilot.errors import ConfigError
from policies.cells.cell import Cell
from policies.cells.cfc import CfC
from policies.cells.ltc import LTC
from policies.cells.ltc_solvers import derivative, sensory_drive
from policies.stability.bounds import norm_bound, step_bounds
from policies.stability.box import box, point_box
from policies.stability.interval import Interval, point
from policies.stability.jacobian import contraction_rate_per_s, step_jacobian
from policies.stability.layers import cfc_layers, linear_maps
from policies.stability.lipschitz import lipschitz_bound, measured_lipschitz
from policies.stability.norm_balls import NormBall, jacobian_norms
from policies.stability.reachable import reachable
from tests.policies.stable_cells import (
    FORMS,
    INPUTS,
    KINDS,
    UNIT_S,
    UNITS,
    cell,
    generator,
    one_neuron,
    samples,
    wiring,
)


def assert_inside(values: Tensor, bounds: Interval) -> None:
    slack = 1e-8 * (1.0 + bounds.magnitude)  # torch's softplus is off by 2e-9 near its threshold
    assert bool((values >= bounds.low - slack).all())
    assert bool((values <= bounds.high + slack).all())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_jacobian_equals_finite_differences(form: str, kind: str) -> None:
    made, eps = cell(form, kind, scale=2.0), 1e-6
    x, h, dt_s = samples(box(made, 1.0, 0.002, 0.05), 8, 1)
    x, h, dt_s = 0.9 * x, 0.9 * h, 0.9 * dt_s
    found = step_jacobian(made, x, h, dt_s)
    for value, slope in ((x, found.by_x), (h, found.by_h), (dt_s, found.by_dt_per_s[..., None])):
        for column in range(value.shape[1]):
            ends = []
            for sign in (1.0, -1.0):
                original = value[:, column].clone()
                value[:, column] += sign * eps
                ends.append(made.step(x, h, dt_s))
                value[:, column] = original
            assert_close((ends[0] - ends[1]) / (2 * eps), slope[..., column], rtol=1e-5, atol=1e-6)


def test_jacobian_of_ltc_at_dt_zero_is_the_identity_and_its_slope_in_time_the_derivative() -> None:
    for solver in ("semi_implicit", "euler", "rk4"):
        made = LTC(INPUTS, UNITS, solver=solver, time_unit_s=UNIT_S).double()
        x, h, dt_s = samples(box(made, 1.0, 0.0, 0.0), 8, 0)
        found, weights = step_jacobian(made, x, h, dt_s), made.weights()
        assert_close(found.by_h, torch.eye(UNITS, dtype=torch.float64).expand(8, -1, -1))
        assert_close(found.by_dt_per_s, derivative(weights, sensory_drive(weights, x), h) / UNIT_S)
        assert torch.equal(found.by_x, torch.zeros_like(found.by_x))
    with pytest.raises(ConfigError, match="adaptive"):
        step_jacobian(LTC(INPUTS, UNITS, solver="adaptive").double(), x, h, dt_s)


def test_jacobian_of_decay_is_its_closed_form() -> None:
    made = cell("decay", "bare", scale=2.0)
    x, h, dt_s = samples(box(made, 2.0, 0.0, 0.1), 16, 2)
    (target, rate), z = cfc_layers(made)[0].heads(), torch.cat([x, h], dim=1)
    goal, r, dt = torch.tanh(target(z)), rate(z), dt_s / UNIT_S
    keep = torch.exp(-dt * nn.functional.softplus(r))
    by_target, by_rate = (1 - keep) * (1 - goal**2), -(h - goal) * keep * dt * torch.sigmoid(r)
    by_z = by_target[..., None] * target.weight + by_rate[..., None] * rate.weight
    found = step_jacobian(made, x, h, dt_s)
    assert_close(found.by_x, by_z[..., :INPUTS])
    assert_close(found.by_h, by_z[..., INPUTS:] + torch.diag_embed(keep))
    assert_close(found.by_dt_per_s, (goal - h) * keep * nn.functional.softplus(r) / UNIT_S)


def test_jacobian_can_be_a_penalty() -> None:
    made = cell("decay", "dense")
    step_jacobian(made, *samples(box(made, 1.0, 0.01, 0.02), 4, 0)).by_h.square().sum().backward()
    assert all(bool(p.grad is not None and p.grad.abs().max() > 0) for p in made.parameters())


@settings(max_examples=25)
@given(
    form=st.sampled_from(FORMS),
    kind=st.sampled_from(KINDS),
    scale=st.sampled_from([0.3, 1.0, 4.0, 30.0]),
    x_limit=st.floats(0.0, 5.0),
    dt_s=st.tuples(st.floats(0.0, 0.2), st.floats(0.0, 0.2)),
    seed=st.integers(0, 20),
)
def test_bounds_enclose_every_step_and_every_derivative(
    form: str, kind: str, scale: float, x_limit: float, dt_s: tuple[float, float], seed: int
) -> None:
    made = cell(form, kind, seed, scale)
    inside = box(made, x_limit, min(dt_s), max(dt_s), h_limit=1.5)
    bounds, points = step_bounds(made, inside), samples(inside, 200, seed)
    found = step_jacobian(made, *points)
    assert_inside(made.step(*points), bounds.state)
    assert_inside(found.by_x, bounds.by_x)
    assert_inside(found.by_h, bounds.by_h)
    assert_inside(found.by_dt_per_s, bounds.by_dt_per_s)
    for norm in (math.inf, 2.0):
        for jacobians, limit in zip(found[:2], jacobian_norms(made, inside, norm), strict=True):
            assert float(torch.linalg.matrix_norm(jacobians, ord=norm).detach().max()) <= float(limit) * (1 + 1e-8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_bounds_of_single_points_are_the_step_and_its_jacobian(form: str, kind: str) -> None:
    made = cell(form, kind, 3, 2.0)
    points = samples(box(made, 1.0, 0.0, 0.1), 16, 3)
    bounds, found = step_bounds(made, point_box(made, *points)), step_jacobian(made, *points)
    pairs = (
        (bounds.state, made.step(*points)),
        (bounds.by_x, found.by_x),
        (bounds.by_h, found.by_h),
        (bounds.by_dt_per_s, found.by_dt_per_s),
    )
    for interval, value in pairs:
        assert_close(interval.low, value, rtol=1e-8, atol=1e-8)
        assert_close(interval.high, value, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("norm", [math.inf, 2.0])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
def test_measured_constants_stay_below_certified_ones_and_come_near(form: str, kind: str, norm: float) -> None:
    made = cell(form, kind)
    inside = box(made, 1.0, 0.005, 0.02, h_limit=2.0 if form == "no_gate" else 1.0)
    bound = lipschitz_bound(made, inside, norm)
    measured = measured_lipschitz(made, inside, generator(0), norm, points=64, climbers=4, rounds=10)
    pairs = [(getattr(bound, name), getattr(measured, name)) for name in ("by_x", "by_h", "by_dt_per_s")]
    assert all(0.0 < below <= above * (1 + 1e-9) for above, below in pairs)
    assert max(above / below for above, below in pairs) < (8.0 if kind == "dense" else 5.0)


def test_products_of_norm_balls_reach_as_far_as_their_worst_members() -> None:
    a, b = torch.rand(2, 1, 3, 3, generator=generator(0), dtype=torch.float64)
    exact, wide = (NormBall(a, torch.tensor([r], dtype=torch.float64), 2.0) for r in (0.0, 0.5))
    other = NormBall(b, torch.tensor([0.5], dtype=torch.float64), 2.0)
    assert_close(exact.matmul(other).radius, 0.5 * exact.of(a))  # off by 0.5 along a's strongest direction
    assert_close(wide.matmul(other).radius, 0.5 * exact.of(a) + 0.5 * (exact.of(b) + 0.5))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_certified_constants_are_below_the_product_of_norms(scale: float, seed: int) -> None:
    made = cell("default", "dense", seed, scale)
    bound = lipschitz_bound(made, box(made, 1.0, 0.0, 0.02), 2.0)
    below, *heads = (linear.weight.detach() for linear in linear_maps(cfc_layers(made)[0]))
    ff1, ff2, time_a, time_b = (float(torch.linalg.matrix_norm(weight, ord=2)) for weight in heads)
    steepest = ff1 + ff2 + 2 / 4 * (time_a * 0.02 / UNIT_S + time_b)  # |g2 - g1| <= 2 and the sigmoid's slope <= 1 / 4
    for found, columns in ((bound.by_x, below[:, :INPUTS]), (bound.by_h, below[:, INPUTS:])):
        product = steepest * 1.7159 * 0.666 * float(torch.linalg.matrix_norm(columns, ord=2))
        assert found < 0.9 * product


def test_ascent_finds_more_than_the_points_it_starts_from() -> None:
    made = cell("decay", "dense", scale=3.0)
    inside = box(made, 1.0, 0.005, 0.02)
    few = measured_lipschitz(made, inside, generator(0), points=8, climbers=8, rounds=1)
    many = measured_lipschitz(made, inside, generator(0), points=8, climbers=8, rounds=30)
    assert many.by_x > few.by_x and many.by_h > few.by_h and many.by_dt_per_s > few.by_dt_per_s


def test_constants_of_a_neuron_that_sees_nothing_are_known() -> None:
    made = one_neuron(target_bias=0.7, rate_bias=0.3)
    rate = math.log1p(math.exp(0.3)) / UNIT_S
    for norm in (math.inf, 2.0):
        bound = lipschitz_bound(made, box(made, 5.0, 0.01, 0.1), norm)
        assert bound.by_x == 0.0
        assert bound.by_h == pytest.approx(math.exp(-rate * 0.01), rel=1e-9)
        assert bound.by_dt_per_s == pytest.approx(rate * math.exp(-rate * 0.01) * (1 + math.tanh(0.7)), rel=1e-9)
    measured = measured_lipschitz(made, box(made, 5.0, 0.01, 0.1), generator(0), points=16)
    assert measured.by_h == pytest.approx(bound.by_h, rel=1e-3)


@given(seed=st.integers(0, 1000), width=st.floats(0.0, 3.0))
def test_norm_of_an_interval_matrix_bounds_its_members(seed: int, width: float) -> None:
    centre, radius, where = torch.rand(3, 4, 5, generator=generator(seed), dtype=torch.float64) * 2 - 1
    matrices = Interval(centre - width * radius.abs(), centre + width * radius.abs())
    member = centre + width * radius.abs() * where
    for norm in (math.inf, 2.0):
        assert float(torch.linalg.matrix_norm(member, ord=norm)) <= float(norm_bound(matrices, norm)) * (1 + 1e-12)
        exact = torch.linalg.matrix_norm(centre, ord=norm)
        assert_close(norm_bound(point(centre), norm), exact, rtol=1e-10, atol=0.0)


def test_contraction_rate_of_a_neuron_that_sees_nothing_is_its_own_rate() -> None:
    made = one_neuron(target_bias=0.7, rate_bias=0.3)
    x, h, dt_s = samples(box(made, 1.0, 0.001, 0.1), 16, 0)
    expected = torch.full((16,), math.log1p(math.exp(0.3)) / UNIT_S, dtype=torch.float64)
    for norm in (math.inf, 2.0):
        assert_close(contraction_rate_per_s(made, x, h, dt_s, norm), expected)


class Linear(Cell):
    """h' = a h + b x + c dt: all constants are known everywhere."""

    def __init__(self) -> None:
        super().__init__(INPUTS, 2)
        self.by_x, self.by_h, self.by_dt = nn.Linear(INPUTS, 2), nn.Linear(2, 2), nn.Linear(1, 2)

    def advance(self, x: Tensor, h: Tensor, dt_s: Tensor) -> Tensor:
        total: Tensor = self.by_x(x) + self.by_h(h) + self.by_dt(dt_s)
        return total


def test_any_cell_can_be_measured() -> None:
    made = Linear()
    for norm in (math.inf, 2.0):
        found = measured_lipschitz(made, box(made, 1.0, 0.0, 1.0), generator(0), norm, points=2)
        for value, linear in ((found.by_x, made.by_x), (found.by_h, made.by_h), (found.by_dt_per_s, made.by_dt)):
            exact = torch.linalg.matrix_norm(linear.weight.detach().double(), ord=norm)
            assert value == pytest.approx(float(exact), rel=1e-9)
    with pytest.raises(ConfigError, match="this needs a CfC and got a Linear"):
        lipschitz_bound(made, box(made, 1.0, 0.0, 1.0))


def test_slow_layers_have_a_jacobian_and_no_bounds_of_one_step() -> None:
    plain = cell("decay", "wired", scale=2.0)
    slow = CfC(INPUTS, wiring=wiring().multi_rate(0), time_unit_s=UNIT_S).double()
    slow.load_state_dict(plain.state_dict())
    x, h, dt_s = samples(box(plain, 1.0, 0.01, 0.02), 8, 0)
    x[:, 0] = 1.0  # the slow layer advances
    clock = torch.zeros(8, 1, dtype=torch.float64)
    found, expected = step_jacobian(slow, x, torch.cat([h, clock], dim=1), dt_s), step_jacobian(plain, x, h, dt_s)
    assert_close(found.by_h[:, :UNITS, :UNITS], expected.by_h)
    assert_close(found.by_x[:, :UNITS], expected.by_x)
    with pytest.raises(ConfigError, match="without slow layers"):
        step_bounds(slow, box(slow, 1.0, 0.0, 0.1))


@settings(max_examples=20)
@given(form=st.sampled_from(FORMS[:3]), kind=st.sampled_from(KINDS), scale=st.floats(0.1, 5.0), seed=st.integers(0, 50))
def test_no_sequence_leaves_the_reachable_states(form: str, kind: str, scale: float, seed: int) -> None:
    made = cell(form, kind, seed, scale)
    found = reachable(made, box(made, 1.0, 0.01, 0.2, h_limit=0.0))
    assert found is not None
    assert float(found.h.magnitude.max()) <= (2.0 if form == "no_gate" else 1.0) * 1.011
    h = torch.zeros(64, UNITS, dtype=torch.float64)
    for k in range(20):
        x, _, dt_s = samples(found, 64, 100 * seed + k)
        h = made.step(x, h, dt_s).detach()
        assert_inside(h, found.h)


def test_reachable_states_of_a_neuron_that_sees_nothing_end_at_its_target() -> None:
    made = one_neuron(target_bias=0.7, rate_bias=0.3)
    found = reachable(made, box(made, 1.0, 0.0, 1e6, h_limit=0.0))
    assert found is not None
    assert math.tanh(0.7) <= float(found.h.high) <= math.tanh(0.7) * 1.02
    assert -math.tanh(0.7) * 0.02 <= float(found.h.low) <= 0.0
    wide = cell("pure", "bare", scale=50.0)
    assert reachable(wide, box(wide, 1.0, 0.0, 0.01, h_limit=0.0)) is None


def test_bad_arguments_are_refused_with_what_was_found() -> None:
    made = cell("decay", "dense")
    inside = box(made, 1.0, 0.0, 0.1)
    x, h = torch.zeros(2, INPUTS, dtype=torch.float64), torch.zeros(2, UNITS, dtype=torch.float64)
    with pytest.raises(ConfigError, match="x_limit is -1"):
        box(made, -1.0, 0.0, 0.1)
    with pytest.raises(ConfigError, match=r"x_limit has shape \(6,\)"):
        box(made, torch.ones(UNITS), 0.0, 0.1)
    with pytest.raises(ConfigError, match="h_limit is nan"):
        box(made, 1.0, 0.0, 0.1, h_limit=math.nan)
    for times in ((-0.1, 0.1), (0.2, 0.1), (0.0, math.inf), (math.nan, 0.1)):
        with pytest.raises(ConfigError, match="elapsed times"):
            box(made, 1.0, *times)
    with pytest.raises(ConfigError, match="norm is 1"):
        lipschitz_bound(made, inside, 1.0)
    with pytest.raises(ConfigError, match="parts is 0"):
        lipschitz_bound(made, inside, parts=0)
    with pytest.raises(ConfigError, match="2 rows"):
        lipschitz_bound(made, point_box(made, x, h, torch.zeros(2)))
    with pytest.raises(ConfigError, match=r"\(1, 1\) and the cell has \(3, 6\)"):
        step_bounds(made, box(one_neuron(), 1.0, 0.0, 0.1))
    with pytest.raises(ConfigError, match="not finite; give smaller limits"):
        lipschitz_bound(cell("no_gate", "dense", scale=math.nan), inside, 2.0)
    with pytest.raises(ConfigError, match="step got"):
        step_jacobian(made, x, h, torch.zeros(3))
    with pytest.raises(ConfigError, match="0 s"):
        contraction_rate_per_s(made, x, h, torch.zeros(2))
