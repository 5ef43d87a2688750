"""The leveller keeps a real airframe upright and sinks slowly; without an IMU it says little and then nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.airframe import load_airframe
from envs.physics import Actuators, Body, FlightParams, accelerations, actuate, forces, integrate, nominal_params
from envs.sensors import specific_force
from liquid_pilot.command import DEFAULT_LIMITS, CommandLimits
from liquid_pilot.fallback import Fallback, clamped
from liquid_pilot.geometry import Matrix3, rotation_matrix, to_body
from liquid_pilot.messages import Floats3
from liquid_pilot.observation import GRAVITY_M_S2
from liquid_pilot.ops import FLOAT_OPS
from liquid_pilot.rate_loop import RateLoopState

ZERO = (0.0, 0.0, 0.0)
AIRFRAME = load_airframe("cf2x")


@dataclass
class Trace:
    tilt_deg: list[float]
    climb_m_s: list[float]
    speed_m_s: list[float]
    estimate_error_deg: list[float]
    height_m: list[float]


def level_flight(
    params: FlightParams[float],
    tilt_deg: float,
    rng: np.random.Generator,
    *,
    with_range: bool = True,
    height_m: float = 10.0,
    duration_s: float = 5.0,
    gyro_bias_rad_s: Floats3 = ZERO,
    accel_bias_m_s2: Floats3 = ZERO,
    velocity_m_s: Floats3 = ZERO,
    wind_m_s: Floats3 = ZERO,
    flow_s: float = 0.0,
) -> Trace:
    """Held still for 0.5 s at a tilt, let go with stopped motors, flown by the leveller. IMU 100 Hz, range 20 Hz.

    velocity_m_s: at the release. flow_s: flow at 50 Hz is heard for so long after it.
    """
    fallback, dt_s, h = Fallback(), 0.01, 0.002
    half = math.radians(tilt_deg) / 2
    body = Body((0.0, 0.0, height_m), ZERO, (math.cos(half), math.sin(half) * 0.6, math.sin(half) * 0.8, 0.0), ZERO)
    actuators = Actuators((0.4, 0.4, 0.4, 0.4), RateLoopState(ZERO, ZERO))
    trace = Trace([], [], [], [], [])
    acceleration, thrust = ZERO, None
    for k in range(round((duration_s + 0.5) / dt_s)):
        matrix = rotation_matrix(body.attitude_wxyz)
        gyro = [w + b + 0.02 * float(rng.normal()) for w, b in zip(body.rates_rad_s, gyro_bias_rad_s, strict=True)]
        felt = specific_force(matrix, acceleration)
        accel = [f + b + 0.3 * float(rng.normal()) for f, b in zip(felt, accel_bias_m_s2, strict=True)]
        distance = body.position_m[2] / max(matrix[2][2], 0.1) + 0.015 * float(rng.normal())
        fallback.update(
            dt_s if k else 0.0,
            (gyro[0], gyro[1], gyro[2]),
            (accel[0], accel[1], accel[2]),
            distance if with_range and k % 5 == 0 else None,
            thrust,
            seen_flow(matrix, body, rng) if flow_s > 0.0 and k % 2 == 0 and k * dt_s < 0.5 + flow_s else None,
        )
        if k < 50:
            continue
        if k == 50:
            body = replace(body, velocity_m_s=velocity_m_s)
        command = fallback.level(k * dt_s, dt_s, DEFAULT_LIMITS)
        thrust = command.thrust_m_s2
        for _ in range(round(dt_s / h)):
            matrix = rotation_matrix(body.attitude_wxyz)
            actuators = actuate(
                FLOAT_OPS, AIRFRAME, params, actuators, (thrust, command.rates_rad_s), body.rates_rad_s, h
            )
            force = forces(FLOAT_OPS, AIRFRAME, params, body, matrix, actuators.motor_speed, wind_m_s)
            acceleration, angular = accelerations(AIRFRAME, params, body, matrix, force)
            body = integrate(FLOAT_OPS, body, acceleration, angular, h)
        up = rotation_matrix(body.attitude_wxyz)[2]
        trace.tilt_deg.append(math.degrees(math.acos(max(-1.0, min(1.0, up[2])))))
        own = fallback.attitude.up
        trace.estimate_error_deg.append(
            math.degrees(math.acos(min(1.0, sum(a * b for a, b in zip(up, own, strict=True)))))
        )
        trace.climb_m_s.append(body.velocity_m_s[2])
        trace.speed_m_s.append(math.hypot(*body.velocity_m_s[:2]))
        trace.height_m.append(body.position_m[2])
    return trace


def seen_flow(matrix: Matrix3[float], body: Body[float], rng: np.random.Generator) -> tuple[float, float]:
    """What a flow sensor says without rotation, noise included."""
    distance = body.position_m[2] / max(matrix[2][2], 0.1)
    x, y, _ = to_body(matrix, body.velocity_m_s)
    return x / distance + 0.1 * float(rng.normal()), y / distance + 0.1 * float(rng.normal())


@pytest.mark.parametrize("load", [0.8, 1.0, 1.2])
@pytest.mark.parametrize("tilt_deg", [0.0, 45.0, 120.0])
def test_it_levels_and_sinks_slowly_with_any_load(load: float, tilt_deg: float) -> None:
    nominal = nominal_params(AIRFRAME)
    params = replace(nominal, mass_kg=nominal.mass_kg * load)
    trace = level_flight(params, tilt_deg, np.random.default_rng([7]), gyro_bias_rad_s=(0.02, -0.02, 0.02))
    settled = slice(300, 500)  # from 3 s on
    assert max(trace.tilt_deg[settled]) < 8.0
    assert max(trace.estimate_error_deg) < 10.0
    assert np.mean(trace.climb_m_s[settled]) == pytest.approx(-0.5, abs=0.1)
    assert max(trace.climb_m_s[settled]) < 0.1


def test_without_a_range_it_still_levels_and_neither_climbs_nor_falls() -> None:
    trace = level_flight(nominal_params(AIRFRAME), 45.0, np.random.default_rng([3]), with_range=False)
    assert max(trace.tilt_deg[300:]) < 8.0
    assert -1.2 < np.mean(trace.climb_m_s[300:]) < 0.1


def test_what_moves_is_braked_and_flow_is_not_needed_for_long() -> None:
    never, heard, lost = (
        level_flight(
            nominal_params(AIRFRAME),
            0.0,
            np.random.default_rng([11]),
            height_m=4.0,
            duration_s=6.0,
            accel_bias_m_s2=(0.3, 0.3, 0.0),
            velocity_m_s=(1.2, -0.9, 0.0),
            wind_m_s=(0.6, 0.3, 0.0),
            flow_s=flow_s,
        )
        for flow_s in (0.0, 6.0, 3.0)
    )
    assert heard.speed_m_s[0] == pytest.approx(1.5, abs=0.1) and max(heard.speed_m_s[500:]) < 0.3
    assert max(lost.speed_m_s[400:]) < 0.8  # 1 to 3 s after the last sample
    assert min(never.speed_m_s[400:]) > 1.0  # which is what bias and wind do to a leveller


def test_the_climb_does_not_follow_the_accelerometers_bias() -> None:
    rng = np.random.default_rng([2])
    trace = level_flight(nominal_params(AIRFRAME), 0.0, rng, accel_bias_m_s2=(0.0, 0.0, 0.4), duration_s=6.0)
    assert np.mean(trace.climb_m_s[400:]) == pytest.approx(-0.5, abs=0.05)


def test_below_its_low_height_and_without_a_height_it_sinks_more_slowly() -> None:
    rng = np.random.default_rng([5])
    low = level_flight(nominal_params(AIRFRAME), 0.0, rng, height_m=2.0, duration_s=6.0)
    near = [c for c, height in zip(low.climb_m_s, low.height_m, strict=True) if 0.15 < height < 0.35]
    assert near and np.mean(near) == pytest.approx(-0.3, abs=0.07)


def test_it_touches_down_gently_and_stays_down() -> None:
    trace = level_flight(nominal_params(AIRFRAME), 10.0, np.random.default_rng([5]), height_m=1.0, duration_s=8.0)
    low = next(i for i, height in enumerate(trace.height_m) if height < 0.06)
    assert abs(trace.climb_m_s[low]) < 1.0
    assert max(trace.height_m[low:]) < 0.12 and max(trace.tilt_deg[low:]) < 15.0


def test_a_body_at_rest_is_seen_at_its_tilt_and_its_gyro_bias_is_learnt() -> None:
    rng, fallback = np.random.default_rng([1]), Fallback()
    tilt, bias = math.radians(40.0), (0.03, -0.02, 0.01)
    for _ in range(100):
        noise = rng.normal(size=6)
        gyro = (bias[0] + 0.02 * noise[0], bias[1] + 0.02 * noise[1], bias[2] + 0.02 * noise[2])
        force = (
            GRAVITY_M_S2 * math.sin(tilt) + 0.3 * noise[3],
            0.3 * noise[4],
            GRAVITY_M_S2 * math.cos(tilt) + 0.3 * noise[5],
        )
        fallback.update(0.01, gyro, force, None, None)
    assert fallback.tilt_rad == pytest.approx(tilt, abs=0.03)
    assert fallback.attitude.bias_rad_s == pytest.approx(bias, abs=0.01)
    assert not fallback.attitude.moved


def test_gyro_integration_is_exact_for_constant_rates() -> None:
    fallback = Fallback()
    fallback.update(0.0, ZERO, (0.0, 0.0, GRAVITY_M_S2), None, None)
    for _ in range(20):  # 2 rad about body y; nothing to correct it with
        fallback.update(0.1, (0.0, 1.0, 0.0), None, None, None)
    assert fallback.tilt_rad == pytest.approx(2.0, abs=1e-9)
    assert fallback.attitude.up == pytest.approx((-math.sin(2.0), 0.0, math.cos(2.0)), abs=1e-9)


@given(
    st.lists(
        st.tuples(
            st.floats(0.0, 5.0),
            st.tuples(*[st.floats(-70, 70)] * 3),
            st.tuples(*[st.floats(-400, 400)] * 3),
            st.none() | st.floats(0.0, 100.0),
            st.none() | st.tuples(*[st.floats(-100, 100)] * 2),
        ),
        max_size=20,
    )
)
def test_commands_are_finite_and_inside_the_limits_whatever_the_sensors_say(
    samples: list[tuple[float, Floats3, Floats3, float | None, tuple[float, float] | None]],
) -> None:
    limits = CommandLimits((2.0, 15.0), (3.0, 2.0, 1.0))
    fallback, thrust = Fallback(), None
    for dt_s, gyro, accel, distance, flow in samples:
        fallback.update(dt_s, gyro, accel, distance, thrust, flow)
        command = fallback.level(0.0, dt_s, limits)
        thrust = command.thrust_m_s2
        assert 2.0 <= thrust <= 15.0
        assert all(abs(w) <= m for w, m in zip(command.rates_rad_s, limits.rates_rad_s, strict=True))


def test_the_blind_command_is_a_little_less_than_the_weight() -> None:
    command = Fallback().blind(3.0, DEFAULT_LIMITS)
    assert (command.t_s, command.rates_rad_s) == (3.0, ZERO)
    assert command.thrust_m_s2 == pytest.approx(0.9 * GRAVITY_M_S2)
    assert clamped(0.0, 99.0, (9.0, -9.0, 9.0), DEFAULT_LIMITS).rates_rad_s == (6.0, -6.0, 3.0)


@pytest.mark.parametrize("blind_s", [0.2, 5.0])
def test_on_the_floor_it_stays_idle_where_the_range_is_blind_unless_it_takes_over_there(blind_s: float) -> None:
    fallback, hovering = Fallback(), (0.0, 0.0, GRAVITY_M_S2)
    for _ in range(50):
        fallback.update(0.01, ZERO, hovering, 0.05, 9.0)
    for _ in range(round(blind_s / 0.01)):
        fallback.update(0.01, ZERO, hovering, None, 9.0)
    assert fallback.level(0.0, 0.01, DEFAULT_LIMITS).thrust_m_s2 == pytest.approx(0.3 * GRAVITY_M_S2)
    fallback.start()  # the network may have climbed since
    idle = fallback.level(0.0, 0.01, DEFAULT_LIMITS).thrust_m_s2 < 0.5 * GRAVITY_M_S2
    assert idle == (blind_s < 0.5)
