"""One step of a network as a plain module, for the exporters of torch (torch.export, TorchScript, ONNX)."""

from __future__ import annotations

import copy
from typing import cast

from torch import Tensor, nn
from torch.nn.utils import parametrize

from policies.cells.cell import Cell
from policies.rnn import LiquidRNN


class StepModule(nn.Module):
    """x (B, inputs), h (B, state_width), dt_s (B,) -> y (B, outputs), h' (B, state_width). Nothing is checked."""

    def __init__(self, cell: Cell, readout: nn.Module) -> None:
        super().__init__()
        self.cell, self.readout = cell, readout

    def forward(self, x: Tensor, h: Tensor, dt_s: Tensor) -> tuple[Tensor, Tensor]:
        """See the class."""
        following = self.cell.advance(x, h, dt_s.unsqueeze(1))
        return self.readout(self.cell.read(following)), following


def step_module(rnn: LiquidRNN) -> StepModule:
    """The step of a network with weights of its own: masked and constrained matrices as they are in effect now."""
    step = StepModule(copy.deepcopy(rnn.cell), copy.deepcopy(rnn.readout))
    for module in list(step.modules()):
        if parametrize.is_parametrized(module):
            make_plain(module)
    return step.eval().requires_grad_(False)


def make_plain(module: nn.Module) -> None:
    """Replace the parametrized tensors of a module by their values.

    `parametrize.remove_parametrizations` would take them from the module's class, which copies share.
    """
    names = list(cast(nn.ModuleDict, module.parametrizations))
    values = {name: cast(Tensor, getattr(module, name)).detach().clone() for name in names}
    module.__class__ = parametrize.type_before_parametrizations(module)
    del module.parametrizations
    for name, value in values.items():
        module.register_parameter(name, nn.Parameter(value))
