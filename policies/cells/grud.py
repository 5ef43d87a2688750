"""GRU-D: a GRU that knows which features are missing, and forgets with the time since each was observed."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from liquid_pilot.errors import ConfigError
from policies.cells.cell import Cell, check_positive, check_sizes, check_step, refuse
from policies.cells.elapsed import count_on, time_units
from policies.cells.forms import Gru


class GRUD(Cell):
    """A GRU with trained decays, exp(-relu(w age + b)), of inputs and state (Che et al. 2018).

    inputs: twice the number of features. The first half of x holds their values, the second half 1 where a value was
    observed and 0 where it is missing and shall not be looked at. A missing value is the last observed one, decayed to
    a trained mean; the state decays by the ages of all features. The GRU of [values; observed] is that of `torch.nn`.
    State: [h | last values, as differences from the mean | seconds since each was observed], of which h is shown.
    Raises `ConfigError` for sizes that do not fit, `MessageError` for an observed that is neither 0 nor 1.
    """

    def __init__(self, inputs: int, units: int, *, time_unit_s: float = 1.0) -> None:
        check_sizes(inputs=inputs, units=units)
        check_positive(time_unit_s=time_unit_s)
        if inputs % 2:
            raise ConfigError(f"inputs is {inputs}; give an even number: values, and as many observed flags")
        super().__init__(inputs, units + inputs, units)
        self.units, self.features, self.time_unit_s = units, inputs // 2, time_unit_s
        self.mean = nn.Parameter(torch.zeros(self.features))
        self.value_rate = nn.Parameter(torch.ones(self.features))
        self.value_bias = nn.Parameter(torch.zeros(self.features))
        self.state_rate = nn.Linear(self.features, units)
        self.gates = Gru(inputs, units)
        with torch.no_grad():  # below 0 relu leaves neither a decay nor a gradient that could bring one
            self.state_rate.weight.abs_()
            self.state_rate.bias.zero_()

    def step(self, x: Tensor, h: Tensor, dt_s: Tensor) -> Tensor:
        """See `Cell.step`."""
        dt_s = check_step(self, x, h, dt_s)
        self._check_observed(x)
        return self.advance(x, h, dt_s)

    def advance(self, x: Tensor, h: Tensor, dt_s: Tensor) -> Tensor:
        """See `Cell.advance`."""
        state, last, age_s = h.split((self.units, self.features, self.features), dim=1)
        observed = x[:, self.features :] > 0.5
        age_s = count_on(age_s, dt_s, self.time_unit_s)
        age = time_units(age_s, self.time_unit_s)
        last = torch.where(observed, x[:, : self.features] - self.mean, last)
        kept = torch.exp(-functional.relu(self.value_rate * age + self.value_bias))
        values = self.mean + torch.where(observed, last, kept * last)
        state = state * torch.exp(-functional.relu(self.state_rate(age)))
        state = self.gates(torch.cat([values, observed.to(x.dtype)], dim=1), state, dt_s)
        return torch.cat([state, last, torch.where(observed, 0.0, age_s)], dim=1)

    def read(self, h: Tensor) -> Tensor:
        """The neurons: (..., state_width) -> (..., units)."""
        return h[..., : self.units]

    def sequence(self, x: Tensor, dt_s: Tensor, h: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """See `Cell.sequence`."""
        self._check_observed(x if mask is None else torch.where(mask[:, :, None], x, 0.0))
        return super().sequence(x, dt_s, h, mask)

    def architecture(self) -> dict[str, object]:
        """See `Cell.architecture`."""
        return super().architecture() | {"time_unit_s": self.time_unit_s}

    def _check_observed(self, x: Tensor) -> None:
        flags = x[..., self.features :]
        refuse(flags, (flags != 0) & (flags != 1), "observed", "give 1 for a value that was observed, else 0")
