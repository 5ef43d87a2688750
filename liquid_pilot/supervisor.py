"""The state machine that decides who flies: the network, the leveller or nobody.

`Supervisor` turns readings into conditions and applies the table of `supervisor_table` to them; it reads no clock of
its own. States, conditions, limits and the table are shown in docs/supervisor.md.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from liquid_pilot.messages import Position
from liquid_pilot.supervisor_limits import SupervisorLimits, limits_of_sensors
from liquid_pilot.supervisor_table import (
    COMMANDING,
    ENDINGS,
    FAULTS,
    GROUNDED,
    NONE,
    RULES,
    Condition,
    Rule,
    State,
    next_state,
    transitions,
)

__all__ = [
    "COMMANDING",
    "ENDINGS",
    "FAULTS",
    "GROUNDED",
    "NONE",
    "RULES",
    "Condition",
    "Readings",
    "Rule",
    "State",
    "Supervisor",
    "SupervisorLimits",
    "limits_of_sensors",
    "next_state",
    "transitions",
]

RECENT_S: Final = 0.5  # an older range or position says nothing about the height now
POSITION_RECENT_S: Final = 1.0  # GPS comes at 1 to 10 Hz


@dataclass(slots=True)
class Readings:
    """What the supervisor looks at, at one event; ages in seconds, None = never heard (on this clock)."""

    t_s: float
    since_start_s: float
    imu_age_s: float | None
    flow_age_s: float | None
    range_age_s: float | None
    setpoint_age_s: float | None = None
    setpoint_timeout_s: float | None = None
    tilt_rad: float = 0.0
    height_m: float = 0.0
    standing: bool = False  # as of `liquid_pilot.standing`
    floor_asked: bool = False  # the set-point is below the floor
    rejected_in_a_row: int = 0
    clock_jumped: bool = False
    position: Position | None = None
    position_age_s: float | None = None
    attitude_age_s: float | None = None
    grid_age_s: float | None = None
    course_held: bool = False  # as of `liquid_pilot.sight`


class _Lasting:
    """True once something has held without a break for a given time."""

    def __init__(self) -> None:
        self.since_s: float | None = None

    def after(self, holds: bool, t_s: float, limit_s: float) -> bool:
        if not holds:
            self.since_s = None
            return False
        if self.since_s is None or t_s < self.since_s:
            self.since_s = t_s
        return t_s - self.since_s >= limit_s


class Supervisor:
    """Applies `RULES` to readings. `state` is who flies.

    locates: whether the policy flies by position and attitude, not by flow and range. sees: whether by a flow grid and
    attitude besides.
    """

    def __init__(self, limits: SupervisorLimits | None = None, *, locates: bool = False, sees: bool = False) -> None:
        self.limits = limits or SupervisorLimits()
        self.locates, self.sees = locates, sees
        self.reset()

    def reset(self) -> None:
        """Start of a flight: everything is forgotten, latches too."""
        self.state = State.INIT
        self.conditions = NONE
        self._stop = self._kill = False
        self._link_alive, self._battery = True, math.inf
        self._home_m: tuple[float, float] | None = None  # where it became ACTIVE, or was first seen after
        self._period_s = 0.0
        self._bad_output_s = -math.inf
        self._deadlines: deque[float] = deque(maxlen=self.limits.deadlines)
        self.restart_clock()

    def restart_clock(self) -> None:
        """Stamps come from another clock now: what lasts, lasts from here on."""
        self._tilted, self._tumbled, self._fence, self._landed = (_Lasting() for _ in range(4))
        self._standing = _Lasting()
        self._far, self._fast, self._low, self._unheard = (_Lasting() for _ in range(4))
        self._deadlines.clear()
        self._bad_output_s = -math.inf

    def stop(self) -> None:
        """The operator wants it down; takes effect at the next event."""
        self._stop = True

    def kill(self) -> None:
        """The operator wants the motors off; takes effect at the next event."""
        self._kill = True

    def saw_imu(self, step_s: float) -> None:
        """Learn the IMU's period from its steps: quick to lengthen, slow to shorten."""
        share = 1.0 if self._period_s == 0.0 else 0.5 if step_s > self._period_s else 0.05
        self._period_s += share * (step_s - self._period_s)

    def saw_bad_output(self, t_s: float) -> None:
        """The network gave a number that is not finite."""
        self._bad_output_s = t_s

    def saw_missed_deadline(self, t_s: float) -> None:
        """The runtime came too late with a step."""
        self._deadlines.append(t_s)

    def saw_link(self, alive: bool) -> None:
        """The autopilot is heard, or not; until the first word about it, it is taken to be."""
        self._link_alive = alive

    def saw_battery(self, share: float) -> None:
        """What is left of the battery, 0 to 1."""
        self._battery = share

    @property
    def imu_limit_s(self) -> float:
        """Silence of the IMU that is tolerated now."""
        return max(self.limits.imu_s, self.limits.imu_periods * self._period_s)

    def update(self, readings: Readings) -> list[tuple[State, Condition]]:
        """Conditions of this event, then the table. Returns the transitions that were made."""
        self.conditions = self._judge(readings)
        made = list(transitions(self.state, self.conditions))
        if made:
            self.state = made[-1][0]
        if self.state not in COMMANDING:
            self._home_m = None
        elif self._home_m is None and readings.position is not None and _recent(readings):
            self._home_m = readings.position.position_m[:2]
        return made

    def _judge(self, r: Readings) -> Condition:
        """All conditions; plain integers, because this runs at every IMU sample."""
        own, t = self.limits, r.t_s
        found = 0
        imu_silent = r.imu_age_s is None or r.imu_age_s > self.imu_limit_s
        if imu_silent:
            found |= _IMU_SILENT
        found |= self._judge_sensors(r)
        if r.rejected_in_a_row >= own.rejected_in_a_row:
            found |= Condition.REJECTING
        if r.course_held:
            found |= Condition.COURSE_HELD
        if r.clock_jumped:
            found |= Condition.CLOCK_JUMPED
        if self.locates and found & _SENSORS_HEARD:
            found |= _SETPOINT_GIVEN
        if r.setpoint_age_s is not None:
            found |= _SETPOINT_GIVEN
            if r.setpoint_timeout_s is not None and r.setpoint_age_s > r.setpoint_timeout_s + own.setpoint_lost_s:
                found |= Condition.SETPOINT_LOST
        if not imu_silent:
            found |= self._judge_motion(r)
        if r.position is not None:
            found |= self._judge_place(r)
        if not self._link_alive:
            found |= Condition.LINK_LOST
        if self._unheard.after(not self._link_alive, t, own.link_s):
            found |= Condition.LINK_GONE
        if self._low.after(self._battery < own.battery, t, own.battery_s):
            found |= Condition.BATTERY_LOW
        if t - self._bad_output_s < own.recover_s:
            found |= Condition.BAD_OUTPUT
        if len(self._deadlines) == own.deadlines and t - self._deadlines[0] < own.recover_s:
            found |= Condition.DEADLINES_MISSED
        if self._stop:
            found |= Condition.STOP
        if self._kill:
            found |= Condition.KILL
        return Condition(found)

    def _judge_sensors(self, r: Readings) -> int:
        """Silence of the two sensors that the policy flies by besides the IMU; one that sees needs a heading too."""
        own = self.limits
        if self.locates:
            first, first_s, first_silent = r.position_age_s, own.position_s, _POSITION_SILENT
            second, second_s, second_silent = r.attitude_age_s, own.attitude_s, _ATTITUDE_SILENT
        else:
            first, first_s, first_silent = r.flow_age_s, own.flow_s, _FLOW_SILENT
            second, second_s, second_silent = r.range_age_s, own.range_s, _RANGE_SILENT
        found = 0
        if (r.since_start_s if first is None else first) > first_s:
            found |= first_silent
        if (r.since_start_s if second is None else second) > second_s:
            found |= second_silent
        if self.sees and r.attitude_age_s is None:
            found |= _ATTITUDE_SILENT
        if self.sees and r.grid_age_s is None:
            return found
        if not found and first is not None and second is not None:
            found = _SENSORS_HEARD
        return found

    def _judge_place(self, r: Readings) -> int:
        """Horizontal fence and speed. A position that is too old to be believed counts as neither far nor fast."""
        own, found = self.limits, 0
        far = fast = False
        if r.position is not None and _recent(r):
            (x, y, _), (vx, vy, _) = r.position.position_m, r.position.velocity_m_s
            fast = math.hypot(vx, vy) > own.speed_m_s
            far = self._home_m is not None and math.hypot(x - self._home_m[0], y - self._home_m[1]) > own.radius_m
        if self._far.after(far, r.t_s, own.fence_s):
            found |= Condition.GEOFENCE
        if self._fast.after(fast, r.t_s, own.fence_s):
            found |= Condition.SPEED
        return found

    def _judge_motion(self, r: Readings) -> int:
        own, t, found = self.limits, r.t_s, 0
        steep = r.tilt_rad > own.tilt_rad
        # a tumble is counted from where it commands: a drone may be carried head down before
        if self._tilted.after(steep, t, own.tilt_s):
            found |= Condition.TILTED
        # it then lasts as long as the tilt, for a runtime looks less often than an IMU speaks
        tumbling = self.state in COMMANDING or (self.state is State.KILLED and self._tumbled.since_s is not None)
        if self._tumbled.after(steep and tumbling, t, own.tumble_s):
            found |= Condition.TUMBLED
        height_age_s = r.position_age_s if self.locates else r.range_age_s
        seen = height_age_s is not None and height_age_s < RECENT_S
        if self._fence.after(seen and r.height_m > own.height_m, t, own.fence_s):
            found |= Condition.FENCE
        if self._landed.after(seen and r.height_m < own.landed_m, t, own.landed_s):
            found |= Condition.LANDED
        if self._standing.after(r.standing, t, own.landed_s):
            found |= Condition.LANDED | (Condition.STOP if r.floor_asked else NONE)
        return found


def _recent(r: Readings) -> bool:
    return r.position_age_s is not None and r.position_age_s < POSITION_RECENT_S


_IMU_SILENT: Final = int(Condition.IMU_SILENT)
_FLOW_SILENT: Final = int(Condition.FLOW_SILENT)
_RANGE_SILENT: Final = int(Condition.RANGE_SILENT)
_POSITION_SILENT: Final = int(Condition.POSITION_SILENT)
_ATTITUDE_SILENT: Final = int(Condition.ATTITUDE_SILENT)
_SENSORS_HEARD: Final = int(Condition.SENSORS_HEARD)
_SETPOINT_GIVEN: Final = int(Condition.SETPOINT_GIVEN)
