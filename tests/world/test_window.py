"""The window: refused clearly where it cannot be, paced by the clock, and, where there is a display, opened."""

from __future__ import annotations

import math
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pybullet
import pytest

from envs import window as module
from envs.airframe import load_airframe
from envs.conditions import Conditions
from envs.hover import HoverEnv
from envs.window import FRAME_S, SKIP_S, Window, why_no_window
from liquid_pilot.errors import SimulationError

LEVEL = (1.0, 0.0, 0.0, 0.0)
linux = pytest.mark.skipif(sys.platform != "linux", reason="other systems have a window where they have a screen")


@linux
@pytest.mark.parametrize(("display", "said"), [(None, "DISPLAY is not set"), (":987", ":987 cannot be opened")])
def test_without_a_display_the_error_names_what_works(
    display: str | None, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if display is None:
        monkeypatch.delenv("DISPLAY", raising=False)
    else:
        monkeypatch.setenv("DISPLAY", display)
    env = HoverEnv(render_mode="human")
    with pytest.raises(SimulationError, match=f"{said}.*rgb_array.*--video"):
        env.reset(seed=0)
    env.close()


@linux
def test_an_instance_offers_the_modes_that_can_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    assert HoverEnv().metadata["render_modes"] == ["rgb_array"]
    monkeypatch.setenv("DISPLAY", ":0")
    assert HoverEnv().metadata["render_modes"] == ["human", "rgb_array"] == HoverEnv.metadata["render_modes"]


@pytest.mark.parametrize("imu_hz", [(100.0, 100.0), (50.0, 200.0)])
def test_pictures_per_second_are_steps_per_second(imu_hz: tuple[float, float]) -> None:
    low, high = imu_hz
    share = (np.arange(10000) + 0.5) / 10000
    mean_s = float(np.mean(1.0 / (low * (high / low) ** share)))
    assert Conditions(imu_hz=imu_hz).mean_imu_hz == pytest.approx(1.0 / mean_s, rel=1e-4)
    assert HoverEnv(imu_hz=imu_hz).metadata["render_fps"] == round(1.0 / mean_s)


class FakeClock:
    """A clock that moves when somebody sleeps, and by `cost_s` when it is read."""

    def __init__(self, cost_s: float) -> None:
        self.now_s, self.cost_s = 100.0, cost_s

    def monotonic(self) -> float:
        self.now_s += self.cost_s
        return self.now_s

    def sleep(self, seconds: float) -> None:
        assert seconds > 0.0
        self.now_s += seconds


@pytest.fixture(name="blind")
def no_display(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Windows that nobody sees: PyBullet takes the same calls without a display."""
    monkeypatch.setattr(module, "_connect", lambda: pybullet.connect(pybullet.DIRECT))
    yield


def shown(window: Window, seconds: float) -> int:
    """How many pictures a flight of 100 Hz gives."""
    drawn, draw = list[float](), window._draw

    def counted(position_m: Any, attitude_wxyz: Any, target_m: Any, t_s: float) -> None:
        drawn.append(t_s)
        draw(position_m, attitude_wxyz, target_m, t_s)

    window._draw = counted  # type: ignore[method-assign]
    for k in range(round(seconds * 100) + 1):
        window.show((0.0, 0.0, 1.0), LEVEL, (0.0, 0.0, 1.0), 0.01 * k)
    return len(drawn)


@pytest.mark.usefixtures("blind")
@pytest.mark.parametrize("cost_s", [0.0, 1e-4])
def test_a_flight_takes_as_long_as_it_says(cost_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock(cost_s)
    monkeypatch.setattr(module, "time", clock)
    window = Window(load_airframe("cf2x"))
    begin = clock.now_s
    pictures = shown(window, 2.0)
    assert clock.now_s - begin == pytest.approx(2.0, abs=2.0 * FRAME_S)
    assert 1.0 / FRAME_S >= pictures / 2.0 > 0.7 / FRAME_S
    window.close()


@pytest.mark.usefixtures("blind")
def test_a_slow_machine_draws_fewer_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock(0.05)
    monkeypatch.setattr(module, "time", clock)
    window = Window(load_airframe("cf2x"))
    assert shown(window, 2.0) <= 2.0 / SKIP_S + 2
    window.close()


@pytest.mark.usefixtures("blind")
def test_a_window_that_is_gone_is_an_error() -> None:
    window = Window(load_airframe("cf2x"))
    window.show((math.nan, 0.0, 1.0), LEVEL, None, 0.0)  # not drawn, no error
    window.show((0.0, 0.0, 1.0), LEVEL, None, 0.0)
    pybullet.disconnect(window._client)
    with pytest.raises(SimulationError, match="window was closed"):
        window.show((0.0, 0.0, 1.0), LEVEL, None, 1.0)
    window.close()


FLY = """
import gymnasium, numpy as np, envs
from gymnasium.utils.env_checker import check_env
from envs.window import why_no_window
from liquid_pilot.errors import SimulationError

def make(mode):
    return gymnasium.make("liquid_pilot/Hover-v0", render_mode=mode, duration_s=0.2, hold_s=0.1).unwrapped

why = why_no_window()
if why is None:
    first, second = make("human"), make("human")
    first.reset(seed=0)
    for _ in range(10):
        first.step(np.zeros(4, np.float32))
    assert first.render() is None
    try:
        second.reset(seed=0)
    except SimulationError as error:
        assert "one window a process" in str(error), error
    else:
        raise AssertionError("two windows")
    first.close()
    second.reset(seed=0)  # now it is free
    second.close()
    check_env(make("rgb_array"))  # opens a window of its own
print("RESULT", why or "flown")
"""


@linux
@pytest.mark.parametrize("gl", [True, False])
def test_a_window_opens_on_a_display(gl: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("Xvfb") is None:
        pytest.skip("no Xvfb on this machine")
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", "1024x768x24", *([] if gl else ["-extension", "GLX"])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout is not None
        try:
            number = server.stdout.readline().strip()
            if not number:
                pytest.skip("Xvfb does not start on this machine")
            monkeypatch.setenv("DISPLAY", f":{number}")
            why = why_no_window()
            if gl and why is not None:
                pytest.skip(f"no OpenGL on this machine: {why}")
            done = subprocess.run(
                [sys.executable, "-W", "error", "-c", FLY], capture_output=True, text=True, timeout=300, check=False
            )
        finally:
            server.terminate()
    result = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    if gl and not result and "libGL error" in done.stderr:
        pytest.skip("OpenGL does not work on this machine")
    assert done.returncode == 0 and result, done.stderr
    assert "flown" in result[0] if gl else "no OpenGL" in result[0]
