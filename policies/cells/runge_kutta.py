"""The classic Runge-Kutta method of fourth order, for cells whose state follows a differential equation."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def runge_kutta(slope: Callable[[Tensor], Tensor], h: Tensor, dt: Tensor, unfolds: int) -> Tensor:
    """`unfolds` steps for dh/dt = slope(h). h: (B, n), dt: (B, 1)."""
    delta = dt / unfolds
    for _ in range(unfolds):
        k1 = slope(h)
        k2 = slope(h + delta / 2 * k1)
        k3 = slope(h + delta / 2 * k2)
        k4 = slope(h + delta * k3)
        h = h + delta / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return h
