"""The state machine that decides who flies: the network, the leveller or nobody.

`RULES` is the whole of it: a table over states and conditions, severest outcome first, so that the most
severe wins. `Supervisor` turns readings into conditions and applies the table; it reads no clock of its own.

    INIT      no IMU is heard                     no command
    STANDBY   IMU heard, flow or range not yet    no command
    READY     all sensors heard, no set-point     no command
    ACTIVE    the network flies
    DEGRADED  the leveller flies, slowly down, until the data are good again
    LAND      the leveller flies down to the ground; latched until `reset`
    KILLED    thrust zero; latched until `reset`
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, IntFlag, auto
from typing import Any, Final

from liquid_pilot.errors import ConfigError, unknown_name


class State(str, Enum):
    """Who flies; see the module's table."""

    INIT = "INIT"
    STANDBY = "STANDBY"
    READY = "READY"
    ACTIVE = "ACTIVE"
    DEGRADED = "DEGRADED"
    LAND = "LAND"
    KILLED = "KILLED"


class Condition(IntFlag):
    """What is true at one event. The first block are faults that the leveller can bridge."""

    IMU_SILENT = auto()
    FLOW_SILENT = auto()
    RANGE_SILENT = auto()
    REJECTING = auto()  # many messages in a row were dropped
    CLOCK_JUMPED = auto()  # and flow or range have not been heard on the new clock yet
    TILTED = auto()
    BAD_OUTPUT = auto()  # the network gave a number that is not finite
    DEADLINES_MISSED = auto()
    SETPOINT_LOST = auto()
    TUMBLED = auto()
    FENCE = auto()  # above the height limit
    LANDED = auto()
    STOP = auto()
    KILL = auto()
    SENSORS_HEARD = auto()
    SETPOINT_GIVEN = auto()


NONE: Final = Condition(0)
FAULTS: Final = (
    Condition.IMU_SILENT
    | Condition.FLOW_SILENT
    | Condition.RANGE_SILENT
    | Condition.REJECTING
    | Condition.CLOCK_JUMPED
    | Condition.TILTED
    | Condition.BAD_OUTPUT
    | Condition.DEADLINES_MISSED
    | Condition.SETPOINT_LOST
)
GROUNDED: Final = frozenset({State.INIT, State.STANDBY, State.READY})
COMMANDING: Final = frozenset({State.ACTIVE, State.DEGRADED, State.LAND})


@dataclass(frozen=True, slots=True)
class Rule:
    """From a state in `sources` to `target` if any of `when` holds (NONE = always) and none of `unless`."""

    sources: frozenset[State]
    when: Condition
    unless: Condition
    target: State


RULES: Final[tuple[Rule, ...]] = (
    Rule(GROUNDED | COMMANDING, Condition.KILL, NONE, State.KILLED),
    Rule(GROUNDED, Condition.STOP, NONE, State.KILLED),  # it has not flown: motors stay off
    Rule(COMMANDING, Condition.TUMBLED, NONE, State.KILLED),
    Rule(frozenset({State.LAND}), Condition.LANDED, NONE, State.KILLED),
    Rule(frozenset({State.ACTIVE, State.DEGRADED}), Condition.STOP | Condition.FENCE, NONE, State.LAND),
    Rule(frozenset({State.ACTIVE}), FAULTS, NONE, State.DEGRADED),
    Rule(frozenset({State.DEGRADED}), NONE, FAULTS, State.ACTIVE),
    Rule(frozenset({State.STANDBY, State.READY}), Condition.IMU_SILENT, NONE, State.INIT),
    Rule(frozenset({State.INIT}), NONE, Condition.IMU_SILENT, State.STANDBY),
    Rule(frozenset({State.STANDBY, State.READY}), Condition.SETPOINT_GIVEN, FAULTS, State.ACTIVE),
    Rule(frozenset({State.STANDBY}), Condition.SENSORS_HEARD, NONE, State.READY),
    Rule(frozenset({State.READY}), NONE, Condition.SENSORS_HEARD, State.STANDBY),
)
_RULES_OF: Final = {  # plain integers: this is searched at every IMU sample
    state: tuple((int(rule.when), int(rule.unless), rule.target) for rule in RULES if state in rule.sources)
    for state in State
}


def next_state(state: State, conditions: Condition) -> tuple[State, Condition]:
    """(state after one transition, the conditions that caused it); the same state where no rule applies."""
    held = int(conditions)
    for when, unless, target in _RULES_OF[state]:
        if (not when or held & when) and not held & unless:
            return target, Condition(held & when)
    return state, NONE


def transitions(state: State, conditions: Condition) -> Iterator[tuple[State, Condition]]:
    """All transitions of one event, until no rule applies; the table has no loop under fixed conditions."""
    while True:
        after, cause = next_state(state, conditions)
        if after is state:
            return
        yield after, cause
        state = after


@dataclass(frozen=True, slots=True)
class SupervisorLimits:
    """When to act. A sensor that has not spoken at all is silent this long after the first IMU.

    imu_s, imu_periods: an IMU is silent after the longer of the two. tumble_s: tilt lasts this long = lost.
    height_m: no flight above, for fence_s. setpoint_lost_s: after the set-point timeout the drone first holds
    its place, and after this much more it comes down. recover_s: how long a bad output or missed deadlines count.
    """

    imu_s: float = 0.1
    imu_periods: float = 4.0
    flow_s: float = 2.0
    range_s: float = 2.0
    rejected_in_a_row: int = 20
    tilt_rad: float = math.radians(75.0)
    tilt_s: float = 0.3
    tumble_s: float = 1.5
    height_m: float = 8.0
    fence_s: float = 0.5
    landed_m: float = 0.10
    landed_s: float = 0.5
    setpoint_lost_s: float = 2.0
    deadlines: int = 5
    recover_s: float = 0.5

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0.0:
                raise ConfigError(f"supervisor limit {name} is {value!r}; it must be a number above 0")


def limits_of_sensors(sensor_limits_s: Mapping[str, Any]) -> SupervisorLimits:
    """Limits with the silences that a policy's bundle names ("imu", "flow", "range", in seconds)."""
    known = {"imu": "imu_s", "flow": "flow_s", "range": "range_s"}
    chosen: dict[str, Any] = {}
    for sensor, limit_s in sensor_limits_s.items():
        if sensor not in known:
            raise ConfigError(unknown_name("sensor in sensor_limits_s", sensor, list(known)))
        if isinstance(limit_s, bool) or not isinstance(limit_s, (int, float)):
            raise ConfigError(f"sensor_limits_s of {sensor} is {limit_s!r}; give seconds above 0")
        chosen[known[sensor]] = float(limit_s)
    return SupervisorLimits(**chosen)


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
    rejected_in_a_row: int = 0
    clock_jumped: bool = False


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
    """Applies `RULES` to readings. `state` is who flies."""

    def __init__(self, limits: SupervisorLimits | None = None) -> None:
        self.limits = limits or SupervisorLimits()
        self.reset()

    def reset(self) -> None:
        """Start of a flight: everything is forgotten, latches too."""
        self.state = State.INIT
        self.conditions = NONE
        self._stop = self._kill = False
        self._period_s = 0.0
        self._bad_output_s = -math.inf
        self._deadlines: deque[float] = deque(maxlen=self.limits.deadlines)
        self.restart_clock()

    def restart_clock(self) -> None:
        """Stamps come from another clock now: what lasts, lasts from here on."""
        self._tilted, self._tumbled, self._fence, self._landed = (_Lasting() for _ in range(4))
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
        return made

    def _judge(self, r: Readings) -> Condition:
        """All conditions; plain integers, because this runs at every IMU sample."""
        own, t = self.limits, r.t_s
        found = 0
        imu_silent = r.imu_age_s is None or r.imu_age_s > self.imu_limit_s
        flow_silent = (r.since_start_s if r.flow_age_s is None else r.flow_age_s) > own.flow_s
        range_silent = (r.since_start_s if r.range_age_s is None else r.range_age_s) > own.range_s
        heard = r.flow_age_s is not None and r.range_age_s is not None
        if imu_silent:
            found |= _IMU_SILENT
        if flow_silent:
            found |= _FLOW_SILENT
        if range_silent:
            found |= _RANGE_SILENT
        if heard and not flow_silent and not range_silent:
            found |= _SENSORS_HEARD
        if r.rejected_in_a_row >= own.rejected_in_a_row:
            found |= Condition.REJECTING
        if r.clock_jumped:
            found |= Condition.CLOCK_JUMPED
        if r.setpoint_age_s is not None:
            found |= _SETPOINT_GIVEN
            if r.setpoint_timeout_s is not None and r.setpoint_age_s > r.setpoint_timeout_s + own.setpoint_lost_s:
                found |= Condition.SETPOINT_LOST
        if not imu_silent:
            found |= self._judge_motion(r)
        if t - self._bad_output_s < own.recover_s:
            found |= Condition.BAD_OUTPUT
        if len(self._deadlines) == own.deadlines and t - self._deadlines[0] < own.recover_s:
            found |= Condition.DEADLINES_MISSED
        if self._stop:
            found |= Condition.STOP
        if self._kill:
            found |= Condition.KILL
        return Condition(found)

    def _judge_motion(self, r: Readings) -> int:
        own, t, found = self.limits, r.t_s, 0
        steep = r.tilt_rad > own.tilt_rad
        # a tumble is counted from where it commands: a drone may be carried head down before
        if self._tilted.after(steep, t, own.tilt_s):
            found |= Condition.TILTED
        if self._tumbled.after(steep and self.state in COMMANDING, t, own.tumble_s):
            found |= Condition.TUMBLED
        ranging = r.range_age_s is not None and r.range_age_s < 0.5
        if self._fence.after(ranging and r.height_m > own.height_m, t, own.fence_s):
            found |= Condition.FENCE
        if self._landed.after(ranging and r.height_m < own.landed_m, t, own.landed_s):
            found |= Condition.LANDED
        return found


_IMU_SILENT: Final = int(Condition.IMU_SILENT)
_FLOW_SILENT: Final = int(Condition.FLOW_SILENT)
_RANGE_SILENT: Final = int(Condition.RANGE_SILENT)
_SENSORS_HEARD: Final = int(Condition.SENSORS_HEARD)
_SETPOINT_GIVEN: Final = int(Condition.SETPOINT_GIVEN)
