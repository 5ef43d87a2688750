"""How fast the drone moves over the ground: from flow and range while they speak, by dead reckoning after them.

An accelerometer that is wrong by 0.4 m/s^2, as common parts are, makes a leveller lean by 2.3 degrees, and a small
drone then flies 2 m/s through calm air. That error stands still. While flow speaks it is learnt here, together with
the velocity. Without flow both are carried on from the accelerometer, which drifts, and held by the drag of the
rotors, which does not: good to half a m/s for some seconds, which is a landing. Python floats, body FLU, SI units.
"""

from __future__ import annotations

import math
from typing import Final, TypeAlias

from liquid_pilot.messages import Floats3
from liquid_pilot.observation import GRAVITY_M_S2

Floats2: TypeAlias = tuple[float, float]

# A critically damped observer that settles in about 3 s: slower than the noise of flow, faster than a flight.
VELOCITY_GAIN_PER_S: Final = 2.0
BIAS_GAIN_PER_S2: Final = 1.0
OUTLIER_M_S: Final = 1.0  # no sample of flow counts as farther off than this
BIAS_LIMIT_M_S2: Final = 0.6  # of accelerometer and attitude together; more is something else
VELOCITY_LIMIT_M_S: Final = 10.0
ANEW_S: Final = 1.0  # after a silence of this length flow is believed at once
SILENT_S: Final = 0.3  # from here on flow does not speak
# Acceleration by rotor drag per speed through the air: 0.2 to 0.35 for small rotors. Where it is more than assumed
# here, speeds come out too large by the ratio, and the brake is that much firmer.
DRAG_PER_S: Final = 0.2
CALM_TAU_S: Final = 1.5  # over which the drag at a known speed is averaged: shorter than a wind lasts
# What drag says is noisy and gusty, but does not drift: it holds dead reckoning, a damped observer of 6 s.
AIR_GAIN_PER_S: Final = 0.7
AIR_BIAS_GAIN_PER_S2: Final = 0.12
FELT_TAU_S: Final = 0.5  # noise of the accelerometer passes, gusts do not
BRAKE_PER_S: Final = 1.5  # well below the attitude's own 4 per second
BRAKE_M_S2: Final = 1.7  # 10 degrees
LEAN_LIMIT: Final = 0.26  # sine of 15 degrees: brake and wind together
TRUSTED_S: Final = 10.0  # dead reckoning counts fully for so long
FORGOTTEN_S: Final = 15.0  # and from here on not at all


class Drift:
    """Horizontal velocity in the body, and how to lean against it. `reset` first."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start of a flight: nothing is known until flow speaks."""
        self.velocity_m_s: Floats2 = (0.0, 0.0)
        self.bias_m_s2: Floats2 = (0.0, 0.0)
        self._felt_m_s2: Floats2 = (0.0, 0.0)
        self._calm_m_s2: Floats2 = (0.0, 0.0)
        self.silent_s = math.inf

    def carry(
        self, dt_s: float, rates_rad_s: Floats3, accel_m_s2: Floats3 | None, up: Floats3, climb_m_s: float
    ) -> None:
        """One IMU sample: what is felt and is not gravity changes the velocity. accel None = as lately."""
        self.silent_s += dt_s
        fx, fy = self._felt_m_s2
        if accel_m_s2 is not None:
            share = 1.0 - math.exp(-dt_s / FELT_TAU_S)
            ax, ay, _ = accel_m_s2
            self._felt_m_s2 = (fx + share * (ax - fx), fy + share * (ay - fy))
            fx, fy = ax, ay
            self._compare_drag(dt_s, fx, fy)
        (vx, vy), (bx, by), (wx, wy, wz) = self.velocity_m_s, self.bias_m_s2, rates_rad_s
        self.velocity_m_s = (
            _within(vx + dt_s * (fx - bx - GRAVITY_M_S2 * up[0] + wz * vy - wy * climb_m_s), VELOCITY_LIMIT_M_S),
            _within(vy + dt_s * (fy - by - GRAVITY_M_S2 * up[1] - wz * vx + wx * climb_m_s), VELOCITY_LIMIT_M_S),
        )

    def _compare_drag(self, dt_s: float, fx: float, fy: float) -> None:
        """Rotors drag by the speed through the air: what is felt less than at a known speed was gained."""
        (vx, vy), (bx, by), (cx, cy) = self.velocity_m_s, self.bias_m_s2, self._calm_m_s2
        ex, ey = cx - fx - DRAG_PER_S * vx, cy - fy - DRAG_PER_S * vy
        if self.silent_s < SILENT_S:
            share = 1.0 - math.exp(-dt_s / CALM_TAU_S)
            self._calm_m_s2 = (cx - share * ex, cy - share * ey)
            return
        quick, slow = AIR_GAIN_PER_S * dt_s / DRAG_PER_S, AIR_BIAS_GAIN_PER_S2 * dt_s / DRAG_PER_S
        self.velocity_m_s = (vx + quick * ex, vy + quick * ey)
        self.bias_m_s2 = (_within(bx - slow * ex, BIAS_LIMIT_M_S2), _within(by - slow * ey, BIAS_LIMIT_M_S2))

    def see(self, flow_rad_s: Floats2, distance_m: float) -> None:
        """A flow sample without rotation, and the distance to the floor that it saw."""
        measured = (flow_rad_s[0] * distance_m, flow_rad_s[1] * distance_m)
        if self.silent_s > ANEW_S:
            self.velocity_m_s = (_within(measured[0], VELOCITY_LIMIT_M_S), _within(measured[1], VELOCITY_LIMIT_M_S))
        else:
            (vx, vy), (bx, by), dt_s = self.velocity_m_s, self.bias_m_s2, self.silent_s
            ex, ey = _within(measured[0] - vx, OUTLIER_M_S), _within(measured[1] - vy, OUTLIER_M_S)
            quick, slow = min(VELOCITY_GAIN_PER_S * dt_s, 1.0), BIAS_GAIN_PER_S2 * dt_s
            self.velocity_m_s = (vx + quick * ex, vy + quick * ey)
            self.bias_m_s2 = (_within(bx - slow * ex, BIAS_LIMIT_M_S2), _within(by - slow * ey, BIAS_LIMIT_M_S2))
        self.silent_s = 0.0

    def wanted_up(self) -> Floats3:
        """Where "up" has to be in the body, a unit vector, for the velocity to die out; body z where it is unknown."""
        trust = max(0.0, min(1.0, (FORGOTTEN_S - self.silent_s) / (FORGOTTEN_S - TRUSTED_S)))
        if trust == 0.0:
            return 0.0, 0.0, 1.0
        (vx, vy), (bx, by), (fx, fy) = self.velocity_m_s, self.bias_m_s2, self._felt_m_s2
        brake = BRAKE_PER_S * min(1.0, BRAKE_M_S2 / max(BRAKE_PER_S * math.hypot(vx, vy), 1e-9))
        # leaning so that all that is felt is air and bias keeps the speed; more than that, and it brakes
        x, y = (fx - bx + brake * vx) * (trust / GRAVITY_M_S2), (fy - by + brake * vy) * (trust / GRAVITY_M_S2)
        share = min(1.0, LEAN_LIMIT / max(math.hypot(x, y), 1e-9))
        x, y = x * share, y * share
        return x, y, math.sqrt(1.0 - x * x - y * y)


def _within(value: float, limit: float) -> float:
    return max(-limit, min(limit, value))
