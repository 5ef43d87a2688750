"""An LTC cell of the workshop as what flies onboard: sizes and weights for `liquid_pilot.ltc` and its C."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from liquid_pilot.errors import ConfigError
from liquid_pilot.ltc import LtcSpec
from policies.cells.ltc import LTC


def onboard_ltc(cell: LTC) -> tuple[LtcSpec, dict[str, npt.NDArray[np.float32]]]:
    """Spec and effective weights, for `LtcStep` and `ltc_source`. Raises `ConfigError` for another solver."""
    if cell.solver != "semi_implicit":
        raise ConfigError(f"the cell's solver is {cell.solver!r}; onboard there is 'semi_implicit': train it with that")
    spec = LtcSpec(cell.inputs, cell.units, cell.outputs, cell.unfolds, float(cell.time_unit_s))
    with torch.no_grad():
        weights = {name: value.to(torch.float32).numpy().copy() for name, value in cell.weights().items()}
    return spec, weights
