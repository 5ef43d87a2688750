"""Collections of flights in parts that do not depend on who flies them, or on how many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np

from envs.airframe import load_airframe
from liquid_pilot.errors import ConfigError, unknown_name
from policies.curriculum import Curriculum
from policies.imitation.demonstrations import Demonstrations, joined
from policies.imitation.files import Origin
from policies.imitation.flying import Lessons, Mixture
from policies.imitation.teachers import load_teacher

ENGINES: Final = ("batched", "pybullet")
TASKS: Final = ("hover",)
MOST: Final = 32  # drones of a part
LEAST_PARTS: Final = 16  # so that there are as many IMU rates


@dataclass(frozen=True, slots=True)
class Collection:
    """What is recorded. engine: batched flies a fleet of drones at once in each part, pybullet one.

    fleet: drones of a part, which share one IMU rate; by itself as many as leave 16 parts, at most 32.

    noise: see `policies.imitation.flying.Mixture`. keep_state: also the truth.
    """

    task: str = "hover"
    expert: str = "geometric"
    flights: int = 500
    seed: int = 0
    airframe: str = "cf2x"
    engine: str = "batched"
    flight_s: float = 10.0
    noise: float = 0.1
    fleet: int | None = None
    keep_state: bool = False
    curriculum: Curriculum = field(default_factory=Curriculum)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ConfigError(unknown_name("task", self.task, list(TASKS)))
        if self.engine not in ENGINES:
            raise ConfigError(unknown_name("engine", self.engine, list(ENGINES)))
        if self.flights < 1 or self.seed < 0 or (self.fleet is not None and self.fleet < 1):
            raise ConfigError(
                f"flights is {self.flights}, fleet {self.fleet} and seed {self.seed}; give at least 1, 1 and 0"
            )
        if not 0.0 < self.flight_s <= 3600.0 or not 0.0 <= self.noise <= 1.0:
            raise ConfigError(
                f"flight_s is {self.flight_s:g} and noise {self.noise:g}; give 0 to 3600 s and a noise from 0 to 1"
            )

    @property
    def part(self) -> int:
        """Flights of a part; the last one may have fewer."""
        if self.engine == "pybullet":
            return 1
        return min(MOST, max(1, self.flights // LEAST_PARTS)) if self.fleet is None else self.fleet

    @property
    def parts(self) -> int:
        """How many there are."""
        return -(-self.flights // self.part)

    def origin(self) -> Origin:
        """What a file says of the flights. Raises as `load_teacher`."""
        teacher = load_teacher(self.expert, load_airframe(self.airframe))
        own: dict[str, Any] = {name: getattr(self, name) for name in ("engine", "flight_s", "noise", "part")}
        conditions = own | {"curriculum": asdict(self.curriculum)}
        return Origin(self.task, self.airframe, self.expert, teacher.sha256, self.seed, conditions)


def shuffled(parts: Sequence[Demonstrations], seed: int) -> Demonstrations:
    """All flights in an order of chance, so that the first of them are like the rest."""
    flights = joined(parts)
    return flights.pick(np.random.default_rng([seed, 5]).permutation(flights.flights))


def record_part(collection: Collection, number: int) -> Demonstrations:
    """Flights of one part; they follow from the collection and the number alone. Raises as `record_flights`."""
    teacher = load_teacher(collection.expert, load_airframe(collection.airframe))
    seed = int(np.random.default_rng([collection.seed, number]).integers(2**31))
    lessons = Lessons(collection.airframe, collection.curriculum, collection.flight_s)
    drones = min(collection.part, collection.flights - number * collection.part)
    pybullet, mixture = collection.engine == "pybullet", Mixture(noise=collection.noise)
    return lessons.record(drones, teacher, mixture, seed, collection.keep_state, pybullet)
