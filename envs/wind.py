"""Dryden gusts as first and second order filters (MIL-F-8785C), over `ops` scalars.

Longitudinal: first order. Lateral and vertical: second order with a zero,
H(s) ~ (1 + sqrt(3) T s) / (1 + T s)^2 with T = length / air speed. Low-level lengths and a mean air speed
are fixed here, so that a flight's gusts differ in strength only.
"""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias

from liquid_pilot.ops import Ops, S, Vec3

GustState: TypeAlias = tuple[S, S, S, S, S]  # longitudinal; lateral 1, 2; vertical 1, 2; scaled to unit variance

_SPEED_M_S: Final = 1.0
_CORNERS_PER_S: Final = (_SPEED_M_S / 3.0, _SPEED_M_S / 3.0, _SPEED_M_S / 1.0)  # u, v, w: lengths 3, 3, 1 m
_ZERO: Final = 1.0 - 1.0 / math.sqrt(3.0)


def step_gusts(ops: Ops, state: GustState[S], dt_s: S, noise: Vec3[S]) -> GustState[S]:
    """Filter states after dt. noise: three standard normal numbers."""
    u, v1, v2, w1, w2 = state
    moved: list[Any] = []
    for corner, first, second, n in zip(_CORNERS_PER_S, (u, v1, w1), (None, v2, w2), noise, strict=True):
        decay: Any = ops.exp(dt_s * -corner)
        if second is not None:  # chained filter, driven by the first one's value at the start of the step
            moved.append(decay * second + (corner * dt_s) * decay * first)
        moved.append(decay * first + ops.sqrt(ops.maximum(1.0 - decay * decay, 0.0)) * n)
    u_new, v2_new, v1_new, w2_new, w1_new = moved
    return u_new, v1_new, v2_new, w1_new, w2_new


def gust_m_s(state: GustState[S], strength_m_s: S) -> Vec3[S]:
    """Gust velocity (world axes) of standard deviation `strength_m_s` per axis."""
    u, v1, v2, w1, w2 = state
    gain: Any = strength_m_s * math.sqrt(1.5)  # sqrt(3 a) of a first filter whose variance is 1/(2 a)
    return strength_m_s * u, gain * (v1 - _ZERO * v2), gain * (w1 - _ZERO * w2)
