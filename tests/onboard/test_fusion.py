"""Held values, freshness, ages, flow compensation and clock discipline have known answers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liquid_pilot.errors import LiquidPilotError
from liquid_pilot.fusion import MAX_STEP_S, SensorMemory
from liquid_pilot.messages import Flow, Imu, Range, Setpoint
from liquid_pilot.observation import GRAVITY_M_S2, INITIAL_AGE_S, INITIAL_RANGE_M, Held

NAN = math.nan
ABSENT = (NAN, NAN, NAN)


def imu(t_s: float, gyro: tuple[float, float, float] = (0.0, 0.0, 0.0), az: float = GRAVITY_M_S2) -> Imu:
    return Imu(t_s, gyro, (0.0, 0.0, az))


def step(memory: SensorMemory, message: Imu) -> Held[float]:
    assert memory.accept(message) is None
    return memory.take(None)


def test_before_any_other_sensor_the_initial_values_are_held_and_as_old_as_can_be() -> None:
    held = step(SensorMemory(), imu(5.0))
    assert held == Held(
        dt_s=0.0,
        gyro_rad_s=(0.0, 0.0, 0.0),
        accel_m_s2=(0.0, 0.0, GRAVITY_M_S2),
        accel_fresh=1.0,
        accel_age_s=0.0,
        flow_rate_rad_s=(0.0, 0.0),
        flow_quality=0.0,
        flow_fresh=0.0,
        flow_age_s=INITIAL_AGE_S,
        range_m=INITIAL_RANGE_M,
        range_fresh=0.0,
        range_age_s=INITIAL_AGE_S,
        setpoint_velocity_m_s=(0.0, 0.0),
        setpoint_height_m=INITIAL_RANGE_M,
        setpoint_yaw_rate_rad_s=0.0,
    )


def test_freshness_lasts_one_step_and_age_counts_from_the_stamp() -> None:
    memory = SensorMemory()
    step(memory, imu(0.0))
    assert memory.accept(Flow(0.010, 0.02, (0.02, 0.04), 0.7)) is None
    assert memory.accept(Range(0.012, 1.5)) is None
    first = step(memory, imu(0.03))
    second = step(memory, imu(0.05))
    assert (first.flow_fresh, first.range_fresh, second.flow_fresh, second.range_fresh) == (1, 1, 0, 0)
    assert (first.flow_age_s, first.range_age_s) == pytest.approx((0.020, 0.018))
    assert (second.flow_age_s, second.range_age_s) == pytest.approx((0.040, 0.038))
    assert (second.dt_s, second.range_m, second.flow_quality) == pytest.approx((0.02, 1.5, 0.7))
    assert second.flow_rate_rad_s == first.flow_rate_rad_s == pytest.approx((1.0, 2.0))
    assert step(memory, imu(0.2)).dt_s == pytest.approx(0.15)


def test_ages_have_a_ceiling() -> None:
    memory = SensorMemory()
    step(memory, imu(0.0))
    memory.accept(Range(0.0, 2.0))
    held = [step(memory, imu(0.9 * k)) for k in range(1, 20)][-1]
    assert (held.range_age_s, held.range_m, held.dt_s) == (INITIAL_AGE_S, 2.0, MAX_STEP_S)


def test_an_absent_accelerometer_is_held_and_ages_on_its_own() -> None:
    memory = SensorMemory()
    step(memory, imu(0.0, az=9.0))
    held = step(memory, Imu(0.05, (0.1, 0.0, 0.0), ABSENT))
    assert (held.accel_m_s2, held.accel_fresh, held.gyro_rad_s[0]) == ((0.0, 0.0, 9.0), 0.0, 0.1)
    assert held.accel_age_s == pytest.approx(0.05)
    assert not memory.accel_fault
    assert step(memory, imu(0.06)).accel_age_s == 0.0
    for broken in ((NAN, 0.0, 9.8), (math.inf, 0.0, 0.0), (0.0, 1e9, 0.0)):
        memory.reset()
        assert step(memory, Imu(0.1, (0.0, 0.0, 0.0), broken)).accel_fresh == 0.0
        assert memory.accel_fault


@pytest.mark.parametrize("imu_hz", [37.0, 100.0, 400.0])
@pytest.mark.parametrize("late_s", [0.0, 0.013])
def test_pure_rotation_gives_no_compensated_flow(imu_hz: float, late_s: float) -> None:
    """Rates that change from sample to sample: only the mean over the window itself cancels them."""
    memory = SensorMemory()
    times = [k / imu_hz for k in range(50)]
    rates = [(math.sin(7 * t), math.cos(5 * t), 0.3) for t in times]
    end, dt_s = times[-13], times[-13] - times[-23]
    inside = rates[-22:-12]
    flow_rad = (-sum(w[1] for w in inside) / 10 * dt_s, sum(w[0] for w in inside) / 10 * dt_s)
    flow = Flow(end, dt_s, flow_rad, 1.0)
    held = None
    for t, rate in zip(times, rates, strict=True):
        if t > end + late_s and memory.flow_t_s is None:
            assert memory.accept(flow) is None
        held = step(memory, imu(t, rate))
    assert held is not None
    assert held.flow_rate_rad_s == pytest.approx((0.0, 0.0), abs=1e-9)
    assert memory.flow_t_s == end


def test_a_window_without_a_gyro_sample_takes_the_latest_before_its_end() -> None:
    memory = SensorMemory()
    for t, w in ((0.0, 1.0), (0.1, 2.0)):
        step(memory, imu(t, (w, 10 * w, 0.0)))
    memory.accept(Flow(0.08, 0.01, (0.0, 0.0), 1.0))
    assert step(memory, imu(0.2, (3.0, 30.0, 0.0))).flow_rate_rad_s == pytest.approx((10.0, -1.0))
    assert memory.mean_gyro(0.0, 0.1) == (2.0, 20.0, 0.0)  # the start is outside, the end inside
    assert memory.mean_gyro(-1.0, 0.1) == (1.5, 15.0, 0.0)
    assert memory.mean_gyro(-1.0, -0.5) == (1.0, 10.0, 0.0)


def test_flow_without_quality_and_range_without_return_are_not_used_and_no_fault() -> None:
    memory = SensorMemory()
    step(memory, imu(0.0))
    memory.accept(Flow(0.01, 0.01, (0.01, 0.0), 0.5))
    memory.accept(Range(0.01, 1.2))
    before = step(memory, imu(0.02))
    assert memory.accept(Flow(0.03, 0.01, (NAN, 0.5), 0.0)) is None
    for k, distance in enumerate((NAN, math.inf, 1e4)):
        assert memory.accept(Range(0.03 + 0.001 * k, distance)) is None
    after = step(memory, imu(0.04))
    assert (after.flow_fresh, after.range_fresh, after.range_m) == (0.0, 0.0, 1.2)
    assert after.flow_rate_rad_s == before.flow_rate_rad_s
    assert after.flow_age_s == pytest.approx(0.03)


REFUSED = [
    Imu(NAN, (0.0, 0.0, 0.0), (0.0, 0.0, 9.8)),
    Imu(math.inf, (0.0, 0.0, 0.0), (0.0, 0.0, 9.8)),
    Imu(1.01, (NAN, 0.0, 0.0), (0.0, 0.0, 9.8)),
    Imu(1.01, (0.0, 500.0, 0.0), (0.0, 0.0, 9.8)),
    Imu(1.0, (0.0, 0.0, 0.0), (0.0, 0.0, 9.8)),
    Imu(0.99, (0.0, 0.0, 0.0), (0.0, 0.0, 9.8)),
    Imu(3601.0, (0.0, 0.0, 0.0), (0.0, 0.0, 9.8)),
    Flow(1.0, 0.02, (0.0, 0.0), 1.0),
    Flow(NAN, 0.02, (0.0, 0.0), 1.0),
    Flow(1.01, 0.0, (0.0, 0.0), 1.0),
    Flow(1.01, -0.1, (0.0, 0.0), 1.0),
    Flow(1.01, 1.5, (0.0, 0.0), 1.0),
    Flow(1.01, NAN, (0.0, 0.0), 1.0),
    Flow(1.01, 0.02, (NAN, 0.0), 1.0),
    Flow(1.01, 0.02, (0.0, 9.0), 1.0),
    Flow(1.01, 0.02, (0.0, 0.0), 255.0),
    Flow(1.01, 0.02, (0.0, 0.0), -1.0),
    Flow(1.01, 0.02, (0.0, 0.0), NAN),
    Flow(5.0, 0.02, (0.0, 0.0), 1.0),
    Range(1.0, 1.0),
    Range(0.5, 1.0),
    Range(1.01, -0.2),
    Range(1.01, -math.inf),
    Range(-math.inf, 1.0),
    Range(9.0, 1.0),
]


@pytest.mark.parametrize("message", REFUSED, ids=str)
def test_refused_messages_say_why_and_change_nothing(message: Imu | Flow | Range) -> None:
    twins = (SensorMemory(), SensorMemory())
    for memory in twins:
        step(memory, imu(0.98))
        memory.accept(Flow(1.0, 0.02, (0.01, 0.02), 0.5))
        memory.accept(Range(1.0, 1.3))
        step(memory, imu(1.0))
    error = twins[0].accept(message)
    assert isinstance(error, LiquidPilotError)
    assert type(message).__name__ in str(error) and ";" in str(error)
    assert step(twins[0], imu(1.02)) == step(twins[1], imu(1.02))


@pytest.mark.parametrize("offset_s", [-3600.0, -0.6, 1.5, 3600.0])
def test_a_clock_that_goes_on_elsewhere_is_taken_over_after_three_samples(offset_s: float) -> None:
    memory = SensorMemory()
    step(memory, imu(10.0))
    memory.accept(Flow(10.0, 0.02, (0.02, 0.0), 0.5))
    step(memory, imu(10.01))
    new = 10.02 + offset_s
    assert memory.accept(imu(new)) is not None and memory.accept(imu(new + 0.01)) is not None
    assert memory.clock_jumps == 0
    held = step(memory, imu(new + 0.02))
    assert memory.clock_jumps == 1
    assert held.dt_s == (MAX_STEP_S if offset_s > 0 else 0.0)
    assert (held.flow_rate_rad_s[0], held.flow_age_s, held.flow_fresh) == (1.0, INITIAL_AGE_S, 0.0)
    assert memory.accept(Flow(new + 0.021, 0.02, (0.04, 0.0), 0.5)) is None
    assert step(memory, imu(new + 0.03)).flow_rate_rad_s[0] == pytest.approx(2.0)


def test_flow_that_came_before_a_leap_is_held_like_any_value() -> None:
    memory = SensorMemory()
    step(memory, imu(10.0, (0.0, 0.5, 0.0)))
    memory.accept(Flow(10.01, 0.02, (0.02, 0.0), 0.5))  # not yet taken: the IMU is silent from here on
    for t in (11.5, 11.51):
        assert memory.accept(imu(t)) is not None
    held = step(memory, imu(11.52))
    assert (held.flow_rate_rad_s, held.flow_quality) == ((1.5, 0.0), 0.5)
    assert (held.flow_age_s, held.flow_fresh, memory.flow_t_s) == (INITIAL_AGE_S, 0.0, None)


@given(st.lists(st.sampled_from([-3600.0, -0.7, 1.2, 7200.0]), max_size=30), st.integers(0, 1))
def test_single_leaping_stamps_never_move_the_clock(leaps: list[float], start: int) -> None:
    memory = SensorMemory()
    t_s = 100.0 + start
    step(memory, imu(t_s))
    for leap in leaps:
        assert memory.accept(imu(t_s + leap)) is not None
        t_s += 0.01
        assert step(memory, imu(t_s)).dt_s == pytest.approx(0.01)
    assert memory.clock_jumps == 0


def test_reset_is_a_new_memory() -> None:
    memory = SensorMemory()
    step(memory, imu(10.0, (0.3, 0.2, 0.1), az=3.0))
    memory.accept(Range(10.0, 2.0))
    memory.reset()
    memory.reset()
    assert step(memory, imu(0.0)) == step(SensorMemory(), imu(0.0))


def test_the_setpoint_is_passed_on() -> None:
    memory = SensorMemory()
    memory.accept(imu(0.0))
    held = memory.take(Setpoint(0.0, (0.1, 0.2), 1.7, 0.3))
    assert (held.setpoint_velocity_m_s, held.setpoint_height_m, held.setpoint_yaw_rate_rad_s) == ((0.1, 0.2), 1.7, 0.3)


def test_an_observation_needs_an_imu() -> None:
    with pytest.raises(LiquidPilotError, match="IMU"):
        SensorMemory().take(None)
