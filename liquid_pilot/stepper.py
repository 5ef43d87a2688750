"""What steps a policy: numpy (`cells.Network`), compiled C (`native_step`), or small numbers (`export.quantise`)."""

from __future__ import annotations

from typing import Protocol

from liquid_pilot.cell_spec import CellSpec
from liquid_pilot.forms import F32


class Stepper(Protocol):
    """One network, stepped event by event; see `cells.Network` for shapes, units and errors of each method."""

    @property
    def spec(self) -> CellSpec:
        """Form and sizes."""
        ...

    @property
    def core(self) -> str:
        """What computes: "numpy", "c" or "own"."""
        ...

    def initial_state(self) -> F32:
        """State at the start of a flight, (state_width,)."""
        ...

    def step(self, x: F32, h: F32, dt_s: float) -> tuple[F32, F32]:
        """One event: x (inputs,), h (state_width,), seconds since the previous one -> action (outputs,), h'."""
        ...

    def time_constants(self, x: F32, h: F32) -> F32:
        """Time constant of each neuron in seconds, (units,) or (0,)."""
        ...
