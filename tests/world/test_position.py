"""The position sensor: rate, noise and delay, losses and faults, who reads it, who has none."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
import pytest

import envs
from envs.airframe import load_airframe
from envs.conditions import Conditions
from envs.faults import parse_fault
from envs.flights import draw_flights
from envs.launch import HandLaunch
from envs.pybullet_quad import PyBulletQuad
from envs.quad_env import QuadEnv
from envs.state_observation import OBS_BOUND
from liquid_pilot import Controller
from liquid_pilot.errors import ConfigError, MessageError
from liquid_pilot.fusion import SensorMemory
from liquid_pilot.messages import Imu, Position
from liquid_pilot.observation import OBS_DIM, POSITION_DIM, POSITION_FIELDS, Located, assemble_position

assert envs.__doc__  # imported for its registration
AIRFRAME = load_airframe("cf2x")
TRACK = "liquid_pilot/Track-v0"
ZERO = (0.0, 0.0, 0.0)
UP = Imu(0.0, (0.0, 0.0, 0.0), (0.0, 0.0, 9.81))


def heard(seconds: float, seed: int = 0, **options: Any) -> list[tuple[float, Position, Any]]:
    """(arrival, message, true place at the arrival) of a drone that is held."""
    conditions = Conditions(hold_s=100.0, **{"position_hz": (30.0, 30.0), **options})
    rng, found = np.random.default_rng(seed), []
    with PyBulletQuad(AIRFRAME) as quad:
        launch = HandLaunch(quad, draw_flights(AIRFRAME, conditions, 1, rng), conditions, rng)
        messages: list[Any] = [*launch.first_messages()]
        while launch.t_s < seconds:
            found += [(launch.t_s, m, launch.body.position_m) for m in messages if isinstance(m, Position)]
            messages = launch.advance()
    return found


def test_it_comes_at_its_rate_late_and_with_the_noise_of_its_model() -> None:
    found = heard(40.0)
    assert len(found) == pytest.approx(40.0 * 30.0, rel=0.05)
    stamps = np.array([m.t_s for _, m, _ in found])
    assert (np.diff(stamps) > 0.0).all() and np.diff(stamps).std() > 0.001  # jitter
    delay = np.array([arrival - m.t_s for arrival, m, _ in found])
    assert delay.min() >= 0.005 - 1e-9 and delay.max() <= 0.020 + 0.011  # and to the next IMU event
    off = np.array([np.subtract(m.position_m, place) for _, m, place in found])
    model = Conditions().sensors.position
    assert off.std(axis=0) == pytest.approx([model.noise_xy_m, model.noise_xy_m, model.noise_z_m], rel=0.1)
    assert (np.abs(off.mean(axis=0)) < 5.0 * model.bias_xy_m).all()
    speed = np.array([m.velocity_m_s for _, m, _ in found])
    assert speed.std(axis=0) == pytest.approx([model.noise_velocity_m_s] * 3, rel=0.1)


def test_the_bias_differs_from_flight_to_flight_alone() -> None:
    means = [np.mean([np.subtract(m.position_m, p) for _, m, p in heard(4.0, seed)], axis=0) for seed in range(12)]
    model = Conditions().sensors.position
    assert np.std(means, axis=0).mean() == pytest.approx(model.bias_xy_m, rel=0.5)


def test_samples_are_lost_as_often_as_asked() -> None:
    kept = len(heard(40.0, position_dropout=(0.4, 0.4))) / len(heard(40.0))
    assert kept == pytest.approx(0.6, abs=0.05)


def test_another_flight_without_it_is_the_same_bits_as_ever() -> None:
    def path(**options: Any) -> list[Any]:
        env = gymnasium.make(TRACK, disable_env_checker=True, reference="steps", **options)
        rows = [env.reset(seed=3)[0].tobytes()]
        rows += [env.step(np.full(4, 0.1, dtype=np.float32))[0].tobytes() for _ in range(80)]
        env.close()
        return rows

    assert path() == path(position_dropout=(0.5, 0.5)) and path(position_hz=(20.0, 50.0)) != path()


def test_the_observation_shows_the_target_from_the_measured_place() -> None:
    env = gymnasium.make(TRACK, disable_env_checker=True, reference="steps", position_hz=(50.0, 50.0), hold_s=0.1)
    own = env.unwrapped
    assert isinstance(own, QuadEnv) and env.observation_space.shape == (OBS_DIM + POSITION_DIM,)
    observation, info = env.reset(seed=1)
    assert env.observation_space.contains(observation)
    for _ in range(60):
        observation, *_, info = env.step(np.zeros(4, dtype=np.float32))
    assert own._flight is not None
    moment = own._flight.moment()
    offset = np.subtract(moment.goal.point.position_m, info["position_m"])
    seen = observation[OBS_DIM : OBS_DIM + 3]
    assert np.linalg.norm(seen) == pytest.approx(np.linalg.norm(offset), abs=0.08)  # what it flew in 40 ms
    forward, left = moment.matrix[0][0], moment.matrix[1][0]
    size = math.hypot(forward, left)
    assert seen[0] == pytest.approx((forward * offset[0] + left * offset[1]) / size, abs=0.08)
    assert 0.0 < observation[-1] < 0.5  # its age
    env.close()


def test_the_layout_is_declared_once() -> None:
    located = Located((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), 1.0, 0.1)
    assert assemble_position(located) == pytest.approx((1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 1.0, 0.5))
    assert sum(field.width for field in POSITION_FIELDS) == POSITION_DIM


@pytest.mark.parametrize("name", ["off", "freeze", "nan", "spike=2m"])
def test_its_faults_reach_the_observation_as_numbers(name: str) -> None:
    fault = (parse_fault(f"position:{name}@0.1s"),)
    env = gymnasium.make(TRACK, disable_env_checker=True, position_hz=(50.0, 50.0), hold_s=0.1, faults=fault)
    rows = [env.reset(seed=1)[0]]
    for _ in range(90):
        rows.append(env.step(np.array([0.0, 0.0, 0.0, 0.0], dtype=np.float32))[0])
    table = np.array(rows)
    assert np.isfinite(table).all() and (np.abs(table) <= OBS_BOUND).all()
    late = table[40:]
    if name in ("off", "nan"):
        assert (late[:, -2] == 0.0).all() and (np.diff(late[:, -1]) > 0.0).all()
    if name == "spike=2m":
        assert np.abs(np.diff(late[:, OBS_DIM : OBS_DIM + 2], axis=0)).max() > 1.0
    env.close()


def test_while_the_imu_is_silent_it_is_not_fresh_and_grows_older() -> None:
    faults = (parse_fault("imu:off@0.2s+0.2s"),)
    env = gymnasium.make(
        TRACK, disable_env_checker=True, position_hz=(50.0, 50.0), hold_s=0.1, imu_jitter=0.0, faults=faults
    )
    observation, info = env.reset(seed=1)
    silent, later = list[Any](), list[Any]()
    while info["t_s"] < 0.6:
        observation, *_, info = env.step(np.zeros(4, dtype=np.float32))
        if info["t_s"] > 0.301:
            (silent if info["t_s"] < 0.495 else later).append(observation[-2:])
    assert len(silent) > 15 and all(fresh == 0.0 for fresh, _ in silent)
    assert later[0][0] == 1.0  # what came meanwhile is new to the next step
    steps = np.diff([age for _, age in silent])
    assert (steps > 0.0).any() and (steps < 0.0).any()  # older from event to event, younger by a new sample
    env.close()


def test_a_memory_takes_what_is_sane_and_newer() -> None:
    memory = SensorMemory()
    assert memory.take_position()[0] is None
    good = Position(0.02, (1.0, 2.0, 3.0), (0.0, 0.0, 0.0))
    assert memory.accept(UP) is None and memory.accept(good) is None
    assert memory.take_position() == (good, 1.0, 0.0) and memory.take_position()[1] == 0.0
    for bad, words in (
        (Position(0.01, ZERO, ZERO), "after"),
        (Position(0.03, (math.nan, 0.0, 0.0), ZERO), "place"),
        (Position(0.03, ZERO, (0.0, math.inf, 0.0)), "velocity"),
        (Position(math.nan, ZERO, ZERO), "time"),
    ):
        error = memory.accept(bad)
        assert error is not None and words in str(error)
    assert memory.take_position()[0] == good


def test_a_controller_is_fed_with_it_and_counts_what_it_refuses() -> None:
    controller = Controller.load("hover")
    controller.feed(UP)
    assert controller.feed(Position(0.01, (0.0, 0.0, 1.0), (0.0, 0.0, 0.0))) is None
    assert controller.feed(Position(0.02, (math.nan, 0.0, 1.0), (0.0, 0.0, 0.0))) is None
    assert controller.counters["rejected_position"] == 1
    with pytest.raises(MessageError, match="position_m"):
        Position(0.0, (1.0, 2.0), (0.0, 0.0, 0.0))  # type: ignore[arg-type]


@pytest.mark.parametrize("span", [(0.1, 1.0), (5.0, 5000.0), (20.0, 10.0)])
def test_rates_that_are_none_are_refused(span: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="position_hz"):
        Conditions(position_hz=span)


def test_many_drones_of_gymnasium_have_none() -> None:
    with pytest.raises(ConfigError, match="position sensor"):
        gymnasium.make_vec(TRACK, num_envs=2, vectorization_mode="vector_entry_point", position_hz=(20.0, 20.0))
