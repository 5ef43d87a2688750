"""Does a cell follow the signal or the rate at which it is sampled? One signal at 25 to 800 Hz."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import torch

from policies import CfC
from policies.cells.cell import Cell
from policies.cells.gated import GRU
from scripts.console import OUT
from scripts.tables import rich_table

RATES_HZ: Final = (25, 50, 100, 200, 400)
REFERENCE_HZ: Final = 800
TONES_HZ: Final = (0.5, 0.7, 1.0, 1.5, 2.0)  # one input each
TIME_UNIT_S: Final = 0.015
UNITS: Final = 19
CELLS: Final[dict[str, Callable[[], Cell]]] = {
    "CfC decay": lambda: CfC(len(TONES_HZ), UNITS, form="decay", time_unit_s=TIME_UNIT_S),
    "CfC default (published)": lambda: CfC(len(TONES_HZ), UNITS, form="default", time_unit_s=TIME_UNIT_S),
    "CfC no_gate (published)": lambda: CfC(len(TONES_HZ), UNITS, form="no_gate", time_unit_s=TIME_UNIT_S),
    "GRU, told the elapsed time": lambda: GRU(len(TONES_HZ), UNITS, time_unit_s=TIME_UNIT_S),
}


def rate_spread(make: Callable[[], Cell], seed: int, gain: float) -> npt.NDArray[np.float64]:
    """Largest difference of a neuron from its state at 800 Hz, within a second, for each of `RATES_HZ`.

    gain: of the first weights; training makes them grow, until the state acts on itself.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        cell = make().double()
    with torch.no_grad():
        for name, weight in cell.named_parameters():
            if name.endswith("weight"):
                weight.mul_(gain)
        states = {hz: _states(cell, hz) for hz in (*RATES_HZ, REFERENCE_HZ)}
    return np.array([float((states[hz] - states[REFERENCE_HZ]).abs().max()) for hz in RATES_HZ])


def _states(cell: Cell, rate_hz: int) -> torch.Tensor:
    """Outputs at every 25th of a second, of a signal sampled at `rate_hz`."""
    time_s = torch.arange(rate_hz + 1, dtype=torch.float64) / rate_hz
    x = torch.stack([torch.sin(2 * math.pi * hz * time_s + hz) for hz in TONES_HZ], dim=-1)
    dt_s = torch.full_like(time_s, 1 / rate_hz)
    dt_s[0] = 0.0
    y, _ = cell.sequence(x[None], dt_s[None], cell.initial_state(1))
    return y[0, :: rate_hz // 25]


def present_consistency(seeds: int = 8) -> None:
    """Print the spread of each cell: mean and standard deviation over seeds, untrained, at two sizes of weights."""
    rows = []
    for name, make in CELLS.items():
        for gain in (1.0, 2.0):
            spread = np.stack([rate_spread(make, seed, gain) for seed in range(seeds)])
            figures = (
                f"{m:.3f}\n±{s:.3f}" for m, s in zip(spread.mean(axis=0), spread.std(axis=0, ddof=1), strict=True)
            )
            rows.append((name, f"{gain:g}", *figures))
    header = ("what", "weights\nx", *(f"{hz} Hz" for hz in RATES_HZ))
    title = f"largest difference of a state (in -1 to 1) from that at {REFERENCE_HZ} Hz, one signal, {seeds} seeds"
    OUT.print(rich_table(title, header, rows))
