"""Many flights under way: their state as arrays, and the truth and the sensors read from it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from envs.airframe import Airframe
from envs.compiled.state import BODY, Reals, RolloutState
from envs.compiled.tracer import unflatten
from envs.fault_effects import ahead_s, unheard
from envs.faults import Fault
from envs.physics import Body
from envs.task import Aim, Course, Goal, Moment, Task
from liquid_pilot.geometry import rotation_matrix
from liquid_pilot.observation import INITIAL_AGE_S, Held
from liquid_pilot.ops import NUMPY_OPS

Array: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Tracks:
    """What IMU events have shown since the release, each (N,)."""

    lowest_m: Array
    highest_m: Array
    touchdown_m_s: Array
    aloft: Mask
    speed_m_s: Array

    @classmethod
    def begin(cls, n: int) -> Tracks:
        """Of drones in the hand."""
        return cls(np.full(n, math.inf), np.full(n, -math.inf), np.zeros(n), np.zeros(n, np.bool_), np.zeros(n))

    def after(self, state: RolloutState, flew: Mask, rest_height_m: float) -> Tracks:
        """With one more event of the drones that flew. A touchdown has the speed of the event before it."""
        body = state.value("body").astype(np.float64)
        height, speed = body[2], np.sqrt((body[3:6] ** 2).sum(axis=0))
        aloft = height > rest_height_m
        down = np.where(self.aloft & ~aloft, np.maximum(self.touchdown_m_s, self.speed_m_s), self.touchdown_m_s)
        return Tracks(
            np.where(flew, np.minimum(self.lowest_m, height), self.lowest_m),
            np.where(flew, np.maximum(self.highest_m, height), self.highest_m),
            np.where(flew, down, self.touchdown_m_s),
            aloft & flew,
            speed,
        )


@dataclass(slots=True)
class Lanes:
    """N flights under way: the world, their courses (k, N), what the task remembers (m, N), tracks.

    integral_m_s2: (3, N) of the velocity controller, where actions are velocities. sight: of drones that see,
    (rows, N), see `envs.compiled.sight.blind`.
    """

    state: RolloutState
    course: Course
    memory: Array
    tracks: Tracks
    integral_m_s2: Array
    sight: Reals | None = None

    @property
    def count(self) -> int:
        """N."""
        return len(self.state)

    @property
    def released(self) -> Mask:
        """Drones that were let go, (N,)."""
        return np.isfinite(self.state.clock("release_s"))

    @property
    def finite(self) -> Mask:
        """Drones that are still within the finite numbers, (N,)."""
        return np.asarray(np.isfinite(self.state.value("body")).all(axis=0))

    def tables(self) -> dict[str, npt.NDArray[Any]]:
        """Everything there is about the flights, by name, in copies."""
        found: dict[str, npt.NDArray[Any]] = {
            "course": self.course, "memory": self.memory, "integral_m_s2": self.integral_m_s2,
            **({} if self.sight is None else {"sight": self.sight}),
        }  # fmt: skip
        for part, whole in (("state", self.state), ("tracks", self.tracks)):
            found |= {f"{part}.{field.name}": getattr(whole, field.name) for field in fields(whole)}
        return {name: table.copy() for name, table in found.items()}

    @classmethod
    def of_tables(cls, tables: Mapping[str, npt.NDArray[Any]]) -> Lanes:
        """Inverse of `tables`, in copies. Raises `KeyError` for one that is missing."""

        def part(kind: type[Any], name: str) -> Any:
            return kind(*(tables[f"{name}.{field.name}"].copy() for field in fields(kind)))

        course, memory, integral_m_s2 = (tables[name].copy() for name in ("course", "memory", "integral_m_s2"))
        sight = tables["sight"].copy() if "sight" in tables else None
        return cls(part(RolloutState, "state"), course, memory, part(Tracks, "tracks"), integral_m_s2, sight)

    def rows(self, index: slice) -> Lanes:
        """A part of the flights, as views."""
        s, t = self.state, self.tracks
        state = RolloutState(*(getattr(s, f.name)[:, index] for f in fields(RolloutState)))
        tracks = Tracks(*(getattr(t, f.name)[index] for f in fields(Tracks)))
        sight = None if self.sight is None else self.sight[:, index]
        return Lanes(state, self.course[:, index], self.memory[:, index], tracks, self.integral_m_s2[:, index], sight)

    def put(self, index: npt.NDArray[np.intp], fresh: Lanes) -> None:
        """Replace the flights at index by fresh ones."""
        for field in fields(RolloutState):
            getattr(self.state, field.name)[:, index] = getattr(fresh.state, field.name)
        for field in fields(Tracks):
            getattr(self.tracks, field.name)[index] = getattr(fresh.tracks, field.name)
        self.course[:, index], self.memory[:, index] = fresh.course, fresh.memory
        self.integral_m_s2[:, index] = fresh.integral_m_s2
        if self.sight is not None:
            self.sight[:, index] = fresh.sight


def moment_of(lanes: Lanes, task: Task | Aim, airframe: Airframe, duration_s: float) -> Moment[Any]:
    """The truth about all flights, arrays (N,)."""
    state, tracks = lanes.state, lanes.tracks
    body: Body[Any] = unflatten(BODY, list(state.value("body").astype(np.float64)))
    a, b, c, d = state.value("actuators")[:4].astype(np.float64)
    since = state.clock("t_s") - state.clock("release_s")
    plot = None if task.sees is None else task.sees.plot
    return Moment(
        since_release_s=since,
        duration_s=duration_s,
        dt_s=state.clock("dt_s"),
        body=body,
        matrix=rotation_matrix(body.attitude_wxyz),
        motor_speed=(a, b, c, d),
        goal=task.goal(NUMPY_OPS, list(lanes.course), np.maximum(since, 0.0), body),
        lowest_m=tracks.lowest_m,
        highest_m=tracks.highest_m,
        touchdown_m_s=tracks.touchdown_m_s,
        clearance_m=body.position_m[2] - airframe.rest_height_m,
        lift=0.25 * airframe.thrust_to_weight * (a * a + b * b + c * c + d * d),
        free_m=math.inf if plot is None else plot.free_m(lanes.course[-plot.rows :], body.position_m),
    )


def told_stamp_s(state: RolloutState, stamp_s: Array, faults: Sequence[Fault]) -> Array:
    """Stamps (N,) as the drones were told them: by a clock that may have jumped before."""
    if not unheard(faults):
        return stamp_s
    return np.asarray(stamp_s + ahead_s(NUMPY_OPS, faults, stamp_s, state.clock("release_s")))


def held_of(state: RolloutState, goal: Goal[Any], faults: Sequence[Fault] = ()) -> Held[Any]:
    """Newest sensor values of all drones with freshness and age, as the onboard controller would hold them."""
    imu, flow = state.imu, state.value("flow.held")
    now_s, known = state.clock("t_s") + imu.ahead_s, imu.silent_s == 0.0
    gyro, accel = state.value("gyro_rad_s"), state.value("accel_m_s2")

    def age(clock: str) -> Array:
        return np.clip(now_s - told_stamp_s(state, state.clock(clock), faults), 0.0, INITIAL_AGE_S)

    return Held(
        dt_s=imu.step_s,
        gyro_rad_s=(gyro[0], gyro[1], gyro[2]),
        accel_m_s2=(accel[0], accel[1], accel[2]),
        accel_fresh=state.value("accel_fresh")[0] * known,
        accel_age_s=age("accel_stamp_s"),
        flow_rate_rad_s=(flow[0], flow[1]),
        flow_quality=flow[2],
        flow_fresh=state.value("flow.fresh")[0] * known,
        flow_age_s=age("flow.held_stamp_s"),
        range_m=state.value("range.held")[0],
        range_fresh=state.value("range.fresh")[0] * known,
        range_age_s=age("range.held_stamp_s"),
        setpoint_velocity_m_s=goal.velocity_m_s,
        setpoint_height_m=goal.height_m,
        setpoint_yaw_rate_rad_s=goal.yaw_rate_rad_s,
    )
