"""Find the coefficients of `liquid_pilot.export.maths` again: tanh, exp and log1p as polynomials and their quotients.

A quotient P/Q that is nearest in relative error is found by least squares on P - f Q, divided by the Q of the round
before, with weights that grow where the error is large (Lawson, 1961); after some hundred rounds the error is about
equal at all its peaks, which is what the nearest one has (Chebyshev). In double precision; what float32 makes of the
coefficients is measured in tests/export/test_maths.py.

Examples:
  python -m scripts.fit_functions           # coefficients, largest relative error, beside those that are in use
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from liquid_pilot.export import maths

F64: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Target:
    """What is approximated on [low, high] by degrees above / below; weight(s, f): of an error at s.

    used: the coefficients in `maths`, above and below.
    """

    function: Callable[[F64], F64]
    low: float
    high: float
    above: int
    below: int
    weight: Callable[[F64, F64], F64]
    used: tuple[Sequence[float], Sequence[float]]


def _relative(s: F64, f: F64) -> F64:
    return 1.0 / np.abs(f)


def _tanh_quotient(s: F64) -> F64:
    root = np.sqrt(np.maximum(s, 1e-30))
    return np.asarray(np.tanh(root) / root)


def _log1p_quotient(u: F64) -> F64:
    return np.asarray(np.log1p(u) / u)


def _exp_rest(r: F64) -> F64:
    return np.asarray((np.expm1(r) - r) / (r * r))


_HALF: Final = 0.5001 * float(np.log(2.0))
TARGETS: Final = {
    "tanh(x) / x, of x^2": Target(
        _tanh_quotient, 0.0, maths.TANH_END**2, 4, 4, _relative, (maths.TANH_ABOVE, maths.TANH_BELOW)
    ),
    "(exp(r) - 1 - r) / r^2": Target(
        _exp_rest, -_HALF, _HALF, 4, 0, lambda r, f: r * r * np.exp(-r), (maths.EXP_REST, (1.0,))
    ),
    "log1p(u) / u": Target(_log1p_quotient, 1e-9, 1.0, 2, 3, _relative, (maths.LOG1P_ABOVE, maths.LOG1P_BELOW)),
}


def _grid(target: Target, points: int) -> F64:
    """Points that lie closer at both ends, where the error has its outer peaks."""
    spread = np.cos(np.pi * (np.arange(points) + 0.5) / points)
    return 0.5 * (target.low + target.high) + 0.5 * (target.high - target.low) * spread


def largest_error(target: Target, above: Sequence[float], below: Sequence[float], points: int = 20001) -> float:
    """Largest weighted error of a quotient over the interval."""
    s = _grid(target, points)
    f = target.function(s)
    found = np.polyval(list(above)[::-1], s) / np.polyval(list(below)[::-1], s)
    return float(np.max(np.abs(found - f) * target.weight(s, f)))


def fit(target: Target, points: int = 2000, rounds: int = 400) -> tuple[list[float], list[float]]:
    """Coefficients above and below, lowest first; the lowest one below is 1."""
    s = _grid(target, points)
    f, u = target.function(s), s / target.high
    weight, share, below = target.weight(s, f), np.full(points, 1.0 / points), np.ones(points)
    powers = [u**k for k in range(target.above + 1)] + [-f * u**k for k in range(1, target.below + 1)]
    columns, best, least = np.stack(powers, axis=1), np.zeros(len(powers)), np.inf
    for _ in range(rounds):
        scale = np.sqrt(share) * weight / np.abs(below)
        found = np.linalg.lstsq(columns * scale[:, None], f * scale, rcond=None)[0]
        below = 1.0 - (columns[:, target.above + 1 :] / f[:, None]) @ found[target.above + 1 :]
        error = np.abs(columns[:, : target.above + 1] @ found[: target.above + 1] / below - f) * weight
        if error.max() < least:
            best, least = found, float(error.max())
        share = share * (error + 1e-3 * error.max())
        share /= share.sum()
    scaled = [value / target.high**k for k, value in enumerate(best[: target.above + 1].tolist())]
    return scaled, [1.0] + [v / target.high**k for k, v in enumerate(best[target.above + 1 :].tolist(), start=1)]


def main() -> int:
    """Fit all, print. Returns the exit code."""
    for name, target in TARGETS.items():
        found = fit(target)
        print(f"{name} on [{target.low:g}, {target.high:g}]")
        for word, coefficients in (("fitted", found), ("in use", target.used)):
            print(f"  {word}: largest relative error {largest_error(target, *coefficients):.2e}")
            for part in coefficients:
                print("    " + ", ".join(repr(float(value)) for value in part))
    return 0


if __name__ == "__main__":
    sys.exit(main())
