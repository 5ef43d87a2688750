"""What flies when the network may not: a leveller that brakes and descends slowly, and a short blind glide.

It owns an attitude and climb estimate that share nothing with the network: gyro integration from rest,
slowly corrected by the accelerometer, and a vertical filter over accelerometer and range.
All on Python floats, body FLU, SI units; a step costs a few microseconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from liquid_pilot.command import CommandLimits
from liquid_pilot.drift import Drift, Floats2
from liquid_pilot.messages import Command, Floats3
from liquid_pilot.observation import GRAVITY_M_S2

REST_RATE_RAD_S: Final = 0.5  # a gyro above this says that the drone moves
REST_FORCE_M_S2: Final = 2.5  # so does a specific force this far from 1 g
BIAS_LIMIT_RAD_S: Final = 0.05  # a gyro bias learnt at rest is never believed beyond this
MOTOR_TAU_S: Final = 0.06  # typical lag of motors, when commanded and felt thrust are compared
SCALE_TAU_S: Final = 0.4  # of the ratio of the two
LONGEST_STEP_S: Final = 0.2
RANGE_RECENT_S: Final = 0.5  # an older range says nothing about the height now
LEVEL: Final = (0.0, 0.0, 1.0)
STEEP_UP: Final = 0.8  # cosine of the tilt beyond which only turning up counts, 37 degrees


@dataclass(frozen=True, slots=True)
class FallbackLimits:
    """Constants of the leveller and of the blind glide.

    rest_tau_s, flight_tau_s: how fast the accelerometer corrects tilt at rest and in flight. descent_m_s: above low_m,
    for what is known of the velocity fades with time; below it, and where no range tells the height, low_descent_m_s.
    """

    rest_tau_s: float = 0.1
    flight_tau_s: float = 5.0
    level_gain_per_s: float = 4.0
    level_rate_rad_s: float = 4.0
    descent_m_s: float = 0.5
    low_m: float = 0.6
    low_descent_m_s: float = 0.3
    climb_gain_per_s: float = 4.0
    climb_integral_per_s2: float = 1.0
    ground_m: float = 0.10
    ground_thrust: float = 0.3  # share of g when the range says that the ground is reached
    blind_thrust: float = 0.9  # share of g without an IMU
    blind_s: float = 0.5


class UpEstimate:
    """Unit vector "up" in the body frame, from gyro and accelerometer."""

    def __init__(self, limits: FallbackLimits) -> None:
        self._limits = limits
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next accelerometer sample is taken as up."""
        self.up: Floats3 = (0.0, 0.0, 1.0)
        self.moved = False  # left the hand or the ground since the reset
        self.bias_rad_s: Floats3 = (0.0, 0.0, 0.0)
        self._samples = 0

    @property
    def tilt_rad(self) -> float:
        """Angle between body z and up, 0..pi."""
        return math.acos(max(-1.0, min(1.0, self.up[2])))

    def update(self, dt_s: float, gyro_rad_s: Floats3, accel_m_s2: Floats3 | None) -> None:
        """One IMU sample; accel None = absent. All values finite."""
        wx, wy, wz = gyro_rad_s
        force = 0.0
        if accel_m_s2 is not None:
            ax, ay, az = accel_m_s2
            force = math.sqrt(ax * ax + ay * ay + az * az)
            if not self.moved:
                at_rest = abs(force - GRAVITY_M_S2) < REST_FORCE_M_S2
                self.moved = not at_rest or wx * wx + wy * wy + wz * wz > REST_RATE_RAD_S * REST_RATE_RAD_S
        if not self.moved and accel_m_s2 is not None:
            self._learn_bias(gyro_rad_s)
        bx, by, bz = self.bias_rad_s
        ux, uy, uz = _turned(self.up, (wx - bx, wy - by, wz - bz), min(dt_s, LONGEST_STEP_S))
        if accel_m_s2 is not None and 0.5 * GRAVITY_M_S2 < force < 1.5 * GRAVITY_M_S2:
            tau = self._limits.flight_tau_s if self.moved else self._limits.rest_tau_s
            # at rest the first samples are averaged evenly, so that the start is neither slow nor noisy
            share = 1.0 - math.exp(-dt_s / tau)
            if not self.moved:
                share = max(share, 1.0 / self._samples)
            ux += share * (accel_m_s2[0] / force - ux)
            uy += share * (accel_m_s2[1] / force - uy)
            uz += share * (accel_m_s2[2] / force - uz)
        length = math.sqrt(ux * ux + uy * uy + uz * uz)
        if length > 1e-6:
            self.up = (ux / length, uy / length, uz / length)

    def _learn_bias(self, gyro_rad_s: Floats3) -> None:
        self._samples += 1
        share = 1.0 / max(self._samples, 20)  # starts from zero, so that a few samples teach little
        bx, by, bz = (
            max(-BIAS_LIMIT_RAD_S, min(BIAS_LIMIT_RAD_S, b + share * (w - b)))
            for b, w in zip(self.bias_rad_s, gyro_rad_s, strict=True)
        )
        self.bias_rad_s = (bx, by, bz)


def _turned(up: Floats3, w: Floats3, dt_s: float) -> Floats3:
    """A world-fixed vector seen from a body that turned with rates w for dt (Rodrigues, exact)."""
    wx, wy, wz = w
    rate = math.sqrt(wx * wx + wy * wy + wz * wz)
    angle = rate * dt_s
    if angle < 1e-9:
        return up
    ux, uy, uz = up
    kx, ky, kz = wx / rate, wy / rate, wz / rate
    c, s = math.cos(angle), math.sin(angle)
    along = (kx * ux + ky * uy + kz * uz) * (1.0 - c)
    return (
        ux * c - (ky * uz - kz * uy) * s + kx * along,
        uy * c - (kz * ux - kx * uz) * s + ky * along,
        uz * c - (kx * uy - ky * ux) * s + kz * along,
    )


class Fallback:
    """Leveller with a slow descent; `update` runs on every IMU sample, `level` gives the command."""

    def __init__(self, limits: FallbackLimits | None = None) -> None:
        self.limits = limits or FallbackLimits()
        self.attitude, self.drift = UpEstimate(self.limits), Drift()
        self.reset()

    def reset(self) -> None:
        """Start of a flight."""
        self.attitude.reset()
        self.drift.reset()
        self.climb_m_s = 0.0
        self._lift_bias_m_s2 = 0.0  # what the accelerometer says too little along up
        self.thrust_scale = 1.0  # felt over commanded thrust: weight, battery and rotors differ from nominal
        self._lagged_m_s2 = 0.0  # what the motors give of the command by now
        self._height_m = math.nan
        self._since_range_s = math.inf
        self._integral_m_s2 = 0.0
        self._on_ground = False

    @property
    def _ranging(self) -> bool:
        """Whether the height is known."""
        return self._since_range_s < RANGE_RECENT_S

    @property
    def tilt_rad(self) -> float:
        """Tilt of the body, from its own estimate."""
        return self.attitude.tilt_rad

    def height_m(self, range_m: float) -> float:
        """Height above a flat floor from a slant range; past 60 degrees of tilt the range alone counts."""
        return range_m * max(0.5, self.attitude.up[2])

    def restart_clock(self) -> None:
        """The clock has jumped: how long ago the last range came is not known any more."""
        self._since_range_s = math.inf

    def update(
        self,
        dt_s: float,
        gyro_rad_s: Floats3,
        accel_m_s2: Floats3 | None,
        range_m: float | None,
        commanded_m_s2: float | None,
        flow_rad_s: Floats2 | None = None,
    ) -> None:
        """One IMU sample. accel None = absent; range_m: a new return, else None.

        commanded_m_s2: thrust that was last commanded, None when nothing was. flow_rad_s: a new flow rate without
        rotation, else None.
        """
        self.attitude.update(dt_s, gyro_rad_s, accel_m_s2)
        dt_s = min(dt_s, LONGEST_STEP_S)
        if accel_m_s2 is not None:
            (ax, ay, az), (ux, uy, uz) = accel_m_s2, self.attitude.up
            self.climb_m_s += (ax * ux + ay * uy + az * uz - GRAVITY_M_S2 + self._lift_bias_m_s2) * dt_s
            if commanded_m_s2 is not None and self.attitude.moved:
                self._lagged_m_s2 += (1.0 - math.exp(-dt_s / MOTOR_TAU_S)) * (commanded_m_s2 - self._lagged_m_s2)
                if self._lagged_m_s2 > 5.0:
                    scale = max(0.6, min(1.6, az / self._lagged_m_s2))
                    self.thrust_scale += (1.0 - math.exp(-dt_s / SCALE_TAU_S)) * (scale - self.thrust_scale)
        self._height_m += self.climb_m_s * dt_s
        self._since_range_s += dt_s
        if range_m is not None:
            self._on_ground = range_m < self.limits.ground_m
            self._correct_climb(self.height_m(range_m))
        elif not self._ranging:
            self.climb_m_s *= math.exp(-0.5 * dt_s)  # nothing holds the integral of an accelerometer any more
        self.climb_m_s = max(-10.0, min(10.0, self.climb_m_s))
        self._follow_drift(dt_s, gyro_rad_s, accel_m_s2, flow_rad_s)

    def _follow_drift(
        self, dt_s: float, gyro_rad_s: Floats3, accel_m_s2: Floats3 | None, flow_rad_s: Floats2 | None
    ) -> None:
        (wx, wy, wz), (bx, by, bz), up = gyro_rad_s, self.attitude.bias_rad_s, self.attitude.up
        self.drift.carry(dt_s, (wx - bx, wy - by, wz - bz), accel_m_s2, up, self.climb_m_s)
        if flow_rad_s is not None and self._ranging:
            self.drift.see(flow_rad_s, self._height_m / max(0.5, up[2]))

    def saw_height(self, height_m: float) -> None:
        """A height above the ground that was measured as such, not along the body; call it after `update`."""
        self._on_ground = height_m < self.limits.ground_m
        self._correct_climb(height_m)

    def _correct_climb(self, measured_m: float) -> None:
        """Alpha-beta step towards a measured height; after a silence it starts anew."""
        if not self._ranging or abs(measured_m - self._height_m) > 0.5:
            self._height_m = measured_m
        else:
            error = measured_m - self._height_m
            share = 1.0 - math.exp(-self._since_range_s / 0.08)
            self._height_m += share * error
            self.climb_m_s += 2.5 * share * error
            # slowly, within 2 s: a bias of 0.3 m/s^2 would otherwise be taken for 0.12 m/s of climb
            self._lift_bias_m_s2 = max(-1.0, min(1.0, self._lift_bias_m_s2 + share * error))
        self._since_range_s = 0.0

    def start(self) -> None:
        """The leveller takes over: it begins without memory of an earlier descent."""
        self._integral_m_s2 = 0.0
        # a range that fell silent at the ground while the leveller flew says that it stands; one from before, nothing
        self._on_ground = self._on_ground and self._ranging

    def level(self, t_s: float, dt_s: float, limits: CommandLimits) -> Command:
        """Brake, or level where the velocity is not known, and sink. Always finite and inside the limits."""
        own = self.limits
        up = self.attitude.up
        uz = up[2]
        # far from level it turns up first; an estimate of the velocity is not to be had there
        wx, wy = self._turn(up, LEVEL if uz < STEEP_UP or self._on_ground else self.drift.wanted_up())
        high = self._ranging and self._height_m > own.low_m
        error = -min(own.descent_m_s, own.descent_m_s if high else own.low_descent_m_s) - self.climb_m_s
        if uz > 0.5 and abs(error) < 1.0:  # a fall from a bad start is not an error of thrust to be learnt
            step = own.climb_integral_per_s2 * error * min(dt_s, LONGEST_STEP_S)
            self._integral_m_s2 = max(-3.0, min(3.0, self._integral_m_s2 + step))
        if self._on_ground:
            thrust = own.ground_thrust * GRAVITY_M_S2
        else:
            wanted = GRAVITY_M_S2 + own.climb_gain_per_s * error + self._integral_m_s2
            # upside down, thrust pushes the wrong way: only what turning needs
            thrust = wanted / (max(0.5, uz) * self.thrust_scale) if uz > 0.0 else 0.3 * GRAVITY_M_S2
        return clamped(t_s, thrust, (wx, wy, 0.0), limits)

    def _turn(self, up: Floats3, wanted: Floats3) -> Floats2:
        """Roll and pitch rate that bring `up`, as the body sees it, to where it is wanted."""
        (ux, uy, uz), (nx, ny, nz) = up, wanted
        x, y = ny * uz - nz * uy, nz * ux - nx * uz
        flat = math.hypot(x, y)
        angle = math.atan2(flat, nx * ux + ny * uy + nz * uz)
        rate = min(self.limits.level_gain_per_s * angle, self.limits.level_rate_rad_s)
        if flat > 1e-6:
            return x / flat * rate, y / flat * rate
        return (rate if uz < 0.0 else 0.0), 0.0  # there, or exactly upside down, where any axis is as good

    def blind(self, t_s: float, limits: CommandLimits) -> Command:
        """Without an IMU: no rotation, a little less than the weight."""
        return clamped(t_s, self.limits.blind_thrust * GRAVITY_M_S2, (0.0, 0.0, 0.0), limits)


def clamped(t_s: float, thrust_m_s2: float, rates_rad_s: Floats3, limits: CommandLimits) -> Command:
    """A command inside the limits."""
    low, high = limits.thrust_m_s2
    x, y, z = limits.rates_rad_s
    wx, wy, wz = rates_rad_s
    return Command(
        t_s,
        max(low, min(high, thrust_m_s2)),
        (max(-x, min(x, wx)), max(-y, min(y, wy)), max(-z, min(z, wz))),
    )
