"""What wrong time stamps do to the state, at most: after one step, and after any number of them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from liquid_pilot.errors import ConfigError
from policies.cells.cell import Cell, check_sizes
from policies.stability.bounds import step_bounds
from policies.stability.box import Box
from policies.stability.lipschitz import lipschitz_bound


@dataclass(frozen=True, eq=False)
class JitterBound:
    """Bounds for time stamps that are wrong by at most jitter_s.

    one_step: largest change of each neuron by one wrong elapsed time, (n,). contraction: the share of a change that
    a step leaves, at most. steady_state: largest change of each neuron after any number of wrong steps, (n,); None
    where none is known, because the contraction is not below 1 or a state may leave the box.
    """

    jitter_s: float
    one_step: Tensor
    contraction: float
    steady_state: Tensor | None


def jitter_bound(cell: Cell, box: Box, jitter_s: float) -> Tensor:
    """Largest |h'(dt + e) - h'(dt)| of each neuron of a CfC over the steps of a box and |e| <= jitter_s, (B, n).

    The lesser of two: how far h' can move at all within the box, and jitter_s times its largest slope in time, which
    is |h - tanh(f)| s exp(-s dt) for `decay` and |ta| |g2 - g1| s (1 - s) <= |ta| |g2 - g1| / 4 for `default`.
    dt + e is never below 0. Raises `ConfigError`.
    """
    if not 0.0 <= jitter_s < math.inf:
        raise ConfigError(f"jitter_s is {jitter_s!r}; give seconds, 0 or more and finite")
    exact, wrong = step_bounds(cell, box), step_bounds(cell, box.jittered(jitter_s))
    by_slope = jitter_s * wrong.by_dt_per_s.magnitude
    by_range = torch.maximum(wrong.state.high - exact.state.low, exact.state.high - wrong.state.low)
    return torch.minimum(by_slope, by_range)


def steady_jitter_bound(cell: Cell, box: Box, jitter_s: float, parts: int = 8) -> JitterBound:
    """Bounds over whole sequences of a CfC whose inputs, first state and elapsed times lie in a box of one row.

    With A the largest |dh'/dh| entry by entry and j the change by one step, the change e of a state obeys
    e' <= A e + j, so that it never exceeds (I - A)^-1 j when the spectral radius of A is below 1. Nor does it exceed
    |j| / (1 - rho) in the norm 2, when the Lipschitz constant rho is. The lesser of both is given, and the lesser of
    the two contractions. parts: pieces into which the elapsed times are cut; more are tighter. Raises `ConfigError`.
    """
    check_sizes(parts=parts)
    one_step = jitter_bound(cell, box.split(parts), jitter_s).amax(0)
    wrong = box.jittered(jitter_s)
    bounds = step_bounds(cell, wrong.split(parts))
    gain = bounds.by_h.magnitude.amax(0)
    radius, rho = float(torch.linalg.eigvals(gain).abs().max()), lipschitz_bound(cell, wrong, 2.0, parts).by_h
    stays = bool(((bounds.state.low >= box.h.low) & (bounds.state.high <= box.h.high)).all())
    limits = []
    if stays and radius < 1.0:
        limits.append(torch.linalg.solve(torch.eye(len(gain), dtype=gain.dtype) - gain, one_step))
    if stays and rho < 1.0:
        limits.append(torch.full_like(one_step, float(one_step.norm()) / (1.0 - rho)))
    steady = torch.stack(limits).amin(0) if limits else None
    return JitterBound(jitter_s, one_step, min(radius, rho), steady)
