"""From the network's four numbers in [-1, 1] to collective thrust and body rates, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from liquid_pilot.ops import S, Vec3, Vec4


@dataclass(frozen=True, slots=True)
class CommandLimits:
    """Limits of a policy's commands; they travel in its bundle.

    thrust_m_s2: (lowest, highest) collective specific thrust. rates_rad_s: largest |roll|, |pitch|,
    |yaw| rate.
    """

    thrust_m_s2: tuple[float, float]
    rates_rad_s: tuple[float, float, float]


DEFAULT_LIMITS: Final = CommandLimits(thrust_m_s2=(0.0, 19.62), rates_rad_s=(6.0, 6.0, 3.0))


def from_action(limits: CommandLimits, action: Vec4[S]) -> tuple[S, Vec3[S]]:
    """(thrust_m_s2, rates_rad_s) of an action in [-1, 1]^4: thrust first, then roll, pitch, yaw."""
    low, high = limits.thrust_m_s2
    wx, wy, wz = limits.rates_rad_s
    thrust: Any = low + (action[0] + 1.0) * (0.5 * (high - low))
    return thrust, (action[1] * wx, action[2] * wy, action[3] * wz)


def to_action(limits: CommandLimits, thrust_m_s2: S, rates_rad_s: Vec3[S]) -> Vec4[S]:
    """Inverse of `from_action`, without clipping."""
    low, high = limits.thrust_m_s2
    wx, wy, wz = limits.rates_rad_s
    thrust: Any = (thrust_m_s2 - low) * (2.0 / (high - low)) - 1.0
    return thrust, rates_rad_s[0] * (1.0 / wx), rates_rad_s[1] * (1.0 / wy), rates_rad_s[2] * (1.0 / wz)
