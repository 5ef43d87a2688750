"""Mixed memory: an LSTM that keeps what a liquid cell forgets, in the two orders that were published."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from liquid_pilot.errors import ConfigError, unknown_name
from policies.cells.cell import Cell, check_sizes
from policies.cells.gated import LSTMGates

ORDERS: Final = ("torch", "tensorflow")


class MixedMemory(Cell):
    """A cell with the memory c of an LSTM (`LSTMGates`), whose gates read x and the neurons of the cell.

    order "torch", of the reference torch code: the LSTM updates the neurons, then the cell sees x and steps from them.
    With it the mixed-memory CfC (CfC-mmRNN) of Hasani et al. (2022) was run on PhysioNet and on person activity.
    order "tensorflow", of the reference TensorFlow code, with which it was run on XOR, event-based sMNIST, IMDB and
    Walker2d: the cell sees what the LSTM shows in place of x, and steps from its own neurons. c is then as wide as the
    cell's input, and inputs is that of the whole, for x; None: the same. The published sizes are
    MixedMemory(CfC(units, units), "tensorflow", inputs). The two have other numbers and weights.
    State: [neurons | c]. Raises `ConfigError` for an unknown order and for a cell whose state is not neurons alone.
    """

    def __init__(self, cell: Cell, order: str = "torch", inputs: int | None = None) -> None:
        if order not in ORDERS:
            raise ConfigError(unknown_name("order of mixed memory", order, list(ORDERS)))
        if not isinstance(cell, Cell) or getattr(cell, "units", None) != cell.state_width:
            raise ConfigError(
                f"mixed memory of a {type(cell).__name__}, whose state is not neurons alone; give a CfC without slow "
                "layers, an LTC, or another Cell with units and no other state"
            )
        inputs = cell.inputs if inputs is None else inputs
        check_sizes(inputs=inputs)
        if order == "torch" and inputs != cell.inputs:
            raise ConfigError(
                f"inputs is {inputs} and that of the cell {cell.inputs}; in the order 'torch' both see x: leave it out"
            )
        neurons, memory = cell.state_width, cell.state_width if order == "torch" else cell.inputs
        super().__init__(inputs, neurons + memory, cell.outputs)
        self.order, self.neurons, self.cell = order, neurons, cell
        self.gates = LSTMGates(inputs, memory, neurons)

    def initial_state(self, batch: int) -> Tensor:
        """That of the cell, and a memory of zeros: (B, state_width)."""
        neurons = self.cell.initial_state(batch)
        return torch.cat([neurons, neurons.new_zeros(batch, self.state_width - self.neurons)], dim=1)

    def advance(self, x: Tensor, h: Tensor, dt_s: Tensor) -> Tensor:
        """See `Cell.advance`."""
        neurons, c = h[:, : self.neurons], h[:, self.neurons :]
        shown, c = self.gates(x, neurons, c)
        x, neurons = (x, shown) if self.order == "torch" else (shown, neurons)
        return torch.cat([self.cell.advance(x, neurons, dt_s), c], dim=1)

    def read(self, h: Tensor) -> Tensor:
        """What the cell shows of its neurons: (..., state_width) -> (..., outputs)."""
        return self.cell.read(h[..., : self.neurons])

    def architecture(self) -> dict[str, object]:
        """See `Cell.architecture`."""
        return super().architecture() | {"order": self.order, "of": self.cell.architecture()}
