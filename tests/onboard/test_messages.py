"""Messages refuse wrong shapes and types, and keep every value."""

from __future__ import annotations

import math
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liquid_pilot.errors import LiquidPilotError, MessageError
from liquid_pilot.messages import Flow, Imu, Range, Setpoint

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
