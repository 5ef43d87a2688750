"""A controller that flies to places: heading, target, needed sensors, refusals, replay."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liquid_pilot.controller import Controller
from liquid_pilot.fusion import SensorMemory
from liquid_pilot.geometry import multiply, rotate_by_rates
from liquid_pilot.logs import CsvLog, read_log
from liquid_pilot.logs.replay import difference, logged_commands, replay
from liquid_pilot.messages import Attitude, Flow, Imu, Message, Position, PositionSetpoint, Range, Setpoint
from liquid_pilot.observation import INITIAL_AGE_S, INITIAL_RANGE_M, OBS_DIM, Held, Located, assemble, assemble_position
from liquid_pilot.observation import OBS_SLICES as AT
from liquid_pilot.ops import FLOAT_OPS
from liquid_pilot.supervisor import Condition, State
from liquid_pilot.targets import NOWHERE, TargetHolder
from tests.onboard.bundles import make, make_locating
from tests.onboard.flying import LEVEL, STILL, changes, fly, state_of

LIMITS: dict[str, Any] = {"speed_m_s": 2.0, "height_m": (0.5, 3.0), "yaw_rate_rad_s": 1.0}
BUNDLE = make_locating(setpoint_limits=LIMITS)
NAN = math.nan


def turned(yaw: float) -> tuple[float, float, float, float]:
    return math.cos(0.5 * yaw), 0.0, 0.0, math.sin(0.5 * yaw)


def places(duration_s: float, start_s: float = 0.0, silent: type | None = None) -> list[Message]:
    """Messages of a drone that hovers at (3, -2, 1.5), heading north; of one kind none."""
    n = round(duration_s * 100)
    messages: list[Message] = [Imu(start_s + k / 100, STILL, LEVEL) for k in range(n)]
    messages += [Position(start_s + k / 30 + 0.003, (3.0, -2.0, 1.5), STILL) for k in range(round(duration_s * 30))]
    messages += [Attitude(start_s + k / 20 + 0.001, turned(math.pi / 2)) for k in range(round(duration_s * 20))]
    return sorted((m for m in messages if type(m) is not silent), key=lambda message: message.t_s)


def hovering(**options: Any) -> Controller:
    controller = Controller(BUNDLE, **options)
    fly(controller, places(1.0))
    assert state_of(controller) is State.ACTIVE
    return controller


def seen(controller: Controller) -> list[float]:
    """What follows the observation of every policy."""
    return list(map(float, controller.observation[OBS_DIM:]))


RATES = st.lists(st.tuples(*[st.floats(-6.0, 6.0)] * 3, st.floats(0.002, 0.04)), min_size=2, max_size=20)


@settings(max_examples=40)
@given(RATES, st.floats(-3.0, 3.0), st.integers(0, 19), st.floats(0.0, 0.99))
def test_the_gyro_carries_the_heading_exactly_however_late_the_attitude_is(
    rates: Any, yaw: float, when: int, share: float
) -> None:
    """Against the product of exact rotations; of an attitude that comes last, and of one that comes in time."""
    when = min(when, len(rates) - 1)
    times = np.cumsum([row[3] for row in rates]).tolist()
    stamp = times[when] - (1.0 - share) * rates[when][3]  # between two samples, or at one
    exact, now = turned(yaw), stamp
    early, late = SensorMemory(), SensorMemory()
    for memory in (early, late):
        assert memory.accept(Imu(0.0, STILL, LEVEL)) is None and memory.heading() is None
    for k, (t, row) in enumerate(zip(times, rates, strict=True)):
        if k == when:
            assert early.accept(Attitude(stamp, turned(yaw))) is None
        assert early.accept(Imu(t, row[:3], LEVEL)) is None and late.accept(Imu(t, row[:3], LEVEL)) is None
        early.heading()
        if t > now:
            exact, now = rotate_by_rates(FLOAT_OPS, exact, row[:3], t - now), t
    assert late.accept(Attitude(stamp, turned(yaw))) is None
    assert early.heading() == late.heading()
    x, y, _ = world_of(exact)
    heading = early.heading()
    assert heading is not None
    if math.hypot(x, y) > 1e-3:
        assert heading == pytest.approx((x / math.hypot(x, y), y / math.hypot(x, y)), abs=1e-6)


def world_of(q: tuple[float, float, float, float]) -> tuple[float, ...]:
    """Body x in the world."""
    w, x, y, z = q
    return multiply(multiply(q, (0.0, 1.0, 0.0, 0.0)), (w, -x, -y, -z))[1:]


def test_a_steady_turn_is_known_in_closed_form() -> None:
    memory = SensorMemory()
    memory.accept(Attitude(0.0, (2.0 * math.cos(0.5), 0.0, 0.0, 2.0 * math.sin(0.5))))  # its length is refused
    assert memory.heading() is None
    memory.accept(Attitude(0.0, (1.05, 0.0, 0.0, 0.0)))
    for k in range(1, 201):
        memory.accept(Imu(k / 100, (0.0, 0.0, 0.7), LEVEL))
        memory.heading()
    assert memory.heading() == pytest.approx((math.cos(1.4), math.sin(1.4)), abs=1e-9)


def test_the_observation_is_that_of_hand_computed_values() -> None:
    controller = hovering()
    controller.feed(PositionSetpoint(1.0, (4.0, 0.0, 2.0), (0.5, 1.0, 0.0), math.pi))
    controller.feed(Position(1.0, (3.0, -2.0, 1.5), (0.0, 1.0, -0.5)))
    controller.feed(Imu(1.02, (0.1, 0.2, 0.0), LEVEL))
    held = Held(
        dt_s=0.03,
        gyro_rad_s=(0.1, 0.2, 0.0),
        accel_m_s2=LEVEL,
        accel_fresh=1.0,
        accel_age_s=0.0,
        flow_rate_rad_s=(0.0, 0.0),
        flow_quality=0.0,
        flow_fresh=0.0,
        flow_age_s=INITIAL_AGE_S,
        range_m=INITIAL_RANGE_M,
        range_fresh=0.0,
        range_age_s=INITIAL_AGE_S,
        setpoint_velocity_m_s=(1.0, -0.5),
        setpoint_height_m=2.0,
        setpoint_yaw_rate_rad_s=1.0,  # 1.5 / s x 90 degrees, cut
    )
    located = Located((2.0 - 0.02, -1.0, 0.5 + 0.01), (0.0, -0.5, 0.5), 1.0, 0.02)
    expected = assemble(held) + assemble_position(located)
    # the newest attitude was carried over samples with a gyro, by 0.2 rad/s at most
    np.testing.assert_allclose(controller.observation, expected, atol=1e-4)
    controller.feed(Imu(1.04, STILL, LEVEL))
    assert seen(controller)[6] == 0.0 and seen(controller)[7] == pytest.approx(0.04 / 0.14)


def test_at_the_target_there_is_no_offset() -> None:
    controller = hovering()
    controller.feed(PositionSetpoint(1.0, (3.0, -2.0, 1.5), STILL, NAN))
    controller.feed(Imu(1.0, STILL, LEVEL))
    assert seen(controller)[:6] == [0.0] * 6
    assert controller.observation[AT["setpoint_yaw_rate_rad_s"]] == 0.0


@pytest.mark.parametrize("missing", [Position, Attitude, None])
def test_before_the_first_place_attitude_or_target_nothing_is_seen(missing: type | None) -> None:
    controller = Controller(BUNDLE)
    if missing is not None:
        controller.feed(PositionSetpoint(0.0, (9.0, 9.0, 1.0), (1.0, 0.0, 0.0), 0.0))
    messages = places(0.5, silent=missing)
    fly(controller, messages if missing is not None else messages[:1])
    np.testing.assert_allclose(seen(controller), assemble_position(NOWHERE), rtol=1e-6)


def test_without_a_target_it_stays_where_it_became_active() -> None:
    controller = hovering()
    assert changes(controller)[-1][1] == "STANDBY -> ACTIVE: SETPOINT_GIVEN"
    assert seen(controller)[:6] == [0.0] * 6
    controller.feed(Position(1.0, (3.0, -3.0, 1.4), STILL))
    controller.feed(Imu(1.0, STILL, LEVEL))
    assert seen(controller)[:3] == pytest.approx([1.0, 0.0, 0.1], abs=1e-6)
    assert controller.observation[AT["height_error_m"]] == pytest.approx((1.5 - INITIAL_RANGE_M) / 0.5)


def test_a_target_that_times_out_is_held_and_then_lost() -> None:
    controller = hovering(setpoint_timeout_s=0.5)
    controller.feed(PositionSetpoint(1.0, (4.0, -2.0, 1.5), (0.0, 1.0, 0.0), NAN))
    fly(controller, places(0.4, 1.0))
    assert controller.observation[AT["setpoint_velocity_m_s"]].tolist() == pytest.approx([1.0, 0.0])
    fly(controller, places(1.6, 1.4))
    assert controller.observation[AT["setpoint_velocity_m_s"]].tolist() == [0.0, 0.0]
    assert seen(controller)[:3] == pytest.approx([0.0, -1.0, 0.0], abs=1e-6)
    fly(controller, places(1.0, 3.0))
    assert state_of(controller) is State.DEGRADED and Condition.SETPOINT_LOST in controller.conditions


@pytest.mark.parametrize(("silent", "fault", "after_s"), [(Position, "POSITION", 1.0), (Attitude, "ATTITUDE", 2.0)])
def test_a_silent_sensor_degrades_and_its_return_gives_back(silent: type, fault: str, after_s: float) -> None:
    controller = hovering()
    commands = fly(controller, places(3.0, 1.0, silent=silent))
    ((fell_s, text),) = changes(controller)[2:]
    assert text == f"ACTIVE -> DEGRADED: {fault}_SILENT" and fell_s == pytest.approx(1.0 + after_s, abs=0.06)
    assert len(commands) == 300 and controller.counters["fallback_commands"] > 90
    fly(controller, places(0.5, 4.0))
    assert changes(controller)[-1][1] == "DEGRADED -> ACTIVE: data are good"


def test_it_lands_by_the_height_of_the_position() -> None:
    controller = hovering()
    controller.stop()
    for k in range(100):
        controller.feed(Imu(1.0 + k / 100, STILL, LEVEL))
        controller.feed(Position(1.001 + k / 100, (3.0, -2.0, 0.05), STILL))
    assert [text for _, text in changes(controller)[-2:]] == ["ACTIVE -> LAND: STOP", "LAND -> KILLED: LANDED"]


def test_flow_and_range_count_for_nothing() -> None:
    controllers = [Controller(BUNDLE), Controller(BUNDLE)]
    outputs = [[controller.feed(message) for message in places(0.5)] for controller in controllers[:1]]
    other = []
    for message in places(0.5):
        controllers[1].feed(Flow(message.t_s, 0.02, (0.1, NAN), 0.9))
        controllers[1].feed(Range(message.t_s, -7.0))
        other.append(controllers[1].feed(message))
    assert other == outputs[0]
    assert controllers[1].counters["unused_flow"] == controllers[1].counters["unused_range"] == len(places(0.5))


def test_set_points_of_the_other_kind_are_refused_and_counted() -> None:
    for bundle, wrong, kind in (
        (BUNDLE, Setpoint(0.0, (0.0, 0.0), 1.0, 0.0), "setpoint"),
        (make(), PositionSetpoint(0.0, (0.0, 0.0, 1.0), STILL, NAN), "position_setpoint"),
    ):
        controller = Controller(bundle)
        assert controller.feed(wrong) is None and controller.counters[f"rejected_{kind}"] == 1
        assert "; feed " in controller.events[-1].text


REFUSED = [
    PositionSetpoint(1.0, (NAN, 0.0, 1.0), STILL, 0.0),
    PositionSetpoint(1.0, (NAN, NAN, 1.0), (1.0, 0.0, 0.0), NAN),
    PositionSetpoint(1.0, (0.0, 0.0, NAN), STILL, 0.0),
    PositionSetpoint(1.0, (0.0, 2e6, 1.0), STILL, 0.0),
    PositionSetpoint(1.0, (0.0, 0.0, 1.0), (0.0, math.inf, 0.0), 0.0),
    PositionSetpoint(1.0, (0.0, 0.0, 1.0), STILL, math.inf),
    PositionSetpoint(9.0, (0.0, 0.0, 1.0), STILL, 0.0),
    PositionSetpoint(NAN, (0.0, 0.0, 1.0), STILL, 0.0),
    Attitude(1.0, (0.0, 0.0, 0.0, 0.0)),
    Attitude(1.0, (NAN, 0.0, 0.0, 1.0)),
    Attitude(0.5, turned(0.0)),
    Attitude(5.0, turned(0.0)),
]


@pytest.mark.parametrize("message", REFUSED, ids=str)
def test_what_is_refused_is_counted_and_changes_nothing(message: Message) -> None:
    controllers = [hovering(), hovering()]
    controllers[0].feed(message)
    assert sum(count for name, count in controllers[0].counters.items() if name.startswith("rejected_")) == 1
    assert controllers[0].feed(Imu(1.0, STILL, LEVEL)) == controllers[1].feed(Imu(1.0, STILL, LEVEL))
    assert controllers[0].observation.tolist() == controllers[1].observation.tolist()


def test_a_target_outside_the_limits_is_cut() -> None:
    holder = TargetHolder(LIMITS, None)
    error, note = holder.accept(PositionSetpoint(0.0, (50.0, 1.0, 9.0), (0.0, 3.0, 4.0), NAN), None)
    cut = holder.in_force(0.0)
    assert error is None and note is not None and cut is not None
    assert cut.position_m == (50.0, 1.0, 3.0) and cut.velocity_m_s == pytest.approx((0.0, 1.2, 1.6))
    assert holder.accept(PositionSetpoint(0.0, (50.0, 1.0, 2.0), (0.0, 0.0, 1.0), NAN), None) == (None, None)


WILD = st.floats() | st.floats(-3.0, 3.0)
WILD3 = st.tuples(WILD, WILD, WILD)
TIMES = st.floats(0.9, 2.5) | st.floats()
HOSTILE = st.one_of(
    st.builds(Imu, TIMES, WILD3, WILD3),
    st.builds(Position, TIMES, WILD3, WILD3),
    st.builds(Attitude, TIMES, st.tuples(WILD, WILD, WILD, WILD)),
    st.builds(PositionSetpoint, TIMES, WILD3, WILD3, WILD),
    st.builds(Setpoint, TIMES, st.tuples(WILD, WILD), WILD, WILD),
)


@settings(max_examples=12)
@given(st.lists(HOSTILE, max_size=30))
def test_nothing_hostile_raises_or_reaches_the_command(messages: list[Message]) -> None:
    controller, limits = hovering(), BUNDLE.limits
    for message in [*messages, *places(0.05, 3.0)]:
        command = controller.feed(message)
        if command is not None:
            assert limits.thrust_m_s2[0] <= command.thrust_m_s2 <= limits.thrust_m_s2[1]
            assert all(abs(w) <= most for w, most in zip(command.rates_rad_s, limits.rates_rad_s, strict=True))
        assert np.isfinite(controller.observation).all()


def test_the_same_policy_gives_the_same_commands_from_a_log(tmp_path: Path) -> None:
    log = CsvLog(tmp_path / "flight.csv")
    controller = Controller(BUNDLE, log=log, setpoint_timeout_s=0.5)
    rng = np.random.default_rng([5])
    for message in places(3.0):
        if isinstance(message, Attitude) and rng.random() < 0.5:
            x, y, z = (rng.normal(size=3) * 2.0 + (3.0, -2.0, 1.5)).tolist()
            controller.feed(PositionSetpoint(message.t_s, (x, y, z), (0.1, 0.3, 0.0), x if y > -2.0 else NAN))
        controller.feed(message)
    log.close()
    records = read_log(log.path).records
    assert {PositionSetpoint, Attitude, Position} <= set(map(type, records))
    found = difference(logged_commands(records), replay(Controller(BUNDLE, setpoint_timeout_s=0.5), records).commands)
    assert found.identical and len(found.t_s) > 290


def test_a_clock_that_leaps_waits_for_position_and_attitude() -> None:
    controller = hovering()
    fly(controller, places(0.5, 50.0, silent=Attitude))
    assert Condition.CLOCK_JUMPED in controller.conditions
    fly(controller, places(0.5, 50.5))
    assert state_of(controller) is State.ACTIVE and Condition.CLOCK_JUMPED not in controller.conditions
    assert seen(controller)[:6] == pytest.approx([0.0] * 6, abs=1e-6)
