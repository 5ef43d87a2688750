"""A controller that sees: what its network is shown, which grids it refuses, and when it holds its course."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liquid_pilot.controller import Controller
from liquid_pilot.course import told_course
from liquid_pilot.encoder import Encoder
from liquid_pilot.errors import MessageError
from liquid_pilot.flow_grid import DEFAULT_GRID, GridReader
from liquid_pilot.logs import CsvLog, McapLog, read_log
from liquid_pilot.logs.masked import masked
from liquid_pilot.logs.replay import difference, logged_commands, replay
from liquid_pilot.messages import Attitude, Flow, FlowGrid, Imu, Message, PositionSetpoint, Range, Setpoint
from liquid_pilot.observation import INITIAL_AGE_S, OBS_DIM, assemble_sight
from liquid_pilot.observation import OBS_SLICES as AT
from liquid_pilot.ops import FLOAT_OPS
from liquid_pilot.supervisor import Condition, State
from tests.onboard.bundles import make, make_seeing
from tests.onboard.flying import LEVEL, STILL, changes, fly, state_of

BUNDLE = make_seeing()
NAN = math.nan
SHAPE = (5, 32, 2)
NOTHING_SEEN = [*assemble_sight(0.0, INITIAL_AGE_S), *[0.0] * 24]
RNG = np.random.default_rng([4])


def flows(size: float = 0.5) -> Any:
    return RNG.normal(0.0, size, SHAPE)


def grid(t_s: float, flow: Any = None, dt_s: float = 0.05, **changed: Any) -> FlowGrid:
    flow = flows() if flow is None else flow
    fields = {"azimuth_rad": DEFAULT_GRID.azimuth_rad, "elevation_rad": DEFAULT_GRID.elevation_rad} | changed
    return FlowGrid(t_s, dt_s, fields["azimuth_rad"], fields["elevation_rad"], flow)


def course(
    t_s: float, velocity: tuple[float, float] = (2.0, 0.0), height_m: float = 1.5, yaw: float = NAN
) -> PositionSetpoint:
    return PositionSetpoint(t_s, (NAN, NAN, height_m), (*velocity, 0.0), yaw)


def turned(yaw: float) -> tuple[float, float, float, float]:
    return math.cos(0.5 * yaw), 0.0, 0.0, math.sin(0.5 * yaw)


def sensors(duration_s: float, start_s: float = 0.0, silent: type | None = None) -> list[Message]:
    """Messages of a drone that hovers, heading north; of one kind none."""
    messages: list[Message] = [Imu(start_s + k / 100, STILL, LEVEL) for k in range(round(duration_s * 100))]
    messages += [Range(start_s + k / 30 + 0.003, 1.0) for k in range(round(duration_s * 30))]
    messages += [Flow(start_s + k / 30 + 0.004, 0.03, (0.0, 0.001), 0.9) for k in range(round(duration_s * 30))]
    messages += [Attitude(start_s + k / 20 + 0.001, turned(math.pi / 2)) for k in range(round(duration_s * 20))]
    messages += [grid(start_s + k / 20 + 0.002) for k in range(round(duration_s * 20))]
    return sorted((m for m in messages if type(m) is not silent), key=lambda message: message.t_s)


def flying(**options: Any) -> Controller:
    """The newest IMU is at 0.99 s; it flies north at 2 m/s."""
    controller = Controller(BUNDLE, **options)
    controller.feed(course(0.0, (0.0, 2.0)))
    fly(controller, sensors(1.0))
    assert state_of(controller) is State.ACTIVE and Condition.COURSE_HELD not in controller.conditions
    return controller


def seen(controller: Controller) -> list[float]:
    """What follows the observation of every policy."""
    return list(map(float, controller.observation[OBS_DIM:]))


def told(controller: Controller) -> list[float]:
    """Commanded velocity in the heading frame, and yaw rate."""
    x = controller.observation
    return [*map(float, x[AT["setpoint_velocity_m_s"]]), float(x[AT["setpoint_yaw_rate_rad_s"]][0])]


def test_the_network_is_shown_the_newest_grid_through_reader_and_encoder() -> None:
    controller = flying()
    flow, spec = flows(), BUNDLE.spec.encoder
    flow[2, 5:9] = NAN
    assert spec is not None
    for k in range(5):
        controller.feed(Imu(1.0 + k / 100, (0.1 * (k + 1), -0.2 * (k + 1), 0.3 * (k + 1)), LEVEL))
    controller.feed(grid(1.042, flow, 0.03))  # of the samples at 1.02, 1.03 and 1.04
    controller.feed(Imu(1.05, STILL, LEVEL))
    shown = GridReader(spec.grid).read(flow, (0.4, -0.8, 1.2))
    features = Encoder(spec, BUNDLE.weights).features(shown, 2.0)
    np.testing.assert_allclose(seen(controller), [*assemble_sight(1.0, 0.008), *features], atol=1e-6)
    controller.feed(course(1.05, (0.0, 1.0)))
    controller.feed(Imu(1.06, STILL, LEVEL))
    # its features are those of the speed at which it came
    np.testing.assert_allclose(seen(controller), [*assemble_sight(0.0, 0.018), *features], atol=1e-6)


def test_of_grids_between_two_steps_the_last_counts() -> None:
    first, second = flying(), flying()
    one, other = flows(), flows()
    first.feed(grid(1.001, one))
    for controller in (first, second):
        controller.feed(grid(1.002, other))
        controller.feed(Imu(1.01, STILL, LEVEL))
    assert seen(first) == seen(second)


def test_before_the_first_grid_nothing_is_seen_and_speed_is_zero() -> None:
    controller = Controller(BUNDLE)
    controller.feed(course(0.0))
    fly(controller, sensors(0.5, silent=FlowGrid))
    assert seen(controller) == pytest.approx(NOTHING_SEEN, rel=1e-6)
    assert state_of(controller) is State.ACTIVE and Condition.COURSE_HELD in controller.conditions
    assert told(controller)[:2] == [0.0, 0.0]
    held = [e.text for e in controller.events if e.kind == "course"]
    assert held == ["course held: no flow grid yet [course_held: 1]"]


def test_a_course_is_told_in_the_heading_frame_with_a_turn_towards_it() -> None:
    controller = flying()
    assert told(controller) == pytest.approx([2.0, 0.0, 0.0], abs=1e-6)
    for velocity, yaw in (((1.0, 1.0), NAN), ((1.0, 1.0), math.pi / 2), ((0.0, -1.0), NAN), ((0.0, 0.0), NAN)):
        controller.feed(course(1.0, velocity, 1.2, yaw))
        controller.feed(Imu((controller.counters["steps"] + 1) / 100, STILL, LEVEL))
        face = math.atan2(velocity[1], velocity[0]) if math.isnan(yaw) else yaw
        facing = (math.cos(face), math.sin(face)) if any(velocity) else (0.0, 1.0)
        (x, y), rate = told_course(FLOAT_OPS, (0.0, 1.0), velocity, facing)
        assert told(controller) == pytest.approx([x, y, rate], abs=1e-5)
    assert controller.observation[AT["height_error_m"]] == pytest.approx((1.2 - 1.0) / 0.5)


def test_a_course_is_cut_to_the_limits_and_ages_to_speed_zero() -> None:
    controller = flying(setpoint_timeout_s=0.2)
    controller.feed(PositionSetpoint(1.0, (NAN, NAN, 9.0), (0.0, 8.0, 1.0), NAN))
    assert controller.counters["clamped_position_setpoint"] == 1
    controller.feed(Imu(1.0, STILL, LEVEL))
    assert told(controller) == pytest.approx([4.0, 0.0, 0.0], abs=1e-6)
    assert controller.observation[AT["height_error_m"]] == pytest.approx((3.0 - 1.0) / 0.5)
    fly(controller, sensors(0.3, 1.01))
    assert told(controller) == pytest.approx([0.0, 0.0, 0.0], abs=1e-6)
    assert state_of(controller) is State.ACTIVE


@pytest.mark.parametrize(
    ("setpoint", "words"),
    [
        (Setpoint(1.0, (0.0, 0.0), 1.0, 0.0), "flies courses over ground"),
        (PositionSetpoint(1.0, (1.0, 2.0, 1.0), STILL, NAN), "give x and y as NaN"),
        (PositionSetpoint(1.0, (NAN, 2.0, 1.0), STILL, NAN), "give x and y as NaN"),
        (PositionSetpoint(1.0, (NAN, NAN, NAN), STILL, NAN), "not finite"),
        (PositionSetpoint(1.0, (NAN, NAN, 1.0), (0.0, NAN, 0.0), NAN), "not finite"),
        (PositionSetpoint(1.0, (NAN, NAN, 1.0), (0.0, 0.0, math.inf), NAN), "not finite"),
        (PositionSetpoint(1.0, (NAN, NAN, 1.0), STILL, math.inf), "not finite"),
        (course(3.0), "ahead of the IMU"),
        (course(-1.0), "before the newest"),
    ],
)
def test_other_set_points_are_refused_and_the_course_stays(setpoint: Any, words: str) -> None:
    controller = flying()
    controller.feed(setpoint)
    assert words in controller.events[-1].text
    fly(controller, sensors(0.1, 1.0))
    assert told(controller) == pytest.approx([2.0, 0.0, 0.0], abs=1e-6)


def _with(value: float, share: float) -> Any:
    flow = flows()
    flow.reshape(-1, 2)[: round(share * 160), 0] = value
    return flow


WRONG_ANGLES = tuple(a + 2e-3 for a in DEFAULT_GRID.azimuth_rad)
BAD: list[tuple[str, FlowGrid, str]] = [
    ("fewer rays", grid(1.0, np.ones((5, 31, 2)), azimuth_rad=DEFAULT_GRID.azimuth_rad[1:]), "5 x 31 rays"),
    ("fewer rows", grid(1.0, np.ones((4, 32, 2)), elevation_rad=DEFAULT_GRID.elevation_rad[1:]), "4 x 32 rays"),
    ("turned rays", grid(1.0, azimuth_rad=WRONG_ANGLES), "0.0020 rad away"),
    ("rays nowhere", grid(1.0, elevation_rad=(NAN,) * 5), "nan rad away"),
    ("no ray saw anything", grid(1.0, np.full(SHAPE, NAN)), "no ray saw anything"),
    ("all zeros", grid(1.0, np.zeros(SHAPE)), "exactly 0"),
    ("zeros and nothing", grid(1.0, np.where(flows() > 0.0, 0.0, NAN)), "exactly 0"),
    ("saturated", grid(1.0, _with(-9.0, 0.6)), "saturated"),
    ("saturated where it sees", grid(1.0, np.where(_with(9.0, 0.1) < 8.0, NAN, 9.0)), "saturated"),
    ("infinite", grid(1.0, _with(math.inf, 0.01)), "beyond"),
    ("degrees", grid(1.0, _with(-57.0, 0.01)), "beyond"),
    ("no window", grid(1.0, dt_s=0.0), "window"),
    ("NaN window", grid(1.0, dt_s=NAN), "window"),
    ("long window", grid(1.0, dt_s=0.6), "window"),
    ("NaN stamp", grid(NAN), "time is nan"),
    ("stamp ahead", grid(3.0), "ahead of the IMU"),
    ("late", grid(-0.5), "late"),
    ("stamp stands still", grid(0.952), "stamps must rise"),
]


@pytest.mark.parametrize(("bad", "words"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_a_bad_grid_is_refused_counted_and_not_shown(bad: FlowGrid, words: str) -> None:
    controller = flying()
    features = seen(controller)[2:]
    controller.feed(bad)
    assert controller.counters["rejected_flow_grid"] == 1
    assert controller.events[-1].text.startswith("FlowGrid dropped: ") and words in controller.events[-1].text
    controller.feed(Imu(1.0, STILL, LEVEL))
    assert seen(controller) == pytest.approx([*assemble_sight(0.0, 0.048), *features], abs=1e-6)
    controller.feed(grid(1.002))
    assert controller.counters["rejected_flow_grid"] == 1  # the next good one is taken
    fly(controller, sensors(0.1, 1.01))
    assert state_of(controller) is State.ACTIVE and told(controller) == pytest.approx([2.0, 0.0, 0.0], abs=1e-6)


def test_a_frozen_sensor_is_refused_until_it_says_something_else() -> None:
    controller, flow = flying(), flows()
    flow[0, 0, 0] = NAN
    for k in range(3):
        controller.feed(grid(1.0 + k / 20, flow.copy()))
    assert controller.counters["rejected_flow_grid"] == 2 and "frozen" in controller.events[-1].text
    flow[4, 3, 1] += 1e-12
    controller.feed(grid(1.2, flow))
    assert controller.counters["rejected_flow_grid"] == 2


@pytest.mark.parametrize("value", [NAN, 9.0])
def test_rays_that_saw_nothing_or_are_saturated_in_part_are_no_fault(value: float) -> None:
    controller = flying()
    controller.feed(grid(1.0, _with(value, 0.45)))
    controller.feed(Imu(1.0, STILL, LEVEL))
    assert seen(controller)[0] == 1.0 and "rejected_flow_grid" not in controller.counters


@pytest.mark.parametrize(("silent", "limit_s", "name"), [(FlowGrid, 0.5, "flow grid"), (Attitude, 1.0, "attitude")])
def test_while_grid_or_attitude_is_silent_the_course_is_held(silent: type, limit_s: float, name: str) -> None:
    controller = flying()
    fly(controller, sensors(limit_s - 0.06, 1.0, silent=silent))
    assert told(controller)[:2] == pytest.approx([2.0, 0.0], abs=1e-6)
    fly(controller, sensors(1.0, 1.0 + limit_s - 0.06, silent=silent))
    assert told(controller)[:2] == [0.0, 0.0]
    assert state_of(controller) is State.ACTIVE and Condition.COURSE_HELD in controller.conditions
    course_events = [e.text for e in controller.events if e.kind == "course"]
    assert course_events[-1].startswith(f"course held: no {name} for {limit_s:.1f} s")
    if silent is FlowGrid:
        assert seen(controller) == pytest.approx(NOTHING_SEEN, rel=1e-6)  # as before the first
    before = len(course_events)
    fly(controller, sensors(0.2, 2.0 + limit_s))
    assert told(controller)[:2] == pytest.approx([2.0, 0.0], abs=1e-6)
    assert Condition.COURSE_HELD not in controller.conditions
    assert [e.text for e in controller.events if e.kind == "course"][before:] == [
        f"course flown again [course_resumed: {controller.counters['course_resumed']}]"
    ]


def test_a_held_course_is_encoded_at_speed_zero() -> None:
    controller, spec = flying(), BUNDLE.spec.encoder
    assert spec is not None
    fly(controller, sensors(1.2, 1.0, silent=Attitude))
    flow = flows()
    controller.feed(grid(2.2, flow))
    controller.feed(Imu(2.2, STILL, LEVEL))
    features = Encoder(spec, BUNDLE.weights).features(GridReader(spec.grid).read(flow, STILL), 0.0)
    np.testing.assert_allclose(seen(controller)[2:], features, atol=1e-6)


def test_a_grid_that_comes_late_does_not_end_the_hold() -> None:
    controller = flying()
    fly(controller, sensors(1.0, 1.0, silent=FlowGrid))
    controller.feed(grid(1.3))
    controller.feed(Imu(2.0, STILL, LEVEL))
    assert controller.counters.get("rejected_flow_grid", 0) == 0
    assert told(controller)[:2] == [0.0, 0.0] and seen(controller) == pytest.approx(NOTHING_SEEN, rel=1e-6)


def test_without_a_heading_it_does_not_fly() -> None:
    controller = Controller(BUNDLE)
    controller.feed(course(0.0))
    assert not fly(controller, sensors(1.0, silent=Attitude))
    assert state_of(controller) is State.STANDBY and Condition.ATTITUDE_SILENT in controller.conditions
    fly(controller, sensors(0.1, 1.0))
    assert changes(controller)[-1][1] == "STANDBY -> ACTIVE: SETPOINT_GIVEN"


@pytest.mark.parametrize("missing", [Flow, Range, FlowGrid, Attitude, None])
def test_it_is_ready_when_all_its_sensors_were_heard(missing: type | None) -> None:
    controller = Controller(BUNDLE)
    fly(controller, sensors(1.0, silent=missing))
    assert state_of(controller) is (State.READY if missing is None else State.STANDBY)


@pytest.mark.parametrize("silent", [Flow, Range])
def test_flow_and_range_count_as_for_a_policy_that_hovers(silent: type) -> None:
    controller = flying()
    fly(controller, sensors(2.5, 1.0, silent=silent))
    assert state_of(controller) is State.DEGRADED


def test_on_another_clock_nothing_was_seen_yet() -> None:
    controller = flying()
    fly(controller, [Imu(100.0 + k / 100, STILL, LEVEL) for k in range(5)])
    assert controller.counters["clock_jumps"] == 1 and state_of(controller) is State.DEGRADED
    assert seen(controller) == pytest.approx(NOTHING_SEEN, rel=1e-6)
    fly(controller, sensors(0.5, 100.1))
    assert state_of(controller) is State.ACTIVE and told(controller)[0] == pytest.approx(2.0)


def test_a_stamp_from_the_future_before_the_first_imu_means_nothing() -> None:
    controller = Controller(BUNDLE)
    controller.feed(course(0.0))
    controller.feed(grid(1e6))
    fly(controller, sensors(1.0))
    assert not controller.counters.get("rejected_flow_grid", 0) and Condition.COURSE_HELD not in controller.conditions


def test_reset_forgets_the_grid() -> None:
    controller = flying()
    controller.reset()
    controller.feed(Imu(9.0, STILL, LEVEL))
    assert seen(controller) == pytest.approx(NOTHING_SEEN, rel=1e-6)


def test_other_policies_count_grids_as_unused_and_wrong_objects_are_refused() -> None:
    controller = Controller(make())
    controller.feed(grid(0.0))
    assert controller.counters["unused_flow_grid"] == 1
    with pytest.raises(MessageError, match="FlowGrid"):
        controller.feed(flows())


@pytest.mark.parametrize("make_log", [CsvLog, McapLog])
def test_a_replay_gives_the_same_commands(make_log: Any, tmp_path: Path) -> None:
    log = make_log(tmp_path / "flight")
    controller = flying(log=log, setpoint_timeout_s=5.0)
    for start_s, silent in ((1.0, FlowGrid), (2.0, None), (3.0, Attitude), (4.5, None)):
        fly(controller, sensors(1.0, start_s, silent=silent))
        controller.feed(grid(start_s + 1.0, np.zeros(SHAPE)))
    log.close()
    records = read_log(log.path).records
    for told_again in (records, masked(records)):
        again = replay(Controller(BUNDLE, setpoint_timeout_s=5.0), told_again)
        assert difference(logged_commands(records), again.commands).identical
    assert sum(isinstance(record, FlowGrid) for record in records) > 60


def test_a_limit_of_its_own_can_be_given() -> None:
    controller = flying(limits=replace(Controller(BUNDLE)._supervisor.limits, grid_s=0.2))
    fly(controller, sensors(0.3, 1.0, silent=FlowGrid))
    assert told(controller)[:2] == [0.0, 0.0]


STAMPS = st.one_of(st.floats(0.9, 2.0), st.floats())
WILD = st.one_of(st.floats(-9.0, 9.0), st.floats())
GRIDS = st.builds(
    lambda t, dt, size, fill, share: grid(t, np.where(RNG.random(SHAPE) < share, fill, flows(size)), dt),
    STAMPS, st.one_of(st.floats(0.0, 0.5), st.floats()), st.floats(0.0, 9.0), WILD, st.floats(0.0, 1.0),
)  # fmt: skip
COURSES = st.builds(
    PositionSetpoint, STAMPS, st.tuples(st.just(NAN), st.one_of(st.just(NAN), WILD), WILD), st.tuples(*[WILD] * 3), WILD
)
OTHERS = st.one_of(
    st.builds(Attitude, STAMPS, st.tuples(*[st.floats(-1.0, 1.0)] * 4)),
    st.builds(Imu, STAMPS, st.tuples(*[WILD] * 3), st.tuples(*[WILD] * 3)),
    st.builds(Flow, STAMPS, WILD, st.tuples(WILD, WILD), st.floats(0.0, 1.0)),
    st.builds(Range, STAMPS, WILD),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(GRIDS, GRIDS, COURSES, OTHERS), max_size=40))
def test_whatever_comes_it_never_raises_and_commands_stay_within_limits(messages: list[Message]) -> None:
    controller, limits = flying(), BUNDLE.limits
    for k, message in enumerate(messages):
        for told_now in (message, Imu(1.0 + k / 100, STILL, LEVEL)):
            command = controller.feed(told_now)
            assert np.isfinite(controller.observation).all()
            if command is not None:
                assert limits.thrust_m_s2[0] <= command.thrust_m_s2 <= limits.thrust_m_s2[1]
                assert all(abs(r) <= high for r, high in zip(command.rates_rad_s, limits.rates_rad_s, strict=True))
        assert math.hypot(*told(controller)[:2]) <= 4.0 + 1e-5
