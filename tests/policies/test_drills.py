"""Laws of tasks that are trained many drones at a time: courses fit their aim, lessons are as told, rules judge."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from envs.airframe import load_airframe
from envs.batched_quad import BatchedQuad
from envs.conditions import Conditions
from envs.flights import Flights, draw_flights
from envs.ledger import LEDGER, flight_scores, new_ledger
from envs.mission import SINK_M_S
from envs.physics import Body
from envs.references import path_of, path_point
from envs.scoring import TRANSIENT_S
from envs.track import TRACK_RULE
from liquid_pilot import native
from liquid_pilot.errors import ConfigError
from liquid_pilot.ops import NUMPY_OPS
from policies.analytic import AnalyticTrainer, TrainConfig
from policies.curriculum import Curriculum
from policies.drills import DRILLS, MISSION_DRILL, drill_of, track_drill

AIRFRAME = load_airframe("cf2x")
STILL: Body[float] = Body((0.0, 0.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0))


def drawn(count: int, conditions: Conditions | None = None) -> Flights:
    return draw_flights(AIRFRAME, conditions or Conditions(), count, np.random.default_rng(0))


@pytest.mark.parametrize("name", list(DRILLS))
@pytest.mark.parametrize("seconds", [2.0, 15.0, 21.0, 40.0])
def test_a_course_has_the_rows_that_the_aim_tells(name: str, seconds: float) -> None:
    drill, flights, rng = DRILLS[name], drawn(3), np.random.default_rng(1)
    assert drill.course(flights, seconds, rng).shape == (drill.aim(seconds).rows, 3)
    begun, course = drill.lessons(flights, AIRFRAME, drill.curriculum, seconds, rng)
    assert course.shape == (drill.aim(seconds).rows, 3) and len(begun) == 3


def test_flights_of_up_to_21_s_share_one_compiled_world() -> None:
    drill = track_drill()
    assert drill.aim(2.0) == drill.aim(21.0) != drill.aim(22.0)


def test_most_hover_lessons_ask_for_no_speed() -> None:
    conditions = Conditions(setpoint_speed_m_s=(0.2, 0.5), setpoint_yaw_rate_rad_s=(0.1, 0.5))
    drill = drill_of("hover")
    flights, lessons = drawn(2000, conditions), Curriculum(hover_chance=0.7)
    begun, course = drill.lessons(flights, AIRFRAME, lessons, 10.0, np.random.default_rng(2))
    assert begun is flights
    still = (course[:2] == 0.0).all(axis=0)
    assert 0.66 < still.mean() < 0.74 and (still == (course[3] == 0.0)).all()


def test_track_lessons_reach_every_speed_up_to_the_curriculum_s() -> None:
    drill, limit = drill_of("track"), 1.6
    lessons = Curriculum(setpoint_speed_m_s=limit)
    _, course = drill.lessons(drawn(300), AIRFRAME, lessons, 21.0, np.random.default_rng(3))
    points = [path_point(NUMPY_OPS, path_of(list(course[1:])), np.full(300, t)) for t in np.arange(0.0, 21.0, 0.1)]
    fastest = np.max([np.hypot(*point.velocity_m_s[:2]) for point in points], axis=0)
    assert fastest.max() <= limit + 1e-9 and fastest.max() > 0.9 * limit and fastest.min() < 0.1 * limit
    assert set(course[0]) == {0.0, 1.0, 2.0, 3.0}


def test_errors_count_but_in_the_first_moments_of_a_step() -> None:
    times = np.arange(0.0, 15.0, 0.05) + 0.01
    for reference, counted in (("steps", (times % 3.0) >= TRANSIENT_S), ("sinusoid", times >= TRANSIENT_S)):
        drill = track_drill(reference, transient_s=TRANSIENT_S)
        course = drill.course(drawn(1), 15.0, np.random.default_rng(4))[:, 0].tolist()
        settled = [drill.goal(NUMPY_OPS, course, t, STILL).settled for t in times]
        np.testing.assert_array_equal(np.array(settled) > 0.5, counted)


def test_everything_counts_where_nothing_else_is_said() -> None:
    drill = track_drill("steps", 2.0)
    course = drill.course(drawn(1), 15.0, np.random.default_rng(4))[:, 0].tolist()
    assert all(drill.goal(NUMPY_OPS, course, t, STILL).settled == 1.0 for t in np.arange(0.0, 15.0, 0.05))
    for wrong in (-0.1, 3.0, math.nan):
        with pytest.raises(ConfigError, match="transient_s"):
            track_drill(transient_s=wrong)


def test_a_track_flight_is_judged_by_the_root_mean_square_and_may_lean() -> None:
    ledger = new_ledger(3)
    row = {name: ledger[number] for number, name in enumerate(LEDGER)}
    row["lowest_m"][:], row["highest_m"][:], row["weight"][:] = 1.0, 2.0, 4.0
    row["speed_error"][:], row["height_error"][:] = 0.4, 1.0
    row["speed_square"][:] = (4.0 * 0.3**2, 4.0 * 0.51**2, 4.0 * 0.3**2)
    row["tilted"][2] = 1.0
    good, fast, tumbled = flight_scores(ledger, TRACK_RULE)
    assert good.success and good.speed_error_m_s == pytest.approx(0.3) and good.height_error_m == 0.25
    assert (fast.reason, fast.speed_error_m_s, tumbled.reason) == ("speed error", math.inf, "tilt")
    assert [score.speed_error_m_s for score in flight_scores(ledger)] == [0.1, 0.1, math.inf]
    assert TRACK_RULE.tilt_limit_deg == pytest.approx(90.0)


def test_mission_lessons_begin_on_the_floor_or_in_the_air_and_end_below_the_floor() -> None:
    drill, flights, n = drill_of("mission"), drawn(400), 400
    begun, course = drill.lessons(flights, AIRFRAME, drill.curriculum, 21.0, np.random.default_rng(3))
    standing = begun.height_m == AIRFRAME.rest_height_m
    assert 0.4 < standing.mean() < 0.6 and not begun.launch_velocity_m_s[standing].any()
    np.testing.assert_array_equal(begun.height_m[~standing], flights.height_m[~standing])
    np.testing.assert_array_equal(begun.mass_kg, flights.mass_kg)
    asked = [drill.goal(NUMPY_OPS, list(course), np.full(n, t), STILL).height_m for t in (0.0, 20.0)]
    np.testing.assert_allclose(asked[0], np.where(standing, 0.0, flights.setpoint_height_m), atol=1e-9)
    np.testing.assert_allclose(asked[1], drill.curriculum.asked_height_m[0], atol=1e-9)


def test_a_lesson_is_over_on_the_floor_where_it_should_be_aloft_and_some_time_after_the_landing() -> None:
    drill, flights = drill_of("mission"), drawn(1)
    course, low, high = drill.course(flights, 20.0, np.random.default_rng(0)), np.array([0.02]), np.array([1.0])
    hover_s, land_s = course[0], course[2]
    landed_s = land_s + flights.setpoint_height_m / SINK_M_S
    for since_s, on_floor, aloft in (
        (np.array([-np.inf]), True, True),
        (hover_s - 0.1, True, True),
        (hover_s + 0.1, False, True),
        (land_s + 0.1, True, True),
        (landed_s + 1.0, True, True),
        (landed_s + 3.0, False, False),
    ):
        found = [bool(drill.goes_on(course, since_s, height)[0]) for height in (low, high)]
        assert found == [on_floor, aloft], since_s


def test_a_mission_must_end_softly_on_the_floor() -> None:
    ledger = new_ledger(4)
    row = {name: ledger[number] for number, name in enumerate(LEDGER)}
    row["lowest_m"][:], row["highest_m"][:], row["weight"][:] = 0.5, 1.5, 4.0
    row["touchdown_m_s"][:] = (0.3, 0.6, 0.3, 0.2)
    row["clearance_m"][:] = (-0.005, -0.005, 0.05, 0.0)
    row["lowest_m"][3] = 0.05
    scores = flight_scores(ledger, MISSION_DRILL.rule)
    assert [score.reason for score in scores] == ["", "hard landing", "not landed", "ground"]
    assert [score.touchdown_m_s for score in scores] == [0.3, 0.6, 0.3, 0.2]
    assert all(score.success and score.touchdown_m_s == 0.0 for score in flight_scores(ledger[:, :3]))


@pytest.mark.skipif(not native.available(), reason="needs a C compiler")
@pytest.mark.parametrize("task", ["track", "mission"])
def test_training_descends(task: str) -> None:
    drill = drill_of(task)
    config = TrainConfig(
        task=task,
        batch=48,
        substep_s=0.01,
        learning_rate=1e-2,
        relaunch_chance=1.0,
        curriculum=drill.curriculum,
        cost=drill.cost,
    )
    trainer, conditions = AnalyticTrainer(config, "compiled"), Conditions(sensors=drill.sensors)
    carry = trainer._launch(conditions)

    def loss() -> float:
        return trainer.backend.gradient(trainer.network, carry, conditions, 250)[0]

    before = loss()
    assert all(math.isfinite(trainer.update(0.05).loss) for _ in range(40))
    assert loss() < 0.8 * before


def test_a_task_without_a_drill_is_refused() -> None:
    with pytest.raises(ConfigError, match="avoid, hover, mission, track"):
        drill_of("land")


def test_a_course_of_another_aim_is_refused() -> None:
    drill, flights = track_drill(), drawn(2)
    course = drill.course(flights, 15.0, np.random.default_rng(0))
    world = BatchedQuad(load_airframe("cf2x"), Conditions(), torch.Generator())
    for wrong in (course, course[:4, :1], course[:4, 0]):
        with pytest.raises(ConfigError, match="course has shape"):
            world.reset(flights, wrong)
