"""The contestants: each a cell with a readout, seen through one fixed scaling, at a number of parameters.

Of all models alike: what is seen is standardised by mean and deviation of the training steps and cut at `MOST_SEEN`
deviations, and what comes out is standardised by the same two. The loss stays in raw units. In two validation traces of
the published set the animal turns over, which none does in training, and uncut those steps choose the epoch. Predicting
the change from the newest sample instead makes every model worse in validation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from liquid_pilot.errors import ConfigError, unknown_name
from policies.cells.baselines import CTRNN, GRU, GRUD, LSTM, MLP, ODERNN, Transformer
from policies.cells.cell import Cell
from policies.cells.cfc import CfC
from policies.cells.ltc import LTC
from policies.cells.matching import parameters
from policies.cells.mixed import MixedMemory
from policies.prediction.windows import Windows

NEURONS: Final = 19
MOST_SEEN: Final = 4.0  # deviations from the mean of the training steps


@dataclass(frozen=True, slots=True)
class Scaling:
    """mean, deviation (width,) of the training steps, where a number that never changes has deviation 1.

    noise (width,): the unit of noise, which is the deviation, and 0 for a number that never changes.
    """

    mean: Tensor
    deviation: Tensor
    noise: Tensor


def scaling(train: Windows) -> Scaling:
    """Of training windows."""
    x = train.x.flatten(0, 1)
    deviation = x.std(dim=0)
    varies = deviation > 1e-6
    zero = torch.zeros_like(deviation)
    return Scaling(x.mean(dim=0), torch.where(varies, deviation, zero + 1.0), torch.where(varies, deviation, zero))


def seen(x: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """What a contestant is shown of samples (..., width)."""
    return ((x - mean) / deviation).clamp(-MOST_SEEN, MOST_SEEN)


class Predictor(nn.Module):
    """Cells one after the other, and a linear readout. doubled: the first cell wants flags of what is there (GRU-D)."""

    mean: Tensor
    deviation: Tensor
    noise: Tensor

    def __init__(self, cells: list[Cell], given: Scaling, doubled: bool = False) -> None:
        super().__init__()
        self.cells, self.doubled = nn.ModuleList(cells), doubled
        self.readout = nn.Linear(cells[-1].outputs, len(given.mean))
        with torch.no_grad():
            self.readout.weight.mul_(0.3)
            self.readout.bias.zero_()
        for name in ("mean", "deviation", "noise"):
            self.register_buffer(name, getattr(given, name).clone())

    def forward(self, x: Tensor, gap: Tensor, kept: Tensor | None = None) -> Tensor:
        """The step that follows each sample. x: (B, T, width), gap: (B, T), kept: (B, T) or None -> (B, T, width)."""
        z = self._seen(x)
        for cell in self.cells:
            assert isinstance(cell, Cell)
            z, _ = cell.sequence(z, gap, cell.initial_state(len(x)), kept)
        return self._said(z)

    def bridge(self, given: Windows) -> Tensor:
        """Predictions (N, T, width) where its own stand in for lost samples, one physical step after the other."""
        cells = [cell for cell in self.cells if isinstance(cell, Cell)]
        states = [cell.initial_state(len(given)) for cell in cells]
        one = torch.ones((len(given), 1))
        predicted, found = given.x[:, 0], []
        for t in range(given.x.shape[1]):
            x = torch.where(given.kept[:, t, None], given.x[:, t], predicted)
            z = self._seen(x)
            for k, cell in enumerate(cells):
                states[k] = cell.advance(z, states[k], one)
                z = cell.read(states[k])
            predicted = self._said(z)
            found.append(predicted)
        return torch.stack(found, dim=1)

    def _seen(self, x: Tensor) -> Tensor:
        z = seen(x, self.mean, self.deviation)
        return torch.cat([z, torch.ones_like(z)], dim=-1) if self.doubled else z

    def _said(self, z: Tensor) -> Tensor:
        found: Tensor = self.mean + self.deviation * self.readout(z)
        return found


Cells = Callable[[int, int, float], list[Cell]]  # width, size, time unit in steps


def _cfc(form: str) -> Cells:
    return lambda width, size, unit: [CfC(width, size, form=form, backbone_units=2 * size, time_unit_s=unit)]


def _ltc(width: int, size: int, unit: float) -> list[Cell]:
    seed = int(torch.randint(2**31, ()))  # it draws its first weights from a seed of its own
    return [LTC(width, size, time_unit_s=unit, seed=seed)]


def _attending(width: int, size: int, unit: float) -> list[Cell]:
    attention = Transformer(width, 2 * max(1, size // 2), 2, layers=1, context=16, time_unit_s=unit)
    return [attention, CfC(attention.outputs, size, form="decay", backbone_units=size, time_unit_s=unit)]


@dataclass(frozen=True, slots=True)
class Kind:
    """cells: of a size; liquid: of the family that the claims are about; timed: whose time unit is a setting."""

    title: str
    cells: Cells
    liquid: bool = False
    timed: bool = True
    doubled: bool = False


KINDS: Final[dict[str, Kind]] = {
    "decay": Kind("CfC decay", _cfc("decay"), liquid=True),
    "default": Kind("CfC default", _cfc("default"), liquid=True),
    "no_gate": Kind("CfC no_gate", _cfc("no_gate"), liquid=True),
    "pure": Kind("CfC pure", _cfc("pure"), liquid=True),
    "ltc": Kind("LTC", _ltc, liquid=True),
    "mixed": Kind(
        "CfC with mixed memory",
        lambda width, size, unit: [MixedMemory(CfC(width, size, backbone_units=size, time_unit_s=unit), "torch")],
        liquid=True,
    ),
    "attention": Kind("attention, then CfC", _attending, liquid=True),
    "lstm": Kind("LSTM", lambda width, size, unit: [LSTM(width, size, time_unit_s=unit)], timed=False),
    "gru": Kind("GRU", lambda width, size, unit: [GRU(width, size, time_unit_s=unit)], timed=False),
    "ctrnn": Kind("CT-RNN", lambda width, size, unit: [CTRNN(width, size, unfolds=3, time_unit_s=unit)]),
    "grud": Kind("GRU-D", lambda width, size, unit: [GRUD(2 * width, size, time_unit_s=unit)], doubled=True),
    "odernn": Kind("ODE-RNN", lambda width, size, unit: [ODERNN(width, size, unfolds=1, time_unit_s=unit)]),
    "transformer": Kind(
        "Transformer, causal", lambda width, size, unit: [Transformer(width, 2 * size, 2, context=32, time_unit_s=unit)]
    ),
    "mlp": Kind("MLP, no memory", lambda width, size, unit: [MLP(width, (size,), time_unit_s=unit)], timed=False),
}


def build(name: str, size: int, given: Scaling, time_unit: float = 1.0, seed: int = 0) -> Predictor:
    """A contestant of a size. Raises `ConfigError` for an unknown name."""
    if name not in KINDS:
        raise ConfigError(unknown_name("model", name, list(KINDS)))
    kind = KINDS[name]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Predictor(kind.cells(len(given.mean), size, time_unit), given, kind.doubled)


def count(name: str, size: int, width: int) -> int:
    """Parameters of a contestant."""
    return parameters(build(name, size, Scaling(torch.zeros(width), torch.ones(width), torch.ones(width))))


def matched_size(name: str, width: int, wanted: int) -> int:
    """The size whose number of parameters is nearest to `wanted`."""
    low, high = 1, 2
    while count(name, high, width) <= wanted:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(name, middle, width) <= wanted else (low, middle)
    return min(low, high, key=lambda size: abs(count(name, size, width) - wanted))


def plain(model: Predictor) -> dict[str, Any]:
    """Its weights as tensors by name."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
