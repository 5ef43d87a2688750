"""The encoder of a flow grid: two dense layers, run once a grid, whose few features the cell sees until the next one.

features = tanh(W1 elu(W0 [grid; speed] + b0) + b1), elu(u) = u above 0, exp(u) - 1 below (Clevert et al., 2016).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from liquid_pilot.errors import ConfigError, MessageError
from liquid_pilot.flow_grid import SPEED_SCALE_M_S, GridLayout

F32 = npt.NDArray[np.float32]

HIDDEN: Final = 64
FEATURES: Final = 24


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """Rays and sizes. Raises `ConfigError`."""

    grid: GridLayout
    hidden: int = HIDDEN
    features: int = FEATURES

    def __post_init__(self) -> None:
        for name in ("hidden", "features"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= 256:
                raise ConfigError(f"EncoderSpec.{name} is {value!r}; give a whole number from 1 to 256")

    @property
    def inputs(self) -> int:
        """The grid as `GridReader` reads it, and the commanded speed."""
        return self.grid.numbers + 1

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every weight; matrices are (out, in)."""
        return {
            "encoder.0.weight": (self.hidden, self.inputs),
            "encoder.0.bias": (self.hidden,),
            "encoder.1.weight": (self.features, self.hidden),
            "encoder.1.bias": (self.features,),
        }

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(int(np.prod(shape)) for shape in self.shapes.values())


class Encoder:
    """An encoder in numpy. weights: as `liquid_pilot.cell_spec.check_weights` lets them pass."""

    def __init__(self, spec: EncoderSpec, weights: Mapping[str, F32]) -> None:
        self.spec = spec
        self._first, self._second = (
            np.concatenate([weights[f"encoder.{k}.weight"], weights[f"encoder.{k}.bias"][:, None]], axis=1)
            for k in range(2)
        )

    def features(self, grid: F32, speed_m_s: float) -> F32:
        """grid: (numbers,) as `GridReader` reads it -> (features,), each within -1 and 1. Raises `MessageError`."""
        if grid.shape != (self.spec.grid.numbers,):
            raise MessageError(f"grid has shape {grid.shape}; give {(self.spec.grid.numbers,)}")
        inputs = np.concatenate([grid, (np.float32(speed_m_s / SPEED_SCALE_M_S), np.float32(1.0))])
        hidden = np.dot(self._first, inputs)
        hidden = np.where(hidden > 0.0, hidden, np.expm1(np.minimum(hidden, 0.0)))
        features: F32 = np.tanh(np.dot(self._second, np.append(hidden, np.float32(1.0)))).astype(np.float32)
        return features
