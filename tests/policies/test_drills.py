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
from envs.physics import Body
from envs.references import path_of, path_point
from envs.scoring import TRANSIENT_S
from envs.track import TRACK_RULE
from liquid_pilot import native
from liquid_pilot.errors import ConfigError
from liquid_pilot.ops import NUMPY_OPS
from policies.analytic import AnalyticTrainer, TrainConfig
from policies.curriculum import Curriculum
from policies.drills import DRILLS, drill_of, track_drill

STILL: Body[float] = Body((0.0, 0.0, 1.0), (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0))


def drawn(count: int, conditions: Conditions | None = None) -> Flights:
    return draw_flights(load_airframe("cf2x"), conditions or Conditions(), count, np.random.default_rng(0))


@pytest.mark.parametrize("name", list(DRILLS))
@pytest.mark.parametrize("seconds", [2.0, 15.0, 21.0, 40.0])
def test_a_course_has_the_rows_that_the_aim_tells(name: str, seconds: float) -> None:
    drill, flights, rng = DRILLS[name], drawn(3), np.random.default_rng(1)
    assert drill.course(flights, seconds, rng).shape == (drill.aim(seconds).rows, 3)
    assert drill.lessons(flights, drill.curriculum, seconds, rng).shape == (drill.aim(seconds).rows, 3)


def test_flights_of_up_to_21_s_share_one_compiled_world() -> None:
    drill = track_drill()
    assert drill.aim(2.0) == drill.aim(21.0) != drill.aim(22.0)


def test_most_hover_lessons_ask_for_no_speed() -> None:
    conditions = Conditions(setpoint_speed_m_s=(0.2, 0.5), setpoint_yaw_rate_rad_s=(0.1, 0.5))
    drill = drill_of("hover")
    course = drill.lessons(drawn(2000, conditions), Curriculum(hover_chance=0.7), 10.0, np.random.default_rng(2))
    still = (course[:2] == 0.0).all(axis=0)
    assert 0.66 < still.mean() < 0.74 and (still == (course[3] == 0.0)).all()


def test_track_lessons_reach_every_speed_up_to_the_curriculum_s() -> None:
    drill, limit = drill_of("track"), 1.6
    course = drill.lessons(drawn(300), Curriculum(setpoint_speed_m_s=limit), 21.0, np.random.default_rng(3))
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


@pytest.mark.skipif(not native.available(), reason="needs a C compiler")
def test_training_to_track_descends() -> None:
    drill = drill_of("track")
    config = TrainConfig(
        task="track", batch=48, substep_s=0.01, learning_rate=1e-2, relaunch_chance=1.0, curriculum=drill.curriculum
    )
    trainer = AnalyticTrainer(config, "compiled")
    carry = trainer._launch(Conditions())

    def loss() -> float:
        return trainer.backend.gradient(trainer.network, carry, Conditions(), 250)[0]

    before = loss()
    assert all(math.isfinite(trainer.update(0.05).loss) for _ in range(40))
    assert loss() < 0.8 * before


def test_a_task_without_a_drill_is_refused() -> None:
    with pytest.raises(ConfigError, match="hover, track"):
        drill_of("mission")


def test_a_course_of_another_aim_is_refused() -> None:
    drill, flights = track_drill(), drawn(2)
    course = drill.course(flights, 15.0, np.random.default_rng(0))
    world = BatchedQuad(load_airframe("cf2x"), Conditions(), torch.Generator())
    for wrong in (course, course[:4, :1], course[:4, 0]):
        with pytest.raises(ConfigError, match="course has shape"):
            world.reset(flights, wrong)
