"""A flow grid as few texts of a log's row, bit by bit: angles as decimals, flows as base64 of little-endian floats."""

from __future__ import annotations

import base64
from typing import Final

import numpy as np

from liquid_pilot.errors import MessageError
from liquid_pilot.messages import FlowGrid

_WIDTHS: Final = {"f4": "<f4", "f8": "<f8"}  # a sensor of single precision takes half the room


def to_cells(grid: FlowGrid) -> tuple[float, str, str, str]:
    """(dt_s, azimuths, elevations, flows row by row)."""
    flow = grid.flow_rad_s
    with np.errstate(over="ignore"):
        single = flow.astype(np.float32)
    width = "f4" if np.array_equal(single, flow, equal_nan=True) else "f8"
    text = base64.b64encode(flow.astype(_WIDTHS[width]).tobytes()).decode("ascii")
    azimuths, elevations = (" ".join(map(repr, angles)) for angles in (grid.azimuth_rad, grid.elevation_rad))
    return grid.dt_s, azimuths, elevations, f"{width}:{text}"


def from_cells(t_s: float, dt_s: float, azimuths: str, elevations: str, flows: str) -> FlowGrid:
    """Inverse of `to_cells`. Raises `MessageError`."""
    width, _, text = flows.partition(":")
    try:
        columns, rows = (tuple(map(float, angles.split())) for angles in (azimuths, elevations))
        values = np.frombuffer(base64.b64decode(text, validate=True), _WIDTHS[width])
        flow = values.astype(np.float64).reshape(len(rows), len(columns), 2)
    except (KeyError, ValueError) as error:
        raise MessageError(f"the flows of a grid, {flows[:20]!r}..., do not fit its angles ({error})") from error
    return FlowGrid(t_s, dt_s, columns, rows, flow)
