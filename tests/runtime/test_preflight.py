"""Every check passes on a drone that is ready, and fails, with a reason and a fix, on one that is not."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from liquid_pilot.links.link import LinkStatus
from liquid_pilot.messages import Setpoint
from liquid_pilot.runtime.preflight import Facts, preflight
from liquid_pilot.runtime.watch import Rest, SensorState

READY = Facts(
    policy="hover",
    selftest=1e-6,
    trained_rates_hz={"imu": [22, 440], "flow": [8, 60], "range": [12, 50]},
    setpoint_limits={"height_m": [0.6, 1.6], "speed_m_s": 0.5},
    link=LinkStatus(
        "udpin", alive=True, heard_s=1.0, autopilot="PX4", clock="timesync", clock_delay_s=0.001, battery=0.9
    ),
    sensors={
        "imu": SensorState(200.0, 0.0, 500),
        "flow": SensorState(50.0, 0.0, 99),
        "range": SensorState(30.0, 0.0, 99),
    },
    rest=Rest(200, (0.1, -0.2, 9.7), (0.01, 0.0, -0.01), 0.1, 0.08),
    setpoint=Setpoint(0.0, (0.0, 0.0), 1.0, 0.0),
    hover_throttle=0.4,
    log="",
    starts_on_floor=True,
)


def test_a_drone_that_is_ready_passes_everything() -> None:
    checks = preflight(READY)
    assert [check.name for check in checks if not check.passed] == []
    assert len({check.name for check in checks}) == len(checks) == 13


def rest(**changes: Any) -> dict[str, Any]:
    return {"rest": replace(READY.rest, **changes)}


def link(**changes: Any) -> dict[str, Any]:
    return {"link": replace(READY.link, **changes)}


def sensor(name: str, hz: float) -> dict[str, Any]:
    return {"sensors": {**READY.sensors, name: SensorState(hz, 0.0 if hz else None, 10 if hz else 0)}}


@pytest.mark.parametrize(
    ("changes", "name", "words"),
    [
        ({"selftest": None}, "policy", "not run"),
        ({"selftest": 0.5}, "policy", "export"),
        ({"selftest": math.nan}, "policy", "export"),
        (link(alive=False), "link", "cable"),
        (link(problem="two autopilots on one link"), "link", "two autopilots"),
        (sensor("imu", 0.0), "imu", "not heard"),
        (sensor("imu", 10.0), "imu", "18 to 1050 Hz"),
        (sensor("imu", 4000.0), "imu", "18 to 1050 Hz"),
        (sensor("flow", 2.0), "flow", "stream rate"),
        (sensor("range", 0.0), "range", "not heard"),
        (link(clock=""), "clock", "no stamp"),
        (rest(accel_m_s2=(0.0, 0.0, 1.0)), "accelerometer", "it looks like g"),
        (rest(accel_m_s2=(0.0, 0.0, 12.0)), "accelerometer", "calibrate"),
        (rest(accel_m_s2=(5.0, 0.0, 8.44)), "accelerometer", "level"),
        (rest(accel_m_s2=(0.0, 0.0, -9.81)), "accelerometer", "180 degrees"),
        (rest(accel_m_s2=(math.nan,) * 3), "accelerometer", ""),
        (rest(samples=3), "accelerometer", "long enough"),
        (rest(gyro_rad_s=(0.0, 0.2, 0.0)), "gyro", "still"),
        (rest(largest_gyro_rad_s=2.0), "gyro", "still"),
        (rest(range_m=7.0), "height", "floor"),
        ({**rest(range_m=math.nan), "starts_on_floor": False}, "height", "floor"),
        (link(battery=0.1), "battery", "charge"),
        ({"setpoint": Setpoint(0.0, (0.0, 0.0), 3.0, 0.0)}, "set-point", "0.6 to 1.6 m"),
        ({"setpoint": Setpoint(0.0, (0.4, 0.4), 1.0, 0.0)}, "set-point", "0.5 m/s"),
        ({"hover_throttle": None}, "hover throttle", "--hover-throttle"),
        ({"log": "the disk is full"}, "log", "disk is full"),
    ],
)
def test_what_is_not_ready_fails_alone_with_a_fix(changes: dict[str, Any], name: str, words: str) -> None:
    failed = [check for check in preflight(replace(READY, **changes)) if not check.passed]
    assert name in [check.name for check in failed] and len(failed) <= 2
    check = next(check for check in failed if check.name == name)
    assert words in f"{check.found} {check.fix}" and check.fix


def test_on_the_floor_a_range_without_return_and_a_battery_that_is_not_told_may_pass() -> None:
    facts = replace(READY, **rest(range_m=math.nan), **link(battery=None))
    assert all(check.passed for check in preflight(facts))
