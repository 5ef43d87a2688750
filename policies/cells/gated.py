"""LSTM and GRU, with elapsed time as an input: a step as equations, a sequence by the fused operator of torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from policies.cells.cell import Cell, abstract, check_sizes
from policies.cells.forms import Gru
from policies.cells.padding import causal, put_back, to_front
from policies.cells.time_input import TimeInput

# With biases, layers, dropout, training, bidirectional. Without dropout training changes no number, and cuDNN gives
# gradients in training alone.
_ONE_LAYER = (True, 1, 0.0, True, False)


class LSTMGates(nn.Module):
    """c' = sigmoid(f) c + sigmoid(i) tanh(g), h' = sigmoid(o) tanh(c') with [i, f, g, o] = W x + U h + b.

    Hochreiter and Schmidhuber (1997), with the forget gate of Gers et al. (2000), whose bias starts at 1. Rows are in
    the order of `torch.nn.LSTM`, which splits b in two. recurrent: width of h, if it is not that of c.
    """

    def __init__(self, features: int, units: int, recurrent: int | None = None) -> None:
        super().__init__()
        self.input = nn.Linear(features, 4 * units)
        self.recurrent = nn.Linear(units if recurrent is None else recurrent, 4 * units, bias=False)
        nn.init.xavier_uniform_(self.input.weight)
        nn.init.orthogonal_(self.recurrent.weight)
        nn.init.zeros_(self.input.bias)
        nn.init.ones_(self.input.bias[units : 2 * units])

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """x: (B, features), h: (B, recurrent), c: (B, units) -> h' and c', (B, units) each."""
        write, keep, new, show = (self.input(x) + self.recurrent(h)).chunk(4, dim=1)
        c = torch.sigmoid(keep) * c + torch.sigmoid(write) * torch.tanh(new)
        return torch.sigmoid(show) * torch.tanh(c), c


class LSTM(Cell):
    """`LSTMGates` of [x; log(1 + dt_s / time_unit_s)]; with time_input=False elapsed times change nothing.

    State: [h | c], of which h is shown. Raises `ConfigError` for sizes and options that do not fit.
    """

    def __init__(self, inputs: int, units: int, *, time_input: bool = True, time_unit_s: float = 1.0) -> None:
        check_sizes(inputs=inputs, units=units)
        super().__init__(inputs, 2 * units, units)
        self.units, self.time = units, TimeInput(time_input, time_unit_s)
        self.gates = LSTMGates(inputs + self.time.width, units)

    def advance(self, x: Tensor, h: Tensor, dt_s: Tensor) -> Tensor:
        """See `Cell.advance`."""
        return torch.cat(self.gates(self.time(x, dt_s), *h.chunk(2, dim=1)), dim=1)

    def read(self, h: Tensor) -> Tensor:
        """The first half: (..., 2 units) -> (..., units)."""
        return h[..., : self.units]

    def sequence(self, x: Tensor, dt_s: Tensor, h: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See `Cell.sequence`. Padded rows are packed, because the operator gives c after the last event alone."""
        if abstract():
            return super().sequence(x, dt_s, h, mask)
        weight, bias = self.gates.input.weight, self.gates.input.bias
        weights = [weight, self.gates.recurrent.weight, bias, torch.zeros_like(bias)]
        parts = [part.contiguous() for part in h.chunk(2, dim=1)]
        if mask is None:
            start = [part[None] for part in parts]
            shown, *last = torch.lstm(self.time(x, dt_s[:, :, None]), start, weights, *_ONE_LAYER, True)
            return shown, torch.cat(last, dim=2)[0]
        packed = self._packed(x, dt_s, mask)
        order, back = packed.sorted_indices, packed.unsorted_indices
        assert order is not None and back is not None  # lengths are never taken as sorted
        start = [part[None, order] for part in parts]
        shown, *last = torch.lstm(packed.data, packed.batch_sizes, start, weights, *_ONE_LAYER)
        laid, _ = pad_packed_sequence(
            PackedSequence(shown, packed.batch_sizes, order, back), batch_first=True, total_length=x.shape[1]
        )
        following = torch.where(mask.any(dim=1)[:, None], torch.cat(last, dim=2)[0, back], h)
        return put_back(laid, mask, self.read(h)), following

    def architecture(self) -> dict[str, object]:
        """See `Cell.architecture`."""
        return super().architecture() | self.time.architecture()

    def _packed(self, x: Tensor, dt_s: Tensor, mask: Tensor) -> PackedSequence:
        """Features of the events of every row; of the first step where there is none, as no row may be empty."""
        features = self.time(to_front(x, mask), to_front(dt_s[:, :, None], mask))
        lengths = mask.sum(dim=1).clamp(min=1).cpu()
        return pack_padded_sequence(features, lengths, batch_first=True, enforce_sorted=False)


class GRU(Cell):
    """Gated recurrent unit (Cho et al. 2014) in the form of `torch.nn.GRU`, of [x; log(1 + dt_s / time_unit_s)].

    With time_input=False elapsed times change nothing. State: h. Raises `ConfigError` for sizes and options that do
    not fit.
    """

    def __init__(self, inputs: int, units: int, *, time_input: bool = True, time_unit_s: float = 1.0) -> None:
        check_sizes(inputs=inputs, units=units)
        super().__init__(inputs, units)
        self.units, self.time = units, TimeInput(time_input, time_unit_s)
        self.gates = Gru(inputs + self.time.width, units)

    def advance(self, x: Tensor, h: Tensor, dt_s: Tensor) -> Tensor:
        """See `Cell.advance`."""
        following: Tensor = self.gates(self.time(x, dt_s), h, dt_s)
        return following

    def sequence(self, x: Tensor, dt_s: Tensor, h: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See `Cell.sequence`."""
        if abstract():
            return super().sequence(x, dt_s, h, mask)
        states = causal(self._fused, x, dt_s[:, :, None], h, mask)
        return states, states[:, -1]

    def architecture(self) -> dict[str, object]:
        """See `Cell.architecture`."""
        return super().architecture() | self.time.architecture()

    def _fused(self, x: Tensor, dt_s: Tensor, h: Tensor) -> Tensor:
        """States after every event. x: (B, T, inputs), dt_s: (B, T, 1), h: (B, units)."""
        gates = self.gates
        of_x, of_h = (gates.reset_x, gates.update_x, gates.new_x), (gates.reset_h, gates.update_h, gates.new_h)
        matrices = [torch.cat([linear.weight for linear in maps]) for maps in (of_x, of_h)]
        biases = [torch.cat([linear.bias for linear in maps]) for maps in (of_x, of_h)]
        states, _ = torch.gru(self.time(x, dt_s), h[None].contiguous(), [*matrices, *biases], *_ONE_LAYER, True)
        return states
