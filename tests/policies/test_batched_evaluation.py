"""Laws of scoring in the batched engines: no flight is left out, none disturbs another, progress is told."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from envs.airframe import load_airframe
from envs.conditions import Conditions
from envs.ledger import LEDGER, flight_scores, new_ledger
from envs.scoring import CEILING_M, FlightScore
from liquid_pilot import native
from liquid_pilot.errors import SimulationError
from policies.analytic import AnalyticTrainer, TrainConfig
from policies.batched_evaluation import evaluate_network
from policies.compiled_trainer import flight_rollout, fly_and_score
from policies.fragments import flatten_weights
from policies.network import PolicyNetwork, hover_spec

AIRFRAME = load_airframe("cf2x")
SHORT = Conditions(imu_hz=(50.0, 50.0), hold_s=0.1)
FLIGHTS, DURATION_S, SUBSTEP_S = 20, 0.5, 0.01

needs_compiler = pytest.mark.skipif(not native.available(), reason="needs a C compiler")
both_engines = pytest.mark.parametrize("engine", ["torch", pytest.param("compiled", marks=needs_compiler)])


def score(engine: str, network: PolicyNetwork, told: Callable[[int], None] = lambda done: None) -> list[FlightScore]:
    if engine == "torch":
        given = (network, AIRFRAME, SHORT, FLIGHTS, 0, DURATION_S)
        return evaluate_network(*given, substep_s=SUBSTEP_S, on_progress=told)
    rollout = flight_rollout(AIRFRAME, network.spec, substep_s=SUBSTEP_S)
    weights = flatten_weights(network.spec, network.weights())
    return fly_and_score(rollout, weights, SHORT, FLIGHTS, 0, DURATION_S, told)


def overflowing() -> PolicyNetwork:
    """A time gate a dt + b of two heads that leave float32 on either side: infinity less infinity."""
    network = PolicyNetwork(hover_spec("default"), 0)
    change = {
        "backbone.0.weight": 0.0,
        "backbone.0.bias": 10.0,
        "cell.time_a.weight": 3e38,
        "cell.time_b.weight": -3e38,
    }
    with torch.no_grad():
        for name, value in change.items():
            network.get_parameter(name).fill_(value)
    return network


class Spoilt(PolicyNetwork):
    """Starts with a state that is no number in lane 3."""

    def initial_state(self, batch: int) -> Tensor:
        state = super().initial_state(batch)
        state[3] = torch.nan
        return state


@both_engines
def test_weights_that_overflow_fail_every_flight(engine: str) -> None:
    assert score(engine, overflowing()) == [FlightScore(False, "not finite", np.inf, np.inf)] * FLIGHTS


@both_engines
def test_weights_that_overflow_still_stop_a_training(engine: str) -> None:
    trainer = AnalyticTrainer(TrainConfig(cell="default", batch=4), engine)
    trainer.network.load_state_dict(overflowing().state_dict())
    with pytest.raises(SimulationError, match="not finite"):
        trainer.update(0.5)


def test_a_lane_that_is_lost_does_not_change_the_others() -> None:
    whole, spoilt = (score("torch", kind(hover_spec("decay"), 1)) for kind in (PolicyNetwork, Spoilt))
    assert spoilt.pop(3).reason == "not finite" and whole.pop(3).reason != "not finite"
    assert spoilt == whole and any(flight.success for flight in whole)


@both_engines
def test_progress_rises_and_ends_with_every_flight(engine: str) -> None:
    told: list[int] = []
    score(engine, PolicyNetwork(hover_spec("mlp"), 0), told.append)
    assert told == sorted(set(told)) and told[-1] == FLIGHTS
    assert engine == "compiled" or len(told) > FLIGHTS / 2  # one step of 20 ms in 600 at a time


def test_a_ledger_is_scored_by_the_worst_that_happened() -> None:
    ledger = new_ledger(6)
    row = {name: ledger[number] for number, name in enumerate(LEDGER)}
    row["lowest_m"][:], row["highest_m"][:], row["weight"][:] = 1.0, 2.0, 4.0
    row["speed_error"][:], row["height_error"][:] = 2.0, 1.0
    row["tilted"][1:] = 1.0
    row["highest_m"][2:4] = CEILING_M + 1.0
    row["lowest_m"][3:5] = 0.0
    row["not_finite"][5] = 1.0
    first, *others = flight_scores(ledger)
    assert first == FlightScore(True, "", 0.5, 0.25)
    assert [flight.reason for flight in others] == ["tilt", "ceiling", "ground", "ground", "not finite"]
    assert all(flight.speed_error_m_s == flight.height_error_m == np.inf for flight in others)
