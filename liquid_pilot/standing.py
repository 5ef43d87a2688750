"""Whether a drone stands on the floor, where its downward sensors are blind: an autopilot's land detector.

It was low when it was last seen, it hardly moves, and it feels its weight although its rotors are not asked to carry
it: in the air, so little thrust is felt as a fall.
"""

from __future__ import annotations

from typing import Final

from liquid_pilot.fallback import REST_FORCE_M_S2
from liquid_pilot.messages import Floats3
from liquid_pilot.observation import GRAVITY_M_S2

SEEN_M: Final = 0.3  # within this height of the floor range finders fall silent, or were heard for the last time
QUIET_RAD_S: Final = 1.5  # a drone on its feet may tremble with its motors on
CARRYING: Final = 0.4  # share of g that carries no drone, however light and strong it is


def stands(gyro_rad_s: Floats3, accel_m_s2: Floats3 | None, range_m: float, commanded_m_s2: float | None) -> bool:
    """At one IMU sample. accel None = absent; range_m: newest return; commanded_m_s2: newest thrust, None = none."""
    if accel_m_s2 is None or commanded_m_s2 is None:
        return False
    (wx, wy, wz), (ax, ay, az) = gyro_rad_s, accel_m_s2
    force_m_s2 = (ax * ax + ay * ay + az * az) ** 0.5
    still = wx * wx + wy * wy + wz * wz < QUIET_RAD_S * QUIET_RAD_S
    felt = abs(force_m_s2 - GRAVITY_M_S2) < REST_FORCE_M_S2
    return still and felt and range_m < SEEN_M and commanded_m_s2 < CARRYING * GRAVITY_M_S2
