"""LTC onboard: numpy and C give the numbers of the trained cell, dense and wired."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from liquid_pilot.errors import BundleError, ConfigError, MessageError
from liquid_pilot.export.ltc import live_synapses, ltc_source
from liquid_pilot.ltc import LtcSpec, LtcStep
from liquid_pilot.native import build
from liquid_pilot.native_step import FLAGS
from policies import LTC, AutoNCP
from policies.export_ltc import onboard_ltc
from tests.export.compiling import COMPILERS, STRICT, needs_compiler

INPUTS = 7
CELLS: dict[str, Any] = {
    "dense": lambda: LTC(INPUTS, 9, time_unit_s=0.05, seed=1),
    "wired": lambda: LTC(INPUTS, wiring=AutoNCP(INPUTS, 19, 4), time_unit_s=0.05),
    "four unfolds": lambda: LTC(INPUTS, 5, unfolds=4, time_unit_s=0.02, seed=2),
}


def events(count: int = 1000) -> list[tuple[Any, float]]:
    rng = np.random.default_rng(0)
    dt_s = np.exp(rng.uniform(np.log(1e-3), np.log(0.2), count))
    dt_s[::10] = 0.0
    return list(zip(rng.normal(size=(count, INPUTS)).astype(np.float32), dt_s.tolist(), strict=True))


def c_step(spec: LtcSpec, weights: Any) -> Any:
    function: Any = build(ltc_source(spec, weights, "p"), "ltc_step", FLAGS).p_step
    state, shown = np.zeros(spec.units, np.float32), np.zeros(spec.outputs, np.float32)

    def step(x: Any, dt_s: float) -> tuple[Any, Any, int]:
        at = [ctypes.c_void_p(array.ctypes.data) for array in (state, x, shown)]
        status = function(at[0], at[1], ctypes.c_float(dt_s), at[2])
        return shown.copy(), state.copy(), status

    return step


@needs_compiler
@pytest.mark.parametrize("name", CELLS)
def test_a_thousand_recurrent_steps_in_torch_numpy_and_c(name: str) -> None:
    cell = CELLS[name]()
    spec, weights = onboard_ltc(cell)
    network, in_c = LtcStep(spec, weights), c_step(spec, weights)
    all_x, all_dt_s = zip(*events(), strict=True)
    with torch.no_grad():
        given = torch.from_numpy(np.array(all_x))[None], torch.tensor([all_dt_s], dtype=torch.float32)
        wanted, last = cell.sequence(*given, cell.initial_state(1))
    v, state = network.initial_state(), np.zeros(0, np.float32)
    for k, (x, dt_s) in enumerate(events()):
        shown, v = network.step(x, v, dt_s)
        found, state, status = in_c(x, dt_s)
        assert status == 0
        for value in (shown, found):
            assert_allclose(value, wanted[0, k].numpy(), atol=1e-5, rtol=0)
    for value in (v, state):
        assert_allclose(value, last[0].numpy(), atol=1e-5, rtol=0)


@needs_compiler
def test_only_live_synapses_are_written() -> None:
    cell = CELLS["wired"]()
    spec, weights = onboard_ltc(cell)
    live = int(cell.recurrent_mask.sum() + cell.sensory_mask.sum())
    assert live_synapses(weights) == live < spec.units * (spec.units + spec.inputs) / 2
    assert len(ltc_source(spec, weights, "p")) < 0.7 * len(
        ltc_source(*onboard_ltc(LTC(INPUTS, 19, time_unit_s=0.05)), "p")
    )


@needs_compiler
def test_no_time_is_the_identity_and_bad_input_is_told() -> None:
    spec, weights = onboard_ltc(CELLS["dense"]())
    in_c, network = c_step(spec, weights), LtcStep(spec, weights)
    x = np.ones(INPUTS, np.float32)
    _, before, _ = in_c(x, 0.1)
    _, after, _ = in_c(2 * x, 0.0)
    assert_array_equal(after, before)
    assert_array_equal(network.step(x, before, 0.0)[1], before)
    shown, kept, status = in_c(x, -1.0)
    assert status == 1 and np.isnan(shown).all()
    assert_array_equal(kept, before)
    shown, bounded, status = in_c(np.full(INPUTS, 3e38, np.float32), 3e38)
    assert status == 0 and np.isfinite(bounded).all()
    shown, _, status = in_c(np.full(INPUTS, np.nan, np.float32), 0.1)
    assert status == 2 and np.isnan(shown).all()
    for dt_s in (-1.0, float("nan")):
        with pytest.raises(MessageError, match="0 or more"):
            network.step(x, before, dt_s)
    with pytest.raises(MessageError, match="shape"):
        network.step(x[1:], before, 0.1)


@needs_compiler
@pytest.mark.parametrize("compiler", COMPILERS)
def test_strict_c(compiler: str, tmp_path: Path) -> None:
    (tmp_path / "ltc.c").write_text(ltc_source(*onboard_ltc(CELLS["wired"]()), "p"), encoding="ascii")
    command = [compiler, *STRICT, "-O2", "-c", "ltc.c", "-o", "ltc.o"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_other_solvers_and_wrong_weights_are_refused() -> None:
    with pytest.raises(ConfigError, match="semi_implicit"):
        onboard_ltc(LTC(INPUTS, 4, solver="rk4"))
    spec, weights = onboard_ltc(CELLS["dense"]())
    wrong: list[dict[str, Any]] = [
        {name: value for name, value in weights.items() if name != "mu"},
        weights | {"w": -weights["w"]},
        weights | {"mu": weights["mu"] * np.float32(np.nan)},
        weights | {"mu": weights["mu"].T[:2]},
        weights | {"cm": np.zeros(spec.units, np.float32)},
    ]
    for change in wrong:
        with pytest.raises(BundleError, match="LTC"):
            LtcStep(spec, change)
        with pytest.raises(BundleError, match="LTC"):
            ltc_source(spec, change, "p")
    for field in ("inputs", "units", "outputs", "unfolds"):
        with pytest.raises(ConfigError, match=field):
            LtcSpec(**({"inputs": 3, "units": 4, "outputs": 2, "unfolds": 6, "time_unit_s": 0.1} | {field: 0}))  # type: ignore[arg-type]


@needs_compiler
@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("flag", ["-ffast-math", "-ffinite-math-only"])
def test_flags_that_hide_nan_are_refused_by_the_file_itself(compiler: str, flag: str, tmp_path: Path) -> None:
    source = tmp_path / "ltc.c"
    source.write_text(ltc_source(*onboard_ltc(CELLS["dense"]()), "p"))
    built = subprocess.run([compiler, flag, "-fsyntax-only", str(source)], capture_output=True, text=True, check=False)
    assert built.returncode != 0 and "sees NaN" in built.stderr
