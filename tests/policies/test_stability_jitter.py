"""Bounds on what wrong time stamps do: above brute force, and equal to known answers."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.testing import assert_close

from liquid_pilot.errors import ConfigError
from policies.stability.box import box, point_box
from policies.stability.jitter import jitter_bound, steady_jitter_bound
from policies.stability.layers import cfc_layers
from policies.stability.reachable import reachable
from tests.policies.stable_cells import (
    FORMS,
    KINDS,
    UNIT_S,
    UNITS,
    cell,
    generator,
    one_neuron,
    samples,
)


@settings(max_examples=40)
@given(
    form=st.sampled_from(FORMS),
    kind=st.sampled_from(KINDS),
    jitter_s=st.floats(0.0, 0.05),
    dt_s=st.floats(0.0, 0.1),
    seed=st.integers(0, 50),
)
def test_jitter_bounds_hold_at_points_and_over_boxes(
    form: str, kind: str, jitter_s: float, dt_s: float, seed: int
) -> None:
    made = cell(form, kind, seed, 3.0)
    whole = box(made, 1.0, dt_s, dt_s + 0.01, h_limit=1.0)
    x, h, times_s = samples(whole, 50, seed)
    at_points, over_box = (
        jitter_bound(made, point_box(made, x, h, times_s), jitter_s),
        jitter_bound(made, whole, jitter_s),
    )
    exact = made.step(x, h, times_s)
    for share in (-1.0, -0.4, 0.1, 0.7, 1.0):
        moved = (made.step(x, h, (times_s + share * jitter_s).clamp(min=0.0)) - exact).abs()
        assert bool((moved <= at_points + 1e-8).all()) and bool((moved <= over_box + 1e-8).all())


def test_jitter_bound_at_a_point_is_the_worst_case_of_decay() -> None:
    made = cell("decay", "bare", scale=2.0)
    x, h, dt_s = samples(box(made, 1.0, 0.02, 0.1), 20, 4)
    (target, rate), z = cfc_layers(made)[0].heads(), torch.cat([x, h], dim=1)
    speed = nn.functional.softplus(rate(z)) / UNIT_S
    worst = (torch.tanh(target(z)) - h).abs() * (torch.exp(-speed * (dt_s - 0.02)) - torch.exp(-speed * dt_s))
    assert_close(jitter_bound(made, point_box(made, x, h, dt_s), 0.02), worst, rtol=1e-7, atol=1e-9)


def test_jitter_bound_of_the_published_form_is_below_a_quarter_of_its_time_gate() -> None:
    made = cell("default", "bare", scale=3.0)
    x, h, dt_s = samples(box(made, 1.0, 0.02, 0.1), 20, 4)
    ff1, ff2, time_a, _ = (linear(torch.cat([x, h], dim=1)) for linear in cfc_layers(made)[0].heads())
    published = time_a.abs() / UNIT_S * 0.01 / 4 * (torch.tanh(ff2) - torch.tanh(ff1)).abs()
    found = jitter_bound(made, point_box(made, x, h, dt_s), 0.01)
    assert bool((found <= published * (1 + 1e-9)).all())
    assert float((found / published).detach().max()) > 0.5


def test_steady_jitter_of_a_neuron_that_sees_nothing_is_j_over_one_minus_rho() -> None:
    made = one_neuron(target_bias=0.7, rate_bias=0.3)
    rate = math.log1p(math.exp(0.3)) / UNIT_S
    found = steady_jitter_bound(made, box(made, 1.0, 0.01, 0.02), 0.002)
    rho = math.exp(-rate * 0.008)  # the shortest elapsed time there may be
    assert found.contraction == pytest.approx(rho, rel=1e-9)
    assert found.steady_state is not None
    assert_close(found.steady_state, found.one_step / (1 - rho), rtol=1e-9, atol=0.0)


@pytest.mark.parametrize(("form", "kind", "scale"), [("decay", "dense", 0.15), ("default", "wired", 0.5)])
def test_sequences_with_wrong_times_stay_within_the_steady_bound(form: str, kind: str, scale: float) -> None:
    made = cell(form, kind, scale=scale)
    inside = reachable(made, box(made, 1.0, 0.016, 0.034, h_limit=0.0))
    assert inside is not None
    inside = replace(inside, dt_s=box(made, 1.0, 0.02, 0.03).dt_s)
    bound = steady_jitter_bound(made, inside, 0.004)
    assert bound.steady_state is not None and bound.contraction < 1.0
    true = wrong = torch.zeros(32, UNITS, dtype=torch.float64)
    farthest = torch.zeros(UNITS, dtype=torch.float64)
    for k in range(60):
        x, _, dt_s = samples(inside, 32, k)
        error_s = 0.004 * (2 * torch.rand(32, 1, generator=generator(k), dtype=torch.float64) - 1).sign()
        with torch.no_grad():
            true, wrong = made.step(x, true, dt_s), made.step(x, wrong, dt_s + error_s)
        farthest = torch.maximum(farthest, (true - wrong).abs().amax(0))
    assert bool((farthest <= bound.steady_state).all())
    assert float((bound.steady_state / farthest).min()) < 20.0


def test_no_steady_bound_where_steps_do_not_contract_or_states_leave_the_box() -> None:
    wild = cell("decay", "bare", scale=20.0)
    loud = steady_jitter_bound(wild, box(wild, 1.0, 0.01, 0.02), 0.001)
    assert loud.contraction >= 1.0 and loud.steady_state is None
    calm = cell("default", "bare", scale=0.1)
    assert steady_jitter_bound(calm, box(calm, 1.0, 0.01, 0.02), 0.001).steady_state is not None
    assert steady_jitter_bound(calm, box(calm, 1.0, 0.01, 0.02, h_limit=1e-3), 0.001).steady_state is None


def test_bad_jitter_is_refused() -> None:
    made = cell("decay", "dense")
    for jitter_s in (-0.001, math.nan, math.inf):
        with pytest.raises(ConfigError, match="jitter_s"):
            jitter_bound(made, box(made, 1.0, 0.0, 0.1), jitter_s)
    with pytest.raises(ConfigError, match="parts is 0"):
        steady_jitter_bound(made, box(made, 1.0, 0.0, 0.1), 0.001, parts=0)
