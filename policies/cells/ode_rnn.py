"""ODE-RNN: between events the state follows a trained differential equation, at an event a GRU updates it."""

from __future__ import annotations

from torch import Tensor, nn

from policies.cells.cell import Cell, check_positive, check_sizes
from policies.cells.elapsed import time_units
from policies.cells.forms import Gru
from policies.cells.runge_kutta import runge_kutta


class ODERNN(Cell):
    """dh/dt = V tanh(W h + b) + c for the time that has passed, then h' = GRU(x, h) (Rubanova et al. 2019).

    The equation, in time units, has `hidden` neurons inside (None: as many as units) and is solved by `unfolds` steps
    of the classic Runge-Kutta method. State: h. Raises `ConfigError` for sizes and options that do not fit.
    """

    def __init__(
        self, inputs: int, units: int, hidden: int | None = None, *, unfolds: int = 4, time_unit_s: float = 1.0
    ) -> None:
        hidden = units if hidden is None else hidden
        check_sizes(inputs=inputs, units=units, hidden=hidden, unfolds=unfolds)
        check_positive(time_unit_s=time_unit_s)
        super().__init__(inputs, units)
        self.units, self.hidden, self.unfolds, self.time_unit_s = units, hidden, unfolds, time_unit_s
        self.slope = nn.Sequential(nn.Linear(units, hidden), nn.Tanh(), nn.Linear(hidden, units))
        self.gates = Gru(inputs, units)

    def drift(self, h: Tensor, dt_s: Tensor) -> Tensor:
        """The state when dt_s (B, 1) have passed since h (B, units), without an event."""
        return runge_kutta(self.slope, h, time_units(dt_s, self.time_unit_s), self.unfolds)

    def advance(self, x: Tensor, h: Tensor, dt_s: Tensor) -> Tensor:
        """See `Cell.advance`."""
        following: Tensor = self.gates(x, self.drift(h, dt_s), dt_s)
        return following

    def architecture(self) -> dict[str, object]:
        """See `Cell.architecture`."""
        own = {"hidden": self.hidden, "unfolds": self.unfolds, "time_unit_s": self.time_unit_s}
        return super().architecture() | own
