"""The transition table, over every state and every kind of condition, and the readings that lead to it."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pytest

from liquid_pilot.errors import ConfigError
from liquid_pilot.messages import Position
from liquid_pilot.supervisor import (
    COMMANDING,
    ENDINGS,
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
FLYING = (State.ACTIVE, State.DEGRADED)
WAITING = (State.INIT, State.STANDBY, State.READY)

# The whole table over all sets of conditions at once: numpy integers in the place of conditions. Two silences are left
# out, which the table treats as it does the flow's, and a held course, the last condition, which no rule looks at; 2^21
# sets remain.
ALIKE = C.POSITION_SILENT | C.ATTITUDE_SILENT
Bits: TypeAlias = npt.NDArray[np.uint32]
Names: TypeAlias = npt.NDArray[np.uint8]
_OTHERS = np.arange(2 ** (len(Condition) - 3), dtype=np.uint32)
_BELOW = np.uint32(C.POSITION_SILENT - 1)
EVERY: Bits = (_OTHERS & _BELOW) | ((_OTHERS & ~_BELOW) << np.uint32(2))
INDEX = {state: np.uint8(k) for k, state in enumerate(State)}


def holds(held: Bits, mask: Condition) -> npt.NDArray[np.bool_]:
    return np.asarray((held & np.uint32(mask)) != 0, dtype=np.bool_)


def after_one(state: Names, held: Bits) -> Names:
    """`next_state` of every set of conditions, straight from `RULES`."""
    result: Names = state.copy()
    open_ = np.ones(len(held), dtype=np.bool_)
    for rule in RULES:
        fits = np.isin(state, [INDEX[s] for s in rule.sources]) & ~holds(held, rule.unless) & open_
        if rule.when:
            fits &= holds(held, rule.when)
        result[fits], open_ = INDEX[rule.target], open_ & ~fits
    return result


def settle(state: State, held: Bits = EVERY) -> tuple[Names, int]:
    """Where it comes to rest, and after how many passes nothing moves any more."""
    now = np.full(len(held), INDEX[state])
    for steps in range(len(State) + 1):
        then = after_one(now, held)
        if (then == now).all():
            return now, steps
        now = then
    raise AssertionError("the table has a loop")


def expected(state: State, held: Bits) -> Names:
    """The same machine, written as prose would say it."""

    def choose(condition: Any, yes: Names | State, no: Names | State) -> Names:
        a, b = (INDEX[x] if isinstance(x, State) else x for x in (yes, no))
        return np.asarray(np.where(condition, a, b), dtype=np.uint8)

    def has(mask: Condition) -> npt.NDArray[np.bool_]:
        return holds(held, mask)

    ended = choose(has(C.LANDED), State.KILLED, State.LAND)
    flown = choose(has(ENDINGS), ended, choose(has(FAULTS), State.DEGRADED, State.ACTIVE))
    flown = choose(has(C.TUMBLED), State.KILLED, flown)
    waits = choose(has(C.IMU_SILENT), State.INIT, choose(has(C.SENSORS_HEARD), State.READY, State.STANDBY))
    starts = has(C.SETPOINT_GIVEN) & ~has(FAULTS) & ~has(ENDINGS)
    result = {
        **dict.fromkeys(FLYING, flown),
        **dict.fromkeys(WAITING, choose(has(C.STOP), State.KILLED, choose(starts, flown, waits))),
        State.LAND: choose(has(C.TUMBLED), State.KILLED, ended),
        State.KILLED: np.full(len(held), INDEX[State.KILLED]),
    }[state]
    return choose(has(C.KILL), State.KILLED, result)


@pytest.mark.parametrize("state", State)
def test_every_state_under_every_set_of_conditions(state: State) -> None:
    assert len(EVERY) == 2 ** (len(list(Condition)) - 3) and max(Condition) == C.COURSE_HELD
    assert not holds(EVERY, ALIKE).any() and EVERY[-1] == sum(Condition) - ALIKE - C.COURSE_HELD
    masks = [mask for rule in RULES for mask in (rule.when, rule.unless)]
    assert all(mask & ALIKE == (ALIKE if C.FLOW_SILENT in mask else NONE) for mask in masks)
    assert not any(mask & C.COURSE_HELD for mask in masks)
    found, steps = settle(state)
    wrong = np.flatnonzero(found != expected(state, EVERY))
    assert not len(wrong), (Condition(int(wrong[0])), list(State)[found[wrong[0]]])
    assert steps < len(State)


def test_the_code_that_flies_is_that_table() -> None:
    """One condition of each kind stands for all of its kind, because the code looks at masks of `RULES` alone."""
    masks = sorted({int(mask) for rule in RULES for mask in (rule.when, rule.unless)})
    kinds: dict[tuple[bool, ...], list[Condition]] = {}
    for one in Condition:
        kinds.setdefault(tuple(bool(mask & one) for mask in masks), []).append(one)
    assert {C.LINK_LOST, C.FLOW_SILENT} <= set(next(k for k in kinds.values() if C.FLOW_SILENT in k))
    some = [sum(chosen, NONE) for chosen in itertools.product(*[(NONE, k[0], k[-1]) for k in kinds.values()])]
    draws = np.random.default_rng([3]).integers(0, 2 ** len(Condition), 3000).tolist()
    sets = [*some, *map(Condition, [*draws, 2 ** len(Condition) - 1])]
    held = np.array([int(s) for s in sets], dtype=np.uint32)
    for state in State:
        table = after_one(np.full(len(held), INDEX[state]), held)
        code = [INDEX[next_state(state, conditions)[0]] for conditions in sets]
        assert (table == np.array(code)).all()
        rest = settle(state, held)[0]
        for conditions, end in zip(sets[::7], rest[::7], strict=True):
            path = [after for after, _ in transitions(state, conditions)]
            assert len({state, *path}) == len(path) + 1 and INDEX[path[-1] if path else state] == end


def test_every_rule_is_needed() -> None:
    needed = set()
    for state in State:
        open_ = np.ones(len(EVERY), dtype=np.bool_)
        for k, rule in enumerate(RULES):
            if state in rule.sources:
                fits = open_ & ~holds(EVERY, rule.unless)
                if rule.when:
                    fits &= holds(EVERY, rule.when)
                open_ &= ~fits
                needed |= {k} if fits.any() else set()
    assert needed == set(range(len(RULES)))


def test_killed_and_land_are_latched() -> None:
    assert set(settle(State.KILLED)[0]) == {INDEX[State.KILLED]}
    assert set(settle(State.LAND)[0]) == {INDEX[State.LAND], INDEX[State.KILLED]}


@pytest.mark.parametrize("ending", [c for c in Condition if c & ENDINGS])
def test_what_ends_a_flight_lands_it_and_starts_none(ending: Condition) -> None:
    held = C.SENSORS_HEARD | C.SETPOINT_GIVEN | ending
    assert next_state(State.ACTIVE, held) == (State.LAND, ending)
    assert next_state(State.DEGRADED, held | C.FLOW_SILENT)[0] is State.LAND
    assert next_state(State.READY, held)[0] is (State.KILLED if ending is C.STOP else State.READY)


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


LOCATED = replace(GOOD, flow_age_s=None, range_age_s=None, position_age_s=0.03, attitude_age_s=0.05)


def test_a_policy_that_locates_needs_position_and_attitude_and_nothing_else() -> None:
    supervisor = Supervisor(locates=True)
    unheard = replace(LOCATED, since_start_s=0.0, position_age_s=None, attitude_age_s=None, setpoint_age_s=None)
    assert supervisor.update(unheard) == [(State.STANDBY, NONE)]
    assert supervisor.update(replace(unheard, position_age_s=0.03)) == []
    assert supervisor.update(replace(LOCATED, setpoint_age_s=None)) == [(State.ACTIVE, C.SETPOINT_GIVEN)]
    for field, fine, too_much, fault in (
        ("position_age_s", 0.99, 1.01, C.POSITION_SILENT),
        ("attitude_age_s", 1.99, 2.01, C.ATTITUDE_SILENT),
    ):
        assert supervisor.update(replace(LOCATED, **{field: fine})) == []  # type: ignore[arg-type]  # names of floats
        silent = replace(LOCATED, **{field: too_much})  # type: ignore[arg-type]  # names of floats
        assert supervisor.update(silent) == [(State.DEGRADED, fault)]
        assert supervisor.update(LOCATED) == [(State.ACTIVE, NONE)]
    assert supervisor.update(replace(GOOD, flow_age_s=9.0, position_age_s=None, since_start_s=2.01)) == [
        (State.DEGRADED, C.POSITION_SILENT | C.ATTITUDE_SILENT)
    ]


SEEN = replace(GOOD, attitude_age_s=0.05, grid_age_s=0.05)


def test_a_policy_that_sees_needs_a_heading_before_it_flies_and_may_lose_it_later() -> None:
    supervisor = Supervisor(sees=True)
    unheard = replace(SEEN, attitude_age_s=None, setpoint_age_s=None)
    assert supervisor.update(unheard) == [(State.STANDBY, NONE)]
    assert C.ATTITUDE_SILENT in supervisor.conditions
    assert supervisor.update(replace(unheard, attitude_age_s=0.05, grid_age_s=None)) == []
    assert supervisor.update(replace(SEEN, setpoint_age_s=None)) == [(State.READY, C.SENSORS_HEARD)]
    assert supervisor.update(replace(SEEN, attitude_age_s=None)) == [(State.STANDBY, NONE)]
    assert supervisor.update(SEEN) == [(State.ACTIVE, C.SETPOINT_GIVEN)]
    for held in (replace(SEEN, attitude_age_s=9.0), replace(SEEN, grid_age_s=9.0), replace(SEEN, grid_age_s=None)):
        assert supervisor.update(replace(held, course_held=True)) == []
        assert C.COURSE_HELD in supervisor.conditions and supervisor.state is State.ACTIVE
    assert supervisor.update(replace(SEEN, attitude_age_s=None)) == [(State.DEGRADED, C.ATTITUDE_SILENT)]
    assert supervisor.update(SEEN) == [(State.ACTIVE, NONE)]
    assert supervisor.update(replace(SEEN, flow_age_s=2.01)) == [(State.DEGRADED, C.FLOW_SILENT)]


def test_the_height_of_a_policy_that_locates_is_as_old_as_its_position() -> None:
    supervisor = Supervisor(locates=True)
    supervisor.update(LOCATED)
    for age_s, after in ((0.6, State.ACTIVE), (0.1, State.LAND)):
        for k in range(60):
            supervisor.update(replace(LOCATED, t_s=20.0 + k / 100, height_m=9.0, position_age_s=age_s))
        assert supervisor.state is after


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


def at(x: float, speed: float = 0.0, age_s: float = 0.1) -> dict[str, Any]:
    return {"position": Position(0.0, (x, 3.0, 1.0), (speed, 0.0, 0.0)), "position_age_s": age_s}


def test_it_lands_beyond_the_geofence_which_is_about_where_it_became_active() -> None:
    limits = SupervisorLimits(radius_m=20.0, speed_m_s=5.0)
    supervisor = Supervisor(limits)
    assert [s for _, s in run(supervisor, 0.0, 1.0, setpoint_age_s=None, **at(-500.0))] == [  # type: ignore[arg-type]
        State.STANDBY,
        State.READY,
    ]
    assert [s for _, s in run(supervisor, 1.0, 1.0, **at(1000.0))] == [State.ACTIVE]
    assert run(supervisor, 2.0, 1.0, **at(1019.0)) == run(supervisor, 3.0, 0.4, **at(1021.0)) == []
    assert run(supervisor, 3.4, 2.0, **at(1025.0, age_s=1.5)) == []  # too old to be believed
    assert run(supervisor, 5.4, 1.0, **at(1021.0)) == [(0.5, State.LAND)]
    assert supervisor.conditions & C.GEOFENCE
    supervisor.reset()
    assert [s for _, s in run(supervisor, 9.0, 1.0, **at(1021.0))] == [State.STANDBY, State.ACTIVE]  # a new home


def test_a_place_that_is_first_heard_in_flight_is_home() -> None:
    supervisor = flying(SupervisorLimits(radius_m=20.0))
    assert run(supervisor, 11.0, 1.0, **at(70.0)) == []
    assert run(supervisor, 12.0, 1.0, **at(49.0)) == [(0.5, State.LAND)]


def test_it_lands_when_it_is_too_fast() -> None:
    supervisor = flying(SupervisorLimits(speed_m_s=5.0))
    assert run(supervisor, 11.0, 0.4, **at(0.0, 6.0)) == run(supervisor, 11.4, 1.0, **at(0.0, 4.9)) == []
    assert run(supervisor, 13.0, 1.0, **at(0.0, -6.0)) == [(0.5, State.LAND)]
    assert supervisor.conditions & C.SPEED


def test_a_lost_link_is_bridged_for_a_while_and_then_ends_the_flight() -> None:
    supervisor = flying()
    supervisor.saw_link(False)
    assert run(supervisor, 10.0, 4.9) == [(0.0, State.DEGRADED)]
    supervisor.saw_link(True)
    assert run(supervisor, 14.9, 1.0) == [(0.0, State.ACTIVE)]
    supervisor.saw_link(False)
    assert run(supervisor, 20.0, 6.0) == [(0.0, State.DEGRADED), (5.0, State.LAND)]
    supervisor.saw_link(True)
    assert run(supervisor, 26.0, 1.0) == []


def test_an_empty_battery_lands_it_but_a_moment_of_sag_does_not() -> None:
    supervisor = flying()
    supervisor.saw_battery(0.14)
    assert run(supervisor, 10.0, 1.9) == []
    supervisor.saw_battery(0.16)
    assert run(supervisor, 11.9, 1.0) == []
    supervisor.saw_battery(0.14)
    assert run(supervisor, 13.0, 3.0) == [(2.0, State.LAND)]
    for never in (SupervisorLimits(battery=0.0), SupervisorLimits(battery_s=math.inf)):
        supervisor = flying(never)
        supervisor.saw_battery(0.0)
        assert run(supervisor, 10.0, 5.0) == []


def test_no_flight_begins_on_an_empty_battery() -> None:
    supervisor = Supervisor()
    supervisor.saw_battery(0.1)
    assert [s for _, s in run(supervisor, 0.0, 3.0, setpoint_age_s=None)] == [State.STANDBY, State.READY]  # type: ignore[arg-type]
    assert run(supervisor, 3.0, 3.0) == []


def test_limits_are_checked_and_come_from_the_bundle() -> None:
    assert limits_of_sensors({"flow": 1.5, "imu": 0.2}) == SupervisorLimits(flow_s=1.5, imu_s=0.2)
    assert limits_of_sensors({"position": 0.7, "attitude": 3.0}) == SupervisorLimits(position_s=0.7, attitude_s=3.0)
    assert limits_of_sensors({"grid": 0.3}) == SupervisorLimits(grid_s=0.3)
    for bad in ({"flow": -1.0}, {"flow": math.nan}, {"flow": "2"}, {"flow": True}, {"sonar": 1.0}):
        with pytest.raises(ConfigError):
            limits_of_sensors(bad)
    for wrong in ({"battery": 1.0}, {"battery": -0.1}, {"battery": math.nan}, {"link_s": 0.0}, {"deadlines": 2.5}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            SupervisorLimits(**wrong)  # type: ignore[arg-type]  # that is the test
    assert State.LAND in COMMANDING and State.KILLED not in COMMANDING
