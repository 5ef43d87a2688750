"""The latency from a flow grid to the command that answers it: what is timed, of which flights, and what is refused."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest

from liquid_pilot.controller import Controller
from liquid_pilot.errors import SimulationError
from liquid_pilot.flow_grid import DEFAULT_GRID
from liquid_pilot.messages import Attitude, Command, Flow, FlowGrid, Imu, Message, PositionSetpoint, Range
from liquid_pilot.supervisor import State
from scripts.benchmarks import onboard, onboard_grid_latency, onboard_latency
from scripts.benchmarks.onboard_grid_latency import Stopwatch
from tests.export.compiling import needs_compiler
from tests.onboard.bundles import make_seeing
from tests.onboard.flying import LEVEL, STILL

RNG = np.random.default_rng([7])
COURSE = PositionSetpoint(0.0, (math.nan, math.nan, 1.0), (2.0, 0.0, 0.0), math.nan)


def grid(t_s: float) -> FlowGrid:
    return FlowGrid(t_s, 0.04, DEFAULT_GRID.azimuth_rad, DEFAULT_GRID.elevation_rad, RNG.normal(0.0, 0.5, (5, 32, 2)))


def hear(watch: Stopwatch, start_s: float, steps: int) -> None:
    """All sensors but the grid, at 100 Hz."""
    for k in range(steps):
        t_s = start_s + k / 100
        watch.feed(Attitude(t_s, (1.0, 0.0, 0.0, 0.0)))
        watch.feed(Flow(t_s, 0.01, (0.0, 0.001 * (k % 7)), 0.9))
        watch.feed(Range(t_s, 1.0 + 0.001 * (k % 5)))
        watch.feed(Imu(t_s + 0.005, STILL, LEVEL))


def flying() -> Stopwatch:
    watch = Stopwatch(Controller(make_seeing()))
    watch.feed(COURSE)
    hear(watch, 0.0, 50)
    assert watch.state is State.ACTIVE and watch.grid_s == [] and watch.imu_s
    return watch


def test_each_grid_is_answered_once_by_the_next_imu() -> None:
    watch = flying()
    alone = len(watch.imu_s)
    for k in range(5):
        watch.feed(grid(0.501 + k / 20))
        assert len(watch.grid_s) == k
        hear(watch, 0.502 + k / 20, 4)
    assert len(watch.grid_s) == 5 and min(watch.grid_s) > 0.0
    assert len(watch.imu_s) == alone + 5 * 3  # the first IMU after each grid counts as its answer


def test_the_time_is_that_of_all_calls_from_the_grid_on_and_of_nothing_between(monkeypatch: pytest.MonkeyPatch) -> None:
    watch, slept_s = flying(), 0.02
    feed = watch.controller.feed

    def slow(message: Message) -> Command | None:
        if isinstance(message, (FlowGrid, Flow)):
            time.sleep(slept_s)
        return feed(message)

    monkeypatch.setattr(watch.controller, "feed", slow)
    watch.feed(grid(0.501))
    time.sleep(0.3)  # the simulation
    hear(watch, 0.502, 1)
    assert 2 * slept_s <= watch.grid_s[0] < 0.3


def test_commands_that_the_network_did_not_give_do_not_count() -> None:
    watch = Stopwatch(Controller(make_seeing()))
    watch.feed(grid(0.0))
    hear(watch, 0.001, 50)  # no course: it stands by
    assert watch.state is not State.ACTIVE and not watch.grid_s and not watch.imu_s
    lost = flying()
    counted = len(lost.imu_s)
    lost.controller.stop()
    lost.feed(grid(0.501))
    hear(lost, 0.502, 5)
    assert lost.state is State.LAND and not lost.grid_s and len(lost.imu_s) == counted


@needs_compiler
def test_the_section_of_a_policy_that_sees_times_grids_by_both_cores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = onboard.run(onboard.Plan("avoid", tmp_path, quick=True), ["latency"])
    found = json.loads(path.read_text())["latency"]
    assert set(found["grid"]) == {"numpy", "c"} and found["imu_hz"] == 400.0
    for one in found["grid"].values():
        assert 0.0 < one["median_ms"] <= one["p99_ms"] <= one["largest_ms"]
        assert one["median_ms"] > one["imu_median_ms"] > 0.0  # the encoder is work
        assert one["count"] > 50 and one["flown_s"] > 2.0
    assert found["grid"]["c"]["count"] == pytest.approx(found["grid"]["numpy"]["count"], rel=0.05)  # the same flights
    told = capsys.readouterr().out
    assert "grid to command, median" in told and "grid to command, 99 %" in told


def test_without_a_compiler_numpy_alone_is_timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert [watch.controller.core for watch in onboard_grid_latency.stopwatches(make_seeing(seed=91))] == ["numpy"]


def test_who_answers_no_grid_is_an_error() -> None:
    with pytest.raises(SimulationError, match="no command answered a flow grid"):
        onboard_grid_latency.latency(Stopwatch(Controller(make_seeing())), "p")


@pytest.mark.parametrize("policy", ["avoid", "hover"])
def test_who_sees_is_timed_by_grids_and_others_over_the_link(
    policy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Linked(Exception):
        pass

    def measure(pilot: str, *_: object) -> None:
        raise Linked(pilot)

    monkeypatch.setattr(onboard_latency, "measure", measure)
    monkeypatch.setattr(onboard_grid_latency, "run", lambda plan: {"policy": plan.policy})
    plan = onboard.Plan(policy, tmp_path, quick=True)
    if policy == "avoid":
        assert onboard_latency.run(plan) == {"policy": "avoid"}
        return
    with pytest.raises(Linked, match="hover"):
        onboard_latency.run(plan)
