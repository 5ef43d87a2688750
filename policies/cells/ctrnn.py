"""CT-RNN: leaky neurons with a time constant each, which neither inputs nor state change."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from liquid_pilot.errors import ConfigError
from policies.cells.cell import Cell, check_positive, check_sizes
from policies.cells.elapsed import time_units
from policies.cells.positive import POSITIVE_FLOOR, positive, raw_of


class CTRNN(Cell):
    """dv/dt = -v / tau + tanh(W x + U v + b) (Funahashi and Nakamura 1993), in time units.

    An event takes `unfolds` steps that are implicit in the leak alone: the identity at dt = 0, and never further from 0
    than the larger of |v| and tau, for any dt. tau: the first time constant of all neurons, in time units; it is
    trained and stays positive. State: v. Raises `ConfigError` for sizes and options that do not fit.
    """

    def __init__(
        self, inputs: int, units: int, *, unfolds: int = 6, tau: float = 1.0, time_unit_s: float = 1.0
    ) -> None:
        check_sizes(units=units, unfolds=unfolds)
        check_positive(tau=tau, time_unit_s=time_unit_s)
        if tau <= POSITIVE_FLOOR:
            raise ConfigError(f"tau is {tau!r}; give more than {POSITIVE_FLOOR:g} time units")
        super().__init__(inputs, units)
        self.units, self.unfolds, self.time_unit_s = units, unfolds, time_unit_s
        self.input, self.recurrent = nn.Linear(inputs, units), nn.Linear(units, units, bias=False)
        self.raw_tau = nn.Parameter(raw_of(torch.full((units,), float(tau))))

    def time_constants(self) -> Tensor:
        """In time units, (units,), positive."""
        return positive(self.raw_tau)

    def advance(self, x: Tensor, h: Tensor, dt_s: Tensor) -> Tensor:
        """See `Cell.advance`."""
        drive, tau = self.input(x), self.time_constants()
        delta = time_units(dt_s, self.time_unit_s) / self.unfolds
        for _ in range(self.unfolds):
            slope = torch.tanh(drive + self.recurrent(h)) - h / tau
            h = h + delta * slope / (1.0 + delta / tau)
        return h

    def architecture(self) -> dict[str, object]:
        """See `Cell.architecture`."""
        return super().architecture() | {"unfolds": self.unfolds, "time_unit_s": self.time_unit_s}
