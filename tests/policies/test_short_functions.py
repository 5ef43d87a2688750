"""The short tanh and sigmoid of compiled networks are tanh and sigmoid."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

from policies.fragments import fragment
from tests.compiled.running import compile_text, needs_compiler


@needs_compiler
def test_short_tanh_is_tanh_to_float32_and_stays_in_the_unit_interval() -> None:
    function = compile_text(fragment("short_tanh.c"), "out[0] = v_tanh(in[0]);", (1, 1), 16, "float")
    x = np.concatenate([np.linspace(-9.0, 9.0, 40_000), np.geomspace(1e-30, 3e38, 400), [np.inf, -np.inf, 0.0, 0.0]])
    y = function(x[None].astype(np.float32))[0]
    assert_allclose(y, np.tanh(x), rtol=5e-7, atol=4e-7)
    assert np.abs(y).max() <= 1.0
    assert np.isnan(function(np.full((1, 4), np.nan, np.float32))).all()


@needs_compiler
@pytest.mark.parametrize(("real", "tolerance"), [("float", 3e-7), ("double", 4e-16)])
def test_short_sigmoid_is_the_sigmoid_and_stays_in_the_unit_interval(real: str, tolerance: float) -> None:
    text = fragment("short_tanh.c") + fragment("short_sigmoid.c")
    function = compile_text(text, "out[0] = short_sigmoid(in[0]);", (1, 1), 16, real)
    number = np.float32 if real == "float" else np.float64
    far = np.geomspace(1e-30, 3e38, 400)
    z = np.concatenate([np.linspace(-40.0, 40.0, 40_000), far, -far, [np.inf, -np.inf, 0.0, -0.0]]).astype(number)
    y = function(z[None])[0]
    with np.errstate(over="ignore"):
        exact = np.where(z > 0, 1.0, np.exp(-np.abs(z, dtype=np.float64))) / (
            1.0 + np.exp(-np.abs(z, dtype=np.float64))
        )
    assert_allclose(y, exact, rtol=0.0, atol=tolerance)
    assert y.min() >= 0.0 and y.max() <= 1.0
    assert np.isnan(function(np.full((1, 4), np.nan, number))).all()
