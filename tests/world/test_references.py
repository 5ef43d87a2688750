"""Paths: derivatives by finite differences, smooth starts, known shapes, refusals."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.references import (
    Reference,
    figure_eight,
    hover,
    lap_s,
    lissajous,
    velocity_sinusoid,
    velocity_steps,
)
from liquid_pilot.errors import ConfigError

PATHS: dict[str, Reference] = {
    "hover": hover((1.0, -2.0, 3.0)),
    "eight": figure_eight(3.5),
    "lissajous": lissajous((1.0, 0.7, 0.2), (4.0, 3.0, 5.0), (0.3, -1.0, 2.0), (0.1, 0.2, 1.5), 1.5),
    "sinusoid": velocity_sinusoid((0.5, -1.0, 0.2), 2.5),
    "steps": velocity_steps([(1.0, (1.0, 0.0, 0.0)), (1.2, (0.0, -1.0, 0.3)), (4.0, (0.0, 0.0, 0.0))]),
}


def path(name: str, t_s: float) -> np.ndarray:
    point = PATHS[name](t_s)
    return np.array([point.position_m, point.velocity_m_s, point.acceleration_m_s2])


@pytest.mark.parametrize("name", PATHS)
@given(t_s=st.floats(-1.0, 12.0))
def test_velocity_and_acceleration_are_the_derivatives(name: str, t_s: float) -> None:
    h = 1e-5
    slope = (path(name, t_s + h) - path(name, t_s - h)) / (2.0 * h)
    # central differences: h^2 times the third derivative, and rounding over h
    np.testing.assert_allclose(path(name, t_s)[1:], slope[:2], atol=1e-6)


@pytest.mark.parametrize("name", PATHS)
def test_a_path_starts_at_rest_and_has_no_step_in_the_acceleration(name: str) -> None:
    assert (path(name, 0.0)[1:] == 0.0).all() and (path(name, -5.0) == path(name, 0.0)).all()
    h = 1e-3
    a = np.array([path(name, i * h)[2] for i in range(6000)])
    assert np.abs(np.diff(a, axis=0)).max() < 60.0 * h  # the jerk is bounded, so steps shrink with h


def test_the_eight_is_the_one_of_the_field() -> None:
    period, eight = 10.0, figure_eight(10.0)
    begin, end = lap_s(period, 2)
    assert end - begin == pytest.approx(period)
    points = [eight(t) for t in np.linspace(begin, end, 4001)]
    p, v = np.array([x.position_m for x in points]), np.array([x.velocity_m_s for x in points])
    assert p[0] == pytest.approx([0.0, 0.0, 1.0], abs=1e-9) and p[-1] == pytest.approx(p[0], abs=1e-9)
    assert np.abs(p).max(axis=0) == pytest.approx([1.0, 0.5, 1.0], abs=1e-6)
    # both axes pass the middle at full speed: 2 pi / T times (1, 2 x 0.5)
    assert np.linalg.norm(v, axis=1).max() == pytest.approx(math.sqrt(2.0) * 2.0 * math.pi / period, rel=1e-6)


def test_laps_follow_each_other() -> None:
    assert lap_s(4.0, 1)[0] == 0.0
    assert lap_s(4.0, 1)[1] == lap_s(4.0, 2)[0] and lap_s(4.0, 2)[1] == lap_s(4.0, 3)[0]


def test_steps_reach_their_velocities_and_the_sinusoid_its_amplitude() -> None:
    steps = PATHS["steps"]
    assert steps(0.99).velocity_m_s == (0.0, 0.0, 0.0)
    assert steps(3.0).velocity_m_s == pytest.approx((0.0, -1.0, 0.3))
    assert steps(9.0).velocity_m_s == pytest.approx((0.0, 0.0, 0.0), abs=1e-12)
    v = np.array([path("sinusoid", t)[1] for t in np.linspace(2.0, 12.0, 4001)])
    assert np.abs(v).max(axis=0) == pytest.approx([0.5, 1.0, 0.2], rel=1e-4)
    assert velocity_sinusoid((0.5, -1.0, 0.2), 2.5, (4.0, 5.0, 6.0))(0.0).position_m == pytest.approx((4.0, 5.0, 6.0))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: figure_eight(0.0), "period_s.*positive"),
        (lambda: figure_eight(math.nan), "period_s.*positive"),
        (lambda: figure_eight(5.0, ramp_s=0.0), "ramp_s"),
        (lambda: figure_eight(5.0, amplitude_m=(math.inf, 1.0)), "amplitude_m.*three finite"),
        (lambda: hover((0.0, math.nan, 1.0)), "position_m.*three finite"),
        (lambda: velocity_sinusoid((1.0, 0.0, 0.0), -1.0), "period_s"),
        (lambda: velocity_steps([]), "at least one"),
        (lambda: velocity_steps([(1.0, (0.0, 0.0, 0.0)), (1.0, (1.0, 0.0, 0.0))]), "rising"),
        (lambda: velocity_steps([(1.0, (0.0, math.nan, 0.0))]), "velocity.*three finite"),
        (lambda: lap_s(5.0, 0), "count from 1"),
        (lambda: lap_s(1.0, 1), "ramp"),
    ],
)
def test_what_makes_no_path_is_refused(make: Callable[[], Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make()
