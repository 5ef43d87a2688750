"""From mass-normalised thrust to an autopilot's throttle, 0 to 1, through the throttle that hovers.

Procedure to find the hover throttle, once a drone and again when its weight changes:
1. Hover by hand in a stabilised mode at mid battery for ten seconds, out of ground effect (above three propeller
   diameters), and read the mean throttle from the log: PX4 `hover_thrust_estimate` or `MPC_THR_HOVER`, ArduPilot
   `MOT_THST_HOVER`.
2. Give it as `--hover-throttle`. Every flight then measures it again (`HoverMeter`) and says at its end what it found;
   where that differs by more than a few percent, give that instead.

The curve is that of PX4's THR_MDL_FAC and ArduPilot's MOT_THST_EXPO: thrust ~ k u^2 + (1 - k) u. Where the autopilot
itself makes its motors linear with that parameter, k here is 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from liquid_pilot.errors import ConfigError
from liquid_pilot.observation import GRAVITY_M_S2

METER_TAU_S: Final = 2.0  # of the measured hover throttle
METER_LAG_S: Final = 0.06  # motors follow the throttle so late


@dataclass(frozen=True, slots=True)
class Throttle:
    """hover_throttle: what hovers, 0.05 to 0.95. curve: k, 0 (linear) to 1 (thrust goes with throttle squared)."""

    hover_throttle: float
    curve: float = 0.0

    def __post_init__(self) -> None:
        for name, low, high in (("hover_throttle", 0.05, 0.95), ("curve", 0.0, 1.0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
                raise ConfigError(f"{name} is {value!r}; give a number from {low:g} to {high:g}")

    def lift(self, throttle: float) -> float:
        """Thrust over that of full throttle, 0 to 1."""
        return self.curve * throttle * throttle + (1.0 - self.curve) * throttle

    def throttle(self, thrust_m_s2: float) -> float:
        """Throttle, 0 to 1, for a collective specific thrust; cut where the motors end."""
        share = max(0.0, thrust_m_s2) / GRAVITY_M_S2 * self.lift(self.hover_throttle)
        k = self.curve
        u = share if k < 1e-6 else (math.sqrt((1.0 - k) ** 2 + 4.0 * k * share) - (1.0 - k)) / (2.0 * k)
        return min(1.0, u)

    def thrust_m_s2(self, throttle: float) -> float:
        """Inverse of `throttle`: specific thrust of a throttle from 0 to 1."""
        return self.lift(throttle) / self.lift(self.hover_throttle) * GRAVITY_M_S2


class HoverMeter:
    """Measures the hover throttle in flight: felt specific force along body z against the throttle that was sent."""

    def __init__(self, throttle: Throttle) -> None:
        self._throttle = throttle
        self._lagged_m_s2 = 0.0
        self._scale = 1.0
        self.seconds = 0.0  # that it has looked at

    def update(self, dt_s: float, thrust_m_s2: float, accel_z_m_s2: float) -> None:
        """One IMU sample in the air; thrust_m_s2: commanded last."""
        if not (0.0 < dt_s < 0.2 and math.isfinite(accel_z_m_s2)):
            return
        self._lagged_m_s2 += (1.0 - math.exp(-dt_s / METER_LAG_S)) * (thrust_m_s2 - self._lagged_m_s2)
        if self._lagged_m_s2 < 0.5 * GRAVITY_M_S2 or not 0.5 < accel_z_m_s2 / self._lagged_m_s2 < 2.0:
            return
        self._scale += (1.0 - math.exp(-dt_s / METER_TAU_S)) * (accel_z_m_s2 / self._lagged_m_s2 - self._scale)
        self.seconds += dt_s

    @property
    def hover_throttle(self) -> float | None:
        """What hovers, by this flight; None before it has looked for three of its time constants."""
        if self.seconds < 3.0 * METER_TAU_S:
            return None
        return self._throttle.throttle(GRAVITY_M_S2 / self._scale)
