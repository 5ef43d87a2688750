"""The compiled engine of CfC layers: the C text that the simulated drones learn with, over rows of a batch."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from liquid_pilot.cells import CellSpec
from policies.cells.elapsed import time_units
from policies.fragments import network_text
from policies.sequence.kernel import Kernel, build_kernel, run

if TYPE_CHECKING:
    from policies.cells.layer import CfCLayer


@lru_cache(maxsize=64)
def cfc_kernel(spec: CellSpec, dtype: torch.dtype, lane_bytes: int | None = None) -> Kernel:
    """The kernel of a CfC layer; of its `spec` form, sizes and time unit count. See `build_kernel`."""
    return build_kernel(network_text(spec, outputs=0), dtype, lane_bytes)


def compiled(layer: CfCLayer, x: Tensor, dt_s: Tensor, h: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """As `loop`, on the CPU in float32 or float64. Raises `NativeUnavailable` without a C compiler."""
    # elapsed time is divided here, so that layers which differ in their time unit alone share one kernel
    kernel = cfc_kernel(replace(layer.spec, outputs=1, time_unit_s=1.0), x.dtype)
    weights = torch.cat([weight.reshape(-1) for weight in layer.weights()])
    return run(kernel, weights, x, time_units(dt_s, layer.time_unit_s), h, None if mask is None else mask.to(x.dtype))
