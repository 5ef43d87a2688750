"""What holds for every task, observation and action: the contracts, isolation, repeatability, clear errors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any

import gymnasium
import numpy as np
import pybullet
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

import envs
from envs.actions import ACTION_MODES, VELOCITY_LIMITS_M_S, YAW_RATE_LIMIT_RAD_S
from envs.airframe import load_airframe
from envs.physics import Body, nominal_params
from envs.pybullet_quad import PyBulletQuad
from envs.quad_env import CRASH_REWARD, OBS_MODES, QuadEnv
from envs.state_observation import STATE_DIM, STATE_FIELDS, STATE_SLICES
from envs.task import turned
from liquid_pilot.errors import ConfigError, SimulationError
from liquid_pilot.geometry import heading
from liquid_pilot.ops import FLOAT_OPS
from tests.world.flown import motion

assert envs.__doc__  # imported for its registration

IDS = [f"liquid_pilot/{name}-v0" for name in ("Hover", "Track", "Mission")]
WAYS = list(product(IDS, OBS_MODES, ACTION_MODES))
CALM: dict[str, Any] = {
    "tilt_deg": (0.0, 0.0),
    "launch_speed_m_s": (0.0, 0.0),
    "launch_rate_rad_s": (0.0, 0.0),
    "wind_m_s": (0.0, 0.0),
    "airframe_spread": 0.0,
    "rotor_spread": 0.0,
    "gyro_bias_rad_s": 0.0,
}


def made(name: str, **options: Any) -> QuadEnv:
    env = gymnasium.make(name, disable_env_checker=True, **options).unwrapped
    assert isinstance(env, QuadEnv)
    return env


def maker(name: str, **options: Any) -> Any:
    return lambda: made(name, **options)


def yaw_rad(body: Body[float]) -> float:
    c, s = heading(FLOAT_OPS, body.attitude_wxyz)
    return math.atan2(s, c)


def clients() -> int:
    """PyBullet clients that are open now."""
    return sum(bool(pybullet.isConnected(i)) for i in range(1024))


@pytest.mark.parametrize(("name", "obs", "action"), WAYS)
def test_both_checks_pass(name: str, obs: str, action: str) -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    env = made(name, obs=obs, action=action, duration_s=0.2, hold_s=0.1)
    check_env(env, skip_render_check=True)
    checker.check_env(env)
    env.close()


def episode(env: QuadEnv, seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    rows: list[Any] = []
    over = False
    while not over:
        parts = list(observation.values()) if isinstance(observation, dict) else [observation]
        assert all(part.dtype == np.float32 and np.isfinite(part).all() for part in parts)
        action = rng.uniform(-1.2, 1.2, 4).astype(np.float32)
        observation, reward, terminated, truncated, info = env.step(action)
        over = terminated or truncated
        assert math.isfinite(reward) and ("success" in info) is over
        rows.append(([part.tobytes() for part in parts], reward, terminated, truncated, repr(info)))
    return rows


@pytest.mark.parametrize("name", IDS)
def test_random_actions_give_numbers_and_the_same_seed_the_same_bits(name: str) -> None:
    """Seventy episodes a task; a used environment, beside others that fly, repeats what a fresh one did."""
    ways = list(product(OBS_MODES, ACTION_MODES))
    options: dict[str, Any] = {"duration_s": 0.5, "hold_s": 0.05, "imu_hz": (20.0, 200.0), "imu_mixed": True}
    worlds = {way: made(name, obs=way[0], action=way[1], **options) for way in ways}
    runs = [(ways[i % len(ways)], seed) for i, seed in enumerate(range(35))]
    first = [episode(worlds[way], seed) for way, seed in runs]
    again = [episode(worlds[way], seed) for way, seed in reversed(runs)]
    assert again[::-1] == first
    assert len({tuple(map(repr, rows)) for rows in first}) == len(first)
    for world in worlds.values():
        world.close()


@pytest.mark.parametrize(("name", "obs", "action"), WAYS)
def test_a_simulation_that_leaves_the_numbers_ends_in_numbers(name: str, obs: str, action: str) -> None:
    env = made(name, obs=obs, action=action, hold_s=0.0)
    env.reset(seed=0)
    env.step(np.zeros(4, dtype=np.float32))
    assert env._quad is not None
    env._quad.throw((math.nan, 0.0, 0.0), (0.0, math.nan, 0.0))
    observation, reward, terminated, _, info = env.step(np.zeros(4, dtype=np.float32))
    assert terminated and info["success"] is False and reward == CRASH_REWARD
    assert env.observation_space.contains(observation)
    env.close()


def test_environments_in_one_process_do_not_touch_each_other() -> None:
    action = np.array([0.1, 0.2, -0.1, 0.3], dtype=np.float32)
    options: dict[str, Any] = {"hold_s": 0.0}
    alone = made(IDS[0], **options)
    alone.reset(seed=1)
    expected = [alone.step(action)[0] for _ in range(30)]
    alone.close()
    one, two = made(IDS[0], **options), made(IDS[2], action="rpm", **options)
    one.reset(seed=1)
    two.reset(seed=2)
    for row in expected:
        np.testing.assert_array_equal(one.step(action)[0], row)
        two.step(-action)
    two.close()
    one.step(action)  # still there
    one.close()


def test_opening_and_closing_leaves_no_client() -> None:
    before = clients()
    for i in range(500):
        env = made(IDS[i % 3])
        env.reset(seed=i)
        env.close()
        env.close()
    assert clients() == before


@pytest.mark.parametrize("vector", [SyncVectorEnv, partial(AsyncVectorEnv, context="forkserver")])
def test_gymnasium_vectors_give_what_one_gives(vector: Any) -> None:
    options: dict[str, Any] = {"obs": "state", "duration_s": 0.1, "hold_s": 0.05}
    many = vector([maker(name, **options) for name in IDS], autoreset_mode=AutoresetMode.NEXT_STEP)
    single = made(IDS[1], **options)
    seen, _ = many.reset(seed=[3, 4, 5])
    alone, _ = single.reset(seed=4)
    action = np.array([0.3, 0.1, 0.0, -0.2], dtype=np.float32)
    np.testing.assert_array_equal(seen[1], alone)
    for _ in range(8):
        seen, rewards, *_ = many.step(np.tile(action, (3, 1)))
        alone, reward, *_ = single.step(action)
        np.testing.assert_array_equal(seen[1], alone)
        assert rewards[1] == reward
    for _ in range(20):  # on through the resets
        seen, *_ = many.step(np.tile(action, (3, 1)))
        assert seen.shape == (3, STATE_DIM) and np.isfinite(seen).all()
    many.close()
    single.close()


@pytest.mark.parametrize("vector", ["DummyVecEnv", "SubprocVecEnv"])
def test_stable_baselines3_vectors_run(vector: str) -> None:
    vectors = pytest.importorskip("stable_baselines3.common.vec_env")
    many = getattr(vectors, vector)([maker(name, duration_s=0.1, hold_s=0.02) for name in IDS[:2]])
    many.seed(1)
    many.reset()
    ends = 0
    for _ in range(30):
        seen, _, done, infos = many.step(np.zeros((2, 4), dtype=np.float32))
        assert np.isfinite(seen).all()
        ends += sum(bool(over) for over in done)
        assert all("terminal_observation" in info for info, over in zip(infos, done, strict=True) if over)
    assert ends >= 4
    many.close()


def test_vectors_are_made_by_name_with_options() -> None:
    many = gymnasium.make_vec(IDS[1], num_envs=2, vectorization_mode="sync", reference="steps", obs="state")
    _, info = many.reset(seed=0)
    assert list(info["reference"]) == ["steps", "steps"]
    many.close()


def test_the_state_is_the_truth_by_the_declared_layout() -> None:
    assert sum(field.width for field in STATE_FIELDS) == STATE_DIM
    assert [s.stop - s.start for s in STATE_SLICES.values()] == [field.width for field in STATE_FIELDS]
    env = made(IDS[0], obs="state", hold_s=0.0)
    observation, info = env.reset(seed=2)
    for _ in range(30):
        observation, *_, info = env.step(np.array([0.2, 0.3, -0.2, 0.5], dtype=np.float32))
    field = {name: observation[where].astype(float) for name, where in STATE_SLICES.items()}
    rotation = field["rotation"].reshape(3, 3)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)
    body = motion(info)
    assert math.atan2(rotation[1, 0], rotation[0, 0]) == pytest.approx(yaw_rad(body), abs=1e-6)
    np.testing.assert_allclose(field["rates_rad_s"] * 3.0, body.rates_rad_s, atol=1e-5)
    np.testing.assert_allclose(field["velocity_m_s"], body.velocity_m_s, atol=1e-6)
    assert field["height_m"][0] == pytest.approx(body.position_m[2])
    assert list(field["target_offset_m"][:2]) == [0.0, 0.0]
    assert field["dt_s"][0] * 0.02 == pytest.approx(info["dt_s"])
    assert env._quad is not None
    np.testing.assert_allclose(field["motor_speed"], env._quad.actuators.motor_speed, atol=1e-6)
    env.close()


def test_motor_speeds_pass_the_rate_loop_by_and_lag() -> None:
    airframe, h = load_airframe("cf2x"), 0.002
    wanted = (0.5, 0.6, 0.7, 0.8)
    with PyBulletQuad(airframe) as quad:
        quad.reset(nominal_params(airframe), (0.0, 0.0, 2.0), (1.0, 0.0, 0.0, 0.0), motor_speed=0.3)
        loop = quad.actuators.loop
        for _ in range(10):
            quad.substep(wanted, (0.0, 0.0, 0.0), h)
        left = math.exp(-10.0 * h / airframe.motor_tau_up_s)
        assert quad.actuators.motor_speed == pytest.approx([w + (0.3 - w) * left for w in wanted])
        assert quad.actuators.loop == loop


def test_equal_motor_speeds_at_the_hover_speed_carry_the_drone() -> None:
    env = made(IDS[0], action="rpm", launch_height_m=(2.5, 2.5), motor_tau_s=(0.03, 0.03), **CALM)
    _, info = env.reset(seed=0)
    hover = np.full(4, 2.0 * env.airframe.hover_speed - 1.0, dtype=np.float32)
    climb = []
    for _ in range(150):
        *_, info = env.step(hover)
        if info["t_s"] > 1.0:
            climb.append(info["velocity_m_s"][2])
    assert math.hypot(*info["rates_rad_s"]) < 1e-3
    assert abs(climb[-1] - climb[0]) < 0.05  # whatever it lost while the motors came up, it keeps
    env.close()


@pytest.mark.parametrize(
    "action", [(0.5, 0.0, 0.2, 0.0), (0.0, -0.5, 0.0, 0.2), (-0.3, 0.3, -0.2, -0.3), (0.0, 0.0, 0.0, 0.0)]
)
@pytest.mark.parametrize("airframe", ["cf2x", "racer"])
def test_velocities_are_reached(airframe: str, action: tuple[float, ...]) -> None:
    env = made(IDS[0], action="velocity", airframe=airframe, imu_hz=(10.0, 10.0), setpoint_height_m=(1.0, 1.0),
               launch_height_m=(1.8, 1.8), gyro_bias_rad_s=0.0, wind_m_s=(0.0, 0.5))  # fmt: skip
    calm = np.zeros(4, dtype=np.float32)
    _, info = env.reset(seed=6)
    for i in range(55):
        action_now = calm if i < 25 else np.array(action, dtype=np.float32)
        *_, terminated, _, info = env.step(action_now)
        assert not terminated
    body = motion(info)
    c, s = heading(FLOAT_OPS, body.attitude_wxyz)
    across = turned((body.velocity_m_s[0], body.velocity_m_s[1]), (c, -s))
    found = (*across, body.velocity_m_s[2], body.rates_rad_s[2])
    wanted = [a * s for a, s in zip(action, (*VELOCITY_LIMITS_M_S, YAW_RATE_LIMIT_RAD_S), strict=True)]
    assert found == pytest.approx(wanted, abs=0.25)
    env.close()


@pytest.fixture(name="speedy")
def motor_env() -> Iterator[QuadEnv]:
    env = made(IDS[1], obs="state", action="rpm")
    yield env
    env.close()


@pytest.mark.parametrize("bad", [np.zeros(3), np.zeros((1, 4)), [math.nan, 0, 0, 0], ["a"] * 4, None, 1.0])
def test_bad_actions_are_refused_by_their_meaning(speedy: QuadEnv, bad: Any) -> None:
    with pytest.raises(SimulationError, match=r"reset\(\)"):
        speedy.step(np.zeros(4, dtype=np.float32))
    speedy.reset(seed=0)
    with pytest.raises(SimulationError, match="action"):
        speedy.step(bad)
    with pytest.raises(SimulationError, match="the speed of each motor"):
        speedy.step(np.zeros(5, dtype=np.float32))
    speedy.step(np.zeros(4, dtype=np.float32))


def test_motor_speeds_beyond_the_motors_are_refused(speedy: QuadEnv) -> None:
    speedy.reset(seed=0)
    assert speedy._launch is not None
    for bad in (1.1, -0.1, math.nan):
        with pytest.raises(SimulationError, match="motor speeds"):
            speedy._launch.issue_speeds((0.5, 0.5, 0.5, bad), 0.0)


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"obs": "pixels"}, "unknown obs 'pixels'; choose one of: both, sensors, state"),
        ({"obs": ["state"]}, "unknown obs"),
        ({"action": "pwm"}, "unknown action 'pwm'; choose one of: ctbr, rpm, velocity"),
        ({"action": None}, "unknown action"),
        ({"duration_s": -1.0}, "duration_s"),
        ({"airframe": "dc3"}, "unknown airframe"),
        ({"imu_herz": (1.0, 2.0)}, "unknown options"),
    ],
)
def test_bad_options_are_refused(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        gymnasium.make(name, **options)
