"""What must be true before a drone may be armed, each with a reason and a fix. A pure function of what is known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from liquid_pilot.links.link import LinkStatus
from liquid_pilot.messages import Setpoint
from liquid_pilot.observation import GRAVITY_M_S2
from liquid_pilot.runtime.watch import Rest, SensorState

HIGHEST_HZ: Final = {"imu": 1050.0, "flow": 500.0, "range": 500.0}
SPARE: Final = 0.8  # a sensor may be so much slower than the slowest that the policy was trained with
FEWEST_IMU: Final = 50
ACCEL_TOLERANCE_M_S2: Final = 0.8  # 80 mg: twice the bias of a common part
STILL_RAD_S: Final = 0.06  # mean: about 3.5 deg/s
SHAKEN_RAD_S: Final = 0.5  # any sample
STEEPEST: Final = math.cos(math.radians(15.0))
FARTHEST_M: Final = 4.0
LOWEST_BATTERY: Final = 0.25


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the list. fix: what to do, "" where it passed."""

    name: str
    passed: bool
    found: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known. selftest: largest difference of the recorded self-test on this machine, None if it was not run.

    trained_rates_hz: of the bundle, {"imu": [low, high], ...}. hover_throttle: None if it was not given. log: why the
    flight log is not written any more, "" if it is or there is none. starts_on_floor: whether this program takes off.
    """

    policy: str
    selftest: float | None
    trained_rates_hz: Mapping[str, Any]
    setpoint_limits: Mapping[str, Any]
    link: LinkStatus
    sensors: Mapping[str, SensorState]
    rest: Rest
    setpoint: Setpoint
    hover_throttle: float | None
    log: str
    starts_on_floor: bool


def preflight(facts: Facts) -> list[Check]:
    """All checks, in the order in which one would put things right."""
    return [
        _policy(facts),
        _link(facts),
        *_rates(facts),
        _clock(facts),
        _accelerometer(facts),
        _gyro(facts),
        _range(facts),
        _battery(facts),
        _setpoint(facts),
        _throttle(facts),
        _log(facts),
    ]


def _check(name: str, passed: bool, found: str, fix: str) -> Check:
    return Check(name, passed, found, "" if passed else fix)


def _policy(facts: Facts) -> Check:
    proved = facts.selftest is not None and facts.selftest <= 1e-4
    found = "self-test was not run" if facts.selftest is None else f"self-test differs by {facts.selftest:.1e}"
    return _check("policy", proved, f"{facts.policy}: {found}", "export the policy again; do not fly it here")


def _link(facts: Facts) -> Check:
    link = facts.link
    if link.problem:
        return Check("link", False, link.problem, "put that right first")
    found = link.autopilot if link.alive else f"no autopilot is heard on {link.address}"
    return _check(
        "link", link.alive, found, "check the cable, the address and speed, and that the autopilot sends MAVLink there"
    )


def _rates(facts: Facts) -> Iterator[Check]:
    for name, highest in HIGHEST_HZ.items():
        state = facts.sensors.get(name, SensorState(0.0, None, 0))
        trained = facts.trained_rates_hz.get(name, (1.0, highest))
        low = SPARE * float(trained[0])
        spread = f"{low:.0f} to {highest:.0f} Hz"
        yield _check(
            name,
            low <= state.rate_hz <= highest,
            f"{state.rate_hz:.0f} Hz" if state.rate_hz else "not heard",
            f"the policy needs {spread}: connect the sensor, and raise its stream rate on this link",
        )


def _clock(facts: Facts) -> Check:
    link = facts.link
    if link.clock == "timesync":
        return Check("clock", True, f"TIMESYNC, good to {1e3 * (link.clock_delay_s or 0.0):.1f} ms")
    if link.clock == "arrivals":
        return Check("clock", True, "by arrival times, for TIMESYNC is not answered")
    return Check("clock", False, "no stamp has come", "wait for the autopilot's first messages")


def _accelerometer(facts: Facts) -> Check:
    rest = facts.rest
    force = math.hypot(*rest.accel_m_s2)
    found = f"{force:.2f} m/s^2"
    if rest.samples < FEWEST_IMU or force == 0.0:
        return Check("accelerometer", False, "not heard for long enough", "wait, or connect the IMU")
    if not abs(force - GRAVITY_M_S2) <= ACCEL_TOLERANCE_M_S2:  # NaN too
        hint = "it looks like g, not m/s^2" if 0.8 < force < 1.2 else "calibrate it, and do not move the drone"
        return Check("accelerometer", False, found, f"at rest it must read {GRAVITY_M_S2} m/s^2: {hint}")
    upright = rest.accel_m_s2[2] / force
    if upright < STEEPEST:
        tilt = math.degrees(math.acos(max(-1.0, upright)))
        return Check("accelerometer", False, f"the drone leans by {tilt:.0f} degrees", "set it down level")
    return Check("accelerometer", True, found)


def _gyro(facts: Facts) -> Check:
    mean, largest = math.hypot(*facts.rest.gyro_rad_s), facts.rest.largest_gyro_rad_s
    still = facts.rest.samples >= FEWEST_IMU and mean < STILL_RAD_S and largest < SHAKEN_RAD_S
    return _check(
        "gyro",
        still,
        f"mean {mean:.3f}, largest {largest:.2f} rad/s",
        f"keep the drone still (mean below {STILL_RAD_S} rad/s); if it is, calibrate the gyro",
    )


def _range(facts: Facts) -> Check:
    distance = facts.rest.range_m
    if math.isnan(distance):
        return _check(
            "height",
            facts.starts_on_floor and facts.sensors["range"].count > 0,
            "no return (too near the floor? the take-off is given up if none comes)",
            "the range sensor must look at the floor",
        )
    return _check(
        "height",
        0.0 <= distance <= FARTHEST_M,
        f"{distance:.2f} m",
        f"the range sensor must read 0 to {FARTHEST_M:g} m: does it look at the floor?",
    )


def _battery(facts: Facts) -> Check:
    share = facts.link.battery
    if share is None:
        return Check("battery", True, "the autopilot does not tell; look at it yourself")
    return _check("battery", share >= LOWEST_BATTERY, f"{share:.0%}", f"charge it (at least {LOWEST_BATTERY:.0%})")


def _setpoint(facts: Facts) -> Check:
    setpoint, limits = facts.setpoint, facts.setpoint_limits
    low, high = limits.get("height_m", (0.0, 1000.0))
    speed = math.hypot(*setpoint.velocity_m_s)
    fits = low <= setpoint.height_m <= high and speed <= limits.get("speed_m_s", 50.0)
    return _check(
        "set-point",
        fits,
        f"{setpoint.height_m:g} m, {speed:g} m/s",
        f"this policy flies {low:g} to {high:g} m and up to {limits.get('speed_m_s', 50.0):g} m/s: choose --height and "
        "--velocity inside",
    )


def _throttle(facts: Facts) -> Check:
    given = facts.hover_throttle
    return _check(
        "hover throttle",
        given is not None,
        "not given" if given is None else f"{given:.3f}",
        "give --hover-throttle: PX4 MPC_THR_HOVER, ArduPilot MOT_THST_HOVER, or the mean throttle of a hover by hand",
    )


def _log(facts: Facts) -> Check:
    return _check("log", not facts.log, facts.log or "ready", "give --log a path that can be written")
