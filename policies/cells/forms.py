"""Liquid cells as pure torch steps: `(z-dependent parameters, h, dt) -> h'` for any batch.

Published CfC forms: Hasani et al., "Closed-form continuous-time neural networks" (2022), with the
signs of the reference torch code. `decay` is the exact step of dh/dt = (tanh(f) - h) / tau over dt with
f and tau frozen: identity at dt = 0, |h| <= 1 for every input.
Weight names and shapes are those of `liquid_pilot.cells`, which flies them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from liquid_pilot.cells import CellSpec
from liquid_pilot.errors import ConfigError, unknown_name
from policies.cells.positive import inverse_softplus

FASTEST_TAU_S: Final = 0.02  # initial time constants of the decay form, log-uniform between these
SLOWEST_TAU_S: Final = 3.0
PURE_RATES: Final = (0.01, 0.1)  # initial w_tau per time unit, drawn between these: |w| has no slope at 0


def lecun_tanh(x: Tensor) -> Tensor:
    """1.7159 tanh(0.666 x), the published backbone activation."""
    return 1.7159 * torch.tanh(0.666 * x)


class Backbone(nn.ModuleList):
    """Linear layers, each with the published activation; none of them: the identity. width: of what comes out."""

    def __init__(self, features: int, layers: int, units: int) -> None:
        super().__init__()
        self.width = features
        for _ in range(layers):
            self.append(nn.Linear(self.width, units))
            self.width = units

    def forward(self, z: Tensor) -> Tensor:
        """z: (B, features) -> (B, width)."""
        for layer in self:
            z = lecun_tanh(layer(z))
        return z


class Decay(nn.Module):
    """h' = h e + (1 - e) tanh(f), e = exp(-dt softplus(r))."""

    def __init__(self, features: int, units: int, time_unit_s: float) -> None:
        super().__init__()
        self.target, self.rate = nn.Linear(features, units), nn.Linear(features, units)
        tau = torch.logspace(math.log10(FASTEST_TAU_S), math.log10(SLOWEST_TAU_S), units)
        with torch.no_grad():  # softplus(bias) = time_unit / tau
            self.rate.bias.copy_(inverse_softplus(time_unit_s / tau))

    def forward(self, z: Tensor, h: Tensor, dt: Tensor) -> Tensor:
        """z: (B, features), h: (B, units), dt: (B, 1) in time units."""
        keep = torch.exp(-dt * functional.softplus(self.rate(z)))
        return h * keep + (1.0 - keep) * torch.tanh(self.target(z))

    def time_constant(self, z: Tensor) -> Tensor:
        """Time constant of each neuron in time units, (B, units)."""
        return 1.0 / functional.softplus(self.rate(z))


class Gated(nn.Module):
    """The published forms with a sigmoid time gate: `default` interpolates, `no_gate` adds."""

    def __init__(self, features: int, units: int, *, interpolate: bool) -> None:
        super().__init__()
        self.ff1, self.ff2 = nn.Linear(features, units), nn.Linear(features, units)
        self.time_a, self.time_b = nn.Linear(features, units), nn.Linear(features, units)
        self.interpolate = interpolate

    def forward(self, z: Tensor, h: Tensor, dt: Tensor) -> Tensor:
        """z: (B, features), h is not used beyond z, dt: (B, 1) in time units."""
        first, second = torch.tanh(self.ff1(z)), torch.tanh(self.ff2(z))
        gate = torch.sigmoid(self.time_a(z) * dt + self.time_b(z))
        mixed: Tensor = first * (1.0 - gate) + gate * second if self.interpolate else first + gate * second
        return mixed


class Pure(nn.Module):
    """h' = -A exp(-dt (|w_tau| + |u|)) u + A with u = W z + b: the published solution form."""

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.ff1 = nn.Linear(features, units)
        self.w_tau = nn.Parameter(torch.empty(units).uniform_(*PURE_RATES))
        self.a = nn.Parameter(torch.ones(units))

    def forward(self, z: Tensor, h: Tensor, dt: Tensor) -> Tensor:
        """z: (B, features), h is not used beyond z, dt: (B, 1) in time units."""
        u = self.ff1(z)
        updated: Tensor = -self.a * torch.exp(-dt * (self.w_tau.abs() + u.abs())) * u + self.a
        return updated


class Gru(nn.Module):
    """h' = (1 - u) tanh(nx + r nh) + u h with r, u = sigmoid: the equations of `torch.nn.GRUCell`, with both biases.

    Elapsed time acts as an input of the network alone.
    """

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.reset_x, self.update_x = nn.Linear(features, units), nn.Linear(features, units)
        self.new_x, self.reset_h = nn.Linear(features, units), nn.Linear(units, units)
        self.update_h, self.new_h = nn.Linear(units, units), nn.Linear(units, units)

    def forward(self, z: Tensor, h: Tensor, dt: Tensor) -> Tensor:
        """z: (B, features) of x alone, h: (B, units), dt is not used."""
        update = torch.sigmoid(self.update_x(z) + self.update_h(h))
        reset = torch.sigmoid(self.reset_x(z) + self.reset_h(h))
        return (1.0 - update) * torch.tanh(self.new_x(z) + reset * self.new_h(h)) + update * h


class Lstm(nn.Module):
    """c' = sigmoid(k) c + sigmoid(w) tanh(n), h' = sigmoid(s) tanh(c'): the equations of `torch.nn.LSTMCell`.

    Hochreiter and Schmidhuber (1997), with the forget gate of Gers et al. (2000), here `keep`, whose bias starts at 1.
    Elapsed time acts as an input of the network alone.
    """

    def __init__(self, features: int, units: int) -> None:
        super().__init__()
        self.write_x, self.keep_x = nn.Linear(features, units), nn.Linear(features, units)
        self.new_x, self.show_x = nn.Linear(features, units), nn.Linear(features, units)
        self.write_h, self.keep_h = nn.Linear(units, units), nn.Linear(units, units)
        self.new_h, self.show_h = nn.Linear(units, units), nn.Linear(units, units)
        nn.init.ones_(self.keep_x.bias)
        nn.init.zeros_(self.keep_h.bias)

    def forward(self, z: Tensor, state: Tensor, dt: Tensor) -> Tensor:
        """z: (B, features) of x alone, state: (B, 2 units) of [h; c], dt is not used."""
        h, c = state.chunk(2, dim=1)
        keep = torch.sigmoid(self.keep_x(z) + self.keep_h(h))
        write = torch.sigmoid(self.write_x(z) + self.write_h(h))
        show = torch.sigmoid(self.show_x(z) + self.show_h(h))
        c = keep * c + write * torch.tanh(self.new_x(z) + self.new_h(h))
        return torch.cat([show * torch.tanh(c), c], dim=1)


CELLS: Final[dict[str, Callable[[int, CellSpec], nn.Module]]] = {
    "decay": lambda features, spec: Decay(features, spec.units, spec.time_unit_s),
    "default": lambda features, spec: Gated(features, spec.units, interpolate=True),
    "no_gate": lambda features, spec: Gated(features, spec.units, interpolate=False),
    "pure": lambda features, spec: Pure(features, spec.units),
    "gru": lambda features, spec: Gru(features, spec.units),
    "lstm": lambda features, spec: Lstm(features, spec.units),
}


def make_cell(spec: CellSpec, features: int) -> nn.Module:
    """The cell of a spec on `features` backbone outputs. Raises `ConfigError` for an unknown form."""
    if spec.form not in CELLS:
        raise ConfigError(unknown_name("cell form", spec.form, list(CELLS)))
    return CELLS[spec.form](features, spec)
