"""Gusts: variance is strength squared whatever the step, and long waits forget."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

from envs.wind import GustState, gust_m_s, step_gusts
from liquid_pilot.ops import NUMPY_OPS

Lanes: TypeAlias = npt.NDArray[np.float64]


def blown(dt_s: float, seconds: float, lanes: int, seed: int) -> Lanes:
    """Gusts (3, lanes) of strength 2 m/s after some time."""
    rng = np.random.default_rng(seed)
    zero = np.zeros(lanes)
    u, v, w = rng.standard_normal((3, lanes))
    state: GustState[Any] = (u, v, zero, w, zero)
    for _ in range(round(seconds / dt_s)):
        a, b, c = rng.standard_normal((3, lanes))
        state = step_gusts(NUMPY_OPS, state, np.full(lanes, dt_s), (a, b, c))
    return np.stack(gust_m_s(state, np.full(lanes, 2.0)))


@pytest.mark.parametrize("dt_s", [0.0025, 0.01, 0.04])
def test_variance_is_strength_squared(dt_s: float) -> None:
    gusts = blown(dt_s, 20.0, 4000, 1)
    # 4000 lanes: one standard deviation of the estimate is 1.1 %
    assert np.std(gusts, axis=1) == pytest.approx([2.0, 2.0, 2.0], rel=0.05)
    assert np.mean(gusts, axis=1) == pytest.approx([0.0, 0.0, 0.0], abs=0.15)


def test_axes_are_independent() -> None:
    c = np.corrcoef(blown(0.04, 20.0, 4000, 2))
    assert np.abs(c - np.eye(3)).max() < 0.06


def test_zero_strength_is_calm_and_zero_time_changes_nothing() -> None:
    state = (0.3, -0.2, 0.1, 0.4, -0.5)
    assert gust_m_s(state, 0.0) == (0.0, 0.0, 0.0)
    assert step_gusts(NUMPY_OPS, state, 0.0, (9.0, 9.0, 9.0)) == pytest.approx(state)
