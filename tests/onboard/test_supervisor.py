"""The transition table, over every state and every kind of condition, and the readings that lead to it."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest

from liquid_pilot.errors import ConfigError
from liquid_pilot.supervisor import (
    COMMANDING,
    FAULTS,
    NONE,
    RULES,
    Condition,
    Readings,
    State,
    Supervisor,
    SupervisorLimits,
    limits_of_sensors,
    next_state,
    transitions,
)

C = Condition
SINGLE_FAULTS = [c for c in Condition if c & FAULTS]
OTHERS = [c for c in Condition if not c & FAULTS]
FLYING = (State.ACTIVE, State.DEGRADED)
WAITING = (State.INIT, State.STANDBY, State.READY)

# every subset of the conditions that are no faults, with no fault, each single fault, and all of them
MASKS = [
    sum(subset, NONE) | faults
    for n in range(len(OTHERS) + 1)
    for subset in itertools.combinations(OTHERS, n)
    for faults in (NONE, *SINGLE_FAULTS, FAULTS)
]


def settled(state: State, conditions: Condition) -> State:
    path = [after for after, _ in transitions(state, conditions)]
    return path[-1] if path else state


def expected(state: State, held: Condition) -> State:
    """The same machine, written as prose would say it."""
    if state is State.KILLED or held & C.KILL:
        return State.KILLED
    if state in WAITING:
        if held & C.STOP:
            return State.KILLED
        if held & C.IMU_SILENT:
            return State.INIT
        if not (held & C.SETPOINT_GIVEN) or held & FAULTS:
            return State.READY if held & C.SENSORS_HEARD else State.STANDBY
        state = State.ACTIVE
    if held & C.TUMBLED:
        return State.KILLED
    if state is State.LAND or held & (C.STOP | C.FENCE):
        return State.KILLED if held & C.LANDED else State.LAND
    return State.DEGRADED if held & FAULTS else State.ACTIVE


@pytest.mark.parametrize("state", State)
def test_every_state_under_every_condition(state: State) -> None:
    wrong = [
        (held, settled(state, held), expected(state, held))
        for held in MASKS
        if settled(state, held) is not expected(state, held)
    ]
    assert len(MASKS) == 2 ** len(OTHERS) * (len(SINGLE_FAULTS) + 2)
    assert not wrong, wrong[:3]


@pytest.mark.parametrize("state", State)
def test_the_table_always_comes_to_rest_and_never_visits_a_state_twice(state: State) -> None:
    for held in MASKS:
        path = [after for after, _ in itertools.islice(transitions(state, held), 20)]
        assert len(path) < len(State) and len({state, *path}) == len(path) + 1


def test_every_rule_is_needed() -> None:
    reached = {
        next(
            i
            for i, r in enumerate(RULES)
            if state in r.sources and (not r.when or held & r.when) and not held & r.unless
        )
        for held in MASKS
        for state in State
        if next_state(state, held)[0] is not state
    }
    assert reached == set(range(len(RULES)))


def test_killed_and_land_are_latched() -> None:
    for held in MASKS:
        assert settled(State.KILLED, held) is State.KILLED
        assert settled(State.LAND, held) in (State.LAND, State.KILLED)


@pytest.mark.parametrize("fault", SINGLE_FAULTS)
def test_degraded_returns_when_the_data_do(fault: Condition) -> None:
    held = C.SENSORS_HEARD | C.SETPOINT_GIVEN
    assert next_state(State.ACTIVE, held | fault) == (State.DEGRADED, fault)
    assert next_state(State.DEGRADED, held | fault) == (State.DEGRADED, NONE)
    assert next_state(State.DEGRADED, held) == (State.ACTIVE, NONE)


GOOD = Readings(
    t_s=10.0, since_start_s=10.0, imu_age_s=0.0, flow_age_s=0.02, range_age_s=0.02, setpoint_age_s=5.0, height_m=1.0
)


def flying(limits: SupervisorLimits | None = None) -> Supervisor:
    supervisor = Supervisor(limits)
    supervisor.update(GOOD)
    assert supervisor.state is State.ACTIVE
    return supervisor


def test_the_way_up() -> None:
    supervisor = Supervisor()
    silent = replace(GOOD, imu_age_s=None, flow_age_s=None, range_age_s=None, setpoint_age_s=None)
    assert supervisor.update(silent) == []
    supervisor.update(replace(silent, imu_age_s=0.0, since_start_s=0.0))
    assert supervisor.state is State.STANDBY
    assert supervisor.update(replace(GOOD, setpoint_age_s=None)) == [(State.READY, C.SENSORS_HEARD)]
    assert supervisor.update(GOOD) == [(State.ACTIVE, C.SETPOINT_GIVEN)]


def test_a_sensor_that_never_spoke_has_until_its_limit() -> None:
    supervisor = flying()
    mute = replace(GOOD, flow_age_s=None, since_start_s=1.99)
    assert supervisor.update(mute) == []
    assert supervisor.update(replace(mute, since_start_s=2.01)) == [(State.DEGRADED, C.FLOW_SILENT)]


@pytest.mark.parametrize(
    ("field", "fine", "too_much", "fault"),
    [
        ("flow_age_s", 1.99, 2.01, C.FLOW_SILENT),
        ("range_age_s", 1.99, 2.01, C.RANGE_SILENT),
        ("imu_age_s", 0.099, 0.101, C.IMU_SILENT),
        ("rejected_in_a_row", 19, 20, C.REJECTING),
        ("clock_jumped", False, True, C.CLOCK_JUMPED),
        ("setpoint_age_s", 2.49, 2.51, C.SETPOINT_LOST),
    ],
)
def test_limits_of_readings(field: str, fine: float, too_much: float, fault: Condition) -> None:
    supervisor = flying()
    base = replace(GOOD, setpoint_timeout_s=0.5, setpoint_age_s=0.1)
    assert supervisor.update(replace(base, **{field: fine})) == []  # type: ignore[arg-type]  # names of floats
    assert supervisor.update(replace(base, **{field: too_much})) == [(State.DEGRADED, fault)]  # type: ignore[arg-type]
    assert supervisor.update(base) == [(State.ACTIVE, NONE)]


def test_a_setpoint_without_timeout_never_ages() -> None:
    supervisor = flying()
    assert supervisor.update(replace(GOOD, setpoint_age_s=1e6)) == []


def test_four_periods_of_a_slow_imu_are_tolerated() -> None:
    supervisor = flying()
    assert supervisor.imu_limit_s == 0.1
    for _ in range(50):
        supervisor.saw_imu(0.04)
    assert supervisor.imu_limit_s == pytest.approx(0.16, rel=0.01)


def run(supervisor: Supervisor, start_s: float, duration_s: float, **readings: float) -> list[tuple[float, State]]:
    changes = []
    for k in range(round(duration_s * 100)):
        t = start_s + k / 100
        made = supervisor.update(replace(GOOD, t_s=t, **readings))  # type: ignore[arg-type]  # names of floats
        changes += [(k / 100, state) for state, _ in made]
    return changes


def test_tilt_must_last_and_a_tumble_kills() -> None:
    supervisor = flying()
    steep = math.radians(80.0)
    assert run(supervisor, 10.0, 0.29, tilt_rad=steep) == []
    assert run(supervisor, 10.3, 0.05, tilt_rad=0.2) == []
    assert run(supervisor, 11.0, 0.5, tilt_rad=steep) == [(0.30, State.DEGRADED)]
    assert run(supervisor, 11.5, 0.1, tilt_rad=0.2) == [(0.0, State.ACTIVE)]
    assert run(supervisor, 12.0, 3.0, tilt_rad=steep) == [(0.30, State.DEGRADED), (1.50, State.KILLED)]
    assert run(supervisor, 16.0, 3.0, tilt_rad=0.0) == []
    supervisor.reset()
    assert supervisor.state is State.INIT


def test_a_drone_that_is_carried_head_down_is_neither_killed_nor_started() -> None:
    supervisor = Supervisor()
    readings = {"tilt_rad": 3.0}
    assert [s for _, s in run(supervisor, 0.0, 5.0, setpoint_age_s=None, **readings)] == [State.STANDBY, State.READY]  # type: ignore[arg-type]
    assert run(supervisor, 5.0, 5.0, **readings) == []
    assert run(supervisor, 10.0, 0.1, tilt_rad=0.0) == [(0.0, State.ACTIVE)]


def test_above_the_height_limit_it_lands_and_touches_down_killed() -> None:
    supervisor = flying()
    assert run(supervisor, 10.0, 0.4, height_m=9.0) == []
    assert run(supervisor, 10.4, 0.1, height_m=2.0) == []
    assert run(supervisor, 11.0, 1.0, height_m=9.0) == [(0.5, State.LAND)]
    assert run(supervisor, 12.0, 1.0, height_m=1.0) == []
    assert run(supervisor, 13.0, 1.0, height_m=0.05) == [(0.5, State.KILLED)]


def test_the_operator_wins() -> None:
    for stop, before, after in ((True, State.ACTIVE, State.LAND), (False, State.ACTIVE, State.KILLED)):
        supervisor = flying()
        assert supervisor.state is before
        (supervisor.stop if stop else supervisor.kill)()
        supervisor.update(GOOD)
        assert supervisor.state is after
    idle = Supervisor()
    idle.stop()
    idle.update(GOOD)
    assert idle.state is State.KILLED  # it must not take off in order to land


def test_bad_outputs_and_missed_deadlines_count_for_a_while() -> None:
    supervisor = flying()
    supervisor.saw_bad_output(10.0)
    assert run(supervisor, 10.0, 1.0) == [(0.0, State.DEGRADED), (0.5, State.ACTIVE)]
    for k in range(4):
        supervisor.saw_missed_deadline(12.0 + 0.01 * k)
    assert run(supervisor, 12.05, 0.05) == []
    supervisor.saw_missed_deadline(12.1)
    assert [state for _, state in run(supervisor, 12.1, 1.0)] == [State.DEGRADED, State.ACTIVE]


def test_limits_are_checked_and_come_from_the_bundle() -> None:
    assert limits_of_sensors({"flow": 1.5, "imu": 0.2}) == SupervisorLimits(flow_s=1.5, imu_s=0.2)
    for bad in ({"flow": -1.0}, {"flow": math.nan}, {"flow": "2"}, {"flow": True}, {"sonar": 1.0}):
        with pytest.raises(ConfigError):
            limits_of_sensors(bad)
    assert State.LAND in COMMANDING and State.KILLED not in COMMANDING
