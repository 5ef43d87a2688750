"""Every cell there is, each small, for the laws that all of them keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pytest
import torch
from torch import Tensor

from policies import LTC, AutoNCP, CfC
from policies.cells.baselines import CTRNN, GRU, GRUD, LSTM, MLP, ODERNN, Transformer
from policies.cells.cell import Cell
from policies.cells.layer import FORMS
from policies.cells.mixed import MixedMemory

FEATURES: Final = 4
UNITS: Final = 6
UNIT_S: Final = 0.5
WIRING: Final = AutoNCP(FEATURES, 10, 2)


def plain(features: Tensor) -> Tensor:
    return features


def half_observed(features: Tensor) -> Tensor:
    """[values | observed] for GRU-D."""
    return torch.cat([features, (features.detach() > -0.4).to(features.dtype)], dim=-1)


@dataclass(frozen=True)
class Case:
    make: Callable[[], Cell]
    encode: Callable[[Tensor], Tensor] = plain


def dense(form: str) -> Case:
    return Case(lambda: CfC(FEATURES, UNITS, form=form, backbone_units=7, time_unit_s=UNIT_S))


CASES: Final[dict[str, Case]] = {
    **{f"CfC {form}": dense(form) for form in FORMS},
    "CfC wired": Case(lambda: CfC(FEATURES, wiring=WIRING, time_unit_s=UNIT_S)),
    "CfC slow": Case(lambda: CfC(FEATURES, wiring=WIRING.multi_rate(trigger=0), time_unit_s=UNIT_S)),
    "LTC": Case(lambda: LTC(FEATURES, UNITS, time_unit_s=UNIT_S)),
    "LTC wired": Case(lambda: LTC(FEATURES, wiring=WIRING, time_unit_s=UNIT_S)),
    "mixed torch": Case(lambda: MixedMemory(CfC(FEATURES, UNITS, backbone_units=7), "torch")),
    "mixed tensorflow": Case(lambda: MixedMemory(CfC(UNITS, UNITS, backbone_units=7), "tensorflow", FEATURES)),
    "LSTM": Case(lambda: LSTM(FEATURES, UNITS, time_unit_s=UNIT_S)),
    "GRU": Case(lambda: GRU(FEATURES, UNITS, time_unit_s=UNIT_S)),
    "CT-RNN": Case(lambda: CTRNN(FEATURES, UNITS, time_unit_s=UNIT_S)),
    "GRU-D": Case(lambda: GRUD(2 * FEATURES, UNITS, time_unit_s=UNIT_S), half_observed),
    "ODE-RNN": Case(lambda: ODERNN(FEATURES, UNITS, hidden=5, time_unit_s=UNIT_S)),
    "Transformer": Case(lambda: Transformer(FEATURES, width=6, heads=2, layers=2, context=5, time_unit_s=UNIT_S)),
    "MLP": Case(lambda: MLP(FEATURES, (7, 5), outputs=3, time_unit_s=UNIT_S)),
}
every_cell = pytest.mark.parametrize("name", CASES)


def make(name: str, seed: int = 0, dtype: torch.dtype = torch.float64) -> Cell:
    """The cell with no weight at a special value, such as the corner of |w|, where gradients cannot be compared."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        cell = CASES[name].make().to(dtype)
        for parameter in cell.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        return cell


def events(name: str, batch: int, steps: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """x (B, T, inputs), dt_s (B, T)."""
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(batch, steps, FEATURES, generator=generator, dtype=torch.float64)
    return CASES[name].encode(features), 0.01 + 0.3 * torch.rand(batch, steps, generator=generator, dtype=torch.float64)


def reached(cell: Cell, name: str, batch: int, steps: int = 7) -> Tensor:
    """A state that the cell comes to, (B, state_width)."""
    with torch.no_grad():
        return cell.sequence(*events(name, batch, steps, seed=2), cell.initial_state(batch))[1]
