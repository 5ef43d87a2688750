"""One CfC layer: a backbone and the heads of a form, each of their matrices masked where the layer is wired."""

from __future__ import annotations

from typing import Final, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from liquid_pilot import cells
from liquid_pilot.cells import CellSpec
from liquid_pilot.errors import ConfigError, unknown_name
from policies.cells.elapsed import time_units
from policies.cells.forms import Backbone, make_cell

FORMS: Final = ("decay", "default", "no_gate", "pure")


class Masked(nn.Module):
    """Parametrization of a matrix that is zero where no synapse is, whatever is written to it."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, weight: Tensor) -> Tensor:
        """Effective matrix of the stored one, both of the mask's shape."""
        return weight * self.mask

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Stored matrix of an effective one: nothing is kept, or counted, where no synapse is."""
        return weight * self.mask


class CfCLayer(nn.Module):
    """Backbone of [x; h], then the heads of a form. mask: (units, inputs + units), 1 where a synapse is; of every head.

    A masked layer has no backbone, because a backbone would join what the mask keeps apart. `weight` of every linear
    map is the effective matrix. Raises `ConfigError` for an unknown form and for sizes that do not fit.
    """

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
        self.spec = CellSpec(form, inputs, units, 1, backbone_layers, backbone_units, time_unit_s)
        self.inputs, self.units, self.form, self.time_unit_s = inputs, units, form, time_unit_s
        self.backbone = Backbone(inputs + units, backbone_layers, backbone_units)
        self.head = make_cell(self.spec, self.backbone.width)
        if mask is not None:
            self._mask(mask)

    def forward(self, x: Tensor, h: Tensor, dt_s: Tensor) -> Tensor:
        """x: (B, inputs), h: (B, units), dt_s: (B, 1) -> h' (B, units)."""
        z = self.backbone(torch.cat([x, h], dim=1))
        updated: Tensor = self.head(z, h, time_units(dt_s, self.time_unit_s))
        return updated

    def heads(self) -> list[nn.Linear]:
        """The linear maps of the form, in the order of `liquid_pilot.cells.FORMS`."""
        return [cast(nn.Linear, self.head.get_submodule(name)) for name in cells.FORMS[self.form].heads]

    def weights(self) -> list[Tensor]:
        """Effective weights, with their gradients, in the order of `liquid_pilot.cells.weight_shapes`; no readout."""
        maps = [*cast("list[nn.Linear]", list(self.backbone)), *self.heads()]
        vectors = [cast(Tensor, getattr(self.head, name)) for name in cells.FORMS[self.form].vectors]
        return [tensor for linear in maps for tensor in (linear.weight, linear.bias)] + vectors

    def _mask(self, mask: Tensor) -> None:
        wanted = (self.units, self.inputs + self.units)
        if len(self.backbone) or mask.shape != wanted:
            raise ConfigError(
                f"a mask {tuple(mask.shape)} for {len(self.backbone)} backbone layers, {self.units} units and "
                f"{self.inputs} inputs; a masked layer has no backbone, and its mask is {wanted}"
            )
        for linear in self.heads():
            parametrize.register_parametrization(linear, "weight", Masked(mask.to(linear.weight.dtype)))
