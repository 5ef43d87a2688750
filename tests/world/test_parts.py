"""Sensor parts: known answers of the mapping, refusals, and both engines sensing with the chosen parts."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from envs.airframe import load_airframe
from envs.batched_state import map_tensors
from envs.conditions import Conditions
from envs.flights import draw_flights
from envs.parts import KINDS, PART_DIR, ImuPart, PositionPart, conditions_with, load_part, parse_sensors, shipped_parts
from envs.sensor_events import SensorSuite
from envs.sensors import DEFAULT_SENSORS
from liquid_pilot import native
from liquid_pilot.errors import ConfigError
from liquid_pilot.geometry import rotation_matrix
from liquid_pilot.messages import Range
from policies.flat_state import pack
from scripts.case import Case
from tests.compiled.test_rollout import BUSY, fly, fly_torch, make_case, rollout

ZERO = (0.0, 0.0, 0.0)
LEVEL = rotation_matrix((1.0, 0.0, 0.0, 0.0))
PARTS = {"imu": "bmi088", "flow": "paw3902", "range": "vl53l1x"}


def test_every_shipped_part_is_of_the_kind_it_is_listed_under() -> None:
    assert {kind: shipped_parts(kind) for kind in KINDS} == {
        "imu": ["bmi088", "icm42688p"],
        "flow": ["paw3902", "pmw3901"],
        "range": ["vl53l1x"],
        "position": ["gps", "mocap"],
    }
    for kind, cls in KINDS.items():
        for name in shipped_parts(kind):
            part = load_part(name)
            assert isinstance(part, cls) and part.name == name
            assert load_part(PART_DIR / f"{name}.toml") == part


def test_nothing_chosen_changes_nothing() -> None:
    assert conditions_with(Conditions()) == Conditions()
    assert Conditions().sensors == DEFAULT_SENSORS


def test_an_imu_adds_its_noise_to_the_vibration_and_brings_its_limits_and_biases() -> None:
    part = load_part("bmi088")
    assert isinstance(part, ImuPart)
    found = conditions_with(Conditions(imu_hz=(200.0, 200.0)), imu="bmi088")
    variance = found.sensors.imu.gyro_noise_rad_s**2 - DEFAULT_SENSORS.imu.gyro_noise_rad_s**2
    assert variance == pytest.approx(part.gyro_density_rad_s_rthz**2 * 100.0 + part.gyro_resolution_rad_s**2 / 12.0)
    assert found.sensors.imu.accel_limit_m_s2 == pytest.approx(24.0 * 9.81, rel=1e-3)
    assert (found.gyro_bias_rad_s, found.accel_bias_m_s2) == (part.gyro_bias_rad_s, part.accel_bias_m_s2)
    quiet = conditions_with(Conditions(imu_hz=(200.0, 200.0)), imu="icm42688p")
    assert (
        DEFAULT_SENSORS.imu.gyro_noise_rad_s < quiet.sensors.imu.gyro_noise_rad_s < found.sensors.imu.gyro_noise_rad_s
    )
    assert quiet.gyro_walk_rad_s2 < found.gyro_walk_rad_s2


def test_flow_noise_is_an_angle_a_sample_and_grows_with_the_rate() -> None:
    slow = conditions_with(Conditions(flow_hz=(25.0, 25.0)), flow="pmw3901")
    fast = conditions_with(Conditions(flow_hz=(100.0, 100.0)), flow="pmw3901")
    assert fast.sensors.flow.noise_rad_s == pytest.approx(4.0 * slow.sensors.flow.noise_rad_s)
    assert fast.sensors.flow.noise_rad_s == pytest.approx(math.sqrt(4.0 + 1.0 / 12.0) / 488.0 * 100.0)


def test_parts_are_chosen_each_on_its_own() -> None:
    one_by_one = Conditions()
    for kind, name in PARTS.items():
        one_by_one = conditions_with(one_by_one, **{kind: name})
    assert one_by_one == conditions_with(Conditions(), **PARTS)
    assert conditions_with(Conditions(), imu="bmi088").sensors.flow == DEFAULT_SENSORS.flow


@pytest.mark.parametrize(
    ("chosen", "conditions", "said"),
    [
        ({"flow": "paw3902"}, Conditions(flow_hz=(100.0, 100.0)), "flow_hz is 100 to 100; paw3902 has 1 to 66 Hz"),
        ({"range": "vl53l1x"}, Conditions(range_hz=(10.0, 60.0)), "range_hz is 10 to 60; vl53l1x"),
        ({"imu": "pmw3901"}, Conditions(), "'pmw3901' is no imu part; choose one of: bmi088, icm42688p"),
        ({"flow": "gps"}, Conditions(), "'gps' is no flow part"),
        ({"range": 3}, Conditions(), "3 is no range part"),
        ({"imu": "mpu6000"}, Conditions(), "unknown sensor part 'mpu6000'"),
        ({"imu": "own.toml"}, Conditions(), "own.toml is no file"),
    ],
)
def test_what_does_not_fit_is_refused(chosen: dict[str, str], conditions: Conditions, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        conditions_with(conditions, **chosen)


@pytest.mark.parametrize(
    ("name", "pattern", "replacement", "said"),
    [
        ("bmi088", r"^gyro_limit_rad_s = .*$", "gyro_limit_rad_s = 2000.0", "gyro_limit_rad_s is 2000.*degrees"),
        ("bmi088", r"^gyro_density_rad_s_rthz = .*$", "gyro_density_rad_s_rthz = 14.0", "milli-units"),
        ("bmi088", r"^rate_hz = .*$", "rate_hz = [1600.0, 1.0]", "must rise"),
        ("bmi088", r"^rate_hz = .*$", "rate_hz = 1600.0", r"wrong kind; write \[a finite number, a finite number\]"),
        ("bmi088", r"^kind = .*$", "kind = 'gyro'", "unknown kind of sensor part 'gyro'.*flow, imu"),
        ("bmi088", r"^kind = .*$", "", "kind of sensor part None"),
        ("bmi088", r"^kind = .*$", "kind = 'flow'", "missing keys .*counts_per_rad"),
        ("vl53l1x", r"^far_m = .*$", "far_m = 4000.0", "far_m"),
        ("vl53l1x", r"^latency_s = .*$", "latency_s = [10.0, 22.0]", "milliseconds"),
        ("pmw3901", r"^noise_counts = .*$", "noise_counts = nan", "finite"),
        ("gps", r"^name", "colour = 'red'\nname", "unknown keys .*colour"),
    ],
)
def test_a_part_file_with_a_wrong_figure_is_refused(
    tmp_path: Path, name: str, pattern: str, replacement: str, said: str
) -> None:
    text = (PART_DIR / f"{name}.toml").read_text(encoding="utf-8")
    path = tmp_path / "part.toml"
    path.write_text(re.sub(pattern, replacement, text, count=1, flags=re.MULTILINE), encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        load_part(path)


def test_parts_are_read_from_the_command_line() -> None:
    assert parse_sensors("imu=bmi088, flow=paw3902,range=vl53l1x") == PARTS
    assert parse_sensors("") == {}
    case = Case("geometric", sensors="imu=bmi088,range=vl53l1x", flow_hz=25.0, wind=0.0)
    wanted = Case("geometric", flow_hz=25.0, wind=0.0).conditions()
    assert case.conditions() == conditions_with(wanted, imu="bmi088", range="vl53l1x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("bmi088", "KIND=PART"),
        ("imu=", "KIND=PART"),
        ("imu=bmi088,imu=icm42688p", "imu twice"),
        ("sonar=hcsr04", "unknown kind of sensor 'sonar'"),
    ],
)
def test_a_choice_that_is_none_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        parse_sensors(text)


@given(st.text(max_size=30) | st.from_regex(r"(imu|flow|range|x)?=?[a-z0-9,=. ]{0,12}", fullmatch=True))
def test_no_text_is_read_as_anything_but_parts(text: str) -> None:
    try:
        chosen = parse_sensors(text)
        conditions_with(Conditions(), **chosen)
    except ConfigError:
        return
    assert all(name in shipped_parts(kind) for kind, name in chosen.items())


def suite(conditions: Conditions) -> SensorSuite:
    flights = draw_flights(load_airframe("cf2x"), conditions, 1, np.random.default_rng(5))
    return SensorSuite(flights, conditions, np.random.default_rng(6))


def test_one_drone_senses_with_its_parts() -> None:
    loud = replace(DEFAULT_SENSORS.imu, gyro_noise_rad_s=0.5, accel_limit_m_s2=20.0)
    conditions = conditions_with(Conditions(noise_scale=(1.0, 1.0)), range="vl53l1x")
    conditions = replace(conditions, sensors=replace(conditions.sensors, imu=loud))
    sensors = suite(conditions)
    read = [sensors.read_imu(0.01 * i, 1.0, LEVEL, ZERO, (0.0, 0.0, 500.0), (ZERO, ZERO)) for i in range(2000)]
    assert np.std([imu.gyro_rad_s for imu in read if imu is not None]) == pytest.approx(0.5, rel=0.05)
    assert all(imu is not None and imu.accel_m_s2[2] == 20.0 for imu in read)
    heard: list[float] = []
    for i in range(1, 20_000):
        sensors.sense(0.005 * i, 1.0, 1.5, LEVEL, ZERO, ZERO, 0.005)
        heard += [message.distance_m for message in sensors.due(0.005 * i) if isinstance(message, Range)]
    assert np.std(heard) == pytest.approx(math.hypot(0.010, 0.001 / math.sqrt(12.0)), rel=0.06)


@pytest.mark.skipif(not native.available(), reason="needs a C compiler")
def test_both_batched_engines_sense_with_the_parts_of_the_conditions() -> None:
    conditions = conditions_with(BUSY, **PARTS)
    case, plain = make_case("decay", 30, 6, conditions=conditions), make_case("decay", 30, 6)
    with_parts, without = fly(case, rollout("decay"), gradients=False), fly(plain, rollout("decay"), gradients=False)
    _, states, _ = fly_torch(case)
    wanted = pack(map_tensors(lambda tensor: tensor.detach(), states[-1]))
    assert_allclose(with_parts.lanes.world.values, wanted.values, rtol=1e-9, atol=1e-9)
    assert np.abs(with_parts.lanes.world.value("range.held") - without.lanes.world.value("range.held")).max() > 1e-4


def test_a_position_part_gives_its_rate_noise_and_latency() -> None:
    flown = conditions_with(Conditions(), **parse_sensors("position=gps"))
    part = load_part("gps")
    assert isinstance(part, PositionPart) and flown.locates and not Conditions().locates
    assert flown.position_hz == (part.rate_hz[0], part.rate_hz[0]) and flown.position_latency_s == part.latency_s
    assert flown.sensors.position.noise_z_m == part.noise_z_m
    with pytest.raises(ConfigError, match="position_hz"):
        conditions_with(Conditions(position_hz=(50.0, 50.0)), position="gps")


def test_position_parts_differ_as_they_do() -> None:
    gps, mocap = load_part("gps"), load_part("mocap")
    assert isinstance(gps, PositionPart) and isinstance(mocap, PositionPart)
    assert gps.noise_xy_m > 100.0 * mocap.noise_xy_m and gps.rate_hz[1] < mocap.rate_hz[0]
