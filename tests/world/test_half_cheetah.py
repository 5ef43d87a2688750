"""Laws of HalfCheetah: the original environment at its own rhythm, the same physics at any, honest clocks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.utils.seeding import np_random
from hypothesis import given
from hypothesis import strategies as st

import envs  # noqa: F401  # registers the environment
from envs.half_cheetah import env as env_module
from envs.half_cheetah.env import BOUND, HalfCheetahEnv
from envs.half_cheetah.rhythm import REGULAR, Rhythm, changed, parse_frames
from envs.half_cheetah.rollout import calls, check_policy, run_episode
from envs.half_cheetah.simulators import SIMULATORS, BulletCheetah, MujocoCheetah, make_simulator
from liquid_pilot.cells import Network
from liquid_pilot.errors import ConfigError, LiquidPilotError, MessageError, MissingExtraError, SimulationError
from liquid_pilot.half_cheetah import ACTIONS, AGE_SCALE_S, MOST_FRAMES, TIME_FIELDS, CheetahLayout, body_fields
from liquid_pilot.observation import DT_SCALE_S, OBS_FIELDS
from tests.onboard.bundles import make, make_cheetah

FRESH, AGE, DT = -3, -2, -1
POSITIONS = [0, 1, 2, 6, 7, 8, 10, 12, 14, 16, 18, 20, 21, 22, 23, 24, 25]
VELOCITIES = [3, 4, 5, 9, 11, 13, 15, 17, 19]
try:
    import mujoco  # noqa: F401

    NAMES = ["pybullet", "mujoco"]
except ImportError:
    NAMES = ["pybullet"]
both = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(name="short")
def short_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Episodes of 60 usual calls."""
    monkeypatch.setattr(env_module, "USUAL_CALLS", 60)


def original(name: str) -> Any:
    """The environment that others train in, with its own limit of time."""
    if name == "mujoco":
        return gymnasium.make("HalfCheetah-v5", disable_env_checker=True)
    import pybullet_envs_gymnasium  # noqa: F401

    made = gymnasium.make("HalfCheetahBulletEnv-v0", disable_env_checker=True)
    made.reset(seed=0)  # its first episode measures the place from other parts than later ones
    return made


def wave(k: int) -> npt.NDArray[Any]:
    """Torques of call k, which make it go somewhere."""
    found: npt.NDArray[Any] = np.sin(0.35 * k + np.arange(6.0)) * np.array([1.0, 0.8, 0.6, 1.0, 0.7, 0.9])
    return found


@both
def test_at_its_own_rhythm_an_episode_is_that_of_the_original_environment(name: str) -> None:
    seed = 11
    with closing(HalfCheetahEnv(name, obs="state")) as ours, closing(original(name)) as theirs:
        shown, _ = ours.reset(seed=seed)
        raw, _ = theirs.reset(seed=int(np_random(seed)[0].integers(2**31)))
        layout, total, over, k, info = CheetahLayout(name), 0.0, False, 0, dict[str, Any]()
        np.testing.assert_array_equal(shown, layout.body(np.asarray(raw, np.float64)))
        while not over:
            shown, reward, lost, over, info = ours.step(wave(k))
            raw, wanted, _, out_of_time, _ = theirs.step(wave(k))
            np.testing.assert_array_equal(shown, layout.body(np.asarray(raw, np.float64)))
            assert reward == wanted and over == out_of_time and not lost
            total, k = total + float(wanted), k + 1
    assert k == 1000 and info["episode_return"] == pytest.approx(total, abs=1e-9)
    assert abs(total) > 100.0 and abs(info["place_m"]) > 0.5  # it went somewhere


def test_one_call_of_four_frames_is_four_calls_of_one_in_pybullet() -> None:
    with closing(BulletCheetah()) as whole, closing(BulletCheetah()) as parts:
        np.testing.assert_array_equal(whole.reset(3), parts.reset(3))
        late = 0
        for k in range(150):
            ours, reward = whole.advance(wave(k), 4)
            quarters, theirs = 0.0, np.zeros(26)
            for _ in range(4):
                theirs, part = parts.advance(wave(k), 1)
                alive, progress, *costs = parts._env.rewards
                quarters += progress
                assert part == pytest.approx(progress + 0.25 * (alive + sum(costs)), abs=1e-12)
            np.testing.assert_array_equal(ours[:20], theirs[:20])
            late += bool((ours[20:] != theirs[20:]).any())
            alive, progress, *costs = whole._env.rewards
            assert reward == pytest.approx(progress + alive + sum(costs), abs=1e-12)
            assert quarters == pytest.approx(progress, abs=1e-6)  # progress is the way, however it is cut
        assert 0 < late < 150  # contacts are of the call before, as `advance` tells


@pytest.mark.skipif("mujoco" not in NAMES, reason="needs mujoco")
def test_one_call_of_five_frames_is_five_calls_of_one_in_mujoco() -> None:
    with closing(MujocoCheetah()) as whole, closing(MujocoCheetah()) as parts:
        np.testing.assert_array_equal(whole.reset(3), parts.reset(3))
        for k in range(100):
            ours, reward = whole.advance(wave(k), 5)
            rows = [parts.advance(wave(k), 1) for _ in range(5)]
            np.testing.assert_array_equal(ours, rows[-1][0])
            assert reward == pytest.approx(sum(part for _, part in rows), abs=1e-9)


@both
@pytest.mark.parametrize("frames", [None, (1, 1), (1, 6), (7, 7), (100, 100)])
def test_an_episode_lasts_as_many_frames_at_any_rhythm(name: str, frames: tuple[int, int] | None, short: None) -> None:
    usual = SIMULATORS[name].usual_frames
    with closing(HalfCheetahEnv(name, rhythm=Rhythm(frames))) as env:
        for seed in (0, 1):
            shown, info = env.reset(seed=seed)
            assert info["dt_s"] == 0.0 and shown[DT] == 0.0 and info["t_s"] == 0.0
            took, over, lengths = 0.0, False, list[int]()
            while not over:
                shown, _, _, over, info = env.step(wave(len(lengths)))
                lengths.append(info["frames"])
                took += info["dt_s"]
                assert shown[DT] == pytest.approx(info["dt_s"] / DT_SCALE_S, rel=1e-6)
                assert info["t_s"] == pytest.approx(took, abs=1e-9)
            low, high = frames or (usual, usual)
            assert sum(lengths) == 60 * usual and took == pytest.approx(60 * usual * env.simulator.frame_s)
            assert all(low <= length <= high for length in lengths[:-1]) and 0 < lengths[-1] <= high
            if low < high:
                assert set(lengths) >= set(range(low, high + 1))


@dataclass
class Run:
    shown: npt.NDArray[np.float32]
    rewards: list[float]


def run(env: HalfCheetahEnv, seed: int) -> Run:
    shown, _ = env.reset(seed=seed)
    rows, rewards, over = [shown], list[float](), False
    while not over:
        shown, reward, _, over, _ = env.step(wave(len(rewards)))
        rows.append(shown)
        rewards.append(reward)
    return Run(np.array(rows), rewards)


HARD = Rhythm(frames=(1, 6), dropped=0.4, delay_frames=(0, 5), noise=0.1)


@both
def test_the_seed_decides_an_episode_whatever_came_before_it(name: str, short: None) -> None:
    with closing(HalfCheetahEnv(name, rhythm=HARD)) as first, closing(HalfCheetahEnv(name, rhythm=HARD)) as second:
        fresh, other = run(first, 5), run(first, 6)
        for again in (run(first, 5), run(second, 5)):  # in a third episode, and in a first
            np.testing.assert_array_equal(again.shown, fresh.shown)
            assert again.rewards == fresh.rewards
    assert other.shown.shape != fresh.shown.shape or not np.array_equal(other.shown, fresh.shown)


def test_dropped_observations_are_held_told_and_age(short: None) -> None:
    rhythm = Rhythm(frames=(1, 6), dropped=0.5)
    with closing(HalfCheetahEnv(obs="both", rhythm=rhythm)) as env:
        seen, info = env.reset(seed=2)
        held, age_s, over, fresh = seen["sensors"][:FRESH], 0.0, False, list[bool]()
        while not over:
            seen, _, _, over, info = env.step(wave(len(fresh)))
            sensors = seen["sensors"]
            fresh.append(bool(sensors[FRESH]))
            assert sensors[FRESH] in (0.0, 1.0)
            if fresh[-1]:
                held, age_s = sensors[:FRESH], 0.0
                np.testing.assert_array_equal(held, seen["state"])
            else:
                age_s += info["dt_s"]
                np.testing.assert_array_equal(sensors[:FRESH], held)
                assert not np.array_equal(held, seen["state"])
            assert sensors[AGE] == pytest.approx(age_s / (age_s + AGE_SCALE_S), rel=1e-5)
    assert 0.3 < np.mean(fresh) < 0.7


def age_frames(sensors: npt.NDArray[np.float32], frame_s: float) -> int:
    share = float(sensors[AGE])
    return round(share * AGE_SCALE_S / (1.0 - share) / frame_s)


@pytest.mark.parametrize("delay", [1, 4, 9])
def test_a_late_observation_is_shown_at_the_first_call_after_its_delay(delay: int, short: None) -> None:
    rhythm = Rhythm(frames=(1, 6), delay_frames=(delay, delay))
    with closing(HalfCheetahEnv(obs="both", rhythm=rhythm)) as env:
        seen, _ = env.reset(seed=3)
        truth = {0: seen["state"]}
        now, shown_before, over, k = 0, 0, False, 0
        while not over:
            seen, _, _, over, info = env.step(wave(k))
            now, k = now + info["frames"], k + 1
            truth[now] = seen["state"]
            taken = max([0, *(frame for frame in truth if frame and frame + delay <= now)])
            sensors = seen["sensors"]
            np.testing.assert_array_equal(sensors[:FRESH], truth[taken])
            assert age_frames(sensors, env.simulator.frame_s) == now - taken
            assert bool(sensors[FRESH]) == (taken > shown_before)
            shown_before = taken
    assert shown_before > 0


def test_what_overtakes_is_not_overtaken_back(short: None) -> None:
    rhythm = Rhythm(frames=(1, 2), delay_frames=(0, 12))
    with closing(HalfCheetahEnv(rhythm=rhythm)) as env:
        env.reset(seed=4)
        now, before, over, skipped, late = 0, 0, False, 0, 0
        while not over:
            shown, _, _, over, info = env.step(wave(now))
            now += info["frames"]
            taken = now - age_frames(shown, env.simulator.frame_s)
            assert taken >= before and bool(shown[FRESH]) == (taken > before)
            skipped += taken - before > 2
            late += taken < now
            before = taken
    assert skipped and late


@both
def test_noise_is_as_strong_as_told_and_not_in_the_truth(name: str) -> None:
    with closing(HalfCheetahEnv(name, obs="both", rhythm=Rhythm(noise=0.2))) as noisy:
        rows = [noisy.reset(seed=5)[0], *(noisy.step(wave(k))[0] for k in range(300))]
    with closing(HalfCheetahEnv(name, obs="both")) as clean:
        plain = [clean.reset(seed=5)[0], *(clean.step(wave(k))[0] for k in range(300))]
    for row in plain:
        np.testing.assert_array_equal(row["sensors"][:FRESH], row["state"])
    errors = np.array([row["sensors"][:FRESH] - row["state"] for row in rows])
    assert errors.std() == pytest.approx(0.2, rel=0.05) and abs(errors.mean()) < 0.01
    # the noise is drawn after the start, so that both began alike
    np.testing.assert_array_equal(rows[0]["state"], plain[0]["state"])
    np.testing.assert_array_equal(rows[-1]["state"], plain[-1]["state"])


def test_the_partial_observations_are_the_published_ones() -> None:
    assert sorted(CheetahLayout("pybullet", "positions").index) == POSITIONS
    assert sorted(CheetahLayout("pybullet", "velocities").index) == VELOCITIES
    assert sorted(CheetahLayout("mujoco", "positions").index) == list(range(8))
    assert sorted(CheetahLayout("mujoco", "velocities").index) == list(range(8, 17))


@pytest.mark.parametrize("name", ["pybullet", "mujoco"])
def test_positions_and_velocities_are_the_whole_once(name: str) -> None:
    full, some, others = (CheetahLayout(name, observe) for observe in ("full", "positions", "velocities"))
    assert not set(some.index) & set(others.index)
    assert sorted([*some.index, *others.index]) == sorted(full.index) == list(range(len(full.index)))
    for layout in (full, some, others):
        assert sum(entry["width"] for entry in layout.manifest()) == layout.width == len(layout.index) + 3
        assert len(layout.meanings()) == len(layout.manifest())
        assert layout.manifest()[-1] == {"name": "dt_s", "width": 1, "unit": "s", "scale": DT_SCALE_S, "index": []}
        raw = np.arange(len(full.index)) + 1.0
        np.testing.assert_allclose(layout.body(raw) * layout.scale, np.array(layout.index) + 1.0, rtol=1e-6)
        seen = layout.assemble(layout.body(raw), True, AGE_SCALE_S, 2.0 * DT_SCALE_S)
        np.testing.assert_array_equal(seen[-3:], np.array([1.0, 0.5, 2.0], np.float32))
    assert OBS_FIELDS[-1].name == TIME_FIELDS[-1][0] == "dt_s"
    assert OBS_FIELDS[-1].scale == TIME_FIELDS[-1][2] == DT_SCALE_S


@pytest.mark.parametrize("name", ["pybullet", "mujoco"])
def test_what_is_called_a_velocity_is_one(name: str) -> None:
    for field in body_fields(name, "full"):
        assert field.moves == ("m/s" in field.unit or "rad/s" in field.unit)


@both
@pytest.mark.parametrize("obs", ["sensors", "state", "both"])
def test_gymnasium_finds_nothing_wrong(name: str, obs: str) -> None:
    with closing(gymnasium.make("liquid_pilot/HalfCheetah-v0", simulator=name, obs=obs, rhythm=HARD)) as env:
        check_env(env.unwrapped, skip_render_check=True)


def test_pictures_are_pictures() -> None:
    with closing(HalfCheetahEnv(render_mode="rgb_array")) as env:
        env.reset(seed=0)
        picture = env.render()
        assert picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == np.uint8 and picture.std() > 1.0
    with closing(HalfCheetahEnv()) as env:
        env.reset(seed=0)
        assert env.render() is None


@pytest.mark.skipif("mujoco" not in NAMES, reason="needs mujoco")
def test_mujoco_without_graphics_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise AttributeError("no display")

    with closing(HalfCheetahEnv("mujoco", render_mode="rgb_array")) as env:
        env.reset(seed=0)
        monkeypatch.setattr(env.simulator, "_env", type("Blind", (), {"render": staticmethod(fail), "close": fail}))
        with pytest.raises(SimulationError, match=r"no display.*MUJOCO_GL=egl"):
            env.render()
        monkeypatch.undo()


@pytest.mark.skipif("mujoco" not in NAMES, reason="needs mujoco")
def test_mujoco_writes_no_log_file_and_leaves_the_handler_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import mujoco

    monkeypatch.chdir(tmp_path)
    with closing(MujocoCheetah()) as cheetah:
        cheetah.reset(0)
        cheetah._env.data.qvel[:] = 1e9
        cheetah.advance(np.ones(6), 5)
    module: Any = mujoco
    assert module.get_mju_user_warning() is None
    assert not list(tmp_path.iterdir()) and capfd.readouterr().err == ""


def test_a_lost_simulation_ends_the_episode_without_a_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(HalfCheetahEnv(obs="both", rhythm=Rhythm(dropped=0.5))) as env:
        env.reset(seed=0)
        earned = np.sum([env.step(wave(k))[1] for k in range(5)])
        age_s = float(env._frame - env._taken) * env.simulator.frame_s
        monkeypatch.setattr(env.simulator, "advance", lambda action, frames: (np.full(26, np.nan), np.nan))
        seen, reward, lost, late, info = env.step(wave(0))
        assert lost and not late and reward == 0.0 and info["episode_return"] == pytest.approx(earned)
        assert all(np.isfinite(part).all() for part in seen.values()) and seen["sensors"][FRESH] == 0.0
        age_s += info["dt_s"]
        assert seen["sensors"][AGE] == pytest.approx(age_s / (age_s + AGE_SCALE_S), rel=1e-5)
        with pytest.raises(SimulationError, match="reset"):
            env.step(wave(0))


def test_readings_stay_inside_of_the_space(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(HalfCheetahEnv(obs="both")) as env:
        env.reset(seed=0)
        monkeypatch.setattr(env.simulator, "advance", lambda action, frames: (np.full(26, 1e9), 0.0))
        seen, *_ = env.step(wave(0))
        assert env.observation_space.contains(seen) and seen["state"].max() == BOUND


def options(**changed: Any) -> Callable[[], Any]:
    return lambda: HalfCheetahEnv(**changed)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (options(simulator="gazebo"), "gazebo.*pybullet"),
        (options(observe="half"), "half.*positions"),
        (options(obs="pixels"), "pixels.*sensors"),
        (options(rhythm=(1, 6)), "tuple.*Rhythm"),
        (options(render_mode="human"), "human.*rgb_array"),
        (lambda: make_simulator("ode"), "ode.*mujoco"),
        (lambda: Rhythm(frames=(0, 4)), "frames.*from 1 to 100"),
        (lambda: Rhythm(frames=(6, 1)), "frames"),
        (lambda: Rhythm(frames=(1, MOST_FRAMES + 1)), "frames"),
        (lambda: Rhythm(frames=4), "frames.*fewest"),  # type: ignore[arg-type]
        (lambda: Rhythm(frames=(1.0, 2.0)), "frames"),  # type: ignore[arg-type]
        (lambda: Rhythm(frames=(True, 2)), "frames"),
        (lambda: Rhythm(dropped=1.0), "below 1"),
        (lambda: Rhythm(dropped=float("nan")), "dropped"),
        (lambda: Rhythm(dropped="half"), "dropped"),  # type: ignore[arg-type]
        (lambda: Rhythm(delay_frames=(-1, 0)), "delay_frames.*from 0"),
        (lambda: Rhythm(noise=-0.1), "noise"),
        (lambda: Rhythm(noise=float("inf")), "noise"),
        (lambda: Rhythm(noise=None), "noise"),  # type: ignore[arg-type]
        (lambda: check_policy(make()), "of the task hover"),
    ],
)
def test_options_that_do_not_exist_are_refused_with_those_that_do(wrong: Callable[[], Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        wrong()


@pytest.mark.parametrize(
    "action",
    ["run", None, np.zeros(5), np.zeros((1, 6)), np.full(6, np.nan), np.array([0.0] * 5 + [np.inf]), 0.0],
)
def test_actions_that_are_none_are_refused(action: Any) -> None:
    with closing(HalfCheetahEnv()) as env:
        env.reset(seed=0)
        with pytest.raises(MessageError, match="6 finite numbers"):
            env.step(action)


def test_torques_beyond_the_largest_are_the_largest() -> None:
    with closing(HalfCheetahEnv()) as env:
        found = []
        for size in (1.0, 7.0):
            env.reset(seed=0)
            found.append([env.step((size * np.sign(wave(k))).astype(np.float32))[0] for k in range(10)])
        np.testing.assert_array_equal(found[0], found[1])


def test_steps_outside_of_an_episode_are_refused(short: None) -> None:
    with closing(HalfCheetahEnv()) as env:
        with pytest.raises(SimulationError, match="reset"):
            env.step(wave(0))
        run(env, 0)
        with pytest.raises(SimulationError, match="reset"):
            env.step(wave(0))
        env.reset(seed=1)
        env.step(wave(0))


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("pybullet", "pybullet_envs_gymnasium.gym_locomotion_envs"),
        ("pybullet", "pybullet"),
        ("mujoco", "gymnasium.envs.mujoco.half_cheetah_v5"),
        ("mujoco", "mujoco"),
    ],
)
def test_a_missing_package_is_named_with_the_way_to_get_it(
    name: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match="pip install"):
        HalfCheetahEnv(name)


@given(st.tuples(st.integers(0, 200), st.integers(0, 200)))
def test_every_span_is_read_as_written_or_refused(span: tuple[int, int]) -> None:
    low, high = span
    assert parse_frames("frames", f"{low}-{high}") == span and parse_frames("frames", str(low)) == (low, low)
    if 1 <= low <= high <= MOST_FRAMES:
        assert changed(REGULAR, f"{low}-{high}", None, None, None) == Rhythm(frames=span)
    else:
        with pytest.raises(ConfigError, match="frames"):
            changed(REGULAR, f"{low}-{high}", None, None, None)


@given(st.text(max_size=8))
def test_any_other_text_is_refused_with_an_example(text: str) -> None:
    parts = text.split("-")
    plain = len(parts) <= 2 and all(part.isascii() and part.isdigit() for part in parts)
    if not plain:
        with pytest.raises(ConfigError, match="1-6"):
            parse_frames("frames", text)


@given(st.floats(), st.floats())
def test_shares_and_noise_make_a_rhythm_or_a_clear_error(dropped: float, noise: float) -> None:
    good = 0.0 <= dropped < 1.0 and 0.0 <= noise < float("inf")
    try:
        found = changed(REGULAR, None, dropped, None, noise)
    except LiquidPilotError as error:
        assert not good and "give a" in str(error)
    else:
        assert good and found == Rhythm(dropped=dropped, noise=noise)


@pytest.fixture(name="policy", scope="module")
def policy_of_noise() -> Iterator[Network]:
    made = make_cheetah(observe="positions")
    yield Network(made.spec, made.weights)


def test_a_recorded_episode_is_what_its_calls_were(policy: Network, short: None) -> None:
    with closing(HalfCheetahEnv(observe="positions", rhythm=HARD)) as env:
        found, rows = run_episode(env, policy, 7), list(calls(env, policy, 7))
        assert found.calls == len(rows) and not found.lost and found.total == pytest.approx(env._return)
        assert found.sensors.shape == (found.calls, env.layout.width) and found.actions.shape == (found.calls, ACTIONS)
        h = policy.initial_state()
        dt_s = np.diff(found.t_s, prepend=0.0)
        for k, row in enumerate(rows):  # the policy was told the true time, and nothing but its sensors
            action, h = policy.step(found.sensors[k], h, float(dt_s[k]))
            np.testing.assert_allclose(action, found.actions[k], atol=1e-5)
            assert row.reward == found.reward[k] and row.t_s == found.t_s[k]
            assert found.sensors[k, DT] == pytest.approx(dt_s[k] / DT_SCALE_S, abs=1e-5)
        assert found.speed_m_s == pytest.approx((found.place_m[-1] - found.place_m[0]) / found.t_s[-1], abs=1e-9)
