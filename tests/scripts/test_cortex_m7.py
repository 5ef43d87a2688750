"""The exported policy on an emulated Cortex-M7: numpy's numbers, within limits; and what is said without the tools."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from liquid_pilot.bundle import load_bundle
from liquid_pilot.errors import ConfigError
from liquid_pilot.export.core import FLOAT, Storage
from liquid_pilot.export.policy import Q15_TOLERANCE
from scripts.cortex_m7 import __main__ as command
from scripts.cortex_m7 import emulate
from tests.export.test_export_c import spec_of
from tests.onboard.bundles import make

needs_tools = pytest.mark.skipif(
    bool(emulate.missing_tools()), reason=f"not installed: {', '.join(emulate.missing_tools())}; {emulate.INSTALL}"
)


@needs_tools
@pytest.mark.parametrize("storage", [FLOAT, Storage(int8=True)], ids=["float", "int8"])
def test_the_shipped_policy_on_the_target(storage: Storage) -> None:
    found = emulate.measure(load_bundle("hover"), storage)
    assert 0.0 < found.difference <= 1e-5
    assert 0.0 <= found.selftest_difference <= 1e-5
    assert 2_700 < found.instructions <= command.MOST_INSTRUCTIONS  # one at least for each of its products
    assert found.instructions_spread <= 2 * emulate.INSTRUCTIONS_PER_TICK  # the same work, whatever the input
    assert found.flash_bytes <= command.MOST_FLASH_BYTES
    assert found.state_bytes == 19 * 4
    assert 300 < found.ram_bytes <= command.MOST_RAM_BYTES
    slow, fast = found.rates_hz(216)
    assert 10_000 <= fast and slow == pytest.approx(fast / 1.5)


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
    assert re.findall(r"STEPS (\d+)", text) == [str(emulate.STEPS)]
    x, dt_s = emulate.drawn_events(21)
    assert x.dtype == dt_s.dtype == np.float32
    assert x[0, 0] == np.float32(((1664525 + 1013904223) % 2**32 >> 8) / 2**22 - 2.0)
    assert -2.0 <= x.min() < -1.99 and 1.99 < x.max() < 2.0 and abs(float(x.mean())) < 0.05
    assert dt_s[::16].max() == 0.0 and 0.049 < dt_s.max() < 0.05


def test_figures_above_the_limits_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    good = emulate.Measured("p", 1e4, 40, 20_000, 76, 700, 1e-6, 1e-6)
    for change in ({"instructions": 3e4}, {"flash_bytes": 50_000}, {"stack_bytes": 1000}, {"difference": float("nan")}):
        bad = dataclasses.replace(good, **change)
        monkeypatch.setattr(command, "measure", lambda *_, bad=bad: bad)
        assert command.main(["hover"]) == 2
    monkeypatch.setattr(command, "measure", lambda *_: good)
    assert command.main(["hover"]) == 0
