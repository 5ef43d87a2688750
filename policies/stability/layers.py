"""What the analysis reads of a CfC, in one place: its layers, their effective weights, their slices of the state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from liquid_pilot.errors import ConfigError
from policies.cells.cell import Cell
from policies.cells.cfc import CfC
from policies.cells.layer import CfCLayer


@dataclass(frozen=True, eq=False)
class LayerWeights:
    """Effective float64 weights without gradient: (matrix, bias) of every linear map, and the vectors of the form."""

    backbone: list[tuple[Tensor, Tensor]]
    heads: list[tuple[Tensor, Tensor]]
    vectors: list[Tensor]


def cfc_layers(cell: Cell) -> list[CfCLayer]:
    """Layers in the order of flow. Raises `ConfigError` for a cell that is not a CfC."""
    if not isinstance(cell, CfC):
        raise ConfigError(f"this needs a CfC and got a {type(cell).__name__}; give a cell of class CfC")
    return cast("list[CfCLayer]", list(cell.layers))


def linear_maps(layer: CfCLayer) -> list[nn.Linear]:
    """Every matrix with its bias: backbone, then heads."""
    return [*cast("list[nn.Linear]", list(layer.backbone)), *layer.heads()]


def layer_weights(layer: CfCLayer) -> LayerWeights:
    """See `LayerWeights`."""
    maps = [(m.weight.detach().double(), m.bias.detach().double()) for m in linear_maps(layer)]
    depth = len(layer.backbone)
    vectors = layer.weights()[2 * len(maps) :]
    return LayerWeights(maps[:depth], maps[depth:], [vector.detach().double() for vector in vectors])


def set_weight(linear: nn.Linear, value: Tensor) -> None:
    """Give a matrix a value that its mask and its spectral bound allow, and which they therefore leave as it is."""
    stored = linear.get_parameter(
        "parametrizations.weight.original" if parametrize.is_parametrized(linear) else "weight"
    )
    with torch.no_grad():
        stored.copy_(value)
