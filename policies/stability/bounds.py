"""Certified bounds on one step of a CfC and on its Jacobian, over a box of inputs, states and elapsed times.

The Jacobian is enclosed entry by entry, from the heads back through the backbone, so that signs and saturations count;
a product of norms would know neither.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from liquid_pilot.cells import LECUN_GAIN, LECUN_SLOPE
from liquid_pilot.errors import ConfigError
from policies.cells.cell import Cell
from policies.cells.forms import lecun_tanh
from policies.stability.box import Box
from policies.stability.form_bounds import FORM_BOUNDS, FormBounds, tanh_slope
from policies.stability.interval import Interval, cat
from policies.stability.layers import LayerWeights, cfc_layers, layer_weights


@dataclass(frozen=True, eq=False)
class LayerBounds:
    """One layer of a stack: its part of the state, its weights, bounds of its head, slopes of its activations."""

    own: slice
    weights: LayerWeights
    form: FormBounds
    slopes: list[Interval]
    time_unit_s: float


@dataclass(frozen=True, eq=False)
class StepBounds:
    """Intervals of h' (B, n), dh'/dx (B, n, inputs), dh'/dh (B, n, n) and dh'/ddt (B, n) per second."""

    state: Interval
    by_x: Interval
    by_h: Interval
    by_dt_per_s: Interval


def layer_bounds(cell: Cell, box: Box) -> list[LayerBounds]:
    """Bounds of every layer; the input of each is x, or the new state of the layer below. See `step_bounds`."""
    layers = cfc_layers(cell)
    box.check_fits(cell)
    units = sum(layer.units for layer in layers)
    if units != cell.state_width:
        raise ConfigError(
            f"the state has {cell.state_width} numbers for {units} neurons; give a CfC without slow layers"
        )
    found: list[LayerBounds] = []
    value, start = box.x, 0
    for layer in layers:
        own, weights = slice(start, start + layer.units), layer_weights(layer)
        z, slopes = features(weights, cat([value, box.h[:, own]]))
        form = FORM_BOUNDS[layer.form](weights, z, box.h[:, own], box.dt_s * (1.0 / layer.time_unit_s))
        found.append(LayerBounds(own, weights, form, slopes, layer.time_unit_s))
        value, start = form.state, own.stop
    return found


def step_bounds(cell: Cell, box: Box) -> StepBounds:
    """What every step of the box obeys, in exact arithmetic. Raises `ConfigError`, also for bounds that overflow.

    A cell whose slow layers hold their state in between has no single step to bound; give the same wiring without
    slow layers.
    """
    done: list[StepBounds] = []
    for layer in layer_bounds(cell, box):
        done.append(_through(layer, cell.state_width, done[-1] if done else None))
    whole = StepBounds(
        state=cat([d.state for d in done]),
        by_x=_stack([d.by_x for d in done]),
        by_h=_stack([d.by_h for d in done]),
        by_dt_per_s=cat([d.by_dt_per_s for d in done]),
    )
    _check_finite(whole)
    return whole


def features(weights: LayerWeights, z: Interval) -> tuple[Interval, list[Interval]]:
    """Backbone output of z = [input; state], and the slope of each activation on the way."""
    slopes = []
    for weight, bias in weights.backbone:
        u = z.affine(weight, bias)
        slopes.append(u.image(lambda v: LECUN_GAIN * LECUN_SLOPE * tanh_slope(LECUN_SLOPE * v), turn=0.0))
        z = u.image(lecun_tanh)
    return z, slopes


def norm_bound(jacobian: Interval, norm: float) -> Tensor:
    """Largest induced norm of the matrices of an interval, (...,) for (..., rows, columns); norm is inf or 2.

    |J| <= m entry by entry gives norm(J) <= norm(m), and J = centre + rest gives norm(centre) + norm(radius).
    """
    whole, middle, rest = (
        torch.linalg.matrix_norm(m, ord=norm) for m in (jacobian.magnitude, jacobian.centre, jacobian.radius)
    )
    return torch.minimum(whole, middle + rest)


def _through(layer: LayerBounds, state_width: int, below: StepBounds | None) -> StepBounds:
    """Derivatives of one layer by x, the whole state and time, by those of the layer below."""
    form, own, jacobian = layer.form, layer.own, _jacobian(layer)
    width = jacobian.low.shape[-1] - (own.stop - own.start)
    by_value, by_own = jacobian[..., :width], jacobian[..., width:] + _diagonal(form.by_own)
    by_dt = form.by_dt * (1.0 / layer.time_unit_s)
    margins = own.start, state_width - own.stop
    by_h = Interval(functional.pad(by_own.low, margins), functional.pad(by_own.high, margins))
    if below is None:
        return StepBounds(form.state, by_value, by_h, by_dt)
    carried = by_value.matmul(below.by_dt_per_s[..., None])[..., 0]
    by_x, by_h = by_value.matmul(below.by_x), by_value.matmul(below.by_h) + by_h
    return StepBounds(form.state, by_x, by_h, carried + by_dt)


def _jacobian(layer: LayerBounds) -> Interval:
    """Of the layer's new state by its input and its old state, less the direct path: (B, units, width + units)."""
    first, *others = (scale[..., None] * matrix for scale, matrix in layer.form.terms)
    jacobian = sum(others, first)
    for (weight, _), slope in zip(reversed(layer.weights.backbone), reversed(layer.slopes), strict=True):
        jacobian = (jacobian * slope[..., None, :]).times(weight)
    return jacobian


def _check_finite(bounds: StepBounds) -> None:
    for name, interval in vars(bounds).items():
        if not bool(torch.isfinite(interval.magnitude).all()):
            raise ConfigError(f"the bounds of {name} are not finite; give smaller limits, or weights that are finite")


def _diagonal(values: Interval) -> Interval:
    return Interval(torch.diag_embed(values.low), torch.diag_embed(values.high))


def _stack(rows: list[Interval]) -> Interval:
    return Interval(torch.cat([r.low for r in rows], dim=-2), torch.cat([r.high for r in rows], dim=-2))
