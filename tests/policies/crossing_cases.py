"""Small fleets and runs for the tests of imitation in forests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from envs.airframe import load_airframe
from envs.avoid import sighted
from envs.batched_forest import ForestFleet
from envs.conditions import Conditions
from envs.flights import Flights, draw_flights
from envs.task import Course
from liquid_pilot.flow_grid import DEFAULT_GRID
from policies.drills import drill_of
from policies.imitation.trainer import ImitationConfig, usual_config
from policies.network import PolicyNetwork, avoid_spec

AIRFRAME, DRILL, SUBSTEP_S = load_airframe("cf2x"), drill_of("avoid"), 0.01
CONDITIONS = replace(sighted(Conditions(imu_hz=(60.0, 60.0), hold_s=0.1), (28.0, 30.0)), setpoint_speed_m_s=(2.0, 3.0))
SLOW = replace(DRILL.curriculum, imu_hz=(45.0, 50.0), mixed_chance=0.0)
TINY: ImitationConfig = usual_config(
    "avoid",
    updates=6,
    batch=4,
    flights=4,
    rounds=2,
    rounds_share=1.0,
    fleet=2,
    flight_s=0.4,
    warm_up=6,
    steps=12,
    validate_every=100,
    validation_flights=2,
    validation_s=0.5,
    substep_s=SUBSTEP_S,
    curriculum=SLOW,
)


def flights_of(drones: int, conditions: Conditions = CONDITIONS) -> tuple[Flights, Course]:
    """Lessons of a few seconds."""
    rng = np.random.default_rng(11)
    flights = draw_flights(AIRFRAME, conditions, drones, rng, 2.0)
    return DRILL.lessons(flights, AIRFRAME, DRILL.curriculum, 2.0, rng)


def fleet_of(drones: int, conditions: Conditions = CONDITIONS, seed: int = 5) -> ForestFleet:
    """In the hand."""
    flights, course = flights_of(drones, conditions)
    rng = np.random.default_rng(seed)
    return ForestFleet(AIRFRAME, DRILL.aim(2.0), flights, course, conditions, rng, SUBSTEP_S)


def student_of(seed: int = 3) -> PolicyNetwork:
    """A fresh network that sees."""
    return PolicyNetwork(avoid_spec("decay", DEFAULT_GRID), seed)
