"""A wired CfC as a policy flies it: a masked layer of neurons for each layer of the wiring."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from liquid_pilot.cells import CellSpec
from liquid_pilot.errors import ConfigError
from liquid_pilot.wiring import LAYERS
from policies.cells.forms import FASTEST_TAU_S, Decay
from policies.cells.layer import CfCLayer
from policies.cells.positive import inverse_softplus
from policies.sequence import cfc_sequence

SHOWN_AT_FIRST = 0.3  # of a motor neuron's state: an untrained policy asks for hover thrust and no rotation


class Wired(nn.ModuleDict):
    """Layers in the order of flow: each hears the new state of the one before it (x for the first) and its own old one.

    Masks hold for every matrix, whatever an optimiser does. Motor neurons of the decay form begin as fast as any may
    be, because a command should not lag behind what the command neurons know. Raises `ConfigError` without a wiring.
    """

    def __init__(self, spec: CellSpec) -> None:
        super().__init__()
        if spec.wiring is None:
            raise ConfigError("the spec has no wiring; give one, or use make_cell")
        self.sizes, seen = spec.wiring.sizes, spec.inputs
        for name, size in zip(LAYERS, self.sizes, strict=True):
            mask = torch.as_tensor(spec.wiring.masks[name])
            self[name] = CfCLayer(seen, size, spec.form, 0, 1, spec.time_unit_s, mask)
            seen = size
        motor = cast(CfCLayer, self[LAYERS[-1]]).head
        if isinstance(motor, Decay):
            with torch.no_grad():
                motor.rate.bias.fill_(inverse_softplus(torch.tensor(spec.time_unit_s / FASTEST_TAU_S)))

    def forward(self, x: Tensor, h: Tensor, dt: Tensor) -> Tensor:
        """x: (B, inputs), h: (B, units), dt: (B, 1) in time units -> h' (B, units)."""
        features, following = x, []
        for layer, own in zip(self.values(), h.split(self.sizes, dim=1), strict=True):
            features = cast(CfCLayer, layer).head(torch.cat([features, own], dim=1), own, dt)
            following.append(features)
        return torch.cat(following, dim=1)

    def sequence(self, x: Tensor, dt_s: Tensor, h: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Layer by layer, each of them over the whole sequence, see `cfc_sequence`.

        x: (B, T, inputs), dt_s, mask: (B, T), h: (B, units) -> motor neurons (B, T, outputs), last state (B, units).
        """
        features, last = x, []
        for layer, own in zip(self.values(), h.split(self.sizes, dim=1), strict=True):
            features, end = cfc_sequence(cast(CfCLayer, layer), features, dt_s, own, mask)
            last.append(end)
        return features, torch.cat(last, dim=1)


class MotorReadout(nn.Module):
    """A factor and a shift for each motor neuron, the last ones of the state."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((outputs,), SHOWN_AT_FIRST))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, h: Tensor) -> Tensor:
        """h: (..., units), or of the motor neurons alone -> (..., outputs)."""
        return h[..., h.shape[-1] - self.weight.shape[0] :] * self.weight + self.bias
