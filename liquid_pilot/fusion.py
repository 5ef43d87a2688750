"""From messages in order of arrival to the newest accepted value of every sensor (`Held`).

Each sensor has its own clock discipline: a stamp that stands still or runs backwards is dropped. The IMU's
stamps are the clock of the flight. When they leap, and go on from there for a few samples, the memory moves
to the new clock: values are held, ages start anew.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from liquid_pilot.attitude import CarriedAttitude
from liquid_pilot.errors import LiquidPilotError, MessageError
from liquid_pilot.messages import (
    Attitude,
    Floats2,
    Floats3,
    Flow,
    Imu,
    Position,
    Range,
    SensorMessage,
    Setpoint,
)
from liquid_pilot.observation import GRAVITY_M_S2, INITIAL_AGE_S, INITIAL_RANGE_M, Held

GYRO_SAMPLES: Final = 2048  # 2 s at 1 kHz: the longest flow window and latency that are accepted
STAMP_TOLERANCE_S: Final = 1e-9  # stamps are sums of steps: equal ones may differ by rounding
UNIT_TOLERANCE: Final = 0.1  # by which the length of an attitude may differ from 1
MAX_STEP_S: Final = 0.2  # longest dt that the network is told


@dataclass(frozen=True, slots=True)
class FusionLimits:
    """What a message may say at all; beyond it is a fault of the sensor or of the link.

    ahead_s, behind_s: how far a stamp may leap from the IMU's clock. resync_samples: IMU samples in a row
    that must agree on another clock before it is taken over.
    """

    gyro_rad_s: float = 70.0
    accel_m_s2: float = 400.0
    flow_rad_s: float = 50.0
    flow_window_s: float = 1.0
    range_m: float = 100.0
    position_m: float = 1e6
    velocity_m_s: float = 200.0
    ahead_s: float = 1.0
    behind_s: float = 0.5
    late_s: float = 1.0
    resync_samples: int = 3


class SensorMemory:
    """Newest accepted sensor values, their freshness and their ages, all of fixed size.

    `accept` takes messages in any order; `take` gives what the network sees at an accepted IMU.
    """

    def __init__(self, limits: FusionLimits | None = None) -> None:
        self.limits = limits or FusionLimits()
        self._gyro: deque[tuple[float, float, float, float]] = deque(maxlen=GYRO_SAMPLES)
        self._attitude = CarriedAttitude()
        self.reset()

    def reset(self) -> None:
        """As before the first message."""
        self.clock_jumps = 0
        self.accel_fault = False  # the newest IMU had an accelerometer that was neither absent nor sane
        self.imu_t_s: float | None = None
        self.step_s = 0.0
        self.gyro_rad_s: Floats3 = (0.0, 0.0, 0.0)
        self.accel_m_s2: Floats3 = (0.0, 0.0, GRAVITY_M_S2)
        self.accel_fresh = False
        self.range_m = INITIAL_RANGE_M
        self.position: Position | None = None  # newest
        self._attitude.reset()
        self._flow_rate: Floats2 = (0.0, 0.0)
        self._flow_quality = 0.0
        self._forget_times()

    def _forget_times(self) -> None:
        """Stamps of another clock mean nothing; values stay held."""
        self._gyro.clear()
        self.range_fresh = self._flow_fresh = self.position_fresh = False
        self._pending: Flow | None = None  # newest flow, not yet compensated
        self._flow_seen_s = -math.inf
        self._range_seen_s = -math.inf
        self.position_t_s: float | None = None
        self.attitude_t_s: float | None = None
        self._attitude.forget_time()
        self.accel_t_s: float | None = None
        self.flow_t_s: float | None = None
        self.range_t_s: float | None = None
        self.start_t_s: float | None = None  # first IMU of this clock
        self._other_clock_s = math.nan
        self._other_clock_samples = 0

    def accept(self, message: SensorMessage | Attitude) -> LiquidPilotError | None:
        """Take one message over; otherwise the record that says why it was dropped."""
        if isinstance(message, Imu):
            return self._accept_imu(message)
        if isinstance(message, Flow):
            return self._accept_flow(message)
        if isinstance(message, Position):
            return self._accept_position(message)
        if isinstance(message, Attitude):
            return self._accept_attitude(message)
        return self._accept_range(message)

    def _accept_imu(self, imu: Imu) -> LiquidPilotError | None:
        own, t = self.limits, imu.t_s
        gx, gy, gz = imu.gyro_rad_s
        if not math.isfinite(t):
            return _dropped(imu, f"its time is {t}; give finite seconds")
        highest = own.gyro_rad_s
        if not (-highest <= gx <= highest and -highest <= gy <= highest and -highest <= gz <= highest):
            return _dropped(imu, f"its gyro is {imu.gyro_rad_s} rad/s; each axis must be within +-{highest:g}")
        if self.imu_t_s is None:
            self.step_s = 0.0
        else:
            step = t - self.imu_t_s
            if step > own.ahead_s or step < -own.behind_s:
                if not self._resynchronised(t):
                    return _dropped(
                        imu,
                        f"its time leaps by {step:+.3f} s; the clock may leap by -{own.behind_s:g} to "
                        f"+{own.ahead_s:g} s, unless {own.resync_samples} samples in a row agree on another clock",
                    )
            elif step <= 0.0:
                return _dropped(imu, f"its time {t} s is not after the newest, {self.imu_t_s} s; stamps must rise")
            self.step_s = min(max(step, 0.0), MAX_STEP_S) if step <= own.ahead_s else MAX_STEP_S
        self._other_clock_samples = 0
        self.imu_t_s = t
        if self.start_t_s is None:
            self.start_t_s = t
        self.gyro_rad_s = imu.gyro_rad_s
        self._gyro.append((t, gx, gy, gz))
        self._take_accel(imu)
        return None

    def _take_accel(self, imu: Imu) -> None:
        ax, ay, az = imu.accel_m_s2
        highest = self.limits.accel_m_s2
        if -highest <= ax <= highest and -highest <= ay <= highest and -highest <= az <= highest:
            self.accel_m_s2 = imu.accel_m_s2
            self.accel_t_s = imu.t_s
            self.accel_fresh, self.accel_fault = True, False
        else:  # three NaN = absent, which is no fault
            self.accel_fresh = False
            self.accel_fault = not (math.isnan(ax) and math.isnan(ay) and math.isnan(az))

    def _resynchronised(self, t_s: float) -> bool:
        """Count stamps that agree on another clock; move to it once there are enough."""
        follows = 0.0 < t_s - self._other_clock_s <= self.limits.ahead_s
        self._other_clock_samples = self._other_clock_samples + 1 if follows else 1
        self._other_clock_s = t_s
        if self._other_clock_samples < self.limits.resync_samples:
            return False
        self._take_pending()  # its stamp means nothing from here on, its value is held
        self._forget_times()
        self.clock_jumps += 1
        return True

    def stamp_fault(self, t_s: float, seen_s: float) -> str | None:
        """What is wrong with the stamp of a sensor other than the IMU. seen_s: its newest accepted one."""
        own = self.limits
        if not math.isfinite(t_s):
            return f"its time is {t_s}; give finite seconds"
        if self.imu_t_s is not None and t_s - self.imu_t_s > own.ahead_s:
            return f"its time is {t_s - self.imu_t_s:.3f} s ahead of the IMU; at most {own.ahead_s:g} s is allowed"
        if self.imu_t_s is not None and self.imu_t_s - t_s > own.late_s:
            return f"it is {self.imu_t_s - t_s:.3f} s late; at most {own.late_s:g} s is allowed"
        if t_s <= seen_s:
            return f"its time {t_s} s is not after the newest, {seen_s} s; stamps must rise"
        return None

    def _accept_flow(self, flow: Flow) -> LiquidPilotError | None:
        own = self.limits
        fault = self.stamp_fault(flow.t_s, self._flow_seen_s)
        if fault is not None:
            return _dropped(flow, fault)
        if not 0.0 < flow.dt_s <= own.flow_window_s:
            return _dropped(flow, f"its window is {flow.dt_s} s; it must be above 0 and at most {own.flow_window_s:g}")
        if not 0.0 <= flow.quality <= 1.0:
            return _dropped(flow, f"its quality is {flow.quality}; it must be 0 to 1 (divide a byte by 255)")
        if flow.quality > 0.0:
            highest = own.flow_rad_s * flow.dt_s
            x, y = flow.flow_rad
            if not (-highest <= x <= highest and -highest <= y <= highest):
                return _dropped(flow, f"its angles are {flow.flow_rad} rad; at most +-{highest:g} in {flow.dt_s:g} s")
            self._pending = flow
        self._flow_seen_s = flow.t_s
        return None

    def _accept_range(self, message: Range) -> LiquidPilotError | None:
        fault = self.stamp_fault(message.t_s, self._range_seen_s)
        if fault is not None:
            return _dropped(message, fault)
        if message.distance_m < 0.0:
            return _dropped(message, f"its distance is {message.distance_m} m; it must be 0 or more, or NaN")
        self._range_seen_s = message.t_s
        if message.distance_m <= self.limits.range_m:  # NaN and out of range: no return
            self.range_m, self.range_t_s = message.distance_m, message.t_s
            self.range_fresh = True
        return None

    def _accept_position(self, message: Position) -> LiquidPilotError | None:
        fault = self.stamp_fault(message.t_s, -math.inf if self.position_t_s is None else self.position_t_s)
        if fault is not None:
            return _dropped(message, fault)
        place, speed = self.limits.position_m, self.limits.velocity_m_s
        if not all(-place <= x <= place for x in message.position_m):
            return _dropped(message, f"its place is {message.position_m} m; each axis must be within +-{place:g}")
        if not all(-speed <= v <= speed for v in message.velocity_m_s):
            return _dropped(message, f"its velocity is {message.velocity_m_s} m/s; at most +-{speed:g} on each axis")
        self.position, self.position_t_s, self.position_fresh = message, message.t_s, True
        return None

    def _accept_attitude(self, message: Attitude) -> LiquidPilotError | None:
        fault = self.stamp_fault(message.t_s, -math.inf if self.attitude_t_s is None else self.attitude_t_s)
        if fault is not None:
            return _dropped(message, fault)
        w, x, y, z = message.quaternion_wxyz
        length = math.sqrt(w * w + x * x + y * y + z * z)
        if not abs(length - 1.0) <= UNIT_TOLERANCE:
            return _dropped(message, f"its quaternion {message.quaternion_wxyz} has length {length:g}; it must be 1")
        self._attitude.set((w / length, x / length, y / length, z / length), message.t_s)
        self.attitude_t_s = message.t_s
        return None

    def heading(self) -> Floats2 | None:
        """Cosine and sine of the yaw at the newest IMU, None before the first attitude; see `CarriedAttitude`."""
        return self._attitude.heading(reversed(self._gyro))

    def take_position(self) -> tuple[Position | None, float, float]:
        """(newest, 1 if it is new since the last call, age in seconds at the newest IMU); freshness is spent by it."""
        fresh, self.position_fresh = self.position_fresh, False
        age = INITIAL_AGE_S if self.imu_t_s is None else _age(self.imu_t_s, self.position_t_s)
        return self.position, float(fresh), age

    def mean_gyro(self, start_s: float, end_s: float) -> Floats3:
        """Mean measured body rates over IMU samples stamped in (start, end], rad/s.

        With none there, the latest sample at or before the end; before any, the oldest.
        """
        sx = sy = sz = 0.0
        n = 0
        first, last = start_s + STAMP_TOLERANCE_S, end_s + STAMP_TOLERANCE_S
        for t, gx, gy, gz in reversed(self._gyro):
            if t > last:
                continue
            if t <= first:
                return (sx / n, sy / n, sz / n) if n else (gx, gy, gz)
            sx, sy, sz, n = sx + gx, sy + gy, sz + gz, n + 1
        if n:
            return sx / n, sy / n, sz / n
        return self._gyro[0][1:] if self._gyro else (0.0, 0.0, 0.0)

    def _take_pending(self) -> None:
        """Hold the newest flow, its rotation taken out."""
        flow, self._pending = self._pending, None
        if flow is None:
            return
        wx, wy, _ = self.mean_gyro(flow.t_s - flow.dt_s, flow.t_s)
        x, y = flow.flow_rad
        self._flow_rate = (x / flow.dt_s + wy, y / flow.dt_s - wx)
        self._flow_quality = flow.quality
        self.flow_t_s = flow.t_s
        self._flow_fresh = True

    def take(self, setpoint: Setpoint | None) -> Held[float]:
        """What the network sees at the IMU that was just accepted; freshness is spent by it.

        Without a set-point: stay at the measured height.
        """
        now = self.imu_t_s
        if now is None:
            raise MessageError("no IMU sample was accepted yet; feed one before taking an observation")
        self._take_pending()
        held = Held(
            dt_s=self.step_s,
            gyro_rad_s=self.gyro_rad_s,
            accel_m_s2=self.accel_m_s2,
            accel_fresh=1.0 if self.accel_fresh else 0.0,
            accel_age_s=_age(now, self.accel_t_s),
            flow_rate_rad_s=self._flow_rate,
            flow_quality=self._flow_quality,
            flow_fresh=1.0 if self._flow_fresh else 0.0,
            flow_age_s=_age(now, self.flow_t_s),
            range_m=self.range_m,
            range_fresh=1.0 if self.range_fresh else 0.0,
            range_age_s=_age(now, self.range_t_s),
            setpoint_velocity_m_s=setpoint.velocity_m_s if setpoint else (0.0, 0.0),
            setpoint_height_m=setpoint.height_m if setpoint else self.range_m,
            setpoint_yaw_rate_rad_s=setpoint.yaw_rate_rad_s if setpoint else 0.0,
        )
        self._flow_fresh = self.range_fresh = False
        return held


def _age(now_s: float, stamp_s: float | None) -> float:
    """Age, 0 to INITIAL_AGE_S; a sensor that has not spoken yet is as old as can be."""
    if stamp_s is None:
        return INITIAL_AGE_S
    return min(max(now_s - stamp_s, 0.0), INITIAL_AGE_S)


def _dropped(message: SensorMessage | Attitude, why: str) -> MessageError:
    return MessageError(f"{type(message).__name__} dropped: {why}")
