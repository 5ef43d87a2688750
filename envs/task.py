"""What a flying task is: pure functions of one moment of a flight, composed by `envs.quad_env.QuadEnv`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Generic, TypeAlias, TypeVar

import numpy as np

from envs.airframe import Airframe
from envs.conditions import Conditions
from envs.flights import Flights
from envs.physics import Body
from envs.references import Reference, ReferencePoint
from liquid_pilot.geometry import Matrix3
from liquid_pilot.messages import Floats2, Setpoint
from liquid_pilot.ops import Vec4

TUMBLE_COS: Final = 0.0  # past 90 degrees of tilt


@dataclass(frozen=True, slots=True)
class Goal:
    """What is asked for now: the set-point that the sensors' observation shows, and the same in world axes.

    phase: part of the task, for tasks that have parts.
    """

    setpoint: Setpoint
    point: ReferencePoint
    phase: str = ""


Plan: TypeAlias = Callable[[float, Body[float]], Goal]  # of seconds since the release (0 in the hand), true motion


@dataclass(frozen=True, slots=True)
class Moment:
    """The truth at an IMU event, for rewards, ends and privileged observations.

    since_release_s is negative infinity in the hand; lowest_m and highest_m are over all substeps since the release.
    touchdown_m_s is the speed of the fastest touchdown so far, clearance_m the height over a standing drone's,
    lift the thrust of all rotors over the weight, both nominal.
    """

    since_release_s: float
    duration_s: float
    dt_s: float
    body: Body[float]
    matrix: Matrix3[float]
    motor_speed: Vec4[float]
    goal: Goal
    lowest_m: float
    highest_m: float
    touchdown_m_s: float
    clearance_m: float
    lift: float

    @property
    def upright(self) -> float:
        """Cosine of the tilt."""
        return self.matrix[2][2]


class Outcome(Enum):
    """How a flight stands: it goes on, it is lost, or the task is done before its time is up."""

    FLYING = "flying"
    LOST = "lost"
    DONE = "done"


P = TypeVar("P")  # what a task remembers of a flight, immutable


@dataclass(frozen=True, slots=True)
class Task(Generic[P]):
    """A task. launch: the drawn flights as they begin here; plan: what to fly in the first of them.

    reward_per_s: at an IMU event. judge: what is remembered after an event (begin at first), and how the flight stands;
    succeeded: asked when the time is up. describe: further entries of `info`.
    """

    conditions: Conditions
    duration_s: float
    launch: Callable[[Flights, Airframe], Flights]
    plan: Callable[[Flights, float, np.random.Generator], Plan]  # of the flights, duration_s and random numbers
    reward_per_s: Callable[[Moment], float]
    begin: P
    judge: Callable[[P, Moment], tuple[P, Outcome]]
    succeeded: Callable[[P], bool]
    describe: Callable[[P, Moment], dict[str, Any]]


def from_hand(flights: Flights, airframe: Airframe) -> Flights:
    """Thrown from the hand, as drawn."""
    return flights


def following_reward_per_s(body: Body[float], point: ReferencePoint) -> float:
    """Reward per second of flight: 1 for following perfectly, never below -1.

    Less 1 per m/s of horizontal speed error, 1 per m of height error, 0.2 per m/s of error of the climb and 0.05 per
    rad/s of body rate.
    """
    v, wanted = body.velocity_m_s, point.velocity_m_s
    across = math.hypot(v[0] - wanted[0], v[1] - wanted[1])
    height = abs(body.position_m[2] - point.position_m[2])
    spin = math.sqrt(sum(rate * rate for rate in body.rates_rad_s))
    return max(-1.0, 1.0 - across - height - 0.2 * abs(v[2] - wanted[2]) - 0.05 * spin)


def setpoint_goal(setpoint: Setpoint, body: Body[float]) -> Goal:
    """A set-point as a goal that moves with the drone: it asks for velocity and height, for no place."""
    x, y, _ = body.position_m
    vx, vy = turned(setpoint.velocity_m_s, heading_rad(body))
    return Goal(setpoint, ReferencePoint((x, y, setpoint.height_m), (vx, vy, 0.0), (0.0, 0.0, 0.0)))


def reference_goal(reference: Reference, t_s: float, body: Body[float], phase: str = "") -> Goal:
    """A point of a path as a goal; its velocity is told in the frame of the drone's true heading."""
    point = reference(t_s)
    across = turned((point.velocity_m_s[0], point.velocity_m_s[1]), -heading_rad(body))
    return Goal(Setpoint(t_s, across, point.position_m[2], 0.0), point, phase)


def heading_rad(body: Body[float]) -> float:
    """Yaw of the body."""
    w, x, y, z = body.attitude_wxyz
    return math.atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z))


def turned(vector: Floats2, angle_rad: float) -> Floats2:
    """A horizontal vector turned to the left."""
    (x, y), c, s = vector, math.cos(angle_rad), math.sin(angle_rad)
    return c * x - s * y, s * x + c * y
