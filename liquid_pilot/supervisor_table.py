"""Who flies, and the table that decides it: states, conditions, rules. `docs/supervisor.md` is generated from here.

`RULES` is the whole of the state machine: a table over states and conditions, severest outcome first, so that the
most severe wins. `liquid_pilot.supervisor` turns readings into conditions and applies the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, IntFlag, auto
from typing import Final


class State(str, Enum):
    """Who flies; see `STATE_MEANING`."""

    INIT = "INIT"
    STANDBY = "STANDBY"
    READY = "READY"
    ACTIVE = "ACTIVE"
    DEGRADED = "DEGRADED"
    LAND = "LAND"
    KILLED = "KILLED"


class Condition(IntFlag):
    """What is true at one event; see `CONDITION_MEANING`. The first block are faults that the leveller can bridge."""

    IMU_SILENT = auto()
    FLOW_SILENT = auto()
    RANGE_SILENT = auto()
    POSITION_SILENT = auto()
    ATTITUDE_SILENT = auto()
    REJECTING = auto()
    CLOCK_JUMPED = auto()
    TILTED = auto()
    BAD_OUTPUT = auto()
    DEADLINES_MISSED = auto()
    SETPOINT_LOST = auto()
    LINK_LOST = auto()
    TUMBLED = auto()
    FENCE = auto()
    GEOFENCE = auto()
    SPEED = auto()
    BATTERY_LOW = auto()
    LINK_GONE = auto()
    LANDED = auto()
    STOP = auto()
    KILL = auto()
    SENSORS_HEARD = auto()
    SETPOINT_GIVEN = auto()
    COURSE_HELD = auto()


NONE: Final = Condition(0)
FAULTS: Final = (
    Condition.IMU_SILENT
    | Condition.FLOW_SILENT
    | Condition.RANGE_SILENT
    | Condition.POSITION_SILENT
    | Condition.ATTITUDE_SILENT
    | Condition.REJECTING
    | Condition.CLOCK_JUMPED
    | Condition.TILTED
    | Condition.BAD_OUTPUT
    | Condition.DEADLINES_MISSED
    | Condition.SETPOINT_LOST
    | Condition.LINK_LOST
)
ENDINGS: Final = (  # what ends a flight in order
    Condition.STOP
    | Condition.FENCE
    | Condition.GEOFENCE
    | Condition.SPEED
    | Condition.BATTERY_LOW
    | Condition.LINK_GONE
)
GROUNDED: Final = frozenset({State.INIT, State.STANDBY, State.READY})
COMMANDING: Final = frozenset({State.ACTIVE, State.DEGRADED, State.LAND})

STATE_MEANING: Final = {
    State.INIT: "no IMU is heard; no command",
    State.STANDBY: "IMU heard, the other sensors that the policy flies by not yet; no command",
    State.READY: "all sensors heard, no set-point; no command",
    State.ACTIVE: "the network flies",
    State.DEGRADED: "the leveller flies, braked and slowly down, until the data are good again; without an IMU it "
    "glides blind for half a second and then says nothing, so that the autopilot's own failsafe acts",
    State.LAND: "the leveller flies down to the ground, braked; latched until `reset`",
    State.KILLED: "thrust zero; latched until `reset`",
}
# names in braces are fields of `SupervisorLimits`
CONDITION_MEANING: Final = {
    Condition.IMU_SILENT: "no IMU sample for {imu_s} s, or {imu_periods} of its periods where that is longer",
    Condition.FLOW_SILENT: "no usable flow for {flow_s} s",
    Condition.RANGE_SILENT: "no range return for {range_s} s",
    Condition.POSITION_SILENT: "no `Position` for {position_s} s, where the policy locates; flow and range do not "
    "count there",
    Condition.ATTITUDE_SILENT: "no `Attitude` for {attitude_s} s, where the policy locates; none yet, where it sees",
    Condition.REJECTING: "{rejected_in_a_row} messages in a row were refused",
    Condition.CLOCK_JUMPED: "the IMU's clock leapt, and not all other sensors have been heard on the new clock",
    Condition.TILTED: "tilt above {tilt_rad} rad for {tilt_s} s",
    Condition.BAD_OUTPUT: "the network gave a number that is not finite within the last {recover_s} s",
    Condition.DEADLINES_MISSED: "{deadlines} deadlines were missed within {recover_s} s",
    Condition.SETPOINT_LOST: "the set-point is older than its timeout and {setpoint_lost_s} s more",
    Condition.LINK_LOST: "the runtime says that the autopilot is not heard",
    Condition.TUMBLED: "tilt above {tilt_rad} rad for {tumble_s} s while commanding",
    Condition.FENCE: "higher than {height_m} m above the ground for {fence_s} s",
    Condition.GEOFENCE: "farther than {radius_m} m, horizontally, from where it became ACTIVE, for {fence_s} s; needs "
    "`Position` messages",
    Condition.SPEED: "faster than {speed_m_s} m/s, horizontally, for {fence_s} s; needs `Position` messages",
    Condition.BATTERY_LOW: "the runtime says for {battery_s} s that less than {battery} of the battery is left",
    Condition.LINK_GONE: "LINK_LOST for {link_s} s",
    Condition.LANDED: "for {landed_s} s lower than {landed_m} m, or standing: last seen near the floor, at rest, and "
    "feeling a weight that its rotors are not asked to carry",
    Condition.STOP: "the operator wants it down, or the set-point is below the floor, where it stands",
    Condition.KILL: "the operator wants the motors off",
    Condition.SENSORS_HEARD: "flow and range are heard; position and attitude where the policy locates; flow, range, "
    "flow grid and attitude where it sees",
    Condition.SETPOINT_GIVEN: "there is a set-point; or the policy locates and its sensors are heard, for then it "
    "stays where it is",
    Condition.COURSE_HELD: "no usable `FlowGrid` for {grid_s} s, or no `Attitude` for {attitude_s} s, where the policy "
    "sees: no fault; until they are back the network flies on at speed zero, and with no grid instead of an old one",
}


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
    Rule(frozenset({State.ACTIVE, State.DEGRADED}), ENDINGS, NONE, State.LAND),
    Rule(frozenset({State.ACTIVE}), FAULTS, NONE, State.DEGRADED),
    Rule(frozenset({State.DEGRADED}), NONE, FAULTS, State.ACTIVE),
    Rule(frozenset({State.STANDBY, State.READY}), Condition.IMU_SILENT, NONE, State.INIT),
    Rule(frozenset({State.INIT}), NONE, Condition.IMU_SILENT, State.STANDBY),
    # a flight that would have to end at once does not begin
    Rule(frozenset({State.STANDBY, State.READY}), Condition.SETPOINT_GIVEN, FAULTS | ENDINGS, State.ACTIVE),
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
