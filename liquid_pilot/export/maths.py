"""tanh, exp and log1p in C with single-precision arithmetic alone, and the numbers they are made of.

Each is the minimax approximation, in relative error, of its function on an interval; `python -m scripts.fit_functions`
finds the coefficients again (Lawson's reweighted least squares on the linearised quotient) and says how far they are
from the function. tanh(x) = x P(x^2) / Q(x^2) to 2e-8 up to the place where float32 has no number between tanh and 1;
exp(y) = 2^n (1 + r + r^2 p(r)), y = n log 2 + r, to 3e-9; log1p(u) = u P(u) / Q(u) on [0, 1] to 2e-8. What
single precision makes of them is a few units in the last place. No call of the C library, no loop that depends on the
data, and NaN stays NaN: a choice is written so that what is compared last is kept, which is what the minimum and
maximum instructions of processors do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from liquid_pilot.export.plain_c import number

TANH_END: Final = 9.01  # from here on tanh is 1 in float32
TANH_ABOVE: Final = (
    0.9999999792316746,
    0.13380372078355818,
    0.003494811634702174,
    2.0596283516993805e-05,
    1.333686093968639e-08,
)
TANH_BELOW: Final = (
    1.0,
    0.46713687494548434,
    0.025874028951029717,
    0.0003284364186745465,
    7.769288377843389e-07,
)
EXP_END: Final = -87.0  # exp of what is below is as good as 0, and 2^n would leave the normal numbers
EXP_REST: Final = (
    0.4999999344778309,
    0.16666520631667778,
    0.0416683880480268,
    0.008368716883563236,
    0.0013814598512953357,
)
LOG1P_ABOVE: Final = (0.9999999810168345, 0.8671936410643296, 0.12376436129891451)
LOG1P_BELOW: Final = (1.0, 1.3671916943504538, 0.4740590066980757, 0.031094562718234495)

_LOG2_E: Final = 1.4426950408889634
_LN2_HIGH: Final = 0.693359375  # log 2 in two parts; n times the first is exact
_LN2_LOW: Final = -2.1219444005469058e-4
_ROUNDER: Final = 12582912.0  # 1.5 * 2^23: adding it rounds to a whole number, which its last bits then hold


def _horner(variable: str, coefficients: Sequence[float]) -> str:
    """A polynomial in C, lowest coefficient first."""
    text = number(coefficients[-1])
    for value in reversed(coefficients[:-1]):
        text = f"({text} * {variable} + {number(value)})"
    return text


def tanh_c(name: str) -> Iterator[str]:
    """`NAME_tanh`."""
    end = number(TANH_END)
    yield f"static inline float {name}_tanh(float x)"
    yield "{"
    yield f"    const float low = {end} < x ? {end} : x;"
    yield f"    const float cut = -{end} > low ? -{end} : low;"
    yield "    const float s = cut * cut;"
    yield f"    const float above = cut * {_horner('s', TANH_ABOVE)};"
    yield f"    const float found = above / {_horner('s', TANH_BELOW)};"
    yield "    const float most = 1.0f < found ? 1.0f : found;"
    yield "    return -1.0f > most ? -1.0f : most;"
    yield "}"


def sigmoid_c(name: str) -> Iterator[str]:
    """`NAME_sigmoid`."""
    yield f"static inline float {name}_sigmoid(float x)"
    yield "{"
    yield f"    return 0.5f * {name}_tanh(0.5f * x) + 0.5f;"
    yield "}"


def exp_c(name: str) -> Iterator[str]:
    """`NAME_exp`, of numbers up to 0."""
    end = number(EXP_END)
    yield f"static inline float {name}_exp(float y)"
    yield "{"
    yield "    union { float number; uint32_t bits; } whole, power;"
    yield "    float n, r;"
    yield f"    y = {end} > y ? {end} : y;"
    yield f"    whole.number = y * {number(_LOG2_E)} + {number(_ROUNDER)};"
    yield f"    n = whole.number - {number(_ROUNDER)};"
    yield f"    r = (y - n * {number(_LN2_HIGH)}) - n * {number(_LN2_LOW)};"
    yield "    power.bits = (whole.bits << 23) + 0x3f800000u;"
    yield f"    return power.number * (1.0f + r + r * r * {_horner('r', EXP_REST)});"
    yield "}"


def softplus_c(name: str) -> Iterator[str]:
    """`NAME_softplus`, for any number."""
    yield f"static inline float {name}_softplus(float x)"
    yield "{"
    yield f"    const float u = {name}_exp(x > 0.0f ? -x : x);"
    yield f"    const float above = u * {_horner('u', LOG1P_ABOVE)};"
    yield f"    return (x > 0.0f ? x : 0.0f) + above / {_horner('u', LOG1P_BELOW)};"
    yield "}"
