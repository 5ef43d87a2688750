"""Small teachers, flights and runs for the tests of imitation."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.state_observation import STATE_DIM
from liquid_pilot.observation import OBS_DIM
from policies.curriculum import Curriculum
from policies.imitation.demonstrations import Demonstrations
from policies.imitation.flying import Lessons
from policies.imitation.teachers import Sight
from policies.imitation.trainer import ImitationConfig

SLOW = Curriculum(imu_hz=(22.0, 30.0), mixed_chance=0.0)
LESSONS = Lessons("cf2x", SLOW, 0.4, substep_s=0.02)
TINY = ImitationConfig(
    updates=6,
    batch=8,
    flights=12,
    rounds=3,
    rounds_share=1.0,
    fleet=3,
    flight_s=0.5,
    warm_up=6,
    steps=8,
    validate_every=100,
    validation_flights=2,
    validation_s=0.3,
    substep_s=0.02,
    curriculum=SLOW,
)


def random_flights(seed: int, lengths: tuple[int, ...], with_state: bool = False) -> Demonstrations:
    """Flights of noise."""
    rng, events = np.random.default_rng(seed), sum(lengths)
    return Demonstrations(
        observation=rng.standard_normal((events, OBS_DIM)).astype(np.float32),
        action=rng.uniform(-1.0, 1.0, (events, 4)).astype(np.float32),
        dt_s=rng.uniform(0.002, 0.04, events).astype(np.float32),
        held=rng.random(events) < 0.2,
        length=np.array(lengths, np.int64),
        state=rng.standard_normal((events, STATE_DIM)).astype(np.float32) if with_state else None,
    )


def random_sight(rng: np.random.Generator, drones: int) -> Sight:
    """What drones might show, at attitudes of all kinds."""
    from envs.state_observation import STATE_SLICES
    from liquid_pilot.geometry import rotation_matrix

    state = rng.standard_normal((drones, STATE_DIM)).astype(np.float32)
    q = rng.standard_normal((4, drones))
    w, x, y, z = q / np.linalg.norm(q, axis=0)
    rows: Any = rotation_matrix((w, x, y, z))
    state[:, STATE_SLICES["rotation"]] = np.stack([part for row in rows for part in row], axis=1)
    sensors = rng.standard_normal((drones, OBS_DIM)).astype(np.float32)
    return Sight(sensors, state, rng.uniform(0.002, 0.04, drones), rng.random(drones) < 0.8)


class Answer:
    """A teacher that always answers the same."""

    name, sha256 = "answer", ""

    def __init__(self, value: Any) -> None:
        self.value = value

    def reset(self, drones: int) -> None:
        """Nothing to forget."""

    def act(self, sight: Sight) -> Any:
        """The value, for every drone where it is four numbers."""
        found = np.asarray(self.value)
        return np.tile(found, (len(sight), 1)) if found.shape == (4,) else found
