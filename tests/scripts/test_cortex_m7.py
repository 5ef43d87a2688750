"""The exported policy on an emulated Cortex-M7: numpy's numbers, within limits; and what is said without the tools."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from liquid_pilot.bundle import load_bundle
from liquid_pilot.encoder import EncoderSpec
from liquid_pilot.errors import ConfigError
from liquid_pilot.export.core import FLOAT, Storage
from liquid_pilot.export.policy import Q15_TOLERANCE
from liquid_pilot.flow_grid import DEFAULT_GRID
from liquid_pilot.observation import OBS_DIM
from scripts.cortex_m7 import __main__ as command
from scripts.cortex_m7 import drawn, emulate
from tests.export.test_export_c import spec_of
from tests.export.test_sight_c import SPECS as SEEING_SPECS
from tests.onboard.bundles import make, make_seeing

needs_tools = pytest.mark.skipif(
    bool(emulate.missing_tools()), reason=f"not installed: {', '.join(emulate.missing_tools())}; {emulate.INSTALL}"
)


@needs_tools
@pytest.mark.parametrize("storage", [FLOAT, Storage(int8=True)], ids=["float", "int8"])
def test_the_shipped_policy_on_the_target(storage: Storage) -> None:
    found = emulate.measure(load_bundle("hover"), storage)
    assert 0.0 < found.difference <= 1e-5
    assert 0.0 <= found.selftest_difference <= 1e-5
    assert 2_700 < found.instructions <= command.BLIND.instructions  # one at least for each of its products
    assert found.instructions_spread <= 2 * emulate.INSTRUCTIONS_PER_TICK  # the same work, whatever the input
    assert found.flash_bytes <= command.BLIND.flash_bytes
    assert found.state_bytes == 19 * 4
    assert 300 < found.ram_bytes <= command.BLIND.ram_bytes
    slow, fast = found.rates_hz(216)
    assert 10_000 <= fast and slow == pytest.approx(fast / 1.5)
    assert found.grid is None
    assert found.shares(216, 400.0, 30.0) == pytest.approx((400.0 / fast, 400.0 / slow))


@needs_tools
def test_the_shipped_policy_that_sees_on_the_target() -> None:
    found, limit = emulate.measure(load_bundle("avoid")), command.SEEING
    grid = found.grid
    assert grid is not None
    assert 0.0 < found.difference <= 1e-5 and 0.0 < grid.difference <= 1e-5
    assert 0.0 <= found.selftest_difference <= 1e-5
    assert 6_732 < found.instructions <= limit.instructions  # one at least for each of its products
    assert 321 * 64 + 64 * 24 < grid.instructions <= limit.grid_instructions
    assert grid.instructions_spread <= 0.02 * grid.instructions  # signs, and rays that saw nothing, branch
    assert 29_006 * 4 < found.flash_bytes <= limit.flash_bytes
    assert found.state_bytes == (19 + 24) * 4
    assert 321 * 4 < grid.stack_bytes < found.ram_bytes <= limit.ram_bytes
    least, most = found.shares(216, 400.0, 30.0)
    assert least == pytest.approx((400.0 * found.instructions + 30.0 * grid.instructions) / 216e6)
    assert most == pytest.approx(1.5 * least)
    assert found.answer_s(480)[0] == pytest.approx((found.instructions + grid.instructions) / 480e6)


@needs_tools
@pytest.mark.parametrize("case", ["small", "mlp", "gru"])
def test_every_encoder_on_the_target(case: str) -> None:
    found = emulate.measure(make_seeing(spec=SEEING_SPECS[case]))
    assert found.grid is not None and found.grid.instructions > 0.0
    assert max(found.difference, found.selftest_difference, found.grid.difference) <= 1e-5


@needs_tools
def test_other_numbers_than_the_target_saw_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def faster(spec: EncoderSpec) -> drawn.DrawnGrids:
        grids = drawn.drawn_grids(spec)
        return dataclasses.replace(grids, speed_m_s=grids.speed_m_s + np.float32(1.0))

    monkeypatch.setattr(emulate, "drawn_grids", faster)
    found = emulate.measure(make_seeing())
    assert found.grid is not None and found.grid.difference > 1e-3
    assert found.difference <= 1e-5


@needs_tools
def test_a_policy_that_sees_keeps_its_state_in_q15_but_no_weights_in_int8() -> None:
    found = emulate.measure(load_bundle("avoid"), Storage(q15=True))
    assert found.state_bytes == 19 * 2 + 2 + 24 * 4  # padded to where a float may stand
    assert found.grid is not None and max(found.difference, found.grid.difference) <= Q15_TOLERANCE
    with pytest.raises(ConfigError, match=r"int8 weights are not there yet for a policy that sees; leave them as"):
        emulate.measure(load_bundle("avoid"), Storage(int8=True))
    assert command.main(["avoid", "--int8"]) == 2


@needs_tools
@pytest.mark.parametrize("form", ["gru", "lstm", "default", "pure", "no_gate", "mlp"])
def test_every_form_on_the_target(form: str) -> None:
    found = emulate.measure(make(spec=spec_of(form, 1)))
    assert found.difference <= 1e-5
    assert found.selftest_difference <= 1e-5


@needs_tools
def test_a_state_in_q15_is_half_as_large() -> None:
    found = emulate.measure(load_bundle("hover"), Storage(int8=True, q15=True))
    assert found.state_bytes == 19 * 2
    assert found.difference <= Q15_TOLERANCE


@needs_tools
def test_what_the_target_cannot_build_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(emulate.EmulationError, match=r"arm-none-eabi-gcc ended with 1"):
        emulate.measure(make(), flags=("-no-such-flag",))


def test_without_the_tools_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"apt-get install .*gcc-arm-none-eabi .*qemu-system-arm"):
        emulate.measure(make())
    assert command.main(["hover"]) == 2


def test_inputs_are_those_of_the_target() -> None:
    text = (emulate.HERE / "main.c").read_text(encoding="utf-8")
    assert re.findall(r"STEPS (\d+)", text) == [str(drawn.STEPS)]
    assert re.findall(r"GRIDS (\d+)", text) == [str(drawn.GRIDS)]
    x, dt_s = drawn.drawn_events(21)
    assert x.dtype == dt_s.dtype == np.float32
    assert x[0, 0] == np.float32(((1664525 + 1013904223) % 2**32 >> 8) / 2**22 - 2.0)
    assert -2.0 <= x.min() < -1.99 and 1.99 < x.max() < 2.0 and abs(float(x.mean())) < 0.05
    assert dt_s[::16].max() == 0.0 and 0.049 < dt_s.max() < 0.05


def test_grids_hold_flows_of_many_sizes_and_rays_that_saw_nothing() -> None:
    grids = drawn.drawn_grids(EncoderSpec(DEFAULT_GRID))
    seen = grids.flow_rad_s[~np.isnan(grids.flow_rad_s)]
    assert np.isnan(grids.flow_rad_s).all(axis=-1).mean() == pytest.approx(1 / 8, abs=0.02)
    assert seen.size % 2 == 0 and 7.9 < np.abs(seen).max() <= 8.0
    assert (np.abs(seen) < 0.3).mean() > 0.25  # below the knee of what the network is shown
    assert 0.0 <= grids.speed_m_s.min() and grids.speed_m_s.max() < 4.0
    assert 0.0 <= grids.observation[:, OBS_DIM - 1].min() and grids.observation[:, OBS_DIM - 1].max() < 0.05


def test_figures_above_the_limits_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    good = emulate.Measured("p", 1e4, 40, 20_000, 76, 700, 1e-6, 1e-6)
    for change in ({"instructions": 3e4}, {"flash_bytes": 50_000}, {"stack_bytes": 1000}, {"difference": float("nan")}):
        bad = dataclasses.replace(good, **change)
        monkeypatch.setattr(command, "measure", lambda *_, bad=bad: bad)
        assert command.main(["hover"]) == 2
    monkeypatch.setattr(command, "measure", lambda *_: good)
    assert command.main(["hover"]) == 0


def test_figures_of_a_grid_above_the_limits_are_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = emulate.MeasuredGrid(6e4, 1000, 1700, 1e-6)
    good = emulate.Measured("p", 2e4, 40, 140_000, 172, 1000, 1e-6, 1e-6, grid)
    assert command.exceeded(good, 1e-5) == []
    for change in ({"instructions": 2e5}, {"stack_bytes": 3000}, {"difference": float("nan")}):
        bad = dataclasses.replace(good, grid=dataclasses.replace(grid, **change))
        assert len(command.exceeded(bad, 1e-5)) == 1
        monkeypatch.setattr(command, "measure", lambda *_, bad=bad: bad)
        assert command.main(["hover"]) == 2
    told = "\n".join(command.lines(good))
    for words in (
        "instructions a grid          60,000",
        "172, stack of a step 1000, of a grid 1700",
        "30 grids a second",
    ):
        assert words in told
    assert "grid" not in "\n".join(command.lines(dataclasses.replace(good, grid=None)))
