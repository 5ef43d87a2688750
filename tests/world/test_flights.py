"""Drawn flights: row i depends on the seed and i alone, and lies within the conditions."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.airframe import load_airframe
from envs.conditions import Conditions, parse_dropout, parse_imu_hz
from envs.faults import parse_fault
from envs.flights import COLUMNS, Array, Flights, _Columns, draw_flights
from liquid_pilot.errors import ConfigError

AIRFRAME = load_airframe("cf2x")


def drawn(n: int, seed: int = 3, conditions: Conditions | None = None) -> Flights:
    return draw_flights(AIRFRAME, conditions or Conditions(), n, np.random.default_rng(seed))


@given(n=st.integers(1, 30), more=st.integers(0, 30), seed=st.integers(0, 2**32))
def test_a_row_does_not_depend_on_how_many_are_drawn(n: int, more: int, seed: int) -> None:
    few, many = drawn(n, seed), drawn(n + more, seed)
    for field in fields(Flights):
        np.testing.assert_array_equal(getattr(few, field.name), getattr(many, field.name)[:n], err_msg=field.name)


def test_rows_are_the_flights_they_name() -> None:
    flights = drawn(9)
    part = flights.rows(slice(4, 6))
    assert len(part) == 2
    np.testing.assert_array_equal(part.attitude_wxyz, flights.attitude_wxyz[4:6])


def test_launches_lie_within_the_conditions() -> None:
    conditions = Conditions()
    f = drawn(2000)
    q = f.attitude_wxyz
    assert np.linalg.norm(q, axis=1) == pytest.approx(np.ones(2000))
    tilt_deg = np.rad2deg(np.arccos(1.0 - 2.0 * (q[:, 1] ** 2 + q[:, 2] ** 2)))
    assert 44.0 < tilt_deg.max() <= 45.0 + 1e-9
    yaw = np.arctan2(2 * (q[:, 0] * q[:, 3] + q[:, 1] * q[:, 2]), 1 - 2 * (q[:, 2] ** 2 + q[:, 3] ** 2))
    assert (np.histogram(yaw, 8, (-np.pi, np.pi))[0] > 150).all()
    speed, rate = (np.linalg.norm(v, axis=1) for v in (f.launch_velocity_m_s, f.launch_rates_rad_s))
    assert 1.45 < speed.max() <= 1.5 and 1.9 < rate.max() <= 2.0
    assert conditions.launch_height_m[0] <= f.height_m.min() and f.height_m.max() <= conditions.launch_height_m[1]
    assert 0.8 * AIRFRAME.mass_kg <= f.mass_kg.min() and f.mass_kg.max() <= 1.2 * AIRFRAME.mass_kg
    assert np.linalg.norm(f.wind_mean_m_s, axis=1).max() <= 1.0
    assert (f.flow_latency_s <= 0.9 / f.flow_hz).all() and (f.range_latency_s <= 0.9 / f.range_hz).all()


def test_outages_come_as_often_as_asked() -> None:
    assert np.isinf(drawn(50).flow_outage_s).all()
    outages = drawn(2000, conditions=Conditions(outage_chance=0.3)).flow_outage_s
    some = np.isfinite(outages[:, 0])
    assert 0.26 < some.mean() < 0.34
    length = outages[some, 1] - outages[some, 0]
    assert 0.2 <= length.min() and length.max() <= 1.2


def test_every_number_of_a_flight_has_a_column_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    unit = _Columns.unit

    def counted(self: _Columns, width: int) -> Array:
        taken.append(width)
        return unit(self, width)

    monkeypatch.setattr(_Columns, "unit", counted)
    drawn(2)
    assert sum(taken) <= COLUMNS


@pytest.mark.parametrize(
    "bad",
    [
        {"imu_hz": (0.5, 10.0)},
        {"imu_hz": (4.0, 4.0)},
        {"flow_hz": (50.0, 20.0)},
        {"flow_dropout": (0.0, 1.5)},
        {"wind_m_s": (0.0, 50.0)},
        {"imu_jitter": 0.95},
        {"sensor_jitter": -0.1},
        {"range_hz": (float("nan"), 10.0)},
        {"imu_hz": 100.0},
        {"imu_hz": ("50", "100")},
        {"wind_m_s": 1.0},
        {"tilt_deg": (0.0, float("nan"))},
        {"tilt_deg": (0.0, 90.1)},
        {"tilt_deg": (-1.0, 45.0)},
        {"command_latency_s": (0.03, 0.0)},
        {"airframe_spread": 1.5},
        {"gyro_walk_rad_s2": float("nan")},
        {"hold_s": -1.0},
        {"motor_tau_s": (0.0, 0.1)},
        {"faults": ("flow:off@6s",)},
    ],
)
def test_conditions_that_make_no_sense_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        Conditions(**bad)  # type: ignore[arg-type]


def test_faults_dropouts_and_rates_are_read_as_written() -> None:
    fault = parse_fault("flow:off@6s+1s")
    assert (fault.part, fault.start_s, fault.end_s) == ("flow", 6.0, 7.0)
    assert parse_fault("accel:off@2.5").end_s == float("inf")
    assert parse_dropout("flow:0.3") == ("flow", 0.3)
    assert parse_imu_hz("mixed") == ((25.0, 400.0), True)
    assert parse_imu_hz("200") == ((200.0, 200.0), False)


@pytest.mark.parametrize("text", ["flow", "flow:on@3", "gps:off@3s", "flow:off@1.2.3s", "flow:off@s", ""])
def test_faults_that_are_not_understood_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_fault(text)


@pytest.mark.parametrize("text", ["gps:0.3", "flow", "flow:x", "flow:1.1", "flow:nan"])
def test_dropouts_that_are_not_understood_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        parse_dropout(text)
