"""Who competes in the shift table: models of equal parameters, and the decay cell with parts of it left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

import torch

from liquid_pilot.observation import OBS_SLICES
from policies.analytic import AnalyticTrainer
from policies.cells.forms import FASTEST_TAU_S, SLOWEST_TAU_S, Decay
from policies.cells.positive import inverse_softplus
from scripts.benchmarks.contest import LSTM, MODELS, Model, Variant

FLOW_IS_NEW: Final = OBS_SLICES["fresh"].start + 1  # accelerometer, flow, range
SAME: Final = "as the others"


@dataclass(frozen=True, slots=True)
class Arm:
    """A model and how it is trained. training: a key of `contest.TRAININGS`, or `SAME` for that of the table.

    against: in the ablation, the name of the arm from which it differs in one part; part: that part, which this arm
    has or, with `without`, has not.
    """

    model: Model
    training: str = SAME
    against: str = ""
    part: str = ""
    without: bool = False


def one_time_constant(trainer: AnalyticTrainer) -> None:
    """All neurons of a dense decay cell begin with the geometric mean of the usual time constants."""
    mean_s = (FASTEST_TAU_S * SLOWEST_TAU_S) ** 0.5
    for network in (trainer.network, trainer.averaged, trainer.best):
        with torch.no_grad():
            rate = inverse_softplus(torch.tensor(network.spec.time_unit_s / mean_s))
            cast(Decay, network.cell).rate.bias.fill_(rate)


DECAY, CFC, GRU, MLP = MODELS
RACE: Final = tuple(Arm(model) for model in (DECAY, LSTM, GRU, CFC, MLP))
_SUDDEN: Final = Model("decay, no curriculum", "decay", True)
_ONE_TAU: Final = Model("decay, one time constant", "decay", True, variant=Variant("one-tau", one_time_constant))
WIRED: Final = Model("wired 9-6-4", "decay", True, "9-6-4")
TWO_RATES: Final = Model(
    "wired, fast and slow", "decay", True, "9-6-4", Variant("two-rates", trigger=FLOW_IS_NEW)
)  # command neurons advance when flow arrives, the others at every IMU sample
ABLATION: Final = (
    Arm(_SUDDEN, "sudden", DECAY.name, "the curriculum", without=True),
    Arm(WIRED),
    Arm(TWO_RATES, against=WIRED.name, part="fast and slow layers"),
    Arm(_ONE_TAU, against=DECAY.name, part="time constants from fast to slow", without=True),
)
