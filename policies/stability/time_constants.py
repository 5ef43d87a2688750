"""Time constants of `decay` and LTC neurons, certified as intervals; and weights of `decay` moved into a given one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from liquid_pilot.errors import ConfigError
from policies.cells.cell import Cell
from policies.cells.layer import CfCLayer
from policies.cells.ltc import LTC
from policies.cells.positive import inverse_softplus
from policies.stability.bounds import features
from policies.stability.box import symmetric
from policies.stability.form_bounds import softplus, tanh
from policies.stability.interval import Interval, cat, point
from policies.stability.layers import cfc_layers, layer_weights, set_weight

_TARGET, _RATE = 0, 1  # heads of `decay`
_MARGIN: Final = 1e-5  # of the wanted interval of a rate, kept free for the rounding of float32 weights


class TimeConstants(NamedTuple):
    """Shortest and longest time constant of each neuron, (units,) seconds each."""

    fastest_s: Tensor
    slowest_s: Tensor


def time_constant_interval(cell: Cell, x_limit: float | Tensor, h_limit: float = 1.0) -> TimeConstants:
    """Time constants for every |x| <= x_limit and |h| <= h_limit, certified by interval arithmetic.

    1 / softplus(r) of a CfC of form `decay`, cm / G of an LTC. x_limit: one number or (inputs,). Raises `ConfigError`
    for limits that are negative or not finite, and for other cells, which have no time constants.
    """
    rates = _ltc_rates(cell, x_limit, h_limit) if isinstance(cell, LTC) else _cfc_rates(cell, x_limit, h_limit)
    return TimeConstants(1.0 / rates.high[0], 1.0 / rates.low[0])


def clip_time_constants(
    cell: Cell, fastest_s: float, slowest_s: float, x_limit: float | Tensor, h_limit: float = 1.0
) -> None:
    """Move the weights of the rates until `time_constant_interval` lies in [fastest_s, slowest_s].

    Call it after every step of an optimiser. A row whose reach is too wide shrinks, then its bias moves as little as
    it must. Rows that fit are not touched, so a second call changes nothing. Raises `ConfigError` for cells
    that are not CfC of form `decay`.
    """
    if not 0.0 < fastest_s < slowest_s < math.inf:
        raise ConfigError(
            f"time constants are {fastest_s!r} to {slowest_s!r} s; give 0 < fastest_s < slowest_s, finite"
        )
    longest_first_s = torch.tensor([slowest_s, fastest_s], dtype=torch.float64)
    for layer, z in _rate_inputs(cell, x_limit, h_limit):
        slow, fast = inverse_softplus(layer.time_unit_s / longest_first_s).tolist()
        _clip_rows(layer.heads()[_RATE], z, slow, fast)


def _cfc_rates(cell: Cell, x_limit: float | Tensor, h_limit: float) -> Interval:
    """1 / seconds, (1, units)."""
    rates = []
    for layer, z in _rate_inputs(cell, x_limit, h_limit):
        rate = z.affine(*layer_weights(layer).heads[_RATE]).image(softplus)
        rates.append(rate * (1.0 / layer.time_unit_s))
    return cat(rates)


def _ltc_rates(cell: LTC, x_limit: float | Tensor, h_limit: float) -> Interval:
    """G / cm in 1 / seconds, (1, units): of the leak and of every synapse, each as open as its source may make it."""
    weights = {name: weight.detach().double() for name, weight in cell.weights().items()}
    x, h = symmetric("x_limit", x_limit, cell.inputs), symmetric("h_limit", h_limit, cell.units)
    x = x * weights["input_w"] + point(weights["input_b"])
    total = point(weights["gleak"][None])
    for source, kind in ((x, "sensory_"), (h, "")):
        w, mu, sigma = (weights[kind + name] for name in ("w", "mu", "sigma"))
        conductance = ((source[..., :, None] - point(mu)) * sigma).image(torch.sigmoid) * w
        total = total + Interval(conductance.low.sum(-2), conductance.high.sum(-2))
    return total * (1.0 / (weights["cm"] * cell.time_unit_s))


def _rate_inputs(cell: Cell, x_limit: float | Tensor, h_limit: float) -> Iterator[tuple[CfCLayer, Interval]]:
    """Every layer with the interval of its features, (1, features). A new state is a mean of an old one and a tanh."""
    layers = cfc_layers(cell)
    value = symmetric("x_limit", x_limit, cell.inputs)
    for layer in layers:
        if layer.form != "decay":
            raise ConfigError(f"cells of form {layer.form!r} have no time constants; give a cell of form 'decay'")
        h = symmetric("h_limit", h_limit, layer.units)
        weights = layer_weights(layer)
        z, _ = features(weights, cat([value, h]))
        yield layer, z
        value = h.hull(tanh(z.affine(*weights.heads[_TARGET])))


def _clip_rows(linear: nn.Linear, z: Interval, low: float, high: float) -> None:
    """Bring every row's interval of weight @ z + bias into [low, high]."""
    weight, bias = linear.weight.detach().double(), linear.bias.detach().double()
    found = z.affine(weight, bias)
    fits = ((found.low >= low) & (found.high <= high))[0]
    half, middle = (high - low) / 2, (high + low) / 2
    scale = (half * (1.0 - _MARGIN) / found.radius[0]).clamp(max=1.0)
    slack = half * (1.0 - _MARGIN / 2) - scale * found.radius[0]
    shrunk = scale[:, None] * weight
    offset = shrunk @ z.centre[0]
    moved = (offset + bias).clamp(middle - slack, middle + slack) - offset
    set_weight(linear, torch.where(fits[:, None], weight, shrunk))
    with torch.no_grad():
        linear.bias.copy_(torch.where(fits, bias, moved))
