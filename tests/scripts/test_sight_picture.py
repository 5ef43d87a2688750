"""What a policy saw in a flight: the flight is the one that is scored, the grids those it flew by."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from envs.shapes import trunks
from liquid_pilot.controller import Controller
from liquid_pilot.flow_grid import DEFAULT_GRID, GridReader
from liquid_pilot.messages import Attitude, FlowGrid, Imu, PositionSetpoint
from scripts import evaluate as script
from scripts.case import Case
from scripts.flying import fly_one
from scripts.pictures.outlines import clearances_m, outlines_deg
from scripts.pictures.sight import APART_S, FIELDS, draw_sight, passes_s
from scripts.seen_flight import SeenFlight, fly_seen
from tests.scripts.synthetic import synthetic_trace
from tests.scripts.test_pictures import pixels, png_size, spread

CASE = Case("avoid", task="avoid", flights=1)


@pytest.fixture(scope="module", name="seen")
def seen_flight() -> SeenFlight:
    return fly_seen(CASE.job(), 0)


def test_it_is_the_flight_that_is_scored(seen: SeenFlight) -> None:
    """Looking changes nothing, to the last bit."""
    scored = fly_one(CASE.job(), 0)
    for name in ("t_s", "position_m", "hidden", "observation"):
        np.testing.assert_array_equal(getattr(seen.trace, name), getattr(scored, name))
    assert seen.trace.outcome == scored.outcome


def test_every_grid_that_arrived_was_shown(seen: SeenFlight) -> None:
    arrived = seen.trace.arrivals_s["flowgrid"]
    assert 0.9 * len(arrived) <= len(seen.t_s) <= len(arrived)  # of two between IMU samples one is shown
    assert (np.diff(seen.t_s) > 0.0).all() and set(seen.t_s.tolist()) <= set(seen.trace.t_s.tolist())
    assert np.nanmax(np.abs(seen.shown)) < 2.0 and np.nanstd(seen.shown) > 0.1


def fed(controller: Controller, k: int, grid: FlowGrid | None = None) -> None:
    if grid is not None:
        controller.feed(grid)
    controller.feed(Imu(0.01 * k, (0.1, -0.2, 0.3), (0.0, 0.0, 9.81)))


def shown_by(controller: Controller) -> Any:
    return controller.shown_grid


def test_a_controller_tells_the_grid_that_its_network_flies_by() -> None:
    controller, rng = Controller.load("avoid"), np.random.default_rng(0)
    controller.feed(PositionSetpoint(0.0, (math.nan, math.nan, 1.5), (3.0, 0.0, 0.0), math.nan))
    controller.feed(Attitude(0.0, (1.0, 0.0, 0.0, 0.0)))
    fed(controller, 1)
    assert shown_by(controller) is None
    for k in (10, 14):
        flow = rng.normal(0.0, 0.3, (5, 32, 2))
        fed(controller, k, FlowGrid(0.01 * k, 0.04, DEFAULT_GRID.azimuth_rad, DEFAULT_GRID.elevation_rad, flow))
        shown = shown_by(controller)
        assert not shown.flags.writeable
        np.testing.assert_allclose(shown, GridReader(DEFAULT_GRID).read(flow, (0.1, -0.2, 0.3)), atol=1e-6)
    fed(controller, 16)
    assert shown_by(controller) is shown
    for k in range(18, 100, 2):
        fed(controller, k)
    assert shown_by(controller) is None  # silent for longer than the limit
    controller.reset()
    assert shown_by(controller) is None and shown_by(Controller.load("hover")) is None


def standing(trees: Any, yaw_rad: float = 0.0, height_m: float = 1.0) -> Any:
    """A trace of a drone that hangs at the origin."""
    trace = synthetic_trace(flight_s=0.1)
    n = len(trace.t_s)
    attitude = np.tile((math.cos(0.5 * yaw_rad), 0.0, 0.0, math.sin(0.5 * yaw_rad)), (n, 1))
    place = np.tile((0.0, 0.0, height_m), (n, 1))
    return replace(trace, obstacles=trunks(np.reshape(trees, (-1, 3))), attitude_wxyz=attitude, position_m=place)


@pytest.mark.parametrize("yaw_rad", [-0.4, 0.0, 0.4])
def test_a_trunk_is_outlined_where_it_is_seen(yaw_rad: float) -> None:
    """Its sides are the tangents, its foot is on the floor, and turning to the left moves it to the right."""
    ((away_m, outline),) = outlines_deg(standing([(4.0, 0.0, 0.3)], yaw_rad), 0, 8.0)
    half = math.degrees(math.asin(0.3 / 4.0))
    assert away_m == 4.0
    assert outline[:, 0].min() == pytest.approx(-half - math.degrees(yaw_rad))
    assert outline[:, 0].max() == pytest.approx(half - math.degrees(yaw_rad))
    assert outline[:, 1].min() == pytest.approx(-math.degrees(math.atan(1.0 / math.sqrt(4.0**2 - 0.3**2))))


def test_far_trunks_those_behind_and_those_around_are_left_out() -> None:
    trees = [(3.0, 0.5, 0.2), (6.0, 0.5, 0.2), (9.0, 0.0, 0.2), (-3.0, 0.0, 0.2), (0.1, 0.0, 0.2)]
    assert [round(away_m) for away_m, _ in outlines_deg(standing(trees), 0, 8.0)] == [6, 3]
    assert outlines_deg(replace(standing([]), obstacles=None), 0, 8.0) == []


def test_balls_and_boxes_are_outlined_where_they_are_seen() -> None:
    """A ball by a circle, a box by its corners, whichever side they lie to."""
    shapes = np.array([(4.0, 0.0, 0.5, 1.0, 0.0, 0.0, 0.0), (3.0, 1.0, 0.0, 1.0, 0.2, 0.3, 0.5)])
    (_, ball), (_, box) = outlines_deg(replace(standing([]), obstacles=shapes), 0, 8.0)
    half = math.degrees(math.asin(0.5 / 4.0))
    assert np.hypot(*np.tan(np.radians(ball)).T) == pytest.approx(math.tan(math.radians(half)), rel=0.01)
    assert box[:, 0].max() == pytest.approx(math.degrees(math.atan2(1.3, 2.8)))
    assert box[:, 0].min() == pytest.approx(math.degrees(math.atan2(0.7, 3.2)))
    assert box[:, 1].max() == pytest.approx(math.degrees(math.atan(0.5 / math.hypot(2.8, 0.7))))
    (ax, ay), (bx, by) = (np.roll(side, -k, axis=0).T for k in (0, 1) for side in [np.roll(box, -1, axis=0) - box])
    turns = ax * by - ay * bx
    assert 4 <= len(box) <= 8 and (turns > 0.0).all()  # a convex outline, in order


def test_free_space_is_to_the_nearest_surface() -> None:
    assert clearances_m(standing([(3.0, 4.0, 0.5), (0.0, 6.0, 0.2)]), 0.12) == pytest.approx(5.0 - 0.5 - 0.12)
    assert np.isinf(clearances_m(standing([]), 0.12)).all()


def test_passes_are_the_nearest_ones_in_their_order() -> None:
    t = np.arange(0.0, 20.0, 0.01)
    free_m = 1.5 + np.cos(2.0 * math.pi * t) * (0.4 + 0.03 * t)  # one a second, each nearer
    found = passes_s(t, free_m)
    assert len(found) == FIELDS and (np.diff(found) >= APART_S).all()
    assert found == pytest.approx(np.arange(14.5, 20.0), abs=0.05)
    assert len(passes_s(t, 0.0 * t + np.inf)) == 0 == len(passes_s(t[:1], t[:1]))


def test_the_picture_comes_out_whole(seen: SeenFlight, tmp_path: Path) -> None:
    path = draw_sight(seen, tmp_path / "sight.png", "a flight")
    assert png_size(path) == pixels(15.5, 16.0) and spread(path) > 0.05


@pytest.mark.parametrize("obstacles", [None, np.zeros((0, 7))])
def test_a_flight_that_is_lost_at_once_or_saw_nothing_can_be_drawn(obstacles: Any, tmp_path: Path) -> None:
    trace = replace(synthetic_trace(flight_s=0.06), obstacles=obstacles, outcome="touched")
    for units in (19, 0):
        trace = replace(trace, hidden=trace.hidden[:, :units], time_constant_s=trace.time_constant_s[:, :units])
        for shown in (np.zeros((0, 2, 5, 32)), np.full((1, 2, 5, 32), np.nan), np.zeros((1, 2, 5, 32))):
            flight = SeenFlight(trace, DEFAULT_GRID, np.full(len(shown), 0.2), shown)
            assert spread(draw_sight(flight, tmp_path / "lost.png", "lost")) > 0.01


@pytest.mark.parametrize(
    ("arguments", "fix"),
    [
        (["hover"], "--task avoid"),
        (["planner", "--task", "avoid"], "a policy sees"),
        (["avoid", "--task", "avoid", "--engine", "batched"], "in PyBullet"),
        (["avoid", "--task", "avoid", "--speed", "2,3"], "one speed"),
        (["half-cheetah", "--task", "half-cheetah"], "--task avoid"),
    ],
)
def test_what_sees_nothing_is_refused(
    arguments: list[str], fix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script.main([*arguments, "--flights", "1", "--sight", str(tmp_path / "sight.png")]) != 0
    captured = capsys.readouterr()
    assert fix in " ".join((captured.out + captured.err).split())
    assert not (tmp_path / "sight.png").exists()
