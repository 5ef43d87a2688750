"""What a flying task is: pure functions of one moment of a flight, written over `ops`.

`envs.quad_env.QuadEnv` flies a task with one drone on Python floats, `envs.batched_env.BatchedQuadEnv` with many on
arrays. What a condition says is a number, 1 or 0, so that both do the same without an `if`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any, Final, Generic, TypeAlias

import numpy as np
import numpy.typing as npt

from envs.airframe import Airframe
from envs.conditions import Conditions
from envs.flights import Flights
from envs.flow_grid import Sight
from envs.physics import Body
from envs.references import Path, ReferencePoint, path_point
from envs.scoring import CEILING_M, FLOOR_M
from liquid_pilot.geometry import Matrix3, heading
from liquid_pilot.ops import Ops, S, Vec2, Vec4

TUMBLE_COS: Final = 0.0  # past 90 degrees of tilt

Course: TypeAlias = npt.NDArray[np.float64]  # (k, n): the k numbers that say what each of n flights shall fly
Memory: TypeAlias = tuple[Any, ...]  # what a task remembers of a flight: numbers


@dataclass(frozen=True, slots=True)
class Goal(Generic[S]):
    """What is asked for now: the set-point that the sensors' observation shows, and the same in world axes.

    velocity_m_s is told in the heading frame; phase: number of the task's phase, for tasks that have such; settled: 0
    in a transient, where errors of speed and height do not count, else 1; aloft: 0 where the floor may be touched;
    blocked_m: along the course to where there is no way through, which lessons know and pilots are not told.
    """

    velocity_m_s: Vec2[S]
    height_m: S
    yaw_rate_rad_s: S
    point: ReferencePoint[S]
    phase: Any = 0.0
    settled: Any = 1.0
    aloft: Any = 1.0
    blocked_m: Any = math.inf


@dataclass(frozen=True, slots=True)
class Moment(Generic[S]):
    """The truth at an IMU event, for rewards, ends and privileged observations.

    since_release_s is negative infinity in the hand; lowest_m and highest_m are since the release (one drone: over
    all substeps, many: over IMU events). touchdown_m_s is the speed of the fastest touchdown so far, clearance_m the
    height over a standing drone's, lift the thrust of all rotors over the weight, both nominal. free_m: see
    `envs.launch.HandLaunch`.
    """

    since_release_s: S
    duration_s: float
    dt_s: S
    body: Body[S]
    matrix: Matrix3[S]
    motor_speed: Vec4[S]
    goal: Goal[S]
    lowest_m: S
    highest_m: S
    touchdown_m_s: S
    clearance_m: S
    lift: S
    free_m: Any = math.inf

    @property
    def upright(self) -> S:
        """Cosine of the tilt."""
        return self.matrix[2][2]


@dataclass(frozen=True, slots=True)
class Task:
    """A task. launch: the drawn flights as they begin here; course: what to fly in each of them, (k, n) numbers.

    goal: of the k numbers of a course, seconds since the release (0 in the hand) and the true motion. reward_per_s: at
    an IMU event. judge: what is remembered after an event (begin at first), and 1 where the flight is lost, 1 where it
    is done; succeeded: 1 or 0, asked when the time is up, unmet: what is wrong where it is 0. describe: further entries
    of `info`; phases: names of the goal's phases, shown in `info` as phase_name. places: the goal is
    a place, which pilots are told, beside what moves with them. sees: see `Aim`, camera: by its pictures; pilots are
    told a course, and flights are done when crosses_m of it lie behind them.
    """

    conditions: Conditions
    duration_s: float
    launch: Callable[[Flights, Airframe], Flights]
    course: Callable[[Flights, float, np.random.Generator], Course]  # of the flights, duration_s and random numbers
    goal: Callable[[Ops, Sequence[Any], Any, Body[Any]], Goal[Any]]
    reward_per_s: Callable[[Ops, Moment[Any]], Any]
    begin: Memory
    judge: Callable[[Ops, Memory, Moment[Any]], tuple[Memory, Any, Any]]
    succeeded: Callable[[Ops, Memory], Any]
    describe: Callable[[Ops, Memory, Moment[Any]], dict[str, Any]]
    unmet: str
    phases: tuple[str, ...] = ()
    phase_name: str = "phase"
    places: bool = False
    sees: Sight | None = None
    camera: bool = False
    crosses_m: float = 0.0


@dataclass(frozen=True, slots=True)
class Aim:
    """What a batched engine knows of a task: how many numbers a course has, and the goal as of `Task.goal`.

    locates: the goal is a place. Drones have a position sensor and are told where the goal is; errors are of place.
    feet: the floor holds a drone level, as flights that begin and end there need it; see `envs.physics.held_level`.
    sees: the forest and the flow grid of a drone that crosses one; its trees are the last rows of a course.
    """

    rows: int
    goal: Callable[[Ops, Sequence[Any], Any, Body[Any]], Goal[Any]]
    locates: bool = False
    feet: bool = False
    sees: Sight | None = None


def with_own(make: Callable[..., Task], options: Mapping[str, Any]) -> tuple[Task, dict[str, Any]]:
    """The task that `make` makes of those of the options that it knows, and the others. Raises as `make`."""
    known = signature(make).parameters
    own = {name: value for name, value in options.items() if name in known}
    return make(**own), {name: value for name, value in options.items() if name not in known}


def from_hand(flights: Flights, airframe: Airframe) -> Flights:
    """Thrown from the hand, as drawn."""
    return flights


def exceeds(ops: Ops, value: Any, limit: Any) -> Any:
    """1 where value > limit, else 0; 0 for what is no number."""
    return ops.select(value, limit, 1.0, 0.0)


def any_of(ops: Ops, first: Any, *others: Any) -> Any:
    """1 where one of the conditions holds."""
    for other in others:
        first = ops.maximum(first, other)
    return first


def crashed(ops: Ops, moment: Moment[S]) -> S:
    """1 where the drone came too near to the ground, rose too high or tumbled; also where that is no number."""
    above, upright = exceeds(ops, moment.lowest_m, FLOOR_M), exceeds(ops, moment.upright, TUMBLE_COS)
    crash: S = 1.0 - above * upright * exceeds(ops, CEILING_M, moment.highest_m)
    return crash


def following_reward_per_s(ops: Ops, body: Body[S], point: ReferencePoint[S]) -> S:
    """Reward per second of flight: 1 for following perfectly, never below -1.

    Less 1 per m/s of horizontal speed error, 1 per m of height error, 0.2 per m/s of error of the climb and 0.05 per
    rad/s of body rate.
    """
    (vx, vy, vz), (wx, wy, wz), (p, q, r) = body.velocity_m_s, point.velocity_m_s, body.rates_rad_s
    ex, ey, ez = vx - wx, vy - wy, body.position_m[2] - point.position_m[2]
    climb: Any = vz - wz
    lost = _size(ops, ex, ey) + _size(ops, ez) + 0.2 * _size(ops, climb) + 0.05 * _size(ops, p, q, r)
    reward: S = ops.maximum(1.0 - lost, -1.0)
    return reward


def _size(ops: Ops, *parts: Any) -> Any:
    if len(parts) == 1:
        return ops.maximum(parts[0], -parts[0])
    return ops.sqrt(sum(part * part for part in parts))


def place_goal(ops: Ops, body: Body[S], velocity_m_s: Vec2[S], height_m: S, yaw_rate_rad_s: S) -> Goal[S]:
    """A set-point as a goal that moves with the drone: it asks for velocity and height, for no place."""
    x, y, z = body.position_m
    zero: Any = 0.0 * z
    vx, vy = turned(velocity_m_s, heading(ops, body.attitude_wxyz))
    point = ReferencePoint((x, y, zero + height_m), (vx, vy, zero), (zero, zero, zero))
    return Goal(velocity_m_s, height_m, yaw_rate_rad_s, point)


def path_goal(ops: Ops, path: Path[S], t_s: S, body: Body[S], phase: Any = 0.0, settled: Any = 1.0) -> Goal[S]:
    """A point of a path as a goal; its velocity is told in the frame of the drone's true heading."""
    point = path_point(ops, path, t_s)
    c, s = heading(ops, body.attitude_wxyz)
    across = turned((point.velocity_m_s[0], point.velocity_m_s[1]), (c, -s))
    return Goal(across, point.position_m[2], 0.0 * t_s, point, phase, settled)


def setpoint_course(flights: Flights) -> Course:
    """The set-points that were drawn with the flights, for `setpoint_goal`, (4, n)."""
    return np.stack((*flights.setpoint_velocity_m_s.T, flights.setpoint_height_m, flights.setpoint_yaw_rate_rad_s))


def setpoint_goal(ops: Ops, course: Sequence[Any], t_s: Any, body: Body[Any]) -> Goal[Any]:
    """A set-point that stands: velocity in the heading frame, height and yaw rate."""
    vx, vy, height, yaw_rate = course
    return place_goal(ops, body, (vx, vy), height, yaw_rate)


SETPOINT_AIM: Final = Aim(4, setpoint_goal)


def turn_of(ops: Ops, angle_rad: S) -> Vec2[S]:
    """Cosine and sine of an angle, as `turned` takes them."""
    return ops.cos(angle_rad), ops.sin(angle_rad)


def turned(vector: Vec2[S], by: Vec2[S]) -> Vec2[S]:
    """A horizontal vector turned to the left, by an angle with this cosine and sine."""
    (x, y), (c, s) = vector, by
    return c * x - s * y, s * x + c * y
