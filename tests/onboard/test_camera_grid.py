"""Flow grids of pictures: known answers of patterns that are moved, and what is refused."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2")

from liquid_pilot.camera_grid import FOCAL_PX, Grey, GridCamera, GridFlow, checked_grey
from liquid_pilot.controller import Controller
from liquid_pilot.errors import ConfigError, LiquidPilotError, MessageError, MissingExtraError
from liquid_pilot.flow_grid import DEFAULT_GRID, turning_flow
from liquid_pilot.messages import Attitude, FlowGrid, Imu, PositionSetpoint
from liquid_pilot.pinhole import Array, Pinhole

SIZE = (64, 160)
LENS = Pinhole(67.0, 67.0, 79.5, 31.5)
DT_S = 0.04


def seen_by(lens: Pinhole, size: tuple[int, int], turned_rad: float = 0.0) -> Grey:
    """What such a camera sees of a pattern without end on a sphere, once it has turned to the left by so much."""
    rows, columns = size
    places = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2).astype(np.float64)
    x, y, z = lens.rays(places).T
    azimuth, elevation = np.arctan2(y, x) + turned_rad, np.arcsin(z)
    rng, grey = np.random.default_rng(0), np.zeros(len(places))
    for _ in range(24):
        a, b, phase = *rng.uniform(-40.0, 40.0, 2), rng.uniform(0.0, 2.0 * math.pi)
        grey += np.sin(a * azimuth + b * elevation + phase)
    return np.clip(128.0 + 16.0 * grey, 0, 255).astype(np.uint8).reshape(size)


def turning(rate_rad_s: float) -> Array:
    """(rows, rays, 2): what turning to the left does to every ray."""
    rates = (0.0, 0.0, rate_rad_s)
    flows = [[turning_flow(axis, ray, rates) for axis in tangents] for ray, *tangents in DEFAULT_GRID.axes()]
    return np.array(flows).reshape(5, 32, 2)


@pytest.mark.parametrize("rate_rad_s", [-1.0, -0.3, 0.3, 1.0])
@pytest.mark.parametrize(
    ("lens", "size"),
    [
        (LENS, SIZE),
        (Pinhole(268.0, 268.0, 319.5, 239.5), (480, 640)),  # the same view, four times as fine
        (Pinhole(90.0, 75.0, 130.0, 40.0), (100, 240)),  # pixels that are not square, off the middle
    ],
)
def test_a_camera_that_turns_sees_all_rays_move_as_the_gyro_says(
    lens: Pinhole, size: tuple[int, int], rate_rad_s: float
) -> None:
    camera = GridCamera(DEFAULT_GRID, lens, size)
    assert camera.feed(1.0, seen_by(lens, size)) is None
    grid = camera.feed(1.0 + DT_S, seen_by(lens, size, rate_rad_s * DT_S))
    assert grid is not None and grid.t_s == 1.0 + DT_S and grid.dt_s == pytest.approx(DT_S)
    assert (grid.azimuth_rad, grid.elevation_rad) == (DEFAULT_GRID.azimuth_rad, DEFAULT_GRID.elevation_rad)
    assert np.isnan(grid.flow_rad_s).mean() < 0.1
    assert np.nanmedian(np.abs(grid.flow_rad_s - turning(rate_rad_s))) < 0.05


def test_a_finer_camera_is_shrunk_to_what_the_method_was_tried_on() -> None:
    fine = GridCamera(DEFAULT_GRID, Pinhole(268.0, 268.0, 319.5, 239.5), (480, 640))
    assert fine.flow.size[0] <= 80 and fine.flow.size[1] <= 160
    assert fine.flow.pinhole.fx_px == pytest.approx(FOCAL_PX, rel=0.02)
    coarse = GridCamera(DEFAULT_GRID, Pinhole(40.0, 40.0, 39.5, 29.5), (60, 80))
    assert coarse.flow.pinhole.fx_px == 40.0  # nothing is made up


def test_pinhole_pixels_and_rays_are_inverse_and_follow_cuts_and_scales() -> None:
    lens, rays = Pinhole(300.0, 310.0, 318.2, 240.9), np.array(DEFAULT_GRID.axes())[:, 0]
    assert lens.rays(lens.pixels(rays)) == pytest.approx(rays, abs=1e-12)
    assert lens.pixels(np.array([[1.0, 0.0, 0.0]]))[0] == pytest.approx((318.2, 240.9))
    assert lens.pixels(rays)[0, 0] < lens.pixels(rays)[31, 0]  # left first
    assert lens.cut(10, 20).pixels(rays) == pytest.approx(lens.pixels(rays) - (10, 20))
    scaled = lens.scaled(0.25, 0.5).pixels(rays)  # edges of a picture stay its edges
    assert (scaled + 0.5) == pytest.approx((lens.pixels(rays) + 0.5) * (0.25, 0.5))


def test_rays_beyond_a_narrow_picture_are_silent() -> None:
    lens, size = Pinhole(67.0, 67.0, 39.5, 31.5), (64, 80)
    flow = GridFlow(DEFAULT_GRID, lens, size)
    told = flow.flows(seen_by(lens, size), seen_by(lens, size, 0.01), DT_S)
    azimuth = np.abs(DEFAULT_GRID.azimuth_rad)
    beyond = azimuth > math.atan(40.5 / 67.0)
    assert np.isnan(told[:, beyond]).all() and not np.isnan(told[:, ~beyond]).all(axis=(0, 2)).any()
    assert 0 < flow.rays_seen < DEFAULT_GRID.rays


def test_nothing_to_see_is_silence_not_zero() -> None:
    plain = np.full(SIZE, 128, np.uint8)
    assert np.isnan(GridFlow(DEFAULT_GRID, LENS, SIZE).flows(plain, plain, DT_S)).all()


def test_flows_remember_nothing_and_change_no_picture() -> None:
    flow, before, now = GridFlow(DEFAULT_GRID, LENS, SIZE), seen_by(LENS, SIZE), seen_by(LENS, SIZE, 0.02)
    kept = before.copy(), now.copy()
    first = flow.flows(before, now, DT_S)
    flow.flows(now, before, 0.1)
    np.testing.assert_array_equal(flow.flows(before, now, DT_S), first)
    assert (before == kept[0]).all() and (now == kept[1]).all()
    grid = flow.grid(before, now, 7.0, DT_S)
    np.testing.assert_array_equal(grid.flow_rad_s, first)


def test_twice_the_time_is_half_the_flow() -> None:
    flow, before, now = GridFlow(DEFAULT_GRID, LENS, SIZE), seen_by(LENS, SIZE), seen_by(LENS, SIZE, 0.02)
    np.testing.assert_allclose(flow.flows(before, now, 0.04), 2.0 * flow.flows(before, now, 0.08), rtol=1e-12)


def test_a_buffer_that_the_driver_uses_again_is_no_matter() -> None:
    reused, fresh, buffer = (
        GridCamera(DEFAULT_GRID, LENS, SIZE),
        GridCamera(DEFAULT_GRID, LENS, SIZE),
        seen_by(LENS, SIZE),
    )
    for k in range(3):
        picture = seen_by(LENS, SIZE, 0.01 * k)
        buffer[:] = picture
        ours, theirs = reused.feed(DT_S * k, buffer), fresh.feed(DT_S * k, picture)
        assert ours == theirs and (ours is None) == (k == 0)


def test_after_a_gap_and_after_reset_a_picture_is_a_first_one() -> None:
    camera = GridCamera(DEFAULT_GRID, LENS, SIZE)
    told = [camera.feed(t_s, seen_by(LENS, SIZE, 0.1 * t_s)) is not None for t_s in (0.0, 0.04, 0.7, 0.74)]
    assert told == [False, True, False, True]
    camera.reset()
    assert camera.feed(0.0, seen_by(LENS, SIZE)) is None


def test_a_stamp_that_runs_backwards_is_refused_once() -> None:
    camera = GridCamera(DEFAULT_GRID, LENS, SIZE)
    camera.feed(5.0, seen_by(LENS, SIZE))
    for again_s in (5.0, 4.0):
        with pytest.raises(MessageError, match="stamps must grow"):
            camera.feed(again_s, seen_by(LENS, SIZE, 0.01))
    assert camera.feed(4.04, seen_by(LENS, SIZE, 0.02)) is not None  # on the new clock
    with pytest.raises(MessageError, match="finite time"):
        camera.feed(math.nan, seen_by(LENS, SIZE))


@pytest.mark.parametrize(
    ("picture", "found"),
    [
        (np.zeros((64, 160, 3), np.uint8), "as of colours"),
        (np.zeros((64, 159), np.uint8), "159 columns"),
        (np.zeros((64, 160), np.float64), "float64"),
        (np.zeros((0, 0), np.uint8), "0 rows"),
        (np.zeros(160, np.uint8), "uint8 of shape"),
        ([[0]], "list"),
        (None, "NoneType"),
    ],
)
def test_what_is_no_grey_picture_of_that_size_is_refused_and_forgotten(picture: Any, found: str) -> None:
    camera = GridCamera(DEFAULT_GRID, LENS, SIZE)
    camera.feed(0.0, seen_by(LENS, SIZE))
    with pytest.raises(MessageError, match=found):
        camera.feed(0.04, picture)
    grid = camera.feed(0.08, seen_by(LENS, SIZE, 0.01))
    assert grid is not None and grid.dt_s == pytest.approx(0.08)
    with pytest.raises(LiquidPilotError):
        camera.flow.flows(seen_by(LENS, SIZE), picture, DT_S)


@pytest.mark.parametrize("dt_s", [0.0, -0.04, math.nan, math.inf])
def test_a_time_between_pictures_that_is_none_is_refused(dt_s: float) -> None:
    with pytest.raises(MessageError, match="above 0"):
        GridFlow(DEFAULT_GRID, LENS, SIZE).flows(seen_by(LENS, SIZE), seen_by(LENS, SIZE), dt_s)


@pytest.mark.parametrize("name", ["fx_px", "fy_px", "cx_px", "cy_px"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "67", None, True])
def test_intrinsics_that_are_no_numbers_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=name):
        replace(LENS, **{name: value})


@pytest.mark.parametrize("value", [0.0, -67.0])
def test_focal_lengths_are_positive(value: float) -> None:
    with pytest.raises(ConfigError, match="above 0 pixels"):
        replace(LENS, fx_px=value)
    with pytest.raises(ConfigError, match="above 0"):
        GridCamera(DEFAULT_GRID, LENS, SIZE, focal_px=value)
    with pytest.raises(ConfigError, match="limit_rad_s"):
        GridFlow(DEFAULT_GRID, LENS, SIZE, limit_rad_s=value)


def test_a_camera_that_sees_no_ray_is_refused() -> None:
    with pytest.raises(ConfigError, match="no ray"):
        GridCamera(DEFAULT_GRID, replace(LENS, cx_px=4000.0), SIZE)
    with pytest.raises(ConfigError, match="each side"):
        GridFlow(DEFAULT_GRID, LENS, (8, 160))


def test_without_opencv_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r"liquid-pilot\[vision\]"):
        GridCamera(DEFAULT_GRID, LENS, SIZE)
    assert checked_grey(np.zeros(SIZE, np.uint8), SIZE).shape == SIZE  # what needs none goes on


def test_the_shipped_policy_takes_the_grids() -> None:
    controller = Controller.load("avoid")
    encoder = controller.bundle.spec.encoder
    assert encoder is not None
    camera, taken = GridCamera(encoder.grid, LENS, SIZE), list[FlowGrid]()
    controller.feed(PositionSetpoint(0.0, (math.nan, math.nan, 1.5), (3.0, 0.0, 0.0), math.nan))
    controller.feed(Attitude(0.0, (1.0, 0.0, 0.0, 0.0)))
    for k in range(1, 30):
        controller.feed(Imu(0.01 * k, (0.0, 0.0, 0.5), (0.0, 0.0, 9.81)))
        grid = camera.feed(0.01 * k, seen_by(LENS, SIZE, 0.005 * k)) if k % 4 == 0 else None
        if grid is not None:
            controller.feed(grid)
            taken.append(grid)
    assert len(taken) == 6 and controller.counters.get("rejected_flow_grid", 0) == 0
