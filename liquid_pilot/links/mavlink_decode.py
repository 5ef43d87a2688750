"""From MAVLink messages to ours: pure functions over one message and its time on our clock.

FRD and NED become FLU and ENU, odd units become SI. A value that no working sensor sends is a `Refusal`, which is
counted under its `reason`. Field meanings: https://mavlink.io/en/messages/common.html
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from liquid_pilot.geometry import multiply
from liquid_pilot.messages import Attitude, Floats3, Floats4, Flow, Imu, Position, Range

ABSENT: Final = (math.nan, math.nan, math.nan)
ACCEL_BITS: Final = 0x07  # of HIGHRES_IMU.fields_updated
GYRO_BITS: Final = 0x38
DOWN: Final = 25  # MAV_SENSOR_ROTATION_PITCH_270
MILLI_G_M_S2: Final = 9.80665e-3
GYRO_LIMIT_RAD_S: Final = 70.0  # 4000 deg/s, twice what such parts measure
ACCEL_LIMIT_M_S2: Final = 400.0
FLOW_LIMIT_RAD_S: Final = 50.0
LONGEST_FLOW_S: Final = 1.0
PLACE_LIMIT_M: Final = 1e6
SPEED_LIMIT_M_S: Final = 200.0
_HALF: Final = math.sqrt(0.5)
_ENU_OF_NED: Final[Floats4] = (0.0, _HALF, _HALF, 0.0)  # half a turn about the line between north and east
_FRD_OF_FLU: Final[Floats4] = (0.0, 1.0, 0.0, 0.0)  # half a turn about x


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a message was not taken over. reason: a name to count by; text: one sentence."""

    reason: str
    text: str


def flu(x: float, y: float, z: float) -> Floats3:
    """A body vector from FRD to FLU, or back."""
    return x, -y, -z


def enu(north: float, east: float, down: float) -> Floats3:
    """A world vector from NED to ENU, or back."""
    return east, north, -down


def attitude_enu(q: Floats4) -> Floats4:
    """A rotation FRD -> NED as the rotation FLU -> ENU, wxyz; it is its own inverse up to the sign."""
    return multiply(multiply(_ENU_OF_NED, q), _FRD_OF_FLU)


def _within(limit: float, *values: float) -> bool:
    return all(-limit <= value <= limit for value in values)


def _imu(name: str, t_s: float, gyro: Floats3, accel: Floats3) -> Imu | Refusal:
    if not _within(GYRO_LIMIT_RAD_S, *gyro):
        return Refusal("gyro", f"{name}: its gyro is {gyro} rad/s; no part measures above {GYRO_LIMIT_RAD_S:g}")
    if accel is not ABSENT and not _within(ACCEL_LIMIT_M_S2, *accel):
        return Refusal("accel", f"{name}: its accelerometer is {accel} m/s^2; allowed is {ACCEL_LIMIT_M_S2:g}")
    return Imu(t_s, gyro, accel)


def highres_imu(m: Any, t_s: float) -> Imu | Refusal:
    """HIGHRES_IMU: SI already. Without a new gyro there is nothing to step with."""
    if m.fields_updated & GYRO_BITS != GYRO_BITS:
        return Refusal("no_gyro", f"HIGHRES_IMU: fields_updated is {m.fields_updated:#x}, without a new gyro")
    accel = flu(m.xacc, m.yacc, m.zacc) if m.fields_updated & ACCEL_BITS == ACCEL_BITS else ABSENT
    return _imu("HIGHRES_IMU", t_s, flu(m.xgyro, m.ygyro, m.zgyro), accel)


def scaled_imu(m: Any, t_s: float) -> Imu | Refusal:
    """SCALED_IMU: mrad/s and thousandths of g."""
    gyro = flu(m.xgyro * 1e-3, m.ygyro * 1e-3, m.zgyro * 1e-3)
    accel = flu(m.xacc * MILLI_G_M_S2, m.yacc * MILLI_G_M_S2, m.zacc * MILLI_G_M_S2)
    return _imu("SCALED_IMU", t_s, gyro, accel)


def _flow(name: str, t_s: float, dt_s: float, x: float, y: float, quality: int) -> Flow | Refusal:
    """x, y: angles about the FRD axes over dt_s, rotation not removed."""
    if not 0.0 < dt_s <= LONGEST_FLOW_S:
        return Refusal("flow_window", f"{name}: its window is {dt_s:g} s; it must be above 0 and at most 1 s")
    if not _within(FLOW_LIMIT_RAD_S * dt_s, x, y):
        return Refusal(
            "flow", f"{name}: its angles are {x:g}, {y:g} rad in {dt_s:g} s; at most {FLOW_LIMIT_RAD_S:g} rad/s"
        )
    return Flow(t_s, dt_s, (y, x), quality / 255.0)


def optical_flow_rad(m: Any, t_s: float) -> Flow | Refusal:
    """OPTICAL_FLOW_RAD. Moving forward turns its y up, moving to the left its x, as our `Flow` has it."""
    return _flow("OPTICAL_FLOW_RAD", t_s, m.integration_time_us * 1e-6, m.integrated_x, m.integrated_y, m.quality)


def optical_flow(m: Any, t_s: float, dt_s: float) -> Flow | Refusal:
    """OPTICAL_FLOW: rates of its extension, held over dt_s since the message before."""
    if m.flow_rate_x == 0.0 and m.flow_rate_y == 0.0 and (m.flow_x or m.flow_y):
        return Refusal("flow_pixels", "OPTICAL_FLOW: pixels without rates in rad/s; let it send OPTICAL_FLOW_RAD")
    return _flow("OPTICAL_FLOW", t_s, dt_s, m.flow_rate_x * dt_s, m.flow_rate_y * dt_s, m.quality)


def distance_sensor(m: Any, t_s: float) -> Range | Refusal:
    """DISTANCE_SENSOR that looks down, in cm. Outside its own limits, or with a signal that it calls bad: no return."""
    if m.orientation != DOWN:
        return Refusal("not_down", f"DISTANCE_SENSOR: it looks along orientation {m.orientation}; down is {DOWN}")
    low, high, now = m.min_distance, m.max_distance, m.current_distance
    if high and low > high:
        return Refusal("range_limits", f"DISTANCE_SENSOR: its limits are {low} to {high} cm")
    if (high and now > high) or now < low or m.signal_quality == 1:
        return Range(t_s, math.nan)
    return Range(t_s, now * 0.01)


def attitude_quaternion(m: Any, t_s: float) -> Attitude | Refusal:
    """ATTITUDE_QUATERNION: FRD -> NED."""
    q = (m.q1, m.q2, m.q3, m.q4)
    norm = math.sqrt(sum(x * x for x in q))
    if not 0.9 < norm < 1.1:
        return Refusal("attitude", f"ATTITUDE_QUATERNION: {q} has length {norm:g}; it must be 1")
    a, b, c, d = (x / norm for x in q)
    return Attitude(t_s, attitude_enu((a, b, c, d)))


def local_position_ned(m: Any, t_s: float) -> Position | Refusal:
    """LOCAL_POSITION_NED."""
    place, velocity = enu(m.x, m.y, m.z), enu(m.vx, m.vy, m.vz)
    if not (_within(PLACE_LIMIT_M, *place) and _within(SPEED_LIMIT_M_S, *velocity)):
        return Refusal("position", f"LOCAL_POSITION_NED: {place} m, {velocity} m/s cannot be")
    return Position(t_s, place, velocity)


def battery_share(percent: int) -> float | None:
    """0 to 1 of SYS_STATUS or BATTERY_STATUS; None where it does not say."""
    return percent / 100.0 if 0 <= percent <= 100 else None
