"""Elapsed time as one more feature, for cells whose equations know no time."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from liquid_pilot.errors import ConfigError
from policies.cells.cell import check_positive
from policies.cells.elapsed import time_units


@dataclass(frozen=True, slots=True)
class TimeInput:
    """Appends log(1 + dt_s / unit_s) to the features where it is used. Raises `ConfigError`."""

    used: bool
    unit_s: float

    def __post_init__(self) -> None:
        if type(self.used) is not bool:
            raise ConfigError(f"time_input is {self.used!r}; give True or False")
        check_positive(time_unit_s=self.unit_s)

    @property
    def width(self) -> int:
        """Number of features that are appended."""
        return int(self.used)

    def __call__(self, x: Tensor, dt_s: Tensor) -> Tensor:
        """x: (..., inputs), dt_s: (..., 1) -> (..., inputs + width)."""
        if not self.used:
            return x
        return torch.cat([x, torch.log1p(time_units(dt_s, self.unit_s))], dim=-1)

    def architecture(self) -> dict[str, object]:
        """Plain data, for `Cell.architecture`."""
        return {"time_unit_s": self.unit_s if self.used else None}
