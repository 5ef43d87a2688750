"""Small cells of every form and kind, and points of a box, for the tests of stability."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from policies.cells.cfc import CfC
from policies.stability.box import Box
from policies.stability.layers import cfc_layers
from policies.wirings.wiring import Wiring

FORMS = ("decay", "default", "no_gate", "pure")
KINDS = ("dense", "bare", "wired")  # with a backbone, without one, a stack of masked layers
UNIT_S = 0.02
INPUTS, UNITS = 3, 6


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def wiring() -> Wiring:
    recurrent, sensory = np.zeros((UNITS, UNITS), np.int8), np.zeros((INPUTS, UNITS), np.int8)
    for source, target, sign in ((0, 3, 1), (1, 3, -1), (1, 4, 1), (2, 4, 1), (3, 5, 1), (4, 5, -1), (3, 4, 1)):
        recurrent[source, target] = sign
    sensory[(0, 0, 1, 2), (0, 1, 1, 2)] = (1, -1, 1, 1)
    return Wiring(INPUTS, (3, 2, 1), ("inter", "command", "motor"), recurrent, sensory, 1)


def cell(form: str, kind: str, seed: int = 0, scale: float = 1.0, **options: Any) -> CfC:
    """Weights scaled from their initial values."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if kind == "wired":
            made = CfC(INPUTS, wiring=wiring(), form=form, time_unit_s=UNIT_S, **options)
        else:
            layers = int(kind == "dense")
            made = CfC(INPUTS, UNITS, form=form, backbone_layers=layers, backbone_units=5, time_unit_s=UNIT_S)
    made = made.double()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(scale)
    return made


def one_neuron(**weights: float) -> CfC:
    """A `decay` neuron of one input whose weights are 0 but for those given, as `target_bias`, `rate_x`, `rate_h`."""
    made = CfC(1, 1, backbone_layers=0, time_unit_s=UNIT_S).double()
    target, rate = cfc_layers(made)[0].heads()
    with torch.no_grad():
        for name, linear in (("target", target), ("rate", rate)):
            linear.weight.copy_(torch.tensor([[weights.get(f"{name}_x", 0.0), weights.get(f"{name}_h", 0.0)]]))
            linear.bias.fill_(weights.get(f"{name}_bias", 0.0))
    return made


def samples(inside: Box, count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Points of a box, half of them on its corners."""
    width = inside.x.low.shape[1] + inside.h.low.shape[1] + 1
    unit = torch.rand(count, width, generator=generator(seed), dtype=torch.float64)
    unit[::2] = unit[::2].round()
    return inside.at(unit)
