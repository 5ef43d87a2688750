"""tanh, sigmoid, exp and softplus of the exported C: how far from float64, and what they do at the ends."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from liquid_pilot.export import maths
from liquid_pilot.native import build
from liquid_pilot.native_step import FLAGS
from scripts.fit_functions import TARGETS, fit, largest_error
from tests.export.compiling import needs_compiler

F32 = npt.NDArray[np.float32]
FUNCTIONS = ("tanh", "sigmoid", "exp", "softplus")
STRICT_FLAGS = ("-std=c99", "-O0")


def source() -> str:
    lines = ["#include <stdint.h>"]
    for text in (maths.tanh_c, maths.sigmoid_c, maths.exp_c, maths.softplus_c):
        lines += [*text("p"), ""]
    for name in FUNCTIONS:
        lines.append(f"void each_{name}(const float *x, float *y, int n)")
        lines.append(f"{{ int i; for (i = 0; i < n; ++i) y[i] = p_{name}(x[i]); }}")
    return "\n".join(lines)


def computed(name: str, x: F32, flags: tuple[str, ...] = FLAGS) -> F32:
    y = np.empty_like(x)
    function = getattr(build(source(), "maths", flags), f"each_{name}")
    function(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data), ctypes.c_int(len(x)))
    return y


EXACT: dict[str, Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]] = {
    "tanh": np.tanh,
    "sigmoid": lambda x: np.asarray(0.5 + 0.5 * np.tanh(0.5 * x)),
    "exp": np.exp,
    "softplus": lambda x: np.asarray(np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))),
}
LARGEST = {"tanh": 5e-7, "sigmoid": 3e-7, "exp": 2e-7, "softplus": 4e-7}  # relative where the function is above 1


@needs_compiler
@pytest.mark.parametrize("flags", [FLAGS, STRICT_FLAGS], ids=["fused", "plain"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_against_double_precision(name: str, flags: tuple[str, ...]) -> None:
    top = 0.0 if name == "exp" else 30.0
    small = np.geomspace(1e-30, 1.0, 100_000)
    x = np.concatenate([np.linspace(-30.0, top, 1_000_000), -small, small * (top > 0.0)]).astype(np.float32)
    exact = EXACT[name](x.astype(np.float64))
    error = np.abs(computed(name, x, flags) - exact) / np.maximum(np.abs(exact), 1.0)
    assert 1e-8 < error.max() <= LARGEST[name]


@needs_compiler
def test_tanh_is_exact_at_zero_odd_within_one_and_near_zero_right_to_the_last_digits() -> None:
    x = np.geomspace(1e-20, 1e30, 200_000).astype(np.float32)
    y = computed("tanh", x)
    np.testing.assert_array_equal(computed("tanh", -x), -y)
    assert y.max() <= 1.0
    np.testing.assert_allclose(y, np.tanh(x.astype(np.float64)), rtol=5e-7)
    assert computed("tanh", np.zeros(1, np.float32))[0] == 0.0


@needs_compiler
def test_exp_of_nothing_is_one_and_exp_never_exceeds_one() -> None:
    x = -np.concatenate([np.zeros(1), np.geomspace(1e-30, 1e30, 200_000)]).astype(np.float32)
    y = computed("exp", x)
    assert y[0] == 1.0 and y.max() == 1.0 and (y >= 0.0).all() and y[-1] < 1e-37
    inside = x > -80.0
    np.testing.assert_allclose(y[inside], np.exp(x[inside].astype(np.float64)), rtol=3e-7)


@needs_compiler
@pytest.mark.parametrize("name", FUNCTIONS)
def test_nan_stays_and_infinity_has_its_limit(name: str) -> None:
    y = computed(name, np.array([np.nan, -np.inf, 3e38, np.inf], np.float32))
    assert np.isnan(y[0])
    assert y[1] == {"tanh": -1.0, "sigmoid": 0.0, "exp": y[1], "softplus": y[1]}[name] and abs(y[1] % 1.0) < 1e-37
    if name != "exp":
        assert y[2] == {"tanh": 1.0, "sigmoid": 1.0, "softplus": np.float32(3e38)}[name]


@pytest.mark.parametrize("name", TARGETS)
def test_the_coefficients_are_the_fitted_ones(name: str) -> None:
    target = TARGETS[name]
    used, found = largest_error(target, *target.used), largest_error(target, *fit(target, points=800, rounds=200))
    assert 1e-10 < used < 3e-8
    assert found == pytest.approx(used, rel=0.3)
