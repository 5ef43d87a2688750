"""Interval forms of the heads: where h' lies, and its partial derivatives, for boxes of features, state and time.

Each mirrors a form of `policies.cells.forms`. Where a quantity is a function of one number that turns once, its range
is exact; a state is also kept inside the hull of what it is a mean of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch
from torch import Tensor

from policies.stability.interval import Interval, point
from policies.stability.layers import LayerWeights


@dataclass(frozen=True, eq=False)
class FormBounds:
    """state, by_own, by_dt: (B, units). Time in time units.

    terms: (scale (B, units), matrix (units, features) or (B, units, features)); each matrix with its rows scaled, they
    sum to dh'/dfeatures.
    """

    state: Interval
    terms: list[tuple[Interval, Tensor]]
    by_own: Interval
    by_dt: Interval


def softplus(r: Tensor) -> Tensor:
    """log(1 + exp(r)), to the last digits for any r."""
    return torch.logaddexp(r, torch.zeros_like(r))


def tanh_slope(u: Tensor) -> Tensor:
    """Derivative of tanh, exact in its tails too."""
    return torch.cosh(u) ** -2


def tanh(u: Interval) -> Interval:
    """Image under tanh."""
    return u.image(torch.tanh).clamp(-1.0, 1.0)


def _sigmoid_slope(q: Tensor) -> Tensor:
    return torch.sigmoid(q) * torch.sigmoid(-q)


def _relative_slope(r: Tensor) -> Tensor:
    """sigmoid(r) / softplus(r), which falls from 1 to 0."""
    r = r.clamp(min=-700.0)
    return torch.sigmoid(r) / softplus(r)


def _discharge(rate: Interval, dt: Interval) -> Interval:
    """s exp(-s dt) for s >= 0: falls with dt, and rises with s up to 1 / dt."""
    peak = (1.0 / dt.low).expand_as(rate.low).clamp(rate.low, rate.high)
    ends = [s * torch.exp(-s * dt.high) for s in (rate.low, rate.high)]
    low, high = torch.minimum(*ends), peak * torch.exp(-peak * dt.low)
    return Interval(low, high).image(torch.clone)  # rounded outward


def decay(weights: LayerWeights, z: Interval, h: Interval, dt: Interval) -> FormBounds:
    """h' = h k + (1 - k) tanh(f), k = exp(-dt softplus(r))."""
    f, r = (z.affine(*w) for w in weights.heads)
    target, rate = tanh(f), r.image(softplus)
    exponent = rate * dt
    keep = exponent.image(lambda p: torch.exp(-p))
    moved = exponent.image(lambda p: -torch.expm1(-p))
    gap = h - target
    slope = exponent.image(lambda p: p * torch.exp(-p), turn=1.0) * r.image(_relative_slope)
    by_rate = -(gap * slope.within(r.image(torch.sigmoid) * keep * dt))
    by_target = moved * f.image(tanh_slope, turn=0.0)
    return FormBounds(
        state=(target + gap * keep).within(h.hull(target)),
        terms=[(by_target, weights.heads[0][0]), (by_rate, weights.heads[1][0])],
        by_own=keep,
        by_dt=-(gap * _discharge(rate, dt)),
    )


def gated(weights: LayerWeights, z: Interval, h: Interval, dt: Interval, *, interpolate: bool) -> FormBounds:
    """h' = first (1 - s) + s second, or first + s second, with s = sigmoid(ta dt + tb)."""
    (ff1, _), (ff2, _), (time_a, bias_a), (time_b, bias_b) = weights.heads
    u1, u2 = z.affine(*weights.heads[0]), z.affine(*weights.heads[1])
    first, second = tanh(u1), tanh(u2)
    ends = [  # linear in dt, so that its extremes are at the ends of dt
        (d[..., None] * time_a + time_b, d * bias_a + bias_b) for d in (dt.low, dt.high)
    ]
    q = z.affine(*ends[0]).hull(z.affine(*ends[1]))
    gate = q.image(torch.sigmoid).clamp(0.0, 1.0)
    contrast = second - first if interpolate else second
    by_q = contrast * q.image(_sigmoid_slope, turn=0.0)
    by_first, by_second = u1.image(tanh_slope, turn=0.0), gate * u2.image(tanh_slope, turn=0.0)
    if interpolate:
        by_first = by_first * q.image(lambda v: torch.sigmoid(-v)).clamp(0.0, 1.0)
    off_middle, middle = dt - point(dt.centre), dt.centre[..., None] * time_a + time_b
    state = first + gate * contrast
    return FormBounds(
        state=state.within(first.hull(second)) if interpolate else state,
        terms=[(by_first, ff1), (by_second, ff2), (by_q, middle), (by_q * off_middle, time_a)],
        by_own=h * 0.0,
        by_dt=by_q * z.affine(time_a, bias_a),
    )


def pure(weights: LayerWeights, z: Interval, h: Interval, dt: Interval) -> FormBounds:
    """h' = -a exp(-dt (|w_tau| + |u|)) u + a."""
    (matrix, _), (w_tau, a) = weights.heads[0], weights.vectors
    u = z.affine(*weights.heads[0])
    positive, negative = u.clamp(0.0, torch.inf), (-u).clamp(0.0, torch.inf)
    size = positive + negative  # |u|: one of the two is zero at every u
    size = Interval(size.low, u.magnitude)
    leak = (dt * -w_tau.abs()).image(torch.exp)
    drop = leak * (_discharge(positive, dt) - _discharge(negative, dt))
    by_u = leak * (size * dt).image(lambda p: (1.0 - p) * torch.exp(-p), turn=2.0)
    rate = Interval(size.low + w_tau.abs(), size.high + w_tau.abs())
    offset = a.expand_as(drop.low)
    return FormBounds(
        state=Interval(offset, offset) - drop * a,
        terms=[(by_u * -a, matrix)],
        by_own=h * 0.0,
        by_dt=_discharge(rate, dt) * u * a,
    )


FORM_BOUNDS: Final[dict[str, Callable[[LayerWeights, Interval, Interval, Interval], FormBounds]]] = {
    "decay": decay,
    "default": partial(gated, interpolate=True),
    "no_gate": partial(gated, interpolate=False),
    "pure": pure,
}
