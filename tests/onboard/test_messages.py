"""Messages refuse wrong shapes and types, and keep every value."""

from __future__ import annotations

import copy
import math
import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from liquid_pilot.errors import LiquidPilotError, MessageError
from liquid_pilot.messages import Flow, FlowGrid, Imu, Range, Setpoint

GOOD: dict[type[Any], dict[str, Any]] = {
    Imu: {"t_s": 1.0, "gyro_rad_s": (0.1, 0.2, 0.3), "accel_m_s2": (0.0, 0.0, 9.81)},
    Flow: {"t_s": 1.0, "dt_s": 0.02, "flow_rad": (0.1, 0.2), "quality": 0.5},
    Range: {"t_s": 1.0, "distance_m": 1.5},
    Setpoint: {"t_s": 1.0, "velocity_m_s": (0.1, 0.2), "height_m": 1.0, "yaw_rate_rad_s": 0.3},
}
FIELDS = [(cls, field) for cls, values in GOOD.items() for field in values]
NUMBERS_WRONG: list[Any] = [None, "1.0", b"1", True, [1.0], {}, object(), 1j, np.array([1.0, 2.0])]
NUMBERS_WRONG += [np.array([1.0]), np.complex128(1j), np.bool_(True), 10**400]
SEQUENCES_WRONG: list[Any] = [None, 1.0, "abc", {}, (), (1.0,), (1.0,) * 4, (None,) * 2, ("1",) * 3, np.float64(1.0)]
SEQUENCES_WRONG += [{1.0, 2.0}, {1.0, 2.0, 3.0}]
SEQUENCES_WRONG += [np.zeros((2, 1)), np.zeros((3, 1)), np.ones(3, bool), np.ones(2, complex)]


@pytest.mark.parametrize(("cls", "field"), FIELDS)
def test_every_field_refuses_wrong_shapes_and_types_by_name(cls: type[Any], field: str) -> None:
    wrong = SEQUENCES_WRONG if isinstance(GOOD[cls][field], tuple) else NUMBERS_WRONG
    for value in wrong:
        with pytest.raises(MessageError, match=f"{cls.__name__}.{field}") as caught:
            cls(**{**GOOD[cls], field: value})
        assert isinstance(caught.value, LiquidPilotError)


@pytest.mark.parametrize(("cls", "field"), FIELDS)
def test_arrays_lists_and_integers_are_as_good_as_floats(cls: type[Any], field: str) -> None:
    good = GOOD[cls][field]
    for value in (
        np.asarray(good),
        np.asarray(good, dtype=np.float64),
        list(good) if isinstance(good, tuple) else good,
    ):
        assert getattr(cls(**{**GOOD[cls], field: value}), field) == pytest.approx(good)


@given(st.lists(st.floats(), min_size=7, max_size=7))
def test_values_are_kept_and_never_judged(values: list[float]) -> None:
    imu = Imu(values[0], (values[1], values[2], values[3]), (values[4], values[5], values[6]))
    kept = (imu.t_s, *imu.gyro_rad_s, *imu.accel_m_s2)
    assert all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(kept, values, strict=True))


def test_messages_are_immutable_plain_floats() -> None:
    imu = Imu(1, np.array([1, 2, 3]), [0, 0, 9])  # type: ignore[arg-type]  # what users give
    assert [type(v) for v in (imu.t_s, *imu.gyro_rad_s, *imu.accel_m_s2)] == [float] * 7
    with pytest.raises(FrozenInstanceError):
        imu.t_s = 2.0  # type: ignore[misc]  # that is the test


GRID: dict[str, Any] = {
    "t_s": 1.0,
    "dt_s": 0.05,
    "azimuth_rad": (0.2, 0.0, -0.2),
    "elevation_rad": (0.1, -0.1),
    "flow_rad_s": np.arange(12.0).reshape(2, 3, 2),
}
ANGLES_WRONG: list[Any] = [None, 1.0, "abc", {}, (), (None,), ("1",), np.zeros((2, 2))]


def made(**changed: Any) -> FlowGrid:
    fields: dict[str, Any] = GRID | changed
    return FlowGrid(**fields)


FLOWS_WRONG: list[Any] = [None, 1.0, "abc", {}, (), [[1.0, 2.0]], np.zeros((3, 2, 2)), np.zeros((2, 3)), object()]
FLOWS_WRONG += [np.zeros((2, 3, 2), bool), np.zeros((2, 3, 2), complex), [[[1.0, 2.0]] * 3, [[1.0, 2.0]] * 2]]
FLOWS_WRONG += [[[["a", "b"]] * 3] * 2, [[[10**400, 1.0]] * 3] * 2, [[[None, 1.0]] * 3] * 2]


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *((field, value) for field in ("t_s", "dt_s") for value in NUMBERS_WRONG),
        *((field, value) for field in ("azimuth_rad", "elevation_rad") for value in ANGLES_WRONG),
        ("azimuth_rad", (0.1, -0.1)),
        ("elevation_rad", (0.1, 0.0, -0.1)),
        *(("flow_rad_s", value) for value in FLOWS_WRONG),
    ],
)
def test_a_grid_refuses_wrong_shapes_and_types(field: str, wrong: Any) -> None:
    with pytest.raises(MessageError, match=r"FlowGrid\."):
        made(**{field: wrong})


@given(arrays.arrays(np.float64, (2, 3, 2)), arrays.arrays(np.float32, (2, 3, 2)))
def test_a_grid_keeps_every_value(wide: Any, narrow: Any) -> None:
    for given_values in (wide, narrow, wide.tolist()):
        grid = made(flow_rad_s=given_values)
        np.testing.assert_array_equal(grid.flow_rad_s, given_values)
        assert grid.flow_rad_s.dtype == np.float64
        same = made(flow_rad_s=np.array(given_values))
        assert grid == same and hash(grid) == hash(same) and grid != made(t_s=2.0)


def test_a_grid_is_a_copy_that_nobody_writes_to() -> None:
    flow = GRID["flow_rad_s"].copy()
    grid = made(flow_rad_s=flow, azimuth_rad=[1, 0, -1], elevation_rad=np.array([0.5, 0.0]))
    flow[0, 0, 0] = 9.0
    assert grid.flow_rad_s[0, 0, 0] == 0.0 and grid.azimuth_rad == (1.0, 0.0, -1.0) and grid.elevation_rad == (0.5, 0.0)
    with pytest.raises(ValueError, match="read-only"):
        grid.flow_rad_s[0, 0, 0] = 1.0
    assert grid != GRID and grid != made(flow_rad_s=flow)
    assert pickle.loads(pickle.dumps(grid)) == grid == copy.deepcopy(grid)
    assert "flow_rad_s" not in repr(grid)
