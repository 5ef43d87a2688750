"""The Mission task: from the floor to the floor, what the sensors see there, and every way to fail."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from envs.mission import BLIND_BELOW_M, MISSION, MissionEnv
from envs.quad_env import CRASH_REWARD, DONE_REWARD
from envs.scoring import TOUCHDOWN_LIMIT_M_S
from liquid_pilot.messages import Setpoint
from liquid_pilot.observation import OBS_SLICES
from tests.world.flown import CUT, flown


@pytest.fixture(name="env")
def one_env() -> Iterator[MissionEnv]:
    env = MissionEnv()
    yield env
    env.close()


def land(info: dict[str, Any]) -> Any:
    """Motors off once it stands; otherwise as the expert says."""
    return CUT if info["phase"] == "land" and info["position_m"][2] < 0.025 else None


@pytest.mark.parametrize("seed", range(3))
def test_who_does_it_all_succeeds(env: MissionEnv, seed: int) -> None:
    rows = flown(env, seed, land)
    reward, terminated, _, last = rows[-1]
    assert terminated and last["success"] is True and reward > 0.9 * DONE_REWARD
    assert 0.0 < last["touchdown_m_s"] <= TOUCHDOWN_LIMIT_M_S
    phases = [row[3]["phase"] for row in rows]
    assert list(dict.fromkeys(phases)) == ["take off", "hover", "follow", "land"]
    assert last["position_m"][2] < env.airframe.rest_height_m
    assert max(row[3]["position_m"][2] for row in rows) > 0.7


def test_it_begins_standing_level_on_the_floor(env: MissionEnv) -> None:
    _, info = env.reset(seed=1)
    w, x, y, z = info["attitude_wxyz"]
    assert (x, y) == (0.0, 0.0) and math.hypot(w, z) == pytest.approx(1.0)
    assert info["position_m"] == (0.0, 0.0, env.airframe.rest_height_m)
    for _ in range(100):
        *_, info = env.step(CUT)
    assert info["released"] and abs(info["position_m"][2] - env.airframe.rest_height_m) < 0.02
    assert math.hypot(*info["velocity_m_s"]) < 0.1


def test_flow_and_range_are_blind_near_the_floor(env: MissionEnv) -> None:
    observation, info = env.reset(seed=2)
    for _ in range(100):
        observation, *_, info = env.step(CUT)
        assert observation[OBS_SLICES["flow_quality"]][0] == 0.0
        assert observation[OBS_SLICES["range_m"]][0] == 0.0  # the value before any return, less its offset
    assert info["position_m"][2] < BLIND_BELOW_M


def test_staying_on_the_floor_is_lost_when_it_should_hover(env: MissionEnv) -> None:
    rows = flown(env, 0, lambda info: CUT)
    reward, terminated, _, last = rows[-1]
    assert terminated and last["success"] is False and last["phase"] == "hover"
    assert reward == pytest.approx(CRASH_REWARD, abs=0.1)


def test_a_hard_landing_is_lost(env: MissionEnv) -> None:
    rows = flown(env, 0, lambda info: CUT if info["phase"] == "land" else None)
    assert rows[-1][1] and rows[-1][3]["success"] is False
    assert rows[-1][3]["touchdown_m_s"] > TOUCHDOWN_LIMIT_M_S


def test_standing_with_turning_motors_is_no_landing(env: MissionEnv) -> None:
    half = np.array([-0.5, 0.0, 0.0, 0.0], dtype=np.float32)  # half the weight: it stands, its motors on
    rows = flown(env, 0, lambda info: half if land(info) is not None else None)
    assert rows[-1][2] and not rows[-1][1] and rows[-1][3]["success"] is False
    assert rows[-1][3]["position_m"][2] < env.airframe.rest_height_m


def test_flying_on_for_ever_is_no_landing(env: MissionEnv) -> None:
    rows = flown(env, 0, setpoint=Setpoint(0.0, (0.0, 0.0), 1.0, 0.0))
    assert rows[-1][2] and rows[-1][3]["success"] is False


def test_the_timetable_fits_into_the_time() -> None:
    highest = MISSION.conditions.setpoint_height_m[1]
    env = MissionEnv(setpoint_height_m=(highest, highest))
    rows = flown(env, 5, land)
    assert rows[-1][3]["success"] is True and rows[-1][3]["t_s"] < MISSION.duration_s - 2.0
    env.close()
