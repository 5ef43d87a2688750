"""One step of a network as a plain module, for the exporters of torch (torch.export, TorchScript, ONNX)."""

from __future__ import annotations

import copy

from torch import Tensor, nn

from policies.cells.cell import Cell
from policies.parametrized import make_plain
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
        make_plain(module)
    return step.eval().requires_grad_(False)
