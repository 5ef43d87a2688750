"""Laws of the shipped `avoid`: it crosses unseen forests, at rates that nobody trained, and is blind without grids."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from envs.airframe import load_airframe
from envs.avoid import crossing_s, sighted
from envs.compiled.engine import CompiledRollout
from envs.conditions import Conditions
from envs.scoring import summarise
from liquid_pilot import native
from liquid_pilot.bundle import load_bundle, shipped
from policies.compiled_trainer import flight_rollout, fly_and_score
from policies.drills import avoid_drill
from policies.fragments import flatten_weights

pytestmark = pytest.mark.skipif(not native.available(), reason="needs a C compiler")
FLIGHTS = 200


@pytest.fixture(scope="module")
def rollout() -> CompiledRollout:
    bundle = load_bundle("avoid")
    return flight_rollout(load_airframe("cf2x"), bundle.spec, bundle.limits, aim=avoid_drill().aim(1.0))


def crossed(rollout: CompiledRollout, speed_m_s: float, walled: bool = False, **changes: Any) -> dict[str, Any]:
    bundle = load_bundle("avoid")
    weights = flatten_weights(bundle.spec, bundle.weights)
    conditions = replace(sighted(Conditions()), **changes)
    given = (conditions, FLIGHTS, 41, crossing_s(speed_m_s))
    return summarise(fly_and_score(rollout, weights, *given, drill=avoid_drill(speed_m_s, walled=walled)))


@pytest.mark.parametrize(("speed_m_s", "least"), [(1.0, 0.97), (2.0, 0.96), (3.0, 0.93), (4.0, 0.86)])
def test_it_crosses_unseen_forests_without_slowing_down(
    rollout: CompiledRollout, speed_m_s: float, least: float
) -> None:
    found = crossed(rollout, speed_m_s)
    assert found["success_rate"] >= least
    assert found["crossing_mean_m_s"] >= 0.9 * speed_m_s


@pytest.mark.parametrize(
    "changes",
    [
        {"imu_hz": (50.0, 50.0)},
        {"imu_hz": (400.0, 400.0)},
        {"grid_hz": (10.0, 10.0)},
        {"grid_hz": (40.0, 40.0)},
        {"grid_dropout": (0.3, 0.3)},
    ],
)
def test_rates_and_lost_grids_matter_little(rollout: CompiledRollout, changes: dict[str, Any]) -> None:
    assert crossed(rollout, 3.0, **changes)["success_rate"] >= 0.92


def test_without_a_grid_it_is_blind(rollout: CompiledRollout) -> None:
    assert crossed(rollout, 3.0, grid_dropout=(1.0, 1.0))["success_rate"] < 0.4


def test_it_ships_with_its_encoder() -> None:
    bundle = load_bundle("avoid")
    assert "avoid" in shipped() and bundle.sees and bundle.spec.units == 19 and bundle.parameters < 30_000
