"""Faults by name and time: how they are written, and that each has its effect and no other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from envs.airframe import load_airframe
from envs.batched_ops import TORCH_OPS
from envs.conditions import Conditions
from envs.fault_effects import change, clock_ahead_s, disturbance, disturbed, flow_spike, range_spike
from envs.faults import FAULT_KINDS, SAG_S, SPIKE_CHANCE, Fault, fault_names, fault_table, parse_fault
from envs.flights import draw_flights
from envs.physics import Body, accelerations, forces, nominal_params
from envs.pybullet_quad import PyBulletQuad
from envs.rollout import fly, fly_privileged
from envs.scoring import score_hover
from envs.trace import FlightTrace
from liquid_pilot import Controller
from liquid_pilot.errors import ConfigError
from liquid_pilot.geometry import rotation_matrix
from liquid_pilot.messages import Command, Flow, Imu, Message, Range
from liquid_pilot.observation import GRAVITY_M_S2
from liquid_pilot.ops import FLOAT_OPS
from policies.experts.geometric import GeometricController

AIRFRAME = load_airframe("cf2x")
ZERO = (0.0, 0.0, 0.0)
CALM = Conditions(
    tilt_deg=(0.0, 0.0), launch_speed_m_s=(0.0, 0.0), launch_rate_rad_s=(0.0, 0.0), wind_m_s=(0.0, 0.0),
    launch_height_m=(1.2, 1.2), setpoint_height_m=(1.2, 1.2), airframe_spread=0.0, rotor_spread=0.0,
    gyro_bias_rad_s=0.0, gyro_walk_rad_s2=0.0, hold_s=0.1, imu_jitter=0.0,
)  # fmt: skip


def with_faults(*texts: str, conditions: Conditions = CALM) -> Conditions:
    return replace(conditions, faults=tuple(parse_fault(text) for text in texts))


@dataclass
class Listener:
    """Commands level hover; remembers what it was told, by kind, and the ticks."""

    fed: list[Message] = field(default_factory=list)
    ticks: list[float] = field(default_factory=list)

    def feed(self, message: Message) -> Command | None:
        self.fed.append(message)
        return Command(message.t_s, GRAVITY_M_S2, ZERO) if isinstance(message, Imu) else None

    def tick(self, now_s: float) -> Command | None:
        self.ticks.append(now_s)
        return None


def listen(*texts: str, seconds: float = 1.0, conditions: Conditions = CALM) -> tuple[Listener, FlightTrace]:
    conditions, pilot = with_faults(*texts, conditions=conditions), Listener()
    flights = draw_flights(AIRFRAME, conditions, 1, np.random.default_rng(0))
    return pilot, fly(pilot, AIRFRAME, flights, conditions, np.random.default_rng(1), seconds)


def hovered(*texts: str, seconds: float = 5.0) -> tuple[PyBulletQuad, FlightTrace]:
    """The expert that knows the truth, and the quad (closed) as the flight left it."""
    conditions = with_faults(*texts)
    flights = draw_flights(AIRFRAME, conditions, 1, np.random.default_rng(0))
    with PyBulletQuad(AIRFRAME) as quad:
        expert, rng = GeometricController(), np.random.default_rng(1)
        return quad, fly_privileged(expert, AIRFRAME, flights, conditions, rng, seconds, quad)


numbers = st.floats(0.0, 1e6).map(lambda x: x + 0.0)
kinds = st.sampled_from([(part, kind) for kind in FAULT_KINDS for part in kind.parts])


@given(chosen=kinds, start_s=numbers, length_s=st.none() | st.floats(1e-3, 1e6), share=st.floats(0.0, 1.0))
def test_a_fault_that_is_written_and_read_is_the_same(
    chosen: tuple[str, object], start_s: float, length_s: float | None, share: float
) -> None:
    part, kind = chosen[0], next(kind for kind in FAULT_KINDS if kind is chosen[1])
    value = None if kind.value is None else kind.span[0] + share * (kind.span[1] - kind.span[0])
    fault = Fault(part, start_s, math.inf if length_s is None else start_s + length_s, kind.mode, value)
    again = parse_fault(str(fault))
    assert replace(again, end_s=fault.end_s) == fault
    assert again.end_s == pytest.approx(fault.end_s)


@given(st.text() | st.from_regex(r"[a-z]+[0-9]?:[a-z=0-9.+%/-]*@[0-9.e+s-]*", fullmatch=True))
def test_any_text_is_a_fault_or_is_refused(text: str) -> None:
    try:
        fault = parse_fault(text)
    except ConfigError as error:
        assert len(str(error)) > 20
    else:
        assert 0.0 <= fault.start_s < fault.end_s


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gps:off@3s", "accel, battery, clock, flow"),
        ("flow:on@3s", "flow:freeze, flow:nan, flow:off, flow:spike"),
        ("motor5:0.7@3s", "motor1, motor2, motor3, motor4"),
        ("motor2:off@3s", "motor2:0.7"),
        ("motor2:1.5@3s", "0 to 1"),
        ("payload:+20kg@3s", r"payload:\+20%"),
        ("wind:step=40m/s@3s", "-15 to 15 m/s"),
        ("flow:off=3@2s", "takes no value"),
        ("flow:off@3s+0s", "an end after it"),
        ("flow:off@1e999", "a finite start"),
        ("flow:off", r"NAME@START\[\+DURATION\]"),
    ],
)
def test_a_refusal_says_what_there_is(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_fault(text)


def test_the_documentation_shows_the_table() -> None:
    assert fault_table() in (Path(__file__).parents[2] / "docs/faults.md").read_text("utf-8")
    assert all(str(parse_fault(f"{name}@3s")) == f"{name}@3s" for name in fault_names())


def test_a_fault_acts_from_its_start_to_its_end_and_a_battery_sags_in_between() -> None:
    motor, sag = parse_fault("motor1:0.6@2s+3s"), parse_fault("battery:sag=0.8@2s")
    times = [-math.inf, 0.0, 1.999, 2.0, 4.999, 5.0, 2.0 + SAG_S, 100.0]
    assert [change(FLOAT_OPS, motor, t) for t in times] == pytest.approx([0, 0, 0, -0.4, -0.4, 0, 0, 0])
    assert [change(FLOAT_OPS, sag, t) for t in times] == pytest.approx([0, 0, 0, 0, -0.05998, -0.06, -0.2, -0.2])
    for fault in (motor, sag):
        together = change(TORCH_OPS, fault, torch.tensor(times, dtype=torch.float64))
        assert together.tolist() == [change(FLOAT_OPS, fault, t) for t in times]


def test_a_weak_rotor_gives_the_moments_that_it_lacks() -> None:
    params, speed = nominal_params(AIRFRAME), AIRFRAME.hover_speed
    by = disturbance(FLOAT_OPS, [parse_fault("motor2:0.7@0")], 1.0)
    weak = disturbed(params, by)
    body, matrix = Body((0.0, 0.0, 50.0), ZERO, (1.0, 0.0, 0.0, 0.0), ZERO), rotation_matrix((1.0, 0.0, 0.0, 0.0))
    force = forces(FLOAT_OPS, AIRFRAME, weak, body, matrix, (speed, speed, speed, speed), ZERO)
    linear, angular = accelerations(AIRFRAME, weak, body, matrix, force)
    lacking, (x, y) = 0.3 * AIRFRAME.mass_kg * GRAVITY_M_S2 / 4.0, AIRFRAME.rotor_xy_m[1]
    jx, jy, jz = AIRFRAME.inertia_kg_m2
    wanted = (-lacking * y / jx, lacking * x / jy, -lacking * AIRFRAME.yaw_m[1] / jz)
    assert angular == pytest.approx(wanted, rel=1e-4)
    assert linear[2] == pytest.approx(-lacking / AIRFRAME.mass_kg, rel=1e-4)


def test_in_hover_a_weak_rotor_turns_faster() -> None:
    quad, trace = hovered("motor2:0.7@1s")
    speeds = np.array(quad.actuators.motor_speed) / AIRFRAME.hover_speed
    assert speeds == pytest.approx([1.0, 1.0 / math.sqrt(0.7), 1.0, 1.0], rel=0.01)
    assert trace.position_m[-1, 2] == pytest.approx(1.2, abs=0.05)


@pytest.mark.parametrize(
    ("text", "ratio"), [("payload:+20%@1s", 1.2), ("payload:-20%@1s", 0.8), ("battery:0.85@1s", 1 / 0.85)]
)
def test_in_hover_rotors_make_up_for_load_and_battery(text: str, ratio: float) -> None:
    quad, _ = hovered(text)
    assert np.square(quad.actuators.motor_speed) * AIRFRAME.thrust_to_weight == pytest.approx(ratio, rel=0.01)
    thrust_n = sum(f * s * s for f, s in zip(quad.params.rotor_thrust_max_n, quad.actuators.motor_speed, strict=True))
    assert thrust_n == pytest.approx(quad.params.mass_kg * GRAVITY_M_S2, rel=0.01)


def test_a_load_scales_mass_and_inertia_and_goes_again() -> None:
    quad, _ = hovered("payload:+50%@0.2s", seconds=0.5)
    assert quad.params.mass_kg == pytest.approx(1.5 * AIRFRAME.mass_kg)
    assert quad.params.inertia_kg_m2 == pytest.approx([1.5 * j for j in AIRFRAME.inertia_kg_m2])
    quad, _ = hovered("payload:+50%@0.2s+0.1s", seconds=0.5)
    assert quad.params == nominal_params(replace(AIRFRAME, motor_tau_up_s=quad.params.motor_tau_up_s,
                                                 motor_tau_down_s=quad.params.motor_tau_down_s))  # fmt: skip


def test_against_a_step_of_wind_a_hovering_drone_leans_by_its_drag() -> None:
    quad, trace = hovered("wind:step=4m/s@1s", seconds=8.0)
    speed_rad_s = sum(quad.actuators.motor_speed) * AIRFRAME.speed_max_rad_s
    drag_m_s2 = AIRFRAME.drag_coefficient_xy * speed_rad_s * 4.0 / AIRFRAME.mass_kg
    assert trace.tilt_rad[-50:].mean() == pytest.approx(math.atan(drag_m_s2 / GRAVITY_M_S2), rel=0.03)
    assert trace.wind_m_s[0].tolist() == [0.0, 0.0, 0.0] and trace.wind_m_s[-1].tolist() == [4.0, 0.0, 0.0]
    before = trace.t_s < trace.release_s + 1.0
    assert trace.tilt_rad[before].max() < 0.01 < trace.tilt_rad[~before].max()


def test_silent_sensors_send_nothing_meanwhile() -> None:
    pilot, trace = listen("flow:off@0.2+0.3", "range:off@0.3+0.3", "imu:off@0.5+0.2")
    for kind, start, end in ((Flow, 0.2, 0.5), (Range, 0.3, 0.6), (Imu, 0.5, 0.7)):
        since = np.array([m.t_s for m in pilot.fed if isinstance(m, kind)]) - trace.release_s
        assert not ((since >= start) & (since < end)).any()
        assert (since < start).any() and (since >= end).any()


def of_kind(pilot: Listener, trace: FlightTrace, kind: type, start_s: float, end_s: float) -> list[Message]:
    """Messages stamped in [start, end) after the release."""
    chosen = [m for m in pilot.fed if isinstance(m, kind) and start_s <= m.t_s - trace.release_s < end_s]
    assert len(chosen) > 5
    return chosen


def test_frozen_sensors_repeat_themselves_with_new_stamps_and_then_go_on() -> None:
    pilot, trace = listen("gyro:freeze@0.2+0.4", "accel:freeze@0.2+0.4", "flow:freeze@0.2+0.4", "range:freeze@0.2+0.4")
    for kind, names in ((Imu, ("gyro_rad_s", "accel_m_s2")), (Flow, ("flow_rad", "quality")), (Range, ("distance_m",))):
        frozen, after = of_kind(pilot, trace, kind, 0.2, 0.6), of_kind(pilot, trace, kind, 0.6, 2.0)
        before = of_kind(pilot, trace, kind, -1.0, 0.2)[-1]
        for name in names:
            assert {getattr(m, name) for m in frozen} == {getattr(before, name)}
            assert len({getattr(m, name) for m in after}) == len(after) or name == "quality"
        assert all(a.t_s < b.t_s for a, b in itertools.pairwise(frozen))


def test_a_part_that_freezes_while_it_is_off_repeats_what_it_sent_before() -> None:
    pilot, trace = listen("gyro:off@0.2+0.2", "gyro:freeze@0.3+0.3", "accel:off@0.2+0.2", "accel:freeze@0.3+0.3")
    before, after = of_kind(pilot, trace, Imu, -1.0, 0.2)[-1], of_kind(pilot, trace, Imu, 0.4, 0.6)
    assert isinstance(before, Imu)
    assert {(m.gyro_rad_s, m.accel_m_s2) for m in after if isinstance(m, Imu)} == {
        (before.gyro_rad_s, before.accel_m_s2)
    }


def test_what_is_no_number_is_told_as_such() -> None:
    pilot, trace = listen("flow:nan@0.2+0.4", "range:nan@0.2+0.4", "gyro:off@0.2+0.2", "accel:off@0.5+0.2")
    ways = (
        (Flow, "flow_rad", 0.2, 0.6), (Range, "distance_m", 0.2, 0.6), (Imu, "gyro_rad_s", 0.2, 0.4),
        (Imu, "accel_m_s2", 0.5, 0.7),
    )  # fmt: skip
    for kind, name, start, end in ways:
        assert np.isnan([getattr(m, name) for m in of_kind(pilot, trace, kind, start, end)]).all()
        assert np.isfinite([getattr(m, name) for m in of_kind(pilot, trace, kind, end, 2.0)]).all()


def test_a_burst_makes_a_share_of_the_samples_wrong_by_its_size() -> None:
    fast = replace(CALM, flow_hz=(200.0, 200.0), range_hz=(200.0, 200.0), sensor_jitter=0.0)
    clean, trace = listen(seconds=3.0, conditions=fast)
    burst, _ = listen("flow:spike=2@0.1", "range:spike=0.5@0.1", seconds=3.0, conditions=fast)
    both = [(of_kind(pilot, trace, kind, 0.1, 3.0)) for kind in (Flow, Range) for pilot in (clean, burst)]
    rates = np.array([[b / m.dt_s for b in m.flow_rad] for p in both[:2] for m in p if isinstance(m, Flow)])
    wrong = rates[len(both[0]) :] - rates[: len(both[0])]
    far = np.array([m.distance_m for m in both[3] if isinstance(m, Range)]) - [
        m.distance_m for m in both[2] if isinstance(m, Range)
    ]
    assert set(np.abs(wrong).round(9).ravel()) == {0.0, 2.0} and set(far.round(9)) == {0.0, 0.5}
    for share in ((wrong[:, 0] != 0.0).mean(), (far > 0.1).mean()):
        assert share == pytest.approx(SPIKE_CHANCE, abs=4.0 * math.sqrt(0.21 / len(far)))
    assert ((wrong[:, 0] != 0.0) == (wrong[:, 1] != 0.0)).all()


def test_the_signs_of_spikes_are_all_alike() -> None:
    units = (np.arange(10_000) + 0.5) / 10_000
    drawn = [flow_spike(FLOAT_OPS, u, 1.0) for u in units.tolist()]
    for signs in itertools.product((1.0, -1.0), repeat=2):
        assert sum(signs == found for found in drawn) == pytest.approx(len(units) * SPIKE_CHANCE / 4.0, abs=1)
    assert sum(range_spike(FLOAT_OPS, u, 1.0) for u in units.tolist()) == pytest.approx(len(units) * SPIKE_CHANCE)


def test_the_clock_jumps_for_stamps_and_ticks_and_back() -> None:
    pilot, trace = listen("clock:jump=30s@0.3+0.4")
    fault = [parse_fault("clock:jump=30s@0.3+0.4")]
    assert [clock_ahead_s(fault, t) for t in (-math.inf, 0.2, 0.3, 0.7)] == [0.0, 0.0, 30.0, 0.0]
    for stamps in ([m.t_s for m in pilot.fed if isinstance(m, Imu)], pilot.ticks):
        steps = np.diff(stamps)
        assert sorted(steps.round(0).tolist())[:: len(steps) - 1] == [-30.0, 30.0]
        assert (np.abs(steps) > 1.0).sum() == 2
    true = np.array([m.t_s for m in pilot.fed if isinstance(m, Imu)])
    assert np.where(true > 20.0, true - 30.0, true) == pytest.approx(trace.t_s)


@pytest.mark.parametrize("name", [*fault_names(), "clock:jump=-5", "motor3:0", "flow:spike=20rad/s", "payload:+100%"])
def test_a_flight_with_any_fault_runs_to_its_end_and_says_how(name: str) -> None:
    conditions = with_faults(f"{name}@0.5+0.8", conditions=Conditions())
    flights = draw_flights(AIRFRAME, conditions, 1, np.random.default_rng(3))
    pilot = Controller.load("hover")
    trace = fly(pilot, AIRFRAME, flights, conditions, np.random.default_rng(4), 2.0)
    score = score_hover(trace, 2.0)
    assert score.success or score.reason in ("ground", "ceiling", "tilt")
    assert score.reason in ("ground", "ceiling") or trace.t_s[-1] >= trace.release_s + 2.0
    assert np.isfinite(trace.position_m).all()
    refused = {"gyro:off": "rejected_imu", "flow:nan": "rejected_flow"}.get(name)
    assert refused is None or pilot.counters[refused] > 10


def test_a_fault_of_a_sensor_changes_no_other_number_of_the_flight() -> None:
    def heard(texts: Sequence[str]) -> list[Message]:
        return [m for m in listen(*texts)[0].fed if isinstance(m, (Imu, Range))]

    assert heard(()) == heard(("flow:spike@0.2", "flow:freeze@0.5"))


def test_faults_must_be_faults() -> None:
    with pytest.raises(ConfigError, match="tuple of Fault"):
        Conditions(faults=("flow:off@3",))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="0 to 1"):
        Fault("motor1", 0.0, 1.0, "share", math.nan)
