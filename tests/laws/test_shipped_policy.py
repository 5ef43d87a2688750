"""The shipped policies fly: in PyBullet through the controller, and as well in the batched engine."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from envs.airframe import load_airframe
from envs.conditions import Conditions
from envs.faults import Fault
from envs.flights import draw_flights
from envs.mission import MISSION
from envs.rollout import fly, fly_task
from envs.scoring import (
    TOUCHDOWN_LIMIT_M_S,
    TRANSIENT_S,
    FlightScore,
    landed_safely,
    score_hover,
    score_task,
)
from envs.task import Task
from envs.trace import FlightTrace
from envs.track import track_task
from liquid_pilot import Controller, load_bundle, native
from liquid_pilot.observation import GRAVITY_M_S2
from policies.batched_evaluation import evaluate_batched
from policies.compiled_trainer import evaluate_compiled
from policies.drills import MISSION_DRILL, track_drill

AIRFRAME = load_airframe("cf2x")
FLIGHTS, SECONDS = 5, 7.0


def in_pybullet(conditions: Conditions, seed: int = 77) -> list[FlightScore]:
    flights = draw_flights(AIRFRAME, conditions, FLIGHTS, np.random.default_rng([seed]))
    controller = Controller.load("hover")
    scores = []
    for i in range(FLIGHTS):
        controller.reset()
        row, rng = flights.rows(slice(i, i + 1)), np.random.default_rng([seed, i, 1])
        trace = fly(controller, AIRFRAME, row, conditions, rng, SECONDS)
        scores.append(score_hover(trace, SECONDS))
    return scores


@pytest.mark.parametrize(
    "conditions",
    [
        Conditions(),
        Conditions(imu_hz=(25.0, 400.0), imu_mixed=True, flow_dropout=(0.3, 0.3)),
        Conditions(imu_hz=(50.0, 50.0), flow_hz=(20.0, 20.0), faults=(Fault("flow", 4.0, 5.0),)),
    ],
    ids=["100 Hz", "mixed, flow lost", "50 Hz, flow silent"],
)
def test_every_flight_from_a_hand_launch_stays_up(conditions: Conditions) -> None:
    scores = in_pybullet(conditions)
    assert [score.reason for score in scores] == [""] * FLIGHTS
    assert float(np.median([score.speed_error_m_s for score in scores])) < 0.15
    assert float(np.median([score.height_error_m for score in scores])) < 0.05


def test_with_flow_lost_for_good_it_comes_down_softly() -> None:
    conditions = Conditions(airframe_spread=0.05, faults=(Fault("flow", 4.0, math.inf),))
    controller = Controller.load("hover")
    flights = draw_flights(AIRFRAME, conditions, 3, np.random.default_rng([78]))
    for i in range(3):
        controller.reset()
        row, rng = flights.rows(slice(i, i + 1)), np.random.default_rng([78, i, 1])
        trace = fly(controller, AIRFRAME, row, conditions, rng, 11.0, bounded=False)
        assert landed_safely(trace, AIRFRAME.rest_height_m)


def test_engines_agree_on_the_same_flights() -> None:
    conditions = Conditions()
    pybullet = in_pybullet(conditions)
    evaluate = evaluate_compiled if native.available() else evaluate_batched  # these two are held equal elsewhere
    batched = evaluate(load_bundle("hover"), AIRFRAME, conditions, FLIGHTS, 77, SECONDS)
    assert [a.success for a in pybullet] == [b.success for b in batched]
    ours, theirs = (np.mean([s.speed_error_m_s for s in scores]) for scores in (pybullet, batched))
    assert ours == pytest.approx(theirs, rel=0.3)  # the noise differs, the flights do not


@pytest.mark.parametrize("reference", ["steps", "sinusoid"])
def test_track_follows_two_metres_a_second_in_pybullet(reference: str) -> None:
    task, conditions, seconds = track_task(reference, 2.0, TRANSIENT_S), Conditions(imu_hz=(50.0, 50.0)), 12.0
    flights, controller = draw_flights(AIRFRAME, conditions, 3, np.random.default_rng([5])), Controller.load("track")
    errors = []
    for i in range(3):
        controller.reset()
        row, rng = flights.rows(slice(i, i + 1)), np.random.default_rng([5, i, 1])
        score = score_task(fly_task(controller, task, AIRFRAME, row, conditions, rng, seconds), seconds)
        assert score.success and score.height_error_m < 0.1
        errors.append(score.speed_error_m_s)
    assert float(np.mean(errors)) < 0.25


def fly_mission(task: Task, seconds: float, seed: int) -> FlightTrace:
    flights = draw_flights(AIRFRAME, task.conditions, 1, np.random.default_rng([seed]))
    controller, rng = Controller.load("mission"), np.random.default_rng([seed, 0, 1])
    return fly_task(controller, task, AIRFRAME, flights, task.conditions, rng, seconds)


def test_mission_begins_and_ends_on_the_floor_in_pybullet() -> None:
    trace = fly_mission(MISSION, MISSION.duration_s, 6)
    assert trace.outcome == "success" and 0.0 < trace.touchdown_m_s <= TOUCHDOWN_LIMIT_M_S
    assert trace.highest_m > 0.7 and trace.thrust_m_s2[-1] < 0.1 * GRAVITY_M_S2


def test_mission_stays_on_the_floor_with_its_motors_stopped() -> None:
    endless = replace(MISSION, judge=lambda ops, memory, moment: (memory, 0.0 * moment.lift, 0.0 * moment.lift))
    trace = fly_mission(endless, 18.0, 11)
    assert [state for _, state in trace.supervisor] == ["INIT", "ACTIVE", "KILLED"]
    stopped = trace.t_s > trace.supervisor[-1][0]
    assert stopped.sum() > 100 and not trace.thrust_m_s2[stopped].any()
    assert trace.position_m[stopped, 2].max() < AIRFRAME.rest_height_m


@pytest.mark.skipif(not native.available(), reason="needs a C compiler")
def test_mission_flies_hundreds_of_batched_flights() -> None:
    scores = evaluate_compiled(load_bundle("mission"), AIRFRAME, MISSION.conditions, 200, 9, 20.0, drill=MISSION_DRILL)
    assert sum(score.success for score in scores) >= 190


@pytest.mark.skipif(not native.available(), reason="needs a C compiler")
@pytest.mark.parametrize("reference", ["steps", "sinusoid"])
def test_track_follows_in_hundreds_of_batched_flights(reference: str) -> None:
    mixed = Conditions(imu_hz=(25.0, 400.0), imu_mixed=True)
    for transient_s, most_m_s in ((TRANSIENT_S, 0.2), (0.0, 0.3)):
        drill = track_drill(reference, 2.0, transient_s)
        scores = evaluate_compiled(load_bundle("track"), AIRFRAME, mixed, 200, 9, 15.0, drill=drill)
        assert sum(score.success for score in scores) >= 196
        assert float(np.median([score.speed_error_m_s for score in scores])) < most_m_s
