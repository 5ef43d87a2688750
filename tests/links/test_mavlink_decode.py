"""Axes and units: our messages go to MAVLink and come back as they were; what cannot be is refused by name."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.autopilot.wire import Wire
from liquid_pilot.geometry import rotation_matrix, to_world
from liquid_pilot.links import mavlink_decode as decode
from liquid_pilot.links.mavlink_decode import Refusal
from liquid_pilot.links.mavlink_frames import dialect
from liquid_pilot.messages import Flow, Imu, Position, Range, SensorMessage

D = dialect()
T = 12.5
RATE, FORCE, PLACE = (st.floats(-limit, limit, width=32) for limit in (60.0, 300.0, 500.0))


def there_and_back(message: SensorMessage) -> Any:
    [(frame, m)] = Wire().unpack(Wire().sensor(message, T))
    assert (frame.system, frame.component) == (1, 1)
    read = {
        "HIGHRES_IMU": decode.highres_imu,
        "OPTICAL_FLOW_RAD": decode.optical_flow_rad,
        "DISTANCE_SENSOR": decode.distance_sensor,
        "LOCAL_POSITION_NED": decode.local_position_ned,
    }
    return read[m.get_type()](m, T)


@given(st.tuples(RATE, RATE, RATE), st.tuples(FORCE, FORCE, FORCE))
def test_imu_comes_back(gyro: tuple[float, float, float], accel: tuple[float, float, float]) -> None:
    assert there_and_back(Imu(T, gyro, accel)) == Imu(T, gyro, accel)


def test_an_absent_accelerometer_comes_back_as_absent() -> None:
    found = there_and_back(Imu(T, (0.1, 0.2, 0.3), decode.ABSENT))
    assert isinstance(found, Imu) and all(map(math.isnan, found.accel_m_s2))


@given(st.tuples(*[st.floats(-0.125, 0.125, width=32)] * 2), st.integers(5_000, 200_000), st.integers(0, 255))
def test_flow_comes_back(flow: tuple[float, float], window_us: int, quality: int) -> None:
    sent = Flow(T, window_us * 1e-6, flow, quality / 255.0)
    found = there_and_back(sent)
    assert found.flow_rad == sent.flow_rad
    assert found.dt_s == pytest.approx(sent.dt_s) and found.quality == pytest.approx(sent.quality)


@given(st.floats(0.03, 4.0))
def test_range_comes_back_to_a_centimetre(distance: float) -> None:
    assert there_and_back(Range(T, distance)).distance_m == pytest.approx(distance, abs=0.0051)


def test_no_return_comes_back_as_none() -> None:
    assert math.isnan(there_and_back(Range(T, math.nan)).distance_m)


@given(st.tuples(PLACE, PLACE, PLACE), st.tuples(*[st.floats(-50, 50, width=32)] * 3))
def test_position_comes_back(place: tuple[float, float, float], velocity: tuple[float, float, float]) -> None:
    assert there_and_back(Position(T, place, velocity)) == Position(T, place, velocity)


@given(st.tuples(*[st.floats(-1.0, 1.0)] * 4).filter(lambda q: sum(x * x for x in q) > 0.01))
def test_attitude_turns_the_same_vectors(q: tuple[float, float, float, float]) -> None:
    norm = math.sqrt(sum(x * x for x in q))
    unit = (q[0] / norm, q[1] / norm, q[2] / norm, q[3] / norm)
    [(_, m)] = Wire().unpack(Wire().attitude(unit, T))
    found = decode.attitude_quaternion(m, T)
    assert not isinstance(found, Refusal)
    body = (0.3, -0.7, 1.1)
    there = to_world(rotation_matrix(unit), body)
    assert to_world(rotation_matrix(found.quaternion_wxyz), body) == pytest.approx(there, abs=1e-5)
    # and what MAVLink itself says: a rotation from FRD to NED
    ned = to_world(rotation_matrix((m.q1, m.q2, m.q3, m.q4)), decode.flu(*body))
    assert decode.enu(*ned) == pytest.approx(there, abs=1e-5)


def test_axes_of_a_drone_at_rest_and_moving() -> None:
    """Known answers: level rest in FRD reads -9.81 on z; moving forward turns integrated_y up, to the right x down."""
    m = D.MAVLink_highres_imu_message(0, 0, 0, -9.81, 0.1, 0.2, 0.3, 0, 0, 0, 0, 0, 0, 0, 63, 0)
    assert decode.highres_imu(m, T) == Imu(T, (0.1, -0.2, -0.3), (0.0, 0.0, 9.81))
    forward = D.MAVLink_optical_flow_rad_message(0, 0, 20_000, 0.0, 0.02, 0, 0, 0, 0, 255, 0, -1.0)
    assert decode.optical_flow_rad(forward, T) == Flow(T, 0.02, (0.02, 0.0), 1.0)
    to_the_right = D.MAVLink_optical_flow_rad_message(0, 0, 20_000, -0.02, 0.0, 0, 0, 0, 0, 255, 0, -1.0)
    assert decode.optical_flow_rad(to_the_right, T) == Flow(T, 0.02, (0.0, -0.02), 1.0)
    m = D.MAVLink_scaled_imu_message(0, 0, 0, -1000, 100, 200, 300, 0, 0, 0)
    found = decode.scaled_imu(m, T)
    assert isinstance(found, Imu)
    assert found.gyro_rad_s == pytest.approx((0.1, -0.2, -0.3))
    assert found.accel_m_s2 == pytest.approx((0.0, 0.0, 9.80665))


def imu_of(gyro: float = 0.0, accel: float = -9.81, fields: int = 63) -> Any:
    return D.MAVLink_highres_imu_message(0, 0, 0, accel, gyro, 0, 0, 0, 0, 0, 0, 0, 0, 0, fields, 0)


def flow_of(window_us: int = 20_000, x: float = 0.0) -> Any:
    return D.MAVLink_optical_flow_rad_message(0, 0, window_us, x, 0, 0, 0, 0, 0, 255, 0, -1.0)


def distance_of(cm: int = 100, low: int = 3, high: int = 400, orientation: int = 25) -> Any:
    return D.MAVLink_distance_sensor_message(0, low, high, cm, 0, 0, orientation, 255)


@pytest.mark.parametrize(
    ("read", "message", "reason"),
    [
        (decode.highres_imu, imu_of(gyro=math.nan), "gyro"),
        (decode.highres_imu, imu_of(gyro=573.0), "gyro"),  # 10 rad/s in degrees
        (decode.highres_imu, imu_of(accel=-9810.0), "accel"),  # mm/s^2
        (decode.highres_imu, imu_of(accel=math.inf), "accel"),
        (decode.highres_imu, imu_of(fields=7), "no_gyro"),
        (decode.optical_flow_rad, flow_of(window_us=0), "flow_window"),
        (decode.optical_flow_rad, flow_of(window_us=4_000_000), "flow_window"),
        (decode.optical_flow_rad, flow_of(x=2.0), "flow"),
        (decode.optical_flow_rad, flow_of(x=math.nan), "flow"),
        (decode.distance_sensor, distance_of(orientation=0), "not_down"),
        (decode.distance_sensor, distance_of(low=500), "range_limits"),
        (decode.local_position_ned, D.MAVLink_local_position_ned_message(0, math.nan, 0, 0, 0, 0, 0), "position"),
        (decode.local_position_ned, D.MAVLink_local_position_ned_message(0, 0, 0, 0, 900, 0, 0), "position"),
        (decode.attitude_quaternion, D.MAVLink_attitude_quaternion_message(0, 0, 0, 0, 0, 0, 0, 0), "attitude"),
    ],
)
def test_impossible_values_are_refused_by_name(read: Any, message: Any, reason: str) -> None:
    found = read(message, T)
    assert isinstance(found, Refusal) and found.reason == reason and found.text


@pytest.mark.parametrize(("cm", "low", "high"), [(401, 3, 400), (2, 3, 400), (0, 20, 400)])
def test_a_distance_outside_its_own_limits_is_no_return(cm: int, low: int, high: int) -> None:
    found = decode.distance_sensor(distance_of(cm, low, high), T)
    assert isinstance(found, Range) and math.isnan(found.distance_m)


def test_flow_in_pixels_is_refused_and_flow_in_rates_is_read() -> None:
    pixels = D.MAVLink_optical_flow_message(0, 0, 10, 20, 0, 0, 255, -1.0)
    found = decode.optical_flow(pixels, T, 0.02)
    assert isinstance(found, Refusal) and found.reason == "flow_pixels"
    rates = D.MAVLink_optical_flow_message(0, 0, 10, 20, 0, 0, 255, -1.0, -0.5, 0.25)
    assert decode.optical_flow(rates, T, 0.02) == Flow(T, 0.02, (0.005, -0.01), 1.0)
