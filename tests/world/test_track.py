"""The Track task: what it asks for, when it counts as flown, and that hovering does not."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from envs.physics import Body
from envs.references import flown as flown_path
from envs.references import path_of, path_rows
from envs.state_observation import STATE_SLICES
from envs.task import path_goal, turned
from envs.track import REFERENCES, SPEED_RMSE_LIMIT_M_S, TrackEnv, track_task
from liquid_pilot.errors import ConfigError
from liquid_pilot.geometry import heading
from liquid_pilot.messages import Setpoint
from liquid_pilot.ops import FLOAT_OPS
from tests.world.flown import flown, motion


@pytest.mark.parametrize("reference", list(REFERENCES))
def test_who_follows_succeeds_and_who_hovers_does_not(reference: str) -> None:
    env = TrackEnv(reference=reference, duration_s=10.0)
    rows = flown(env, 3)
    last = rows[-1][3]
    assert last["success"] is True and last["reference"] == reference
    assert last["speed_rmse_m_s"] <= SPEED_RMSE_LIMIT_M_S and rows[-1][2]
    still = flown(env, 3, setpoint=Setpoint(0.0, (0.0, 0.0), 1.0, 0.0))
    assert still[-1][2] and still[-1][3]["success"] is False
    assert sum(row[0] for row in still) < sum(row[0] for row in rows)
    env.close()


@pytest.mark.parametrize("imu_hz", [25.0, 200.0])
def test_the_reported_error_is_that_of_the_motion_over_time(imu_hz: float) -> None:
    env = TrackEnv(reference="figure_eight", imu_hz=(imu_hz, imu_hz), duration_s=6.0)
    square = seconds = 0.0

    def watch(info: dict[str, Any]) -> None:
        nonlocal square, seconds
        assert env._flight is not None
        moment = env._flight.moment()
        if moment.since_release_s >= 3.0:
            found, wanted = info["velocity_m_s"], moment.goal.point.velocity_m_s
            square += math.hypot(found[0] - wanted[0], found[1] - wanted[1]) ** 2 * info["dt_s"]
            seconds += info["dt_s"]

    last = flown(env, 7, watch)[-1][3]
    watch(last)
    assert seconds == pytest.approx(3.0, abs=0.1)
    assert last["speed_rmse_m_s"] == pytest.approx(math.sqrt(square / seconds), rel=1e-9)
    env.close()


@pytest.mark.parametrize("reference", list(REFERENCES))
def test_no_reference_is_faster_than_asked_for(reference: str) -> None:
    drawn = REFERENCES[reference](np.random.default_rng(0), np.full(5, 1.2), np.full(5, 0.8), 12.0)
    for rows in path_rows(drawn, 4, 5).T.tolist():
        path = flown_path(path_of(rows))
        points = [path(t) for t in np.arange(0.0, 12.0, 0.05)]
        assert max(math.hypot(*p.velocity_m_s) for p in points) <= 0.8 + 1e-9
        assert max(math.hypot(*p.velocity_m_s) for p in points) > 0.6
        assert points[0].velocity_m_s == pytest.approx((0.0, 0.0, 0.0))
        assert all(abs(p.position_m[2] - 1.2) <= 0.2 + 1e-9 for p in points)


def test_the_setpoint_is_the_velocity_of_the_path_in_the_frame_of_the_heading() -> None:
    drawn = REFERENCES["sinusoid"](np.random.default_rng(1), np.ones(1), np.ones(1), 10.0)
    path = path_of(path_rows(drawn, 0, 1)[:, 0].tolist())
    yaw = 0.7
    body = Body((0.0, 0.0, 1.0), (0.0, 0.0, 0.0), (math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)), (0.0, 0.0, 0.0))
    goal = path_goal(FLOAT_OPS, path, 3.0, body)
    assert heading(FLOAT_OPS, body.attitude_wxyz) == pytest.approx((math.cos(yaw), math.sin(yaw)))
    assert turned(goal.velocity_m_s, (math.cos(yaw), math.sin(yaw))) == pytest.approx(goal.point.velocity_m_s[:2])
    assert goal.height_m == goal.point.position_m[2]


def test_the_state_observation_shows_offset_and_velocity_of_the_target() -> None:
    env = TrackEnv(reference="lissajous", obs="state", duration_s=1.0)
    observation, info = env.reset(seed=4)
    for _ in range(80):
        observation, _, _, _, info = env.step(np.zeros(4, dtype=np.float32))
    assert env._flight is not None
    goal = env._flight.moment().goal.point
    offset = np.subtract(goal.position_m, info["position_m"])
    np.testing.assert_allclose(observation[STATE_SLICES["target_offset_m"]], offset, atol=1e-6)
    np.testing.assert_allclose(observation[STATE_SLICES["target_velocity_m_s"]], goal.velocity_m_s, atol=1e-6)
    np.testing.assert_allclose(observation[STATE_SLICES["velocity_m_s"]], motion(info).velocity_m_s, atol=1e-6)
    env.close()


def test_any_draws_every_reference() -> None:
    env = TrackEnv(hold_s=0.0)
    seen = {env.reset(seed=seed)[1]["reference"] for seed in range(30)}
    assert seen == set(REFERENCES)
    env.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"reference": "circle"}, "unknown reference 'circle'.*figure_eight"),
        ({"reference": ["steps"]}, "unknown reference"),
        ({"speed_m_s": 0.0}, "speed_m_s"),
        ({"speed_m_s": math.nan}, "speed_m_s"),
        ({"speed_m_s": "fast"}, "speed_m_s"),
        ({"speed_m_s": 30.0}, "above 0 to 3"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        track_task(**options)
