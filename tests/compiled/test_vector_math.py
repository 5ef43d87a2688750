"""Lane functions: at most 2 ulp off in float, the C library in double, special values, all widths alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.compiled.running import Compiled, compile_text, needs_compiler

pytestmark = needs_compiler

ONE = ("sin", "cos", "exp", "tanh", "sqrt", "log", "log1p", "softplus", "sigmoid", "abs")
CALL = " ".join(f"out[{i}] = v_{name}(in[0]);" for i, name in enumerate(ONE))
RANGES = {
    "sin": (-200.0, 200.0),
    "cos": (-200.0, 200.0),
    "exp": (-103.0, 88.7),
    "tanh": (-12.0, 12.0),
    "sqrt": (0.0, 1e3),
    "log": (1e-38, 1e3),
    "log1p": (-0.999999, 1e3),
    "softplus": (-80.0, 80.0),
    "sigmoid": (-80.0, 80.0),
}
REFERENCE: dict[str, Callable[[Any], Any]] = {
    "sin": np.sin,
    "cos": np.cos,
    "exp": np.exp,
    "tanh": np.tanh,
    "sqrt": np.sqrt,
    "log": np.log,
    "log1p": np.log1p,
    "softplus": lambda x: np.logaddexp(0.0, x),
    "sigmoid": lambda x: 1.0 / (1.0 + np.exp(-x)),
}
WORST_ULP = {"sqrt": 0.5, "log": 1.0, "log1p": 1.0, "sigmoid": 3.0}  # else 2


@pytest.fixture(scope="module")
def lanes() -> Compiled:
    return compile_text("", CALL, (1, len(ONE)), 64, "float")


def samples(low: float, high: float) -> Any:
    """Dense floats of the range, near zero as well, and around the multiples of pi/2."""
    tiny = np.exp(np.linspace(np.log(1e-37), np.log(high), 100_000))
    near = np.arange(-127, 128, dtype=np.float32) * np.float32(np.pi / 2)
    around = [near.view(np.int32) + step for step in range(-6, 7)]
    parts = [np.linspace(low, high, 400_000), tiny, -tiny, np.concatenate(around).view(np.float32)]
    x = np.concatenate([part.astype(np.float32) for part in parts])
    x = x[(x >= np.float32(low)) & (x <= np.float32(high))]
    return np.resize(x, (1, -(-len(x) // 64) * 64))


def ulps(found: Any, exact: Any) -> Any:
    return np.abs(found.astype(np.float64) - exact) / np.spacing(np.abs(exact).astype(np.float32))


@pytest.mark.parametrize("name", RANGES)
def test_float_functions_are_accurate(name: str, lanes: Compiled) -> None:
    x = samples(*RANGES[name])
    found = lanes(x)[ONE.index(name)]
    exact = REFERENCE[name](x[0].astype(np.float64))
    assert np.max(ulps(found, exact)) <= WORST_ULP.get(name, 2.0)


@pytest.mark.parametrize("name", RANGES)
def test_double_functions_are_the_c_library(name: str) -> None:
    x = np.linspace(*RANGES[name], 4096)[None]
    found = compile_text("", CALL, (1, len(ONE)), 64, "double")(x)[ONE.index(name)]
    np.testing.assert_allclose(found, REFERENCE[name](x[0]), rtol=1e-14, atol=1e-300)


@pytest.mark.parametrize("lane_bytes", [16, 32])
def test_all_lane_widths_agree(lane_bytes: int, lanes: Compiled) -> None:
    x = np.resize(np.concatenate([samples(-30.0, 30.0)[:, ::16], samples(1e-3, 80.0)[:, ::16]], axis=1), (1, 65536))
    found = compile_text("", CALL, (1, len(ONE)), lane_bytes, "float")(x)
    with np.errstate(over="ignore"):
        np.testing.assert_array_max_ulp(np.nan_to_num(found), np.nan_to_num(lanes(x)), maxulp=1)


def test_special_values(lanes: Compiled) -> None:
    inf, nan = np.inf, np.nan
    x = np.resize(np.array([0.0, -0.0, inf, -inf, nan, -1.0, 1e-40, -3.0], np.float32), (1, 64))
    found = dict(zip(ONE, lanes(x)[:, :8].tolist(), strict=True))
    tiny = float(np.float32(1e-40))
    assert found["exp"][:4] == [1.0, 1.0, inf, 0.0]
    assert found["tanh"][:4] == [0.0, 0.0, 1.0, -1.0]
    assert np.signbit(found["tanh"][1]) and found["tanh"][6] == tiny
    assert found["sin"][6] == tiny and np.isnan(found["sin"][2:5]).all() and np.isnan(found["cos"][2:5]).all()
    assert found["log"][:4] == [-inf, -inf, inf, pytest.approx(nan, nan_ok=True)]
    assert found["log"][6] == pytest.approx(np.log(tiny), rel=1e-6) and np.isnan(found["log"][7])
    assert found["log1p"][5] == -inf and np.isnan(found["log1p"][7]) and found["log1p"][2] == inf
    assert found["softplus"][2:4] == [inf, 0.0] and found["sigmoid"][2:4] == [1.0, 0.0]
    assert all(np.isnan(values[4]) for values in found.values())
    assert found["abs"][3] == inf and not np.signbit(found["abs"][1])


def test_selection_and_limits() -> None:
    call = "out[0] = v_min(in[0], in[1]); out[1] = v_max(in[0], in[1]); out[2] = v_select(in[0], in[1], in[2], in[3]);"
    call += "out[3] = v_copysign(in[2], in[0]); out[4] = v_set(v_sum(in[2]));"
    run = compile_text("", call, (4, 5), 64, "float")
    x = np.random.default_rng(0).normal(size=(4, 16)).astype(np.float32)
    a, b, p, q = x
    wanted = [np.minimum(a, b), np.maximum(a, b), np.where(a > b, p, q), np.copysign(p, a)]
    np.testing.assert_array_equal(run(x)[:4], wanted)
    np.testing.assert_allclose(run(x)[4], p.sum(), rtol=1e-5)
    x[0] = np.nan
    found = run(x)
    assert np.isnan(found[:2]).all(), "a limit must not hide a NaN"
    np.testing.assert_array_equal(found[2], q)
