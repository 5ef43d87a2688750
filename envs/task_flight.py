"""One drone in PyBullet under a task: what is asked of it now, and the truth that the task judges."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from envs.scoring import CEILING_M, TOUCHDOWN_LIMIT_M_S
from envs.task import TUMBLE_COS, Course, Memory, Moment, Task
from liquid_pilot.messages import PositionSetpoint, Setpoint
from liquid_pilot.ops import FLOAT_OPS

if TYPE_CHECKING:
    from envs.launch import HandLaunch

SUCCESS = "success"


class TaskFlight:
    """A launch under a task. course: of this one flight, (k, 1). Call `substep` after every substep of physics.

    touchdown_m_s: speed of the fastest touchdown so far.
    """

    def __init__(self, launch: HandLaunch, task: Task, course: Course, duration_s: float) -> None:
        self.launch, self.task, self.duration_s = launch, task, duration_s
        self.memory: Memory = task.begin
        self._course = course[:, 0].tolist()
        self._rest_m = launch.quad.airframe.rest_height_m
        self._aloft = False
        self.touchdown_m_s = 0.0
        if task.sees is not None:
            launch.plant(task.sees, course[-task.sees.plot.rows :, 0], task.camera)

    def substep(self, t_s: float) -> None:
        """Looks for touchdowns."""
        body = self.launch.body
        aloft = body.position_m[2] > self._rest_m
        if self._aloft and not aloft:
            self.touchdown_m_s = max(self.touchdown_m_s, math.hypot(*body.velocity_m_s))
        self._aloft = aloft

    def moment(self) -> Moment[float]:
        """The truth now; sets the launch's set-point to what is asked for now."""
        launch, quad, airframe = self.launch, self.launch.quad, self.launch.quad.airframe
        goal = self.task.goal(FLOAT_OPS, self._course, max(0.0, launch.flight_time_s), launch.body)
        launch.setpoint = Setpoint(launch.t_s, goal.velocity_m_s, goal.height_m, goal.yaw_rate_rad_s)
        if self.task.places:
            point = goal.point
            launch.target = PositionSetpoint(launch.t_s, point.position_m, point.velocity_m_s, math.nan)
        if self.task.sees is not None:
            place = (math.nan, math.nan, goal.height_m)
            launch.target = PositionSetpoint(launch.t_s, place, goal.point.velocity_m_s, math.nan)
        speed = quad.actuators.motor_speed
        return Moment(
            since_release_s=launch.flight_time_s,
            duration_s=self.duration_s,
            dt_s=launch.dt_s,
            body=launch.body,
            matrix=quad.matrix,
            motor_speed=speed,
            goal=goal,
            lowest_m=launch.lowest_m,
            highest_m=launch.highest_m,
            touchdown_m_s=self.touchdown_m_s,
            clearance_m=launch.body.position_m[2] - self._rest_m,
            lift=0.25 * airframe.thrust_to_weight * sum(s * s for s in speed),
            free_m=launch.free_m,
        )

    def judge(self, moment: Moment[float]) -> tuple[bool, bool]:
        """(lost, done) at an event after the release; what the task remembers goes on."""
        self.memory, lost, done = self.task.judge(FLOAT_OPS, self.memory, moment)
        lost = bool(lost) or not self.launch.finite
        return lost, bool(done) and not lost

    def outcome(self, moment: Moment[float], lost: bool, done: bool) -> str | None:
        """`SUCCESS`, why the flight failed, or None while it goes on."""
        if lost:
            return self._why(moment)
        if done:
            return SUCCESS
        if self.launch.flight_time_s < self.duration_s:
            return None
        return SUCCESS if self.task.succeeded(FLOAT_OPS, self.memory) else self.task.unmet

    def _why(self, moment: Moment[float]) -> str:
        if not self.launch.finite:
            return "not finite"
        if moment.free_m <= 0.0:
            return "touched"
        if moment.highest_m > CEILING_M:
            return "ceiling"
        if moment.touchdown_m_s > TOUCHDOWN_LIMIT_M_S:
            return "hard landing"
        return "tumbled" if moment.upright <= TUMBLE_COS else "ground"
