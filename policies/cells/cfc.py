"""CfC: closed-form continuous-time cells, dense or wired, in the published forms and in the `decay` form."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from liquid_pilot.cells import CellSpec
from liquid_pilot.errors import ConfigError, unknown_name
from policies.cells.cell import Cell, check_sizes
from policies.cells.forms import CELLS, lecun_tanh

FORMS: Final = ("decay", "default", "no_gate", "pure")


class CfCLayer(nn.Module):
    """Backbone of [x; h], then the heads of a form. mask: (units, inputs + units), 1 where a synapse is; of every head.

    A masked layer has no backbone, because a backbone would join what the mask keeps apart.
    """

    mask: Tensor | None

    def __init__(
        self,
        inputs: int,
        units: int,
        form: str,
        backbone_layers: int = 1,
        backbone_units: int = 64,
        time_unit_s: float = 1.0,
        mask: Tensor | None = None,
    ) -> None:
        super().__init__()
        if form not in FORMS:
            raise ConfigError(unknown_name("form of CfC", form, list(FORMS)))
        spec = CellSpec(form, inputs, units, 1, backbone_layers, backbone_units, time_unit_s)
        self.inputs, self.units, self.form, self.time_unit_s = inputs, units, form, time_unit_s
        width, layers = inputs + units, []
        for _ in range(backbone_layers):
            layers.append(nn.Linear(width, backbone_units))
            width = backbone_units
        self.backbone = nn.ModuleList(layers)
        self.head = CELLS[form](width, spec)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x: Tensor, h: Tensor, dt_s: Tensor) -> Tensor:
        """x: (B, inputs), h: (B, units), dt_s: (B, 1) -> h' (B, units)."""
        z = torch.cat([x, h], dim=1)
        for layer in self.backbone:
            z = lecun_tanh(layer(z))
        updated: Tensor = self.head(z, h, dt_s / self.time_unit_s)
        return updated


class CfC(Cell):
    """See the module. dt_s is mandatory; the published forms with time_unit_s=1 are those of the papers."""

    def __init__(
        self,
        inputs: int,
        units: int,
        *,
        form: str = "decay",
        backbone_layers: int = 1,
        backbone_units: int = 64,
        time_unit_s: float = 1.0,
    ) -> None:
        check_sizes(inputs=inputs, units=units)
        super().__init__(inputs, units)
        self.layers = nn.ModuleList(
            [CfCLayer(inputs, units, form, backbone_layers, backbone_units, time_unit_s)]
        )

    def advance(self, x: Tensor, h: Tensor, dt_s: Tensor) -> Tensor:
        """See `Cell.advance`."""
        updated: Tensor = self.layers[0](x, h, dt_s)
        return updated
